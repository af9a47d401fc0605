//! What is counted apart from the rounds: system calls, instructions, the memory of a waiting init, the smallest limit.

use crate::{
    measure::{measured, prepared, remove, sample},
    shape::{BASE, Limits, Shape},
    subject::{FLOOR, Subject, Verb, id},
    work::{Work, cover_cgroups, uncover_cgroups},
};
use serde_json::{Value, json};
use std::fs;
use urun::error::{Context, Error, Result};

/// The smallest memory limit of config.json.
pub const IN_CONFIG: &str = "KiB of the smallest memory limit in config.json";
/// The same around the runtime too.
pub const AROUND: &str = "KiB of the smallest memory limit around all of run";

/// A figure of each that takes part, or why there is none.
pub struct Count {
    pub what: &'static str,
    pub by: Vec<(&'static str, Result<u64, String>)>,
}

impl Count {
    pub fn of(&self, name: &str) -> Option<u64> {
        self.by.iter().find(|(own, _)| *own == name)?.1.as_ref().ok().copied()
    }

    pub fn json(&self) -> Value {
        let by: serde_json::Map<_, _> = self
            .by
            .iter()
            .map(|(name, value)| {
                let value = value.as_ref().map_or_else(|why| json!({ "cannot": why }), |value| json!(value));
                ((*name).to_owned(), value)
            })
            .collect();
        json!({ "what": self.what, "by": by })
    }
}

/// All counts, in the base shape.
pub fn counts(work: &Work, subjects: &[Subject]) -> Result<Vec<Count>> {
    let mut out = Vec::new();
    for (what, verb) in [
        ("system calls of run", Verb::Run),
        ("system calls of create+start+delete", Verb::Lifecycle),
        ("system calls of exec", Verb::Exec),
        ("system calls of state", Verb::State),
        ("system calls of kill", Verb::Kill),
        ("system calls of list", Verb::List),
    ] {
        out.push(count(work, subjects, what, verb, system_calls));
    }
    for (what, verb) in [
        ("user instructions of run", Verb::Run),
        ("user instructions of state", Verb::State),
        ("user instructions of list", Verb::List),
    ] {
        out.push(count(work, subjects, what, verb, instructions));
    }
    let runtimes = || subjects.iter().filter(|subject| subject.name != FLOOR);
    for (what, line) in [("resident KiB of a created init", "Rss:"), ("its share of them (PSS), KiB", "Pss:")]
    {
        let of = |subject| created_init(work, subject, line).map_err(|e: Error| e.to_string());
        out.push(Count { what, by: runtimes().map(|subject| (subject.name, of(subject))).collect() });
    }
    out.extend(smallest_limits(work, subjects)?);
    let size = |subject: &Subject| Ok(subject.binary_size());
    out.push(Count { what: "KiB of the program", by: runtimes().map(|one| (one.name, size(one))).collect() });
    Ok(out)
}

fn count(
    work: &Work,
    subjects: &[Subject],
    what: &'static str,
    verb: Verb,
    figure: fn(&Work, &[String]) -> Result<u64>,
) -> Count {
    let mut by = Vec::new();
    for subject in subjects {
        let Some(words) = work.words(subject, verb, &BASE) else { continue };
        let figure = || {
            // Once for the caches.
            sample(work, &words, 1, 1)?;
            figure(work, &words)
        };
        let value = match subject.name {
            FLOOR => figure(),
            _ => prepared(work, subject, &BASE, figure),
        };
        by.push((subject.name, value.map_err(|e: Error| e.to_string())));
    }
    Count { what, by }
}

/// How many system calls the processes of a command make, those of the container's program included.
fn system_calls(work: &Work, words: &[String]) -> Result<u64> {
    let trace = work.path("trace");
    let strace = ["/usr/bin/strace", "-f", "-qq", "-e", "signal=none", "-o", &trace].map(str::to_owned);
    work.run(&[&strace[..], &measured(work, words, 1, 1)].concat())?;
    let text = fs::read(&trace).context("read the trace")?;
    let text = String::from_utf8_lossy(&text);
    let own = text.split(' ').next().unwrap_or_default();
    // A call that another process interrupts has a second line, and what ends is no call.
    let is_call = |line: &&str| {
        !line.starts_with(&format!("{own} ")) && !line.contains(" resumed") && !line.contains("+++")
    };
    Ok(text.lines().filter(is_call).count() as u64)
}

/// Instructions of the user side, where the processor counts them. Valgrind could not in its stead: its version 3.19 knows
/// neither clone3 nor openat2, and a runtime that starts itself anew from memory leaves it.
fn instructions(work: &Work, words: &[String]) -> Result<u64> {
    let words: Vec<String> = words.iter().map(|word| word.replace('@', "0")).collect();
    let file = work.path("instructions");
    let perf = ["/usr/bin/perf", "stat", "-x,", "-e", "instructions:u", "-o", &file].map(str::to_owned);
    work.run(&[&perf[..], &words].concat())?;
    let text = fs::read_to_string(&file).context("read perf's figure")?;
    let line = text.lines().find(|line| line.contains("instructions")).unwrap_or_default();
    let figure = line.split(',').next().unwrap_or_default();
    figure.parse().map_err(|_| Error::new(format_args!("perf says {figure}")))
}

/// A line of smaps_rollup of the process that waits between create and start.
fn created_init(work: &Work, subject: &Subject, line: &str) -> Result<u64> {
    let bundle = format!("{}-waiting", subject.name);
    work.write_bundle(&bundle, &BASE, &["/bin/true"])?;
    let value = (|| {
        let file = work.path("init.pid");
        let words = ["create", "--bundle", &work.bundle(&bundle), "--pid-file", &file, &id(&bundle)];
        work.run(&work.runtime(subject, &words))?;
        let pid = fs::read_to_string(file).context("read the pid file")?;
        let rollup =
            fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.trim())).context("read smaps_rollup")?;
        let value =
            rollup.lines().find_map(|text| text.strip_prefix(line)?.split_whitespace().next()?.parse().ok());
        value.ok_or_else(|| Error::new("smaps_rollup has no such line"))
    })();
    remove(work, subject, &bundle);
    value
}

/// The smallest memory limit with which `run` of a static `true` works, in KiB: that of config.json, and where memory is
/// limited by version 1, which not every runtime does, that of a group around runtime and container.
fn smallest_limits(work: &Work, subjects: &[Subject]) -> Result<Vec<Count>> {
    let every = |limit: &dyn Fn(&Subject, u64) -> Result<()>| {
        let runtimes = subjects.iter().filter(|subject| subject.name != FLOOR);
        runtimes.map(|one| (one.name, smallest(|kib| limit(one, kib)).map_err(|e| e.to_string()))).collect()
    };
    if work.covered {
        uncover_cgroups()?;
    }
    let mut out =
        vec![Count { what: IN_CONFIG, by: every(&|subject, kib| limited(work, subject, Some(kib), &[])) }];
    if work.covered {
        cover_cgroups()?;
        let group = work.memory_group()?;
        let around = |subject: &Subject, kib: u64| {
            // Every run has a group of its own: a network namespace goes after its container has ended, and is counted until then.
            let enter = format!(
                "g={}/$$; mkdir $g && echo {} >$g/memory.limit_in_bytes && echo $$ >$g/cgroup.procs && exec \"$@\"",
                group.display(),
                kib << 10
            );
            limited(work, subject, None, &["/bin/sh", "-c", &enter, "sh"])
        };
        out.push(Count { what: AROUND, by: every(&around) });
    }
    Ok(out)
}

/// Runs to success three times, because reclaim has luck.
fn limited(work: &Work, subject: &Subject, kib: Option<u64>, head: &[&str]) -> Result<()> {
    let limits = if kib.is_some() { Limits::Some } else { Limits::None };
    let shape = Shape { limits, ..BASE };
    let bundle = format!("{}-0", subject.name);
    let resources = json!({ "memory": { "limit": kib.unwrap_or_default() << 10 } });
    work.write_bundle_with(&bundle, &shape, &["/bin/true"], &resources)?;
    let words = work.words(subject, Verb::Run, &shape).unwrap_or_default();
    let words =
        head.iter().map(|&word| word.to_owned()).chain(words.iter().map(|word| word.replace('@', "0")));
    let words: Vec<String> = words.collect();
    let result = (0..3).try_for_each(|_| work.run(&words));
    if result.is_err() {
        remove(work, subject, &bundle);
    }
    result
}

/// The least of 64 MiB, 48, 32, 24, … that works.
fn smallest(works: impl Fn(u64) -> Result<()>) -> Result<u64> {
    let mut least = None;
    for kib in (6..=16).rev().flat_map(|power| [1u64 << power, (1 << power) - (1 << (power - 2))]) {
        match works(kib) {
            Ok(()) => least = Some(kib),
            Err(error) => return least.ok_or(error),
        }
    }
    least.ok_or_else(|| Error::new("nothing was tried"))
}

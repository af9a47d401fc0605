//! What is counted apart from the rounds: system calls, instructions, the memory of a waiting init, the smallest limit.

use crate::{
    measure::{remove, sample, start_waiting},
    shape::{BASE, Limits, Shape},
    subject::{FLOOR, Subject, Verb, id},
    work::{Work, cover_cgroups, uncover_cgroups},
};
use serde_json::{Value, json};
use std::{fs, path::Path};
use urun::error::{Context, Error, Result};

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
    out.push(smallest_limits(work, subjects)?);
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
        let bundle = format!("{}-waiting", subject.name);
        let is_runtime = subject.name != FLOOR;
        let value = (|| {
            if is_runtime {
                work.write_bundle(&format!("{}-0", subject.name), &BASE, &["/bin/true"])?;
                start_waiting(work, subject, &bundle, &BASE)?;
            }
            // Once for the caches.
            sample(work, &words, 1, 1)?;
            figure(work, &words)
        })();
        by.push((subject.name, value.map_err(|e: Error| e.to_string())));
        if is_runtime {
            remove(work, subject, &bundle);
            remove(work, subject, &format!("{}-0", subject.name));
        }
    }
    Count { what, by }
}

/// How many system calls the processes of a command make, those of the container's program included.
fn system_calls(work: &Work, words: &[String]) -> Result<u64> {
    let trace = work.path("trace");
    let strace = ["/usr/bin/strace", "-f", "-qq", "-e", "signal=none", "-o", &trace].map(str::to_owned);
    let measure = [&work.path("measure"), &work.path("sample"), "1", "1", "wait"].map(str::to_owned);
    work.run(&[&strace[..], &measure, words].concat())?;
    let text = fs::read(&trace).context("read the trace")?;
    let text = String::from_utf8_lossy(&text);
    let own = text.split(' ').next().unwrap_or_default();
    // A call that another process interrupts has a second line, and what ends is no call.
    let is_call = |line: &&str| {
        !line.starts_with(&format!("{own} ")) && !line.contains(" resumed") && !line.contains("+++")
    };
    Ok(text.lines().filter(is_call).count() as u64)
}

/// Instructions of the user side: what the processor counts, where it is asked; else what Valgrind's emulation counts, which
/// knows neither clone3 with namespaces nor every new system call.
fn instructions(work: &Work, words: &[String]) -> Result<u64> {
    let words: Vec<String> = words.iter().map(|word| word.replace('@', "0")).collect();
    let counted = work.path("instructions");
    let perf = ["/usr/bin/perf", "stat", "-x,", "-e", "instructions:u", "-o", &counted].map(str::to_owned);
    if Path::new(&perf[0]).exists() && work.run(&[&perf[..], &words].concat()).is_ok() {
        let text = fs::read_to_string(&counted).context("read perf's figure")?;
        let number =
            text.lines().find(|line| line.contains("instructions")).and_then(|line| line.split(',').next());
        if let Some(Ok(number)) = number.map(str::parse) {
            return Ok(number);
        }
    }
    let valgrind = ["/usr/bin/valgrind", "--tool=callgrind", "--trace-children=yes"].map(str::to_owned);
    let files =
        [format!("--callgrind-out-file={counted}.%p"), format!("--log-file={}.%p", work.path("callgrind"))];
    work.run(&[&valgrind[..], &files, &words].concat())
        .context("this machine's processor counts no instructions, and under callgrind it fails")?;
    collected(work)
}

/// The sum of what callgrind's logs say, and their end.
fn collected(work: &Work) -> Result<u64> {
    let directory = work.path("");
    let mut sum = 0;
    for entry in fs::read_dir(directory).context("read the directory")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("callgrind.") {
            let text = fs::read_to_string(entry.path()).context("read callgrind's log")?;
            let number = text.lines().filter_map(|line| line.split("Collected :").nth(1)).next_back();
            sum += number.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or_default();
        }
        if name.starts_with("callgrind.") || name.starts_with("instructions.") {
            fs::remove_file(entry.path()).context("remove callgrind's log")?;
        }
    }
    Ok(sum)
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

/// The smallest `linux.resources.memory.limit` with which run of a static `true` works, in KiB.
fn smallest_limits(work: &Work, subjects: &[Subject]) -> Result<Count> {
    let has_memory = |dir: &str| {
        fs::read_to_string(format!("{dir}/cgroup.controllers"))
            .is_ok_and(|text| text.split_whitespace().any(|c| c == "memory"))
    };
    let covered = !has_memory("/sys/fs/cgroup");
    if covered {
        // The controller is in version 1 then.
        uncover_cgroups()?;
    }
    let runtimes = subjects.iter().filter(|subject| subject.name != FLOOR);
    let by = runtimes.map(|one| (one.name, smallest_limit(work, one).map_err(|e| e.to_string()))).collect();
    if covered {
        cover_cgroups()?;
    }
    Ok(Count { what: "KiB of the smallest memory limit of run", by })
}

fn smallest_limit(work: &Work, subject: &Subject) -> Result<u64> {
    let shape = Shape { limits: Limits::Some, ..BASE };
    let bundle = format!("{}-0", subject.name);
    let words: Vec<String> = work
        .words(subject, Verb::Run, &shape)
        .unwrap_or_default()
        .iter()
        .map(|w| w.replace('@', "0"))
        .collect();
    let mut smallest = None;
    // 64 MiB, 48, 32, 24, …
    for kib in (6..=16).rev().flat_map(|power| [1u64 << power, (1 << power) - (1 << (power - 2))]) {
        work.write_bundle_with(
            &bundle,
            &shape,
            &["/bin/true"],
            &json!({ "memory": { "limit": kib << 10 } }),
        )?;
        // Three times, because reclaim has luck.
        match (0..3).try_for_each(|_| work.run(&words)) {
            Ok(()) => smallest = Some(kib),
            Err(error) => {
                remove(work, subject, &bundle);
                return smallest.ok_or(error);
            }
        }
    }
    smallest.ok_or_else(|| Error::new("nothing was tried"))
}

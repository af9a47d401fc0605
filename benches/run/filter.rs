//! What a filter costs: to make, and with every system call.

use crate::{
    justified, profile,
    shape::{BASE, Shape, docker_profile},
    stats::{median, quantile, rounded},
    subject::{FLOOR, Subject, Verb},
    work::Work,
};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};
use urun::{
    error::{Context, Error, Result},
    spec::seccomp::Seccomp,
};

/// How often the profile is compiled.
const TURNS: usize = 201;

/// Nanoseconds of a system call.
#[derive(Clone, Copy, Debug)]
pub struct CallCost {
    /// That the kernel's bitmap answers.
    pub by_number: f64,
    /// Whose arguments the filter looks at.
    pub looked_at: f64,
}

/// A figure, or why there is none.
type Outcome<T> = Result<T, String>;

/// The figures of filters.
pub struct Filters {
    /// Microseconds to compile Docker's profile: median and 99th percentile.
    pub ours: (f64, f64),
    /// libseccomp's median and its version, or why there is none.
    pub libseccomp: Outcome<(f64, String)>,
    /// By whose filter it is.
    pub calls: Vec<(&'static str, Outcome<CallCost>)>,
}

impl Filters {
    /// Nanoseconds of a call that the filter of `name` looks at.
    pub fn looked_at(&self, name: &str) -> Option<f64> {
        Some(self.calls.iter().find(|(own, _)| *own == name)?.1.as_ref().ok()?.looked_at)
    }

    pub fn json(&self) -> Value {
        let calls: serde_json::Map<_, _> = self
            .calls
            .iter()
            .map(|(name, value)| {
                let value = value.as_ref().map_or_else(
                    |why| json!({ "cannot": why }),
                    |cost| json!({ "getppid_ns": rounded(cost.by_number), "personality_ns": rounded(cost.looked_at) }),
                );
                ((*name).to_owned(), value)
            })
            .collect();
        let libseccomp = self.libseccomp.as_ref().map_or_else(
            |why| json!({ "cannot": why }),
            |(micros, version)| json!({ "median_us": micros, "version": version }),
        );
        json!({ "compile": { "urun": { "median_us": rounded(self.ours.0), "p99_us": rounded(self.ours.1) },
            "libseccomp": libseccomp }, "calls_under": calls })
    }
}

/// Measures all of it; calls in `rounds` rounds, in containers of every runtime with Docker's profile and of urun without.
pub fn filters(work: &Work, subjects: &[Subject], rounds: usize) -> Result<Filters> {
    let profile = profile::read(&docker_profile()?);
    let mut times = Vec::with_capacity(TURNS);
    for _ in 0..TURNS {
        let begin = Instant::now();
        std::hint::black_box(urun::seccomp::plan(&profile)?);
        times.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    let ours = (median(times.iter().copied()), quantile(times, 0.99));
    let libseccomp = libseccomp(&profile).map_err(|e| e.to_string());
    let without = Shape { seccomp: false, ..BASE };
    let mut runners = Vec::new();
    for subject in subjects.iter().filter(|subject| subject.name != FLOOR) {
        if subject.name == crate::subject::URUN {
            runners.push(("no filter", subject, without, Ok(Vec::new())));
        }
        runners.push((subject.name, subject, BASE, Ok(Vec::new())));
    }
    for _ in 0..rounds {
        for (_, subject, shape, all) in &mut runners {
            let Ok(found): &mut Outcome<Vec<CallCost>> = all else { continue };
            match calls(work, subject, shape) {
                Ok(pair) => found.push(pair),
                Err(error) => *all = Err(error.to_string()),
            }
        }
    }
    let least = |all: Vec<CallCost>| {
        let of = |field: fn(&CallCost) -> f64| quantile(all.iter().map(field), 0.0);
        CallCost { by_number: of(|cost| cost.by_number), looked_at: of(|cost| cost.looked_at) }
    };
    let calls = runners.into_iter().map(|(name, _, _, all)| (name, all.map(least))).collect();
    Ok(Filters { ours, libseccomp, calls })
}

/// What the payload's loop says in a container.
fn calls(work: &Work, subject: &Subject, shape: &Shape) -> Result<CallCost> {
    work.write_bundle(&format!("{}-0", subject.name), shape, &["/bin/loop"])?;
    let words = work.words(subject, Verb::Run, shape).unwrap_or_default();
    let words: Vec<String> = words.iter().map(|word| word.replace('@', "0")).collect();
    let file = work.path("loop");
    work.run_to(&words, Path::new(&file))?;
    let text = fs::read_to_string(file).context("read the loop's figures")?;
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match figures[..] {
        [by_number, looked_at] => Ok(CallCost { by_number, looked_at }),
        _ => Err(Error::new(format_args!("the loop wrote {text:?}"))),
    }
}

/// Asks benches/libseccomp.c, which is compiled here if libseccomp is to be had.
fn libseccomp(profile: &Seccomp) -> Result<(f64, String)> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench/tools/libseccomp");
    let question = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench/tools/profile");
    let mut text = format!("{:#x}\n", justified::ret(profile.default_action));
    for rule in profile.syscalls.iter().filter(|rule| rule.action != profile.default_action) {
        for name in rule.names.iter().map(|call| call.name()) {
            write!(text, "{:#x} {name}", justified::ret(rule.action)).map_err(Error::new)?;
            for arg in &rule.args {
                let op = justified::operator(arg.op);
                write!(text, " {} {op} {:#x} {:#x}", arg.index, arg.value, arg.value_two)
                    .map_err(Error::new)?;
            }
            text.push('\n');
        }
    }
    fs::write(question, text).context("write the profile")?;
    let output = Command::new(program)
        .stdin(File::open(question).context("open the profile")?)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {program}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (figure, version) =
        said.trim().split_once(' ').ok_or_else(|| Error::new("libseccomp says nothing"))?;
    Ok((figure.parse().map_err(Error::new)?, version.to_owned()))
}

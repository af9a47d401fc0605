//! `make bench` and `make bench-quick`: what urun's commands cost, against crun, runc, youki and the floor (benches/floor.c).
//!
//! Everyone has the same root file system and the same config.json, in turn within every round, so that the noise of the
//! machine meets all alike; what counts are ratios of medians, with the interval in which 95 of 100 such ratios lie. Needs
//! root. Everything happens in a mount namespace with a fresh cgroup2, where the host's hierarchy is as old as it likes, and
//! is removed at the end, also when it is interrupted.
//!
//! `--quick` takes three minutes instead of twenty and writes to target/bench/quick; `--systemd` lets systemd manage the
//! groups; `--order` writes order.ld instead. `BENCH_ROUNDS` is the number of rounds of the base shape (200, quick 20), to which
//! the others are in proportion. `BENCH_OUT` is another directory for the JSON and the pictures, `BENCH_URUN` another urun to measure.

mod counts;
mod filter;
mod growth;
mod measure;
mod order;
// Of the tests of seccomp, which read profiles too.
#[allow(dead_code, clippy::panic, clippy::cast_possible_truncation)]
#[path = "../../tests/seccomp/bpf.rs"]
mod bpf;
#[allow(dead_code, clippy::unwrap_used)]
#[path = "../../tests/seccomp/justified.rs"]
mod justified;
#[allow(dead_code, clippy::unwrap_used, clippy::panic)]
#[path = "../../tests/seccomp/profile.rs"]
mod profile;
mod report;
mod results;
mod shape;
mod stats;
mod subject;
mod supervise;
mod svg;
mod targets;
mod work;

use measure::{Cell, cells, progress};
use results::{Machine, Results};
use shape::{BASE, Config, Shape};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};
use subject::{Subject, Verb};
use urun::error::{Context, Error, Result};
use work::Work;

/// After this no further combination is begun, so that all ends within half an hour.
const LONGEST: Duration = Duration::from_secs(27 * 60);

/// How much is measured.
struct Effort {
    quick: bool,
    systemd: bool,
    /// No measuring, but a new order.ld.
    order: bool,
    /// Of the base shape.
    rounds: usize,
    out: PathBuf,
}

impl Effort {
    fn read() -> Result<Self> {
        let has = |flag: &str| std::env::args().any(|arg| arg == flag);
        let (quick, systemd, order) = (has("--quick"), has("--systemd"), has("--order"));
        let rounds = match std::env::var("BENCH_ROUNDS") {
            Ok(text) => text.parse().map_err(|e| Error::new(format_args!("BENCH_ROUNDS={text}: {e}")))?,
            Err(_) if quick => 20,
            Err(_) => 200,
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let own = root.join(if quick { "target/bench/quick" } else { "docs/bench" });
        let out = std::env::var_os("BENCH_OUT").map_or(own, PathBuf::from);
        Ok(Self { quick, systemd, order, rounds, out })
    }

    /// Rounds of what is measured `times` times less often than the base shape.
    fn rounds(&self, times: usize) -> usize {
        (self.rounds / times).max(self.rounds.min(3))
    }
}

fn main() -> ExitCode {
    // cargo test runs benches too, to see that they build.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let result = match std::env::var_os(supervise::DIRECTORY) {
        None => supervise::supervise(),
        Some(directory) => Effort::read().and_then(|effort| run(PathBuf::from(directory), &effort)),
    };
    if let Err(error) = result {
        eprintln!("bench: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run(directory: PathBuf, effort: &Effort) -> Result<()> {
    let begin = Instant::now();
    let subjects = subject::subjects()?;
    let work = Work::new(directory, effort.systemd)?;
    let mounts = (work.host_mounts(false)?, work.host_mounts(true)?);
    work.host_mounts(false)?;
    if let Some(urun) = subjects.iter().find(|one| effort.order && one.name == subject::URUN) {
        return order::write(&work, urun);
    }
    let mut machine = Machine::new(mounts, work.resources.clone(), effort.systemd);
    let mut cells = by_verb(&work, &subjects, effort)?;
    progress("counts");
    let counts = counts::counts(&work, &subjects)?;
    progress("filters");
    let filters = filter::filters(&work, &subjects, effort.rounds(20))?;
    let mut growth = growth::over_config(&work, &subjects, effort.rounds(10))?;
    let levels: &[usize] = if effort.quick { &[1, 10, 50] } else { &[1, 10, 100, 1000] };
    growth.extend(growth::over_alive(&work, &subjects, levels, effort.rounds(10)));
    if !effort.quick {
        cells.extend(product(&work, &subjects, effort, begin)?);
    }
    machine.load.1 = results::load();
    let results = Results { subjects, cells, growth, counts, filters, machine };
    let verdicts = targets::verdicts(&results);
    let tables = report::tables(&results, &verdicts);
    fs::create_dir_all(&effort.out).with_context(|| format!("make {}", effort.out.display()))?;
    let json = serde_json::to_string_pretty(&results.json(&verdicts)).map_err(Error::new)?;
    fs::write(effort.out.join("results.json"), json + "\n").context("write results.json")?;
    fs::write(effort.out.join("results.txt"), &tables).context("write results.txt")?;
    svg::draw(&results, &effort.out)?;
    println!("{tables}\nwritten to {}", effort.out.display());
    Ok(())
}

/// The base shape of every verb with many rounds, and one thing varied with fewer.
fn by_verb(work: &Work, subjects: &[Subject], effort: &Effort) -> Result<Vec<Cell>> {
    let mut out = Vec::new();
    let quick_only = |shape: &&Shape| !effort.quick || shape.network == BASE.network;
    for verb in [Verb::Run, Verb::Lifecycle, Verb::Exec, Verb::State, Verb::Kill] {
        progress(verb.name());
        // The rest makes no difference to a verb that looks at a container and leaves again.
        let matters = |shape: &&Shape| match verb {
            Verb::Run => true,
            Verb::Lifecycle => shape.at_a_time == 1 || !effort.quick,
            Verb::Exec => shape.at_a_time == 1 && !matches!(shape.config, Config::Mounts(_)),
            _ => **shape == BASE || shape.many_mounts || shape.config == Config::Crio,
        };
        let wanted = |shape: &&Shape| {
            // A crowd in an emulated machine is a test of its patience.
            (!effort.systemd || shape.at_a_time == 1)
                && quick_only(shape)
                && matters(shape)
                && (!effort.quick || verb == Verb::Run || **shape == BASE)
        };
        let all = Shape::one_away();
        let shapes: Vec<Shape> = all.iter().filter(wanted).copied().collect();
        let rounds = |shape: &Shape| match shape {
            shape if *shape == BASE => effort.rounds(1),
            shape if shape.at_a_time > 1 => effort.rounds(20),
            _ => effort.rounds(5),
        };
        out.extend(cells(work, subjects, verb, &shapes, rounds)?);
    }
    Ok(out)
}

/// `run` in every combination, as many as there is time for.
fn product(work: &Work, subjects: &[Subject], effort: &Effort, begin: Instant) -> Result<Vec<Cell>> {
    progress("run, every combination");
    let mut out = Vec::new();
    let mut many = None;
    let all = Shape::all();
    for shape in &all {
        if begin.elapsed() > LONGEST {
            progress(&format!("after {} of {} combinations the time is up", out.len(), all.len()));
            break;
        }
        if many.replace(shape.many_mounts) != Some(shape.many_mounts) {
            work.host_mounts(shape.many_mounts)?;
        }
        let rounds = if shape.at_a_time > 1 { 3 } else { effort.rounds(40).min(5) };
        out.push(measure::cell(work, subjects, Verb::Run, *shape, rounds));
    }
    work.host_mounts(false)?;
    Ok(out)
}

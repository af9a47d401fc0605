//! The rounds: everyone in turn within each, so that the noise of the machine meets all alike.

use crate::{
    shape::Shape,
    stats::{Field, Ratio, Sample, median, quantile, rounded},
    subject::{FLOOR, Subject, Verb, id},
    work::Work,
};
use serde_json::{Map, Value, json};
use std::fs;
use urun::error::{Context, Error, Result};

/// Rounds that are not counted: they fill the page cache and runtimes' own caches. Of several at a time, one is enough.
const WARM_UP: usize = 2;

/// Figures of one verb and shape.
pub struct Cell {
    pub verb: Verb,
    pub shape: Shape,
    pub rounds: usize,
    /// Containers in a sample.
    pub count: usize,
    /// For each that takes part what was measured in each round, or why nothing was.
    pub by: Vec<(&'static str, Result<Vec<Sample>, String>)>,
}

impl Cell {
    pub fn samples(&self, name: &str) -> Option<&[Sample]> {
        let (_, samples) = self.by.iter().find(|(own, _)| *own == name)?;
        samples.as_deref().ok()
    }

    pub fn values(&self, name: &str, field: Field) -> Option<Vec<f64>> {
        Some(self.samples(name)?.iter().map(field).collect())
    }

    pub fn median(&self, name: &str, field: Field) -> Option<f64> {
        self.values(name, field).map(median)
    }

    pub fn ratio(&self, name: &str, other: &str, field: Field) -> Option<Ratio> {
        Some(Ratio::new(&self.values(name, field)?, &self.values(other, field)?))
    }

    pub fn json(&self) -> Value {
        let mut by = Map::new();
        for (name, samples) in &self.by {
            let value = match samples {
                Err(reason) => json!({ "cannot": reason }),
                Ok(samples) => {
                    let of = |field: Field| rounded(median(samples.iter().map(field)));
                    json!({
                        "wall_us": of(|s| s.wall),
                        "wall_p99_us": rounded(quantile(samples.iter().map(|s| s.wall), 0.99)),
                        "user_us": of(|s| s.user),
                        "system_us": of(|s| s.system),
                        "cpu_us": of(Sample::cpu),
                        "peak_rss_kib": of(|s| s.resident),
                        "minor_faults": of(|s| s.minor_faults),
                        "context_switches": of(|s| s.context_switches),
                        "to_crun": self.ratio(name, crate::subject::CRUN, |s| s.wall).map(Ratio::json),
                        "to_floor": self.ratio(name, FLOOR, |s| s.wall).map(Ratio::json),
                        "cpu_to_crun": self.ratio(name, crate::subject::CRUN, Sample::cpu).map(Ratio::json),
                        "cpu_to_floor": self.ratio(name, FLOOR, Sample::cpu).map(Ratio::json),
                    })
                }
            };
            by.insert((*name).to_owned(), value);
        }
        json!({ "verb": self.verb.name(), "shape": self.shape.to_string(), "rounds": self.rounds,
            "containers_in_a_sample": self.count, "by": by })
    }
}

/// One command's measurement.
pub fn sample(work: &Work, words: &[String], jobs: usize, count: usize) -> Result<Sample> {
    work.run(&measured(work, words, jobs, count))?;
    let line = fs::read_to_string(work.path("sample")).context("read a sample")?;
    Sample::parse(&line).ok_or_else(|| Error::new(format_args!("measure wrote {line:?}")))
}

/// The words of a command's measurement, which another tool may watch.
pub fn measured(work: &Work, words: &[String], jobs: usize, count: usize) -> Vec<String> {
    let head = [work.path("measure"), work.path("sample"), jobs.to_string(), count.to_string()];
    [&head[..], words].concat()
}

/// Does something while there are what the verbs of a runtime take: a bundle, and a container that waits.
pub fn prepared<T>(
    work: &Work,
    subject: &Subject,
    shape: &Shape,
    act: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let (bundle, waiting) = (format!("{}-0", subject.name), format!("{}-waiting", subject.name));
    let result = work
        .write_bundle(&bundle, shape, &["/bin/true"])
        .and_then(|()| start_waiting(work, subject, &waiting, shape))
        .and_then(|()| act());
    remove(work, subject, &waiting);
    remove(work, subject, &bundle);
    result
}

/// Measures a verb in a shape in `rounds` rounds. Who fails once is out of the cell, with its words.
pub fn cell(work: &Work, subjects: &[Subject], verb: Verb, shape: Shape, rounds: usize) -> Cell {
    let count = shape.at_a_time;
    let warm_up = if count > 1 { 1 } else { WARM_UP };
    let mut runners = Vec::new();
    for subject in subjects {
        let Some(words) = work.words(subject, verb, &shape) else { continue };
        let ready = prepare(work, subject, verb, &shape).map(|()| Vec::new()).map_err(|e| e.to_string());
        runners.push((subject, words, ready));
    }
    let length = runners.len();
    for round in 0..warm_up + rounds {
        for turn in 0..length {
            // Nobody is always the first.
            let (_, words, samples) = &mut runners[(turn + round) % length];
            let Ok(all) = samples else { continue };
            match sample(work, words, shape.at_a_time, count) {
                Ok(one) if round >= warm_up => all.push(one),
                Ok(_) => {}
                Err(error) => *samples = Err(error.to_string()),
            }
        }
    }
    for (subject, _, samples) in &runners {
        clean(work, subject, verb, &shape, samples.is_err());
    }
    let by = runners.into_iter().map(|(subject, _, samples)| (subject.name, samples)).collect();
    Cell { verb, shape, rounds, count, by }
}

/// Writes the bundles, and starts the container that the verb takes.
fn prepare(work: &Work, subject: &Subject, verb: Verb, shape: &Shape) -> Result<()> {
    if subject.name == FLOOR {
        return Ok(());
    }
    if verb.needs_container() {
        return start_waiting(work, subject, &format!("{}-waiting", subject.name), shape);
    }
    (0..shape.at_a_time)
        .try_for_each(|slot| work.write_bundle(&format!("{}-{slot}", subject.name), shape, &["/bin/true"]))
}

/// Starts a container that waits for its end.
pub fn start_waiting(work: &Work, subject: &Subject, bundle: &str, shape: &Shape) -> Result<()> {
    work.write_bundle(bundle, shape, &["/bin/wait"])?;
    work.run(&work.runtime(subject, &["create", "--bundle", &work.bundle(bundle), &id(bundle)]))?;
    work.run(&work.runtime(subject, &["start", &id(bundle)]))
}

/// Removes a container, whatever is left of it.
pub fn remove(work: &Work, subject: &Subject, bundle: &str) {
    // There may be none.
    let _ = work.run(&work.runtime(subject, &["delete", "--force", &id(bundle)]));
    let _ = fs::remove_dir_all(work.bundle(bundle));
}

fn clean(work: &Work, subject: &Subject, verb: Verb, shape: &Shape, failed: bool) {
    if subject.name == FLOOR {
        return;
    }
    if verb.needs_container() {
        remove(work, subject, &format!("{}-waiting", subject.name));
    } else if failed {
        (0..shape.at_a_time).for_each(|slot| remove(work, subject, &format!("{}-{slot}", subject.name)));
    }
}

/// Says at a terminal what goes on.
pub fn progress(what: &str) {
    eprintln!("bench: {what}");
}

/// The cells of every shape in order, the host's mounts made as each wants them.
pub fn cells(
    work: &Work,
    subjects: &[Subject],
    verb: Verb,
    shapes: &[Shape],
    rounds: impl Fn(&Shape) -> usize,
) -> Result<Vec<Cell>> {
    let mut out = Vec::new();
    let mut many = None;
    for shape in shapes {
        if many != Some(shape.many_mounts) {
            work.host_mounts(shape.many_mounts)?;
            many = Some(shape.many_mounts);
        }
        out.push(cell(work, subjects, verb, *shape, rounds(shape)));
    }
    work.host_mounts(false)?;
    Ok(out)
}

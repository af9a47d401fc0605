//! What one more container alive, and a longer config.json, add to the cost of a verb.

use crate::{
    measure::{Cell, cell, cells, progress, remove, start_waiting},
    shape::{BASE, Config, Shape},
    stats::{Field, rounded, slope},
    subject::{FLOOR, Subject, Verb},
    work::Work,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use urun::error::Result;

/// Cells of one verb at growing sizes.
pub struct Growth {
    pub verb: Verb,
    /// What grows, in words.
    pub over: &'static str,
    pub points: Vec<(f64, Cell)>,
}

impl Growth {
    /// Medians by size.
    pub fn line(&self, name: &str, field: Field) -> Vec<(f64, f64)> {
        self.points.iter().filter_map(|(x, cell)| Some((*x, cell.median(name, field)?))).collect()
    }

    /// Microseconds for each unit of what grows.
    pub fn slope(&self, name: &str) -> Option<f64> {
        let line = self.line(name, |s| s.wall);
        (line.len() > 1).then(|| slope(&line))
    }

    pub fn json(&self, subjects: &[Subject]) -> Value {
        let slopes: serde_json::Map<_, _> = subjects
            .iter()
            .filter_map(|subject| Some((subject.name.to_owned(), json!(rounded(self.slope(subject.name)?)))))
            .collect();
        let points: Vec<Value> =
            self.points.iter().map(|(x, cell)| json!({ "at": x, "cell": cell.json() })).collect();
        json!({ "verb": self.verb.name(), "over": self.over, "us_per_unit": slopes, "points": points })
    }
}

/// Over the size of config.json and the number of its mounts.
pub fn over_config(work: &Work, subjects: &[Subject], rounds: usize) -> Result<Vec<Growth>> {
    let mut out = Vec::new();
    for (over, sizes) in [
        ("KiB of config.json (variables)", [0, 100, 300, 1000].map(Config::Environment)),
        ("mounts in config.json", [1, 10, 100, 500].map(Config::Mounts)),
    ] {
        progress(&format!("run, over {over}"));
        let shapes: Vec<Shape> = sizes.iter().map(|&config| Shape { config, ..BASE }).collect();
        let mut points = Vec::new();
        for cell in cells(work, subjects, Verb::Run, &shapes, |_| rounds)? {
            let at = if let Config::Mounts(count) = cell.shape.config {
                f64::from(u32::try_from(count).unwrap_or(u32::MAX))
            } else {
                work.write_bundle("size", &cell.shape, &["/bin/true"])?;
                work.config_size("size")
            };
            points.push((at, cell));
        }
        out.push(Growth { verb: Verb::Run, over, points });
    }
    Ok(out)
}

/// Over the number of containers that are alive, of each runtime.
pub fn over_alive(work: &Work, subjects: &[Subject], levels: &[usize], rounds: usize) -> Vec<Growth> {
    let verbs = [Verb::Run, Verb::Exec, Verb::State, Verb::List];
    let mut out: Vec<Growth> =
        verbs.iter().map(|&verb| Growth { verb, over: "containers alive", points: Vec::new() }).collect();
    let mut out_of_it = BTreeSet::new();
    let mut alive = 0;
    for &level in levels {
        progress(&format!("{level} containers of each alive"));
        for subject in subjects.iter().filter(|subject| subject.name != FLOOR) {
            for index in alive..level {
                if out_of_it.contains(subject.name) {
                    break;
                }
                if let Err(error) = start_waiting(work, subject, &alive_bundle(subject, index), &BASE) {
                    progress(&format!("{} at {index} containers: {error}", subject.name));
                    out_of_it.insert(subject.name);
                }
            }
        }
        alive = level;
        for growth in &mut out {
            let mut cell = cell(work, subjects, growth.verb, BASE, rounds);
            for (name, samples) in &mut cell.by {
                if out_of_it.contains(name) {
                    *samples = Err(format!("does not get to {level} containers"));
                }
            }
            growth.points.push((f64::from(u32::try_from(level).unwrap_or(u32::MAX)), cell));
        }
    }
    progress("removing them");
    for index in 0..alive {
        for subject in subjects.iter().filter(|subject| subject.name != FLOOR) {
            remove(work, subject, &alive_bundle(subject, index));
        }
    }
    out
}

fn alive_bundle(subject: &Subject, index: usize) -> String {
    format!("{}-alive-{index}", subject.name)
}

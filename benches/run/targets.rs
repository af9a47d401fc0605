//! What the project wants of itself, and whether it is met.

use crate::{
    counts::{AROUND, IN_CONFIG},
    results::Results,
    shape::{BASE, Shape},
    stats::{Field, Ratio, Sample, rounded},
    subject::{CRUN, FLOOR, URUN, Verb},
};
use serde_json::{Value, json};

/// A target and what was measured.
pub struct Verdict {
    pub what: &'static str,
    /// Against whom, with the sign of the comparison.
    pub bound: String,
    /// None where it could not be measured.
    pub figure: Option<f64>,
    /// 95 of 100.
    pub spread: Option<(f64, f64)>,
    pub met: Option<bool>,
}

impl Verdict {
    pub fn json(&self) -> Value {
        json!({ "target": self.what, "bound": self.bound, "measured": self.figure.map(rounded),
            "interval": self.spread.map(|(low, high)| [rounded(low), rounded(high)]), "met": self.met })
    }

    pub fn line(&self) -> String {
        let figure = self.figure.map_or("-".to_owned(), |figure| format!("{figure:.2}"));
        let spread = self.spread.map_or(String::new(), |(low, high)| format!("{low:.2} to {high:.2}"));
        let met = match self.met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "not measured",
        };
        format!("{:<58} {:>14} {figure:>8}  {spread:<14} {met}", self.what, self.bound)
    }
}

/// All of them, in the order of the table.
pub fn verdicts(results: &Results) -> Vec<Verdict> {
    let ratio = |what, verb, shape: Shape, field: Field, (other, bound): (&str, f64)| {
        let ratio = results.cell(verb, &shape).and_then(|cell| cell.ratio(URUN, other, field));
        below(what, other, bound, ratio)
    };
    let (wall, cpu): (Field, Field) = (|s| s.wall, Sample::cpu);
    let many = Shape { many_mounts: true, ..BASE };
    let mut out = vec![
        ratio("run, user namespace, Docker's profile, no limits", Verb::Run, BASE, wall, (CRUN, 0.60)),
        ratio("the same", Verb::Run, BASE, wall, (FLOOR, 1.5)),
        ratio("create+start+delete", Verb::Lifecycle, BASE, wall, (CRUN, 0.60)),
        ratio("exec", Verb::Exec, BASE, wall, (CRUN, 0.60)),
        ratio("user and system CPU of run", Verb::Run, BASE, cpu, (CRUN, 0.50)),
        ratio("the same", Verb::Run, BASE, cpu, (FLOOR, 2.0)),
        ratio("run with 2,000 host mounts", Verb::Run, many, wall, (CRUN, 0.50)),
    ];
    let crowd = Shape { at_a_time: 16, ..BASE };
    let faster = results.cell(Verb::Run, &crowd).and_then(|cell| cell.ratio(CRUN, URUN, wall));
    out.push(Verdict {
        bound: format!("≥ 1.70 {CRUN}"),
        met: faster.map(|ratio| ratio.value >= 1.7),
        ..below("containers per second, 16 at a time", CRUN, 1.7, faster)
    });
    let counted = |what, name: &str, bound| {
        let figure =
            results.count(name).and_then(|count| Some(whole(count.of(URUN)?) / whole(count.of(CRUN)?)));
        plain(what, format!("≤ {bound:.2} {CRUN}"), figure, bound)
    };
    out.push(counted("system calls of run", "system calls of run", 0.40));
    let inside = results.count(IN_CONFIG).is_some_and(|count| count.of(CRUN).is_some());
    out.push(counted("smallest memory limit of run", if inside { IN_CONFIG } else { AROUND }, 1.0));
    out.push(ratio("largest resident set of run", Verb::Run, BASE, |s| s.resident, (CRUN, 0.7)));
    let filters = &results.filters;
    out.push(plain("to compile Docker's profile, µs", "≤ 300".to_owned(), Some(filters.ours.0), 300.0));
    let call = filters.looked_at(URUN).zip(filters.looked_at("runc")).map(|(own, other)| own / other);
    // runc has libseccomp make a tree. Two programs that are as fast differ by chance.
    out.push(plain("a call that the filter looks at", "≤ 1.03 runc".to_owned(), call, 1.03));
    out
}

fn below(what: &'static str, other: &str, bound: f64, ratio: Option<Ratio>) -> Verdict {
    Verdict {
        spread: ratio.map(|ratio| (ratio.low, ratio.high)),
        ..plain(what, format!("≤ {bound:.2} {other}"), ratio.map(|ratio| ratio.value), bound)
    }
}

fn plain(what: &'static str, bound: String, figure: Option<f64>, limit: f64) -> Verdict {
    Verdict { what, bound, figure, spread: None, met: figure.map(|figure| figure <= limit) }
}

#[allow(clippy::cast_precision_loss)]
fn whole(value: u64) -> f64 {
    value as f64
}

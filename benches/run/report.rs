//! The tables on the terminal.

use crate::{
    counts::Count,
    measure::Cell,
    results::Results,
    shape::BASE,
    stats::{Field, Ratio, Sample},
    subject::{CRUN, FLOOR, Subject, URUN, Verb},
    targets::Verdict,
};
use std::fmt::Write as _;

/// Everything as text, the targets last.
pub fn tables(results: &Results, verdicts: &[Verdict]) -> String {
    let mut out = String::new();
    base(&mut out, results);
    variations(&mut out, results);
    product(&mut out, results);
    growth(&mut out, results);
    counts(&mut out, results);
    filters(&mut out, results);
    out.push_str("\nThose that took part\n\n");
    for subject in &results.subjects {
        let _ = writeln!(out, "{:<6} {}  ({} KiB)", subject.name, subject.version, subject.binary_size());
    }
    let (few, many) = results.machine.mounts;
    let _ = writeln!(
        out,
        "{}\nhost mounts: {few} and {many}; limits: {}; systemd's driver: {}",
        results.machine.line(),
        results.machine.limits,
        if results.machine.driver == "systemd" { "this run" } else { "not measured here (make bench-vm)" }
    );
    out.push_str("\nTargets (ratio of medians, and the interval of 95 of 100 such ratios)\n\n");
    for verdict in verdicts {
        let _ = writeln!(out, "{}", verdict.line());
    }
    out
}

/// The base shape: every verb and everyone, with all figures.
fn base(out: &mut String, results: &Results) {
    for cell in [Verb::Run, Verb::Lifecycle, Verb::Exec, Verb::State, Verb::Kill]
        .into_iter()
        .filter_map(|v| results.base(v))
    {
        let _ = writeln!(out, "\n{}: {BASE}; {} rounds\n", cell.verb.name(), cell.rounds);
        let _ = writeln!(
            out,
            "{:<6} {:>20} {:>8} {:>8} {:>20} {:>9} {:>8} {:>9} {:>7} {:>9}",
            "",
            "wall / crun",
            "/ runc",
            "/ floor",
            "CPU / crun",
            "wall ms",
            "p99 ms",
            "peak KiB",
            "faults",
            "switches"
        );
        for (name, samples) in &cell.by {
            if let Err(reason) = samples {
                let _ = writeln!(out, "{name:<6} cannot: {reason}");
                continue;
            }
            let figure = |field: Field| cell.median(name, field).unwrap_or_default();
            let _ = writeln!(
                out,
                "{name:<6} {:>20} {:>8} {:>8} {:>20} {:>9.2} {:>8.2} {:>9.0} {:>7.0} {:>9.0}",
                spread(cell.ratio(name, CRUN, |s| s.wall)),
                short(cell.ratio(name, "runc", |s| s.wall)),
                short(cell.ratio(name, FLOOR, |s| s.wall)),
                spread(cell.ratio(name, CRUN, Sample::cpu)),
                figure(|s| s.wall) / 1000.0,
                crate::stats::quantile(cell.values(name, |s| s.wall).unwrap_or_default(), 0.99) / 1000.0,
                figure(|s| s.resident),
                figure(|s| s.minor_faults),
                figure(|s| s.context_switches),
            );
        }
    }
}

/// A row for each cell: how long urun takes of what the others take.
fn row(out: &mut String, cell: &Cell, others: &[Subject]) {
    let _ = write!(out, "{:<94}", cell.shape.to_string());
    for other in others.iter().filter(|subject| subject.name != URUN) {
        let ratio = cell.ratio(URUN, other.name, |s| s.wall);
        let _ = write!(out, " {:>20}", spread(ratio));
    }
    out.push('\n');
    for (name, samples) in &cell.by {
        if let Err(reason) = samples {
            let _ = writeln!(out, "    {name} cannot: {reason}");
        }
    }
}

fn heads(out: &mut String, title: &str, subjects: &[Subject]) {
    let _ = write!(out, "\n{title:<94}");
    for other in subjects.iter().filter(|subject| subject.name != URUN) {
        let _ = write!(out, " {:>20}", format!("urun / {}", other.name));
    }
    out.push('\n');
}

fn variations(out: &mut String, results: &Results) {
    for verb in [Verb::Run, Verb::Lifecycle, Verb::Exec, Verb::State, Verb::Kill] {
        let cells: Vec<&Cell> =
            crate::shape::Shape::one_away().iter().filter_map(|s| results.cell(verb, s)).collect();
        if cells.len() > 1 {
            heads(out, &format!("{}, one thing varied", verb.name()), &results.subjects);
            for cell in cells {
                row(out, cell, &results.subjects);
            }
        }
    }
}

/// The whole product as quantiles over its cells, and its worst ones; every cell is in the JSON.
fn product(out: &mut String, results: &Results) {
    let all = || results.cells.iter().filter(|cell| cell.verb == Verb::Run);
    if all().count() < 100 {
        return;
    }
    let _ = writeln!(
        out,
        "\nrun, all {} combinations: quantiles over the combinations of urun / other",
        all().count()
    );
    let _ = writeln!(
        out,
        "\n{:<8} {:>6} {:>8} {:>8} {:>8} {:>8}",
        "", "cells", "least", "median", "90 %", "most"
    );
    for other in results.subjects.iter().filter(|subject| subject.name != URUN) {
        let ratios: Vec<f64> =
            all().filter_map(|cell| Some(cell.ratio(URUN, other.name, |s| s.wall)?.value)).collect();
        let at = |part| crate::stats::quantile(ratios.iter().copied(), part);
        let _ = writeln!(
            out,
            "{:<8} {:>6} {:>8.2} {:>8.2} {:>8.2} {:>8.2}",
            other.name,
            ratios.len(),
            at(0.0),
            at(0.5),
            at(0.9),
            at(1.0)
        );
    }
    let mut worst: Vec<&Cell> = all().collect();
    let to_crun = |cell: &Cell| cell.ratio(URUN, CRUN, |s| s.wall).map_or(0.0, |ratio| ratio.value);
    worst.sort_by(|a, b| to_crun(b).total_cmp(&to_crun(a)));
    heads(out, "the worst against crun", &results.subjects);
    for cell in worst.into_iter().take(5) {
        row(out, cell, &results.subjects);
    }
}

fn growth(out: &mut String, results: &Results) {
    let _ = write!(out, "\n{:<52}", "growth: µs for each");
    results.subjects.iter().for_each(|subject| _ = write!(out, " {:>9}", subject.name));
    out.push('\n');
    for growth in &results.growth {
        let _ = write!(out, "{:<52}", format!("{}, {}", growth.verb.name(), growth.over));
        for subject in &results.subjects {
            let slope = growth.slope(subject.name).map_or("-".to_owned(), |slope| format!("{slope:.2}"));
            let _ = write!(out, " {slope:>9}");
        }
        out.push('\n');
    }
    for growth in &results.growth {
        if let Some((size, cell)) = growth.points.last() {
            heads(out, &format!("{}, {size:.0} {}", growth.verb.name(), growth.over), &results.subjects);
            row(out, cell, &results.subjects);
        }
    }
}

fn counts(out: &mut String, results: &Results) {
    let _ = write!(out, "\n{:<52}", "counted in the base shape");
    results.subjects.iter().for_each(|subject| _ = write!(out, " {:>9}", subject.name));
    out.push('\n');
    for count in &results.counts {
        let _ = write!(out, "{:<52}", count.what);
        for subject in &results.subjects {
            let figure = count.of(subject.name).map_or("-".to_owned(), |figure| figure.to_string());
            let _ = write!(out, " {figure:>9}");
        }
        out.push('\n');
        reasons(out, count);
    }
}

fn reasons(out: &mut String, count: &Count) {
    for (name, figure) in &count.by {
        if let Err(reason) = figure {
            let _ = writeln!(out, "    {name} cannot: {reason}");
        }
    }
}

fn filters(out: &mut String, results: &Results) {
    let filters = &results.filters;
    let _ = writeln!(
        out,
        "\nDocker's profile compiled: urun {:.0} µs in the median, {:.0} at the 99th percentile",
        filters.ours.0, filters.ours.1
    );
    match &filters.libseccomp {
        Ok((figure, version)) => _ = writeln!(out, "{version} with a binary tree: {figure:.0} µs"),
        Err(reason) => _ = writeln!(out, "libseccomp: {reason}"),
    }
    let _ = writeln!(
        out,
        "\n{:<12} {:>20} {:>32}",
        "ns a call", "allowed by number", "arguments looked at by the filter"
    );
    for (name, figures) in &filters.calls {
        match figures {
            Ok(cost) => _ = writeln!(out, "{name:<12} {:>20.1} {:>32.1}", cost.by_number, cost.looked_at),
            Err(reason) => _ = writeln!(out, "{name:<12} cannot: {reason}"),
        }
    }
}

fn spread(ratio: Option<Ratio>) -> String {
    ratio.map_or("-".to_owned(), |r| format!("{:.2} ({:.2}-{:.2})", r.value, r.low, r.high))
}

fn short(ratio: Option<Ratio>) -> String {
    ratio.map_or("-".to_owned(), |r| format!("{:.2}", r.value))
}

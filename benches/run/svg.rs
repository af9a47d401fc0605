//! Plain pictures: bars beside each other, and lines on logarithmic axes.

use crate::{
    growth::Growth,
    results::Results,
    shape::{BASE, Config, Shape},
    stats::{Field, Ratio, Sample},
    subject::{CRUN, FLOOR, URUN, Verb},
};
use std::{fmt::Write as _, fs, path::Path};
use urun::error::{Context, Result};

const WIDTH: f64 = 720.0;
const DARK: &str = "#1a1a1a";
const GREY: &str = "#666666";

/// Draws everything into a directory.
pub fn draw(results: &Results, directory: &Path) -> Result<()> {
    let caption = results.machine.line();
    let write = |name: &str, text: String| {
        fs::write(directory.join(name), text).with_context(|| format!("write {name}"))
    };
    write("verbs.svg", verbs(results, &caption))?;
    write("shapes.svg", shapes(results, &caption))?;
    write("cpu.svg", cpu(results, &caption))?;
    for growth in &results.growth {
        let over = growth.over.split(' ').next().unwrap_or_default().to_lowercase();
        let name = format!("growth-{}-{over}.svg", growth.verb.name());
        write(&name, lines(results, growth, &caption))?;
    }
    Ok(())
}

/// A runtime's colour, the same in every picture.
fn colour(name: &str) -> &'static str {
    match name {
        URUN => "#1e7b4a",
        CRUN => "#3b6ea5",
        "runc" => "#c0792b",
        "youki" => "#8e5aa8",
        _ => "#8899aa",
    }
}

/// One group of bars: its title, and the ratio of each that has one.
struct Group {
    title: String,
    bars: Vec<(&'static str, Ratio)>,
}

fn group(results: &Results, title: &str, verb: Verb, shape: &Shape, field: Field) -> Option<Group> {
    let cell = results.cell(verb, shape)?;
    let bars: Vec<_> =
        cell.by.iter().filter_map(|(name, _)| Some((*name, cell.ratio(name, CRUN, field)?))).collect();
    (!bars.is_empty()).then(|| Group { title: title.to_owned(), bars })
}

fn verbs(results: &Results, caption: &str) -> String {
    let verbs = [Verb::Run, Verb::Lifecycle, Verb::Exec, Verb::State, Verb::Kill];
    let groups = verbs.iter().filter_map(|verb| group(results, verb.name(), *verb, &BASE, |s| s.wall));
    bars("Time of each command, crun = 1 (user namespace, Docker's profile)", groups.collect(), caption)
}

fn shapes(results: &Results, caption: &str) -> String {
    let shapes = [
        ("user namespace, Docker's profile", BASE),
        ("without user namespace", Shape { userns: false, ..BASE }),
        ("without profile", Shape { seccomp: false, ..BASE }),
        ("with limits", Shape { limits: crate::shape::Limits::Some, ..BASE }),
        ("CRI-O's config.json", Shape { config: Config::Crio, ..BASE }),
        ("500 mounts in config.json", Shape { config: Config::Mounts(500), ..BASE }),
        ("2,000 mounts on the host", Shape { many_mounts: true, ..BASE }),
        ("16 at a time", Shape { at_a_time: 16, ..BASE }),
    ];
    let groups =
        shapes.iter().filter_map(|(title, shape)| group(results, title, Verb::Run, shape, |s| s.wall));
    bars("Time of run, crun = 1", groups.collect(), caption)
}

fn cpu(results: &Results, caption: &str) -> String {
    let verbs = [Verb::Run, Verb::Lifecycle, Verb::Exec];
    let groups = verbs.iter().filter_map(|verb| group(results, verb.name(), *verb, &BASE, Sample::cpu));
    bars("User and system time of the processor, crun = 1", groups.collect(), caption)
}

/// Words in a size at the start, the middle or the end of which the place is.
fn text(out: &mut String, at: (f64, f64), (size, anchor): (u32, &str), fill: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        out,
        r#"<text x="{:.0}" y="{:.0}" font-size="{size}" text-anchor="{anchor}" fill="{fill}">{words}</text>"#,
        at.0, at.1
    );
}

fn frame(height: f64, title: &str, caption: &str, body: &str) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" font-family=\"sans-serif\">\n\
         <rect width=\"{WIDTH}\" height=\"{height:.0}\" fill=\"#ffffff\"/>\n"
    );
    text(&mut out, (WIDTH / 2.0, 30.0), (16, "middle"), DARK, title);
    out.push_str(body);
    text(&mut out, (WIDTH / 2.0, height - 14.0), (11, "middle"), GREY, caption);
    out.push_str("</svg>\n");
    out
}

/// Bars to the right; what would leave the picture is cut and says its figure.
fn bars(title: &str, groups: Vec<Group>, caption: &str) -> String {
    const LEFT: f64 = 300.0;
    const ROW: f64 = 17.0;
    /// The largest ratio that is drawn in full.
    const MOST: f64 = 5.0;
    let largest = groups
        .iter()
        .flat_map(|group| group.bars.iter().map(|bar| bar.1.value))
        .fold(1.2, f64::max)
        .min(MOST);
    let scale = (WIDTH - LEFT - 80.0) / largest;
    let (mut body, mut y) = (String::new(), 60.0);
    let top = y - 8.0;
    for group in groups {
        text(&mut body, (LEFT - 66.0, y + 12.0), (13, "end"), DARK, &group.title);
        for (name, Ratio { value, low, high }) in group.bars {
            let (length, fill) = (value.min(largest) * scale, colour(name));
            text(&mut body, (LEFT - 8.0, y + 12.0), (12, "end"), GREY, name);
            let _ = writeln!(
                body,
                r#"<rect x="{LEFT}" y="{y:.0}" width="{length:.1}" height="13" rx="2" fill="{fill}"/>"#
            );
            if value < largest {
                let (low, high) = (LEFT + low.min(largest) * scale, LEFT + high.min(largest) * scale);
                let middle = y + 6.5;
                let _ = writeln!(
                    body,
                    r#"<path d="M{low:.1} {middle} H{high:.1} M{low:.1} {} V{} M{high:.1} {} V{}" stroke="{DARK}" stroke-width="1"/>"#,
                    y + 3.0,
                    y + 10.0,
                    y + 3.0,
                    y + 10.0
                );
            }
            let end = value.max(high).min(largest) * scale;
            let words = format!("{value:.2}{}", if value > largest { " →" } else { "" });
            text(&mut body, (LEFT + end + 6.0, y + 11.0), (12, "start"), DARK, &words);
            y += ROW;
        }
        y += 14.0;
    }
    let one = LEFT + scale;
    let _ = writeln!(
        body,
        r#"<path d="M{one:.1} {top} V{:.0}" stroke="{GREY}" stroke-width="1" stroke-dasharray="3 3"/>"#,
        y - 10.0
    );
    frame(y + 30.0, title, caption, &body)
}

/// Medians over what grows, both axes logarithmic.
fn lines(results: &Results, growth: &Growth, caption: &str) -> String {
    const BOX: (f64, f64, f64, f64) = (70.0, 60.0, 560.0, 340.0);
    let all: Vec<(&str, Vec<(f64, f64)>)> = results
        .subjects
        .iter()
        .map(|subject| (subject.name, growth.line(subject.name, |s| s.wall / 1000.0)))
        .filter(|(name, line)| line.len() > 1 && (*name != FLOOR || growth.verb == Verb::Run))
        .collect();
    let points = || all.iter().flat_map(|(_, line)| line.iter());
    let range = |of: fn(&(f64, f64)) -> f64| {
        let (low, high) =
            points().map(of).filter(|v| *v > 0.0).fold((f64::MAX, 0.0f64), |r, v| (r.0.min(v), r.1.max(v)));
        (low.log10().floor(), high.log10().ceil().max(low.log10().floor() + 1.0))
    };
    let ((x0, x1), (y0, y1)) = (range(|p| p.0), range(|p| p.1));
    let place = |(x, y): (f64, f64)| {
        let part = |v: f64, low: f64, high: f64| ((v.max(1e-9).log10() - low) / (high - low)).clamp(0.0, 1.0);
        let (px, py) = (part(x, x0, x1), part(y, y0, y1));
        (BOX.0 + px * (BOX.2 - BOX.0), BOX.3 - py * (BOX.3 - BOX.1))
    };
    let (mut body, mut labels) = (String::new(), Vec::new());
    axes(&mut body, BOX, &[(x0, x1), (y0, y1)]);
    for (name, line) in &all {
        let (mut path, mut last) = (String::new(), (0.0, 0.0));
        for (index, point) in line.iter().enumerate() {
            last = place(*point);
            let _ = write!(path, "{}{:.1} {:.1} ", if index == 0 { 'M' } else { 'L' }, last.0, last.1);
        }
        let fill = colour(name);
        let _ = writeln!(body, r#"<path d="{path}" fill="none" stroke="{fill}" stroke-width="2"/>"#);
        let slope = growth.slope(name).unwrap_or_default();
        labels.push((last.0 + 8.0, last.1 + 4.0, fill, format!("{name} ({slope:+.1} µs)")));
    }
    // Lines that end at the same place have their words below each other.
    labels.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut above = 0.0;
    for (x, y, fill, words) in labels {
        above = f64::max(y, above + 14.0);
        text(&mut body, (x, above), (12, "start"), fill, &words);
    }
    text(&mut body, (f64::midpoint(BOX.0, BOX.2), BOX.3 + 40.0), (13, "middle"), DARK, growth.over);
    let title = format!("Milliseconds of {}; in brackets what one more costs", growth.verb.name());
    frame(BOX.3 + 80.0, &title, caption, &body)
}

fn axes(out: &mut String, (left, top, right, bottom): (f64, f64, f64, f64), ranges: &[(f64, f64); 2]) {
    let [(x0, x1), (y0, y1)] = *ranges;
    let mut decade = x0;
    while decade <= x1 {
        let x = left + (decade - x0) / (x1 - x0) * (right - left);
        let _ = writeln!(out, r##"<path d="M{x:.1} {top} V{bottom}" stroke="#e3e8ee"/>"##);
        text(out, (x, bottom + 18.0), (12, "middle"), GREY, &10f64.powf(decade).to_string());
        decade += 1.0;
    }
    let mut decade = y0;
    while decade <= y1 {
        let y = bottom - (decade - y0) / (y1 - y0) * (bottom - top);
        let _ = writeln!(out, r##"<path d="M{left} {y:.1} H{right}" stroke="#e3e8ee"/>"##);
        text(out, (left - 8.0, y + 4.0), (12, "end"), GREY, &10f64.powf(decade).to_string());
        decade += 1.0;
    }
}

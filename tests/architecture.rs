//! The shape of the source as ARCHITECTURE.md draws it, held by reading `src/`.

#![allow(clippy::unwrap_used)] // the helpers of tests are no `#[test]` functions

use std::fs;
use std::path::{Path, PathBuf};

/// The longest file.
const MAX_LINES: usize = 450;
/// Folders with the same face: what is decided in `plan.rs`, what is done in `apply.rs`.
const SUBSYSTEMS: &[&str] =
    &["ns", "mount", "cgroup", "cred", "seccomp", "lsm", "hook", "tty", "net", "rdt", "systemd"];

struct Source {
    /// Path below `src/`, such as `mount/plan.rs`.
    path: String,
    text: String,
}

impl Source {
    /// The top folder, or the stem of a file in `src/` itself.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// The text without comments, string contents and the unit tests.
    fn code(&self) -> String {
        let code = self.text.split("\n#[cfg(test)]").next().unwrap();
        code.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
    }

    /// The modules of this crate that the code names.
    fn uses(&self) -> Vec<String> {
        let code = self.code();
        let mut found = Vec::new();
        for (at, _) in code.match_indices("crate::") {
            // `use crate::{a, b::c}` and `crate::a::b` both end up as first names.
            let rest = &code[at + "crate::".len()..];
            if let Some(list) = rest.strip_prefix('{') {
                found.extend(first_names(list));
            } else {
                found.push(name(rest));
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// The first name of each path in a braced list, up to its closing brace.
fn first_names(list: &str) -> Vec<String> {
    let (mut depth, mut names, mut fresh) = (1, Vec::new(), true);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' => fresh = true,
            c if depth == 1 && fresh && c.is_alphabetic() => {
                names.push(name(&list[at..]));
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut |path| {
        let text = fs::read_to_string(path).unwrap();
        found.push(Source { path: path.strip_prefix(&root).unwrap().display().to_string(), text });
    });
    assert!(found.len() > 20, "the source is not where it was");
    found
}

fn walk(dir: &Path, visit: &mut impl FnMut(&Path)) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, visit);
        } else if path.extension().is_some_and(|e| e == "rs") {
            visit(&path);
        }
    }
}

/// Fails with every offence at once.
#[track_caller]
fn none(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

/// The modules that `source` may name, or `None` where everything goes.
fn allowed(source: &Source) -> Option<Vec<&'static str>> {
    let file = source.path.rsplit('/').next().unwrap();
    let plan = file.starts_with("plan") || source.path.contains("/plan/");
    Some(match source.module() {
        "error" => vec!["error"],
        "sys" => vec!["error", "sys", "bail"],
        "spec" => vec!["error", "spec", "bail"],
        "host" => vec!["error", "host", "sys", "bail"],
        "plan" => [&["error", "spec", "host", "plan", "cli", "bail"], SUBSYSTEMS].concat(),
        subsystem if SUBSYSTEMS.contains(&subsystem) && plan => {
            [&["error", "spec", "host", "bail"], SUBSYSTEMS].concat()
        }
        subsystem if SUBSYSTEMS.contains(&subsystem) => {
            // Parsers may read the specification's types; what is applied may not.
            let mut all = [&["error", "sys", "host", "bail"], SUBSYSTEMS].concat();
            if !file.starts_with("apply") && !source.path.contains("/apply/") {
                all.push("spec");
            }
            all
        }
        "state" => vec!["error", "spec", "sys", "state", "host", "clock", "bail"],
        _ => return None,
    })
}

#[test]
fn dependencies_point_one_way() {
    let mut offences = Vec::new();
    for source in sources() {
        let uses = source.uses();
        if let Some(allowed) = allowed(&source) {
            for used in uses.iter().filter(|used| !allowed.contains(&used.as_str())) {
                offences.push(format!("src/{} names crate::{used}", source.path));
            }
        }
        // Nothing but the program itself stands above the verbs.
        if !matches!(source.module(), "cmd" | "main" | "lib") && uses.iter().any(|used| used == "cmd") {
            offences.push(format!("src/{} names crate::cmd", source.path));
        }
    }
    none(&offences);
}

#[test]
fn a_plan_has_no_effects() {
    let effects = ["std::fs", "std::process", "std::net", "std::env", "crate::sys", "File::", "Command::new"];
    let mut offences = Vec::new();
    for source in sources() {
        let file = source.path.rsplit('/').next().unwrap();
        if file == "plan.rs" || source.module() == "plan" || source.path.contains("/plan/") {
            let code = source.code();
            for effect in effects.iter().filter(|effect| code.contains(**effect)) {
                offences.push(format!("src/{} has {effect}", source.path));
            }
        }
    }
    none(&offences);
}

#[test]
fn unsafe_lives_in_sys_alone() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| source.module() != "sys") {
        for (number, line) in source.code().lines().enumerate() {
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            if words.contains(&"unsafe") || line.contains("allow(unsafe_code)") && source.path != "lib.rs" {
                offences.push(format!("src/{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    none(&offences);
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| source.module() == "sys") {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap();
            if !code.contains("unsafe {") && !code.contains("unsafe impl") {
                continue;
            }
            let reasoned =
                lines[number.saturating_sub(8)..=number].iter().any(|line| line.contains("SAFETY:"));
            if !reasoned {
                offences.push(format!("src/{}:{}", source.path, number + 1));
            }
        }
    }
    none(&offences);
}

#[test]
fn files_are_short_enough_to_be_read() {
    let offences: Vec<String> = sources()
        .iter()
        .filter(|source| source.text.lines().count() > MAX_LINES)
        .map(|source| format!("src/{} has {} lines", source.path, source.text.lines().count()))
        .collect();
    none(&offences);
}

#[test]
fn the_containers_file_system_is_never_touched_by_path() {
    let by_path = [
        "std::fs",
        "fs::read",
        "fs::write",
        ".exists()",
        "canonicalize",
        "symlink(",
        "create_dir",
        "libc::mount(",
    ];
    let mut offences = Vec::new();
    for source in
        sources().iter().filter(|source| source.module() == "mount" && !source.path.contains("/tests/"))
    {
        let code = source.code();
        for word in by_path.iter().filter(|word| code.contains(**word)) {
            offences.push(format!("src/{} has {word}", source.path));
        }
    }
    none(&offences);
}

#[test]
fn nothing_is_left_for_later() {
    // Spelt in pieces, or this line would be an offence itself.
    let markers = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        "unimplemented!",
        concat!("to", "do!("),
    ];
    let mut offences = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for dir in
        ["src", "tests", "benches", "hooks"].map(|dir| root.join(dir)).iter().filter(|dir| dir.exists())
    {
        walk(dir, &mut |path| {
            for (number, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
                let ignored = line.trim_start().starts_with("#[ignore");
                if path.ends_with("architecture.rs") {
                    continue;
                }
                if ignored || markers.iter().any(|marker| line.contains(marker)) {
                    offences.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
                }
            }
        });
    }
    none(&offences);
}

#[test]
fn every_module_says_what_it_is_for() {
    let offences: Vec<String> = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| format!("src/{} does not begin with a sentence", source.path))
        .collect();
    none(&offences);
}

#[test]
fn the_reader_of_uses_understands_both_forms() {
    let text =
        "use crate::{error::Result, sys::{a, b}, spec};\nfn f() { crate::host::probe() } // crate::cmd\n"
            .to_owned();
    let source = Source { path: "x.rs".into(), text };
    assert_eq!(source.uses(), ["error", "host", "spec", "sys"]);
}

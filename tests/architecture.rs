//! The shape of the source as ARCHITECTURE.md draws it, held by reading `src/`.

#![allow(clippy::unwrap_used)] // the helpers of tests are no `#[test]` functions

use std::collections::BTreeSet;
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
fn programs_are_started_where_that_is_the_task_and_never_by_a_shell() {
    // newuidmap and newgidmap; ps; hooks; the sealed copy of urun itself; the container's program.
    let allowed =
        ["ns/apply.rs", "cmd/ps.rs", "sys/spawn.rs", "sys/seal.rs", "sys/exec.rs", "launch/process.rs"];
    let starts = [
        "Command::new",
        "libc::exec",
        "libc::fexec",
        "SYS_exec",
        "posix_spawn",
        "exec::execve(",
        "exec::fexecve(",
    ];
    let shells = ["libc::system", "popen", "/bin/sh", "\"sh\"", "\"bash\""];
    let mut offences = Vec::new();
    // The command line has a `Command` of its own.
    for source in sources().iter().filter(|source| !is_test(&source.path) && source.module() != "cli") {
        let code = source.code();
        let calls =
            starts.iter().filter(|call| code.contains(**call) && !allowed.contains(&source.path.as_str()));
        offences.extend(calls.map(|call| format!("src/{} has {call}", source.path)));
        let names = shells.iter().filter(|name| code.contains(**name));
        offences.extend(names.map(|name| format!("src/{} has {name}", source.path)));
    }
    none(&offences);
}

/// Whether a file is compiled for tests alone.
fn is_test(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap();
    path.contains("/tests/")
        || file.ends_with("tests.rs")
        || matches!(file, "scratch.rs" | "real.rs" | "golden.rs" | "example.rs")
}

/// A package of Cargo.lock: name, version, and what it depends on, by name or by name and version.
struct Locked {
    name: String,
    version: String,
    needs: Vec<String>,
}

fn locked() -> Vec<Locked> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let lock: toml::Table = text.parse().unwrap();
    let word = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let package = |package: &toml::Value| {
        let needs = package.get("dependencies").and_then(toml::Value::as_array).into_iter().flatten();
        Locked {
            name: word(&package["name"]),
            version: word(&package["version"]),
            needs: needs.map(word).collect(),
        }
    };
    lock["package"].as_array().unwrap().iter().map(package).collect()
}

#[test]
fn every_crate_of_the_binary_has_been_looked_at() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml")).unwrap().parse().unwrap();
    let locked = locked();
    let mut ahead: Vec<String> = manifest["dependencies"].as_table().unwrap().keys().cloned().collect();
    let mut needed = BTreeSet::new();
    while let Some(need) = ahead.pop() {
        // `syn` where there is one version, else `syn 2.0.1`.
        let is_it = |it: &&Locked| it.name == need || format!("{} {}", it.name, it.version) == need;
        for package in locked.iter().filter(is_it) {
            if needed.insert(format!("| {} | {} |", package.name, package.version)) {
                ahead.extend(package.needs.iter().cloned());
            }
        }
    }
    let table = fs::read_to_string(root.join("docs/dependencies.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| crate "));
    let rows: BTreeSet<_> = rows
        .map(|row| format!("{}|", row.split_inclusive('|').take(3).collect::<String>().trim_end_matches('|')))
        .collect();
    let missing = needed.difference(&rows).map(|row| format!("docs/dependencies.md has no row {row}"));
    let dead =
        rows.difference(&needed).map(|row| format!("docs/dependencies.md has {row}, Cargo.lock has not"));
    none(&missing.chain(dead).collect::<Vec<_>>());
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

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
    // newuidmap and newgidmap; ps; hooks; the protected image of urun itself; the container's program.
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

/// The standard library refers to these weakly, and optimised together with it so does a call of ours: then a static program has no such function, and calls
/// address 0. They are called by their numbers.
#[test]
fn no_function_is_called_that_a_static_program_may_lack() {
    let weak = [
        "libc::statx(",
        "libc::gettid(",
        "libc::copy_file_range(",
        "libc::pidfd_getpid(",
        "libc::pidfd_spawn",
        "libc::preadv2(",
        "libc::pwritev2(",
        "posix_spawn_file_actions_addchdir",
    ];
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| !is_test(&source.path)) {
        let code = source.code();
        let calls = weak.iter().filter(|call| code.contains(**call));
        offences.extend(calls.map(|call| format!("src/{} has {call}", source.path)));
    }
    none(&offences);
}

/// The function of ours that a line of order.ld names, by the mangled path: each part after its length.
fn ordered_function(line: &str) -> Option<&str> {
    let mut rest = line.split_once("(.text._ZN")?.1;
    rest.strip_prefix("4urun")?;
    let mut last = None;
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (length, after) = rest.split_at(digits);
        // The hash would be a part as well, but order.ld has a star in its place.
        let Some((part, after)) = length.parse().ok().and_then(|length| after.split_at_checked(length))
        else {
            break;
        };
        if part.contains('$') {
            break;
        }
        (last, rest) = (Some(part), after);
    }
    last
}

/// What order.ld names in vain does no harm, but what took its place lies far from the rest (ADR 15).
#[test]
fn the_order_of_functions_is_of_this_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("order.ld");
    let order = fs::read_to_string(path).unwrap();
    let names: BTreeSet<&str> = order.lines().filter_map(ordered_function).collect();
    let code: String = sources().iter().map(|source| source.text.clone()).collect();
    let is_here = |name: &&str| ["(", "<"].iter().any(|next| code.contains(&format!("fn {name}{next}")));
    let (here, gone): (Vec<&str>, Vec<&str>) = names.into_iter().partition(is_here);
    assert!(here.len() > 200, "order.ld names {} functions of urun", here.len());
    assert!(gone.len() * 10 < here.len(), "`make order` is due, these are gone: {gone:?}");
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

/// What looks a path up without a descriptor to start at, as far as the program could come to use it.
const BY_PATH: &[&str] = &[
    "fs::canonicalize",
    "fs::copy",
    "fs::create_dir",
    "fs::hard_link",
    "fs::metadata",
    "fs::read",
    "fs::remove_",
    "fs::rename",
    "fs::set_permissions",
    "fs::symlink_metadata",
    "fs::write",
    "DirBuilder::",
    "Dir::open(",
    "Proc::open(",
    "File::create",
    "File::open(",
    "File::options(",
    "OpenOptions::",
    ".canonicalize(",
    ".exists()",
    ".is_dir()",
    ".is_file()",
    ".is_symlink()",
    ".metadata()",
    "access(",
    "chdir(",
    "chmod(",
    "chown(",
    "chroot(",
    "clone_path(",
    "fcntl::open(",
    "getxattr(",
    "lchown(",
    "mkdir(",
    "mkfifo(",
    "mknod(",
    "mount::mount(",
    "libc::mount(",
    "libc::open(",
    "readlink(",
    "rename(",
    "rmdir(",
    "setxattr(",
    "stat::lstat(",
    "stat::stat(",
    "statfs(",
    "statvfs(",
    "symlink(",
    "umount(",
    "umount2(",
    "unlink(",
    "UnixAddr::new(",
];

/// Modules that never meet what a container, its image or an ordinary user has made: the command line and what it names (bundle,
/// config.json, pid file, logs), which is opened with the caller's own rights on the host before there is a container.
const CALLERS_OWN: &[&str] = &["cli", "cmd", "error", "hint", "lib", "log", "main", "spec"];

/// The calls by path that there are: file, a part of the line, why it is none of the container's paths.
const OWN_PATHS: &[(&str, &str, &str)] = &[
    ("cgroup/apply.rs", "/sys/kernel/cgroup/delegate", "of the kernel"),
    (
        "cgroup/dir.rs",
        "fcntl::open(mount,",
        "a hierarchy of the host's, proven by its file system; all else is beneath it",
    ),
    (
        "cred/enter.rs",
        "chdir(path)",
        "process.cwd, by init in its root; where it led is asked of the kernel (CVE-2024-21626)",
    ),
    ("hook/run.rs", "fcntl::open(program.path", "hooks of config.json, in the runtime's namespaces"),
    (
        "hook/run.rs",
        "fcntl::open(path, flags",
        "the output of hooks, which an annotation of config.json names",
    ),
    ("host/cgroups.rs", "statfs(ROOT)", "of the kernel"),
    ("host/cgroups.rs", "fs::read_to_string(&file)", "of the kernel"),
    ("host/passwd.rs", "/etc/passwd", "the host's own"),
    ("launch/assembler.rs", "chdir(\"/\")", "no name is looked up"),
    ("launch/init.rs", "chdir(\"/\")", "no name is looked up"),
    ("launch/init.rs", "chdir(\"/..\")", "no name is looked up"),
    ("launch/init.rs", "chroot(\".\")", "no name is looked up"),
    ("launch/lookup.rs", "statvfs(path)", "words for an error, under the container's identity"),
    ("lsm/apply.rs", "/sys/module/apparmor", "of the kernel"),
    ("lsm/apply.rs", "/sys/fs/selinux", "of the kernel"),
    (
        "mount/apply.rs",
        "fcntl::open(&plan.rootfs",
        "the root's own directory on the host, compared with the root",
    ),
    ("mount/apply.rs", "chroot(\".\")", "no name is looked up"),
    ("mount/apply.rs", "chdir(\"/\")", "no name is looked up"),
    ("mount/idmap.rs", "fcntl::open(path,", "words for an error: a source of config.json, on the host"),
    ("mount/attach.rs", "mount::clone_path(", "a control group of the host's"),
    ("mount/idmap.rs", "clone_path(path,", "words for an error: a source of config.json, on the host"),
    ("mount/old_root.rs", "fcntl::open(&view.point", "a mount of the host's, proven by its id"),
    ("mount/overlay.rs", "clone_path(path,", "layers of config.json, on the host"),
    ("mount/overlay.rs", "fcntl::open(path,", "a root of config.json, on the host"),
    ("mount/proc.rs", "Path::new(\"/proc\")", "the runtime's, proven to be the root of a procfs"),
    ("mount/source.rs", "clone_path(&", "root and sources of config.json, on the host"),
    ("mount/source.rs", "clone_path(Path::new(\"/dev/null\")", "the host's, proven by its number"),
    ("mount/idmap.rs", "Proc::open(", "before anything is entered"),
    ("mount/old_root.rs", "Proc::open(", "the host's, whose root is hidden"),
    ("mount/overlay.rs", "Proc::open(", "before anything is entered"),
    ("ns/apply.rs", "File::open(path)", "namespaces of config.json, before anything is entered"),
    ("ns/apply.rs", "candidate.is_file()", "newuidmap in an absolute directory of PATH"),
    ("ns/subid.rs", "fs::read_to_string(path)", "/etc/subuid and /etc/subgid"),
    (
        "rdt/apply.rs",
        "",
        "resctrl, where nobody but root of the host makes anything; names of groups are checked (`src/rdt/plan.rs`)",
    ),
    ("seccomp/notify.rs", "UnixAddr::new(path)", "the agent that config.json names"),
    ("seccomp/notify.rs", "Proc::open(", "by the runtime, on the host"),
    ("state/claims.rs", "Proc::open(", "by the runtime, on the host"),
    ("state/status.rs", "Proc::open(", "by the runtime, on the host"),
    ("state/store.rs", "", "the state root, which nobody else may write to (SEC-44)"),
    ("sys/fd.rs", "fcntl::open(\"/\"", "no name is looked up"),
    ("sys/mount.rs", "umount2(\".\"", "no name is looked up"),
    ("sys/mount.rs", "chdir(\"/\")", "no name is looked up"),
    ("sys/openat.rs", "fcntl::open(\"/\"", "no name is looked up"),
    ("sys/proc.rs", "Proc::open()", "words for an error"),
    ("sys/proc.rs", "fcntl::open(\"/proc\"", "proven to be a procfs; all else is beneath it"),
    ("sys/socket.rs", "fcntl::open(path,", "the directory of a socket that the caller names"),
    (
        "sys/spawn.rs",
        "chdir(cwd)",
        "hooks of config.json; the container's own in its root (`startContainer`)",
    ),
    ("sys/start.rs", "/dev/null", "the host's, for a caller without standard descriptors"),
    ("systemd/nsresource.rs", "Path::new(SOCKET).exists()", "of systemd, on the host"),
    (
        "tty/apply.rs",
        "fcntl::open(path",
        "no link, and proven to be the terminal before it is opened and after",
    ),
];

/// The calls of [`BY_PATH`] in a line of code.
fn by_path(line: &str) -> impl Iterator<Item = &'static str> {
    let whole = |word: &str, at: usize| {
        let before = line[..at].chars().next_back().unwrap_or(' ');
        word.starts_with('.') || !(before.is_alphanumeric() || "_.\"".contains(before))
    };
    BY_PATH.iter().copied().filter(move |word| {
        line.match_indices(word).any(|(at, _)| whole(word, at)) && !line.contains(&format!("fn {word}"))
    })
}

#[test]
fn sec_10_what_is_not_the_callers_own_is_never_touched_by_path() {
    let (mut offences, mut met) = (Vec::new(), BTreeSet::new());
    for source in sources() {
        if CALLERS_OWN.contains(&source.module()) || is_test(&source.path) {
            continue;
        }
        // Its name would say nothing where it is called.
        let code = source.code();
        let lists = code.split("fcntl::{").skip(1).filter_map(|rest| rest.split('}').next());
        if code.contains("fcntl::open,")
            || lists.into_iter().any(|list| first_names(list).contains(&"open".to_owned()))
        {
            offences
                .push(format!("src/{} imports open, which is to be called as nix::fcntl::open", source.path));
        }
        for (number, line) in
            code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("use "))
        {
            let reason =
                OWN_PATHS.iter().position(|(file, part, _)| source.path == *file && line.contains(part));
            for word in by_path(line) {
                match reason {
                    Some(reason) => _ = met.insert(reason),
                    None => offences.push(format!(
                        "src/{}:{}: {word} in: {}",
                        source.path,
                        number + 1,
                        line.trim()
                    )),
                }
            }
        }
    }
    let dead = (0..OWN_PATHS.len()).filter(|reason| !met.contains(reason));
    offences.extend(dead.map(|reason| format!("there is no {:?}", OWN_PATHS[reason])));
    none(&offences);
}

#[test]
fn the_reader_of_calls_by_path_knows_them_from_those_by_descriptor() {
    for line in [
        "fchdir(root)",
        "fstatfs(&fd)",
        "openat(dir, name)",
        "line.truncate(1)",
        "readlinkat(&proc, \"self\")",
    ] {
        assert_eq!(by_path(line).count(), 0, "{line}");
    }
    for line in [
        "nix::unistd::chdir(path)",
        "std::fs::read_to_string(path)",
        "path.exists()",
        "let fd = nix::fcntl::open(p, f)",
    ] {
        assert_eq!(by_path(line).count(), 1, "{line}");
    }
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

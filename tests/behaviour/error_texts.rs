//! What a user reads when a container cannot be had: broken setups and the exact words about them, in
//! tests/golden/errors. `UPDATE_GOLDEN=1` writes them anew.

use crate::common::*;
use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Who gets the same setup.
type Who = &'static [Mode];
const ROOT: Who = &[Mode::RootUserns];
const BOTH: Who = &[Mode::RootUserns, Mode::RootlessRange];
const RANGE: Who = &[Mode::RootlessRange];
const ONE: Who = &[Mode::RootlessOne];

/// A broken setup.
struct Case(&'static str, Who, fn(Bundle) -> Bundle);

fn script(root: &Path, text: &[u8]) {
    std::fs::write(root.join("bin/program"), text).unwrap();
    std::fs::set_permissions(root.join("bin/program"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// An x86-64 program whose loader is not in the image.
fn elf() -> Vec<u8> {
    let loader = b"/lib64/ld-linux-x86-64.so.2\0";
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let header: [(u64, usize); 13] = [
        (2, 2),
        (62, 2),
        (1, 4),
        (0x40_0000, 8),
        (64, 8),
        (0, 8),
        (0, 4),
        (64, 2),
        (56, 2),
        (1, 2),
        (64, 2),
        (0, 2),
        (0, 2),
    ];
    let length = loader.len() as u64;
    // PT_INTERP
    let program: [(u64, usize); 8] =
        [(3, 4), (4, 4), (120, 8), (0x40_0078, 8), (0x40_0078, 8), (length, 8), (length, 8), (1, 8)];
    for (value, size) in header.into_iter().chain(program) {
        file.extend(&value.to_le_bytes()[..size]);
    }
    file.extend(loader);
    file
}

fn hook(kind: &str, path: &str, script: &str) -> (String, Value) {
    (format!("/hooks/{kind}/-"), json!({"path": path, "args": ["sh", "-c", script], "timeout": 1}))
}

fn with_hook(bundle: Bundle, (pointer, value): (String, Value)) -> Bundle {
    bundle.put("/hooks", json!({})).put(&pointer, value)
}

fn process() -> Vec<Case> {
    vec![
        Case("program not in PATH", BOTH, |b| b.args(["nosuchprogram"])),
        Case("program not there", BOTH, |b| b.args(["/bin/nosuchprogram"])),
        Case("program not executable", ROOT, |b| b.args(["/etc/passwd"])),
        Case("program is a directory", ROOT, |b| b.args(["/etc"])),
        Case("script of Windows", ROOT, |b| {
            b.rootfs(|root| script(root, b"#!/bin/sh\r\ntrue\r\n")).args(["/bin/program"])
        }),
        Case("script without its interpreter", BOTH, |b| {
            b.rootfs(|root| script(root, b"#!/usr/bin/python9\n")).args(["/bin/program"])
        }),
        Case("script without a first line", ROOT, |b| {
            b.rootfs(|root| script(root, b"echo hello\n")).args(["/bin/program"])
        }),
        Case("program without its loader", ROOT, |b| {
            b.rootfs(|root| script(root, &elf())).args(["/bin/program"])
        }),
        Case("no arguments", ROOT, |b| b.put("/process/args", json!([]))),
        Case("relative working directory", ROOT, |b| b.put("/process/cwd", json!("srv"))),
        Case("working directory is a file", BOTH, |b| b.put("/process/cwd", json!("/etc/passwd"))),
        Case("uid without a map", BOTH, |b| b.user(70_000, 0)),
        Case("gid without a map", ROOT, |b| b.user(0, 70_000)),
        Case("uid with one id", ONE, |b| b.user(1000, 1000)),
        Case("additional gid without a map", ROOT, |b| {
            b.put("/process/user/additionalGids", json!([70_000]))
        }),
        Case("additional gid with one id", ONE, |b| b.put("/process/user/additionalGids", json!([5]))),
        Case("unknown rlimit, twice", ROOT, |b| {
            let limit = json!({"type": "RLIMIT_JOY", "soft": 1, "hard": 1});
            b.put("/process/rlimits", json!([limit, limit]))
        }),
    ]
}

fn mounts() -> Vec<Case> {
    vec![
        Case("source not there", BOTH, |b| b.mount("bind", "/no/such/source", "/mnt", &["bind"])),
        Case("directory on a file", BOTH, |b| b.mount("bind", "/usr", "/etc/passwd", &["bind"])),
        Case("unknown file system", BOTH, |b| b.mount("nosuchfs", "none", "/mnt", &[])),
        Case("mount in /proc", BOTH, |b| b.mount("tmpfs", "tmpfs", "/proc/self/attr", &[])),
        Case("tmpfs on /proc", ROOT, |b| b.mount("tmpfs", "tmpfs", "/proc", &[])),
        Case("mount on /", ROOT, |b| b.mount("tmpfs", "tmpfs", "/", &[])),
        Case("/proc is a symlink", BOTH, |b| {
            b.rootfs(|root| {
                std::fs::remove_dir(root.join("proc")).unwrap();
                symlink("/tmp", root.join("proc")).unwrap();
            })
        }),
        Case("id-mapped procfs", ROOT, |b| b.mount("bind", "/proc", "/mnt", &["bind", "idmap"])),
        Case("everything masked", ROOT, |b| b.put("/linux/maskedPaths", json!(["/"]))),
        Case("no root", BOTH, |b| b.put("/root/path", json!("no/such/root"))),
        Case("root is a file", ROOT, |b| b.put("/root/path", json!("config.json"))),
        Case("device nobody has", RANGE, |b| {
            b.put("/linux/devices", json!([{"path": "/dev/nosuch", "type": "c", "major": 1, "minor": 3}]))
        }),
    ]
}

fn namespaces() -> Vec<Case> {
    vec![
        Case("namespace not there", BOTH, |b| b.namespace("network", Some("/run/netns/nosuch"))),
        Case("namespace is a file", ROOT, |b| b.namespace("network", Some("/etc/passwd"))),
        Case("namespace of another kind", ROOT, |b| b.namespace("network", Some("/proc/self/ns/uts"))),
        Case("no mount namespace", ROOT, |b| b.namespace("mount", None)),
        Case("maps without a user namespace", ROOT, |b| b.namespace("user", None)),
        Case("no maps", ROOT, |b| {
            b.put("/linux/uidMappings", json!([])).put("/linux/gidMappings", json!([]))
        }),
        Case("maps overlap", ROOT, |b| {
            b.put("/linux/uidMappings/-", json!({"containerID": 65_535, "hostID": 9, "size": 2}))
        }),
        Case("maps of somebody else", RANGE, |b| {
            b.put("/linux/uidMappings", json!([{"containerID": 0, "hostID": 4_000_000, "size": 65_536}]))
        }),
        Case("maps without a range", ONE, |b| {
            b.put("/linux/uidMappings/-", json!({"containerID": 1, "hostID": 4_000_000, "size": 65_536}))
        }),
        Case("sysctl of the host", ROOT, |b| b.put("/linux/sysctl", json!({"vm.swappiness": "1"}))),
        Case("sysctl of a shared namespace", ROOT, |b| {
            b.namespace("network", None).put("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))
        }),
        Case("sysctl not there", BOTH, |b| b.put("/linux/sysctl", json!({"net.ipv4.nosuch": "1"}))),
        Case("sysctl with a wrong value", BOTH, |b| {
            b.put("/linux/sysctl", json!({"net.ipv4.ip_unprivileged_port_start": "-1"}))
        }),
        Case("network device not there", ROOT, |b| b.put("/linux/netDevices", json!({"nosuch0": {}}))),
    ]
}

fn others() -> Vec<Case> {
    vec![
        Case("hook not there", BOTH, |b| with_hook(b, hook("createRuntime", "/no/such/hook", ""))),
        Case("hook not there, inside", BOTH, |b| with_hook(b, hook("createContainer", "/no/such/hook", ""))),
        Case("hook fails", BOTH, |b| {
            with_hook(b, hook("createRuntime", "/bin/sh", "echo reason >&2; exit 3"))
        }),
        Case("hook is killed", ROOT, |b| with_hook(b, hook("createContainer", "/bin/sh", "kill -9 $$"))),
        Case("hook takes too long", ROOT, |b| with_hook(b, hook("prestart", "/bin/sh", "exec sleep 60"))),
        Case("hook of the container fails", ROOT, |b| {
            with_hook(b, hook("startContainer", "/bin/sh", "exit 4"))
        }),
        Case("poststart hook fails", ROOT, |b| with_hook(b, hook("poststart", "/bin/sh", "exit 5"))),
        Case("seccomp agent without a socket", ROOT, |b| {
            b.put(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}),
            )
        }),
        Case("seccomp agent not there", BOTH, |b| {
            b.put(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/such/agent",
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}),
            )
        }),
        Case("unmasked without a user namespace", &[Mode::Root], |b| {
            b.put("/annotations", json!({"io.urun.proc-mount": "unmasked"}))
        }),
        Case("wrong annotation", ROOT, |b| b.put("/annotations", json!({"io.urun.mounts": "loose"}))),
        Case("version of another generation", ROOT, |b| b.put("/ociVersion", json!("2.0.0"))),
        Case("no console socket", ROOT, |b| b.put("/process/terminal", json!(true))),
    ]
}

/// What one setup says, without what differs from run to run.
fn text(name: &str, mode: Mode, build: fn(Bundle) -> Bundle) -> String {
    let bundle = build(Bundle::new(mode));
    let pidfile = bundle.scratch().join("run/pid");
    // What fails at start only, fails here too.
    let output = bundle.run_with(&["-d", "--pid-file", pidfile.to_str().unwrap()]);
    assert_ne!(output.code, 0, "{name} ({mode:?}) is not broken");
    Traces::none_of(&bundle);
    let said =
        output.stderr.replace(&bundle.scratch().path().display().to_string(), "…").replace(bundle.id(), "ID");
    format!("# {name} ({mode:?}): {}\n{}\n", output.code, numberless(&said))
}

/// Numbers of descriptors and namespaces change: `openat2(7</proc>` and `uts:[4026531838]`.
fn numberless(text: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let changes = (c == '<' && out.ends_with('(')) || (c == ']' && out.ends_with(":["));
        out.push_str(if changes && !digits.is_empty() { "N" } else { &digits });
        digits.clear();
        out.push(c);
    }
    out + &digits
}

/// Compares what these setups say with a file of tests/golden/errors.
#[track_caller]
fn check(file: &str, cases: Vec<Case>) {
    if only_ours("the words are ours") {
        return;
    }
    let mut now = String::new();
    for Case(name, who, build) in cases {
        for mode in who {
            now.push_str(&text(name, *mode, build));
        }
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/errors").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &now).unwrap();
    }
    let before = std::fs::read_to_string(&golden).unwrap_or_default();
    for (was, is) in before.split("\n\n").zip(now.split("\n\n")) {
        assert_eq!(was, is, "UPDATE_GOLDEN=1 accepts the new words");
    }
    assert_eq!(before, now, "UPDATE_GOLDEN=1 accepts the new words");
}

#[test]
fn what_is_wrong_with_a_process_is_told_in_the_words_of_the_golden_file() {
    check("process.txt", process());
}

#[test]
fn what_is_wrong_with_mounts_is_told_in_the_words_of_the_golden_file() {
    check("mounts.txt", mounts());
}

#[test]
fn what_is_wrong_with_namespaces_is_told_in_the_words_of_the_golden_file() {
    check("namespaces.txt", namespaces());
}

#[test]
fn what_is_wrong_with_all_else_is_told_in_the_words_of_the_golden_file() {
    check("others.txt", others());
}

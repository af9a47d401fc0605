//! What a user reads when a container cannot be had: broken setups and the exact words about them, in
//! tests/golden/errors. `UPDATE_GOLDEN=1` writes them anew.

use crate::common::*;
use nix::mount::MsFlags;
use serde_json::{Value, json};
use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

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
        Case("everything masked", ROOT, |b| b.put("/linux/maskedPaths", json!(["/"]))),
        Case("no root", BOTH, |b| b.put("/root/path", json!("no/such/root"))),
        Case("root is a file", ROOT, |b| b.put("/root/path", json!("config.json"))),
        Case("device nobody has", RANGE, |b| {
            b.put("/linux/devices", json!([{"path": "/dev/nosuch", "type": "c", "major": 1, "minor": 3}]))
        }),
    ]
}

/// The container's own maps, as those of the last mount.
fn mapped(bundle: Bundle) -> Bundle {
    bundle.with(|config| {
        let maps = config["linux"]["uidMappings"].clone();
        let last = config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
        (last["uidMappings"], last["gidMappings"]) = (maps.clone(), maps);
    })
}

/// A tmpfs on the host.
fn tmpfs(bundle: &Bundle) -> PathBuf {
    let volume = bundle.scratch().dir("volume", (0, 0), 0o755);
    let kind = Some("tmpfs");
    nix::mount::mount(kind, &volume, kind, MsFlags::empty(), None::<&str>).unwrap();
    volume
}

/// An overlay of two directories on the host.
fn overlay(bundle: &Bundle) -> PathBuf {
    let lower = ["a", "b"].map(|name| bundle.scratch().dir(name, (0, 0), 0o755).display().to_string());
    let merged = bundle.scratch().dir("merged", (0, 0), 0o755);
    let options = format!("lowerdir={}", lower.join(":"));
    nix::mount::mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .unwrap();
    merged
}

/// Mounts a directory over itself with ids mapped.
fn idmapped(dir: &Path) {
    let maps = PinnedNamespaces::with(&[], Some((131_072, 65_536)));
    let namespace = std::fs::File::open(maps.path("user")).unwrap();
    let name = CString::new(dir.as_os_str().as_encoded_bytes()).unwrap();
    let attr = nix::libc::mount_attr {
        attr_set: nix::libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(namespace.as_raw_fd()).unwrap(),
    };
    let here = nix::libc::AT_FDCWD;
    // SAFETY: the descriptors are open, the strings NUL-terminated, and the size is that of the structure.
    unsafe {
        use nix::libc::{SYS_mount_setattr, SYS_move_mount, SYS_open_tree, syscall};
        let tree = syscall(SYS_open_tree, here, name.as_ptr(), nix::libc::OPEN_TREE_CLONE);
        assert!(tree >= 0);
        let (empty, flags, size) = (c"".as_ptr(), nix::libc::AT_EMPTY_PATH, size_of_val(&attr));
        assert_eq!(syscall(SYS_mount_setattr, tree, empty, flags, &raw const attr, size), 0);
        let flags = nix::libc::MOVE_MOUNT_F_EMPTY_PATH;
        assert_eq!(syscall(SYS_move_mount, tree, empty, here, name.as_ptr(), flags), 0);
        nix::libc::close(i32::try_from(tree).unwrap());
    }
}

/// Mount options of an overlay below the bundle's scratch directory.
fn layers(bundle: Bundle, options: &[(&str, &str)]) -> Bundle {
    let dir = bundle.scratch().path().to_owned();
    for name in ["lower", "rw/upper", "rw/work", "elsewhere/work"] {
        bundle.scratch().dir(name, (0, 0), 0o755);
    }
    let option = |(key, name): &(&str, &str)| format!("{key}={}", dir.join(name).display());
    let options: Vec<String> = options.iter().map(option).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    mapped(bundle.mount("overlay", "overlay", "/mnt", &options))
}

/// What the kernel does itself since Linux 7.3, as `volumes` shows, so that it is refused no more or by the kernel.
const OVERLAYS: [&str; 3] =
    ["id-mapped overlay", "file on an overlay", "layer that is an overlay with an upper one"];

fn idmaps() -> Vec<Case> {
    vec![
        Case("id-mapped procfs", ROOT, |b| b.mount("bind", "/proc", "/mnt", &["bind", "idmap"])),
        Case("id-mapped overlay", ROOT, |b| {
            let merged = overlay(&b);
            mapped(b.mount("bind", merged, "/mnt", &["bind"]))
        }),
        Case("file on an overlay", ROOT, |b| {
            let merged = overlay(&b);
            b.scratch().file("a/file", "", (0, 0), 0o644);
            mapped(b.mount("bind", merged.join("file"), "/mnt/file", &["rbind", "ro"]))
        }),
        Case("submount that cannot be id-mapped", ROOT, |b| {
            let tree = b.scratch().dir("tree", (0, 0), 0o755);
            let below = b.scratch().dir("tree/below", (0, 0), 0o755);
            let nothing = None::<&str>;
            nix::mount::mount(Some("proc"), &below, Some("proc"), MsFlags::empty(), nothing).unwrap();
            mapped(b.mount("bind", tree, "/mnt", &["rbind", "ridmap"]))
        }),
        Case("id-mapped twice", ROOT, |b| {
            let volume = tmpfs(&b);
            idmapped(&volume);
            mapped(b.mount("bind", volume, "/mnt", &["bind"]))
        }),
        Case("id-mapped by nobody", RANGE, |b| {
            let volume = tmpfs(&b);
            b.mount("bind", volume, "/mnt", &["bind", "idmap"])
        }),
        Case("id-mapped with the host's ids by nobody", RANGE, |b| {
            let volume = tmpfs(&b);
            let lines = json!([{"containerID": 0, "hostID": 4_000_000, "size": 1}]);
            b.mount("bind", volume, "/mnt", &["bind"])
                .put("/mounts/6/uidMappings", lines.clone())
                .put("/mounts/6/gidMappings", lines)
        }),
        Case("remount with mappings", ROOT, |b| mapped(b.mount("bind", "/usr", "/mnt", &["remount", "ro"]))),
    ]
}

fn overlays() -> Vec<Case> {
    vec![
        Case("layers without a lower one", ROOT, |b| layers(b, &[("upperdir", "rw/upper")])),
        Case("layers without a work directory", ROOT, |b| {
            layers(b, &[("lowerdir", "lower"), ("upperdir", "rw/upper")])
        }),
        Case("layer not there", ROOT, |b| layers(b, &[("lowerdir", "nosuch")])),
        Case("layer of data alone", ROOT, |b| layers(b, &[("lowerdir", "lower::/data")])),
        Case("relative layer", ROOT, |b| {
            mapped(b.mount("overlay", "overlay", "/mnt", &["lowerdir=l/ABC:l/DEF"]))
        }),
        Case("layer that cannot be id-mapped", ROOT, |b| {
            mapped(b.mount("overlay", "overlay", "/mnt", &["lowerdir=/proc/sys:/sys"]))
        }),
        Case("layer that is an overlay with an upper one", ROOT, |b| {
            let merged = overlay(&b);
            let dirs =
                ["lower", "upper", "work"].map(|name| b.scratch().dir(&format!("2/{name}"), (0, 0), 0o755));
            let [lower, upper, work] = dirs.each_ref().map(|dir| dir.display());
            let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
            let (kind, flags) = (Some("overlay"), MsFlags::empty());
            nix::mount::umount(&merged).unwrap();
            nix::mount::mount(kind, &merged, kind, flags, Some(options.as_str())).unwrap();
            layers(b, &[("lowerdir", "merged")])
        }),
        Case("upper directory in the work directory", ROOT, |b| {
            layers(b, &[("lowerdir", "lower"), ("upperdir", "rw"), ("workdir", "rw/work")])
        }),
        Case("work directory on another mount", ROOT, |b| {
            let elsewhere = b.scratch().dir("elsewhere", (0, 0), 0o755);
            let (kind, flags) = (Some("tmpfs"), MsFlags::empty());
            nix::mount::mount(kind, &elsewhere, kind, flags, None::<&str>).unwrap();
            layers(b, &[("lowerdir", "lower"), ("upperdir", "rw/upper"), ("workdir", "elsewhere/work")])
        }),
        Case("work directory of nobody", ROOT, |b| {
            let options = [("lowerdir", "lower"), ("upperdir", "rw/upper"), ("workdir", "rw/work")];
            let b = layers(b, &options);
            let work = b.scratch().join("rw/work");
            std::os::unix::fs::chown(work, Some(4_000_000), Some(4_000_000)).unwrap();
            b
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
        Case("hardened without a user namespace", &[Mode::Root], |b| {
            b.put("/annotations", json!({"io.urun.hardened": "true"}))
        }),
        Case("hardened and unmasked", ROOT, |b| {
            b.put("/annotations", json!({"io.urun.hardened": "true", "io.urun.proc-mount": "unmasked"}))
        }),
        Case("neither hardened nor not", ROOT, |b| b.put("/annotations", json!({"io.urun.hardened": "yes"}))),
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
    let own = mounts_below(bundle.scratch().path());
    let output = bundle.run_with(&["-d", "--pid-file", pidfile.to_str().unwrap()]);
    assert_eq!(mounts_below(bundle.scratch().path()), own, "{name} ({mode:?})");
    own.iter().rev().for_each(|mount| nix::mount::umount(mount).unwrap());
    assert_ne!(output.code, 0, "{name} ({mode:?}) is not broken");
    Traces::none_of(&bundle);
    let said =
        output.stderr.replace(&bundle.scratch().path().display().to_string(), "…").replace(bundle.id(), "ID");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let said = said.replace(release.trim_end(), "RELEASE");
    // Descriptors are named from the root of the mount namespace, which the root file system is from the start since Linux 7.0.
    let said = said.replace("<…/bundle/rootfs>", "</>").replace("<…/bundle/rootfs/", "</");
    format!("# {name} ({mode:?}): {}\n{}\n", output.code, numberless(&said))
}

/// Numbers of descriptors, namespaces and processes change: `openat2(7</proc>`, `uts:[4026531838]`, `/proc/77/uid_map`.
fn numberless(text: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let changes = (c == '<' && out.ends_with('('))
            || (c == ']' && out.ends_with(":["))
            || (c == '/' && out.ends_with("/proc/"));
        out.push_str(if changes && !digits.is_empty() { "N" } else { &digits });
        digits.clear();
        out.push(c);
    }
    out + &digits
}

/// The titles, which have the exit status, and the hints.
fn without_sentences(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("# ") || line.starts_with("hint: ")).collect()
}

/// Compares what these setups say with a file of tests/golden/errors.
#[track_caller]
fn check(file: &str, cases: Vec<Case>) {
    if only_ours("the words are ours") {
        return;
    }
    let mut now = String::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/errors").join(file);
    for Case(name, who, build) in cases {
        if linux() >= (7, 3) && OVERLAYS.contains(&name) {
            let known = std::fs::read_to_string(&golden).unwrap();
            now.extend(known.split_inclusive("\n\n").filter(|text| text.starts_with(&format!("# {name} "))));
            continue;
        }
        for mode in who {
            now.push_str(&text(name, *mode, build));
        }
    }
    if TurnedDown::by_environment().is_some() {
        // Where another call has to do it, the sentence names that one. What becomes of it and the remedy stay.
        let before = std::fs::read_to_string(&golden).unwrap();
        assert_eq!(without_sentences(&before), without_sentences(&now));
        return;
    }
    golden_words(&golden, &now);
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
fn what_is_wrong_with_id_mapped_mounts_is_told_in_the_words_of_the_golden_file() {
    check("idmaps.txt", [idmaps(), overlays()].into_iter().flatten().collect());
}

#[test]
fn what_is_wrong_with_namespaces_is_told_in_the_words_of_the_golden_file() {
    check("namespaces.txt", namespaces());
}

#[test]
fn what_is_wrong_with_all_else_is_told_in_the_words_of_the_golden_file() {
    check("others.txt", others());
}

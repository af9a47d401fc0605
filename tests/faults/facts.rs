//! What guards a container, as the host sees it, in a text that is the same for each one made from the same config.json.

use crate::common::{Bundle, Proc, cgroup_dir, host_mounts};
use std::fmt::Write as _;
use std::fs::File;
use std::os::fd::AsRawFd;

/// The lines of /proc/PID/status that say what a process may do.
pub const RIGHTS: [&str; 11] = [
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Umask",
];
const NAMESPACES: [&str; 7] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];

/// Everything about a running container that a fault must not take away unseen.
pub fn of(bundle: &Bundle, init: Proc) -> String {
    let mut text = String::new();
    for field in RIGHTS {
        writeln!(text, "{field}: {}", init.status(field)).unwrap();
    }
    let own = Proc(std::process::id());
    for kind in NAMESPACES {
        writeln!(text, "{kind} namespace: own {}", init.ns(kind) != own.ns(kind)).unwrap();
    }
    for mount in init.mounts() {
        let (root, point, kind) = (&mount.root, &mount.point, &mount.kind);
        // A shared one would have the number of its peer group.
        writeln!(text, "{kind} {root} on {point} {:?} {:?}", mount.options, mount.super_options).unwrap();
    }
    for file in ["limits", "uid_map", "gid_map", "setgroups", "cgroup"] {
        writeln!(text, "{file}: {}", init.read(file)).unwrap();
    }
    if !bundle.mode().rootless() {
        // An ordinary user may not lower it; a refusal is told in the log and no failure.
        writeln!(text, "oom_score_adj: {}", init.read("oom_score_adj")).unwrap();
    }
    writeln!(text, "descriptors: {:?}", init.fds()).unwrap();
    // HOME is a convenience: where /etc/passwd cannot be read it is `/`.
    let env: Vec<String> = init.env().into_iter().filter(|entry| !entry.starts_with("HOME=")).collect();
    writeln!(text, "environment: {env:?}").unwrap();
    for link in ["cwd", "exe"] {
        writeln!(text, "{link}: {}", std::fs::read_link(init.path(link)).unwrap().display()).unwrap();
    }
    let devices: Vec<String> =
        init.read("net/dev").lines().skip(2).map(|line| first_words(line, 1)).collect();
    writeln!(text, "network devices: {devices:?}").unwrap();
    // Those of devices that are up and have an address.
    let networks: Vec<String> =
        init.read("net/route").lines().skip(1).map(|line| first_words(line, 3)).collect();
    writeln!(text, "networks: {networks:?}").unwrap();
    if bundle.mode().cgroups() {
        for (controller, file) in [
            ("pids", "pids.max"),
            ("memory", "memory.limit_in_bytes"),
            ("memory", "memory.max"),
            ("devices", "devices.list"),
        ] {
            writeln!(text, "{file}: {}", limit(init, controller, file)).unwrap();
        }
        writeln!(text, "device programs: {}", device_programs(init)).unwrap();
    }
    text
}

fn first_words(line: &str, count: usize) -> String {
    line.split_whitespace().take(count).collect::<Vec<_>>().join(" ")
}

/// The text with the container's own ids told from the first one on, where each container gets others.
pub fn relative(text: &str, init: Proc) -> String {
    let own = init.map("uid_map").into_iter().max_by_key(|[_, _, count]| *count);
    let Some([_, first, count]) = own else { return text.to_owned() };
    let told = |word: &str| match word.parse::<u32>().ok().and_then(|id| id.checked_sub(first)) {
        Some(number) if number < count => format!("first+{number}"),
        _ => word.to_owned(),
    };
    // Each number, with what ends it.
    let piece = |piece: &str| {
        let (number, end) = piece.split_at(piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len()));
        told(number) + end
    };
    let line = |line: &str| match line.starts_with("Max ") {
        // A limit may be as large as an id.
        true => line.to_owned(),
        // uid_map fills up its columns.
        false => {
            first_words(line, usize::MAX).split_inclusive(|c: char| !c.is_ascii_digit()).map(piece).collect()
        }
    };
    text.lines().map(line).collect::<Vec<String>>().join("\n")
}

/// How many device programs the container's version 2 control group has, by bpf(2); none where there is no such group.
fn device_programs(init: Proc) -> u32 {
    const BPF_PROG_QUERY: libc::c_long = 16;
    const BPF_CGROUP_DEVICE: u32 = 6;
    const COUNT: usize = 6;
    let Some(dir) = cgroup_dir("", &init.cgroup("")) else { return 0 };
    let dir = File::open(dir).unwrap();
    // `query` of union bpf_attr: the group, the kind, flags, flags, a pointer to nothing, and room for the count.
    let mut query = [dir.as_raw_fd().cast_unsigned(), BPF_CGROUP_DEVICE, 0, 0, 0, 0, 0, 0];
    let size = size_of_val(&query);
    // SAFETY: the kernel reads and writes within the array.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, query.as_mut_ptr(), size) };
    if result == 0 { query[COUNT] } else { 0 }
}

/// What a file of the container's control group says; nothing where the hierarchies have no such file.
pub fn limit(init: Proc, controller: &str, file: &str) -> String {
    let v1 = host_mounts().iter().any(|mount| mount.kind == "cgroup" && mount.super_has(controller));
    let name = if v1 { controller } else { "" };
    let dir = cgroup_dir(name, &init.cgroup(name)).unwrap();
    std::fs::read_to_string(dir.join(file)).unwrap_or_default()
}

/// The lines in which two such texts differ.
pub fn difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let only = |these: &str, those: &str, sign: char| -> Vec<String> {
        let those: Vec<&str> = those.lines().collect();
        these.lines().filter(|line| !those.contains(line)).map(|line| format!("{sign}{line}")).collect()
    };
    let mut lines = only(expected, found, '-');
    lines.extend(only(found, expected, '+'));
    Some(if lines.is_empty() { "the order of lines".to_owned() } else { lines.join("\n") })
}

//! The limits of a container's cgroup in the terms of config.json, whichever version of cgroups has them.

use super::host::{Proc, cgroup_dir, host_mounts};

/// Is the controller mounted as version 1?
pub fn is_v1(controller: &str) -> bool {
    host_mounts().iter().any(|mount| mount.kind == "cgroup" && mount.super_has(controller))
}

/// The content of a file in the cgroup of a process, in the hierarchy that has `controller`.
#[track_caller]
pub fn cgroup_file(process: Proc, controller: &str, name: &str) -> Option<String> {
    let group = process.cgroup(if is_v1(controller) { controller } else { "" });
    let path = cgroup_dir(controller, &group)?.join(name);
    Some(
        std::fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
            .trim()
            .to_owned(),
    )
}

/// A limit by its JSON path below `linux.resources`, −1 for none; nothing where the host has no such controller.
#[track_caller]
pub fn limit_of(process: Proc, path: &str) -> Option<i64> {
    let controller = match path.split('.').next().unwrap() {
        "memory" => "memory",
        "pids" => "pids",
        "cpu" => "cpu",
        other => panic!("{other}"),
    };
    let read = |name: &str| cgroup_file(process, controller, name);
    let number = |text: &str| match text {
        // The latter is what version 1 has for no limit: the largest number of whole pages.
        "max" | "9223372036854771712" => -1,
        text => text.parse().unwrap(),
    };
    let file = match (path, is_v1(controller)) {
        ("memory.limit", true) => "memory.limit_in_bytes",
        ("memory.limit", false) => "memory.max",
        ("memory.reservation", true) => "memory.soft_limit_in_bytes",
        ("memory.reservation", false) => "memory.low",
        ("memory.swap", true) => "memory.memsw.limit_in_bytes",
        ("memory.swap", false) => {
            let (swap, memory) = (number(&read("memory.swap.max")?), number(&read("memory.max")?));
            return Some(if swap < 0 { -1 } else { swap + memory });
        }
        ("pids.limit", _) => "pids.max",
        ("cpu.quota", true) => "cpu.cfs_quota_us",
        ("cpu.period", true) => "cpu.cfs_period_us",
        ("cpu.burst", true) => "cpu.cfs_burst_us",
        ("cpu.burst", false) => "cpu.max.burst",
        ("cpu.idle", _) => "cpu.idle",
        ("cpu.quota" | "cpu.period", false) => {
            let line = read("cpu.max")?;
            let (quota, period) = line.split_once(' ').unwrap();
            return Some(number(if path == "cpu.quota" { quota } else { period }));
        }
        ("cpu.shares", true) => "cpu.shares",
        ("cpu.shares", false) => "cpu.weight",
        other => panic!("{other:?}"),
    };
    Some(number(&read(file)?))
}

/// What [`limit_of`] gives for a limit of `value`: in version 2 shares are a weight.
pub fn reads_as(path: &str, value: i64) -> i64 {
    let known = [(200, 29), (204, 29), (300, 39), (512, 59), (1024, 100)];
    match path == "cpu.shares" && !is_v1("cpu") {
        true => known.iter().find(|(shares, _)| *shares == value).unwrap().1,
        false => value,
    }
}

/// Fails the test unless each limit whose controller the host has is as `expected` says.
#[track_caller]
pub fn limits_are(process: Proc, expected: &[(&str, i64)]) {
    for (path, value) in expected {
        if let Some(found) = limit_of(process, path) {
            assert_eq!(found, reads_as(path, *value), "{path}");
        }
    }
}

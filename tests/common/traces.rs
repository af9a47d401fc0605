//! What a container leaves on the host: mounts, cgroups, processes, state. After its end there must be nothing.

use super::bundle::Bundle;
use super::host::{host_mounts, mounts_below};
use super::mode::{Driver, driver};
use std::path::{Path, PathBuf};

/// Everything on the host that names a container.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Mount points below the bundle.
    pub mounts: Vec<PathBuf>,
    /// Cgroup directories with the id in their name.
    pub cgroups: Vec<PathBuf>,
    /// Processes in such a cgroup, or with the id in their environment.
    pub processes: Vec<u32>,
    /// Entries of the state root.
    pub state: Vec<PathBuf>,
}

impl Traces {
    /// Looks for traces of the bundle's container.
    pub fn of(bundle: &Bundle) -> Self {
        let entries = std::fs::read_dir(bundle.state_root()).into_iter().flatten();
        let mut state: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
        // The room for hooks, locks and the like is the runtime's; a container's own entry carries its id.
        state.retain(|path| path.to_string_lossy().contains(bundle.id()));
        Self {
            mounts: mounts_below(bundle.scratch().path()),
            cgroups: cgroups(bundle.id()),
            processes: processes(bundle.id()),
            state,
        }
    }

    /// Fails the test unless nothing is left.
    #[track_caller]
    pub fn none_of(bundle: &Bundle) {
        let found = Self::of(bundle);
        assert_eq!(found, Self::default(), "left behind");
    }
}

/// Cgroup directories whose name has `id`, deepest first.
fn cgroups(id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for mount in host_mounts().iter().filter(|m| m.kind == "cgroup" || m.kind == "cgroup2") {
        // A user's manager makes them in a slice of its own, two levels further down.
        let depth = if driver() == Driver::Systemd { 4 } else { 2 };
        below(Path::new(&mount.point), id, depth, &mut found);
    }
    found.reverse();
    found.dedup();
    found
}

fn below(dir: &Path, id: &str, depth: u32, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        // The next character must not be another digit of a longer id.
        let name = entry.file_name().to_string_lossy().into_owned();
        let mine = name.split(id).nth(1).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()));
        if mine || dir.to_string_lossy().ends_with(id) {
            found.push(path.clone());
            below(&path, id, depth, found);
        } else if depth > 0 {
            below(&path, id, depth - 1, found);
        }
    }
}

fn processes(id: &str) -> Vec<u32> {
    let names = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        text.match_indices(id).any(|(at, _)| !text[at + id.len()..].starts_with(|c: char| c.is_ascii_digit()))
    };
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let read = |name| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let mine = names(&read("environ")) || names(&read("cgroup"));
            mine && super::Proc(*pid).alive()
        })
        .collect()
}

/// Kills and removes what a failed test left, so that it cannot spoil others.
pub fn sweep(id: &str) {
    for pid in processes(id) {
        let _ =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), nix::sys::signal::SIGKILL);
    }
    for dir in cgroups(id) {
        for _ in 0..50 {
            if std::fs::remove_dir(&dir).is_ok() || !dir.exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

//! Many containers alive at once and many after one another: nothing is left on the host, and the last takes as long as the
//! first. `URUN_TEST_LOAD=1000,5000` asks for a thousand alive and five thousand in sequence (a tenth of them for an ordinary
//! user); without it both end with their time. What was done is printed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // the helpers of tests are no `#[test]` functions
#![allow(clippy::needless_pass_by_value)] // `json!(…)` and fresh commands are handed over
#![allow(clippy::unreadable_literal)] // modes and masks are read as they are printed
#![allow(unsafe_code)] // descriptors that arrive over a socket have to be owned

#[path = "../common/mod.rs"]
mod common;

use common::*;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// First host id of the containers of root, which no other test has: its line of /proc/key-users is theirs alone.
const BASE: u32 = 900_000;
/// How long each of the four parts goes on where no number is asked for, without what it takes to remove them.
const TIME: Duration = Duration::from_secs(12);
/// How much longer the last tenth may take than the first: the machine has other things to do.
const DRIFT: f64 = 3.0;

/// How many alive and in sequence, where that was asked for.
fn asked() -> Option<(usize, usize)> {
    let text = std::env::var("URUN_TEST_LOAD").ok()?;
    let (alive, sequence) = text.split_once(',').expect("URUN_TEST_LOAD=ALIVE,SEQUENCE");
    Some((alive.parse().unwrap(), sequence.parse().unwrap()))
}

/// One bundle and the containers made of it; they are gone with this value.
struct Load {
    bundle: Bundle,
    ids: Vec<String>,
    uid: u32,
}

/// What the host has of it, and what it must have again at the end.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    mounts: usize,
    descriptors: usize,
    devices: String,
    children: Vec<String>,
}

fn host() -> Host {
    let scratch = std::env::temp_dir().join(format!("urun-test.{}", std::process::id()));
    let entries = |dir: &str| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut devices: Vec<_> = entries("/sys/class/net").collect();
    devices.sort();
    let tasks = entries("/proc/self/task").map(|task| {
        std::fs::read_to_string(format!("/proc/self/task/{}/children", task.display())).unwrap_or_default()
    });
    Host {
        mounts: mounts_below(&scratch).len(),
        descriptors: entries("/proc/self/fd").count(),
        devices: format!("{devices:?}"),
        children: tasks.filter(|children| !children.is_empty()).collect(),
    }
}

impl Load {
    fn new(mode: Mode) -> Self {
        let mut bundle = Bundle::new(mode);
        let uid = if mode.rootless() { mode.owner().0 } else { BASE };
        if !mode.rootless() {
            let maps = json!([{"containerID": 0, "hostID": BASE, "size": 65536}]);
            bundle = bundle.put("/linux/uidMappings", maps.clone()).put("/linux/gidMappings", maps);
            own_tree(&bundle.rootfs_dir(), (BASE, BASE));
        }
        Self { bundle, ids: Vec::new(), uid }
    }

    /// Calls the runtime with a new id after `args`, and tells how long it took.
    fn one(&mut self, args: &[&str]) -> f64 {
        let id = format!("{}-{}", self.bundle.id(), self.ids.len());
        if self.bundle.mode().cgroups() {
            self.bundle.config["linux"]["cgroupsPath"] = json!(format!("/{id}"));
        }
        self.bundle.write();
        self.ids.push(id.clone());
        let start = Instant::now();
        self.bundle.call(&[args, &[&id]].concat()).ok();
        start.elapsed().as_secs_f64() * 1000.0
    }

    /// How long a call takes that changes nothing, in milliseconds.
    fn timed(&self, args: &[&str]) -> f64 {
        let start = Instant::now();
        self.bundle.call(args).ok();
        start.elapsed().as_secs_f64() * 1000.0
    }

    /// Keys of the containers' root and of all its mapped users, as /proc/key-users counts them.
    fn keys(&self) -> usize {
        let text = std::fs::read_to_string("/proc/key-users").unwrap();
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(&format!("{}:", self.uid)));
        line.map_or(0, |line| {
            line.split_whitespace().nth(1).unwrap().split('/').next().unwrap().parse().unwrap()
        })
    }

    fn delete(&mut self) {
        for id in std::mem::take(&mut self.ids) {
            self.bundle.call(&["delete", "--force", &id]).ok();
        }
    }

    /// Fails the test unless the host is as it was.
    fn nothing_is_left(&self, before: &Host, keys: usize) {
        Traces::none_of(&self.bundle);
        assert_eq!(&host(), before);
        // The kernel takes keys away some time after their last user.
        wait_until("the keys are gone", || self.keys() <= keys);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for id in &self.ids {
            let mut delete = self.bundle.command(&["delete", "--force", id]);
            let _ = delete.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status();
        }
    }
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Fails the test where the last tenth took much longer than the first.
fn no_drift(what: &str, times: &[f64]) {
    let tenth = times.len().div_ceil(10);
    let (first, last) = (median(&times[..tenth]), median(&times[times.len() - tenth..]));
    println!(
        "{what}: {} in all, median of the first tenth {first:.1} ms, of the last {last:.1} ms",
        times.len()
    );
    assert!(times.len() < 50 || last < first * DRIFT, "{what}: {first:.1} ms, then {last:.1} ms");
}

/// The proportional set size of a process in KiB, which counts shared pages by their share.
fn pss(pid: u64) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn limit(path: &str) -> String {
    std::fs::read_to_string(Path::new("/proc/sys").join(path)).unwrap_or_default().trim().to_owned()
}

/// Containers that wait for their start, more and more of them.
fn alive(mode: Mode, most: Option<usize>) {
    let limits =
        ["kernel/pid_max", "kernel/keys/maxkeys", "user/max_user_namespaces", "user/max_net_namespaces"];
    println!("limits: {}", limits.map(|name| format!("{name} {}", limit(name))).join(", "));
    let mut load = Load::new(mode);
    let (before, keys, start) = (host(), load.keys(), Instant::now());
    let mut times = Vec::new();
    while most.map_or(start.elapsed() < TIME, |most| times.len() < most) {
        times.push(load.one(&["create"]));
        if [1, 100, 1000].contains(&times.len()) || Some(times.len()) == most {
            let id = load.ids.last().unwrap();
            let state: serde_json::Value =
                serde_json::from_str(&load.bundle.call(&["state", id]).ok().stdout).unwrap();
            println!(
                "{mode:?}, {} alive: create {:.1} ms, state {:.1} ms, list {:.1} ms, {} KiB a waiting init, {} keys",
                times.len(),
                median(&times[times.len() - times.len().div_ceil(10)..]),
                load.timed(&["state", id]),
                load.timed(&["list", "--quiet"]),
                pss(state["pid"].as_u64().unwrap()),
                load.keys(),
            );
        }
    }
    let listed = load.bundle.call(&["list", "--quiet"]).ok().stdout;
    assert_eq!(listed.lines().count(), times.len(), "every container is there");
    no_drift(&format!("{mode:?}: create with all before alive"), &times);
    load.delete();
    load.nothing_is_left(&before, keys);
}

/// Containers that run to their end, one after another.
fn sequence(mode: Mode, most: Option<usize>) {
    let mut load = Load::new(mode);
    load.bundle.config["process"]["args"] = json!(["true"]);
    let (before, keys, start) = (host(), load.keys(), Instant::now());
    let mut times = Vec::new();
    while most.map_or(start.elapsed() < TIME, |most| times.len() < most) {
        times.push(load.one(&["run"]));
    }
    load.ids.clear();
    no_drift(&format!("{mode:?}: run"), &times);
    load.nothing_is_left(&before, keys);
}

/// One test, because what the test program itself holds is counted.
#[test]
fn many_containers_leave_nothing_and_slow_nothing_down() {
    let (most, in_sequence) = asked().unzip();
    for (mode, share) in [(Mode::RootUserns, 1), (Mode::RootlessRange, 10)] {
        alive(mode, most.map(|most| most / share));
        sequence(mode, in_sequence.map(|most| most / share));
    }
}

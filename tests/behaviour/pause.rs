//! pause and resume: whether processes really stand still is seen in a file that they write to.

use crate::common::*;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Writes a line every few milliseconds.
const TICKER: &str = "while :; do echo tick >> /tmp/ticks; sleep 0.01; done";

fn ticks(container: &Container) -> u64 {
    let path = container.bundle().rootfs_dir().join("tmp/ticks");
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

#[track_caller]
fn runs(container: &Container) {
    let before = ticks(container);
    wait_until("it ticks", || ticks(container) > before);
}

#[track_caller]
fn stands_still(container: &Container) {
    let before = ticks(container);
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(ticks(container), before);
}

#[track_caller]
fn verb(container: &Container, verb: &str) -> Output {
    container.call(verb, &[])
}

/// The container's groups with a freezer that says it is frozen.
fn frozen_groups(container: &Container) -> Vec<PathBuf> {
    let says = |dir: &Path, file: &str, word: &str| {
        std::fs::read_to_string(dir.join(file)).is_ok_and(|text| text.contains(word))
    };
    let mut dirs = Traces::of(container.bundle()).cgroups;
    dirs.retain(|dir| says(dir, "freezer.state", "FROZEN") || says(dir, "cgroup.events", "frozen 1"));
    dirs
}

in_modes! {
    [root root_userns]
    fn a_paused_container_stands_still_until_it_is_resumed(mode) {
        let container = Bundle::new(mode).sh(TICKER).start();
        for _ in 0..2 {
            runs(&container);
            verb(&container, "pause").ok();
            assert_eq!(container.status(), "paused");
            assert_eq!(container.state()["pid"], container.proc().0);
            assert!(!frozen_groups(&container).is_empty());
            stands_still(&container);
            verb(&container, "resume").ok();
            assert_eq!(container.status(), "running");
            assert_eq!(frozen_groups(&container), Vec::<PathBuf>::new());
        }
        runs(&container);
    }
}

#[test]
fn what_cannot_be_paused_or_resumed_is_told_in_the_words_that_engines_know() {
    if only_ours("the words are runc's, and its pause of a paused one says that it does not run") {
        return;
    }
    let container = Bundle::new(Mode::RootUserns).start();
    verb(&container, "resume").refused("container not paused");
    verb(&container, "pause").ok();
    verb(&container, "pause").refused("container paused");
    container.delete(&[]).refused("that is not stopped: paused");
    verb(&container, "start").refused("cannot start an already running container");
    assert_eq!(container.status(), "paused");
    verb(&container, "resume").ok();
    container.kill("KILL").ok();
    container.wait_stopped();
    verb(&container, "pause").refused("container not running");
    verb(&container, "resume").refused("container not paused");
}

#[test]
fn a_container_that_waits_for_its_start_can_be_paused() {
    if only_ours("crun does not know it for paused") {
        return;
    }
    let container = Bundle::new(Mode::RootUserns).sh(TICKER).create();
    verb(&container, "pause").ok();
    assert_eq!(container.status(), "paused");
    verb(&container, "start").refused("cannot start a container that is paused");
    verb(&container, "resume").ok();
    assert_eq!(container.status(), "created");
    container.start();
    runs(&container);
}

in_modes! {
    [root root_userns]
    fn a_paused_container_dies_of_kill(mode) {
        let container = Bundle::new(mode).sh(TICKER).start();
        verb(&container, "pause").ok();
        container.kill("TERM").ok();
        assert_eq!(container.status(), "paused", "other signals wait");
        container.kill("9").ok();
        container.wait_stopped();
        assert_eq!(frozen_groups(&container), Vec::<PathBuf>::new(), "an engine's OOM watch must not hang");
        container.delete(&[]).ok();
        Traces::none_of(container.bundle());
    }
}

#[test]
fn all_of_a_paused_container_dies_of_kill_all_and_of_delete_by_force() {
    for end in [["kill", "--all"], ["delete", "--force"]] {
        let container = without_pid_namespace("sleep 600 & echo ready; exec sleep 601").start();
        container.wait_for("ready");
        let pids = Traces::of(container.bundle()).processes;
        assert_eq!(pids.len(), 2);
        verb(&container, "pause").ok();
        let signal: &[&str] = if end[0] == "kill" { &["KILL"] } else { &[] };
        container.bundle().call(&[&end[..], &[container.id()], signal].concat()).ok();
        wait_until("all have died", || !pids.iter().any(|pid| Proc(*pid).alive()));
    }
}

/// A container whose processes the kernel does not end with its first one.
fn without_pid_namespace(script: &str) -> Bundle {
    Bundle::new(Mode::Root)
        .namespace("pid", None)
        .with(|config| config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/proc"))
        .put("/linux/maskedPaths", json!([]))
        .put("/linux/readonlyPaths", json!([]))
        .sh(script)
}

#[test]
fn what_outlives_the_first_process_dies_of_kill_all() {
    let container = without_pid_namespace("sleep 600 & echo ready; exec sleep 601").start();
    container.wait_for("ready");
    let pids = Traces::of(container.bundle()).processes;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(container.proc().0.cast_signed()),
        nix::sys::signal::SIGKILL,
    )
    .unwrap();
    container.wait_stopped();
    assert_eq!(pids.iter().filter(|pid| Proc(**pid).alive()).count(), 1);
    if subject().0 == Subject::Crun {
        return;
    }
    container.bundle().call(&["kill", "-a", container.id(), "9"]).ok();
    wait_until("the rest has died", || !pids.iter().any(|pid| Proc(*pid).alive()));
}

#[test]
fn a_group_that_the_payload_froze_goes_with_the_container() {
    if only_ours("the others wait in vain for what is frozen below") {
        return;
    }
    let container = Bundle::new(Mode::RootUserns).sh("sleep 600 & echo ready; exec sleep 601").start();
    container.wait_for("ready");
    let init = container.proc().0;
    let other = Traces::of(container.bundle()).processes.into_iter().find(|pid| *pid != init).unwrap();
    for dir in Traces::of(container.bundle()).cgroups {
        let has = |file: &str| dir.join(file).exists();
        if !has("freezer.state") && !has("cgroup.freeze") {
            continue;
        }
        let below = dir.join("below");
        std::fs::create_dir(&below).unwrap();
        std::fs::write(below.join("cgroup.procs"), other.to_string()).unwrap();
        match has("freezer.state") {
            true => std::fs::write(below.join("freezer.state"), "FROZEN").unwrap(),
            false => std::fs::write(below.join("cgroup.freeze"), "1").unwrap(),
        }
    }
    assert_eq!(container.status(), "running", "the group itself is not frozen");
    container.delete(&["--force"]).ok();
    Traces::none_of(container.bundle());
}

in_modes! {
    [rootless_one rootless_range root_in_userns]
    fn without_a_cgroup_nothing_can_be_paused(mode) {
        if mode.cgroups() {
            return; // systemd makes one for the user
        }
        let container = Bundle::new(mode).start();
        verb(&container, "pause").refused_naming(&["cgroup"]);
        assert_eq!(container.status(), "running");
    }
}

in_modes! {
    [rootless_one rootless_range root_in_userns]
    fn without_a_cgroup_kill_all_reaches_the_pid_namespace(mode) {
        if only_ours("the others signal the first process alone, or nothing") {
            return;
        }
        // A new session does not get what is sent to the group of the first process.
        let trap = "trap 'echo $0 got it' USR1; echo $0 is ready; while :; do sleep 0.01; done";
        let script = format!("setsid sh -c \"{trap}\" second & exec sh -c \"{trap}\" first");
        let container = Bundle::new(mode).sh(&script.replace('$', "\\$")).start();
        for name in ["first", "second"] {
            container.wait_for(&format!("{name} is ready"));
        }
        container.bundle().call(&["kill", "--all", container.id(), "USR1"]).ok();
        for name in ["first", "second"] {
            container.wait_for(&format!("{name} got it"));
        }
        container.bundle().call(&["kill", "--all", container.id(), "KILL"]).ok();
        container.wait_stopped();
        container.bundle().call(&["kill", "--all", container.id(), "KILL"]).ok();
    }
}

//! NOTIFY_SOCKET: a container tells a service manager that it is ready, sd_notify(3).

use crate::common::*;
use serde_json::json;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::{fs::symlink, net::UnixDatagram};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// A service manager: its socket, and a program for the container that talks to the one that it finds there.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn listen(bundle: &Bundle) -> Self {
        let path = bundle.scratch().dir("manager", bundle.mode().caller(), 0o755).join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        set_mode(&path, 0o666);
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, path }
    }

    fn hear(&self) -> (String, Vec<OwnedFd>) {
        let (bytes, fds) = receive_fd(&self.socket.as_fd());
        (String::from_utf8(bytes).unwrap(), fds)
    }

    /// READY, MAINPID and, where somebody waits, a barrier.
    fn hears_that_it_is_ready(&self, pid: u32, barrier: bool) {
        assert_eq!(self.hear().0, "READY=1");
        assert_eq!(self.hear().0, format!("MAINPID={pid}"));
        if barrier {
            let (word, fds) = self.hear();
            assert_eq!((word.as_str(), fds.len()), ("BARRIER=1", 1));
        }
    }
}

/// A bundle whose program sends STATUS, waits for a file, and sends READY.
fn bundle(mode: Mode) -> (Bundle, Manager) {
    let bundle = Bundle::new(mode)
        .rootfs(|root| {
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/behaviour/notify.c");
            let to = root.join("bin/notify");
            let status =
                std::process::Command::new("gcc").args(["-O2", "-static", "-o"]).arg(to).arg(source).status();
            assert!(status.unwrap().success());
        })
        .args(["notify"])
        .with(|config| config["root"]["readonly"] = json!(false));
    let manager = Manager::listen(&bundle);
    let path = manager.path.to_str().unwrap().to_owned();
    (bundle.env("NOTIFY_SOCKET", &path), manager)
}

/// Starts the bundle's container, which becomes ready when it may, and its manager hears of it.
#[track_caller]
fn becomes_ready(bundle: Bundle, manager: &Manager) -> Container {
    let container = bundle.create();
    let mut start =
        container.bundle().command(&["start", container.id()]).stdin(Stdio::null()).spawn().unwrap();
    container.wait_for("waiting");
    let early = start.try_wait().unwrap();
    assert!(container.proc().env().contains(&"NOTIFY_SOCKET=/run/notify/notify.sock".to_owned()));
    assert!(container.proc().mounts().iter().any(|mount| mount.root.ends_with("/notify") && mount.has("ro")));
    fs::write(container.proc().inside("tmp/go"), "").unwrap();
    assert!(early.is_none(), "it waits: {early:?}");
    manager.hears_that_it_is_ready(container.proc().0, true);
    assert!(start.wait().unwrap().success());
    container.delete(&["--force"]).ok();
    Traces::none_of(container.bundle());
    container
}

in_modes! {
    fn start_returns_when_the_container_is_ready(mode) {
        let (bundle, manager) = bundle(mode);
        becomes_ready(bundle, &manager);
    }
}

in_modes! {
    /// A socket's address has 108 bytes. A path that is longer leads to its socket, with a symlink on the way too.
    [root_userns rootless_range]
    fn sec_42_a_long_path_to_a_service_manager_is_not_cut_off(mode) {
        for through_link in [false, true] {
            let (bundle, manager) = bundle(mode);
            let scratch = bundle.scratch();
            let base = scratch.path().to_str().unwrap().len() + 1;
            let decoys = [106, 107].map(|length| {
                let path = scratch.join("d".repeat(length - base));
                let decoy = UnixDatagram::bind(&path).unwrap();
                set_mode(&path, 0o666);
                decoy.set_nonblocking(true).unwrap();
                decoy
            });
            let long = scratch.join("d".repeat(180 - base));
            if through_link {
                symlink(manager.path.parent().unwrap(), &long).unwrap();
            } else {
                fs::rename(manager.path.parent().unwrap(), &long).unwrap();
            }
            becomes_ready(bundle.env("NOTIFY_SOCKET", long.join("socket").to_str().unwrap()), &manager);
            for decoy in decoys {
                assert!(decoy.recv(&mut [0]).is_err(), "a socket was called that has the beginning of the path");
            }
        }
    }
}

in_modes! {
    /// An image whose /run/notify leads to the host.
    [root_userns rootless_range]
    fn sec_42_the_containers_socket_is_not_made_behind_a_link_of_the_image(mode) {
        let (bundle, manager) = bundle(mode);
        let outside = bundle.scratch().dir("outside", mode.caller(), 0o777);
        let _container = becomes_ready(bundle.rootfs(|root| symlink(&outside, root.join("run/notify")).unwrap()), &manager);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}

#[test]
fn run_in_the_foreground_tells_and_stays() {
    let (bundle, manager) = bundle(Mode::RootUserns);
    bundle.write();
    let mut run =
        bundle.command(&["run", bundle.id()]).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let pid = || {
        let state = bundle.call(&["state", bundle.id()]);
        let state: serde_json::Value = serde_json::from_str(&state.stdout).unwrap_or_default();
        (state["status"] == "running").then(|| u32::try_from(state["pid"].as_u64().unwrap()).unwrap())
    };
    wait_until("the container runs", || pid().is_some());
    let process = Proc(pid().unwrap());
    wait_until("it executes", || process.read("comm").trim() == "notify");
    fs::write(process.inside("tmp/go"), "").unwrap();
    manager.hears_that_it_is_ready(process.0, false);
    assert!(run.try_wait().unwrap().is_none(), "it stays");
    bundle.call(&["kill", bundle.id(), "KILL"]).ok();
    assert_eq!(run.wait().unwrap().code(), Some(137));
    Traces::none_of(&bundle);
}

#[test]
fn a_container_that_ends_before_it_is_ready_is_not_waited_for() {
    let (bundle, _manager) = bundle(Mode::RootUserns);
    bundle.args(["true"]).run_with(&["-d"]).ok();
}

#[test]
fn a_container_with_a_socket_of_its_own_keeps_it() {
    let (bundle, _manager) = bundle(Mode::RootUserns);
    let container = bundle
        .args(["sleep", "100"])
        .put("/process/env", json!(["PATH=/bin", "NOTIFY_SOCKET=/own/socket"]))
        .start();
    assert!(container.proc().env().contains(&"NOTIFY_SOCKET=/own/socket".to_owned()));
    assert!(!container.proc().mounts().iter().any(|mount| mount.point == "/run/notify"));
}

#[test]
fn a_manager_that_cannot_be_reached_is_named() {
    let bundle = Bundle::new(Mode::RootUserns).env("NOTIFY_SOCKET", "/nowhere/socket").args(["true"]);
    bundle.run_with(&["-d"]).refused("/nowhere/socket");
    Traces::none_of(&bundle);
    let bundle = Bundle::new(Mode::RootUserns).env("NOTIFY_SOCKET", "vsock:2:1234").args(["true"]);
    bundle.run_with(&["-d"]).refused("vsock:2:1234");
}

//! Whatever a container does at the moment: delete by force clears it, and whoever looks sees a whole container or none.

use crate::common::*;
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

const TWO: &str = "sleep 600 & echo ready; exec sleep 601";

/// A call of the runtime beside the test; killed with the value.
struct Call(Child);

impl Call {
    fn new(bundle: &Bundle, args: &[&str]) -> Self {
        let mut command: Command = bundle.command(args);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    #[track_caller]
    fn succeeds(&mut self) -> bool {
        wait_until("the call ends", || self.0.try_wait().unwrap().is_some());
        self.0.wait().unwrap().success()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Moves a process that is not the first one into a group of its own below each of the container's.
fn move_one_below(container: &Container) {
    let init = container.proc().0;
    let other = Traces::of(container.bundle()).processes.into_iter().find(|pid| *pid != init).unwrap();
    for dir in Traces::of(container.bundle()).cgroups {
        let below = dir.join("below");
        std::fs::create_dir(&below).unwrap();
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = std::fs::read_to_string(dir.join(file)) {
                let _ = std::fs::write(below.join(file), value);
            }
        }
        std::fs::write(below.join("cgroup.procs"), other.to_string()).unwrap();
    }
}

in_modes! {
    fn delete_by_force_clears_a_container_in_every_state(mode) {
        let start = || {
            let container = Bundle::new(mode).sh(TWO).start();
            container.wait_for("ready");
            container
        };
        let pause = |container: Container| {
            container.call("pause", &[]).ok();
            container
        };
        let mut states = vec![("created", Bundle::new(mode).create()), ("running", start()), ("stopped", start())];
        states[2].1.kill("KILL").ok();
        states[2].1.wait_stopped();
        if mode.cgroups() {
            states.push(("paused", pause(start())));
            if subject().0 == Subject::Urun {
                states.push(("paused", pause(Bundle::new(mode).create())));
            }
            let spread = start();
            move_one_below(&spread);
            states.push(("running", spread));
        }
        for (status, container) in states {
            assert_eq!(container.status(), status);
            container.delete(&["--force"]).ok();
            Traces::none_of(container.bundle());
            container.delete(&["--force"]).ok();
            container.call("state", &[]).refused("does not exist");
        }
    }
}

#[test]
fn a_container_that_is_being_created_is_seen_and_cleared() {
    if only_ours("the others call it created") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    let go = bundle.scratch().join("go");
    let script = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]});
    let bundle = bundle.put("/hooks", json!({})).put("/hooks/createRuntime/-", hook);
    bundle.write();
    let mut create = Call::new(&bundle, &["create", bundle.id()]);
    let state =
        || serde_json::from_str::<Value>(&bundle.call(&["state", bundle.id()]).stdout).unwrap_or_default();
    wait_until("it is being created", || state()["status"] == "creating" && state()["pid"] != 0);
    let init = u32::try_from(state()["pid"].as_u64().unwrap()).unwrap();
    assert_eq!(bundle.call(&["ps", "-f", "json", bundle.id()]).ok().text(), format!("[{init}]"));
    assert!(bundle.call(&["list"]).ok().stdout.contains("creating"));
    bundle.call(&["delete", bundle.id()]).refused("that is not stopped: creating");
    bundle.call(&["resume", bundle.id()]).refused("container not paused");
    let mut delete = Call::new(&bundle, &["delete", "--force", bundle.id()]);
    wait_until("its process has died", || !Proc(init).alive());
    std::fs::write(&go, "").unwrap();
    assert!(!create.succeeds() && delete.succeeds());
    Traces::none_of(&bundle);
}

#[test]
fn whoever_looks_while_others_change_it_sees_a_whole_container() {
    if only_ours("runc has no lock between its verbs") {
        return;
    }
    let container = Bundle::new(Mode::RootUserns).start();
    let (bundle, done) = (container.bundle(), AtomicBool::new(false));
    let look = |args: &[&str]| {
        while !done.load(Ordering::Relaxed) {
            let output = bundle.call(&[args, &[container.id()]].concat()).ok();
            assert_eq!(output.stderr, "");
            let value: Value = serde_json::from_str(&output.stdout).unwrap();
            assert!(
                value["status"].as_str().is_none_or(|status| ["running", "paused"].contains(&status)),
                "{value}"
            );
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| look(&["state"]));
        scope.spawn(|| look(&["ps", "-f", "json"]));
        scope.spawn(|| look(&["events", "--stats"]));
        for depth in 5..12 {
            let document = format!("{{\"unified\":{{\"cgroup.max.depth\":\"{depth}\"}}}}");
            let file = bundle.scratch().file("run/depth.json", &document, (0, 0), 0o600);
            let calls = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                bundle.call(&["pause", container.id()]).ok();
                bundle.call(&["update", "-r", file.to_str().unwrap(), container.id()]).ok();
                bundle.call(&["resume", container.id()]).ok();
            }));
            if calls.is_err() {
                done.store(true, Ordering::Relaxed);
                panic!("a call failed");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(container.status(), "running");
}

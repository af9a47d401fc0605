//! Hooks where pidfd_open(2) is refused: each has run to its end when the verb answers, or has not begun.

use crate::common::*;
use crate::{ERRNOS, sleeper};
use serde_json::json;
use std::path::{Path, PathBuf};

/// A hook of every kind that takes its time and then writes its name.
fn hooked(mode: Mode) -> (Bundle, PathBuf) {
    let bundle = sleeper(mode);
    let dir = bundle.scratch().dir("log", mode.caller(), 0o777);
    let log = bundle.scratch().file("log/log", "", mode.caller(), 0o666);
    let mut bundle = bundle.mount("bind", dir, "/log", &["bind"]);
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        let log = if kind == "startContainer" { Path::new("/log/log") } else { &log };
        let script = format!("sleep 0.2; echo {kind} >> {}", log.display());
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]});
        bundle = bundle.put(&format!("/hooks/{kind}/-"), hook);
    }
    (bundle, log)
}

/// The hooks that have run; none is still at it.
#[track_caller]
fn have_run(log: &Path) -> Vec<String> {
    let read = || std::fs::read_to_string(log).unwrap();
    let now = read();
    std::thread::sleep(std::time::Duration::from_millis(400));
    assert_eq!(now, read(), "a hook runs on alone");
    now.lines().map(str::to_owned).collect()
}

in_modes! {
    [root_userns rootless_range]
    fn no_hook_runs_on_alone_where_pidfd_open_is_refused(mode) {
        if only_ours("others have other ways") {
            return;
        }
        for down in ERRNOS.map(|errno| TurnedDown::new("pidfd_open", errno)) {
            let (mut bundle, log) = hooked(mode);
            bundle.turn_down(Some(down));
            bundle.try_create(&[]).refused("pidfd_open(");
            bundle.turn_down(None);
            have_run(&log);
            Traces::none_of(&bundle);

            let (mut bundle, log) = hooked(mode);
            bundle.try_create(&[]).ok();
            let created = have_run(&log);
            assert_eq!(created, ["prestart", "createRuntime", "createContainer"]);
            bundle.turn_down(Some(down));
            bundle.call(&["start", bundle.id()]).refused("pidfd_open(");
            assert_eq!(have_run(&log), created);
            bundle.turn_down(None);
            bundle.call(&["start", bundle.id()]).ok();
            assert_eq!(have_run(&log)[3..], ["startContainer", "poststart"]);
            bundle.call(&["kill", bundle.id(), "KILL"]).ok();
            wait_until("it has stopped", || bundle.call(&["state", bundle.id()]).ok().stdout.contains("\"stopped\""));
            bundle.turn_down(Some(down));
            bundle.call(&["delete", bundle.id()]).refused("pidfd_open(");
            assert_eq!(have_run(&log).len(), 5);
            bundle.turn_down(None);
            assert_eq!(bundle.call(&["delete", bundle.id()]).ok().stderr, "");
            assert_eq!(have_run(&log)[5..], ["poststop"]);
            Traces::none_of(&bundle);
        }
    }
}

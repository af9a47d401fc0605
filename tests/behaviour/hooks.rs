//! The six kinds of hooks: their order, what they are told, and what their failure does.

use crate::common::*;
use serde_json::{Value, json};

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that appends a line to the bundle's log; in the container the log is mounted on /log.
fn logging(bundle: Bundle, kind: &str, script: &str) -> Bundle {
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin", format!("KIND={kind}")]});
    bundle.put(&format!("/hooks/{kind}/-"), hook)
}

fn with_log(mode: Mode) -> (Bundle, std::path::PathBuf) {
    let bundle = Bundle::new(mode);
    let dir = bundle.scratch().dir("log", mode.caller(), 0o777);
    let log = bundle.scratch().file("log/log", "", mode.caller(), 0o666);
    (bundle.mount("bind", dir, "/log", &["bind"]), log)
}

/// Where the script appends: the path on the host, or the one in the container.
fn log_of(kind: &str, log: &std::path::Path) -> String {
    if kind == "startContainer" { "/log/log".into() } else { log.display().to_string() }
}

in_modes! {
    fn hooks_run_in_their_order(mode) {
        if subject().0 == Subject::Runc {
            return; // runc 1.1 runs poststart hooks at create
        }
        let (mut bundle, log) = with_log(mode);
        for kind in KINDS {
            for number in 1..=2 {
                bundle = logging(bundle, kind, &format!("echo {kind}{number} >> {}", log_of(kind, &log)));
            }
        }
        let container = bundle.create();
        let read = || std::fs::read_to_string(&log).unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let created = ["prestart1", "prestart2", "createRuntime1", "createRuntime2", "createContainer1", "createContainer2"];
        assert_eq!(read(), created);
        container.start();
        let started = ["startContainer1", "startContainer2", "poststart1", "poststart2"];
        // The container's own hooks end before its program begins, the runtime's own after it began.
        wait_until("all of start's hooks ran", || read().len() >= 10);
        assert_eq!(read()[6..], started);
        container.kill("KILL").ok();
        container.wait_stopped();
        container.delete(&[]).ok();
        assert_eq!(read()[10..], ["poststop1", "poststop2"]);
    }
}

in_modes! {
    [root root_userns rootless_range]
    fn every_hook_gets_the_state_on_its_input(mode) {
        let (mut bundle, log) = with_log(mode);
        let dir = log.parent().unwrap().to_owned();
        for kind in KINDS {
            let target = if kind == "startContainer" { "/log".to_owned() } else { dir.display().to_string() };
            bundle = logging(bundle, kind, &format!("cat > {target}/{kind}"));
        }
        bundle = bundle.put("/annotations/colour", json!("blue"));
        let container = bundle.start();
        let (id, dir_of_bundle, pid) = (container.id().to_owned(), container.bundle().dir(), container.proc().0);
        container.kill("KILL").ok();
        container.wait_stopped();
        container.delete(&[]).ok();
        for (kind, status) in [
            ("prestart", "creating"),
            ("createRuntime", "creating"),
            ("createContainer", "creating"),
            ("startContainer", "created"),
            ("poststart", "running"),
            ("poststop", "stopped"),
        ] {
            let state: Value = serde_json::from_str(&std::fs::read_to_string(dir.join(kind)).unwrap()).unwrap();
            assert_eq!(state["id"], json!(id), "{kind}");
            assert_eq!(state["bundle"], json!(dir_of_bundle), "{kind}");
            assert_eq!(state["annotations"]["colour"], "blue", "{kind}");
            assert!(state["ociVersion"].is_string(), "{kind}");
            if matches!(kind, "prestart" | "createRuntime" | "poststart") {
                assert_eq!(state["pid"], pid, "{kind}");
            }
            if subject().0 == Subject::Urun {
                assert_eq!(state["status"], status, "{kind}");
            }
        }
    }
}

in_modes! {
    [root root_userns]
    fn a_hooks_environment_is_its_own_and_nothing_else(mode) {
        let (mut bundle, log) = with_log(mode);
        for kind in KINDS {
            let target = if kind == "startContainer" { "/log".to_owned() } else { log.parent().unwrap().display().to_string() };
            bundle = logging(bundle, kind, &format!("tr '\\0' '\\n' < /proc/self/environ > {target}/{kind}; :"));
        }
        let container = bundle.put("/process/env/-", json!("LD_PRELOAD=/evil.so")).env("CALLER", "1").start();
        wait_until("poststart ran", || log.with_file_name("poststart").exists());
        container.kill("KILL").ok();
        container.wait_stopped();
        container.delete(&[]).ok();
        for kind in KINDS {
            let env = std::fs::read_to_string(log.with_file_name(kind)).unwrap();
            let mut names: Vec<&str> = env.lines().filter_map(|line| line.split('=').next()).collect();
            // What the shell itself adds.
            names.retain(|name| !matches!(*name, "PWD" | "SHLVL" | "_" | "OLDPWD"));
            assert_eq!(names, ["PATH", "KIND"], "{kind}");
        }
    }
}

in_modes! {
    [root root_userns]
    fn hooks_of_the_runtime_run_in_its_namespaces_and_those_of_the_container_inside(mode) {
        let (mut bundle, log) = with_log(mode);
        for kind in KINDS {
            let target = if kind == "startContainer" { "/log".to_owned() } else { log.parent().unwrap().display().to_string() };
            bundle = logging(bundle, kind, &format!("(readlink /proc/self/ns/mnt; readlink /proc/self/ns/net) > {target}/{kind}"));
        }
        let container = bundle.start();
        wait_until("poststart ran", || log.with_file_name("poststart").exists());
        let host = Proc(std::process::id());
        let (mut inside, mut outside) = (container.proc().ns("net"), host.ns("net"));
        inside.push('\n');
        outside.push('\n');
        for kind in ["prestart", "createRuntime", "poststart"] {
            let text = std::fs::read_to_string(log.with_file_name(kind)).unwrap();
            assert_eq!(text, format!("{}\n{outside}", host.ns("mnt")), "{kind}");
        }
        let text = std::fs::read_to_string(log.with_file_name("startContainer")).unwrap();
        assert_eq!(text, format!("{}\n{inside}", container.proc().ns("mnt")));
        let text = std::fs::read_to_string(log.with_file_name("createContainer")).unwrap();
        assert!(!text.contains(&host.ns("mnt")), "createContainer runs in the container's mount namespace: {text}");
    }
}

in_modes! {
    [root root_userns rootless_range]
    fn a_failing_hook_ends_the_container(mode) {
        for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
            let (bundle, log) = with_log(mode);
            let bundle = logging(bundle, kind, "echo broken as planned >&2; exit 7");
            let bundle = logging(bundle, "poststop", &format!("echo stopped >> {}", log.display()));
            if kind == "poststart" && only_ours("fatal since OCI 1.3") {
                continue;
            }
            bundle.run().refused_naming(&[kind, "7"]);
            bundle.call(&["delete", "--force", bundle.id()]).ok();
            Traces::none_of(&bundle);
            if subject().0 == Subject::Urun {
                assert!(std::fs::read_to_string(&log).unwrap().contains("stopped"), "poststop after {kind}");
            }
        }
    }
}

#[test]
fn a_failing_poststop_hook_is_a_warning() {
    if subject().0 == Subject::Runc {
        return; // runc 1.1 stops at the first
    }
    let (bundle, log) = with_log(Mode::RootUserns);
    let bundle = logging(bundle, "poststop", "exit 1");
    let bundle = logging(bundle, "poststop", &format!("echo second >> {}", log.display()));
    bundle.run().ok();
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "second\n");
}

#[test]
fn a_hook_that_takes_too_long_is_killed_and_has_failed() {
    let (bundle, _log) = with_log(Mode::RootUserns);
    let hook = json!({"path": "/bin/sleep", "args": ["sleep", "25"], "timeout": 1});
    let bundle = bundle.put("/hooks/createRuntime/-", hook);
    let started = std::time::Instant::now();
    bundle.run().refused_naming(&["createRuntime", "/bin/sleep"]);
    assert!(started.elapsed().as_secs() < 10);
    Traces::none_of(&bundle);
}

#[test]
fn a_hook_that_is_not_there_is_named() {
    let bundle =
        Bundle::new(Mode::RootUserns).put("/hooks/createRuntime/-", json!({"path": "/no/such/hook"}));
    bundle.run().refused_naming(&["createRuntime", "/no/such/hook"]);
    Traces::none_of(&bundle);
}

#[test]
fn a_hook_with_a_relative_path_or_a_timeout_of_zero_is_refused_with_its_place() {
    if only_ours("others try it") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns).put("/hooks/poststart/-", json!({"path": "bin/true"}));
    bundle.run().refused_naming(&["hooks.poststart[0].path"]);
    let bundle =
        Bundle::new(Mode::RootUserns).put("/hooks/poststart/-", json!({"path": "/bin/true", "timeout": 0}));
    bundle.run().refused_naming(&["hooks.poststart[0].timeout"]);
}

#[test]
fn a_hook_that_does_not_read_its_input_is_no_failure() {
    let long = "x".repeat(200_000);
    let bundle = Bundle::new(Mode::RootUserns).put("/annotations/long", json!(long));
    let bundle = KINDS
        .iter()
        .fold(bundle, |bundle, kind| bundle.put(&format!("/hooks/{kind}/-"), json!({"path": "/bin/true"})));
    bundle.run().ok();
}

#[test]
fn a_hook_sees_no_descriptor_of_the_runtime() {
    let (bundle, log) = with_log(Mode::RootUserns);
    let bundle = logging(bundle, "createRuntime", &format!("ls /proc/self/fd > {}", log.display()));
    bundle.run().ok();
    // 0, 1, 2 and the directory that ls itself reads.
    assert_eq!(std::fs::read_to_string(&log).unwrap().split_whitespace().count(), 4);
}

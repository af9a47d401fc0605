//! Filters as the kernel enforces them; the compiler itself is proven elsewhere.

use crate::common::*;
use serde_json::{Value, json};
use std::os::unix::net::UnixListener;

/// Everything allowed but the calls of `rules`.
fn profile(rules: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": rules})
}

fn errno(names: &[&str], errno: u32) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno})
}

in_modes! {
    fn a_filter_is_in_force_and_seen_from_the_host(mode) {
        for nnp in [true, false] {
            let container = Bundle::new(mode)
                .put("/process/noNewPrivileges", json!(nnp))
                .put("/linux/seccomp", profile(json!([errno(&["mkdir", "mkdirat"], 1)])))
                .sh("mkdir /tmp/a 2>&1; exec sleep 600")
                .start();
            container.wait_for("Operation not permitted");
            assert_eq!(container.proc().status("Seccomp"), "2");
            assert_eq!(container.proc().filters(), 1);
        }
    }
}

in_modes! {
    fn without_a_profile_there_is_no_filter(mode) {
        assert_eq!(Bundle::new(mode).start().proc().filters(), 0);
    }
}

in_modes! {
    [root_userns rootless_range]
    fn the_errno_is_the_rules(mode) {
        let seccomp = profile(json!([errno(&["mkdir", "mkdirat"], 28)]));
        let output = Bundle::new(mode).put("/linux/seccomp", seccomp).args(["mkdir", "/tmp/a"]).run();
        output.refused("No space left on device");
    }
}

#[test]
fn the_default_errno_is_for_everything_else() {
    let mut seccomp = profile(json!([]));
    seccomp["syscalls"] = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    let output = Bundle::new(Mode::RootUserns).put("/linux/seccomp", seccomp).args(["mkdir", "/tmp/a"]).run();
    output.refused("Operation not permitted");
}

#[test]
fn an_argument_decides() {
    // personality(2) with PER_LINUX32 is refused, others pass: busybox's linux32 and linux64 tell them apart.
    let seccomp = profile(json!([{
        "names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
        "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}],
    }]));
    let bundle = Bundle::new(Mode::RootUserns).put("/linux/seccomp", seccomp);
    assert_ne!(bundle.args(["linux32", "true"]).run().code, 0);
    let seccomp = profile(json!([{
        "names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
        "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}],
    }]));
    Bundle::new(Mode::RootUserns).put("/linux/seccomp", seccomp).args(["linux64", "true"]).run().ok();
}

#[test]
fn a_process_is_killed_by_kill_process() {
    let seccomp = profile(json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]));
    let output =
        Bundle::new(Mode::RootUserns).put("/linux/seccomp", seccomp).sh("mkdir /tmp/a; echo $?").run().ok();
    assert_eq!(output.text(), "159", "SIGSYS is 31");
}

#[test]
fn a_trap_is_a_signal_and_a_log_is_no_hindrance() {
    let seccomp = profile(
        json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_TRAP"}, {"names": ["rmdir"], "action": "SCMP_ACT_LOG"}]),
    );
    let bundle = Bundle::new(Mode::RootUserns)
        .put("/linux/seccomp", seccomp)
        .rootfs(|r| std::fs::create_dir(r.join("gone")).unwrap());
    assert_eq!(bundle.sh("rmdir /gone && mkdir /tmp/a; echo $?").run().ok().text(), "159");
}

#[test]
fn the_filter_allows_the_very_last_steps_to_be_forbidden() {
    // What the runtime itself needs must not need permission from the profile.
    let forbidden = [
        "setresuid",
        "setresgid",
        "setgroups",
        "capset",
        "prctl",
        "close_range",
        "chdir",
        "fchdir",
        "umask",
        "mount",
        "unshare",
    ];
    let seccomp = profile(json!([errno(&forbidden, 1)]));
    let bundle = Bundle::new(Mode::RootUserns).user(1000, 1000).put("/linux/seccomp", seccomp);
    if only_ours("others load it before they changed ids") {
        return;
    }
    bundle.run().ok();
}

#[test]
fn a_system_call_newer_than_the_profile_does_not_exist() {
    if subject().0 == Subject::Crun {
        return; // crun answers EPERM
    }
    // As the profiles of five years ago: everything is forbidden but a list that knows nothing past 2019.
    let old: Vec<&str> = include_str!("../golden/syscalls-2019.txt").lines().collect();
    let seccomp = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": old, "action": "SCMP_ACT_ALLOW"}],
    });
    let container = Bundle::new(Mode::RootUserns).put("/linux/seccomp", seccomp).start();
    assert_eq!(container.proc().status("Seccomp"), "2");
}

#[test]
fn unknown_names_are_skipped_and_unknown_words_are_refused_with_their_place() {
    let seccomp = profile(json!([errno(&["no_such_call", "mkdir", "mkdirat"], 1)]));
    let output = Bundle::new(Mode::RootUserns).put("/linux/seccomp", seccomp).args(["mkdir", "/tmp/a"]).run();
    output.refused("Operation not permitted");
    for (pointer, value) in [
        ("/linux/seccomp/defaultAction", json!("SCMP_ACT_MAYBE")),
        ("/linux/seccomp/architectures", json!(["SCMP_ARCH_Z80"])),
        ("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_WISH"])),
    ] {
        let bundle =
            Bundle::new(Mode::RootUserns).put("/linux/seccomp", profile(json!([]))).put(pointer, value);
        let place = pointer.trim_start_matches('/').replace('/', ".");
        bundle.run().refused_naming(&[&place]);
        Traces::none_of(&bundle);
    }
}

in_modes! {
    [root root_userns rootless_range]
    fn a_listener_receives_the_state_and_one_descriptor(mode) {
        let bundle = Bundle::new(mode);
        let path = bundle.scratch().join("seccomp");
        let listener = UnixListener::bind(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(mode.caller().0), Some(mode.caller().1)).unwrap();
        let agent = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            receive_fd(&stream)
        });
        let mut seccomp = profile(json!([{"names": ["acct"], "action": "SCMP_ACT_NOTIFY"}]));
        seccomp["listenerPath"] = json!(path);
        seccomp["listenerMetadata"] = json!("for the agent");
        let container = bundle.put("/linux/seccomp", seccomp).start();
        let (payload, fds) = agent.join().unwrap();
        let state: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(fds.len(), 1);
        assert_eq!(state["fds"], json!(["seccompFd"]));
        assert_eq!(state["metadata"], "for the agent");
        assert_eq!(state["pid"], container.proc().0);
        assert_eq!(state["state"]["id"], container.id());
        assert_eq!(container.proc().status("Seccomp"), "2");
    }
}

#[test]
fn a_listener_that_is_not_there_is_named_and_nothing_is_left() {
    let mut seccomp = profile(json!([{"names": ["acct"], "action": "SCMP_ACT_NOTIFY"}]));
    seccomp["listenerPath"] = json!("/no/such/agent");
    let bundle = Bundle::new(Mode::RootUserns).put("/linux/seccomp", seccomp);
    bundle.run().refused_naming(&["/no/such/agent"]);
    Traces::none_of(&bundle);
}

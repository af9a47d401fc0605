//! The calls that real engines made, replayed with their own arguments; see `tests/golden/captures/README.md`. CRI-O's are in
//! `tests/engines`, where a monitor makes them.

use crate::common::*;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

fn replay(engine: &str, scenario: &str) {
    let calls = recorded(engine, scenario);
    let mut replay = Replay::new(&calls, scenario.starts_with("rl-"), false);
    for call in &calls {
        make(&mut replay, call);
    }
    for id in replay.ids.values() {
        replay.bundle.call(&["delete", "--force", id]).ok();
        sweep(id);
    }
}

fn make(replay: &mut Replay, call: &Value) {
    let name = call["call"].as_str().unwrap();
    let verb = name.split_once('-').unwrap().1;
    let fails = call["exit"].as_str() != Some("0");
    let recorded: Vec<&str> =
        call["argv"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
    let Some((theirs, ours)) = replay.subject_of(call, &recorded) else { return };
    let dir = replay.dir(&ours, name);
    replay.write_config(call, &ours, &dir);
    let resources = replay.write_resources(call);
    let argv = replay.arguments(&recorded, (&theirs, &ours), &dir, name);
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let alive = replay.pid_of(&ours).is_some_and(|pid| Proc(pid).alive());
    let mut command = replay.bundle.command(&argv);
    if let Some(resources) = &resources {
        command.stdin(fs::File::open(resources).unwrap());
    }
    let output = replay.bundle.call_command(command);
    if verb == "kill" {
        // The recorded program may have died earlier or later than a sleep does.
        let alive_still = || replay.pid_of(&ours).is_some_and(|pid| Proc(pid).alive());
        assert!(output.code == 0 || !alive_still(), "{name}: {output:?}");
        if alive && matches!(argv.last(), Some(&"9" | &"KILL" | &"SIGKILL")) {
            let pid = replay.pid_of(&ours).unwrap();
            wait_until("the process has died", || !Proc(pid).alive());
        }
        return;
    }
    if verb == "delete" && !fails && !recorded.contains(&"--force") && alive {
        // The recorded program had ended by itself here.
        replay.bundle.call(&["kill", &ours, "KILL"]).ok();
        let pid = replay.pid_of(&ours).unwrap();
        wait_until("the process has died", || !Proc(pid).alive());
        replay.bundle.call(&argv).ok();
        return;
    }
    assert_eq!(output.code != 0, fails, "{name} {argv:?}: {output:?}");
    if !fails {
        check_call(replay, call, &ours, &output);
    }
}

/// What a call that succeeded has left and said.
fn check_call(replay: &mut Replay, call: &Value, id: &str, output: &Output) {
    let verb = call["call"].as_str().unwrap().split_once('-').unwrap().1;
    let said = || serde_json::from_str::<Value>(&output.stdout).unwrap();
    match verb {
        "create" => replay.remember_pid(call, id),
        "start" => replay.check(id),
        "state" if matches!(call["status"].as_str(), Some("created" | "paused")) => {
            assert_eq!(said()["status"], call["status"], "{}", call["call"]);
        }
        "ps" => {
            assert_eq!(said(), json!([replay.pid_of(id).unwrap()]));
            assert_eq!(output.stderr, "");
        }
        "update" => replay.check_limits(&call["resources"], id),
        _ => {}
    }
}

/// One test for each scenario.
macro_rules! scenarios {
    ($($engine:ident: $($name:ident = $file:literal)+;)+) => {
        $(mod $engine { $(#[test] fn $name() { super::replay(stringify!($engine), $file); })+ })+

        #[test]
        fn every_recorded_scenario_is_replayed() {
            let listed: &[(&str, &[&str])] = &[$((stringify!($engine), &[$($file),+])),+];
            for (engine, files) in listed {
                let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/captures").join(engine);
                for entry in fs::read_dir(dir).unwrap() {
                    let name = entry.unwrap().file_name().into_string().unwrap();
                    assert!(files.contains(&name.trim_end_matches(".json")), "{engine}/{name} has no test");
                }
            }
        }
    };
}

scenarios! {
    containerd:
        cri_a_restricted = "cri-a-restricted"
        cri_b_userns = "cri-b-userns"
        cri_f_shared_pid = "cri-f-shared-pid"
        cri_i_openshift = "cri-i-openshift"
        cri_l_create_fails = "cri-l-create-fails"
        cri_o_devices_rro = "cri-o-devices-rro"
        cri_j2_update = "cri-j2-update"
        ctr_life = "ctr-life"
        ctr_missing_binary = "ctr-missing-binary"
        ctr_no_pivot = "ctr-no-pivot"
        ctr_read_only_user = "ctr-read-only-user"
        ctr_seccomp = "ctr-seccomp"
        ctr_tty = "ctr-tty"
        ctr_userns = "ctr-userns";
    docker:
        build_buildkit = "build-buildkit"
        cap_drop_all_user = "cap-drop-all-user"
        life = "life"
        missing_binary = "missing-binary"
        not_executable = "not-executable"
        privileged = "privileged"
        read_only = "read-only"
        remap_devices = "remap-devices"
        remap_update = "remap-update"
        remap_run = "remap-run"
        remap_tty = "remap-tty"
        run_rm = "run-rm"
        shared_ns = "shared-ns";
    podman:
        cap_add = "cap-add"
        cap_drop_all = "cap-drop-all"
        mask = "mask"
        net_host = "net-host"
        pid_host = "pid-host"
        pod = "pod"
        privileged = "privileged"
        read_only = "read-only"
        rl_cap_add = "rl-cap-add"
        rl_privileged = "rl-privileged"
        rl_read_only = "rl-read-only"
        rl_run_rm = "rl-run-rm"
        rl_run_tty = "rl-run-tty"
        rl_userns_keep_id = "rl-userns-keep-id"
        rl_volumes = "rl-volumes"
        run_missing_binary = "run-missing-binary"
        run_rm = "run-rm"
        run_tty = "run-tty"
        update = "update"
        userns_auto = "userns-auto"
        userns_uidmap = "userns-uidmap"
        volumes = "volumes";
}

//! The runtime is killed at any moment: everything else ends by itself or by `delete --force` (SEC-95).

use crate::common::{Bundle, Proc, Traces, in_modes, wait_until};
use serde_json::json;
use std::{process::Stdio, time::Duration};

/// Processes that are, or were forked from, a call of the runtime for this container: its id is among their arguments.
fn runtimes(id: &str) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            Proc(*pid).alive() && line.split(|byte| *byte == 0).any(|word| word == id.as_bytes())
        })
        .collect()
}

#[track_caller]
fn clears(bundle: &Bundle, when: &str) {
    bundle.call(&["delete", "--force", bundle.id()]).ok();
    wait_until(&format!("every process has ended ({when})"), || runtimes(bundle.id()).is_empty());
    Traces::none_of(bundle);
}

in_modes! {
    fn sec_95_a_create_that_is_killed_leaves_what_delete_clears(mode) {
        let bundle = Bundle::new(mode);
        bundle.write();
        let steps = if mode.rootless() { 12 } else { 30 };
        for step in 0..steps {
            let mut command = bundle.command(&["create", bundle.id()]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut runtime = command.spawn().unwrap();
            std::thread::sleep(Duration::from_micros(1000 * step));
            runtime.kill().unwrap();
            runtime.wait().unwrap();
            clears(&bundle, &format!("killed after {step} ms"));
        }
        bundle.try_create(&[]).ok();
    }
}

in_modes! {
    /// While a hook runs, the launch stands still: each of its processes is killed in turn.
    fn sec_95_the_end_of_one_process_of_a_launch_ends_the_others(mode) {
        for kind in ["createRuntime", "createContainer"] {
            for victim in 0.. {
                let bundle = Bundle::new(mode);
                let mark = bundle.scratch().dir("mark", mode.caller(), 0o777).join("here");
                let script = format!("cat >/dev/null; echo >{}; exec sleep 7", mark.display());
                let bundle = bundle.put(&format!("/hooks/{kind}"), json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]));
                bundle.write();
                let mut command = bundle.command(&["create", bundle.id()]);
                command.stdout(Stdio::null()).stderr(Stdio::null());
                let mut runtime = command.spawn().unwrap();
                wait_until("the hook runs", || mark.exists());
                let found = runtimes(bundle.id());
                let Some(&target) = found.get(victim) else {
                    runtime.kill().unwrap();
                    runtime.wait().unwrap();
                    clears(&bundle, kind);
                    break;
                };
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(target.cast_signed()), nix::sys::signal::SIGKILL).unwrap();
                wait_until("the runtime has ended", || runtime.try_wait().unwrap().is_some());
                assert!(!runtime.wait().unwrap().success(), "{kind}, process {victim} of {found:?} was killed");
                clears(&bundle, &format!("{kind}, process {victim} of {}", found.len()));
            }
        }
    }
}

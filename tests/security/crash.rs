//! A process of a launch is killed while a hook runs: the others end by themselves (SEC-95). At every system call, and with every
//! verb: tests/faults.

use crate::common::{Bundle, Proc, Traces, in_modes, wait_until};
use serde_json::json;
use std::process::Stdio;

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

//! How many system calls a command may take, so that speed does not rot unseen: counted with all processes up to execve(2).

use crate::common::{Bundle, Mode, linux};
use crate::tracer;
use serde_json::json;
use std::collections::BTreeMap;

/// What a command takes on Linux 6.18, and a little, for a signal that comes between is one more.
const RUN: usize = 458;
/// Where the mount namespace begins with the root file system alone (Linux 7.0, ADR 14).
const RUN_ALONE: usize = 451;
const EXEC: usize = 236;
const STATE: usize = 43;

/// A container with a filter, in a user namespace. Control groups take what the host's hierarchies ask for, so
/// there is none.
fn bundle() -> Bundle {
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["kexec_load"], "action": "SCMP_ACT_ERRNO"}],
    });
    Bundle::new(Mode::RootUserns).put("/linux/seccomp", filter)
}

#[track_caller]
fn within(budget: usize, bundle: &Bundle, words: &[&str]) {
    let words = [&["--cgroup-manager", "disabled"], words].concat();
    let trace = tracer::trace(bundle.command(&words), &bundle.scratch().join("io"), None);
    trace.output.ok();
    let mut kinds: BTreeMap<(usize, i64), usize> = BTreeMap::new();
    // The library looks at a descriptor before it closes it where debug_assertions are on; the heap is as large as such a build is.
    for call in trace.calls.iter().filter(|call| ![libc::SYS_fcntl, libc::SYS_brk].contains(&call.number)) {
        *kinds.entry((call.process, call.number)).or_default() += 1;
    }
    let taken: usize = kinds.values().sum();
    assert!(taken <= budget, "{words:?}: {taken} of {budget} system calls, (process, number): {kinds:?}");
}

#[test]
fn commands_keep_to_their_system_calls() {
    let brief = bundle().args(["true"]);
    brief.write();
    within(if linux() < (7, 0) { RUN } else { RUN_ALONE }, &brief, &["run", brief.id()]);
    let lasting = bundle().args(["sleep", "100"]);
    lasting.write();
    lasting.call(&["--cgroup-manager", "disabled", "run", "--detach", lasting.id()]).ok();
    within(STATE, &lasting, &["state", lasting.id()]);
    within(EXEC, &lasting, &["exec", lasting.id(), "true"]);
}

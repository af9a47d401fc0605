//! Faults at every system call (SEC-95): a tracer follows a call of the runtime with all its processes, then the call is
//! repeated with one of them killed at its n-th system call, or with that call made to fail by an errno of its manual page.
//! Afterwards the call has either done everything, guards included, or said in a sentence what failed; and nothing is left
//! that `delete --force` does not clear.
//!
//! Every fault takes minutes; a test takes a spread sample of as many seconds as `URUN_TEST_FAULTS` says (three without it),
//! which begins elsewhere each time. `URUN_TEST_FAULTS=all` tries every one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // the helpers of tests are no `#[test]` functions
#![allow(clippy::needless_pass_by_value)] // `json!(…)` and fresh commands are handed over
#![allow(clippy::unreadable_literal)] // modes and masks are read as they are printed
#![allow(unsafe_code)] // ptrace(2)

#[path = "../common/mod.rs"]
mod common;

mod budget;
mod errnos;
mod facts;
mod furniture;
mod root_alone;
mod sample;
mod tracer;
mod verb;

use common::{Mode, in_modes, nsresourced};
use furniture::Shape;
use tracer::Fault;
use verb::Verb;

in_modes! {
    [root root_userns rootless_one rootless_range]
    fn sec_95_create_killed_at_any_call_leaves_what_delete_clears(mode) {
        killed(mode, Verb::Create, Shape::Plain);
    }
}

in_modes! {
    [root root_userns rootless_one rootless_range]
    fn sec_95_start_killed_at_any_call_leaves_what_delete_clears(mode) {
        killed(mode, Verb::Start, Shape::Plain);
    }
}

in_modes! {
    [root root_userns rootless_one rootless_range]
    fn sec_95_run_killed_at_any_call_leaves_what_delete_clears(mode) {
        killed(mode, Verb::Run, Shape::Plain);
    }
}

in_modes! {
    [root root_userns rootless_one rootless_range]
    fn sec_95_exec_killed_at_any_call_leaves_the_container_alone(mode) {
        killed(mode, Verb::Exec, Shape::Plain);
    }
}

in_modes! {
    [root root_userns rootless_one rootless_range]
    fn sec_95_delete_killed_at_any_call_is_taken_up_by_the_next(mode) {
        killed(mode, Verb::Delete, Shape::Plain);
    }
}

in_modes! {
    [root root_userns rootless_one rootless_range]
    fn sec_95_kill_killed_at_any_call_leaves_what_delete_clears(mode) {
        killed(mode, Verb::Kill, Shape::Plain);
    }
}

in_modes! {
    [root root_userns]
    fn sec_95_update_killed_at_any_call_leaves_what_delete_clears(mode) {
        if furniture::has_limits() {
            killed(mode, Verb::Update, Shape::Plain);
        }
    }
}

in_modes! {
    [root root_userns rootless_one rootless_range]
    fn sec_95_create_with_any_call_refused_is_whole_or_undone(mode) {
        refused(mode, Verb::Create, Shape::Plain);
    }
}

in_modes! {
    [root root_userns rootless_one rootless_range]
    fn sec_95_run_with_any_call_refused_is_whole_or_undone(mode) {
        refused(mode, Verb::Run, Shape::Plain);
    }
}

in_modes! {
    [root root_userns rootless_one rootless_range]
    fn sec_95_start_with_any_call_refused_is_whole_or_says_why(mode) {
        refused(mode, Verb::Start, Shape::Plain);
    }
}

in_modes! {
    [root root_userns rootless_one rootless_range]
    fn sec_95_exec_with_any_call_refused_is_whole_or_says_why(mode) {
        refused(mode, Verb::Exec, Shape::Plain);
    }
}

in_modes! {
    [root root_userns rootless_one rootless_range]
    fn sec_95_delete_with_any_call_refused_is_whole_or_says_why(mode) {
        refused(mode, Verb::Delete, Shape::Plain);
    }
}

in_modes! {
    [root root_userns rootless_one rootless_range]
    fn sec_95_kill_with_any_call_refused_is_whole_or_says_why(mode) {
        refused(mode, Verb::Kill, Shape::Plain);
    }
}

in_modes! {
    [root root_userns]
    fn sec_95_update_with_any_call_refused_is_whole_or_says_why(mode) {
        if furniture::has_limits() {
            refused(mode, Verb::Update, Shape::Plain);
        }
    }
}

in_modes! {
    [root rootless_range]
    fn sec_95_run_killed_at_any_call_leaves_no_ids_device_or_hook(mode) {
        killed(mode, Verb::Run, Shape::Furnished);
    }
}

in_modes! {
    [root rootless_range]
    fn sec_95_run_with_any_call_refused_gives_back_ids_and_device(mode) {
        refused(mode, Verb::Run, Shape::Furnished);
    }
}

in_modes! {
    [root rootless_range]
    fn sec_95_delete_killed_at_any_call_gives_back_ids_and_runs_hooks(mode) {
        killed(mode, Verb::Delete, Shape::Furnished);
    }
}

in_modes! {
    [root rootless_range]
    fn sec_95_delete_with_any_call_refused_gives_back_ids_and_runs_hooks(mode) {
        refused(mode, Verb::Delete, Shape::Furnished);
    }
}

in_modes! {
    [rootless_one]
    fn sec_95_run_killed_at_any_call_gives_ids_back_to_nsresourced(mode) {
        if let Some(_alone) = nsresourced::ranges_for_users() {
            killed(mode, Verb::Run, Shape::Furnished);
        }
    }
}

in_modes! {
    [rootless_one]
    fn sec_95_run_with_any_call_refused_gives_ids_back_to_nsresourced(mode) {
        if let Some(_alone) = nsresourced::ranges_for_users() {
            refused(mode, Verb::Run, Shape::Furnished);
        }
    }
}

/// Each process of the call is killed at each of its system calls.
fn killed(mode: Mode, verb: Verb, shape: Shape) {
    sample::run(mode, verb, shape, |_| vec![Fault::Kill]);
}

/// Each system call of ours fails once with each errno that it can give.
fn refused(mode: Mode, verb: Verb, shape: Shape) {
    // What the C library and Rust's do before `main` is not ours, and its failure is an abort that has made nothing yet.
    sample::run(mode, verb, shape, |call| match call.in_main {
        true => errnos::of(call.number).iter().map(|&errno| Fault::Fail(errno)).collect(),
        false => Vec::new(),
    });
}

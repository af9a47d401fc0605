//! The language of the tests that run a real runtime: a bundle is described, run in a mode, and read back from the host.
//!
//! The subject is the binary that cargo built, or the program that `RUNTIME_UNDER_TEST` names (`crun`, `runc`), which shows
//! whether a test asks for what the world expects or for what is ours alone ([`only_ours`]).

// Every test crate that includes this module uses another part of it.
#![allow(dead_code, unused_imports, unused_macros)]

mod apparmor;
mod bundle;
mod config;
mod console;
mod container;
mod golden;
mod host;
mod limits;
mod mode;
pub mod nsresourced;
mod replay;
mod scratch;
mod subject;
mod traces;
mod turned_down;

pub use apparmor::Profile;
pub use bundle::{Bundle, copy_program, own_tree};
pub use config::{CHROMIUM_SAFE_CAPS, DEFAULT_CAPS, MASKED, READONLY, caps, set};
pub use console::{ConsoleSocket, Pty, read_until, receive_fd};
pub use container::Container;
pub use golden::golden_words;
pub use host::{
    CAPABILITIES, Mount, Proc, cgroup_dir, has_cap_sys_resource, host_mounts, linux, lsm, mounts_below,
};
pub use limits::{cgroup_file, is_v1, limit_of, limits_are};
pub use mode::{Driver, Mode, POD_BASE, PinnedNamespaces, driver};
pub use replay::{Replay, recorded};
pub use scratch::{Scratch, deadline, set_mode, wait_until};
pub use subject::{Output, Subject, only_ours, run_limited, subject};
pub use traces::{Traces, sweep};
pub use turned_down::TurnedDown;

/// One test for each mode: `in_modes! { fn name(mode) { … } }`, or `in_modes! { [root rootless_one] fn name(mode) { … } }`.
macro_rules! in_modes {
    ($(#[$doc:meta])* [$($mode:ident)+] fn $name:ident($arg:ident) $body:block) => {
        $(#[$doc])*
        mod $name {
            use super::*;
            fn check($arg: crate::common::Mode) $body
            $(#[test] fn $mode() { check(crate::common::Mode::$mode()) })+
        }
    };
    ($(#[$doc:meta])* fn $name:ident($arg:ident) $body:block) => {
        in_modes! { $(#[$doc])* [root root_userns root_in_userns rootless_one rootless_range] fn $name($arg) $body }
    };
}
pub(crate) use in_modes;

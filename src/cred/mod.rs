//! Identity: ids, groups, capabilities, limits, scheduling, and everything else about init that is not a file system.
//!
//! Two places, two lists. [`OutsideOp`]s are applied to init by its pid, by a process with the runtime's privileges,
//! because raising a limit or lowering an OOM score needs capabilities of the initial user namespace. [`InsideOp`]s are
//! applied by init to itself, as root of its own user namespace, after everything else and right before the seccomp
//! filter and execve.

pub mod apply;
pub mod enter;
pub mod home;
pub mod op;
pub mod plan;

pub use op::{InsideOp, OutsideOp};
pub use plan::{
    Affinity, Authority, Groups, Held, Input, Keyring, Setgroups, Verb, affinity, before, inside, outside,
    withheld,
};

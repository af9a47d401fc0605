//! The seccomp profile becomes a BPF program.
//!
//! [`plan`] resolves names, merges the entries of each system call and compiles one balanced search tree per
//! architecture; [`apply`] loads the program as the last thing it does; [`notify`] is the runtime's side of
//! `SCMP_ACT_NOTIFY`. What a profile means is libseccomp's decision, because that is what every profile was written
//! against; tests compare the two programs call by call.

pub mod apply;
mod arch;
mod asm;
pub mod compile;
pub mod guard;
pub mod notify;
pub mod plan;
mod rules;

pub use apply::load;
pub use compile::{Program, Unknown, compile};
pub use plan::{Filter, Listener, plan};

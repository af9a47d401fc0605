//! AppArmor and SELinux labels: of the process that execve makes, of its session keyring, of its mounts.
//!
//! A label that is asked for is applied or is an error. An engine that means "none" sends nothing, an empty string, or
//! AppArmor's word `unconfined`, and all three work on a host without the security module.

pub mod apply;
pub mod plan;

pub use apply::probe;
pub use plan::{AppArmor, ExecLabel, Facts, KeyLabel, is_asked, mount_option, plan, plan_key};

//! Control groups: where the container's group is, what is written into it, who enters it, how it goes away.
//!
//! [`plan`](mod@plan) turns `linux.cgroupsPath` and `linux.resources` into a [`Plan`]: one directory for each hierarchy with the
//! ordered writes and the device program. [`apply`] makes it so and gives a [`Cgroup`], which later commands get back
//! from the [`Record`] in the state file. Every file below a hierarchy is reached through directory descriptors of file
//! systems that were proven to be cgroup file systems; a name with `..`, NUL or a newline never gets that far.

pub mod apply;
mod below;
mod bpf;
mod chosen;
mod controllers;
mod device;
mod dir;
#[cfg(test)]
mod golden;
mod group;
mod limit;
mod oom;
mod path;
mod pause;
pub mod plan;
#[cfg(test)]
mod real;
mod record;
mod roots;
pub mod scope;
#[cfg(test)]
mod scratch;
mod stats;
mod tree;
pub mod unit;
mod update;
mod v1;
mod v2;
mod write;

pub use apply::{create, settle};
pub use group::{Cgroup, Freezer, send};
pub use limit::{Current, Limits, limits};
pub use oom::OomWatch;
pub use plan::{Caller, Driver, Group, Input, Owner, Plan, Refused, Update, plan};
pub use record::Record;
pub use roots::Roots;
pub use scope::Holder;
pub use stats::stats;
pub use unit::Systemd;
pub use update::{Change, update};
pub use write::{Missing, Op, Version, Write};

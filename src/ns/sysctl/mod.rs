//! `linux.sysctl`: only what a namespace of the container's own confines, each written by one write(2) through the
//! verified procfs handle (CVE-2022-0811, CVE-2025-52881).
//!
//! Which namespace a name below /proc/sys belongs to is decided by who looks: `net`, `ipc` and `uts` names are written
//! by the assembler after it has joined those of init, `user` names by init itself.

pub mod apply;
pub mod plan;

pub use apply::apply;
pub use plan::{Input, SysctlOp, Writes, plan};

//! The writes.

use super::plan::SysctlOp;
use crate::{
    error::{Context, Error, Result},
    sys::{prctl, proc::Proc},
};

/// Writes the sysctls. `proc` has to show all of procfs (no `subset=pid`); the namespaces are the caller's.
pub fn apply(ops: &[SysctlOp], proc: &Proc) -> Result<()> {
    ops.iter().try_for_each(|op| one(op, proc).context(op))
}

fn one(op: &SysctlOp, proc: &Proc) -> Result<()> {
    let (path, value, owner) = match op {
        SysctlOp::DomainName(name) => return prctl::set_domain_name(name),
        SysctlOp::Write { path, value, owner } => (path, value.as_bytes(), owner),
    };
    let Err(error) = proc.write(path, value) else { return Ok(()) };
    match (error.errno(), owner) {
        (Some(libc::EACCES | libc::EPERM), Some(owner)) => write_as(*owner, proc, path, value),
        _ => Err(explained(error)),
    }
}

fn write_as(owner: u32, proc: &Proc, path: &str, value: &[u8]) -> Result<()> {
    let own = nix::unistd::geteuid().as_raw();
    prctl::set_effective_uid(owner)?;
    let written = proc.write(path, value);
    prctl::set_effective_uid(own)?;
    // The change resets it to fs.suid_dumpable (CVE-2016-9962).
    prctl::set_dumpable(false)?;
    written.map_err(explained)
}

fn explained(error: Error) -> Error {
    match error.errno() {
        Some(libc::ENOENT) => error.hint("this kernel, or a namespace of this type, has no such sysctl"),
        Some(libc::EACCES | libc::EPERM) => error.hint("the namespace belongs to another user namespace"),
        Some(libc::EINVAL | libc::ERANGE) => error.hint("the kernel does not take this value"),
        Some(libc::EROFS) => error.hint("/proc/sys is read-only where the runtime was started"),
        _ => error,
    }
}

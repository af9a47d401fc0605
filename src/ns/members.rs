//! Who is in a pid namespace.

use crate::{
    error::{Error, Result},
    sys::{self, proc::Proc},
};
use nix::sys::stat::fstat;
use std::os::fd::{AsFd, OwnedFd};

/// A namespace as nsfs identifies it: device and inode.
type Identity = (u64, u64);

/// The processes of the pid namespace of `init` and of those below it, sorted. What the caller may not look at (ptrace(2),
/// "Ptrace access mode checking") is left out.
pub fn of_pid_namespace(proc: &Proc, init: i32) -> Result<Vec<i32>> {
    let namespace = match proc.namespace(&proc.process(init)?, "pid") {
        // Until it executes its program it is closed to everybody, and alone.
        Err(error) if error.errno() == Some(libc::EACCES) => return Ok(vec![init]),
        other => other?,
    };
    let wanted = identity(&namespace)?;
    let mut pids = Vec::new();
    for directory in proc.processes()? {
        // Gone meanwhile, or not the caller's to look at.
        let Ok(namespace) = proc.namespace(&directory, "pid") else { continue };
        if is_within(namespace, wanted)? {
            pids.extend(proc.pid(&directory).unwrap_or_default());
        }
    }
    pids.sort_unstable();
    Ok(pids)
}

fn is_within(mut namespace: OwnedFd, wanted: Identity) -> Result<bool> {
    while identity(&namespace)? != wanted {
        namespace = match sys::ns::parent(namespace.as_fd()) {
            Err(error) if error.errno() == Some(libc::EPERM) => return Ok(false),
            other => other?,
        };
    }
    Ok(true)
}

fn identity(namespace: &OwnedFd) -> Result<Identity> {
    let stat = fstat(namespace).map_err(Error::from)?;
    Ok((stat.st_dev, stat.st_ino))
}

//! Process file descriptors: a handle on one process that no recycled pid can take over.

use super::{check, check_fd, show};
use crate::error::Result;
use std::{
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    ptr,
};

/// pidfd_open(2) on a process of the caller's pid namespace. ESRCH: no such process.
pub fn open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and reads no memory of ours.
    let ret = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    check_fd(ret, || format!("pidfd_open({pid})"))
}

/// pidfd_send_signal(2): sends `signal` to the process behind `pidfd`. ESRCH: it has been reaped.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    let info: *const libc::siginfo_t = ptr::null();
    // SAFETY: `pidfd` is open, and a null siginfo makes the kernel fill in its own as kill(2) does.
    let ret = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) };
    check(ret, || format!("pidfd_send_signal({}, {signal})", show(pidfd)))?;
    Ok(())
}

//! seccomp(2).

use super::check;
use crate::{
    bail,
    error::{Error, Result},
};
use std::{
    ffi::c_long,
    os::fd::{FromRawFd, OwnedFd, RawFd},
};

/// Gives the calling thread `program` as a filter; `flags` are `SECCOMP_FILTER_FLAG_*`. Returns the listener if
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER` is among them. On success this makes one system call and none after it.
pub fn set_filter(program: &[libc::sock_filter], flags: u64) -> Result<Option<OwnedFd>> {
    let Ok(len) = u16::try_from(program.len()) else {
        bail!("the filter has {} instructions", program.len());
    };
    // The kernel only reads through the pointer; the field is not const because prctl(2) is older than const.
    let fprog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: `fprog` describes `program`, which outlives the call and is not written to.
    let ret = unsafe {
        libc::syscall(libc::SYS_seccomp, c_long::from(libc::SECCOMP_SET_MODE_FILTER), flags, &raw const fprog)
    };
    let call = || format!("seccomp(SECCOMP_SET_MODE_FILTER, flags={flags:#x}, {len} instructions)");
    let ret = check(ret, call)?;
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
        return match ret {
            0 => Ok(None),
            thread => Err(Error::new(format_args!("{}: thread {thread} has filters of its own", call()))),
        };
    }
    #[allow(clippy::cast_possible_truncation)] // the kernel's descriptors are ints
    let fd = ret as RawFd;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}

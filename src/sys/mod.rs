//! The room for `unsafe`: thin wrappers over system calls. Every failed call becomes an error that shows the call with
//! its operands, as strace would. Nothing here decides anything, and nothing here knows a type of another module.
#![allow(unsafe_code)]

pub mod bpf;
pub mod clone;
pub mod event;
pub mod exec;
pub mod fd;
pub mod fork;
pub mod gate;
pub mod keyring;
pub mod lock;
pub mod mount;
pub mod net;
pub mod ns;
pub mod openat;
pub mod pidfd;
pub mod prctl;
pub mod proc;
pub mod regex;
pub mod sched;
#[cfg(test)]
pub mod scratch;
pub mod seal;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod start;
pub mod statmount;
pub mod tty;
pub mod xattr;

use crate::error::{Error, Result};
use std::{
    ffi::{CString, c_long},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

/// Turns the return value of a system call into a result; `call` describes the call and runs only on failure.
pub fn check(ret: c_long, call: impl FnOnce() -> String) -> Result<c_long> {
    if ret == -1 {
        let errno = nix::errno::Errno::last_raw();
        return Err(Error::syscall(call(), errno));
    }
    Ok(ret)
}

/// As [`check`], for calls that return a new close-on-exec file descriptor.
pub fn check_fd(ret: c_long, call: impl FnOnce() -> String) -> Result<OwnedFd> {
    let fd = check(ret, call)?;
    #[allow(clippy::cast_possible_truncation)] // the kernel's descriptors are ints
    let fd = fd as RawFd;
    // SAFETY: the kernel has just handed this descriptor to us and nobody else has seen it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A C string; a NUL inside is an error that names the text.
pub fn cstring(text: impl AsRef<[u8]>) -> Result<CString> {
    let text = text.as_ref();
    CString::new(text)
        .map_err(|_| Error::new(format_args!("{:?} contains a NUL byte", String::from_utf8_lossy(text))))
}

/// Makes a call again for as long as a signal interrupts it.
fn uninterrupted<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(nix::errno::Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// A descriptor as strace prints it: number and target.
pub fn show(fd: BorrowedFd<'_>) -> String {
    let name = proc::name(fd);
    let fd = fd.as_raw_fd();
    name.map_or_else(|| fd.to_string(), |name| format!("{fd}<{}>", name.display()))
}

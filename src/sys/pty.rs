//! Pseudo-terminals made through a devpts of one's own, ioctl_tty(2).

use super::{check, check_fd, show};
use crate::error::Result;
use std::{
    ffi::{c_int, c_long},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

/// Unlocks the peer of a pty master (`TIOCSPTLCK`).
pub fn unlock(master: BorrowedFd<'_>) -> Result<()> {
    let lock: c_int = 0;
    // SAFETY: the descriptor is open and the request reads one int.
    let ret = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const lock) };
    check(c_long::from(ret), || format!("ioctl({}, TIOCSPTLCK)", show(master))).map(drop)
}

/// Opens the peer of a pty master without a path (`TIOCGPTPEER`, CVE-2025-52565); not as controlling terminal.
pub fn open_peer(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the descriptor is open and the request takes its argument by value.
    let ret = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    check_fd(c_long::from(ret), || format!("ioctl({}, TIOCGPTPEER)", show(master)))
}

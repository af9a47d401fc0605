//! What is done to any descriptor: close_range(2), poll(2).

use super::{check, show};
use crate::error::{Error, Result};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::stat::Mode,
};
use std::{
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    time::{Duration, Instant},
};

/// Standard input, output and error. They are open for as long as the process lives: [`super::start`] sees to it.
pub fn standard() -> [BorrowedFd<'static>; 3] {
    // SAFETY: nobody closes them.
    [0, 1, 2].map(|fd| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Closes every descriptor from 3 up that is not in `keep`. What a caller leaked (sockets of a shim, pipes of a build
/// tool) must not live on in a container that waits to be started.
pub fn close_except(keep: &mut [RawFd]) -> Result<()> {
    keep.sort_unstable();
    let mut first: u32 = 3;
    for &fd in keep.iter() {
        let fd = fd.unsigned_abs();
        if fd > first {
            close_range(first, fd - 1, 0)?;
        }
        first = first.max(fd + 1);
    }
    close_range(first, u32::MAX, 0)
}

/// Marks every descriptor from `first` up close-on-exec.
pub fn close_on_exec_from(first: u32) -> Result<()> {
    close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, last: u32, flags: u32) -> Result<()> {
    // SAFETY: descriptors that this closes are never used again by the caller's contract.
    let ret = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    check(ret, || format!("close_range({first}, {last}, {flags})")).map(drop)
}

/// Whether the descriptor is open and outlives execve(2): what a caller has passed down is both.
pub fn is_passed(fd: RawFd) -> bool {
    // SAFETY: F_GETFD takes no argument and changes nothing; a number that is not open is an error.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags != -1 && flags & libc::FD_CLOEXEC == 0
}

/// Closes a new process's copy of a descriptor that its maker still owns; the new process must not use it again.
pub fn close_copy(fd: BorrowedFd<'_>) -> Result<()> {
    let fd = fd.as_raw_fd().cast_unsigned();
    close_range(fd, fd, 0)
}

/// Reads from where the descriptor stands to the end, to behind what `bytes` has, by read(2) alone: files of the kernel's own
/// have no size that could be asked for. `bytes` keeps its capacity where that is enough.
pub fn read_all(fd: BorrowedFd<'_>, bytes: &mut Vec<u8>) -> nix::Result<()> {
    loop {
        bytes.reserve(32);
        let room = bytes.spare_capacity_mut();
        // SAFETY: the kernel writes to `room`, as many bytes as it has at most.
        let got = unsafe { libc::read(fd.as_raw_fd(), room.as_mut_ptr().cast(), room.len()) };
        match Errno::result(got).map(isize::cast_unsigned) {
            Ok(0) => return Ok(()),
            // SAFETY: read(2) has filled that many.
            Ok(got) => unsafe { bytes.set_len(bytes.len() + got) },
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The number that the next new descriptor of this process will get, open(2): the lowest that is free.
pub fn lowest_free() -> Result<RawFd> {
    let probe =
        nix::fcntl::open("/", nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(probe.as_raw_fd())
}

/// Waits until a read would not block (or would fail at once), for as long as `timeout` says, without end if that is `None`;
/// returns whether that is so.
pub fn wait_readable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<bool> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], until(deadline)) {
            Ok(0) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::syscall(format_args!("poll({})", show(fd)), errno as i32)),
        }
    }
}

/// The time that is left until `deadline` in the form of poll(2), rounded up so that a short rest does not spin.
pub fn until(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    let left = deadline.saturating_duration_since(Instant::now());
    let millis = left.as_micros().div_ceil(1000);
    PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
}

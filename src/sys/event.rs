//! eventfd(2): a counter that the kernel raises and poll(2) waits for.

use super::{check, check_fd};
use crate::error::Result;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A counter.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// One that stands at zero.
    pub fn new() -> Result<Self> {
        // SAFETY: takes no pointers.
        let ret = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        check_fd(ret.into(), || "eventfd(0)".to_owned()).map(Self)
    }

    /// Whether it was above zero; it is at zero afterwards.
    pub fn take(&self) -> Result<bool> {
        let mut value = 0_u64;
        // SAFETY: `value` has the eight bytes that are read.
        let ret = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut value).cast(), 8) };
        match check(ret as libc::c_long, || "read(eventfd)".to_owned()) {
            Err(error) if error.errno() == Some(libc::EAGAIN) => Ok(false),
            result => result.map(|_| value > 0),
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_taken_once() {
        let event = EventFd::new().unwrap();
        assert!(!event.take().unwrap());
        nix::unistd::write(event.as_fd(), &1_u64.to_ne_bytes()).unwrap();
        assert!(event.take().unwrap());
        assert!(!event.take().unwrap());
    }
}

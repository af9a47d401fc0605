//! flock(2): a lock on an open file description, which every copy of the descriptor shares.

use super::check;
use crate::error::Result;
use std::{
    ffi::{c_int, c_long},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

/// A lock that is held until this value is dropped.
#[derive(Debug)]
pub struct Lock(OwnedFd);

/// What came of the wish for a lock.
#[derive(Debug)]
pub enum Asked {
    /// It is held.
    Held(Lock),
    /// Somebody else holds it, or a signal came first; the descriptor to ask with once more.
    Busy(OwnedFd),
}

impl Lock {
    /// Takes the lock for this holder alone, if it can be had at once.
    pub fn exclusive(fd: OwnedFd) -> Result<Asked> {
        Self::take(fd, libc::LOCK_EX)
    }

    /// Takes the lock beside others who share it, if it can be had at once.
    pub fn shared(fd: OwnedFd) -> Result<Asked> {
        Self::take(fd, libc::LOCK_SH)
    }

    fn take(fd: OwnedFd, kind: c_int) -> Result<Asked> {
        match flock(&fd, kind | libc::LOCK_NB) {
            Ok(()) => Ok(Asked::Held(Self(fd))),
            Err(error) if matches!(error.errno(), Some(libc::EWOULDBLOCK | libc::EINTR)) => {
                Ok(Asked::Busy(fd))
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Ends the lock of inherited copies too. Where that fails, the lock ends with the last of them.
        let _ = flock(&self.0, libc::LOCK_UN);
    }
}

fn flock(fd: &OwnedFd, operation: c_int) -> Result<()> {
    // SAFETY: numbers alone.
    let ret = unsafe { libc::flock(fd.as_raw_fd(), operation) };
    check(c_long::from(ret), || format!("flock({}, {operation})", super::show(fd.as_fd()))).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_for_its_copies_too() {
        let open = || OwnedFd::from(std::fs::File::open(std::env::current_exe().unwrap()).unwrap());
        let fd = open();
        let copy = fd.try_clone().unwrap();
        let Asked::Held(lock) = Lock::exclusive(fd).unwrap() else { panic!("nobody has it") };
        assert!(matches!(Lock::shared(open()).unwrap(), Asked::Busy(_)));
        drop(lock);
        assert!(matches!(Lock::exclusive(open()).unwrap(), Asked::Held(_)));
        drop(copy);
    }
}

//! Terminals: a container's own pseudo-terminal, its way to whoever asked for it, and the foreground modes of `run` and
//! `exec`, in which the runtime stands between the caller's terminal and the container's.

pub mod apply;
pub mod console;
pub mod foreground;
pub mod raw;
pub mod relay;

pub use crate::sys::{pidfd::Exit, tty::Size};

/// Pseudo-terminals for the tests of this folder.
#[cfg(test)]
pub(crate) mod pty {
    use crate::{
        error::Result,
        sys::{
            openat::{openat2, resolve},
            tty::{peer, unlock},
        },
    };
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

    /// A new pseudo-terminal.
    #[derive(Debug)]
    pub struct Pty {
        /// The end of the engine, or of the relay.
        pub master: OwnedFd,
        /// The container's end.
        pub slave: OwnedFd,
    }

    /// Makes a pseudo-terminal in the instance whose root directory is `devpts`, the container's own. No path leads through
    /// the container's file system, so nothing there can pass for a terminal.
    pub fn open(devpts: BorrowedFd<'_>) -> Result<Pty> {
        let rules = resolve::BENEATH | resolve::NO_XDEV | resolve::NO_SYMLINKS;
        let master = openat2(devpts, b"ptmx", libc::O_RDWR | libc::O_NOCTTY, 0, rules)?;
        unlock(master.as_fd())?;
        Ok(Pty { slave: peer(master.as_fd())?, master })
    }
}

//! Makes a terminal and gives it to the container's process.

use crate::{
    error::{Context, Result},
    sys::{
        openat::{openat2, resolve},
        tty::{number, peer, set_controlling, unlock},
    },
};
use nix::unistd;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A new pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    /// The end of the engine, or of the relay.
    pub master: OwnedFd,
    /// The container's end.
    pub slave: OwnedFd,
    /// The N of its `/dev/pts/N`.
    pub number: u32,
}

/// Makes a pseudo-terminal in the instance whose root directory is `devpts`, the container's own. No path leads through
/// the container's file system, so nothing there can pass for a terminal.
pub fn open(devpts: BorrowedFd<'_>) -> Result<Pty> {
    let rules = resolve::BENEATH | resolve::NO_XDEV | resolve::NO_SYMLINKS;
    let master = openat2(devpts, b"ptmx", libc::O_RDWR | libc::O_NOCTTY, 0, rules)?;
    unlock(master.as_fd())?;
    Ok(Pty { slave: peer(master.as_fd())?, number: number(master.as_fd())?, master })
}

/// Gives the terminal to `uid`, an id of the caller's user namespace; its group stays the one of the devpts mount.
pub fn own(slave: BorrowedFd<'_>, uid: u32) -> Result<()> {
    unistd::fchown(slave, Some(uid.into()), None).with_context(|| format!("fchown the terminal to {uid}"))
}

/// Makes the terminal the caller's controlling one and its standard input, output and error. The caller becomes the
/// leader of a session if it is none yet.
pub fn make_controlling(slave: BorrowedFd<'_>) -> Result<()> {
    if unistd::getsid(None).context("getsid(0)")? != unistd::getpid() {
        unistd::setsid().context("setsid()")?;
    }
    set_controlling(slave)?;
    unistd::dup2_stdin(slave).context("dup2 the terminal to 0")?;
    unistd::dup2_stdout(slave).context("dup2 the terminal to 1")?;
    unistd::dup2_stderr(slave).context("dup2 the terminal to 2")
}

//! Gives the terminal to the container's process.

use crate::{
    error::{Context, Result},
    sys::tty::set_controlling,
};
use nix::{fcntl::OFlag, sys::stat::Mode, unistd};
use std::os::fd::{BorrowedFd, OwnedFd};

/// The same terminal, opened anew through the caller's own /dev/pts: `slave` came from the mount namespace in which the
/// root file system was assembled, so that /proc/self/fd would show it under a name that means nothing in the container. A
/// container without that file, or with something else in its place, keeps the descriptor it was given.
pub fn own_name(slave: OwnedFd) -> Result<OwnedFd> {
    let given = nix::sys::stat::fstat(&slave).context("fstat the terminal")?;
    let path = format!("/dev/pts/{}", nix::sys::stat::minor(given.st_rdev));
    let is_it = |fd: &OwnedFd| {
        nix::sys::stat::fstat(fd).is_ok_and(|found| {
            (found.st_dev, found.st_ino, found.st_rdev) == (given.st_dev, given.st_ino, given.st_rdev)
        })
    };
    let open = |flags: OFlag| nix::fcntl::open(path.as_str(), flags | OFlag::O_CLOEXEC, Mode::empty());
    // Looked at before it is opened: opening a stranger may do something.
    let found = open(OFlag::O_PATH | OFlag::O_NOFOLLOW).ok().filter(is_it);
    let opened =
        found.and_then(|_| open(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW).ok()).filter(is_it);
    Ok(opened.unwrap_or(slave))
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

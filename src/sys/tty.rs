//! Terminals: the ioctls of ioctl_tty(2), each on a descriptor, never through a path.

use super::{check, check_fd, openat, show};
use crate::error::{Context, Error, Result};
use libc::{c_int, winsize};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A new pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    /// The end of the engine, or of the relay.
    pub master: OwnedFd,
    /// The container's end.
    pub slave: OwnedFd,
}

/// `DEVPTS_SUPER_MAGIC`
const DEVPTS_MAGIC: libc::__fsword_t = 0x1cd1;
/// Device number of the multiplexer, `TTYAUX_MAJOR` and its third minor.
const MULTIPLEXER: (u64, u64) = (5, 2);

impl Pty {
    /// Makes a pseudo-terminal in the devpts whose root directory is `devpts`, the container's own. No path leads through
    /// the container's file system and no mount lies over the multiplexer, so nothing there can pass for a terminal
    /// (CVE-2025-52565).
    ///
    /// # Errors
    /// `devpts` is something else.
    pub fn open(devpts: BorrowedFd<'_>) -> Result<Self> {
        let hint = "a terminal needs a devpts on /dev/pts among the mounts";
        if nix::sys::statfs::fstatfs(devpts).context("statfs /dev/pts")?.filesystem_type().0 != DEVPTS_MAGIC {
            return Err(Error::new("/dev/pts is not a devpts").hint(hint));
        }
        let master = openat::beneath(devpts, b"ptmx", libc::O_RDWR | libc::O_NOCTTY)
            .context("open /dev/pts/ptmx")
            .hint(hint)?;
        let device = nix::sys::stat::fstat(&master).context("stat /dev/pts/ptmx")?.st_rdev;
        if (nix::sys::stat::major(device), nix::sys::stat::minor(device)) != MULTIPLEXER {
            crate::bail!("/dev/pts/ptmx is not the pty multiplexer (c 5:2)");
        }
        unlock(master.as_fd())?;
        Ok(Self { slave: peer(master.as_fd())?, master })
    }
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// The terminal's size. ENOTTY: it is none.
pub fn size(terminal: BorrowedFd<'_>) -> Result<Size> {
    let mut size = winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is a whole winsize and lives across the call.
    let ret = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    check(ret.into(), || format!("ioctl({}, TIOCGWINSZ)", show(terminal)))?;
    Ok(Size { rows: size.ws_row, columns: size.ws_col })
}

/// Sets the terminal's size; if it changes, the foreground processes are told by SIGWINCH.
pub fn set_size(terminal: BorrowedFd<'_>, size: Size) -> Result<()> {
    let new = winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `new` is a whole winsize and lives across the call.
    let ret = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const new) };
    check(ret.into(), || format!("ioctl({}, TIOCSWINSZ, {size:?})", show(terminal)))?;
    Ok(())
}

/// Makes the terminal the controlling one of the caller's session, whose leader the caller must be.
pub fn set_controlling(terminal: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: takes no pointers.
    let ret = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) };
    check(ret.into(), || format!("ioctl({}, TIOCSCTTY)", show(terminal)))?;
    Ok(())
}

/// Lets the other end of a new pseudo-terminal be opened.
fn unlock(master: BorrowedFd<'_>) -> Result<()> {
    let off: c_int = 0;
    // SAFETY: `off` lives across the call.
    let ret = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const off) };
    check(ret.into(), || format!("ioctl({}, TIOCSPTLCK, 0)", show(master)))?;
    Ok(())
}

/// The N of the `/dev/pts/N` that is the other end of `master`.
pub fn number(master: BorrowedFd<'_>) -> Result<u32> {
    let mut number: u32 = 0;
    // SAFETY: `number` lives across the call.
    let ret = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) };
    check(ret.into(), || format!("ioctl({}, TIOCGPTN)", show(master)))?;
    Ok(number)
}

/// Opens the other end of `master`, wherever its devpts is mounted, close-on-exec and without making it the
/// controlling terminal, Linux 4.13.
pub fn peer(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes no pointers.
    let ret = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    check_fd(ret.into(), || format!("ioctl({}, TIOCGPTPEER)", show(master)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn both_ends_of_a_terminal_share_a_size() {
        let master = nix::pty::posix_openpt(nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_NOCTTY).unwrap();
        let master = master.as_fd();
        unlock(master).unwrap();
        let slave = peer(master).unwrap();
        assert!(show(slave.as_fd()).ends_with(&format!("/{}>", number(master).unwrap())));
        set_size(master, Size { rows: 7, columns: 300 }).unwrap();
        assert_eq!(size(slave.as_fd()).unwrap(), Size { rows: 7, columns: 300 });
        // The test program is a member of somebody else's session.
        assert_eq!(set_controlling(slave.as_fd()).unwrap_err().errno(), Some(libc::EPERM));
    }

    #[test]
    fn what_is_no_terminal_says_so() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(size(file.as_fd()).unwrap_err().errno(), Some(libc::ENOTTY));
    }
}

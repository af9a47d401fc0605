//! The caller's terminal in raw mode, and back.

use crate::error::{Context, Result};
use nix::{
    sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
    unistd::isatty,
};
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

/// A terminal in raw mode; its former modes return when this is dropped, and when the program panics, even where a
/// panic aborts.
#[derive(Debug)]
pub struct Raw(Saved);

#[derive(Clone, Debug)]
struct Saved {
    terminal: Arc<OwnedFd>,
    modes: libc::termios,
}

impl Raw {
    /// Puts a terminal into raw mode, in which every byte passes unchanged; `None` if it is no terminal.
    pub fn enter(terminal: BorrowedFd<'_>) -> Result<Option<Self>> {
        // A terminal that has been hung up answers EIO, and no mode of it matters any more.
        if !isatty(terminal).unwrap_or(false) {
            return Ok(None);
        }
        let mut modes = tcgetattr(terminal).context("read the modes of the terminal")?;
        let terminal = Arc::new(terminal.try_clone_to_owned().context("duplicate the terminal")?);
        let saved = Saved { terminal, modes: modes.clone().into() };
        saved.restore_on_panic();
        let raw = Self(saved);
        cfmakeraw(&mut modes);
        tcsetattr(raw.0.terminal.as_fd(), SetArg::TCSANOW, &modes)
            .context("put the terminal into raw mode")?;
        Ok(Some(raw))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.0.restore();
    }
}

impl Saved {
    /// TCSANOW, for the other ways wait for output that a stopped terminal may never take.
    fn restore(&self) {
        // The one failure that can occur is that the terminal has gone, and its modes with it.
        let _ = tcsetattr(self.terminal.as_fd(), SetArg::TCSANOW, &Termios::from(self.modes));
    }

    fn restore_on_panic(&self) {
        let saved = self.clone();
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            saved.restore();
            previous(info);
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::termios::LocalFlags;

    #[test]
    fn the_modes_come_back() {
        let pty = nix::pty::openpty(None, None).unwrap();
        let modes = || tcgetattr(&pty.slave).unwrap();
        let before = modes();
        let raw = Raw::enter(pty.slave.as_fd()).unwrap().unwrap();
        assert!(!modes().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG));
        drop(raw);
        assert_eq!(modes(), before);
    }

    #[test]
    fn what_is_no_terminal_stays_as_it_is() {
        assert!(Raw::enter(std::fs::File::open("/dev/null").unwrap().as_fd()).unwrap().is_none());
    }
}

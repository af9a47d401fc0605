//! The runtime as a foreground process: it stands for the container's process, passes signals and terminal on to it, and
//! ends as it ends.

use super::relay::Relay;
use crate::{
    error::{Context, Error, Result},
    sys::{
        fd::standard,
        pidfd::{self, Exit},
        signal::{self, Set},
    },
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::wait::{Id, WaitPidFlag, WaitStatus, waitid},
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Signals that concern the runtime itself: its children, its pipes, its own terminal. Those of the terminal stay
/// unblocked, for a runtime in the background must stop when it reads, as any other program does.
const OWN: [i32; 4] = [libc::SIGCHLD, libc::SIGPIPE, libc::SIGTTIN, libc::SIGTTOU];

/// What may end a runtime that has nothing left to do but to write output that nobody takes.
const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// Blocks the signals that [`watch`] passes on and returns the former mask. To be called before the container is
/// made, so that none is lost, and to stay in force until the container has been cleared away, so that a second Ctrl-C
/// does not end that. The container's process has to begin with an empty mask.
pub fn block() -> Result<Set> {
    signal::set_mask(Set::ALL.without(Set::of(&[libc::SIGTTIN, libc::SIGTTOU])))
}

/// Waits for the end of the container's process, a child or adopted child of the caller, and tells how it ended.
/// Meanwhile every signal that reaches the caller is passed on, other children are reaped, and, with `terminal`, the
/// master of the container's terminal, standard input and output are relayed; what is still in the terminal at the
/// end is written. An error leaves the container running.
pub fn watch(
    pid: i32,
    pidfd: BorrowedFd<'_>,
    terminal: Option<OwnedFd>,
    visitor: Option<Visitor<'_>>,
) -> Result<Exit> {
    let [stdin, stdout, _] = standard();
    let relay = terminal.map(|master| Relay::new(master, stdin, stdout)).transpose()?;
    watch_through(pid, pidfd, relay, visitor)
}

/// Somebody else who is waited for meanwhile.
#[allow(missing_debug_implementations)] // a closure has none
pub struct Visitor<'a> {
    /// Readable when there is something to do.
    pub fd: BorrowedFd<'a>,
    /// Does it; false when that was all.
    pub call: Box<dyn FnMut() -> Result<bool> + 'a>,
}

/// As [`watch`], with a relay between other descriptors than standard input and output.
pub fn watch_through(
    pid: i32,
    pidfd: BorrowedFd<'_>,
    relay: Option<Relay<'_>>,
    visitor: Option<Visitor<'_>>,
) -> Result<Exit> {
    let mask = block()?;
    let mut watch = Watch { pid, pidfd, signals: signal::signalfd(Set::ALL)?, relay, visitor };
    let exit = watch.until_exit();
    // The terminal's modes come back while SIGTTOU cannot stop the runtime over it.
    signal::set_mask(Set::ALL)?;
    drop(watch);
    signal::set_mask(mask)?;
    exit
}

struct Watch<'a> {
    pid: i32,
    pidfd: BorrowedFd<'a>,
    signals: OwnedFd,
    relay: Option<Relay<'a>>,
    visitor: Option<Visitor<'a>>,
}

impl Watch<'_> {
    fn until_exit(&mut self) -> Result<Exit> {
        loop {
            let [ended, signalled, visited, relayed @ ..] = self.wait(Some(self.pidfd))?;
            if signalled {
                self.pass_signals()?;
            }
            if let Some(visitor) = self.visitor.as_mut().filter(|_| visited)
                && !(visitor.call)()?
            {
                self.visitor = None;
            }
            if let Some(relay) = &mut self.relay {
                relay.step(relayed)?;
            }
            if ended {
                self.drain()?;
                return pidfd::wait(self.pidfd).context("wait for the container");
            }
        }
    }

    /// Writes what the terminal still holds; a signal that would end another program ends the waiting for a reader.
    fn drain(&mut self) -> Result<()> {
        while let Some(relay) = &mut self.relay
            && relay.has_output()?
        {
            let [_, signalled, _, relayed @ ..] = self.wait(None)?;
            if signalled && self.take_signals()?.iter().any(|signal| ENDING.contains(signal)) {
                return Ok(());
            }
            if let Some(relay) = &mut self.relay {
                relay.step(relayed)?;
            }
        }
        Ok(())
    }

    /// Waits until something can be done: the process has ended, a signal is pending, the visitor has something, the relay
    /// can go on in one of its three ways.
    fn wait(&self, pidfd: Option<BorrowedFd<'_>>) -> Result<[bool; 6]> {
        let interest = |fd| Some(PollFd::new(fd, PollFlags::POLLIN));
        let [stdin, stdout, master] = self.relay.as_ref().map(Relay::interests).unwrap_or_default();
        let visitor = self.visitor.as_ref().and_then(|visitor| interest(visitor.fd));
        let slots =
            [pidfd.and_then(interest), interest(self.signals.as_fd()), visitor, stdin, stdout, master];
        let mut fds: Vec<PollFd<'_>> = slots.iter().flatten().cloned().collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::from(errno).context("poll the container")),
        }
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
        Ok(slots.map(|slot| slot.is_some() && ready.next().unwrap_or(false)))
    }

    fn take_signals(&self) -> Result<Vec<i32>> {
        std::iter::from_fn(|| signal::next(self.signals.as_fd()).transpose()).collect()
    }

    fn pass_signals(&self) -> Result<()> {
        for signal in self.take_signals()? {
            match (signal, &self.relay) {
                (libc::SIGCHLD, _) => self.reap_others()?,
                (libc::SIGWINCH, Some(relay)) => relay.resize()?,
                _ if OWN.contains(&signal) => {}
                _ => match pidfd::send_signal(self.pidfd, signal) {
                    // It has ended, which the pidfd is about to tell.
                    Err(error) if error.errno() == Some(libc::ESRCH) => {}
                    sent => sent.context("pass a signal on to the container")?,
                },
            }
        }
        Ok(())
    }

    /// Reaps what the caller, as a subreaper, has inherited. The container's process is left for the pidfd.
    fn reap_others(&self) -> Result<()> {
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let reap = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        loop {
            match waitid(Id::All, peek) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(status) => match status.pid() {
                    Some(pid) if pid.as_raw() != self.pid => {
                        waitid(Id::Pid(pid), reap).context("reap a child")?
                    }
                    _ => return Ok(()),
                },
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Error::from(errno).context("look for children that have ended")),
            };
        }
    }
}

#[cfg(test)]
mod tests;

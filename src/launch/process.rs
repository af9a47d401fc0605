//! What create's init and a process of exec do alike once they stand in the container: take a terminal and an identity,
//! find the program, and execute it as the last thing of all.

use super::{
    explain,
    link::{FromInit, Link, ToInit},
    lookup,
};
use crate::{
    cred,
    error::{Context, Error, Result},
    mount::root::Rootfs,
    plan::{Execution, Program},
    seccomp,
    sys::{self, gate::Gate, prctl, proc::Proc, signal},
    tty,
};
use std::{
    convert::Infallible,
    ffi::CString,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
};

/// Opened by the runtime when it has taken the seccomp listener out of the process, which execve would close.
static GATE: Gate = Gate::closed();

/// A process on its way to execve(2).
#[derive(Debug)]
pub(super) struct Process<'a> {
    /// What it is to become.
    pub(super) execution: &'a Execution,
    /// The runtime's procfs.
    pub(super) proc: &'a Proc,
    /// The line to whoever starts it.
    pub(super) link: Link<FromInit, ToInit>,
    /// Whether the runtime can take the listener out only while the process is dumpable.
    pub(super) shown_for_listener: bool,
}

/// Leads a session of its own, on this terminal where there is one.
pub(super) fn lead_session(slave: Option<OwnedFd>) -> Result<()> {
    nix::unistd::setsid().context("make a session")?;
    match slave {
        Some(slave) => tty::apply::make_controlling(slave.as_fd()).context("take the terminal"),
        None => Ok(()),
    }
}

impl Process<'_> {
    /// What the caller leaked must not be held by a process that waits; `more` is what it needs beside line and procfs.
    pub(super) fn close_inherited(&self, more: impl Iterator<Item = RawFd>) -> Result<()> {
        self.close_except(more.chain([self.proc.as_fd().as_raw_fd()]))
    }

    /// From here on paths are looked up that the image has chosen: no directory of the host may be open then, for
    /// `/proc/self/fd/N/..` leads from it to the host's root (CVE-2024-21626). Close-on-exec is too late, execve(2) finds
    /// its file first. What stays is a socket or two.
    pub(super) fn close_host(&self, more: impl Iterator<Item = RawFd>) -> Result<()> {
        self.close_except(more)
    }

    /// Closes everything but the standard streams, the line, what the process is to have, and `more`.
    fn close_except(&self, more: impl Iterator<Item = RawFd>) -> Result<()> {
        let mut keep: Vec<RawFd> = more.chain([self.link.as_raw_fd()]).collect();
        // A number that the caller left free may be that of a descriptor of ours, which is close-on-exec.
        keep.extend((3..3 + self.execution.descriptors.kept).filter(|&fd| sys::fd::is_passed(fd)));
        sys::fd::close_except(&mut keep)
    }

    /// Ids, groups, capabilities, labels, working directory.
    pub(super) fn take_identity(&self) -> Result<()> {
        for note in cred::enter::apply(&self.execution.inside, self.proc)? {
            self.link.say(&FromInit::Note(note))?;
        }
        Ok(())
    }

    /// Finds the program, with the rights that will execute it.
    pub(super) fn find_program(&self) -> Result<Option<Prepared>> {
        self.execution.program.as_ref().map(Prepared::new).transpose()
    }

    /// Waits for the word to execute.
    pub(super) fn expect_start(&mut self) -> Result<()> {
        match self.link.expect("start")?.word {
            ToInit::Start => Ok(()),
            word => Err(Error::new(format_args!("told {word:?} instead of Start"))),
        }
    }

    /// The filter comes last, so that nothing but execve(2) runs under it.
    pub(super) fn execute(&self, program: &Prepared) -> Result<Infallible> {
        let execution = self.execution;
        // execve(2) resets handlers and keeps what is ignored: SIGPIPE for one, by the start of this very program.
        signal::reset(signal::Set::from_bits(execution.ignored_signals))?;
        signal::set_mask(signal::Set::EMPTY)?;
        self.close_except(std::iter::empty())?;
        if let Some(guard) = &execution.guard {
            seccomp::load(guard)?;
        }
        if let Some(filter) = &execution.filter {
            if filter.listener.is_some() {
                // Said before the filter is there: afterwards it may hold every call back until somebody listens.
                prctl::set_dumpable(self.shown_for_listener)?;
                self.link.say(&FromInit::Listener { fd: sys::fd::lowest_free()?, gate: GATE.address() })?;
            }
            let listener = seccomp::load(filter)?;
            if listener.is_some() && !GATE.wait() {
                return Err(Error::new("nobody has taken the seccomp listener"));
            }
        }
        let errno = sys::exec::execve(&program.path, &program.args, &program.env);
        Err(explain::explain_execve(errno, &program.path.to_string_lossy()))
    }
}

/// A program with everything that execve(2) wants, found before anything could no longer be reported at create.
#[derive(Debug)]
pub(super) struct Prepared {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Prepared {
    fn new(program: &Program) -> Result<Self> {
        let mut env = program.env.clone();
        if !env.iter().any(|entry| entry.starts_with("HOME=")) {
            env.push(format!("HOME={}", home(program.uid)?));
        }
        let name = program.args.first().map_or("", String::as_str);
        let path = sys::cstring(lookup::find(name, &env)?)?;
        let strings = |list: &[String]| list.iter().map(sys::cstring).collect::<Result<Vec<_>>>();
        Ok(Self { path, args: strings(&program.args)?, env: strings(&env)? })
    }
}

/// From the container's own /etc/passwd.
fn home(uid: u32) -> Result<String> {
    Ok(cred::home::of(&Rootfs::own()?, uid))
}

//! The runtime's side of a launch: it makes the assembler and answers what assembler and init ask.

use super::{
    assembler::{self, Ends},
    init::Park,
    link::{self, FromAssembler, FromInit, Go, Link, ToInit},
};
use crate::{
    error::{Context, Error, Result},
    mount::ProcView,
    ns::{self, plan::Base},
    plan::Plan,
    sys::{
        clone::{self, Birth, Child},
        pidfd::{self, Exit, without_a_word},
        proc::Proc,
    },
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Which moment of a container's life a state document describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// `create` is at work.
    Creating,
    /// The container waits for its start.
    Created,
}

/// What a launch works with: opened before anything is entered.
#[allow(missing_debug_implementations)] // a closure has none
pub struct Setting<'a> {
    /// What is to be done.
    pub plan: &'a Plan,
    /// The runtime's procfs.
    pub proc: &'a Proc,
    /// The namespaces to join, with their flags, in order.
    pub joins: Vec<(i32, OwnedFd)>,
    /// The user namespace to join.
    pub user: Option<OwnedFd>,
    /// The mount namespace to join.
    pub mount: Option<OwnedFd>,
    /// Whether the caller may look into processes that are not dumpable (CAP_SYS_PTRACE).
    pub sees_hidden: bool,
    /// The version 2 control group that init is born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Where init waits for its start.
    pub park: Park,
    /// The state document for hooks: the moment and init's pid as the hook's pid namespace counts.
    pub state: &'a dyn Fn(Moment, i32) -> Vec<u8>,
}

/// What the runtime does while a container is born.
pub trait Host {
    /// init lives: record it, put it into its version 1 groups, move network devices.
    fn born(&mut self, init: &Child) -> Result<()>;
    /// Everything is mounted, nothing is pivoted: prestart and createRuntime hooks.
    fn hooks(&mut self, init: &Child) -> Result<()>;
    /// The terminal's master.
    fn terminal(&mut self, master: OwnedFd) -> Result<()>;
    /// What the container has as its /proc.
    fn proc(&mut self, view: ProcView);
    /// Everything is assembled and init takes its identity: record what has to be on disk before the container is told of.
    fn settle(&mut self) -> Result<()>;
    /// Something that was asked for did not work and does not have to.
    fn note(&mut self, note: &Error);
}

/// A container whose init is ready to execute.
#[derive(Debug)]
pub struct Launched {
    /// init.
    pub init: Child,
    /// The line to init.
    pub link: Link<ToInit, FromInit>,
}

impl Launched {
    /// Ends init and waits until it is gone.
    pub fn kill(&self) -> Result<()> {
        pidfd::send_signal(self.init.as_fd(), libc::SIGKILL)?;
        pidfd::wait(self.init.as_fd()).map(drop)
    }
}

/// The processes of a launch. Until it has succeeded, they end with it.
#[derive(Default)]
pub(super) struct Born {
    /// The assembler, or the stage of exec.
    pub(super) maker: Option<Child>,
    /// The container's process.
    pub(super) init: Option<Child>,
}

impl Drop for Born {
    fn drop(&mut self) {
        for child in self.init.iter().chain(&self.maker) {
            // The launch has failed with an error of its own, and a process that is gone is what is wanted.
            let _ =
                pidfd::send_signal(child.as_fd(), libc::SIGKILL).and_then(|()| pidfd::wait(child.as_fd()));
        }
    }
}

/// Makes the container up to execve(2). On failure every process of the launch is gone.
pub fn launch(setting: &Setting<'_>, host: &mut dyn Host) -> Result<Launched> {
    let (to_assembler, far) = link::pair()?;
    let (to_init, init_far) = link::pair()?;
    let ends = Ends { runtime: far, init: init_far };
    let assembler = clone::spawn(&Birth::default(), || {
        // The copies of the runtime's ends have to go, or the end of a line is never heard.
        assembler::run(setting, ends, [to_assembler.as_fd(), to_init.as_fd()])
    })
    .context("make the assembler")?;
    serve(setting, host, assembler, Lines { assembler: to_assembler, init: to_init })
}

/// The runtime's ends.
pub(super) struct Lines {
    pub(super) assembler: Link<Go, FromAssembler>,
    pub(super) init: Link<ToInit, FromInit>,
}

/// Answers the assembler, then releases the init that it has made, and hears that it is ready. On failure both are gone.
pub(super) fn serve(
    setting: &Setting<'_>,
    host: &mut dyn Host,
    assembler: Child,
    lines: Lines,
) -> Result<Launched> {
    let Lines { assembler: mut to_assembler, init: to_init } = lines;
    let born = Born { maker: Some(assembler), init: None };
    let mut server = Server { setting, host, to_init, born, slave: None };
    server.serve_assembler(&mut to_assembler)?;
    server.release_init()?;
    // While init works.
    server.host.settle()?;
    // It is gone before init can be told to execute anything.
    server.reap_assembler()?;
    server.ready()?;
    let Server { to_init, mut born, .. } = server;
    let init = born.init.take().ok_or_else(|| Error::new("the assembler made no init"))?;
    Ok(Launched { init, link: to_init })
}

struct Server<'a> {
    setting: &'a Setting<'a>,
    host: &'a mut dyn Host,
    to_init: Link<ToInit, FromInit>,
    born: Born,
    slave: Option<OwnedFd>,
}

impl Server<'_> {
    fn serve_assembler(&mut self, link: &mut Link<Go, FromAssembler>) -> Result<()> {
        loop {
            let Some(heard) = link.hear()? else { return Err(self.assembler_died()) };
            match heard.word {
                FromAssembler::Base => {
                    self.map_base().map_err(|failure| reason_of(link).unwrap_or(failure))?;
                }
                FromAssembler::Born(pid) => {
                    let pidfd = pidfd::open(pid).context("take hold of init")?;
                    let init = self.born.init.insert(Child { pid, pidfd });
                    self.host.born(init)?;
                    continue;
                }
                FromAssembler::Place => {
                    self.to_init.tell(&ToInit::Placed, &[])?;
                    self.ready()?;
                }
                FromAssembler::Hooks => self.run_hooks()?,
                FromAssembler::Assembled(proc) => {
                    if let Some(proc) = proc {
                        self.host.proc(proc);
                    }
                    let mut fds = heard.fds.into_iter();
                    if let (Some(master), Some(slave)) = (fds.next(), fds.next()) {
                        self.host.terminal(master)?;
                        self.slave = Some(slave);
                    }
                    return Ok(());
                }
                FromAssembler::Note(note) => {
                    self.host.note(&note);
                    continue;
                }
                FromAssembler::Failed(error) => return Err(self.cause_of(error)),
            }
            link.tell(&Go::Go, &[])?;
        }
    }

    fn map_base(&self) -> Result<()> {
        let Base::New { maps, writer } = &self.setting.plan.namespaces.base else {
            return Err(Error::new("the assembler asks for maps that nobody planned"));
        };
        let pid = self.born.maker.as_ref().map_or(0, |child| child.pid);
        ns::apply::write_base_maps(self.setting.proc, pid, maps, *writer)
    }

    fn release_init(&mut self) -> Result<()> {
        let slave = self.slave.take();
        let slave: Vec<BorrowedFd<'_>> = slave.iter().map(AsFd::as_fd).collect();
        self.to_init.tell(&ToInit::Go, &slave)
    }

    /// Waits until init has done what it was told.
    fn ready(&mut self) -> Result<()> {
        loop {
            let Some(heard) = self.to_init.hear()? else {
                return Err(died(INIT, self.born.init.take().as_ref()));
            };
            match heard.word {
                FromInit::Ready => return Ok(()),
                FromInit::Note(note) => self.host.note(&note),
                FromInit::Failed(error) => return Err(error),
                FromInit::Listener { .. } => {
                    return Err(Error::new("init loads its filter before it is told to start"));
                }
            }
        }
    }

    fn run_hooks(&mut self) -> Result<()> {
        let init = self.born.init.as_ref().ok_or_else(|| Error::new("there is no init yet"))?;
        self.host.hooks(init)
    }

    fn reap_assembler(&mut self) -> Result<()> {
        let Some(assembler) = self.born.maker.take() else { return Ok(()) };
        pidfd::wait(assembler.as_fd()).map(drop).context("wait for the assembler")
    }

    /// Where init has ended, the assembler's failure may be no more than what followed: there is no init to map, and systemd
    /// removes a scope's group with its last process, so that there is nothing to mount.
    fn cause_of(&mut self, failure: Error) -> Error {
        if let Some(error) = self.last_word() {
            return error;
        }
        let gone = |init: &mut Child| pidfd::exited(init.as_fd()).unwrap_or(false);
        let init = self.born.init.take_if(gone);
        match init.and_then(|init| pidfd::wait(init.as_fd()).ok()) {
            Some(signal @ Exit::Signal(_)) => without_a_word(INIT, &signal),
            _ => failure,
        }
    }

    /// What init has said of a failure of its own; it may have ended before it was known here.
    fn last_word(&mut self) -> Option<Error> {
        loop {
            match self.to_init.heard()?.word {
                FromInit::Failed(error) => return Some(error),
                FromInit::Note(note) => self.host.note(&note),
                _ => return None,
            }
        }
    }

    fn assembler_died(&mut self) -> Error {
        died("the assembler", self.born.maker.take().as_ref())
    }
}

/// Why the assembler has ended, where it has said so: then what fails on it is no more than what followed.
fn reason_of(link: &mut Link<Go, FromAssembler>) -> Option<Error> {
    match link.heard()?.word {
        FromAssembler::Failed(error) => Some(error),
        _ => None,
    }
}

/// What errors call the process that becomes the container's.
const INIT: &str = "the container's init";

/// A process that ended without a word was killed; its exit status tells by what.
pub(super) fn died(who: &str, child: Option<&Child>) -> Error {
    let how = child.and_then(|child| pidfd::wait(child.as_fd()).ok());
    how.map_or_else(|| without_a_word(who, &"unknown cause"), |exit| without_a_word(who, &exit))
}

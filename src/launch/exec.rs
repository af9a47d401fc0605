//! A process in a container that stands: a stage, born in the container's control groups, joins its namespaces by one
//! setns(2) on init's pidfd and gives birth to the process, which takes its identity and waits for the word to execute.
//!
//! ```text
//! runtime ──spawn──▶ stage ──▶ process (a child of the runtime: CLONE_PARENT)
//!    ◀───────── Born ──┘            │
//!    ├── limits, version 1 groups   │
//!    ├── Go ───────────────────────▶│ session, terminal, identity, look-up
//!    ◀── Ready (+ the master) ──────┤
//!    ├── Start ────────────────────▶│ filter, execve: the link ends
//! ```

use super::{
    init::become_root,
    link::{self, FromInit, FromStage, Go, Link, ToInit},
    process::{Process, lead_session},
    serve::{Born, Launched, died},
};
use crate::{
    cred,
    error::{Context, Error, Result},
    mount::{op, root::Rootfs},
    ns,
    plan::exec::Plan,
    spec::NamespaceKind,
    sys::{
        self,
        clone::{self, Birth, Child},
        pidfd, prctl,
        proc::Proc,
        tty::Pty,
    },
};
use std::{
    convert::Infallible,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

/// What a process enters the container with: opened before anything is entered.
#[derive(Debug)]
pub struct Setting<'a> {
    /// What is to be done.
    pub plan: &'a Plan,
    /// The runtime's procfs.
    pub proc: &'a Proc,
    /// The container's init.
    pub container: BorrowedFd<'a>,
    /// The version 2 control group that the process is born in.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// What the runtime does while the process is born.
pub trait Host {
    /// The process lives: put it into its version 1 groups.
    fn born(&mut self, process: &Child) -> Result<()>;
    /// The terminal's master.
    fn terminal(&mut self, master: OwnedFd) -> Result<()>;
    /// Something that was asked for did not work and does not have to.
    fn note(&mut self, note: &Error);
}

/// Makes the process up to execve(2). On failure nothing of it is left.
pub fn enter(setting: &Setting<'_>, host: &mut dyn Host) -> Result<Launched> {
    let (to_stage, far) = link::pair()?;
    let (to_process, process_far) = link::pair()?;
    let maker = clone::spawn(&Birth { flags: 0, cgroup: setting.cgroup }, || {
        // The copies of the runtime's ends have to go, or the end of a line is never heard.
        let closed = [to_stage.as_fd(), to_process.as_fd()].into_iter().try_for_each(sys::fd::close_copy);
        // The far ends go with the stage: with a copy of one here, the runtime would not hear its end either.
        let far = far;
        closed.map_or(1, |()| stage(setting, &far, process_far))
    })
    .context("make a process in the container's control group")?;
    serve(setting, host, maker, Lines { stage: to_stage, process: to_process })
}

/// The runtime's ends.
pub(super) struct Lines {
    pub(super) stage: Link<Go, FromStage>,
    pub(super) process: Link<ToInit, FromInit>,
}

/// Hears of the birth, does its part and hears that the process is ready. On failure both processes are gone.
pub(super) fn serve(
    setting: &Setting<'_>,
    host: &mut dyn Host,
    stage: Child,
    lines: Lines,
) -> Result<Launched> {
    let Lines { stage: mut to_stage, process: mut to_process } = lines;
    let mut born = Born { maker: Some(stage), init: None };
    let process = born.init.insert(hear_birth(&mut to_stage, host, &mut born.maker)?);
    host.born(process)?;
    for note in cred::apply::apply(&setting.plan.execution.outside, process.pid, setting.proc)? {
        host.note(&note);
    }
    to_process.tell(&ToInit::Go, &[])?;
    if let Some(stage) = born.maker.take() {
        pidfd::wait(stage.as_fd()).context("wait for the stage")?;
    }
    let master = loop {
        let Some(heard) = to_process.hear()? else {
            return Err(died("the process", born.init.take().as_ref()));
        };
        match heard.word {
            FromInit::Ready => break heard.fds.into_iter().next(),
            FromInit::Note(note) => host.note(&note),
            FromInit::Failed(error) => return Err(error),
            FromInit::Listener { .. } => {
                return Err(Error::new("the process loads its filter before it is told to start"));
            }
        }
    };
    if let Some(master) = master {
        host.terminal(master)?;
    }
    let init = born.init.take().ok_or_else(|| Error::new("the stage made no process"))?;
    Ok(Launched { init, link: to_process })
}

fn hear_birth(
    link: &mut Link<Go, FromStage>,
    host: &mut dyn Host,
    stage: &mut Option<Child>,
) -> Result<Child> {
    loop {
        let Some(heard) = link.hear()? else { return Err(died("the stage", stage.take().as_ref())) };
        match heard.word {
            FromStage::Born(pid) => {
                return Ok(Child { pid, pidfd: pidfd::open(pid).context("take hold of the process")? });
            }
            FromStage::Note(note) => host.note(&note),
            FromStage::Failed(error) => return Err(error),
            word @ (FromStage::Maps | FromStage::Offsets) => {
                return Err(Error::new(format_args!("the stage of exec says {word:?}")));
            }
        }
    }
}

/// Body of the stage process.
fn stage(setting: &Setting<'_>, link: &Link<FromStage, Go>, process: Link<FromInit, ToInit>) -> i32 {
    let word = match join(setting, link, process) {
        Ok(pid) => FromStage::Born(pid),
        Err(error) => FromStage::Failed(error),
    };
    // The runtime hears the end of the line where this fails.
    i32::from(link.say(&word).is_err())
}

fn join(setting: &Setting<'_>, link: &Link<FromStage, Go>, process: Link<FromInit, ToInit>) -> Result<i32> {
    let plan = setting.plan;
    // In a container that shares the host's processes this one is in sight from the beginning.
    prctl::set_dumpable(plan.shows_itself)?;
    let own = nix::unistd::getpid().as_raw();
    for note in cred::apply::apply(&plan.before, own, setting.proc)? {
        link.say(&FromStage::Note(note))?;
    }
    prctl::set_dumpable(false)?;
    sys::ns::setns(setting.container, ns::apply::flags(&plan.joins))
        .context("join the container's namespaces")?;
    // The change of user namespace has set it to fs.suid_dumpable, and what is born next is in the container's sight
    // (CVE-2016-9962).
    prctl::set_dumpable(false)?;
    let birth = Birth { flags: libc::CLONE_PARENT as u64, cgroup: None };
    let child = clone::spawn(&birth, || live(setting, process)).context("make a process in the container")?;
    Ok(child.pid)
}

/// Body of the process. It returns only when something failed.
fn live(setting: &Setting<'_>, link: Link<FromInit, ToInit>) -> i32 {
    let plan = setting.plan;
    let mut process = Process {
        execution: &plan.execution,
        proc: setting.proc,
        link,
        shown_for_listener: plan.shows_itself,
    };
    let Err(error) = become_program(&mut process, plan);
    // Whoever waits hears the end of the line where this fails.
    let _ = process.link.say(&FromInit::Failed(error));
    1
}

fn become_program(process: &mut Process<'_>, plan: &Plan) -> Result<Infallible> {
    process.close_inherited(std::iter::empty())?;
    match process.link.expect("the runtime")?.word {
        ToInit::Go => {}
        word => return Err(Error::new(format_args!("told {word:?} instead of Go"))),
    }
    if plan.joins.contains(&NamespaceKind::User) {
        become_root()?;
    }
    // The change of ids has set it to fs.suid_dumpable.
    prctl::set_dumpable(false)?;
    let terminal = if plan.terminal { Some(terminal(plan)?) } else { None };
    let (master, slave) = terminal.map(|Pty { master, slave }| (master, slave)).unzip();
    lead_session(slave)?;
    process.take_identity()?;
    if plan.dies_with_caller {
        prctl::end_with_parent(libc::SIGKILL)?;
    }
    process.close_host(master.iter().map(AsRawFd::as_raw_fd))?;
    let program = process.find_program()?.ok_or_else(|| Error::new("there is no program to execute"))?;
    let master: Vec<BorrowedFd<'_>> = master.iter().map(AsFd::as_fd).collect();
    process.link.say_with(&FromInit::Ready, &master)?;
    process.expect_start()?;
    process.execute(&program)
}

/// A terminal of the container's own devpts, which belongs to the process's user.
fn terminal(plan: &Plan) -> Result<Pty> {
    let devpts = Rootfs::own()?
        .find(Path::new("/dev/pts"), op::Link::Refuse)
        .hint("a terminal needs a devpts on /dev/pts among the mounts")?;
    let pty = Pty::open(devpts.as_fd()).context("make a terminal")?;
    let uid = plan.execution.program.as_ref().map_or(0, |program| program.uid);
    nix::unistd::fchown(&pty.slave, Some(uid.into()), None).context("chown the terminal")?;
    Ok(pty)
}

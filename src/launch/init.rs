//! init: born into the container's namespaces, it waits until everything around it stands, takes its identity and
//! executes. It is the only process that ever runs inside the container's user namespace on urun's account.

use super::{
    link::{FromInit, Link, ToInit},
    process::{Process, lead_session},
    serve::{Moment, Setting},
};
use crate::{
    error::{Context, Error, Result},
    hook, mount, net,
    ns::{
        self,
        plan::{Base, Mounts},
    },
    spec::NamespaceKind,
    sys::{self, prctl},
    tty,
};
use std::{
    convert::Infallible,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
};

/// Where init waits for its start.
#[derive(Debug)]
pub enum Park {
    /// On the line to the runtime: `run` starts what it has made.
    Line,
    /// On a socket in the container's state directory: `start` will connect.
    Socket(OwnedFd),
}

/// The process and what it was born with.
#[allow(missing_debug_implementations)]
pub(super) struct Init<'a> {
    setting: &'a Setting<'a>,
    process: Process<'a>,
}

impl<'a> Init<'a> {
    pub(super) fn new(setting: &'a Setting<'a>, link: Link<FromInit, ToInit>) -> Self {
        let process = Process {
            execution: &setting.plan.execution,
            proc: setting.proc,
            link,
            shown_for_listener: setting.plan.namespaces.base != Base::Caller,
        };
        Self { setting, process }
    }
}

/// Body of the init process. It returns only when something failed.
pub(super) fn run(mut init: Init<'_>) -> i32 {
    let Err(error) = init.live();
    // Whoever waits hears the end of the line where this fails.
    let _ = init.process.link.say(&FromInit::Failed(error));
    1
}

/// Becomes the root of a user namespace that was just entered, as far as root is mapped there.
pub(super) fn become_root() -> Result<()> {
    set_root(0.into())
}

/// As [`become_root`], but for the real user id, which stays the caller's, until a process of the container takes its own ids: by it
/// systemd tells whose processes it may move into a unit (AttachProcessesToUnit), and root here may be a subordinate id.
pub(super) fn act_as_root() -> Result<()> {
    const UNCHANGED: u32 = u32::MAX;
    set_root(UNCHANGED.into())
}

fn set_root(real: nix::unistd::Uid) -> Result<()> {
    for (change, name) in [
        (nix::unistd::setresgid(0.into(), 0.into(), 0.into()), "setresgid(0)"),
        (nix::unistd::setresuid(real, 0.into(), 0.into()), "setresuid(0)"),
    ] {
        match change {
            // Not mapped: the process goes on under an id of nobody's, with the capabilities that count.
            Ok(()) | Err(nix::errno::Errno::EINVAL) => {}
            Err(errno) => {
                return Err(Error::syscall(name, errno as i32)).context("become root in the user namespace");
            }
        }
    }
    Ok(())
}

impl Init<'_> {
    fn live(&mut self) -> Result<Infallible> {
        self.process.close_inherited(self.listener())?;
        // While the assembler mounts.
        if self.setting.plan.namespaces.makes(NamespaceKind::Network) {
            net::loopback_up(&net::Route::open()?).context("bring up the loopback device")?;
        }
        let slave = self.wait_for_go()?;
        self.enter_root()?;
        let slave = slave.map(tty::apply::own_name).transpose()?;
        lead_session(slave)?;
        ns::sysctl::apply(&self.setting.plan.sysctls.inside, self.setting.proc)?;
        self.process.take_identity()?;
        self.process.close_host(self.listener())?;
        let program = self.process.find_program()?;
        self.process.link.say(&FromInit::Ready)?;
        self.wait_for_start()?;
        let program = program.ok_or_else(|| Error::new("config.json has no process to start"))?;
        self.start_container_hooks()?;
        self.process.execute(&program)
    }

    fn listener(&self) -> impl Iterator<Item = RawFd> + use<> {
        match &self.setting.park {
            Park::Socket(listener) => Some(listener.as_raw_fd()),
            Park::Line => None,
        }
        .into_iter()
    }

    fn wait_for_go(&mut self) -> Result<Option<OwnedFd>> {
        loop {
            let heard = self.process.link.expect("the runtime")?;
            match heard.word {
                ToInit::Placed => {
                    sys::ns::unshare(libc::CLONE_NEWCGROUP).context("make a cgroup namespace")?;
                    self.process.link.say(&FromInit::Ready)?;
                }
                ToInit::Go => return Ok(heard.fds.into_iter().next()),
                ToInit::Start => return Err(Error::new("told to start before the container stands")),
            }
        }
    }

    /// The assembler has moved this process's root along with its own; here the copy is made that nobody inside can
    /// undo, because the kernel locks the mounts of a namespace that a lesser user namespace copies.
    fn enter_root(&self) -> Result<()> {
        let plan = self.setting.plan;
        if plan.namespaces.mounts != Mounts::Shared {
            become_root()?;
        }
        // Whatever the writing of the maps took, from here on nobody looks inside.
        prctl::set_dumpable(false)?;
        if plan.namespaces.mounts == Mounts::Locked {
            sys::ns::unshare(libc::CLONE_NEWNS).context("make the container's own mount namespace")?;
        }
        if plan.namespaces.may_begin_in_a_chroot() {
            // The assembler cannot move a root directory that is none of the namespace's.
            let own = sys::pidfd::open(own_pid())?;
            return sys::ns::setns(own.as_fd(), libc::CLONE_NEWNS).context("enter the root file system");
        }
        match plan.root {
            mount::Root::Pivot => nix::unistd::chdir("/").context("chdir /"),
            // The root file system lies over /, and only `..` steps up to what lies over a root.
            mount::Root::MoveMount => {
                nix::unistd::chdir("/..").context("chdir /..")?;
                nix::unistd::chroot(".").context("chroot")?;
                nix::unistd::chdir("/").context("chdir /")
            }
        }
    }

    fn wait_for_start(&mut self) -> Result<()> {
        if let Park::Socket(listener) = &self.setting.park {
            let caller = sys::socket::accept(listener.as_fd()).context("wait for start")?;
            self.process.link = Link::over(caller);
        }
        self.process.expect_start()
    }

    /// In the container, under its identity, right before its program (runtime-spec config.md).
    fn start_container_hooks(&self) -> Result<()> {
        let hooks = &self.setting.plan.hooks;
        if hooks.start_container.is_empty() {
            return Ok(());
        }
        let state = (self.setting.state)(Moment::Created, own_pid());
        hook::run_all(&hooks.start_container, &state, &hooks.inner_setting())
    }
}

/// This process as its own pid namespace counts.
fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

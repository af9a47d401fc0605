//! init: born into the container's namespaces, it waits until everything around it stands, takes its identity and
//! executes. It is the only process that ever runs inside the container's user namespace on urun's account.

use super::{
    link::{FromInit, Link, ToInit},
    lookup,
    serve::Setting,
};
use crate::{
    cred,
    error::{Context, Error, Result},
    hook, mount,
    ns::{self, plan::Mounts},
    plan::Program,
    seccomp,
    sys::{self, prctl, signal},
    tty,
};
use std::{
    convert::Infallible,
    ffi::CString,
    os::fd::{AsFd, AsRawFd, OwnedFd},
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
#[derive(Debug)]
pub(super) struct Init<'a> {
    setting: &'a Setting<'a>,
    link: Link<FromInit, ToInit>,
}

impl<'a> Init<'a> {
    pub(super) fn new(setting: &'a Setting<'a>, link: Link<FromInit, ToInit>) -> Self {
        Self { setting, link }
    }
}

/// Body of the init process. It returns only when something failed.
pub(super) fn run(mut init: Init<'_>) -> i32 {
    let Err(error) = init.live();
    // Whoever waits hears the end of the line where this fails.
    let _ = init.link.say(&FromInit::Failed(error));
    1
}

/// Becomes the root of a user namespace that was just entered, as far as root is mapped there.
pub(super) fn become_root() -> Result<()> {
    for (change, name) in [
        (nix::unistd::setresgid(0.into(), 0.into(), 0.into()), "setresgid(0)"),
        (nix::unistd::setresuid(0.into(), 0.into(), 0.into()), "setresuid(0)"),
    ] {
        match change {
            // Not mapped: the process goes on under an id of nobody's, with the capabilities that count.
            Ok(()) | Err(nix::errno::Errno::EINVAL) => {}
            Err(errno) => return Err(Error::syscall(name, errno as i32)).context("become root in the user namespace"),
        }
    }
    Ok(())
}

impl Init<'_> {
    fn live(&mut self) -> Result<Infallible> {
        self.close_inherited()?;
        let slave = self.wait_for_go()?;
        self.enter_root()?;
        nix::unistd::setsid().context("make a session")?;
        if let Some(slave) = slave {
            tty::apply::make_controlling(&slave).context("take the terminal")?;
        }
        let plan = self.setting.plan;
        ns::sysctl::apply(&plan.sysctls.inside, self.setting.proc)?;
        cred::apply::inside(&plan.inside, self.setting.proc)?;
        let program = plan.program.as_ref().map(Prepared::new).transpose()?;
        self.link.say(&FromInit::Ready)?;
        self.wait_for_start()?;
        let program = program.ok_or_else(|| Error::new("config.json has no process to start"))?;
        hook::run::run_all(&plan.hooks.start_container, &plan.hook_state(own_pid()), &plan.start_hook_setting())?;
        self.execute(&program)
    }

    /// What the caller leaked must not be held by a container that waits to be started.
    fn close_inherited(&self) -> Result<()> {
        let mut keep = vec![self.link.as_raw_fd(), self.setting.proc.as_fd().as_raw_fd()];
        if let Park::Socket(listener) = &self.setting.park {
            keep.push(listener.as_raw_fd());
        }
        keep.extend(3..3 + self.setting.plan.preserved_fds);
        sys::fd::close_except(&mut keep)
    }

    fn wait_for_go(&mut self) -> Result<Option<OwnedFd>> {
        loop {
            let heard = self.link.expect("the runtime")?;
            match heard.word {
                ToInit::Placed => {
                    sys::ns::unshare(libc::CLONE_NEWCGROUP).context("make a cgroup namespace")?;
                    self.link.say(&FromInit::Ready)?;
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
            prctl::set_dumpable(false)?;
        }
        if plan.namespaces.mounts == Mounts::Locked {
            sys::ns::unshare(libc::CLONE_NEWNS).context("make the container's own mount namespace")?;
        }
        match plan.mounts.root_change {
            mount::plan::RootChange::Pivot => nix::unistd::chdir("/").context("chdir /"),
            // The root file system lies over /, and only `..` steps up to what lies over a root.
            mount::plan::RootChange::Move => {
                nix::unistd::chdir("/..").context("chdir /..")?;
                nix::unistd::chroot(".").context("chroot")?;
                nix::unistd::chdir("/").context("chdir /")
            }
        }
    }

    fn wait_for_start(&mut self) -> Result<()> {
        if let Park::Socket(listener) = &self.setting.park {
            let caller = sys::socket::accept(listener.as_fd()).context("wait for start")?;
            self.link = Link::over(caller);
        }
        match self.link.expect("start")?.word {
            ToInit::Start => Ok(()),
            word => Err(Error::new(format_args!("told {word:?} instead of Start"))),
        }
    }

    /// The filter comes last, so that nothing but execve(2) runs under it.
    fn execute(&mut self, program: &Prepared) -> Result<Infallible> {
        let plan = self.setting.plan;
        signal::reset_all()?;
        sys::fd::close_on_exec_from(3 + plan.preserved_fds.cast_unsigned())?;
        if let Some(filter) = &plan.filter {
            if filter.listener.is_some() {
                // Said before the filter is there: afterwards it may hold every call back until somebody listens.
                self.link.say(&FromInit::Listener(sys::fd::lowest_free()?))?;
            }
            let listener = seccomp::apply::load(filter)?;
            // The runtime takes it out of this process; it ends with execve.
            std::mem::forget(listener);
        }
        let errno = sys::exec::execve(&program.path, &program.args, &program.env);
        Err(lookup::explain_execve(errno, &program.path))
    }
}

/// A program with everything that execve(2) wants, found before anything could no longer be reported at create.
#[derive(Debug)]
struct Prepared {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Prepared {
    fn new(program: &Program) -> Result<Self> {
        let mut env = program.env.clone();
        if !env.iter().any(|entry| entry.starts_with("HOME=")) {
            env.push(format!("HOME={}", cred::home::of(program.uid)?));
        }
        let path = lookup::find(&program.args, &env)?;
        let strings = |list: &[String]| list.iter().map(sys::cstring).collect::<Result<Vec<_>>>();
        Ok(Self { path, args: strings(&program.args)?, env: strings(&env)? })
    }
}

/// This process as its own pid namespace counts.
fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

//! init: born into the container's namespaces, it waits until everything around it stands, takes its identity and
//! executes. It is the only process that ever runs inside the container's user namespace on urun's account.

use super::{
    explain,
    link::{FromInit, Link, ToInit},
    lookup,
    serve::{Moment, Setting},
};
use crate::{
    cred,
    error::{Context, Error, Result},
    hook, mount,
    ns::{
        self,
        plan::{Base, Mounts},
    },
    plan::Program,
    seccomp,
    sys::{self, gate::Gate, prctl, signal},
    tty,
};
use std::{
    convert::Infallible,
    ffi::CString,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
};

/// Opened by the runtime when it has taken the seccomp listener out of init, which execve would close.
static GATE: Gate = Gate::closed();

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
            Err(errno) => {
                return Err(Error::syscall(name, errno as i32)).context("become root in the user namespace");
            }
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
            let slave = tty::apply::own_name(slave)?;
            tty::apply::make_controlling(slave.as_fd()).context("take the terminal")?;
        }
        let plan = self.setting.plan;
        ns::sysctl::apply(&plan.sysctls.inside, self.setting.proc)?;
        for note in cred::enter::apply(&plan.inside, self.setting.proc)? {
            self.link.say(&FromInit::Note(note))?;
        }
        self.close_host()?;
        let program = plan.program.as_ref().map(Prepared::new).transpose()?;
        self.link.say(&FromInit::Ready)?;
        self.wait_for_start()?;
        let program = program.ok_or_else(|| Error::new("config.json has no process to start"))?;
        self.start_container_hooks()?;
        self.execute(&program)
    }

    /// What the caller leaked must not be held by a container that waits to be started.
    fn close_inherited(&self) -> Result<()> {
        let proc = self.setting.proc.as_fd().as_raw_fd();
        self.close_except(self.listener().chain([proc]))
    }

    /// From here on paths are looked up that the image has chosen: no directory of the host may be open then, for
    /// `/proc/self/fd/N/..` leads from it to the host's root (CVE-2024-21626). Close-on-exec is too late, execve(2) finds
    /// its file first. What stays is a socket or two.
    fn close_host(&self) -> Result<()> {
        self.close_except(self.listener())
    }

    fn listener(&self) -> impl Iterator<Item = RawFd> + use<> {
        match &self.setting.park {
            Park::Socket(listener) => Some(listener.as_raw_fd()),
            Park::Line => None,
        }
        .into_iter()
    }

    /// Closes everything but the standard streams, the line, what the container is to have, and `more`.
    fn close_except(&self, more: impl Iterator<Item = RawFd>) -> Result<()> {
        let mut keep: Vec<RawFd> = more.chain([self.link.as_raw_fd()]).collect();
        // A number that the caller left free may be that of a descriptor of ours, which is close-on-exec.
        keep.extend((3..3 + self.setting.plan.preserved_fds).filter(|&fd| sys::fd::is_passed(fd)));
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
        }
        // Whatever the writing of the maps took, from here on nobody looks inside.
        prctl::set_dumpable(false)?;
        if plan.namespaces.mounts == Mounts::Locked {
            sys::ns::unshare(libc::CLONE_NEWNS).context("make the container's own mount namespace")?;
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
        // execve(2) resets handlers and keeps what is ignored: SIGPIPE for one, by the start of this very program.
        signal::reset(signal::Set::from_bits(plan.ignored_signals))?;
        signal::reset(signal::Set::of(&[libc::SIGPIPE]))?;
        signal::set_mask(signal::Set::EMPTY)?;
        self.close_except(std::iter::empty())?;
        if let Some(filter) = &plan.filter {
            if filter.listener.is_some() {
                // Said before the filter is there: afterwards it may hold every call back until somebody listens.
                prctl::set_dumpable(plan.namespaces.base != Base::Caller)?;
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
    let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC;
    let root =
        nix::fcntl::open("/", flags, nix::sys::stat::Mode::empty()).context("open the container's root")?;
    Ok(cred::home::of(root.as_fd(), uid))
}

/// This process as its own pid namespace counts.
fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

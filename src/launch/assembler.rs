//! The assembler: the runtime's privileges, a mount namespace of its own, and the container's network, IPC, UTS and
//! cgroup namespaces, but never its user namespace. It makes init, builds the root file system and ends.

use super::{
    init::{self, Init},
    link::{FromAssembler, FromInit, FromStage, Go, Link, ToInit},
    serve::{Moment, Setting},
    stage,
};
use crate::{
    cred,
    error::{Context, Error, Result},
    hook, mount, net,
    ns::{
        self,
        plan::{Base, Mounts, User},
    },
    spec::NamespaceKind,
    sys::{
        self,
        clone::{self, Birth, Child},
        pidfd, prctl,
    },
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The far ends of the runtime's two lines.
#[derive(Debug)]
pub(super) struct Ends {
    /// To the runtime.
    pub(super) runtime: Link<FromAssembler, Go>,
    /// init's, to be passed on.
    pub(super) init: Link<FromInit, ToInit>,
}

/// The namespaces that the assembler enters beside init.
const ENTERED: [NamespaceKind; 4] =
    [NamespaceKind::Network, NamespaceKind::Ipc, NamespaceKind::Uts, NamespaceKind::Cgroup];

/// Body of the assembler process; `near` are the copies of the runtime's ends.
pub(super) fn run(setting: &Setting<'_>, ends: Ends, near: [BorrowedFd<'_>; 2]) -> i32 {
    let Ends { mut runtime, init } = ends;
    let result = near.into_iter().try_for_each(sys::fd::close_copy).and_then(|()| {
        let mut assembler = Assembler { setting, runtime: &mut runtime };
        assembler.run(init)
    });
    let Err(error) = result else { return 0 };
    // Nobody is left to tell when this fails; the runtime hears the end of the line.
    let _ = runtime.say(&FromAssembler::Failed(error));
    1
}

struct Assembler<'a> {
    setting: &'a Setting<'a>,
    runtime: &'a mut Link<FromAssembler, Go>,
}

impl Assembler<'_> {
    fn run(&mut self, init_link: Link<FromInit, ToInit>) -> Result<()> {
        let plan = self.setting.plan;
        self.enter_base()?;
        // In the caller's mount namespace still: a clone made here keeps its propagation peers.
        let mut sources = mount::open_sources(&plan.mounts, self.setting.proc, plan.root_alone)?;
        let alone = sources.enter_alone()?;
        if !alone {
            self.enter_mounts()?;
            self.make_private().context("make the mount namespace private")?;
            nix::unistd::chdir("/").context("chdir /")?;
        }
        let init = self.make_init(init_link)?;
        self.runtime.say(&FromAssembler::Born(init.pid))?;
        // A socket of the namespace where the network devices still are.
        let devices = &plan.net_devices;
        let host = if devices.is_empty() { None } else { Some(net::Route::open()?) };
        self.enter(&init)?;
        self.settle()?;
        if let Some(host) = host {
            let namespace = self.namespace(&init, "net")?;
            net::apply(devices, &host, &net::Route::open()?, namespace.as_fd())?;
        }
        let pids =
            if plan.namespaces.has(NamespaceKind::Pid) { pidfd::pid_namespace(init.as_fd()) } else { None };
        let sources = sources.with_pid_namespace(pids);
        let assembled = mount::assemble(&plan.mounts, sources, self.setting.proc, mount::Lookup::Kernel)?;
        if !plan.hooks.create_runtime.is_empty() {
            self.ask(&FromAssembler::Hooks)?;
        }
        self.create_container_hooks(&init)?;
        if !alone {
            self.leave_chroot(&init)?;
        }
        mount::enter_root(&assembled, plan.root)?;
        // Last of all: a limit may be so low that the assembly would not have come this far.
        for note in cred::apply::apply(&plan.execution.outside, init.pid, self.setting.proc)? {
            self.runtime.say(&FromAssembler::Note(note))?;
        }
        let terminal: Vec<BorrowedFd<'_>> =
            assembled.terminal.iter().flat_map(|it| [it.master.as_fd(), it.slave.as_fd()]).collect();
        self.runtime.say_with(&FromAssembler::Assembled(assembled.proc), &terminal)
    }

    /// The root file system has to become the root of the mount namespace itself: whoever joins the namespace later (exec) begins
    /// there, and so does root inside. Only now, because hooks know the paths of the chroot.
    fn leave_chroot(&self, init: &Child) -> Result<()> {
        if !self.setting.plan.namespaces.may_begin_in_a_chroot() {
            return Ok(());
        }
        sys::ns::setns(init.as_fd(), libc::CLONE_NEWNS).context("leave the caller's chroot, if it is in one")
    }

    /// From here on nothing that is mounted reaches another mount namespace; outside the caller's chroot as well, where the root
    /// file system is moved to.
    fn make_private(&self) -> Result<()> {
        if !self.setting.plan.namespaces.may_begin_in_a_chroot() {
            return sys::mount::make_all_private();
        }
        let root = sys::openat::own_root()?;
        let proc = self.setting.proc;
        let own = proc.namespace(&proc.own()?, "mnt")?;
        sys::ns::setns(own.as_fd(), libc::CLONE_NEWNS)
            .context("leave the caller's chroot, if it is in one")
            .hint("this takes CAP_SYS_CHROOT, as every later exec does")?;
        sys::mount::make_all_private()?;
        mount::change_root(root.as_fd()).context("go back to the caller's root")
    }

    fn namespace(&self, init: &Child, kind: &str) -> Result<OwnedFd> {
        let proc = self.setting.proc;
        proc.namespace(&proc.process(init.pid)?, kind)
    }

    fn ask(&mut self, question: &FromAssembler) -> Result<()> {
        self.runtime.say(question)?;
        let Go::Go = self.runtime.expect("the runtime")?.word;
        Ok(())
    }

    /// The mount namespace in which the root file system is assembled.
    fn enter_mounts(&self) -> Result<()> {
        match (&self.setting.mount, &self.setting.plan.namespaces.base) {
            (Some(namespace), _) => {
                sys::ns::setns(namespace.as_fd(), libc::CLONE_NEWNS).context("join the mount namespace")
            }
            (None, Base::Caller) => sys::ns::unshare(libc::CLONE_NEWNS).context("make a mount namespace"),
            // Made together with the user namespace.
            (None, _) => Ok(()),
        }
    }

    /// Without privileges the assembly runs in a user namespace where it has them.
    fn enter_base(&mut self) -> Result<()> {
        match &self.setting.plan.namespaces.base {
            Base::Caller if self.setting.sees_hidden => return Ok(()),
            // Else init could not be reached through its pidfd and /proc until it stands.
            Base::Caller => return prctl::set_dumpable(true),
            Base::New { .. } => {
                // Until the maps are written, /proc/PID has to belong to the caller, who is nobody's superior.
                prctl::set_dumpable(true)?;
                sys::ns::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)
                    .context("make a user namespace without privileges")?;
                self.ask(&FromAssembler::Base)?;
            }
            Base::Joined(path) => {
                let namespace =
                    self.setting.user.as_ref().ok_or_else(|| Error::new("no namespace to join"))?;
                sys::ns::setns(namespace.as_fd(), libc::CLONE_NEWUSER)
                    .with_context(|| format!("join user namespace {}", path.display()))?;
                sys::ns::unshare(libc::CLONE_NEWNS).context("make a mount namespace")?;
            }
        }
        init::act_as_root()?;
        // The change of ids has reset it, and init's maps are written through /proc once more.
        prctl::set_dumpable(true)
    }

    /// Gives birth to init and writes the maps of its user namespace.
    fn make_init(&mut self, link: Link<FromInit, ToInit>) -> Result<Child> {
        let setting = self.setting;
        let spaces = &setting.plan.namespaces;
        if spaces.needs_stage() {
            return self.make_init_by_stage(link);
        }
        let mut flags = ns::apply::flags(&spaces.new) | libc::CLONE_PARENT;
        if let User::New(_) = spaces.user {
            flags |= libc::CLONE_NEWUSER;
        }
        let init = clone::spawn(&birth(setting, flags), || init::run(Init::new(setting, link)))
            .context("make the container's init")?;
        if let User::New(maps) = &spaces.user {
            ns::apply::write_maps(setting.proc, init.pid, maps)?;
        }
        Ok(init)
    }

    fn make_init_by_stage(&mut self, link: Link<FromInit, ToInit>) -> Result<Child> {
        let setting = self.setting;
        let spaces = &setting.plan.namespaces;
        let (mut near, far) = super::link::pair::<Go, FromStage>()?;
        let parentage = Birth { flags: libc::CLONE_PARENT as u64, cgroup: None };
        let stage = clone::spawn(&parentage, || {
            sys::fd::close_copy(near.as_fd()).map_or(1, |()| stage::run(setting, far, link))
        })
        .context("make the stage")?;
        loop {
            match near.expect("the stage")?.word {
                FromStage::Maps => {
                    if let User::New(maps) = &spaces.user {
                        ns::apply::write_maps(setting.proc, stage.pid, maps)?;
                    }
                }
                FromStage::Offsets => {
                    let offsets = spaces.time.unwrap_or_default();
                    ns::apply::write_time_offsets(setting.proc, stage.pid, offsets)?;
                }
                FromStage::Note(note) => {
                    self.runtime.say(&FromAssembler::Note(note))?;
                    continue;
                }
                FromStage::Born(pid) => return Ok(Child { pid, pidfd: pidfd::open(pid)? }),
                FromStage::Failed(error) => return Err(error),
            }
            near.tell(&Go::Go, &[])?;
        }
    }

    /// Joins init's namespaces, all but its user namespace: what is mounted from here on is the container's view.
    fn enter(&mut self, init: &Child) -> Result<()> {
        let plan = self.setting.plan;
        if plan.namespaces.late_cgroup {
            self.ask(&FromAssembler::Place)?;
        }
        let mut flags = ns::apply::flags(
            &ENTERED.into_iter().filter(|&kind| plan.namespaces.has(kind)).collect::<Vec<_>>(),
        );
        if plan.namespaces.has(NamespaceKind::Pid) {
            flags |= libc::CLONE_NEWPID;
        }
        if plan.namespaces.mounts == Mounts::Unlocked {
            flags |= libc::CLONE_NEWNS;
        }
        match flags {
            0 => Ok(()),
            _ => sys::ns::setns(init.as_fd(), flags).context("join the container's namespaces"),
        }
    }

    /// What belongs to a namespace as a whole, and the identity under which files are created.
    fn settle(&mut self) -> Result<()> {
        let plan = self.setting.plan;
        if let Some(name) = &plan.hostname {
            sys::ns::set_hostname(name).context("set the host name")?;
        }
        if let Some(name) = &plan.domainname {
            sys::ns::set_domainname(name).context("set the domain name")?;
        }
        ns::sysctl::apply(&plan.sysctls.outside, self.setting.proc)?;
        if let Some((uid, gid)) = plan.creator {
            prctl::create_as(uid, gid)?;
        }
        Ok(())
    }

    /// In the container's mount, network, IPC, UTS, cgroup and pid namespaces, before the pivot, with the runtime's
    /// privileges: a hook that mounts has to own the mount namespace.
    fn create_container_hooks(&mut self, init: &Child) -> Result<()> {
        let plan = self.setting.plan;
        let hooks = &plan.hooks.create_container;
        if hooks.is_empty() {
            return Ok(());
        }
        let pid = if plan.namespaces.makes(NamespaceKind::Pid) { 1 } else { init.pid };
        let state = (self.setting.state)(Moment::Creating, pid);
        let setting = hook::Setting { before_exec: Some(&prctl::create_as_oneself), ..plan.hooks.setting() };
        hook::run_all(hooks, &state, &setting)
    }
}

/// What init is born into.
pub(super) fn birth<'a>(setting: &Setting<'a>, mut flags: i32) -> Birth<'a> {
    if setting.plan.namespaces.mounts == Mounts::Unlocked {
        flags |= libc::CLONE_NEWNS;
    }
    Birth { flags: u64::from(flags.cast_unsigned()), cgroup: setting.cgroup }
}

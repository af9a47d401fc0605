//! `urun exec`

use super::{group, pid_file, process};
use crate::{
    bail,
    cgroup::{Cgroup, scope},
    cli::{ExecArgs, ExecCommand, ExecProgram, ExecRequest},
    cred::{Keyring, Setgroups},
    error::{Context, Error, Kind, Result},
    host::caller::Caller,
    launch::{
        self, Launched,
        exec::{Host, Setting},
    },
    log::Log,
    lsm,
    ns::{self, idmap::Outside, plan::Maps},
    plan::{
        Descriptors,
        exec::{Facts, Plan, Request, plan},
        hardened,
    },
    rdt,
    seccomp::plan::Filter,
    spec::{self, Config, NamespaceKind, Process},
    state::{Init, Record, Status, Store, document},
    sys::{clone::Child, pidfd, prctl, proc::Proc},
    tty::{self, foreground},
};
use std::{
    io::Read,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// More than any engine writes; a larger file is not a process.json.
const LARGEST_DOCUMENT: u64 = 16 << 20;

/// Runs a process in a container and, unless it is detached, stays with it; returns its exit status.
///
/// # Errors
/// The process never ran. Nothing is left of it then, and no pid file.
pub fn exec(request: &ExecRequest, log: &Log) -> Result<u8> {
    let args = &request.args;
    let started =
        start(request, log).map_err(|error| match args.pid_file.as_deref().map(pid_file::forget) {
            Some(Err(failure)) => error.also(&failure),
            _ => error,
        })?;
    if args.detach {
        return Ok(0);
    }
    let Started { process, master } = started;
    let exit = foreground::watch(process.pid, process.as_fd(), master, None)?;
    // An exit status is a byte, and 128 plus a signal is one as well.
    Ok(u8::try_from(exit.status()).unwrap_or(u8::MAX))
}

/// A process that runs.
struct Started {
    process: Child,
    /// The terminal's master, where nobody else has it.
    master: Option<OwnedFd>,
}

fn start(request: &ExecRequest, log: &Log) -> Result<Started> {
    let args = &request.args;
    if !args.detach {
        // From here on, so that a signal which comes while the process is made still reaches it.
        foreground::block()?;
        if !args.no_subreaper {
            prctl::become_subreaper()?;
        }
    }
    let descriptors = process::descriptors(args.preserve_fds)?;
    let proc = Proc::open()?;
    let entry = Store::open(&request.state_root)?.find(&args.id)?;
    let record = entry.record()?.ok_or_else(stopped)?;
    let status = group::status(&entry, &record, &proc)?;
    let init = may_enter(&record, status, args.ignore_paused)?;
    let container =
        init.open().map_err(|error| if error.is(Kind::NotRunning) { stopped() } else { error })?;
    let config = spec::load(&entry.config()?).context("read the container's copy of config.json")?;
    process::protect_early(&config, &proc)?;
    let process = process_of(args, &config, record.hardened)?;
    check_terminal(args, process.terminal)?;
    let host = Facing::probe(&proc, init.pid, &process)?;
    process::protect_if_exposed(host.maps.as_ref(), &proc)?;
    let plan = plan(&config, &process, &planned(args, descriptors, record.hardened), &host.facts)?;
    for warning in &plan.warnings {
        log.warning(warning);
    }
    let cgroup = cgroup(&record, args, &proc, init.pid)?;
    let by_manager = cgroup.as_ref().map_or(Ok(false), |cgroup| scope::is_out_of_reach(cgroup, &proc))?;
    let setting = Setting {
        plan: &plan,
        proc: &proc,
        container: container.as_fd(),
        cgroup: cgroup.as_ref().filter(|_| !by_manager).and_then(Cgroup::directory_fd),
    };
    let rdt = rdt::plan(config.linux.intel_rdt.as_ref(), args.id.as_str())?.joins();
    let mut serving = Serving {
        args,
        plan: &plan,
        log,
        proc: &proc,
        cgroup: cgroup.as_ref(),
        by_manager,
        rdt: &rdt,
        master: None,
    };
    let launched = launch::exec::enter(&setting, &mut serving);
    let mut launched = launched.map_err(|error| match pidfd::exited(container.as_fd()) {
        Ok(true) => stopped().context(error),
        _ => error,
    })?;
    let master = serving.master;
    let state = document(&record, status, init.pid);
    match settle(args, plan.execution.filter.as_ref(), &state, &mut launched, log) {
        Ok(()) => Ok(Started { process: launched.init, master }),
        Err(error) => Err(match launched.kill() {
            Ok(()) => error,
            Err(failure) => error.also(&failure),
        }),
    }
}

/// Lets the process execute and tells who wants to know.
fn settle(
    args: &ExecArgs,
    filter: Option<&Filter>,
    state: &[u8],
    launched: &mut Launched,
    log: &Log,
) -> Result<()> {
    let listener = filter.and_then(|filter| filter.listener.as_ref());
    let agent = launch::start::agent(listener, state, launched.init.pid)?;
    launch::start::start(&mut launched.link, &launched.init, agent.as_ref(), &mut |note| log.warning(note))?;
    if let Some(path) = &args.pidfd_socket {
        tty::console::send_pidfd(path, launched.init.as_fd())?;
    }
    match &args.pid_file {
        Some(path) => pid_file::write(path, launched.init.pid),
        None => Ok(()),
    }
}

fn stopped() -> Error {
    Error::new("cannot exec in a stopped container").kind(Kind::NotRunning)
}

/// The init of a container that can be entered.
fn may_enter(record: &Record, status: Status, ignore_paused: bool) -> Result<Init> {
    match (status, record.init) {
        (Status::Creating, _) => bail!("cannot exec in a container that is still being created"),
        (Status::Paused, _) if !ignore_paused => Err(Error::new(
            "cannot exec in a paused container (use --ignore-paused to override)",
        )
        .hint(format_args!(
            "urun resume {} lets it run; with --ignore-paused the program waits for that",
            record.id
        ))),
        (Status::Stopped, _) | (_, None) => Err(stopped()),
        (Status::Created | Status::Running | Status::Paused, Some(init)) => Ok(init),
    }
}

/// What is to be run: the document, or the container's own process with what was typed in its place.
fn process_of(args: &ExecArgs, config: &Config, hardened: bool) -> Result<Process> {
    let mut process = match &args.program {
        ExecProgram::Document(path) => spec::load_process(&read_document(path)?, config.process.as_ref())
            .with_context(|| path.display().to_string())?,
        ExecProgram::Command(command) => {
            let own = config.process.clone().ok_or_else(|| {
                Error::new("config.json has no process to take user, environment and directory from")
                    .hint("give the whole process as a document: --process FILE")
            })?;
            typed(command, Process { terminal: false, ..own })
        }
    };
    if hardened {
        hardened::process(&mut process);
    }
    Ok(Process { terminal: process.terminal || args.tty, ..process })
}

fn read_document(path: &Path) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(LARGEST_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("read {}", path.display()))?;
    if bytes.len() as u64 > LARGEST_DOCUMENT {
        bail!("read {}: larger than {} MiB", path.display(), LARGEST_DOCUMENT >> 20);
    }
    Ok(bytes)
}

fn typed(command: &ExecCommand, own: Process) -> Process {
    let mut process = Process { args: command.args.clone(), ..own };
    if let Some(cwd) = &command.cwd {
        process.cwd.clone_from(cwd);
    }
    process.env.extend(command.env.iter().cloned());
    if let Some((uid, gid)) = command.user {
        process.user.uid = uid;
        process.user.gid = gid.unwrap_or(process.user.gid);
    }
    process.user.additional_gids.extend(&command.additional_gids);
    // Neither inheritable nor ambient: a program that was not given them would pass them on (CVE-2022-29162).
    for set in [
        &mut process.capabilities.bounding,
        &mut process.capabilities.effective,
        &mut process.capabilities.permitted,
    ] {
        *set |= command.capabilities;
    }
    process.no_new_privileges |= command.no_new_privileges;
    process.selinux_label = command.selinux_label.clone().or(process.selinux_label);
    process.apparmor_profile = command.apparmor_profile.clone().or(process.apparmor_profile);
    process
}

/// runc's rules: nobody could ever see a terminal that has neither a socket nor a foreground.
fn check_terminal(args: &ExecArgs, terminal: bool) -> Result<()> {
    match (terminal, args.detach, &args.console_socket) {
        (true, true, None) => Err(Error::new("a detached program with a terminal needs --console-socket")
            .hint(
                "leave out --tty, set terminal to false in the process document, or run in the foreground",
            )),
        (false, _, Some(_)) => Err(Error::new("--console-socket: the program gets no terminal")
            .hint("--tty gives it one, or terminal in the process document")),
        (true, false, Some(_)) => Err(Error::new("--console-socket: the program is not detached")),
        _ => Ok(()),
    }
}

fn planned(args: &ExecArgs, descriptors: Descriptors, hardened: bool) -> Request {
    Request {
        id: args.id.as_str().to_owned(),
        keyring: if args.no_new_keyring { Keyring::Callers } else { Keyring::Containers },
        descriptors,
        hardened,
        foreground: !args.detach,
    }
}

/// The container as the caller faces it.
struct Facing {
    facts: Facts,
    /// The maps of its user namespace, where it is not the caller's.
    maps: Option<Maps>,
}

impl Facing {
    fn probe(proc: &Proc, init: i32, process: &Process) -> Result<Self> {
        let caller = Caller::probe(proc)?;
        let apart = ns::apply::apart(proc, init).map_err(|error| match error.errno() {
            Some(libc::ENOENT | libc::ESRCH) => stopped(),
            Some(libc::EACCES | libc::EPERM) if !caller.is_privileged() => {
                error.hint("an unprivileged user can enter a container once its program runs: urun start")
            }
            _ => error,
        })?;
        let maps = match apart.contains(&NamespaceKind::User) {
            true => Some(ns::apply::maps_of(proc, init)?),
            false => None,
        };
        let outside = maps.as_ref().map_or(Outside::Same, |maps| Outside::Mapped {
            uids: maps.uids.clone(),
            gids: maps.gids.clone(),
        });
        let setgroups = match &maps {
            Some(_) if ns::apply::denies_setgroups(proc, init)? => Setgroups::Denied,
            _ => Setgroups::Allowed,
        };
        let lsm = if lsm::is_asked(process) { lsm::probe(proc)? } else { lsm::Facts::default() };
        Ok(Self { facts: Facts { caller, apart, outside, setgroups, lsm }, maps })
    }
}

/// The groups that the process belongs to.
fn cgroup(record: &Record, args: &ExecArgs, proc: &Proc, init: i32) -> Result<Option<Cgroup>> {
    let group = group::open(record)?;
    if group.is_empty() {
        return match args.cgroup.first() {
            Some(path) => {
                Err(Error::new(format_args!("--cgroup {path}: the container has no control group")))
            }
            None => Ok(None),
        };
    }
    if !args.cgroup.is_empty() {
        return group.chosen(&args.cgroup).map(Some);
    }
    // A group whose children have controllers takes no process (cgroups(7), "No internal processes"): systemd as the
    // payload makes it so, and has moved on to a group below.
    if group.read("cgroup.subtree_control")?.is_some_and(|controllers| !controllers.trim().is_empty()) {
        let membership = proc.read_text(&format!("{}/cgroup", proc.process(init)?))?;
        return group.of_member(&membership).map(Some);
    }
    Ok(Some(group))
}

/// The runtime's side while the process is born.
struct Serving<'a> {
    args: &'a ExecArgs,
    plan: &'a Plan,
    log: &'a Log,
    proc: &'a Proc,
    cgroup: Option<&'a Cgroup>,
    by_manager: bool,
    rdt: &'a [rdt::RdtOp],
    master: Option<OwnedFd>,
}

impl Host for Serving<'_> {
    fn born(&mut self, process: &Child) -> Result<()> {
        if let Some(cgroup) = self.cgroup {
            cgroup.attach_legacy(process.pid)?;
            if self.by_manager {
                scope::attach(cgroup, process.pid)?;
            }
        }
        match self.rdt.is_empty() {
            true => Ok(()),
            false => rdt::apply(self.rdt, &rdt::root(self.proc)?, process.pid),
        }
    }

    fn terminal(&mut self, master: OwnedFd) -> Result<()> {
        let socket = self.args.console_socket.as_deref();
        self.master = process::deliver(master, socket, self.plan.execution.console_size)?;
        Ok(())
    }

    fn note(&mut self, note: &Error) {
        self.log.warning(note);
    }
}

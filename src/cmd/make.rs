//! What `create` and `run` have in common: from a request to a container that waits for its start.

use super::{
    facts::{self, Probed},
    notify, process, ranges,
    serving::Serving,
    userns,
};
use crate::{
    bail,
    cgroup::{self, Cgroup, Holder},
    cli::{CreateRequest, Name},
    cred::Keyring,
    error::{Context, Error, Kind, Result},
    hook,
    host::caller::Caller,
    launch::{self, Launched, Moment, Park},
    log::Log,
    mount,
    ns::{self, subid::Range},
    plan::{self, Descriptors, Plan, hardened, proc_mount},
    spec::{self, Config, NamespaceKind},
    state::{ContainerId, Entry, PidNamespace, Record, Status, Store, document},
    sys::{proc::Proc, socket},
    systemd::Manager,
    tty,
};
use std::{
    io::{Read, Write},
    os::fd::{AsFd, OwnedFd},
};

/// A container that waits for its start. Dropping it leaves it as it is.
#[allow(missing_debug_implementations)]
pub struct Made {
    /// Its directory.
    pub entry: Entry,
    /// What is stored about it.
    pub record: Record,
    /// What it was made from.
    pub plan: Plan,
    /// Its init and the line to it.
    pub launched: Launched,
    /// The terminal's master, where nobody else has it.
    pub master: Option<OwnedFd>,
    /// Its control groups.
    pub cgroup: Option<Cgroup>,
}

/// Where the new init waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// On the line: the caller starts it.
    ForCaller,
    /// On a socket: a later `start` does.
    ForStart,
}

/// More than any engine writes; a larger file is not a config.json.
const LARGEST_CONFIG: u64 = 64 << 20;

/// Makes the container. Whatever fails, nothing is left behind.
pub fn make(request: &CreateRequest, waits: Waits, log: &Log) -> Result<Made> {
    let descriptors = process::descriptors(request.preserve_fds)?;
    let proc = Proc::open()?;
    let bytes = read_config(request)?;
    let mut config = spec::load(&bytes).with_context(|| request.config.display().to_string())?;
    check_terminal(&config, request)?;
    let caller = Caller::probe(&proc)?;
    let lent = userns::Chooser { caller: &caller, proc: &proc, request, log }.choose(&mut config)?;
    process::protect_early(&config, &proc)?;
    let given = Given { descriptors, proc, bytes, config, caller, range: lent.range(), base: lent.base()? };
    lent.settle(given.make(request, waits, log), &request.state_root)
}

/// What a container is made from.
struct Given {
    descriptors: Descriptors,
    proc: Proc,
    bytes: Vec<u8>,
    config: Config,
    caller: Caller,
    range: Option<Range>,
    base: Option<OwnedFd>,
}

impl Given {
    fn make(self, request: &CreateRequest, waits: Waits, log: &Log) -> Result<Made> {
        let Self { descriptors, proc, bytes, mut config, caller, range, base } = self;
        let proc_mount = proc_mount::choose(&mut config, request.proc_mount)?;
        let hardened = hardened::choose(&mut config, request.hardened, proc_mount)?;
        let Probed { facts, user, manager } = facts::probe(&config, request.driver, caller, &proc, base)?;
        let notifies = notify::is_wanted(&config);
        let mut store = Store::open(&request.state_root)?;
        let (plan, entry) = loop {
            let id = match &request.name {
                Name::Exact(id) => id.clone(),
                Name::Like(id) => store.free(id),
            };
            let directory = store.path().join(id.as_str()).join(notify::DIRECTORY);
            let announced = notifies.then(|| notify::announced(&config, &directory));
            let config = announced.as_ref().unwrap_or(&config);
            let plan = plan::create::plan(config, &planned(request, &id, descriptors, hardened), &facts)?;
            let maps = plan.namespaces.callers_maps(facts.namespaces.joined.as_ref());
            process::protect_if_exposed(maps.as_ref(), &proc)?;
            match (store.create(&id), &request.name) {
                // Another caller took the name in between.
                (Err(error), Name::Like(_)) if error.is(Kind::Exists) => {}
                (entry, _) => break (plan, entry?),
            }
        };
        for warning in &plan.warnings {
            log.warning(warning);
        }
        if let (cgroup::Plan::None { reason }, Some(Err(error))) = (&plan.cgroup, &facts.systemd) {
            log.debug(format_args!("no control group: {reason}: {error}"));
        }
        let mut record = record(request, &config, &plan, &entry, &facts.caller);
        record.id_range = range;
        record.hardened = hardened;
        let mut attempt = Attempt { request, log, plan, record, entry, cgroup: None, master: None };
        let opened =
            Opened { proc, config: bytes, user, notifies, manager, sees_hidden: facts.caller.can_ptrace() };
        match attempt.launch(opened, waits) {
            Ok(launched) => {
                // init shares these pages with this process: to free them is to copy them.
                std::mem::forget((config, facts));
                Ok(attempt.finish(launched))
            }
            Err(error) => Err(attempt.undo(error)),
        }
    }
}

fn read_config(request: &CreateRequest) -> Result<Vec<u8>> {
    let path = request.config.display();
    let mut bytes = Vec::with_capacity(32 << 10);
    let file = std::fs::File::open(&request.config).with_context(|| format!("open {path}")).hint(
        "a bundle is a directory with a config.json; `urun spec` writes one, and -b names another directory",
    )?;
    file.take(LARGEST_CONFIG + 1).read_to_end(&mut bytes).with_context(|| format!("read {path}"))?;
    if bytes.len() as u64 > LARGEST_CONFIG {
        bail!("read {path}: larger than {} MiB", LARGEST_CONFIG >> 20);
    }
    Ok(bytes)
}

/// runc's rules: nobody could ever see a terminal that has neither a socket nor a foreground.
fn check_terminal(config: &Config, request: &CreateRequest) -> Result<()> {
    let terminal = config.process.as_ref().is_some_and(|process| process.terminal);
    match (terminal, request.detach, &request.console_socket) {
        (true, true, None) => {
            Err(Error::new("process.terminal: a detached container with a terminal needs --console-socket")
                .hint("set process.terminal to false, or run in the foreground"))
        }
        (false, _, Some(_)) => Err(Error::new("--console-socket: process.terminal is false in config.json")),
        (true, false, Some(_)) => Err(Error::new("--console-socket: the container is not detached")),
        _ => Ok(()),
    }
}

fn planned(
    request: &CreateRequest,
    id: &ContainerId,
    descriptors: Descriptors,
    hardened: bool,
) -> plan::create::Request {
    plan::create::Request {
        id: id.as_str().to_owned(),
        bundle: request.bundle.clone(),
        root: if request.no_pivot { mount::Root::MoveMount } else { mount::Root::Pivot },
        keyring: if request.no_new_keyring { Keyring::Callers } else { Keyring::Containers },
        descriptors,
        hardened,
        driver: match request.driver {
            crate::state::Driver::Disabled => cgroup::plan::Driver::Disabled,
            crate::state::Driver::Systemd => cgroup::plan::Driver::Systemd,
            crate::state::Driver::Cgroupfs => cgroup::plan::Driver::Cgroupfs,
        },
    }
}

fn record(request: &CreateRequest, config: &Config, plan: &Plan, entry: &Entry, caller: &Caller) -> Record {
    let mut record =
        Record::new(entry.id().clone(), &request.bundle, &request.bundle.join(&config.root.path));
    record.oci_version.clone_from(&config.oci_version);
    record.annotations.clone_from(&config.annotations);
    record.owner = caller.euid;
    record.driver = request.driver;
    record.mounts = Some(plan.namespaces.mounts.word().to_owned());
    record.pid_namespace = match plan.namespaces.makes(NamespaceKind::Pid) {
        true => PidNamespace::Own,
        false => PidNamespace::Shared,
    };
    record
}

/// What was opened before anything was made.
struct Opened {
    proc: Proc,
    config: Vec<u8>,
    user: Option<OwnedFd>,
    notifies: bool,
    manager: Option<Manager>,
    sees_hidden: bool,
}

/// A container in the making.
struct Attempt<'a> {
    request: &'a CreateRequest,
    log: &'a Log,
    plan: Plan,
    record: Record,
    entry: Entry,
    cgroup: Option<Cgroup>,
    master: Option<OwnedFd>,
}

impl Attempt<'_> {
    fn launch(&mut self, opened: Opened, waits: Waits) -> Result<Launched> {
        let Opened { proc, config, user, notifies, manager, sees_hidden } = opened;
        hook::open_all(&mut self.plan.hooks.create_container)?;
        let joins = ns::apply::open(&self.plan.namespaces.joins)?;
        let mount = self.plan.namespaces.mount_path.as_deref().map(ns::apply::open_one).transpose()?;
        cgroup::apply::refuse_in_use(&self.plan.cgroup)?;
        self.store()?;
        if notifies {
            self.entry.make_directory(notify::DIRECTORY)?;
        }
        let (created, holder) = self.make_groups(manager, &proc)?;
        let cgroup = &*self.cgroup.insert(created);
        let park = match waits {
            Waits::ForCaller => Park::Line,
            Waits::ForStart => Park::Socket(socket::bind(&self.entry.start_socket())?),
        };
        let state_record = self.record.clone();
        let state = move |moment, pid| {
            let status = if moment == Moment::Creating { Status::Creating } else { Status::Created };
            document(&state_record, status, pid)
        };
        let mut serving = Serving {
            proc: &proc,
            plan: &self.plan,
            request: self.request,
            log: self.log,
            entry: &self.entry,
            config: &config,
            record: &mut self.record,
            cgroup,
            holder,
            master: &mut self.master,
            state: &state,
        };
        let setting = launch::Setting {
            plan: &self.plan,
            proc: &proc,
            joins,
            user,
            mount,
            sees_hidden,
            cgroup: cgroup.directory_fd().filter(|_| self.plan.cgroup.takes_births()),
            park,
            state: &state,
        };
        let launched = launch::launch(&setting, &mut serving)?;
        if let Err(error) = self.announce(&launched) {
            return Err(match launched.kill() {
                Ok(()) => error,
                Err(failure) => error.also(&failure),
            });
        }
        Ok(launched)
    }

    /// On disk before the first thing that would outlive a crash.
    fn store(&mut self) -> Result<()> {
        if let Some(range) = self.record.id_range {
            ranges::assign(range, &self.entry)?;
        }
        self.record.rdt.clone_from(&self.plan.rdt.owned);
        self.record.cgroup = self.plan.cgroup.record().to_json();
        self.entry.save(&self.record)
    }

    /// The groups, and who keeps their unit alive until somebody is in it.
    fn make_groups(&mut self, manager: Option<Manager>, proc: &Proc) -> Result<(Cgroup, Option<Holder>)> {
        let started = cgroup::scope::start(&self.plan.cgroup, manager, proc);
        let made = started.and_then(|holder| Ok((cgroup::create(&self.plan.cgroup)?, holder)));
        let made = made.inspect_err(|error| {
            if error.is(Kind::GroupInUse) {
                // Somebody was quicker: from here on the groups are not this container's to clean up.
                self.record.cgroup = serde_json::Value::Null;
            }
        })?;
        made.0.notes().for_each(|note| self.log.debug(note));
        Ok(made)
    }

    /// Tells those who asked for it that there is a container.
    fn announce(&self, launched: &Launched) -> Result<()> {
        if let Some(path) = &self.request.pidfd_socket {
            tty::console::send_pidfd(path, launched.init.as_fd())?;
        }
        match &self.request.pid_file {
            Some(path) => super::pid_file::write(path, launched.init.pid),
            None => Ok(()),
        }
    }

    fn finish(self, launched: Launched) -> Made {
        let Self { plan, record, mut entry, cgroup, master, .. } = self;
        entry.unlock();
        Made { entry, record, plan, launched, master, cgroup }
    }

    /// The processes are gone already.
    fn undo(self, error: Error) -> Error {
        let Self { record, entry, cgroup, plan, .. } = self;
        remove(entry, &record, &plan, cgroup, error)
    }
}

impl Made {
    /// Where the caller named only a bundle, the id is what later commands need to know.
    pub fn print_name(&self, request: &CreateRequest) -> Result<()> {
        match request.name {
            Name::Exact(_) => Ok(()),
            Name::Like(_) => {
                writeln!(std::io::stdout(), "{}", self.entry.id()).context("print the container's id")
            }
        }
    }

    /// Tells init to execute, and runs the poststart hooks.
    pub fn start(&mut self, log: &Log) -> Result<()> {
        let state = document(&self.record, Status::Running, self.launched.init.pid);
        let listener = self.plan.execution.filter.as_ref().and_then(|filter| filter.listener.as_ref());
        let agent = launch::start::agent(listener, &state, self.launched.init.pid)?;
        launch::start::start(&mut self.launched.link, &self.launched.init, agent.as_ref(), &mut |note| {
            log.warning(note);
        })?;
        hook::run_all(&self.plan.hooks.poststart, &state, &self.plan.hooks.setting())
    }

    /// Ends what could not be started, and removes every trace.
    pub fn destroy(self, error: Error) -> Error {
        let Self { record, entry, plan, launched, cgroup, .. } = self;
        let error = match launched.kill() {
            Ok(()) => error,
            Err(failure) => error.also(&failure),
        };
        remove(entry, &record, &plan, cgroup, error)
    }

    /// Removes the container that has ended: its poststop hooks, its groups, its record.
    pub fn clean_up(self, log: &Log) -> Result<()> {
        let Self { record, entry, plan, cgroup, .. } = self;
        let state = document(&record, Status::Stopped, 0);
        for failure in hook::run_tolerant(&plan.hooks.poststop, &state, &plan.hooks.setting()) {
            log.warning(failure);
        }
        super::group::remove_rdt(&record)?;
        cgroup.map_or(Ok(()), |cgroup| cgroup.destroy())?;
        ranges::release(&record, &entry)?;
        entry.remove()
    }
}

/// Removes every trace of a container whose processes are gone; what cannot be removed is told behind the cause.
fn remove(entry: Entry, record: &Record, plan: &Plan, cgroup: Option<Cgroup>, mut error: Error) -> Error {
    let mut failures = match record.init {
        Some(_) => {
            let state = document(record, Status::Stopped, 0);
            hook::run_tolerant(&plan.hooks.poststop, &state, &plan.hooks.setting())
        }
        None => Vec::new(),
    };
    // Groups whose making was cut short are known by the record alone.
    let groups = cgroup.map_or_else(|| super::group::open(record), Ok);
    let groups = groups.and_then(|groups| groups.destroy());
    let left: Vec<Error> =
        [super::group::remove_rdt(record), groups].into_iter().filter_map(Result::err).collect();
    // What is left is found by the record: `delete --force` takes it up.
    if left.is_empty() {
        failures.extend(ranges::release(record, &entry).and_then(|()| entry.remove()).err());
    }
    failures.extend(left);
    for failure in failures {
        error = error.also(&failure);
    }
    error
}

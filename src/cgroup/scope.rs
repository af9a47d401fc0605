//! A container's group as a unit of systemd.
//!
//! A scope is made for processes that exist, and systemd removes it with the last of them. The container's init, on the other
//! hand, is to be born in its group, so that it never runs without limits and its cgroup namespace begins there. So a
//! process of ours, the *holder*, stands in the scope from its start until init is born in it. The holder does nothing but
//! wait: no limit of the container can hit anything of the runtime, and it is gone before `create` returns. It ends with the
//! runtime, so a crash leaves no scope behind.
//!
//! Where the caller may not bring a process into the scope (one who is logged in over ssh has another part of the tree),
//! systemd moves init as it has moved the holder, and init makes its cgroup namespace after that.

use super::{
    apply::DELEGATE,
    dir::Dir,
    group::Cgroup,
    path,
    plan::Plan,
    record::Record,
    unit::{Placing, Unit},
};
use crate::{
    bail,
    error::{Context, Error, Result},
    host::cgroups::{self, Cgroups},
    sys::{
        clone::{self, Birth, Child},
        pidfd::{self, Exit, without_a_word},
        prctl,
        proc::Proc,
    },
    systemd::{Address, Instance, Manager, Property, unit, wire::Value},
};
use nix::unistd::Pid;
use std::os::fd::AsFd;

/// Keeps a scope alive until the container's first process is in it.
#[derive(Debug)]
pub struct Holder {
    manager: Manager,
    unit: String,
    placing: Placing,
    below: String,
    /// None for a slice, which needs no process.
    child: Option<Child>,
}

/// Starts the unit of a plan that has one.
///
/// # Errors
/// What systemd refuses; a unit that somebody else has ([`Kind::GroupInUse`]).
pub fn start(plan: &Plan, manager: Option<Manager>, proc: &Proc) -> Result<Option<Holder>> {
    let Plan::Groups { unit: Some(unit), groups, .. } = plan else { return Ok(None) };
    let Some(manager) = manager else {
        bail!("start unit {}: there is no connection to systemd", unit.unit.name)
    };
    let born = groups.first().and_then(|group| group.below.born.as_ref());
    let below = born.map_or(String::new(), |name| format!("/{name}"));
    let mut holder =
        Holder { manager, unit: unit.unit.name.clone(), placing: unit.keeper.placing, below, child: None };
    let mut properties = unit.properties.clone();
    if let unit::Kind::Scope { .. } = unit.unit.kind {
        let maker = nix::unistd::getpid();
        let child = clone::spawn(&Birth::default(), || hold(maker))
            .context("make the holder of the container's scope")?;
        let pids = vec![Value::U32(child.pid.unsigned_abs())];
        properties.push(Property::new("PIDs", Value::Array("u".to_owned(), pids)));
        holder.child = Some(child);
    }
    let started = holder.manager.start(&holder.unit, &properties);
    match started.and_then(|()| check_place(unit, holder.child.as_ref(), proc)) {
        Ok(()) => Ok(Some(holder)),
        // Whatever systemd makes of a process that is gone comes of that.
        Err(error) => Err(holder.child.as_ref().and_then(end_of_holder).unwrap_or(error)),
    }
}

/// Body of the holder. Its status is the errno of what was refused.
fn hold(maker: Pid) -> i32 {
    if let Err(error) = prctl::end_with_parent(libc::SIGKILL) {
        return error.errno().unwrap_or(libc::EINVAL);
    }
    // A maker that has ended before that call cannot be told by it.
    if nix::unistd::getppid() != maker {
        return libc::ESRCH;
    }
    loop {
        nix::unistd::pause();
    }
}

/// Why a holder has ended; none where it has not.
fn end_of_holder(holder: &Child) -> Option<Error> {
    if !pidfd::exited(holder.as_fd()).ok()? {
        return None;
    }
    Some(match pidfd::wait(holder.as_fd()).ok()? {
        Exit::Code(errno) => {
            Error::syscall("prctl(PR_SET_PDEATHSIG)", errno).context("hold the container's scope")
        }
        signal @ Exit::Signal(_) => without_a_word("the holder of the container's scope", &signal),
    })
}

/// Whether systemd has put the unit where the plan says, for everything else relies on it.
fn check_place(unit: &Unit, holder: Option<&Child>, proc: &Proc) -> Result<()> {
    let Some(holder) = holder else { return Ok(()) };
    let text = proc.read_text(&format!("{}/cgroup", proc.process(holder.pid)?))?;
    let found = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    match found == unit.path()? {
        true => Ok(()),
        false => {
            bail!("systemd has started unit {} at {found}; {} was expected", unit.unit.name, unit.path()?)
        }
    }
}

impl Holder {
    /// To be called when the container's first process is there: moves it into the unit where it could not be born there,
    /// and ends the holder.
    pub fn release(mut self, init: i32) -> Result<()> {
        if self.placing == Placing::Manager {
            self.manager.attach(&self.unit, &self.below, init).hint(DELEGATE)?;
        }
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let Some(child) = self.child.take() else { return Ok(()) };
        pidfd::send_signal(child.as_fd(), libc::SIGKILL)?;
        pidfd::wait(child.as_fd()).map(drop)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Something has failed already and is being told; a holder that is gone is what is wanted.
        let _ = self.end();
    }
}

/// Tells systemd the values that are about to be written to the group.
pub fn update(record: &Record, ops: &[super::Op]) -> Result<()> {
    let Some(unit) = &record.unit else { return Ok(()) };
    let mut manager = unit.manager()?;
    let version = manager.about()?.version;
    match super::unit::properties(ops, version) {
        properties if properties.is_empty() => Ok(()),
        properties => manager.set(&unit.name, &properties),
    }
}

/// What is stored about a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitRecord {
    /// Its name.
    pub name: String,
    /// Who keeps it.
    pub instance: Instance,
    /// Where that was reached; a later command may have another environment.
    pub address: String,
}

impl UnitRecord {
    fn manager(&self) -> Result<Manager> {
        Manager::connect(self.instance, Address::parse(&self.address).ok())
    }

    /// Stops it.
    pub fn stop(&self) -> Result<()> {
        self.manager()?.stop(&self.name)
    }
}

/// Whether systemd alone may bring a process of the caller into the groups of a container that exists.
pub fn is_out_of_reach(cgroup: &Cgroup, proc: &Proc) -> Result<bool> {
    match (&cgroup.record().unit, cgroup.record().hierarchies.first()) {
        (Some(UnitRecord { instance: Instance::User, .. }), Some((_, path))) => {
            Ok(placing(&cgroups::probe(proc)?, path)? == Placing::Manager)
        }
        _ => Ok(false),
    }
}

/// Lets systemd bring a process into the groups of a container that exists.
pub fn attach(cgroup: &Cgroup, pid: i32) -> Result<()> {
    let Record { unit, hierarchies, home, .. } = cgroup.record();
    let (Some(unit), Some((_, path))) = (unit, hierarchies.first()) else { return Ok(()) };
    let below = path.split_once(&format!("/{}", unit.name)).map_or("", |(_, below)| below);
    unit.manager()?
        .attach(&unit.name, &format!("{below}{}", home.as_deref().unwrap_or_default()), pid)
        .hint(DELEGATE)
}

/// Who may bring a process of the caller into groups below `control_group`, cgroups(7) "Delegation containment".
pub fn placing(host: &Cgroups, control_group: &str) -> Result<Placing> {
    let Some(unified) = &host.unified else { return Ok(Placing::Birth) };
    let above = path::common(&unified.own, control_group);
    let above = Dir::hierarchy(&unified.mount)?.0.open(above.trim_start_matches('/'))?;
    match above.check_writable("cgroup.procs") {
        Ok(()) => Ok(Placing::Birth),
        Err(error) if matches!(error.errno(), Some(libc::EACCES | libc::EPERM | libc::EROFS)) => {
            Ok(Placing::Manager)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_holder_is_told_with_its_cause() {
        let spawn = |errand: &dyn Fn() -> i32| clone::spawn(&Birth::default(), errand).unwrap();
        let refused = spawn(&|| libc::EPERM);
        pidfd::poll(refused.as_fd(), None).unwrap();
        assert_eq!(
            end_of_holder(&refused).unwrap().to_string(),
            "hold the container's scope: prctl(PR_SET_PDEATHSIG): Operation not permitted (EPERM)"
        );
        let maker = nix::unistd::getpid();
        let holder = spawn(&|| hold(maker));
        assert!(end_of_holder(&holder).is_none());
        pidfd::send_signal(holder.as_fd(), libc::SIGKILL).unwrap();
        pidfd::poll(holder.as_fd(), None).unwrap();
        let text = end_of_holder(&holder).unwrap().to_string();
        assert_eq!(text, "the holder of the container's scope ended without a word (SIGKILL)");
    }
}

//! Asks the host what a plan needs to know, and nothing else.

use crate::{
    cgroup::{self, scope, unit::Placing},
    error::{Context, Error, Result},
    host::{
        caller::Caller,
        cgroups::{self, Cgroups},
    },
    lsm,
    ns::{self, subid},
    plan::create::Facts,
    spec::{Config, NamespaceKind},
    state::Driver,
    sys::proc::Proc,
    systemd::{Instance, Manager},
};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// What was asked, and what was opened for it and is needed again.
#[derive(Debug)]
pub struct Probed {
    /// The answers.
    pub facts: Facts,
    /// The user namespace to join: one that was lent, or the one that config.json names.
    pub user: Option<OwnedFd>,
    /// The service manager that was asked.
    pub manager: Option<Manager>,
}

/// The facts for the plan of `config`, whose user namespace is nested in the one that is `lent` to it.
pub fn probe(
    config: &Config,
    driver: Driver,
    caller: Caller,
    proc: &Proc,
    lent: Option<OwnedFd>,
) -> Result<Probed> {
    let path = lent.as_ref().map(|namespace| format!("/proc/self/fd/{}", namespace.as_raw_fd()).into());
    let user = config.linux.namespace(NamespaceKind::User).and_then(|entry| entry.path.as_deref());
    let namespace = match lent {
        Some(namespace) => Some(namespace),
        None => user.map(ns::apply::open_one).transpose().context("linux.namespaces")?,
    };
    let privileged = caller.is_privileged();
    let inside =
        namespace.as_ref().map(|namespace| ns::apply::look_into(proc, namespace.as_fd())).transpose()?;
    let (joined, setgroups_denied) = inside.map_or((None, false), |(maps, denied)| (Some(maps), denied));
    let cgroups = cgroups::probe(proc)?;
    let (systemd, manager) = match (driver == Driver::Systemd).then(|| systemd(&caller, &cgroups)) {
        Some(Ok((systemd, manager))) => (Some(Ok(systemd)), Some(manager)),
        Some(Err(error)) => (Some(Err(error)), None),
        None => (None, None),
    };
    let by_manager = matches!(&systemd, Some(Ok(systemd)) if systemd.placing == Placing::Manager);
    let namespaces = ns::plan::Facts {
        euid: caller.euid,
        egid: caller.egid,
        privileged,
        subordinate: if privileged { None } else { subid::maps_of(caller.euid, caller.egid)? },
        lent: path,
        joined,
        setgroups_denied,
        late_cgroup: !cgroups.legacy.is_empty() || by_manager,
    };
    let labels = config.linux.mount_label.is_some() || config.process.as_ref().is_some_and(lsm::is_asked);
    let lsm = if labels { lsm::probe(proc)? } else { lsm::Facts::default() };
    let facts = Facts { caller, namespaces, cgroups, systemd, lsm };
    Ok(Probed { facts, user: namespace, manager })
}

/// The service manager for this caller: the machine's for its root, else the user's own. Root of a container in which a
/// systemd of its own runs has that one.
fn systemd(caller: &Caller, host: &Cgroups) -> Result<(cgroup::Systemd, Manager)> {
    if !host.is_pure_v2() {
        return Err(Error::new("the systemd cgroup driver needs a host with cgroup version 2 alone")
            .hint("boot with systemd.unified_cgroup_hierarchy=1, or use the cgroupfs driver: leave out --systemd-cgroup"));
    }
    if caller.is_host_root() {
        return ask(Instance::System, host);
    }
    ask(Instance::User, host).or_else(|error| match ask(Instance::System, host) {
        Ok(found) if caller.euid == 0 && found.0.placing == Placing::Birth => Ok(found),
        _ => Err(error),
    })
}

fn ask(instance: Instance, host: &Cgroups) -> Result<(cgroup::Systemd, Manager)> {
    let mut manager = Manager::connect(instance, None)?;
    let about = manager.about()?;
    let placing = scope::placing(host, &about.control_group)?;
    Ok((cgroup::Systemd { instance, address: manager.address().clone(), about, placing }, manager))
}

//! Asks the host what a plan needs to know, and nothing else.

use crate::{
    error::{Context, Result},
    host::{caller::Caller, cgroups},
    lsm,
    ns::{self, subid},
    plan::create::Facts,
    spec::{Config, NamespaceKind},
    sys::proc::Proc,
};
use std::os::fd::{AsFd, OwnedFd};

/// The facts for the plan of `config`, and the user namespace to join, opened.
pub fn probe(config: &Config, caller: Caller, proc: &Proc) -> Result<(Facts, Option<OwnedFd>)> {
    let user = config.linux.namespace(NamespaceKind::User);
    let namespace = user
        .and_then(|entry| entry.path.as_deref())
        .map(ns::apply::open_one)
        .transpose()
        .context("linux.namespaces")?;
    let privileged = caller.is_privileged();
    let joined = match &namespace {
        Some(namespace) if privileged => Some(ns::apply::read_maps(proc, namespace.as_fd())?),
        _ => None,
    };
    let cgroups = cgroups::probe(proc)?;
    let namespaces = ns::plan::Facts {
        euid: caller.euid,
        egid: caller.egid,
        privileged,
        subordinate: if privileged { None } else { subid::maps_of(caller.euid, caller.egid)? },
        joined,
        legacy_cgroups: !cgroups.legacy.is_empty(),
    };
    let labels = config.linux.mount_label.is_some() || config.process.as_ref().is_some_and(lsm::is_asked);
    let lsm = if labels { lsm::probe(proc)? } else { lsm::Facts::default() };
    Ok((Facts { caller, namespaces, cgroups, lsm }, namespace))
}

//! Asks the host what a plan needs to know, and nothing else.

use crate::{
    error::{Context, Result},
    host::{caller::Caller, cgroups, passwd},
    lsm,
    ns::{self, plan::Maps, subid},
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
        subordinate: if privileged { None } else { subordinate(&caller)? },
        joined,
        legacy_cgroups: !cgroups.legacy.is_empty(),
    };
    let lsm = lsm::apply::probe(proc)?;
    Ok((Facts { caller, namespaces, cgroups, lsm }, namespace))
}

/// The caller as root, followed by its subordinate ids; none where it has none.
fn subordinate(caller: &Caller) -> Result<Option<Maps>> {
    let name = passwd::name_of(caller.euid);
    let (users, groups) = (read("/etc/subuid")?, read("/etc/subgid")?);
    let users = subid::ranges_of(&users, &name, caller.euid);
    let groups = subid::ranges_of(&groups, &name, caller.euid);
    if users.is_empty() || groups.is_empty() {
        return Ok(None);
    }
    Ok(Some(Maps { uids: subid::for_user(caller.euid, &users), gids: subid::for_user(caller.egid, &groups) }))
}

/// The text of a file that need not be there.
fn read(path: &str) -> Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        other => other.with_context(|| format!("read {path}")),
    }
}

//! Config and facts become steps. Pure.

pub use super::op::{Op, Plan};
use crate::{error::Result, host::cgroups::Cgroups, ns::idmap::Outside, spec::Config};
use std::{collections::BTreeMap, path::PathBuf};

/// What the caller asks for beyond config.json.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The process gets a terminal.
    pub terminal: bool,
    /// The SELinux label of new file systems; absent where SELinux is off.
    pub label: Option<Label>,
}

/// A SELinux mount label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// `context`, `fscontext`, `defcontext` or `rootcontext` (`run.oci.mount_context_type`).
    pub kind: String,
    /// `linux.mountLabel`.
    pub value: String,
}

/// What is so, whether anybody asks for it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// How the container's ids appear to the assembler.
    pub outside: Outside,
    /// mknod(2) makes devices that work: initial user namespace and CAP_MKNOD.
    pub can_mknod: bool,
    /// The runtime is in the initial user namespace.
    pub initial_userns: bool,
    /// The container has a user namespace of its own, new or joined.
    pub container_userns: bool,
    /// The assembler's privileges reach the user namespace that owns the container's network namespace.
    pub own_network: bool,
    /// The host's cgroup hierarchies.
    pub cgroups: Cgroups,
    /// The container's cgroup namespace is new.
    pub new_cgroup_namespace: bool,
    /// The container's group in each hierarchy: mount point → path relative to it, starting with `/`.
    pub cgroup_paths: BTreeMap<PathBuf, String>,
}

/// Decides how the root file system is assembled. All errors name their JSON path.
pub fn plan(config: &Config, request: &Request, facts: &Facts) -> Result<Plan> {
    let _ = (config, request, facts);
    crate::bail!("unfinished")
}

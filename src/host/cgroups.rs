//! Which control group hierarchies this host has and where the caller is in them.

use std::path::PathBuf;

/// The cgroup layout of the host: pure version 2, version 1, or both (hybrid).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// The version 2 hierarchy, at /sys/fs/cgroup or (hybrid) /sys/fs/cgroup/unified.
    pub unified: Option<Hierarchy>,
    /// The version 1 hierarchies; none on a pure version 2 host.
    pub legacy: Vec<Hierarchy>,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted on the host.
    pub mount: PathBuf,
    /// Version 1: what it was mounted with (`["cpu", "cpuacct"]`, `["name=systemd"]`). Version 2: what the root offers.
    pub controllers: Vec<String>,
    /// The caller's own group in it, relative to `mount`, starting with `/`.
    pub own: String,
}

impl Cgroups {
    /// Whether version 2 is all there is.
    pub fn is_pure_v2(&self) -> bool {
        self.unified.is_some() && self.legacy.is_empty()
    }
}

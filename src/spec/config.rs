//! The validated configuration of a container: what a config.json says, with nothing left to interpret.

use super::{
    linux::{IdMap, Linux, Namespace, NamespaceKind},
    mount::{Mount, MountIds},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// A whole config.json (OCI runtime-spec 1.3, config.md), valid by construction.
#[derive(Clone, Debug)]
pub struct Config {
    /// `ociVersion` as written.
    pub oci_version: String,
    /// `root`.
    pub root: Root,
    /// `process`; absent means that the container can be created but not started.
    pub process: Option<Process>,
    /// `hostname`.
    pub hostname: Option<String>,
    /// `domainname`.
    pub domainname: Option<String>,
    /// `mounts`, in order.
    pub mounts: Vec<Mount>,
    /// `hooks`.
    pub hooks: Hooks,
    /// `annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `linux`.
    pub linux: Linux,
    /// What deserves a word but is no error: unknown capabilities, deprecated forms. Each with its JSON path.
    pub warnings: Vec<String>,
}

impl Config {
    /// Gives the container a new user namespace with these ids. A mount that had the ids of the former one has these.
    pub fn set_user_namespace(&mut self, uids: Vec<IdMap>, gids: Vec<IdMap>) {
        for idmap in self.mounts.iter_mut().filter_map(|mount| mount.idmap.as_mut()) {
            let is_former = |ids: &MountIds| {
                matches!(ids, MountIds::Own { uids, gids }
                    if *uids == self.linux.uid_mappings && *gids == self.linux.gid_mappings)
            };
            if is_former(&idmap.ids) {
                idmap.ids = MountIds::Container;
            }
        }
        self.remove_user_namespace();
        self.linux.namespaces.push(Namespace { kind: NamespaceKind::User, path: None });
        (self.linux.uid_mappings, self.linux.gid_mappings) = (uids, gids);
    }

    /// Puts the container in an existing user namespace.
    pub fn join_user_namespace(&mut self, path: &Path) {
        self.set_user_namespace(Vec::new(), Vec::new());
        self.linux.namespaces.iter_mut().filter(|entry| entry.kind == NamespaceKind::User).for_each(
            |entry| {
                entry.path = Some(path.to_owned());
            },
        );
    }

    /// Leaves the container in the user namespace of the caller.
    pub fn remove_user_namespace(&mut self) {
        self.linux.namespaces.retain(|entry| entry.kind != NamespaceKind::User);
        (self.linux.uid_mappings, self.linux.gid_mappings) = Default::default();
    }
}

/// `root`.
#[derive(Clone, Debug)]
pub struct Root {
    /// As written; a relative path is relative to the bundle.
    pub path: PathBuf,
    /// `readonly`.
    pub readonly: bool,
    /// The container's ids are those on disk: the root is seen through an id-mapped mount.
    pub idmap: bool,
}

/// `process`, also the document that `exec --process` reads.
#[derive(Clone, Debug)]
pub struct Process {
    /// `terminal`.
    pub terminal: bool,
    /// `consoleSize` as (rows, columns); absent or zero leaves the size alone.
    pub console_size: Option<(u16, u16)>,
    /// `cwd`, absolute.
    pub cwd: PathBuf,
    /// `env`, each `NAME=value`; a repeated name is kept, the last one counts.
    pub env: Vec<String>,
    /// `args`, at least one.
    pub args: Vec<String>,
    /// `user`.
    pub user: User,
    /// `capabilities`; an absent object is the same as five empty sets.
    pub capabilities: Capabilities,
    /// `noNewPrivileges`.
    pub no_new_privileges: bool,
    /// `rlimits`.
    pub rlimits: Vec<Rlimit>,
    /// `oomScoreAdj`, −1000…1000; absent leaves the score alone.
    pub oom_score_adj: Option<i32>,
    /// `apparmorProfile`; an empty string counts as absent.
    pub apparmor_profile: Option<String>,
    /// `selinuxLabel`; an empty string counts as absent.
    pub selinux_label: Option<String>,
    /// `scheduler`.
    pub scheduler: Option<Scheduler>,
    /// `ioPriority` as the kernel's ioprio value (class << 13 | priority), ioprio_set(2).
    pub io_priority: Option<u16>,
    /// `execCPUAffinity`, used by exec alone.
    pub exec_cpu_affinity: Option<ExecCpuAffinity>,
}

/// `process.user`: ids inside the container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// `uid`.
    pub uid: u32,
    /// `gid`.
    pub gid: u32,
    /// `umask`; absent means 0022, as in runc and crun.
    pub umask: Option<u32>,
    /// `additionalGids`.
    pub additional_gids: Vec<u32>,
}

/// `process.capabilities`: five sets as bit masks, bit n = capability n (capabilities(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `bounding`.
    pub bounding: u64,
    /// `effective`.
    pub effective: u64,
    /// `permitted`.
    pub permitted: u64,
    /// `inheritable`.
    pub inheritable: u64,
    /// `ambient`.
    pub ambient: u64,
}

/// One of `process.rlimits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// `type` as the kernel's number (`RLIMIT_*`).
    pub resource: u32,
    /// `soft`; `u64::MAX` is infinity.
    pub soft: u64,
    /// `hard`; `u64::MAX` is infinity.
    pub hard: u64,
}

/// `process.scheduler`, in the terms of sched_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduler {
    /// `policy` as the kernel's number (`SCHED_*`).
    pub policy: u32,
    /// `flags` as the kernel's bits (`SCHED_FLAG_*`).
    pub flags: u64,
    /// `nice`.
    pub nice: i32,
    /// `priority`.
    pub priority: u32,
    /// `runtime`, nanoseconds.
    pub runtime: u64,
    /// `deadline`, nanoseconds.
    pub deadline: u64,
    /// `period`, nanoseconds.
    pub period: u64,
}

/// `process.execCPUAffinity`: sorted CPU numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecCpuAffinity {
    /// `initial`.
    pub initial: Option<Vec<u32>>,
    /// `final`.
    pub last: Option<Vec<u32>>,
}

/// `hooks`: six lists, each run in order.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// `prestart` (deprecated, still sent by BuildKit).
    pub prestart: Vec<Hook>,
    /// `createRuntime`.
    pub create_runtime: Vec<Hook>,
    /// `createContainer`.
    pub create_container: Vec<Hook>,
    /// `startContainer`.
    pub start_container: Vec<Hook>,
    /// `poststart`.
    pub poststart: Vec<Hook>,
    /// `poststop`.
    pub poststop: Vec<Hook>,
}

/// One hook program.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Where config.json says it, for errors: `hooks.prestart[0]`.
    pub json_path: String,
    /// `path`, absolute.
    pub path: PathBuf,
    /// `args`, argv including argv[0]; empty means [path].
    pub args: Vec<String>,
    /// `env`, the hook's whole environment.
    pub env: Vec<String>,
    /// `timeout`; at least a second.
    pub timeout: Option<Duration>,
}

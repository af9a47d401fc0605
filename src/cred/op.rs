//! What is done to a process, as data.

use crate::lsm;
use std::{ffi::CString, fmt};

/// Done to init by pid, with the runtime's privileges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutsideOp {
    /// Every processor that the cpuset allows: the caller's own narrowed affinity is not the container's.
    AllCpus,
    /// These processors.
    Cpus(Vec<u32>),
    /// A resource limit.
    Limit {
        /// `RLIMIT_*`
        resource: u32,
        /// `u64::MAX` is infinity
        soft: u64,
        /// `u64::MAX` is infinity
        hard: u64,
        /// what to do where raising is forbidden
        denial: Denial,
    },
    /// `/proc/PID/oom_score_adj`.
    OomScore {
        /// −1000…1000
        score: i32,
        /// what to do where lowering is forbidden
        denial: Denial,
    },
    /// sched_setattr(2).
    Scheduler(Scheduling),
    /// ioprio_set(2): class << 13 | priority.
    IoPriority(u16),
    /// The caller's standard streams, which are init's as well, belong to the container's user. Ids as seen outside.
    Stdio {
        /// outside uid
        uid: u32,
        /// outside gid
        gid: u32,
    },
}

/// What a refusal by the kernel (EPERM, EACCES) means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The container cannot be created.
    Fails,
    /// As far as it goes, with a note: nothing more can be had by a caller that is not root of the host.
    Noted,
}

/// `struct sched_attr` without its size, sched_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Scheduling {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// Done by init to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InsideOp {
    /// The SELinux label of the next key.
    KeyLabel(lsm::KeyLabel),
    /// A session keyring of its own, so that keys of the caller stay out of reach.
    SessionKeyring {
        /// `_ses.ID`
        name: CString,
        /// whether it is a new one
        access: KeyringAccess,
        /// what to do where keys are forbidden or used up
        denial: Denial,
    },
    /// personality(2).
    Personality(u64),
    /// set_mempolicy(2).
    MemoryPolicy {
        /// `MPOL_*` with `MPOL_F_*`
        mode: u32,
        /// bit n of word n / 64 is node n
        nodes: Vec<u64>,
    },
    /// umask(2).
    Umask(u32),
    /// The AppArmor profile or SELinux label that execve switches to.
    Label(lsm::ExecLabel),
    /// `PR_SET_NO_NEW_PRIVS`.
    NoNewPrivileges,
    /// chdir(2) as the container's root. A refusal is left to [`InsideOp::DirectoryAsUser`].
    DirectoryAsRoot(CString),
    /// setgroups(2), also to nothing at all.
    Groups(Vec<u32>),
    /// Drop every capability from the bounding set that is not in this mask.
    Bounding(u64),
    /// `PR_SET_KEEPCAPS`, without which the change of uid would empty the permitted set.
    KeepCapabilities,
    /// setresgid(2).
    Group(u32),
    /// setresuid(2).
    User(u32),
    /// `PR_SET_DUMPABLE` 0 again.
    Undumpable,
    /// chdir(2) where it did not work as root, then proof that the directory is inside the container.
    DirectoryAsUser(CString),
    /// `PR_SET_KEEPCAPS` off again.
    ForgetCapabilities,
    /// capset(2).
    Capabilities {
        /// bit n is capability n
        effective: u64,
        /// bit n is capability n
        permitted: u64,
        /// bit n is capability n
        inheritable: u64,
    },
    /// Exactly these ambient capabilities.
    Ambient(u64),
}

/// Whether a session keyring is made or found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyringAccess {
    /// Made; its owner may find it by name later, as exec does.
    New,
    /// The container's, made by create.
    Found,
}

impl OutsideOp {
    /// The step as the table of reasons calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AllCpus | Self::Cpus(_) => "affinity",
            Self::Limit { .. } => "limit",
            Self::OomScore { .. } => "oom score",
            Self::Scheduler(_) => "scheduler",
            Self::IoPriority(_) => "io priority",
            Self::Stdio { .. } => "standard streams",
        }
    }
}

impl InsideOp {
    /// The step as the table of reasons calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::KeyLabel(_) => "key label",
            Self::SessionKeyring { .. } => "session keyring",
            Self::Personality(_) => "personality",
            Self::MemoryPolicy { .. } => "memory policy",
            Self::Umask(_) => "umask",
            Self::Label(_) => "exec label",
            Self::NoNewPrivileges => "no new privileges",
            Self::DirectoryAsRoot(_) => "working directory as root",
            Self::Groups(_) => "groups",
            Self::Bounding(_) => "bounding set",
            Self::KeepCapabilities => "keep capabilities",
            Self::Group(_) => "gid",
            Self::User(_) => "uid",
            Self::Undumpable => "undumpable",
            Self::DirectoryAsUser(_) => "working directory as user",
            Self::ForgetCapabilities => "forget capabilities",
            Self::Capabilities { .. } => "capabilities",
            Self::Ambient(_) => "ambient set",
        }
    }
}

impl fmt::Display for InsideOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyLabel(label) => label.fmt(f),
            Self::SessionKeyring { name, access: KeyringAccess::New, .. } => {
                write!(f, "make session keyring {}", name.to_string_lossy())
            }
            Self::SessionKeyring { name, access: KeyringAccess::Found, .. } => {
                write!(f, "join session keyring {}", name.to_string_lossy())
            }
            Self::Personality(persona) => write!(f, "set personality {persona:#x}"),
            Self::MemoryPolicy { mode, nodes } => {
                write!(f, "set memory policy {mode:#x} on nodes {nodes:x?}")
            }
            Self::Umask(mask) => write!(f, "set umask {mask:04o}"),
            Self::Label(label) => label.fmt(f),
            Self::NoNewPrivileges => f.write_str("set no new privileges"),
            Self::DirectoryAsRoot(path) => {
                write!(f, "change to the working directory {} as root", path.to_string_lossy())
            }
            Self::Groups(gids) => write!(f, "set supplementary groups {gids:?}"),
            Self::Bounding(mask) => write!(f, "reduce the bounding set to {mask:#x}"),
            Self::KeepCapabilities => f.write_str("keep capabilities over the change of uid"),
            Self::Group(gid) => write!(f, "become gid {gid}"),
            Self::User(uid) => write!(f, "become uid {uid}"),
            Self::Undumpable => f.write_str("stay undumpable"),
            Self::DirectoryAsUser(path) => {
                write!(f, "change to the working directory {}", path.to_string_lossy())
            }
            Self::ForgetCapabilities => f.write_str("keep capabilities no longer"),
            Self::Capabilities { effective, permitted, inheritable } => write!(
                f,
                "set capabilities effective={effective:#x} permitted={permitted:#x} inheritable={inheritable:#x}"
            ),
            Self::Ambient(mask) => write!(f, "set ambient capabilities {mask:#x}"),
        }
    }
}

impl fmt::Display for OutsideOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpus(list) => write!(f, "allow the processors {list:?}"),
            Self::AllCpus => f.write_str("allow every processor of the cpuset"),
            Self::Limit { resource, soft, hard, .. } => {
                write!(f, "set {} to {}:{}", limit_name(*resource), Amount(*soft), Amount(*hard))
            }
            Self::OomScore { score, .. } => write!(f, "set the OOM score to {score}"),
            Self::Scheduler(wanted) => write!(
                f,
                "set scheduling policy {}, nice {}, priority {}",
                wanted.policy, wanted.nice, wanted.priority
            ),
            Self::IoPriority(value) => {
                write!(f, "set I/O class {}, priority {}", value >> 13, value & 0x1fff)
            }
            Self::Stdio { uid, gid } => write!(f, "give the standard streams to {uid}:{gid}"),
        }
    }
}

/// A limit's value with its word for infinity.
struct Amount(u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == u64::MAX { f.write_str("unlimited") } else { self.0.fmt(f) }
    }
}

/// `RLIMIT_*` by number, getrlimit(2).
pub fn limit_name(resource: u32) -> &'static str {
    const NAMES: [&str; 16] = [
        "RLIMIT_CPU",
        "RLIMIT_FSIZE",
        "RLIMIT_DATA",
        "RLIMIT_STACK",
        "RLIMIT_CORE",
        "RLIMIT_RSS",
        "RLIMIT_NPROC",
        "RLIMIT_NOFILE",
        "RLIMIT_MEMLOCK",
        "RLIMIT_AS",
        "RLIMIT_LOCKS",
        "RLIMIT_SIGPENDING",
        "RLIMIT_MSGQUEUE",
        "RLIMIT_NICE",
        "RLIMIT_RTPRIO",
        "RLIMIT_RTTIME",
    ];
    NAMES.get(resource as usize).copied().unwrap_or("an unknown limit")
}

//! Words of the specification and the kernel's numbers for them. The parser and the `features` command share them.

use crate::spec::{
    linux::NamespaceKind,
    mount::{Propagation, PropagationKind},
    seccomp::{Action, Arch, Operator},
};

/// `linux.namespaces[].type`.
pub const NAMESPACES: &[(&str, NamespaceKind)] = &[
    ("cgroup", NamespaceKind::Cgroup),
    ("ipc", NamespaceKind::Ipc),
    ("mount", NamespaceKind::Mount),
    ("network", NamespaceKind::Network),
    ("pid", NamespaceKind::Pid),
    ("time", NamespaceKind::Time),
    ("user", NamespaceKind::User),
    ("uts", NamespaceKind::Uts),
];

/// `process.rlimits[].type` (getrlimit(2)).
pub const RLIMITS: &[(&str, u32)] = &[
    ("RLIMIT_AS", libc::RLIMIT_AS),
    ("RLIMIT_CORE", libc::RLIMIT_CORE),
    ("RLIMIT_CPU", libc::RLIMIT_CPU),
    ("RLIMIT_DATA", libc::RLIMIT_DATA),
    ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE),
    ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS),
    ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK),
    ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE),
    ("RLIMIT_NICE", libc::RLIMIT_NICE),
    ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE),
    ("RLIMIT_NPROC", libc::RLIMIT_NPROC),
    ("RLIMIT_RSS", libc::RLIMIT_RSS),
    ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO),
    ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME),
    ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING),
    ("RLIMIT_STACK", libc::RLIMIT_STACK),
];

/// `process.scheduler.policy` (sched(7)). `SCHED_ISO` is reserved in the kernel and was never implemented.
pub const POLICIES: &[(&str, u32)] = &[
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

/// `process.scheduler.flags` (sched_setattr(2)).
pub const SCHEDULER_FLAGS: &[(&str, u64)] = &[
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

/// `process.ioPriority.class` (ioprio_set(2)).
pub const IO_CLASSES: &[(&str, u16)] =
    &[("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

/// `linux.personality.domain` (personality(2)).
pub const PERSONALITIES: &[(&str, u64)] = &[("LINUX", 0x0000), ("LINUX32", 0x0008)];

/// `linux.memoryPolicy.mode` (linux/mempolicy.h).
pub const MEMORY_MODES: &[(&str, u32)] = &[
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// `linux.memoryPolicy.flags` (linux/mempolicy.h).
pub const MEMORY_FLAGS: &[(&str, u32)] = &[
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

/// `linux.rootfsPropagation`, with the recursive forms that engines send.
pub const PROPAGATIONS: &[(&str, Propagation)] = &[
    ("shared", Propagation { kind: PropagationKind::Shared, recursive: false }),
    ("slave", Propagation { kind: PropagationKind::Slave, recursive: false }),
    ("private", Propagation { kind: PropagationKind::Private, recursive: false }),
    ("unbindable", Propagation { kind: PropagationKind::Unbindable, recursive: false }),
    ("rshared", Propagation { kind: PropagationKind::Shared, recursive: true }),
    ("rslave", Propagation { kind: PropagationKind::Slave, recursive: true }),
    ("rprivate", Propagation { kind: PropagationKind::Private, recursive: true }),
    ("runbindable", Propagation { kind: PropagationKind::Unbindable, recursive: true }),
];

/// EPERM, what a rejected system call returns unless the profile says otherwise.
const EPERM: u16 = 1;

/// Seccomp actions; those that carry a number carry the default one.
pub const ACTIONS: &[(&str, Action)] = &[
    ("SCMP_ACT_ALLOW", Action::Allow),
    ("SCMP_ACT_ERRNO", Action::Errno(EPERM)),
    ("SCMP_ACT_KILL", Action::KillThread),
    ("SCMP_ACT_KILL_PROCESS", Action::KillProcess),
    ("SCMP_ACT_KILL_THREAD", Action::KillThread),
    ("SCMP_ACT_LOG", Action::Log),
    ("SCMP_ACT_NOTIFY", Action::Notify),
    ("SCMP_ACT_TRACE", Action::Trace(EPERM)),
    ("SCMP_ACT_TRAP", Action::Trap),
];

/// Seccomp comparisons.
pub const OPERATORS: &[(&str, Operator)] = &[
    ("SCMP_CMP_EQ", Operator::Eq),
    ("SCMP_CMP_GE", Operator::Ge),
    ("SCMP_CMP_GT", Operator::Gt),
    ("SCMP_CMP_LE", Operator::Le),
    ("SCMP_CMP_LT", Operator::Lt),
    ("SCMP_CMP_MASKED_EQ", Operator::MaskedEq),
    ("SCMP_CMP_NE", Operator::Ne),
];

/// Seccomp architectures, all of libseccomp 2.6.
pub const ARCHS: &[(&str, Arch)] = &[
    ("SCMP_ARCH_AARCH64", Arch::Aarch64),
    ("SCMP_ARCH_ARM", Arch::Arm),
    ("SCMP_ARCH_LOONGARCH64", Arch::Loongarch64),
    ("SCMP_ARCH_M68K", Arch::M68k),
    ("SCMP_ARCH_MIPS", Arch::Mips),
    ("SCMP_ARCH_MIPS64", Arch::Mips64),
    ("SCMP_ARCH_MIPS64N32", Arch::Mips64N32),
    ("SCMP_ARCH_MIPSEL", Arch::Mipsel),
    ("SCMP_ARCH_MIPSEL64", Arch::Mipsel64),
    ("SCMP_ARCH_MIPSEL64N32", Arch::Mipsel64N32),
    ("SCMP_ARCH_PARISC", Arch::Parisc),
    ("SCMP_ARCH_PARISC64", Arch::Parisc64),
    ("SCMP_ARCH_PPC", Arch::Ppc),
    ("SCMP_ARCH_PPC64", Arch::Ppc64),
    ("SCMP_ARCH_PPC64LE", Arch::Ppc64le),
    ("SCMP_ARCH_RISCV64", Arch::Riscv64),
    ("SCMP_ARCH_S390", Arch::S390),
    ("SCMP_ARCH_S390X", Arch::S390x),
    ("SCMP_ARCH_SH", Arch::Sh),
    ("SCMP_ARCH_SHEB", Arch::Sheb),
    ("SCMP_ARCH_X32", Arch::X32),
    ("SCMP_ARCH_X86", Arch::X86),
    ("SCMP_ARCH_X86_64", Arch::X86_64),
];

/// Seccomp filter flags that a profile may ask for (seccomp(2)).
pub const FILTER_FLAGS: &[(&str, u64)] = &[
    ("SECCOMP_FILTER_FLAG_TSYNC", 1),
    ("SECCOMP_FILTER_FLAG_LOG", 1 << 1),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", 1 << 2),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 1 << 5),
];

/// The six lists of `hooks`, in the order in which they run.
pub const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

//! `linux.seccomp`: the profile as the compiler wants it.

use super::syscall::Syscall;
use std::path::PathBuf;

/// The `seccomp` object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seccomp {
    /// `defaultAction`, with `defaultErrnoRet` inside.
    pub default_action: Action,
    /// `architectures`, in order; empty means the native one alone.
    pub architectures: Vec<Arch>,
    /// `flags` as the kernel's bits (`SECCOMP_FILTER_FLAG_*`, seccomp(2)).
    pub flags: u64,
    /// `listenerPath`
    pub listener_path: Option<PathBuf>,
    /// `listenerMetadata`
    pub listener_metadata: Option<String>,
    /// `syscalls`, in order.
    pub syscalls: Vec<Rule>,
}

/// One of `syscalls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `names`, without those that no architecture knows.
    pub names: Vec<Syscall>,
    /// `action`, with `errnoRet` inside.
    pub action: Action,
    /// `args`: all must match. libseccomp's rule: two comparisons of the same argument in one entry are an OR of
    /// entries (runc and crun split them); the compiler follows.
    pub args: Vec<Arg>,
}

/// One comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg {
    /// `index`, 0…5
    pub index: u8,
    /// `value`
    pub value: u64,
    /// `valueTwo`; the value compared with under `SCMP_CMP_MASKED_EQ`, where `value` is the mask
    pub value_two: u64,
    /// `op`
    pub op: Operator,
}

/// `SCMP_CMP_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `SCMP_CMP_NE`
    Ne,
    /// `SCMP_CMP_LT`
    Lt,
    /// `SCMP_CMP_LE`
    Le,
    /// `SCMP_CMP_EQ`
    Eq,
    /// `SCMP_CMP_GE`
    Ge,
    /// `SCMP_CMP_GT`
    Gt,
    /// `SCMP_CMP_MASKED_EQ`
    MaskedEq,
}

/// `SCMP_ACT_*`; values that carry a number carry it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// `SCMP_ACT_KILL` and `SCMP_ACT_KILL_THREAD`
    KillThread,
    /// `SCMP_ACT_KILL_PROCESS`
    KillProcess,
    /// `SCMP_ACT_TRAP`
    Trap,
    /// `SCMP_ACT_ERRNO`; EPERM unless `errnoRet` says otherwise
    Errno(u16),
    /// `SCMP_ACT_TRACE`; EPERM unless `errnoRet` says otherwise
    Trace(u16),
    /// `SCMP_ACT_ALLOW`
    Allow,
    /// `SCMP_ACT_LOG`
    Log,
    /// `SCMP_ACT_NOTIFY`
    Notify,
}

/// `SCMP_ARCH_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Arch {
    X86,
    X86_64,
    X32,
    Arm,
    Aarch64,
    Mips,
    Mips64,
    Mips64N32,
    Mipsel,
    Mipsel64,
    Mipsel64N32,
    Ppc,
    Ppc64,
    Ppc64le,
    S390,
    S390x,
    Parisc,
    Parisc64,
    Riscv64,
    Loongarch64,
    M68k,
    Sh,
    Sheb,
}

//! What the text of a profile allows for a call, straight from its entries: the measure of programs in the tests and in fuzzing.

use crate::bpf::Call;
use std::collections::{BTreeMap, BTreeSet};
use urun::spec::{
    seccomp::{Action, Arch, Arg, Operator, Rule, Seccomp},
    syscall::Syscall,
};

/// `SECCOMP_RET_*` of an action, independent of the compiler.
pub fn ret(action: Action) -> u32 {
    match action {
        Action::KillThread => 0,
        Action::KillProcess => 0x8000_0000,
        Action::Trap => 0x0003_0000,
        Action::Errno(n) => 0x0005_0000 | u32::from(n),
        Action::Trace(n) => 0x7ff0_0000 | u32::from(n),
        Action::Allow => 0x7fff_0000,
        Action::Log => 0x7ffc_0000,
        Action::Notify => 0x7fc0_0000,
    }
}

/// `enum scmp_compare` of libseccomp.
pub fn operator(op: Operator) -> u32 {
    match op {
        Operator::Ne => 1,
        Operator::Lt => 2,
        Operator::Le => 3,
        Operator::Eq => 4,
        Operator::Ge => 5,
        Operator::Gt => 6,
        Operator::MaskedEq => 7,
    }
}

/// One entry of a profile for one number: what it compares and what it gives.
pub type Entry = (Vec<Arg>, u32);

/// The entries of each number: each name, each alternative, the multiplexers.
pub fn entries(profile: &Seccomp, arch: Arch) -> BTreeMap<u32, Vec<Entry>> {
    let mut out: BTreeMap<u32, Vec<Entry>> = BTreeMap::new();
    for rule in profile.syscalls.iter().filter(|rule| rule.action != profile.default_action) {
        for call in &rule.names {
            for args in alternatives(rule) {
                if let Some(number) = call.number(arch) {
                    out.entry(number).or_default().push((args.clone(), ret(rule.action)));
                }
                if let Some((multiplexer, call)) = multiplexed(call.name())
                    && let Some(number) = Syscall::find(multiplexer).unwrap().number(arch)
                {
                    let mut args: Vec<_> = args.into_iter().filter(|arg| arg.index != 0).collect();
                    args.push(Arg { index: 0, value: call, value_two: 0, op: Operator::Eq });
                    out.entry(number).or_default().push((args, ret(rule.action)));
                }
            }
        }
    }
    out
}

fn alternatives(rule: &Rule) -> Vec<Vec<Arg>> {
    let indices: BTreeSet<_> = rule.args.iter().map(|arg| arg.index).collect();
    if indices.len() < rule.args.len() {
        return rule.args.iter().map(|arg| vec![*arg]).collect();
    }
    vec![rule.args.clone()]
}

/// socketcall(2) and ipc(2), written down a second time from linux/net.h and linux/ipc.h.
fn multiplexed(name: &str) -> Option<(&'static str, u64)> {
    const SOCKET: &[&str] = &[
        "socket",
        "bind",
        "connect",
        "listen",
        "accept",
        "getsockname",
        "getpeername",
        "socketpair",
        "send",
        "recv",
        "sendto",
        "recvfrom",
        "shutdown",
        "setsockopt",
        "getsockopt",
        "sendmsg",
        "recvmsg",
        "accept4",
        "recvmmsg",
        "sendmmsg",
    ];
    const IPC: &[(&str, u64)] = &[
        ("semop", 1),
        ("semget", 2),
        ("semctl", 3),
        ("semtimedop", 4),
        ("msgsnd", 11),
        ("msgrcv", 12),
        ("msgget", 13),
        ("msgctl", 14),
        ("shmat", 21),
        ("shmdt", 22),
        ("shmget", 23),
        ("shmctl", 24),
    ];
    if let Some(index) = SOCKET.iter().position(|call| *call == name) {
        return Some(("socketcall", index as u64 + 1));
    }
    IPC.iter().find(|call| call.0 == name).map(|call| ("ipc", call.1))
}

/// The values that the text of the profile allows for a call: those of the entries that hold, or the default.
pub fn justified(
    profile: &Seccomp,
    archs: &[Arch],
    entries: &BTreeMap<u32, Vec<Entry>>,
    arch: Arch,
    call: &Call,
) -> Vec<u32> {
    let x32 = call.number >= 0x4000_0000;
    if matches!(arch, Arch::X86_64 | Arch::X32) && x32 != (arch == Arch::X32) {
        let other = if arch == Arch::X32 { Arch::X86_64 } else { Arch::X32 };
        if !archs.contains(&other) {
            return vec![if call.number == u32::MAX { ret(profile.default_action) } else { 0 }];
        }
        return justified(profile, archs, &self::entries(profile, other), other, call);
    }
    let wide = matches!(
        arch,
        Arch::X86_64
            | Arch::Aarch64
            | Arch::Mips64
            | Arch::Mipsel64
            | Arch::Ppc64
            | Arch::Ppc64le
            | Arch::S390x
            | Arch::Parisc64
            | Arch::Riscv64
            | Arch::Loongarch64
    );
    let width = if wide { u64::MAX } else { u64::from(u32::MAX) };
    let holds = |arg: &Arg| {
        let (given, value) = (call.args[usize::from(arg.index)] & width, arg.value & width);
        match arg.op {
            Operator::Ne => given != value,
            Operator::Lt => given < value,
            Operator::Le => given <= value,
            Operator::Eq => given == value,
            Operator::Ge => given >= value,
            Operator::Gt => given > value,
            Operator::MaskedEq => given & value == arg.value_two & value,
        }
    };
    let all = entries.get(&call.number).map_or(&[][..], Vec::as_slice);
    let out: Vec<_> = all.iter().filter(|(args, _)| args.iter().all(holds)).map(|(_, ret)| *ret).collect();
    if out.is_empty() { vec![ret(profile.default_action)] } else { out }
}

//! Profiles out of a seed.

use urun::spec::{
    seccomp::{Action, Arch, Arg, Operator, Rule, Seccomp},
    syscall::Syscall,
};

/// splitmix64
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// How the entries of one call may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One action a call, as in every profile that is in use.
    OneAction,
    /// Any action in every entry.
    AnyAction,
}

/// Which entries may use `≠`, `<`, `≤`, `≥` and `>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bounds {
    Everywhere,
    /// Entries with one comparison.
    Alone,
    Nowhere,
}

const ACTIONS: [Action; 11] = [
    Action::Allow,
    Action::Allow,
    Action::Errno(1),
    Action::Errno(38),
    Action::Errno(4000),
    Action::Trace(7),
    Action::Trap,
    Action::KillThread,
    Action::KillProcess,
    Action::Log,
    Action::Notify,
];

const NAMES: [&str; 28] = [
    "read",
    "write",
    "openat",
    "clone",
    "clone3",
    "personality",
    "ioctl",
    "socket",
    "bind",
    "accept4",
    "sendmsg",
    "send",
    "semop",
    "semtimedop",
    "shmat",
    "msgget",
    "socketcall",
    "ipc",
    "mmap",
    "mmap2",
    "set_tls",
    "cacheflush",
    "futex_time64",
    "renameat",
    "execve",
    "mseal",
    "no_such_call",
    "fchmodat2",
];

const VALUES: [u64; 14] = [
    0,
    1,
    2,
    8,
    40,
    0xff,
    0x7e02_0000,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0xffff_ffff_0000_0000,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// The architectures of one byte order that libseccomp 2.5 knows.
const LITTLE: [Arch; 9] = [
    Arch::X86_64,
    Arch::X86,
    Arch::X32,
    Arch::Aarch64,
    Arch::Arm,
    Arch::Mipsel,
    Arch::Mipsel64,
    Arch::Ppc64le,
    Arch::Riscv64,
];
const BIG: [Arch; 9] = [
    Arch::S390x,
    Arch::S390,
    Arch::Ppc64,
    Arch::Ppc,
    Arch::Mips,
    Arch::Mips64,
    Arch::Mips64N32,
    Arch::Parisc,
    Arch::Parisc64,
];

const NARROW: [Arch; 8] =
    [Arch::X86, Arch::X32, Arch::Arm, Arch::Mipsel, Arch::S390, Arch::Ppc, Arch::Mips, Arch::Parisc];

/// A profile and the architectures to compile it for.
pub fn profile(seed: u64, kind: Kind) -> (Seccomp, Vec<Arch>) {
    let mut random = Random::new(seed);
    let pool = if random.one_in(4) { &BIG } else { &LITTLE };
    let narrow = kind == Kind::AnyAction && !random.one_in(3);
    let pool: Vec<_> = pool.iter().copied().filter(|arch| !narrow || NARROW.contains(arch)).collect();
    let mut archs = Vec::new();
    for _ in 0..=random.below(4) {
        let arch = random.pick(&pool);
        if !archs.contains(&arch) {
            archs.push(arch);
        }
    }
    let bounds = match kind {
        Kind::OneAction => Bounds::Everywhere,
        // Where libseccomp decides by an order that it keeps: it orders high halves of bounds otherwise than low ones,
        // and an entry that fails in a later argument after a bound skips the rest of its level.
        Kind::AnyAction if archs.iter().all(|arch| NARROW.contains(arch)) => Bounds::Alone,
        Kind::AnyAction => Bounds::Nowhere,
    };
    let default_action = random.pick(&ACTIONS[..10]);
    // Few names, so that entries meet.
    let few: Vec<_> = (0..10).map(|_| random.below(NAMES.len())).collect();
    let per_name: Vec<_> = NAMES.iter().map(|_| random.pick(&ACTIONS)).collect();
    let syscalls = (0..=random.below(30))
        .flat_map(|_| {
            let args = args(&mut random, bounds);
            let action = random.pick(&ACTIONS);
            let count = if args.is_empty() { 1 + random.below(6) } else { 1 };
            let names: Vec<_> = (0..count).map(|_| random.pick(&few)).collect();
            let rule = |names: Vec<usize>, action| Rule {
                names: names.iter().filter_map(|index| Syscall::find(NAMES[*index])).collect(),
                action,
                args: args.clone(),
            };
            match kind {
                Kind::AnyAction => vec![rule(names, action)],
                Kind::OneAction => {
                    names.into_iter().map(|index| rule(vec![index], family(&per_name, index))).collect()
                }
            }
        })
        .collect();
    let profile = Seccomp {
        default_action,
        architectures: archs.clone(),
        flags: 0,
        listener_path: None,
        listener_metadata: None,
        syscalls,
    };
    (profile, archs)
}

/// The action of a name; what shares a multiplexer shares the action too.
fn family(per_name: &[Action], index: usize) -> Action {
    match NAMES[index] {
        "socket" | "bind" | "accept4" | "sendmsg" | "send" | "socketcall" => per_name[7],
        "semop" | "semtimedop" | "shmat" | "msgget" | "ipc" => per_name[12],
        _ => per_name[index],
    }
}

fn args(random: &mut Random, bounds: Bounds) -> Vec<Arg> {
    const OPERATORS: [Operator; 7] = [
        Operator::Lt,
        Operator::Le,
        Operator::Ge,
        Operator::Gt,
        Operator::Ne,
        Operator::Eq,
        Operator::MaskedEq,
    ];
    let count = [0, 1, 1, 1, 2, 2, 3][random.below(7)];
    let value = |random: &mut Random| if random.one_in(6) { random.next() } else { random.pick(&VALUES) };
    let mut out: Vec<Arg> = Vec::new();
    for _ in 0..count {
        let index = u8::try_from(random.below(3)).unwrap();
        if out.iter().any(|arg| arg.index == index) && !random.one_in(4) {
            continue;
        }
        let bounded = bounds == Bounds::Everywhere || bounds == Bounds::Alone && count == 1;
        let op = random.pick(if bounded { &OPERATORS } else { &OPERATORS[5..] });
        out.push(Arg { index, value: value(random), value_two: value(random), op });
    }
    out
}

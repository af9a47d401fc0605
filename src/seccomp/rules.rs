//! From the entries of a profile to one verdict per system call number.
//!
//! Several entries may name one call. libseccomp's decision, followed here:
//! - an entry without conditions beats all that have some; the first such entry wins;
//! - among entries with conditions, those that test a higher argument are tried first, tests for (in)equality before
//!   `<` and `≤` before `>` and `≥`, and then the tighter bound or, for equality, the larger value;
//! - an entry that only adds conditions to an earlier one is not reached;
//! - two entries that test the same and want different actions are an error.
//!
//! Where libseccomp (2.5.4, 2.6.0) contradicts its own rules, each entry here still stands for itself. Its programs
//! - share tails of blocks between calls and architectures without loading what the tail compares;
//! - go from a failed 64-bit bound to the next one with the low half loaded instead of the high one;
//! - merge two entries that start with `≠`, `<` or `>` on one argument so that what follows one follows the other too.

use super::{
    arch::{Abi, Width, abi},
    asm::MAX_INSTRUCTIONS,
};
use crate::{
    bail,
    error::Result,
    spec::{
        seccomp::{Action, Arch, Arg, Operator, Seccomp},
        syscall::{ARM_PRIVATE_SLOT, Syscall},
    },
};

/// Offsets in `struct seccomp_data` (linux/seccomp.h).
pub(super) mod offset {
    pub const NUMBER: u32 = 0;
    pub const ARCH: u32 = 4;
    pub const ARGS: u32 = 16;
}

/// One comparison of 32 or 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// `word & mask == value` for the 32 bits at `offset`.
    Word { offset: u32, mask: u32, value: u32 },
    /// `argument OP value`; `high` is absent where 32 bits are compared.
    Bound { high: Option<u32>, low: u32, op: Bound, value: u64 },
}

/// What [`Test::Bound`] asks of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Entries with conditions in the order in which they are tried: all tests must hold for the value to be returned.
pub(super) type Entries = Vec<(Vec<Test>, u32)>;

/// The calls of one architecture that a profile treats otherwise than by default.
#[derive(Debug)]
pub(super) struct Calls {
    /// By slot: what a call gets whatever its arguments are. All that the profile names have their place here.
    pub always: Vec<Option<u32>>,
    /// In the order of slots: the calls whose arguments decide.
    pub conditional: Vec<(u16, Entries)>,
    /// The slots from here on are those of newer calls than the profile names, the private calls of ARM apart.
    pub known: u16,
}

/// `SECCOMP_RET_*` with its data.
pub(super) fn ret(action: Action) -> u32 {
    match action {
        Action::KillThread => libc::SECCOMP_RET_KILL_THREAD,
        Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        Action::Trap => libc::SECCOMP_RET_TRAP,
        Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
        Action::Trace(data) => libc::SECCOMP_RET_TRACE | u32::from(data),
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        Action::Log => libc::SECCOMP_RET_LOG,
        Action::Notify => libc::SECCOMP_RET_USER_NOTIF,
    }
}

/// The calls of `arch` that `profile` names.
pub(super) fn calls(profile: &Seccomp, arch: Arch) -> Result<Calls> {
    let abi = abi(arch);
    let mut entries = Collected { always: Vec::with_capacity(512), conditional: Vec::new() };
    let mut known = 0;
    for rule in &profile.syscalls {
        let redundant = rule.action == profile.default_action;
        let alternatives = if redundant { Vec::new() } else { alternatives(&rule.args) };
        let conditions: Vec<_> =
            alternatives.iter().map(|args| Condition::new(&abi, args.iter().copied())).collect();
        let value = ret(rule.action);
        for syscall in &rule.names {
            if let Some(slot) = syscall.slot(abi.column) {
                if slot < ARM_PRIVATE_SLOT {
                    known = known.max(slot + 1);
                }
                entries.add((slot, syscall.name()), &conditions, value);
            }
            if abi.multiplexes
                && let Some((multiplexer, call)) = syscall.multiplexer()
                && let Some(slot) = Syscall::find(multiplexer.name()).and_then(|it| it.slot(abi.column))
            {
                let which = Arg { index: 0, value: call.into(), value_two: 0, op: Operator::Eq };
                for args in &alternatives {
                    let others = args.iter().copied().filter(|arg| arg.index != 0);
                    let condition = Condition::new(&abi, std::iter::once(which).chain(others));
                    entries.add((slot, syscall.name()), &[condition], value);
                }
            }
        }
    }
    if arch == Arch::Arm {
        // However new they may be, calls end where the private ones begin.
        entries.reach(ARM_PRIVATE_SLOT);
    }
    entries.merge(known)
}

/// The entries of one architecture, those with conditions in the order of the profile.
struct Collected {
    always: Vec<Option<u32>>,
    conditional: Vec<Entry>,
}

impl Collected {
    /// The index of a slot, which has its place now.
    fn reach(&mut self, slot: u16) -> usize {
        let place = usize::from(slot);
        if place >= self.always.len() {
            self.always.resize(place + 1, None);
        }
        place
    }

    /// Adds an entry with each of `conditions` for the call in a slot, under the name that the profile has for it.
    fn add(&mut self, (slot, name): (u16, &'static str), conditions: &[Condition], ret: u32) {
        let place = self.reach(slot);
        for condition in conditions {
            if condition.steps.is_empty() {
                self.always[place].get_or_insert(ret);
            } else {
                self.conditional.push(Entry { slot, name, condition: condition.clone(), ret });
            }
        }
    }

    /// Collects the entries with conditions of each call, unless the call has one without.
    fn merge(mut self, known: u16) -> Result<Calls> {
        self.conditional.sort_by_key(|entry| entry.slot);
        let mut conditional = Vec::new();
        for call in self.conditional.chunk_by(|a, b| a.slot == b.slot) {
            let Entry { slot, name, .. } = call[0];
            if self.always[usize::from(slot)].is_some() {
                continue;
            }
            if call.len() > MAX_INSTRUCTIONS {
                bail!("the system call {name} has {} entries with conditions", call.len());
            }
            let mut ordered = Vec::with_capacity(call.len());
            order(call.iter().collect(), 0, &mut ordered)?;
            conditional.push((slot, ordered));
        }
        Ok(Calls { always: self.always, conditional, known })
    }
}

/// One entry for one call that holds for some arguments.
#[derive(Debug)]
struct Entry {
    slot: u16,
    name: &'static str,
    condition: Condition,
    ret: u32,
}

/// What arguments have to be; without steps it holds for all.
#[derive(Clone, Debug, Default)]
struct Condition {
    tests: Vec<Test>,
    /// What decides when the entry is tried, one or two for each comparison.
    steps: Vec<Step>,
}

impl Condition {
    fn new(abi: &Abi, args: impl Iterator<Item = Arg>) -> Self {
        let mut condition = Self::default();
        args.for_each(|arg| condition.compare(abi, arg));
        condition
    }

    /// Appends what `arg` asks for, which is nothing if it holds for every value.
    fn compare(&mut self, abi: &Abi, arg: Arg) {
        let (mask, value) = match arg.op {
            Operator::MaskedEq => (arg.value, arg.value_two & arg.value),
            _ => (u64::MAX, arg.value),
        };
        #[allow(clippy::cast_possible_truncation)] // halves
        let halves = |number: u64| ((number >> 32) as u32, number as u32);
        let ((high_mask, low_mask), (high_value, low_value)) = (halves(mask), halves(value));
        let wide = abi.width == Width::W64;
        if low_mask == 0 && (high_mask == 0 || !wide) {
            return;
        }
        let first = offset::ARGS + 8 * u32::from(arg.index);
        let (low, high) = if abi.is_little_endian() { (first, first + 4) } else { (first + 4, first) };
        let (kind, bound) = match arg.op {
            Operator::Eq | Operator::MaskedEq => (Kind::Equal, None),
            Operator::Ne => (Kind::Equal, Some(Bound::NotEqual)),
            Operator::Lt => (Kind::Upper, Some(Bound::Less)),
            Operator::Le => (Kind::Upper, Some(Bound::LessOrEqual)),
            Operator::Gt => (Kind::Lower, Some(Bound::Greater)),
            Operator::Ge => (Kind::Lower, Some(Bound::GreaterOrEqual)),
        };
        let step = |half, op, mask, value| Step { half: 2 * arg.index + half, kind, op, mask, value };
        if wide {
            let shared = match arg.op {
                Operator::MaskedEq => Operator::MaskedEq,
                Operator::Eq | Operator::Ne => Operator::Eq,
                _ => Operator::Gt,
            };
            self.steps.push(step(1, shared, high_mask, high_value));
        }
        self.steps.push(step(0, arg.op, low_mask, low_value));
        if let Some(op) = bound {
            let value = if wide { value } else { low_value.into() };
            self.tests.push(Test::Bound { high: wide.then_some(high), low, op, value });
            return;
        }
        if wide && high_mask != 0 {
            self.tests.push(Test::Word { offset: high, mask: high_mask, value: high_value });
        }
        if low_mask != 0 {
            self.tests.push(Test::Word { offset: low, mask: low_mask, value: low_value });
        }
    }
}

/// As runc and crun do: an entry that compares one argument twice is as many entries as it has comparisons.
fn alternatives(args: &[Arg]) -> Vec<Vec<Arg>> {
    let twice = (1..args.len()).any(|i| args[..i].iter().any(|arg| arg.index == args[i].index));
    if twice {
        return args.iter().map(|arg| vec![*arg]).collect();
    }
    let mut sorted = args.to_vec();
    sorted.sort_by_key(|arg| arg.index);
    vec![sorted]
}

/// One level of libseccomp's decision tree: a comparison of a half of an argument, the high half first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    /// Later arguments, and high halves, are tried first.
    half: u8,
    kind: Kind,
    op: Operator,
    mask: u32,
    value: u32,
}

/// Operators that share a level's node in their high half: 2 before 1 before 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Lower,
    Upper,
    Equal,
}

impl Step {
    /// Where it stands on its level: greater is earlier.
    fn rank(&self) -> (u8, Kind, u32) {
        (self.half, self.kind, if self.kind == Kind::Upper { !self.value } else { self.value })
    }
}

/// Appends `entries`, which agree in their first `depth` steps and come in the order of the profile, in the order in
/// which they are tried.
fn order(mut entries: Vec<&Entry>, depth: usize, out: &mut Entries) -> Result<()> {
    // An entry that ends here holds for all that could follow it.
    let end = entries.iter().position(|entry| entry.condition.steps.len() == depth);
    let last = end.map(|index| entries[index]);
    if let Some(last) = last
        && let Some(other) =
            entries.iter().find(|entry| entry.condition.steps.len() == depth && entry.ret != last.ret)
    {
        bail!(
            "two entries for the system call {} have the same conditions and different actions",
            other.name
        );
    }
    entries.truncate(end.unwrap_or(entries.len()));
    let mut level: Vec<(Step, Vec<&Entry>)> = Vec::new();
    for entry in entries {
        let step = entry.condition.steps[depth];
        let place = level.iter().position(|(other, _)| *other == step || other.rank() < step.rank());
        match place {
            Some(place) if level[place].0 == step => level[place].1.push(entry),
            Some(place) => level.insert(place, (step, vec![entry])),
            None => level.push((step, vec![entry])),
        }
    }
    for (_, group) in level {
        order(group, depth + 1, out)?;
    }
    out.extend(last.map(|last| (last.condition.tests.clone(), last.ret)));
    Ok(())
}

//! From verdicts to a program: a dispatch on the architecture, then a balanced search tree over call numbers whose
//! leaves are ranges, so that a call costs as many comparisons as the ranges have binary digits.

use super::{
    arch::{X32_BIT, abi},
    asm::{Assembler, Branch, Instruction, Target, past_load},
    rules::{Bound, Calls, Entries, Test, calls, offset, ret},
};
use crate::{
    error::Result,
    spec::{
        seccomp::{Action, Arch, Seccomp},
        syscall::ARM_PRIVATE_SLOT,
    },
};

/// A program for seccomp(2).
#[derive(Clone, Debug)]
pub struct Program {
    /// In order, at most 4096 (`BPF_MAXINSNS`).
    pub instructions: Vec<Instruction>,
}

/// What calls get that are newer than every call the profile names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The default action, as from libseccomp.
    Default,
    /// ENOSYS, as from runc, unless the default action lets calls through: a C library then falls back to an older
    /// call, where EPERM would make it give up.
    Enosys,
}

/// Compiles a profile for a kernel that runs on `native`.
///
/// `native` always takes part, as with libseccomp; architectures of the other byte order are left out, because such a
/// kernel cannot run them. A call from an architecture that does not take part kills the thread.
///
/// # Errors
/// Contradicting entries; a program beyond the kernel's limit.
pub fn compile(profile: &Seccomp, native: Arch, unknown: Unknown) -> Result<Program> {
    let compiler = Compiler { default: ret(profile.default_action), enosys: enosys(profile, unknown) };
    let mut all = Vec::new();
    for arch in participants(profile, native) {
        all.push((arch, calls(profile, arch)?));
    }
    let mut families: Vec<(u32, Vec<Range<'_>>)> = Vec::new();
    for (arch, _) in &all {
        let audit = abi(*arch).audit;
        if families.iter().all(|family| family.0 != audit) {
            let members = all.iter().filter(|(arch, _)| abi(*arch).audit == audit);
            families.push((audit, compiler.ranges(members)));
        }
    }
    let mut code = Code::new(compiler.default);
    let trees: Vec<_> = families.iter().rev().map(|(audit, ranges)| (*audit, code.family(ranges))).collect();
    let mut entry = Target::Return(BAD_ARCH);
    for (audit, tree) in trees {
        entry = code.asm.branch(Branch::Equal, audit, (tree, entry));
    }
    if !matches!(entry, Target::Return(_)) {
        entry = code.asm.load(offset::ARCH);
    }
    Ok(Program { instructions: code.asm.finish(entry)? })
}

/// libseccomp's default for `SCMP_FLTATR_ACT_BADARCH`.
const BAD_ARCH: u32 = libc::SECCOMP_RET_KILL_THREAD;

/// The architectures to compile, the native one first.
fn participants(profile: &Seccomp, native: Arch) -> Vec<Arch> {
    let order = abi(native).is_little_endian();
    let mut out = vec![native];
    for arch in &profile.architectures {
        if abi(*arch).is_little_endian() == order && !out.contains(arch) {
            out.push(*arch);
        }
    }
    out
}

/// The value for unknown calls, if it is not the default.
fn enosys(profile: &Seccomp, unknown: Unknown) -> Option<u32> {
    let passes = matches!(profile.default_action, Action::Allow | Action::Log | Action::Trace(_));
    #[allow(clippy::cast_sign_loss)] // errno numbers are positive
    (unknown == Unknown::Enosys && !passes).then_some(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32)
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict<'a> {
    /// The same whatever the arguments are.
    Always(u32),
    /// The first entry that holds, else the default.
    First(&'a Entries),
}

/// A run of call numbers, up to the start of the next one.
#[derive(Debug)]
struct Range<'a> {
    start: u32,
    verdict: Verdict<'a>,
}

struct Compiler {
    default: u32,
    enosys: Option<u32>,
}

impl Compiler {
    /// The ranges of all architectures that share a value of `AUDIT_ARCH_*`, from number 0 to the last.
    fn ranges<'a>(&self, members: impl Iterator<Item = &'a (Arch, Calls)>) -> Vec<Range<'a>> {
        let mut out = Ranges(Vec::with_capacity(256));
        let (mut x86_64, mut x32) = (None, None);
        for (arch, calls) in members {
            match arch {
                Arch::X86_64 => x86_64 = Some(calls),
                Arch::X32 => x32 = Some(calls),
                arch => {
                    self.add(&mut out, *arch, calls);
                    return out.0;
                }
            }
        }
        match x86_64 {
            Some(calls) => self.add(&mut out, Arch::X86_64, calls),
            None => out.push(0, Verdict::Always(BAD_ARCH)),
        }
        if let Some(calls) = x32 {
            self.add(&mut out, Arch::X32, calls);
        } else {
            out.push(X32_BIT, Verdict::Always(BAD_ARCH));
            // A tracer skips a call by setting its number to -1, which is not x32 (seccomp(2)).
            out.push(u32::MAX, Verdict::Always(self.default));
        }
        out.0
    }

    /// Adds the calls of `arch`, from the first number that its processes can use.
    fn add<'a>(&self, out: &mut Ranges<'a>, arch: Arch, calls: &'a Calls) {
        let abi = abi(arch);
        let unknown = self.enosys.filter(|_| calls.known > 0);
        let otherwise = |slot| match unknown {
            Some(value) if slot >= calls.known && slot < ARM_PRIVATE_SLOT => value,
            // The kernel's entry code leaves 0 in place of a number that it does not know.
            Some(value) if slot == 0 && matches!(arch, Arch::S390 | Arch::S390x) => value,
            _ => self.default,
        };
        out.push(if arch == Arch::X32 { X32_BIT } else { 0 }, Verdict::Always(self.default));
        let mut conditional = calls.conditional.iter().peekable();
        let mut slot = 0;
        for always in &calls.always {
            let verdict = match conditional.next_if(|call| call.0 == slot) {
                Some((_, entries)) => Verdict::First(entries),
                None => Verdict::Always(always.unwrap_or_else(|| otherwise(slot))),
            };
            out.push(abi.number(slot), verdict);
            slot += 1;
        }
        out.push(abi.number(slot), Verdict::Always(otherwise(slot)));
    }
}

/// Ranges in order, neighbours with the same verdict joined.
struct Ranges<'a>(Vec<Range<'a>>);

impl<'a> Ranges<'a> {
    /// Starts a range; one that has no room before `start` is replaced.
    fn push(&mut self, start: u32, verdict: Verdict<'a>) {
        while let Some(last) = self.0.last() {
            if last.verdict == verdict {
                return;
            }
            if last.start != start {
                break;
            }
            self.0.pop();
        }
        self.0.push(Range { start, verdict });
    }
}

/// The program so far and the blocks in it that may be entered again.
struct Code<'a> {
    asm: Assembler,
    default: Target,
    blocks: Vec<(&'a Entries, Target)>,
}

impl<'a> Code<'a> {
    fn new(default: u32) -> Self {
        Self { asm: Assembler::default(), default: Target::Return(default), blocks: Vec::new() }
    }

    /// The tree of one value of `AUDIT_ARCH_*`.
    fn family(&mut self, ranges: &[Range<'a>]) -> Target {
        match self.tree(ranges) {
            Target::At(_) => self.asm.load(offset::NUMBER),
            other => other,
        }
    }

    /// Searches `ranges`, of which there is at least one, with the call number in the accumulator.
    fn tree(&mut self, ranges: &[Range<'a>]) -> Target {
        match ranges {
            [range] => self.leaf(range.verdict),
            [before, one, after] if after.start - one.start == 1 && before.verdict == after.verdict => {
                let targets = (self.leaf(one.verdict), self.leaf(before.verdict));
                self.asm.branch(Branch::Equal, one.start, targets)
            }
            _ => {
                let (left, right) = ranges.split_at(ranges.len() / 2);
                let start = right[0].start;
                let right = self.tree(right);
                let left = self.tree(left);
                self.asm.branch(Branch::GreaterOrEqual, start, (right, left))
            }
        }
    }

    fn leaf(&mut self, verdict: Verdict<'a>) -> Target {
        let entries = match verdict {
            Verdict::Always(value) => return Target::Return(value),
            Verdict::First(entries) => entries,
        };
        if let Some((_, target)) = self.blocks.iter().find(|block| block.0 == entries) {
            return *target;
        }
        let rules: Vec<_> = entries.iter().map(|(tests, value)| (tests.as_slice(), *value)).collect();
        let target = self.first(&rules, self.default);
        self.blocks.push((entries, target));
        target
    }

    /// The first of `rules` that holds, else `otherwise`. Neighbours that begin with the same test share it.
    fn first(&mut self, rules: &[(&[Test], u32)], otherwise: Target) -> Target {
        let mut target = otherwise;
        for group in rules.chunk_by(|a, b| a.0.first() == b.0.first()).rev() {
            let (tests, value) = group[0];
            target = match tests.first() {
                None => Target::Return(value),
                Some(test) => {
                    let rest: Vec<_> = group.iter().map(|(tests, value)| (&tests[1..], *value)).collect();
                    let holds = self.first(&rest, target);
                    self.test(*test, holds, target)
                }
            };
        }
        target
    }

    fn test(&mut self, test: Test, yes: Target, no: Target) -> Target {
        match test {
            Test::Word { offset, mask: u32::MAX, value } => {
                self.compare(offset, Branch::Equal, value, (yes, past_load(no, offset)))
            }
            Test::Word { offset, mask, value } => {
                let target = self.asm.branch(Branch::Equal, value, (yes, no));
                if let Target::Return(_) = target {
                    return target;
                }
                self.asm.and(mask);
                self.asm.load(offset)
            }
            Test::Bound { high, low, op, value } => {
                let (branch, yes, no) = match op {
                    Bound::NotEqual => (Branch::Equal, no, yes),
                    Bound::Less => (Branch::GreaterOrEqual, no, yes),
                    Bound::LessOrEqual => (Branch::Greater, no, yes),
                    Bound::Greater => (Branch::Greater, yes, no),
                    Bound::GreaterOrEqual => (Branch::GreaterOrEqual, yes, no),
                };
                self.bound((high, low), branch, value, (yes, no))
            }
        }
    }

    /// Compares a whole argument, the high half first.
    fn bound(
        &mut self,
        (high, low): (Option<u32>, u32),
        branch: Branch,
        value: u64,
        (yes, no): (Target, Target),
    ) -> Target {
        #[allow(clippy::cast_possible_truncation)] // halves
        let (high_value, low_value) = ((value >> 32) as u32, value as u32);
        let low = self.compare(low, branch, low_value, (past_load(yes, low), past_load(no, low)));
        let Some(high) = high else { return low };
        let (yes, no) = (past_load(yes, high), past_load(no, high));
        if matches!(branch, Branch::Equal) {
            return self.compare(high, Branch::Equal, high_value, (low, no));
        }
        let equal = self.asm.branch(Branch::Equal, high_value, (low, no));
        self.compare(high, Branch::Greater, high_value, (yes, equal))
    }

    /// Loads a word and compares it.
    fn compare(&mut self, offset: u32, branch: Branch, value: u32, targets: (Target, Target)) -> Target {
        match self.asm.branch(branch, value, targets) {
            Target::At(_) => self.asm.load(offset),
            other => other,
        }
    }
}

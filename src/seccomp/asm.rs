//! Writes a BPF program from its end to its beginning, so that every jump knows its target and jumps forward, as the
//! kernel demands.

use crate::{bail, error::Result};
use libc::sock_filter;

/// One BPF instruction.
pub type Instruction = sock_filter;

/// Most instructions a program may have: `BPF_MAXINSNS` (linux/bpf_common.h).
pub(super) const MAX_INSTRUCTIONS: usize = 4096;

// linux/bpf_common.h, linux/filter.h
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// A conditional jump on the accumulator.
#[derive(Clone, Copy, Debug)]
pub(super) enum Branch {
    /// `BPF_JMP | BPF_JEQ | BPF_K`
    Equal = 0x15,
    /// `BPF_JMP | BPF_JGT | BPF_K`
    Greater = 0x25,
    /// `BPF_JMP | BPF_JGE | BPF_K`
    GreaterOrEqual = 0x35,
}

/// Where a jump leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The end of the program with this value.
    Return(u32),
    /// An instruction, counted from the end of the program.
    At(usize),
    /// A load of the word at `offset`; a jump that has loaded it already skips it.
    Load { at: usize, offset: u32 },
}

/// A program under construction, last instruction first.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    reversed: Vec<Instruction>,
    /// The latest return of each value.
    returns: Vec<(u32, usize)>,
}

impl Assembler {
    /// Loads the word at `offset` and goes on with `then`, the instruction written last.
    pub(super) fn load(&mut self, offset: u32) -> Target {
        Target::Load { at: self.push(LOAD, (0, 0), offset), offset }
    }

    /// Masks the accumulator and goes on with the instruction written last.
    pub(super) fn and(&mut self, mask: u32) {
        self.push(AND, (0, 0), mask);
    }

    /// Compares the accumulator with `value`. If both sides end alike nothing is written and the result is that end.
    pub(super) fn branch(&mut self, branch: Branch, value: u32, (yes, no): (Target, Target)) -> Target {
        if let (Target::Return(_), true) = (yes, yes == no) {
            return yes;
        }
        let (yes, no) = (self.reachable(yes), self.reachable(no));
        // In range: `reachable` has just seen to it, with room for the one instruction that the other side may take.
        let distance = |at: usize| u8::try_from(self.reversed.len() - at - 1).unwrap_or(u8::MAX);
        let jumps = (distance(yes), distance(no));
        Target::At(self.push(branch as u16, jumps, value))
    }

    /// The whole program, entered at `entry`.
    pub(super) fn finish(mut self, entry: Target) -> Result<Vec<Instruction>> {
        let entry = self.reachable(entry);
        if entry + 1 != self.reversed.len() {
            self.jump(entry);
        }
        let count = self.reversed.len();
        if count > MAX_INSTRUCTIONS {
            bail!("the filter takes {count} instructions, the kernel allows {MAX_INSTRUCTIONS}");
        }
        self.reversed.reverse();
        Ok(self.reversed)
    }

    /// An instruction near enough for the conditional jump that is written next or next but one.
    fn reachable(&mut self, target: Target) -> usize {
        let at = match target {
            Target::At(at) | Target::Load { at, .. } => at,
            Target::Return(value) => {
                let known = self.returns.iter().position(|known| known.0 == value);
                let near = known.map(|index| self.returns[index].1).filter(|at| self.is_near(*at));
                if let Some(at) = near {
                    return at;
                }
                let at = self.push(RETURN, (0, 0), value);
                match known {
                    Some(index) => self.returns[index].1 = at,
                    None => self.returns.push((value, at)),
                }
                return at;
            }
        };
        if self.is_near(at) { at } else { self.jump(at) }
    }

    fn is_near(&self, at: usize) -> bool {
        u8::try_from(self.reversed.len() - at).is_ok()
    }

    fn jump(&mut self, at: usize) -> usize {
        #[allow(clippy::cast_possible_truncation)] // programs are far smaller, see `finish`
        let distance = (self.reversed.len() - at - 1) as u32;
        self.push(JUMP, (0, 0), distance)
    }

    fn push(&mut self, code: u16, (jt, jf): (u8, u8), k: u32) -> usize {
        self.reversed.push(Instruction { code, jt, jf, k });
        self.reversed.len() - 1
    }
}

/// The target for a jump whose accumulator holds the unmasked word at `loaded`.
pub(super) fn past_load(target: Target, loaded: u32) -> Target {
    match target {
        Target::Load { at, offset } if offset == loaded => Target::At(at - 1),
        other => other,
    }
}

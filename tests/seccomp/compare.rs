//! Runs two programs over the same calls: every number around those that the tables have, every argument at and
//! around every value that the profile compares it with.

use crate::{
    bpf::{Call, Insn, facts, run},
    justified::{Entry, entries, justified},
    oracle,
};
use std::collections::{BTreeMap, BTreeSet};
use urun::{
    seccomp::{Unknown, compile},
    spec::{
        seccomp::{Arch, Seccomp},
        syscall::Syscall,
    },
};

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Calls run through both programs.
    pub calls: usize,
    /// Calls on which libseccomp gives a value that no entry for the call and not the default justifies.
    pub unjustified: usize,
    /// The first of them.
    pub first: Option<String>,
    /// Profiles that libseccomp refused as contradictory.
    pub contradictions: usize,
    /// Instructions: ours, libseccomp's.
    pub instructions: (usize, usize),
    /// The most instructions that any call took: ours, libseccomp's.
    pub longest: (usize, usize),
    /// Names that the installed libseccomp does not know, or not on every architecture.
    pub unknown: BTreeSet<&'static str>,
}

impl Findings {
    pub fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.unjustified += other.unjustified;
        self.first = self.first.take().or(other.first);
        self.contradictions += other.contradictions;
        self.instructions.0 += other.instructions.0;
        self.instructions.1 += other.instructions.1;
        self.longest.0 = self.longest.0.max(other.longest.0);
        self.longest.1 = self.longest.1.max(other.longest.1);
        self.unknown.extend(other.unknown);
    }
}

/// Calls per number with arguments tried at most.
const SAMPLES: usize = 3000;

/// Compares our program with libseccomp's; `archs` are of one byte order, the first counts as native.
pub fn compare(profile: &Seccomp, archs: &[Arch]) -> Result<Findings, String> {
    let mut profile = profile.clone();
    profile.architectures = archs.to_vec();
    // What the installed libseccomp numbers otherwise, because it is older, says nothing about the program.
    let mut out = Findings::default();
    for rule in &mut profile.syscalls {
        let differs = |call: &Syscall| !oracle::agrees(call.name());
        out.unknown.extend(rule.names.iter().filter(|call| differs(call)).map(|call| call.name()));
        rule.names.retain(|call| !differs(call));
    }
    let theirs = oracle::compile(&profile, archs)?;
    let ours = match compile(&profile, archs[0], Unknown::Default) {
        Ok(program) => insns(&program),
        Err(_) if theirs.contradiction => return Ok(Findings { contradictions: 1, ..out }),
        Err(error) => return Err(format!("only we refuse the profile: {error}")),
    };
    out.contradictions += usize::from(theirs.contradiction);
    out.instructions = (ours.len(), theirs.program.len());
    for &arch in archs {
        let entries = entries(&profile, arch);
        for call in calls(&entries, arch) {
            let (mine, steps) = run(&ours, &call);
            let (other, other_steps) = run(&theirs.program, &call);
            out.calls += 1;
            out.longest = (out.longest.0.max(steps), out.longest.1.max(other_steps));
            let allowed = justified(&profile, archs, &entries, arch, &call);
            if !allowed.contains(&mine) {
                return Err(format!("{call:x?}: ours {mine:#x} is not among {allowed:x?}"));
            }
            if mine == other || theirs.contradiction {
                // libseccomp drops the entry that it refuses; what is left says nothing about ours.
                continue;
            }
            if allowed.contains(&other) {
                return Err(format!(
                    "{call:x?}: ours {mine:#x}, libseccomp's {other:#x}, justified {allowed:x?}"
                ));
            }
            out.first.get_or_insert_with(|| format!("{call:x?}: ours {mine:#x}, libseccomp's {other:#x}"));
            out.unjustified += 1;
        }
    }
    for foreign in foreign(archs) {
        let call = Call { number: 0, arch: foreign, args: [0; 6], little_endian: facts(archs[0]).2 };
        let (mine, other) = (run(&ours, &call).0, run(&theirs.program, &call).0);
        out.calls += 1;
        if mine != other {
            return Err(format!("{call:x?}: ours {mine:#x}, libseccomp's {other:#x}"));
        }
    }
    Ok(out)
}

/// Values of `AUDIT_ARCH_*` that none of `archs` has.
fn foreign(archs: &[Arch]) -> impl Iterator<Item = u32> {
    let known: BTreeSet<_> = archs.iter().map(|arch| facts(*arch).1).collect();
    let all =
        crate::bpf::ALL.into_iter().map(|arch| facts(arch).1).chain([0, u32::MAX, 0xc000_003d, 0x8000_003e]);
    all.filter(move |arch| !known.contains(arch))
}

/// Our program in the interpreter's form.
pub fn insns(program: &urun::seccomp::Program) -> Vec<Insn> {
    program.instructions.iter().map(|i| Insn { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect()
}

/// The calls to try on an architecture.
fn calls(entries: &BTreeMap<u32, Vec<Entry>>, arch: Arch) -> Vec<Call> {
    let (_, audit, little_endian) = facts(arch);
    let base = Syscall::find("read").unwrap().number(arch).unwrap_or(0) & !0xff;
    let mut numbers: BTreeSet<u32> =
        (0..600).chain(base..base + 700).chain(0x4000_0000..0x4000_0258).collect();
    numbers.extend((0x0e_fff0..0x0f_0010).chain([0x3fff_ffff, 0x7fff_ffff, 0x8000_0000]));
    numbers.extend((0..300).map(|n| u32::MAX - n));
    numbers.extend(Syscall::all().filter_map(|row| row.number(arch)));
    let mut out = Vec::new();
    for number in numbers {
        let call = |args| Call { number, arch: audit, args, little_endian };
        match entries.get(&number) {
            Some(entries) if entries.iter().any(|(args, _)| !args.is_empty()) => {
                out.extend(arguments(entries).into_iter().map(call));
            }
            _ => out.push(call([0; 6])),
        }
    }
    out
}

/// Arguments at and around every value of the entries, combined.
fn arguments(entries: &[Entry]) -> Vec<[u64; 6]> {
    let mut values: [BTreeSet<u64>; 6] = std::array::from_fn(|_| BTreeSet::from([0]));
    for arg in entries.iter().flat_map(|(args, _)| args) {
        let set = &mut values[usize::from(arg.index)];
        for value in [arg.value, arg.value_two, arg.value & arg.value_two] {
            let near = [value, value.wrapping_sub(1), value.wrapping_add(1), !value];
            for near in near {
                let high = [near, near ^ (1 << 32), near.wrapping_add(1 << 32), near.wrapping_sub(1 << 32)];
                set.extend(high.into_iter().chain([
                    near & 0xffff_ffff,
                    near >> 32 << 32,
                    near | !0xffff_ffff,
                ]));
            }
        }
    }
    let values = values.map(|set| set.into_iter().collect::<Vec<_>>());
    let product = values.iter().map(Vec::len).product::<usize>();
    let mut random = crate::generate::Random::new(product as u64);
    let pick = |n: usize, random: &mut crate::generate::Random| {
        let mut rest = n;
        std::array::from_fn(|index| {
            let set = &values[index];
            let chosen = if product <= SAMPLES { rest % set.len() } else { random.below(set.len()) };
            rest /= set.len();
            set[chosen]
        })
    };
    (0..product.min(SAMPLES)).map(|n| pick(n, &mut random)).collect()
}

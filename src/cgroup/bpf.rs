//! Device rules as a program for `BPF_PROG_TYPE_CGROUP_DEVICE` (Linux 4.15, `struct bpf_cgroup_dev_ctx` in linux/bpf.h).

pub use crate::sys::bpf::Insn;

use super::device::Rules;
use crate::spec::linux::{DeviceRule, DeviceRuleKind};

/// Registers: the verdict, the context, and what is taken from it. R3 holds the letters that no rule has decided yet.
const R0: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const PENDING: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 1;

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const MOVE_CONSTANT: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const JUMP_IF_EQUAL: u8 = 0x15;
const EXIT: u8 = 0x95;

/// `BPF_DEVCG_*`
const BLOCK: i32 = 1;
const CHAR: i32 = 2;
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;

/// The program: rules from the last to the first. A denial that meets a pending letter ends it; a permission takes its letters
/// away and ends it when none is left. So an access is allowed when the last match of each of its letters allows it,
/// however the letters are spread over rules.
pub fn program(rules: &Rules) -> Vec<Insn> {
    let mut out = vec![
        Insn::new(LOAD_WORD, KIND, CONTEXT, 0, 0),
        Insn::new(MOVE, PENDING, KIND, 0, 0),
        Insn::new(AND, KIND, 0, 0, 0xffff),
        Insn::new(SHIFT_RIGHT, PENDING, 0, 0, 16),
        Insn::new(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        Insn::new(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.list.iter().rev() {
        append(&mut out, rule);
    }
    let verdict = i32::from(rules.otherwise);
    out.push(Insn::new(MOVE_CONSTANT, R0, 0, 0, verdict));
    out.push(Insn::new(JUMP_UNLESS_EQUAL, PENDING, 0, 1, 0));
    out.push(Insn::new(MOVE_CONSTANT, R0, 0, 0, 1));
    out.push(Insn::new(EXIT, 0, 0, 0, 0));
    out
}

fn append(out: &mut Vec<Insn>, rule: &DeviceRule) {
    let letters = [(rule.read, READ), (rule.write, WRITE), (rule.mknod, MKNOD)];
    let access: i32 = letters.iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum();
    let ending = |verdict| [Insn::new(MOVE_CONSTANT, R0, 0, 0, verdict), Insn::new(EXIT, 0, 0, 0, 0)];
    let mut body = Vec::with_capacity(4);
    if rule.allow {
        body.push(Insn::new(AND, PENDING, 0, 0, !access));
        body.push(Insn::new(JUMP_UNLESS_EQUAL, PENDING, 0, 2, 0));
        body.extend(ending(1));
    } else {
        body.push(Insn::new(MOVE, SCRATCH, PENDING, 0, 0));
        body.push(Insn::new(AND, SCRATCH, 0, 0, access));
        body.push(Insn::new(JUMP_IF_EQUAL, SCRATCH, 0, 2, 0));
        body.extend(ending(0));
    }
    let kind = if rule.kind == DeviceRuleKind::Block { BLOCK } else { CHAR };
    let number = |register, number: Option<u32>| number.map(|number| (register, number.cast_signed()));
    let tests: Vec<(u8, i32)> = [Some((KIND, kind)), number(MAJOR, rule.major), number(MINOR, rule.minor)]
        .into_iter()
        .flatten()
        .collect();
    for (index, (register, value)) in tests.iter().enumerate() {
        let rest = tests.len() - index - 1 + body.len();
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // at most seven
        out.push(Insn::new(JUMP_UNLESS_EQUAL, *register, 0, rest as i16, *value));
    }
    out.extend(body);
}

#[cfg(test)]
mod tests {
    use super::super::device::tests::{rule, rules};
    use super::*;

    /// Runs a program as the kernel would: 64-bit registers, sign-extended constants.
    fn run(program: &[Insn], access_type: u32, major: u32, minor: u32) -> u64 {
        let mut registers = [0u64; 11];
        let mut pc = 0;
        for _ in 0..10_000 {
            let insn = program[pc];
            let (dst, src) = (usize::from(insn.destination()), usize::from(insn.source()));
            let constant = i64::from(insn.immediate).cast_unsigned();
            let offset = usize::from(insn.offset.cast_unsigned());
            let mut jump = false;
            match insn.code {
                LOAD_WORD => {
                    registers[dst] = u64::from([access_type, major, minor][offset / 4]);
                }
                MOVE => registers[dst] = registers[src],
                MOVE_CONSTANT => registers[dst] = constant,
                AND => registers[dst] &= constant,
                SHIFT_RIGHT => registers[dst] >>= insn.immediate,
                JUMP_UNLESS_EQUAL => jump = registers[dst] != constant,
                JUMP_IF_EQUAL => jump = registers[dst] == constant,
                EXIT => return registers[0],
                other => panic!("unknown instruction {other:#x}"),
            }
            pc += 1 + if jump { offset } else { 0 };
        }
        panic!("no end");
    }

    /// What the list means, said in another way: each letter is decided by its last match.
    fn meaning(list: &[DeviceRule], kind: DeviceRuleKind, major: u32, minor: u32, access: i32) -> bool {
        [READ, WRITE, MKNOD].into_iter().filter(|bit| access & bit != 0).all(|bit| {
            let has = |rule: &&DeviceRule| match bit {
                READ => rule.read,
                WRITE => rule.write,
                _ => rule.mknod,
            };
            let matching = |rule: &&DeviceRule| {
                (rule.kind == DeviceRuleKind::All || rule.kind == kind)
                    && rule.major.is_none_or(|number| number == major)
                    && rule.minor.is_none_or(|number| number == minor)
            };
            list.iter().filter(matching).rfind(has).is_some_and(|rule| rule.allow)
        })
    }

    const LISTS: [&[&str]; 9] = [
        &["-a *:* rwm"],
        &["-a *:* rwm", "+c 10:229 rw", "-c 1:3 w"],
        &["+a *:* rwm", "-b 8:* w", "+b 8:1 w"],
        &["+c 7:7 r", "+c 7:7 w"],
        &["-a *:* rwm", "+b *:* rw", "-b 8:0 r", "+a 8:1 rwm"],
        &["+a *:* rwm", "-a *:* w", "+c *:3 w"],
        &["-c 1:3 m"],
        &["+a *:* rwm", "-c 4095:1048575 rwm", "+c 4095:* r"],
        &["-a *:* rwm", "-a *:* m", "+c 1:* m"],
    ];

    /// Compares program and meaning for every combination of these numbers.
    fn check(config: &[DeviceRule], numbers: &[u32]) {
        let program = Rules::new(config).map(|rules| program(&rules));
        // The meaning of the unreduced list, with the defaults where they belong.
        let general = config.iter().rposition(|rule| {
            rule.kind == DeviceRuleKind::All
                && (rule.major, rule.minor) == (None, None)
                && (rule.read && rule.write && rule.mknod)
        });
        let mut whole = config.to_vec();
        let at = general.map_or(0, |index| index + 1);
        whole.splice(at..at, rules(&["-a *:* rwm"]).unwrap().list);
        for (kind, number) in [(DeviceRuleKind::Char, CHAR), (DeviceRuleKind::Block, BLOCK)] {
            for (major, minor) in
                numbers.iter().flat_map(|major| numbers.iter().map(move |minor| (*major, *minor)))
            {
                for access in 1..8 {
                    let word = (number | access << 16).cast_unsigned();
                    let got = program.as_ref().is_none_or(|program| run(program, word, major, minor) == 1);
                    let expected = meaning(&whole, kind, major, minor, access);
                    assert_eq!(got, expected, "{config:?}: {kind:?} {major}:{minor} {access}");
                }
            }
        }
    }

    #[test]
    fn the_program_decides_as_the_list_says() {
        for texts in LISTS {
            let config: Vec<DeviceRule> = texts.iter().map(|text| rule(text)).collect();
            check(&config, &[0, 1, 3, 5, 7, 8, 10, 136, 200, 229, 4095, 1_048_575, u32::MAX]);
        }
    }

    proptest::proptest! {
        #[test]
        fn the_program_decides_as_any_list_says(
            parts in proptest::collection::vec((proptest::bool::ANY, 0..3usize, 0..4u32, 0..4u32, 1..8u8), 1..9)
        ) {
            let kinds = [DeviceRuleKind::All, DeviceRuleKind::Char, DeviceRuleKind::Block];
            // 0 stands for any number.
            let number = |number: u32| (number > 0).then_some(number);
            let config: Vec<DeviceRule> = parts.into_iter().map(|(allow, kind, major, minor, access)| DeviceRule {
                allow,
                kind: kinds[kind],
                major: number(major),
                minor: number(minor),
                read: access & 1 != 0,
                write: access & 2 != 0,
                mknod: access & 4 != 0,
            }).collect();
            check(&config, &[1, 2, 3, 5]);
        }
    }

    #[test]
    fn an_access_without_letters_is_no_access() {
        let program = program(&rules(&["-a *:* rwm"]).unwrap());
        assert_eq!(run(&program, 2, 99, 99), 1);
    }
}

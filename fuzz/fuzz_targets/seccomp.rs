//! Any seccomp profile compiles to a program that the kernel would take and that decides each call as an entry of the profile
//! says, or is refused.
#![no_main]
#![allow(dead_code)] // parts of the seccomp tests

use bpf::{Call, Insn, facts, run};
use justified::{entries, justified};
use libfuzzer_sys::fuzz_target;
use urun::{
    seccomp::{Program, Unknown, compile},
    spec::{
        self,
        seccomp::{Arch, Seccomp},
    },
};

#[path = "../../tests/seccomp/bpf.rs"]
mod bpf;
#[path = "../../tests/seccomp/justified.rs"]
mod justified;

/// BPF_MAXINSNS of linux/bpf_common.h.
const LONGEST: usize = 4096;
/// sizeof(struct seccomp_data)
const DATA: u32 = 64;

fuzz_target!(|bytes: &[u8]| {
    // The smallest config.json around the profile.
    let head =
        br#"{"ociVersion":"1.3.0","root":{"path":"r"},"linux":{"namespaces":[{"type":"mount"}],"seccomp":"#;
    let text = [head, bytes, b"}}"].concat();
    let Ok(config) = spec::load(&text) else { return };
    let Some(mut profile) = config.linux.seccomp else { return };
    for native in [Arch::X86_64, Arch::Aarch64] {
        for unknown in [Unknown::Default, Unknown::Enosys] {
            if let Ok(program) = compile(&profile, native, unknown) {
                check(&program);
            }
        }
    }
    for archs in [&[Arch::X86_64, Arch::X86, Arch::X32][..], &[Arch::Aarch64, Arch::Arm]] {
        profile.architectures = archs.to_vec();
        if let Ok(program) = compile(&profile, archs[0], Unknown::Default) {
            decides(&program, &profile, archs);
        }
    }
});

/// Runs the program over the calls that the profile names and their neighbours, with arguments at and beside what it compares.
fn decides(program: &Program, profile: &Seccomp, archs: &[Arch]) {
    let program: Vec<Insn> =
        program.instructions.iter().map(|it| Insn { code: it.code, jt: it.jt, jf: it.jf, k: it.k }).collect();
    for &arch in archs {
        let (_, audit, little_endian) = facts(arch);
        let all = entries(profile, arch);
        for (&named, of_call) in all.iter().take(16) {
            let mut arguments = vec![[0; 6], [u64::MAX; 6]];
            for args in of_call.iter().map(|(args, _)| args).take(8) {
                for beside in [0, 1, u64::MAX, 1 << 32] {
                    let mut given = [0; 6];
                    args.iter()
                        .for_each(|arg| given[usize::from(arg.index)] = arg.value.wrapping_add(beside));
                    arguments.push(given);
                    args.iter()
                        .for_each(|arg| given[usize::from(arg.index)] = arg.value_two.wrapping_add(beside));
                    arguments.push(given);
                }
            }
            for number in [named, named.wrapping_sub(1), named.wrapping_add(1)] {
                for &args in &arguments {
                    let call = Call { number, arch: audit, args, little_endian };
                    let allowed = justified(profile, archs, &all, arch, &call);
                    let (given, _) = run(&program, &call);
                    assert!(allowed.contains(&given), "{call:x?}: {given:#x} is not among {allowed:x?}");
                }
            }
        }
    }
}

/// What the kernel checks (net/core/filter.c `bpf_check_classic`, kernel/seccomp.c `seccomp_check_filter`) for the
/// instructions that the compiler uses.
fn check(program: &Program) {
    let code = &program.instructions;
    assert!(!code.is_empty() && code.len() <= LONGEST, "{} instructions", code.len());
    for (at, instruction) in code.iter().enumerate() {
        let left = code.len() - at - 1;
        match instruction.code {
            // BPF_LD | BPF_W | BPF_ABS
            0x20 => assert!(instruction.k % 4 == 0 && instruction.k < DATA, "load at {}", instruction.k),
            // BPF_ALU | BPF_AND | BPF_K
            0x54 => {}
            // BPF_JMP | BPF_JA
            0x05 => assert!((instruction.k as usize) < left, "jump out of the program"),
            // BPF_JMP | {JEQ, JGT, JGE, JSET} | BPF_K
            0x15 | 0x25 | 0x35 | 0x45 => {
                assert!(
                    usize::from(instruction.jt) < left && usize::from(instruction.jf) < left,
                    "jump out of the program"
                );
            }
            // BPF_RET | BPF_K
            0x06 => {}
            other => panic!("instruction {at} has code {other:#x}"),
        }
    }
    assert_eq!(code.last().unwrap().code, 0x06, "the last instruction returns");
}

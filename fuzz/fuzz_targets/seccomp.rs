//! Any seccomp profile compiles to a program that the kernel would take, or is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use urun::{
    seccomp::{Program, Unknown, compile},
    spec::{self, seccomp::Arch},
};

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
    let Some(profile) = config.linux.seccomp else { return };
    for native in [Arch::X86_64, Arch::Aarch64] {
        for unknown in [Unknown::Default, Unknown::Enosys] {
            if let Ok(program) = compile(&profile, native, unknown) {
                check(&program);
            }
        }
    }
});

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

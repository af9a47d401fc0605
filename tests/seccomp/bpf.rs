//! An interpreter for everything that the kernel lets a seccomp program contain (`seccomp_check_filter` in
//! kernel/seccomp.c), strict where the kernel's verifier is.

use urun::spec::seccomp::Arch;

/// An instruction in a form that does not depend on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// `struct seccomp_data`
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub number: u32,
    pub arch: u32,
    pub args: [u64; 6],
    pub little_endian: bool,
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            8 | 12 => 0x5555_5555,
            16..64 if offset.is_multiple_of(4) => {
                let arg = self.args[(offset as usize - 16) / 8];
                let first = (offset - 16).is_multiple_of(8);
                if first == self.little_endian { arg as u32 } else { (arg >> 32) as u32 }
            }
            _ => panic!("load at offset {offset}"),
        }
    }
}

/// Reads an exported program; `little_endian` is the byte order of its architectures.
pub fn decode(bytes: &[u8], little_endian: bool) -> Vec<Insn> {
    let u16_at = |b: &[u8]| {
        let raw = [b[0], b[1]];
        if little_endian { u16::from_le_bytes(raw) } else { u16::from_be_bytes(raw) }
    };
    let u32_at = |b: &[u8]| {
        let raw = [b[0], b[1], b[2], b[3]];
        if little_endian { u32::from_le_bytes(raw) } else { u32::from_be_bytes(raw) }
    };
    assert_eq!(bytes.len() % 8, 0, "a whole number of instructions");
    let insn = |b: &[u8]| {
        let (code, k) = (u16_at(b), u32_at(&b[4..]));
        // Where libseccomp repeats a return for a foreign byte order, it swaps the value twice.
        let k = if code == RETURN && !is_value(k) { k.swap_bytes() } else { k };
        Insn { code, jt: b[2], jf: b[3], k }
    };
    bytes.chunks(8).map(insn).collect()
}

/// `BPF_RET | BPF_K`
const RETURN: u16 = 0x06;

/// Whether this is one of `SECCOMP_RET_*` with data.
fn is_value(k: u32) -> bool {
    k == 0 || matches!(k >> 16, 0x8000 | 3 | 5 | 0x7fc0 | 0x7ff0 | 0x7ffc | 0x7fff)
}

/// The value that the program returns, and how many instructions that took.
pub fn run(program: &[Insn], call: &Call) -> (u32, usize) {
    let (mut a, mut x, mut mem) = (0u32, 0u32, [0u32; 16]);
    let (mut pc, mut steps) = (0usize, 0);
    loop {
        let Insn { code, jt, jf, k } = program[pc];
        steps += 1;
        pc += 1;
        let source = if code & 0x08 == 0 { k } else { x };
        match code & 0x07 {
            0x00 => {
                a = match code {
                    0x20 => call.word(k),
                    0x80 => 64,
                    0x00 => k,
                    0x60 => mem[k as usize],
                    _ => panic!("load {code:#x}"),
                }
            }
            0x01 => {
                x = match code {
                    0x81 => 64,
                    0x01 => k,
                    0x61 => mem[k as usize],
                    _ => panic!("load of X {code:#x}"),
                }
            }
            0x02 => mem[k as usize] = a,
            0x03 => mem[k as usize] = x,
            0x04 => a = alu(code, a, source),
            0x05 => {
                let taken = match code & 0xf0 {
                    0x00 => {
                        pc += k as usize;
                        continue;
                    }
                    0x10 => a == source,
                    0x20 => a > source,
                    0x30 => a >= source,
                    0x40 => a & source != 0,
                    _ => panic!("jump {code:#x}"),
                };
                pc += usize::from(if taken { jt } else { jf });
            }
            0x06 => return (if code == 0x16 { a } else { k }, steps),
            _ => match code {
                0x07 => x = a,
                0x87 => a = x,
                _ => panic!("miscellaneous {code:#x}"),
            },
        }
    }
}

fn alu(code: u16, a: u32, source: u32) -> u32 {
    match code & 0xf0 {
        0x00 => a.wrapping_add(source),
        0x10 => a.wrapping_sub(source),
        0x20 => a.wrapping_mul(source),
        0x30 => a.checked_div(source).unwrap_or(0),
        0x40 => a | source,
        0x50 => a & source,
        0x60 => a.checked_shl(source).unwrap_or(0),
        0x70 => a.checked_shr(source).unwrap_or(0),
        0x80 => a.wrapping_neg(),
        0xa0 => a ^ source,
        _ => panic!("arithmetic {code:#x}"),
    }
}

/// libseccomp's token, `AUDIT_ARCH_*` and byte order of an architecture.
pub fn facts(arch: Arch) -> (u32, u32, bool) {
    let audit = match arch {
        Arch::X86 => 0x4000_0003,
        Arch::X86_64 | Arch::X32 => 0xc000_003e,
        Arch::Arm => 0x4000_0028,
        Arch::Aarch64 => 0xc000_00b7,
        Arch::Mips => 0x08,
        Arch::Mips64 => 0x8000_0008,
        Arch::Mips64N32 => 0xa000_0008,
        Arch::Mipsel => 0x4000_0008,
        Arch::Mipsel64 => 0xc000_0008,
        Arch::Mipsel64N32 => 0xe000_0008,
        Arch::Ppc => 0x14,
        Arch::Ppc64 => 0x8000_0015,
        Arch::Ppc64le => 0xc000_0015,
        Arch::S390 => 0x16,
        Arch::S390x => 0x8000_0016,
        Arch::Parisc => 0x0f,
        Arch::Parisc64 => 0x8000_000f,
        Arch::Riscv64 => 0xc000_00f3,
        Arch::Loongarch64 => 0xc000_0102,
        Arch::M68k => 0x04,
        Arch::Sh => 0x4000_002a,
        Arch::Sheb => 0x2a,
    };
    let token = if arch == Arch::X32 { 0x4000_003e } else { audit };
    (token, audit, audit & 0x4000_0000 != 0)
}

/// Every architecture that a profile can name.
pub const ALL: [Arch; 23] = [
    Arch::X86,
    Arch::X86_64,
    Arch::X32,
    Arch::Arm,
    Arch::Aarch64,
    Arch::Mips,
    Arch::Mips64,
    Arch::Mips64N32,
    Arch::Mipsel,
    Arch::Mipsel64,
    Arch::Mipsel64N32,
    Arch::Ppc,
    Arch::Ppc64,
    Arch::Ppc64le,
    Arch::S390,
    Arch::S390x,
    Arch::Parisc,
    Arch::Parisc64,
    Arch::Riscv64,
    Arch::Loongarch64,
    Arch::M68k,
    Arch::Sh,
    Arch::Sheb,
];

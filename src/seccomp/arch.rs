//! What the compiler has to know about an architecture.

use crate::spec::{
    seccomp::Arch,
    syscall::{ARM_PRIVATE, ARM_PRIVATE_SLOT, Column, Syscall},
};

/// How a filter recognises an architecture and reads its calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abi {
    /// `AUDIT_ARCH_*` (linux/audit.h), the `arch` of `struct seccomp_data`.
    pub audit: u32,
    /// Where its numbers are.
    pub column: Column,
    /// Added to every number of the column.
    pub base: u32,
    /// How much of an argument counts.
    pub width: Width,
    /// Whether socketcall(2) and ipc(2) exist.
    pub multiplexes: bool,
}

/// How much of an argument a comparison looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// The low half, as libseccomp does on x32 and MIPS n32 too.
    W32,
    /// Both halves.
    W64,
}

/// `__AUDIT_ARCH_LE`
const LITTLE: u32 = 0x4000_0000;

/// The bit that tells x32 from x86_64, which share a value of `AUDIT_ARCH_*`.
pub(super) const X32_BIT: u32 = 0x4000_0000;

impl Abi {
    const fn new(audit: u32, column: Column, width: Width) -> Self {
        Self { audit, column, base: 0, width, multiplexes: false }
    }

    const fn based(self, base: u32) -> Self {
        Self { base, ..self }
    }

    const fn multiplexing(self) -> Self {
        Self { multiplexes: true, ..self }
    }

    /// The number that reaches the kernel for the call in `slot`: beyond the base, and far beyond it for a private call of ARM.
    pub(super) fn number(&self, slot: u16) -> u32 {
        match slot.checked_sub(ARM_PRIVATE_SLOT) {
            Some(private) => ARM_PRIVATE + u32::from(private),
            None => self.base + u32::from(slot),
        }
    }

    /// Whether the low half of an argument comes first in `struct seccomp_data`.
    pub(super) const fn is_little_endian(&self) -> bool {
        self.audit & LITTLE != 0
    }
}

/// The facts of linux/audit.h, asm/unistd.h and libseccomp's `arch-*.c`.
pub(super) const fn abi(arch: Arch) -> Abi {
    use Width::{W32, W64};
    match arch {
        Arch::X86 => Abi::new(0x4000_0003, Column::X86, W32).multiplexing(),
        Arch::X86_64 => Abi::new(0xc000_003e, Column::X86_64, W64),
        Arch::X32 => Abi::new(0xc000_003e, Column::X32, W32).based(X32_BIT),
        Arch::Arm => Abi::new(0x4000_0028, Column::Arm, W32),
        Arch::Aarch64 => Abi::new(0xc000_00b7, Column::Aarch64, W64),
        Arch::Mips => Abi::new(0x0000_0008, Column::Mips, W32).based(4000).multiplexing(),
        Arch::Mips64 => Abi::new(0x8000_0008, Column::Mips64, W64).based(5000),
        Arch::Mips64N32 => Abi::new(0xa000_0008, Column::Mips64N32, W32).based(6000),
        Arch::Mipsel => Abi::new(0x4000_0008, Column::Mips, W32).based(4000).multiplexing(),
        Arch::Mipsel64 => Abi::new(0xc000_0008, Column::Mips64, W64).based(5000),
        Arch::Mipsel64N32 => Abi::new(0xe000_0008, Column::Mips64N32, W32).based(6000),
        Arch::Ppc => Abi::new(0x0000_0014, Column::Ppc, W32).multiplexing(),
        Arch::Ppc64 => Abi::new(0x8000_0015, Column::Ppc64, W64).multiplexing(),
        Arch::Ppc64le => Abi::new(0xc000_0015, Column::Ppc64, W64).multiplexing(),
        Arch::S390 => Abi::new(0x0000_0016, Column::S390, W32).multiplexing(),
        Arch::S390x => Abi::new(0x8000_0016, Column::S390x, W64).multiplexing(),
        Arch::Parisc => Abi::new(0x0000_000f, Column::Parisc, W32),
        Arch::Parisc64 => Abi::new(0x8000_000f, Column::Parisc64, W64),
        Arch::Riscv64 => Abi::new(0xc000_00f3, Column::Riscv64, W64),
        Arch::Loongarch64 => Abi::new(0xc000_0102, Column::Loongarch64, W64),
        Arch::M68k => Abi::new(0x0000_0004, Column::M68k, W32).multiplexing(),
        Arch::Sh => Abi::new(0x4000_002a, Column::Sh, W32).multiplexing(),
        Arch::Sheb => Abi::new(0x0000_002a, Column::Sh, W32).multiplexing(),
    }
}

impl Arch {
    /// The architecture this program was built for, unless seccomp profiles have no name for it.
    pub const fn native() -> Option<Self> {
        let little = cfg!(target_endian = "little");
        Some(if cfg!(target_arch = "x86_64") {
            Self::X86_64
        } else if cfg!(target_arch = "aarch64") {
            Self::Aarch64
        } else if cfg!(target_arch = "x86") {
            Self::X86
        } else if cfg!(target_arch = "arm") {
            Self::Arm
        } else if cfg!(target_arch = "riscv64") {
            Self::Riscv64
        } else if cfg!(target_arch = "loongarch64") {
            Self::Loongarch64
        } else if cfg!(target_arch = "s390x") {
            Self::S390x
        } else if cfg!(target_arch = "powerpc64") {
            if little { Self::Ppc64le } else { Self::Ppc64 }
        } else if cfg!(target_arch = "mips64") {
            if little { Self::Mipsel64 } else { Self::Mips64 }
        } else {
            return None;
        })
    }

    /// The others whose programs a kernel of this architecture may run.
    pub const fn relatives(self) -> &'static [Self] {
        match self {
            Self::X86_64 => &[Self::X86, Self::X32],
            Self::Aarch64 => &[Self::Arm],
            Self::S390x => &[Self::S390],
            Self::Ppc64 => &[Self::Ppc],
            Self::Mips64 => &[Self::Mips, Self::Mips64N32],
            Self::Mipsel64 => &[Self::Mipsel, Self::Mipsel64N32],
            _ => &[],
        }
    }
}

impl Syscall {
    /// The number that reaches the kernel on `arch`, with the base that the MIPS ABIs and x32 add; none where there is no such call.
    pub fn number(self, arch: Arch) -> Option<u32> {
        let abi = abi(arch);
        self.slot(abi.column).map(|slot| abi.number(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_carry_the_base_of_their_abi() {
        let number = |name, arch| Syscall::find(name).unwrap().number(arch);
        let cases = [
            ("read", Arch::X86_64, Some(0)),
            ("read", Arch::X32, Some(0x4000_0000)),
            ("ioctl", Arch::X32, Some(0x4000_0000 + 514)),
            ("read", Arch::Mips, Some(4003)),
            ("read", Arch::Mipsel64, Some(5000)),
            ("read", Arch::Mips64N32, Some(6000)),
            ("read", Arch::Aarch64, Some(63)),
            ("set_tls", Arch::Arm, Some(0x0f_0005)),
            ("set_tls", Arch::X86, None),
            ("clone3", Arch::Ppc64le, Some(435)),
            ("open", Arch::Riscv64, None),
        ];
        for (name, arch, expected) in cases {
            assert_eq!(number(name, arch), expected, "{name} on {arch:?}");
        }
        assert!(Syscall::find("no_such_call").is_none());
    }

    #[test]
    fn numbers_of_the_host_are_those_of_its_headers() {
        let cases = [
            ("execve", libc::SYS_execve),
            ("seccomp", libc::SYS_seccomp),
            ("openat2", libc::SYS_openat2),
            ("pidfd_getfd", libc::SYS_pidfd_getfd),
            ("mount_setattr", libc::SYS_mount_setattr),
        ];
        for (name, expected) in cases {
            let number = Syscall::find(name).and_then(|it| it.number(Arch::native()?));
            assert_eq!(number.map(i64::from), Some(expected), "{name}");
        }
    }
}

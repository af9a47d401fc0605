//! The numbers of system calls by name, for every architecture that libseccomp knows.

use super::arch::abi;
use crate::spec::seccomp::Arch;

/// The architectures that number their system calls alike share a column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    X86,
    X86_64,
    X32,
    Arm,
    Aarch64,
    Loongarch64,
    M68k,
    Mips,
    Mips64,
    Mips64N32,
    Parisc,
    Parisc64,
    Ppc,
    Ppc64,
    Riscv64,
    S390,
    S390x,
    Sh,
}

const COLUMNS: usize = Column::Sh as usize + 1;

/// No such system call on this architecture.
const NO: u16 = u16::MAX;

/// The first of the private system calls of 32-bit ARM (`__ARM_NR_BASE`), far above all others.
pub(super) const ARM_PRIVATE: u32 = 0x0f_0000;

/// The slot of [`ARM_PRIVATE`], above those of all others.
pub(super) const ARM_PRIVATE_SLOT: u16 = 0x400;

/// Calls that some architectures reach through one number, with the real call in the first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Multiplexer {
    /// socketcall(2)
    Socket,
    /// ipc(2)
    Ipc,
}

impl Multiplexer {
    /// The call that takes the others in.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Socket => "socketcall",
            Self::Ipc => "ipc",
        }
    }
}

type Entry = (&'static str, [u16; COLUMNS], Option<(Multiplexer, u8)>);

static ROWS: &[Entry] = {
    use Multiplexer::{Ipc, Socket};
    &include!("rows.in")
};

/// One name with its numbers.
#[derive(Clone, Copy, Debug)]
pub struct Row(&'static Entry);

impl Row {
    /// The row of a system call, unless no architecture has a call of that name.
    pub fn find(name: &str) -> Option<Self> {
        let index = ROWS.binary_search_by(|row| row.0.cmp(name)).ok()?;
        Some(Self(&ROWS[index]))
    }

    /// Every row, in the order of names.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(Self)
    }

    /// The name.
    pub fn name(self) -> &'static str {
        self.0.0
    }

    /// The number that reaches the kernel on `arch`, with the base that the MIPS ABIs and x32 add.
    pub fn number(self, arch: Arch) -> Option<u32> {
        let abi = abi(arch);
        self.slot(abi.column).map(|slot| abi.number(slot))
    }

    /// The place of its number among those of an architecture, small for every call: see [`Abi::number`].
    ///
    /// [`Abi::number`]: super::arch::Abi::number
    pub(super) fn slot(self, column: Column) -> Option<u16> {
        Some(self.0.1[column as usize]).filter(|slot| *slot != NO)
    }

    /// The multiplexer that takes this call in, where there is one, and the first argument that stands for the call there
    /// (linux/net.h, linux/ipc.h).
    pub(super) fn multiplexer(self) -> Option<(Multiplexer, u8)> {
        self.0.2
    }
}

/// Finds the rows of a profile, which lists its names in order and names most calls: the next one is seldom far.
#[derive(Debug, Default)]
pub(super) struct Finder {
    next: usize,
}

impl Finder {
    /// As [`Row::find`].
    pub(super) fn find(&mut self, name: &str) -> Option<Row> {
        const NEAR: usize = 4;
        let near = ROWS.iter().skip(self.next).take(NEAR).position(|row| row.0 == name);
        let index = match near {
            Some(distance) => self.next + distance,
            None => ROWS.binary_search_by(|row| row.0.cmp(name)).ok()?,
        };
        self.next = index + 1;
        Some(Row(&ROWS[index]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        assert!(ROWS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn numbers_carry_the_base_of_their_abi() {
        let number = |name, arch| Row::find(name).unwrap().number(arch);
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
        assert!(Row::find("no_such_call").is_none());
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
            let number = Row::find(name).and_then(|row| row.number(Arch::native()?));
            assert_eq!(number.map(i64::from), Some(expected), "{name}");
        }
    }
}

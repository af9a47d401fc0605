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

/// A private call is stored as this plus its distance from [`ARM_PRIVATE`].
const STORED_ARM_PRIVATE: u16 = 0x8000;

static ROWS: &[(&str, [u16; COLUMNS])] = &include!("rows.in");

/// One name with its numbers.
#[derive(Clone, Copy, Debug)]
pub struct Row(&'static (&'static str, [u16; COLUMNS]));

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
        match self.0.1[abi.column as usize] {
            NO => None,
            private if private >= STORED_ARM_PRIVATE => {
                Some(ARM_PRIVATE + u32::from(private - STORED_ARM_PRIVATE))
            }
            number => Some(abi.base + u32::from(number)),
        }
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

/// The first argument of the multiplexer for each call that it takes in: linux/net.h and linux/ipc.h.
#[rustfmt::skip]
const MULTIPLEXED: &[(&str, Multiplexer, u8)] = &[
    ("accept", Multiplexer::Socket, 5), ("accept4", Multiplexer::Socket, 18), ("bind", Multiplexer::Socket, 2),
    ("connect", Multiplexer::Socket, 3), ("getpeername", Multiplexer::Socket, 7),
    ("getsockname", Multiplexer::Socket, 6), ("getsockopt", Multiplexer::Socket, 15),
    ("listen", Multiplexer::Socket, 4), ("msgctl", Multiplexer::Ipc, 14), ("msgget", Multiplexer::Ipc, 13),
    ("msgrcv", Multiplexer::Ipc, 12), ("msgsnd", Multiplexer::Ipc, 11), ("recv", Multiplexer::Socket, 10),
    ("recvfrom", Multiplexer::Socket, 12), ("recvmmsg", Multiplexer::Socket, 19),
    ("recvmsg", Multiplexer::Socket, 17), ("semctl", Multiplexer::Ipc, 3), ("semget", Multiplexer::Ipc, 2),
    ("semop", Multiplexer::Ipc, 1), ("semtimedop", Multiplexer::Ipc, 4), ("send", Multiplexer::Socket, 9),
    ("sendmmsg", Multiplexer::Socket, 20), ("sendmsg", Multiplexer::Socket, 16), ("sendto", Multiplexer::Socket, 11),
    ("setsockopt", Multiplexer::Socket, 14), ("shmat", Multiplexer::Ipc, 21), ("shmctl", Multiplexer::Ipc, 24),
    ("shmdt", Multiplexer::Ipc, 22), ("shmget", Multiplexer::Ipc, 23), ("shutdown", Multiplexer::Socket, 13),
    ("socket", Multiplexer::Socket, 1), ("socketpair", Multiplexer::Socket, 8),
];

/// The multiplexer of a call and the first argument that stands for the call there.
pub(super) fn multiplexed(name: &str) -> Option<(Multiplexer, u8)> {
    let index = MULTIPLEXED.binary_search_by(|entry| entry.0.cmp(name)).ok()?;
    Some((MULTIPLEXED[index].1, MULTIPLEXED[index].2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        assert!(ROWS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(MULTIPLEXED.is_sorted_by(|a, b| a.0 < b.0));
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

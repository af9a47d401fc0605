//! The system calls that have a name on any architecture that libseccomp knows, with their numbers.

/// The architectures that number their system calls alike share a column.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
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
pub(crate) const ARM_PRIVATE: u32 = 0x0f_0000;

/// The slot of [`ARM_PRIVATE`], above those of all others.
pub(crate) const ARM_PRIVATE_SLOT: u16 = 0x400;

/// Calls that some architectures reach through one number, with the real call in the first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Multiplexer {
    /// socketcall(2)
    Socket,
    /// ipc(2)
    Ipc,
}

impl Multiplexer {
    /// The call that takes the others in.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Socket => "socketcall",
            Self::Ipc => "ipc",
        }
    }
}

type Row = (&'static str, [u16; COLUMNS], Option<(Multiplexer, u8)>);

static ROWS: &[Row] = {
    use Multiplexer::{Ipc, Socket};
    &include!("rows.in")
};

/// A system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syscall(u16);

impl Syscall {
    /// The system call of that name, unless no architecture has one.
    pub fn find(name: &str) -> Option<Self> {
        Self::at(ROWS.binary_search_by(|row| row.0.cmp(name)).ok()?)
    }

    /// Every system call, in the order of names.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..ROWS.len()).filter_map(Self::at)
    }

    /// The name.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The place of its number among those of an architecture, small for every call: `Abi::number` of the seccomp compiler has the number.
    pub(crate) fn slot(self, column: Column) -> Option<u16> {
        Some(self.row().1[column as usize]).filter(|slot| *slot != NO)
    }

    /// The multiplexer that takes this call in, where there is one, and the first argument that stands for the call there
    /// (linux/net.h, linux/ipc.h).
    pub(crate) fn multiplexer(self) -> Option<(Multiplexer, u8)> {
        self.row().2
    }

    fn at(index: usize) -> Option<Self> {
        u16::try_from(index).ok().map(Self)
    }

    fn row(self) -> &'static Row {
        &ROWS[usize::from(self.0)]
    }
}

/// Finds the system calls of a list, which is mostly in order and has most of them: the next one is seldom far.
#[derive(Debug, Default)]
pub(super) struct Finder {
    next: usize,
}

impl Finder {
    /// As [`Syscall::find`].
    pub(super) fn find(&mut self, name: &str) -> Option<Syscall> {
        const NEAR: usize = 4;
        let near = ROWS.iter().skip(self.next).take(NEAR).position(|row| row.0 == name);
        let found = match near {
            Some(distance) => Syscall::at(self.next + distance),
            None => Syscall::find(name),
        };
        self.next = found.map_or(self.next, |found| usize::from(found.0) + 1);
        found
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
    fn a_list_is_found_in_any_order() {
        let mut finder = Finder::default();
        for name in ["write", "read", "readv", "no_such_call", "recv", "read", "read", "zzz", "accept"] {
            assert_eq!(finder.find(name), Syscall::find(name), "{name}");
            assert_eq!(finder.find(name).map_or(name, Syscall::name), name);
        }
    }
}

//! clone3(2): the birth of every process that urun makes.

use super::check;
use crate::error::Result;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `CLONE_INTO_CGROUP`, Linux 5.7; libc types it as signed.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// What a new process is born into.
#[derive(Clone, Copy, Debug, Default)]
pub struct Birth<'a> {
    /// `CLONE_NEW*` and `CLONE_PARENT`.
    pub flags: u64,
    /// The version 2 control group that it is born in.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// A new process. Dropping it neither waits nor kills.
#[derive(Debug)]
pub struct Child {
    /// Its number in the maker's pid namespace.
    pub pid: i32,
    /// Its descriptor: proof against recycled numbers.
    pub pidfd: OwnedFd,
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Makes a process that runs `body` and exits with its result. The child never returns into the caller's code.
///
/// The program has one thread, so a copy of its memory is whole: no lock can be held by somebody who is not there.
pub fn spawn(birth: &Birth<'_>, body: impl FnOnce() -> i32) -> Result<Child> {
    let mut pidfd: i32 = -1;
    // SAFETY: clone_args is plain data for which all zeroes is valid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = birth.flags | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    // With CLONE_PARENT the kernel takes the signal from the maker's own, and wants none here.
    if birth.flags & libc::CLONE_PARENT as u64 == 0 {
        args.exit_signal = libc::SIGCHLD as u64;
    }
    if let Some(group) = birth.cgroup {
        args.flags |= INTO_CGROUP;
        args.cgroup = u64::from(group.as_raw_fd().cast_unsigned());
    }
    // SAFETY: without CLONE_VM the child works on a copy of this memory; `args` and `pidfd` outlive the call.
    let ret = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    let pid = check(ret, || format!("clone3({})", super::ns::Flags(birth.flags)))?;
    if pid == 0 {
        exit(body());
    }
    // SAFETY: the kernel has stored a new descriptor there because CLONE_PIDFD was given.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    #[allow(clippy::cast_possible_truncation)] // a pid is an int
    let pid = pid as i32;
    Ok(Child { pid, pidfd })
}

/// Ends the process at once: no destructor and no exit handler of the maker's runs a second time.
pub fn exit(code: i32) -> ! {
    // SAFETY: _exit(2) has no preconditions.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::{WaitStatus, waitpid};

    #[test]
    fn a_child_ends_with_the_result_of_its_body() {
        let child = spawn(&Birth::default(), || 7).unwrap();
        let pid = nix::unistd::Pid::from_raw(child.pid);
        assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Exited(pid, 7));
    }

    #[test]
    fn a_refused_birth_shows_the_call() {
        let error = spawn(&Birth { flags: 1 << 40, cgroup: None }, || 0).unwrap_err();
        assert!(error.to_string().starts_with("clone3(0x10000000000)"), "{error}");
    }
}

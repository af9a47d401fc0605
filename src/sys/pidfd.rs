//! Process file descriptors: pidfd_open(2) and what it is good for. A number of a process may be reused between two
//! calls; a pidfd cannot.

use super::{check, check_fd, show};
use crate::error::{Error, Result};
use nix::errno::Errno;
use std::{
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It called exit_group(2) with this status.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// The status a shell would report: a signal counts as 128 + its number.
    pub fn status(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "{}", super::signal::name(*signal)),
        }
    }
}

/// The error for a process that ended and did not say why.
pub fn without_a_word(who: &str, how: &dyn std::fmt::Display) -> Error {
    Error::new(format_args!("{who} ended without a word ({how})"))
        .hint("a memory limit below what the start of a container takes looks like this; see the kernel log")
}

/// Opens the process `pid` of the caller's pid namespace, Linux 5.3. ESRCH: there is none.
pub fn open(pid: i32) -> Result<OwnedFd> {
    let name = || format!("pidfd_open({pid})");
    // SAFETY: takes no pointers.
    let ret = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    check_fd(ret, name).map_err(|error| match error.errno() {
        // Up to Linux 6.14 the word for a process that is being reaped, as for a number that can be none.
        Some(libc::EINVAL) if pid > 0 => Error::syscall(name(), libc::ESRCH),
        _ => error,
    })
}

/// Sends a signal, Linux 5.1. ESRCH: the process has ended and has been reaped.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: without a siginfo no pointer is followed.
    let ret = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
    check(ret, || format!("pidfd_send_signal({}, {})", show(pidfd), super::signal::name(signal)))?;
    Ok(())
}

/// `PIDFD_GET_PID_NAMESPACE`, Linux 6.11: `_IO(0xFF, 6)`.
const GET_PID_NAMESPACE: libc::Ioctl = 0xFF06;

/// The pid namespace of the process; none where the kernel has no such call (before Linux 6.11) or refuses it.
pub fn pid_namespace(pidfd: BorrowedFd<'_>) -> Option<OwnedFd> {
    // SAFETY: the request takes no pointer.
    let ret = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_PID_NAMESPACE, 0) };
    check_fd(ret.into(), String::new).ok()
}

/// Waits for the end of a child, reaps it, and tells how it ended, Linux 5.4. ECHILD: it is not a child of this
/// process, or has been reaped already.
pub fn wait(pidfd: BorrowedFd<'_>) -> Result<Exit> {
    // SAFETY: siginfo_t is plain data for which all zeroes is valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        let id = pidfd.as_raw_fd().cast_unsigned();
        // SAFETY: `info` is a whole siginfo_t and lives across the call.
        let ret = unsafe { libc::waitid(libc::P_PIDFD, id, &raw mut info, libc::WEXITED) };
        if ret != -1 || Errno::last() != Errno::EINTR {
            check(ret.into(), || format!("waitid(P_PIDFD, {})", show(pidfd)))?;
            break;
        }
    }
    // SAFETY: waitid(2) has filled in the fields of SIGCHLD.
    let status = unsafe { info.si_status() };
    Ok(if info.si_code == libc::CLD_EXITED { Exit::Code(status) } else { Exit::Signal(status) })
}

/// Waits until the process has ended (it may still be a zombie), for as long as `timeout` says, without end if that is
/// `None`; returns whether it has. The process need not be a child.
pub fn poll(pidfd: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<bool> {
    super::fd::wait_readable(pidfd, timeout)
}

/// Whether the process has ended; a zombie counts as ended. Never waits.
pub fn exited(pidfd: BorrowedFd<'_>) -> Result<bool> {
    poll(pidfd, Some(Duration::ZERO))
}

/// Duplicates the descriptor `fd` of the process into this one, close-on-exec, Linux 5.6. Needs the right to ptrace it.
pub fn getfd(pidfd: BorrowedFd<'_>, fd: i32) -> Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let ret = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) };
    check_fd(ret, || format!("pidfd_getfd({}, {fd})", show(pidfd)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        os::fd::AsFd,
        process::{Command, Stdio},
        time::Instant,
    };

    fn child(script: &str) -> OwnedFd {
        #[allow(clippy::zombie_processes)] // reaped through the pidfd
        let child = Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::null()).spawn().unwrap();
        open(child.id().cast_signed()).unwrap()
    }

    #[test]
    fn tells_how_a_child_ended() {
        assert_eq!(wait(child("exit 7").as_fd()).unwrap(), Exit::Code(7));
        let killed = wait(child("kill -TERM $$").as_fd()).unwrap();
        assert_eq!((killed, killed.status()), (Exit::Signal(libc::SIGTERM), 143));
        assert_eq!(killed.to_string(), "SIGTERM");
    }

    #[test]
    fn a_zombie_counts_as_ended() {
        let pidfd = child("read x");
        assert!(poll(pidfd.as_fd(), Some(Duration::from_secs(10))).unwrap());
        assert!(exited(pidfd.as_fd()).unwrap());
        wait(pidfd.as_fd()).unwrap();
        assert_eq!(send_signal(pidfd.as_fd(), 0).unwrap_err().errno(), Some(libc::ESRCH));
        assert_eq!(wait(pidfd.as_fd()).unwrap_err().errno(), Some(libc::ECHILD));
    }

    #[test]
    fn waiting_ends_with_the_time() {
        let pidfd = child("exec sleep 30");
        let start = Instant::now();
        assert!(!poll(pidfd.as_fd(), Some(Duration::from_millis(30))).unwrap());
        assert!(start.elapsed() >= Duration::from_millis(30));
        send_signal(pidfd.as_fd(), libc::SIGKILL).unwrap();
        assert_eq!(wait(pidfd.as_fd()).unwrap(), Exit::Signal(libc::SIGKILL));
    }

    #[test]
    fn takes_a_descriptor_out_of_a_process() {
        let own = open(std::process::id().cast_signed()).unwrap();
        let file = std::fs::File::open("/proc/version").unwrap();
        let copy = getfd(own.as_fd(), file.as_raw_fd()).unwrap();
        assert!(show(copy.as_fd()).ends_with("</proc/version>"));
        assert_eq!(getfd(own.as_fd(), 1 << 20).unwrap_err().errno(), Some(libc::EBADF));
    }
}

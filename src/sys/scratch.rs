//! Forked children for tests: a process in namespaces of its own that reports and then stays to be looked at.

#![allow(clippy::missing_panics_doc)] // tests panic

use crate::error::{Context, Error, Result};
use nix::{
    sched::{CloneFlags, unshare},
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork, pipe2},
};
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::AsRawFd,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// A child that lives as long as this value.
#[derive(Debug)]
pub struct Child {
    /// its pid as the parent sees it
    pub pid: i32,
    report: File,
    _stay: File,
}

/// One line that maps 65536 ids of the container.
pub const MAP: &str = "0 100000 65536";

/// Forks a child that unshares `flags`, gets [`MAP`] as its id maps where a user namespace is among them, and does its
/// work. Text it returns is its report; a program it turns into leaves an empty one.
pub fn child(flags: CloneFlags, work: impl FnOnce() -> Result<String>) -> Child {
    // A child of another test that is born in between would keep this one's ends open, and this one that one's: neither would
    // ever hear the end of a report.
    static BIRTHS: Mutex<()> = Mutex::new(());
    let births = BIRTHS.lock().unwrap_or_else(PoisonError::into_inner);
    let [ready, go, report, stay] = [(); 4].map(|()| pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap());
    // SAFETY: the child uses nothing that another thread could hold a lock of; glibc's allocator works after a fork.
    if let ForkResult::Parent { child } = unsafe { fork() }.unwrap() {
        drop((ready.1, report.1, stay.0));
        drop(births);
        File::from(ready.0).read_exact(&mut [0]).unwrap();
        if flags.contains(CloneFlags::CLONE_NEWUSER) {
            for map in ["uid_map", "gid_map"] {
                std::fs::write(format!("/proc/{child}/{map}"), MAP).unwrap();
            }
        }
        File::from(go.1).write_all(b"g").unwrap();
        return Child { pid: child.as_raw(), report: File::from(report.0), _stay: File::from(stay.1) };
    }
    drop((ready.0, go.1, report.0, stay.1));
    drop(births);
    let text = born(flags, File::from(ready.1), File::from(go.0)).and_then(|()| {
        let result = catch_unwind(AssertUnwindSafe(work));
        result.unwrap_or_else(|_| Err(Error::new("the child panicked")))
    });
    let text = text.unwrap_or_else(|error| format!("failed: {error}"));
    let written = File::from(report.1).write_all(text.as_bytes());
    let stayed = File::from(stay.0).read(&mut [0]);
    // SAFETY: _exit runs no handlers of the test process.
    unsafe { libc::_exit(i32::from(written.is_err() || stayed.is_err())) }
}

/// Forks a child that runs `body`, exits with its result and is ended by SIGALRM after ten seconds, so that nobody waits
/// for it in vain. Other than clone3(2), fork(3) leaves the allocator usable in a copy of a program with threads.
pub fn forked(body: impl FnOnce() -> i32) -> super::clone::Child {
    // SAFETY: the child uses nothing that another thread could hold a lock of; glibc's allocator works after a fork.
    if let ForkResult::Parent { child } = unsafe { fork() }.unwrap() {
        let pid = child.as_raw();
        return super::clone::Child { pid, pidfd: super::pidfd::open(pid).unwrap() };
    }
    nix::unistd::alarm::set(10);
    super::clone::exit(catch_unwind(AssertUnwindSafe(body)).unwrap_or(99))
}

fn born(flags: CloneFlags, mut ready: File, mut go: File) -> Result<()> {
    unshare(flags).context("unshare")?;
    ready.write_all(b"r")?;
    go.read_exact(&mut [0])?;
    Ok(())
}

impl Child {
    /// What the child reported; empty when it has become a program.
    pub fn report(&mut self) -> String {
        let mut text = String::new();
        self.report.read_to_string(&mut text).unwrap();
        text
    }

    /// A field of its /proc/PID/status.
    pub fn status(&self, field: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap().trim().to_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.pid);
        kill(pid, Signal::SIGKILL).unwrap();
        waitpid(pid, None).unwrap();
    }
}

/// Turns the caller into sleep(1).
pub fn become_sleep() -> Result<String> {
    let sleep = Path::new("/bin/sleep");
    nix::unistd::execve(
        &super::cstring(sleep.as_os_str().as_encoded_bytes())?,
        &[c"sleep", c"60"],
        &[c"A=b"],
    )
    .context("execve")?;
    Err(Error::new("execve returned"))
}

/// Loads a seccomp filter that allows everything, which still takes `no_new_privs` or CAP_SYS_ADMIN.
pub fn load_filter() -> Result<()> {
    let mut allow = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let program = libc::sock_fprog { len: 1, filter: &raw mut allow };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the program has the one instruction it says; both outlive the call.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, &raw const program) };
    super::check(ret, || "seccomp(SECCOMP_SET_MODE_FILTER)".to_owned()).map(drop)
}

/// Unlocks the pseudo-terminal of a master and tells its number.
pub fn unlock_pty(master: &File) -> u32 {
    let (unlocked, mut number) = (0_i32, 0_u32);
    // SAFETY: both requests take a pointer to an int, which outlives the call.
    let ret = unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked)
            | libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number)
    };
    assert_eq!(ret, 0);
    number
}

/// A directory that is gone with this value, also when the test fails.
#[derive(Debug)]
pub struct Dir(PathBuf);

impl Dir {
    /// Makes one whose name starts with `urun-` and `topic`.
    pub fn new(topic: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("urun-{topic}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl std::ops::Deref for Dir {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

//! Starting a program whose surroundings are exactly what the caller says: no shell, no search path, no environment
//! but the given one, no descriptor above 2, default signals, a session of its own.

use super::{
    check,
    clone::{self, Birth, Child},
    cstring, pidfd, show, signal,
};
use crate::error::{Context, Error, Result};
use libc::c_char;
use nix::fcntl::OFlag;
use std::{
    ffi::{CStr, CString},
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

/// Which file is executed.
#[derive(Clone, Copy, Debug)]
pub enum Executable<'a> {
    /// A path, passed to execve(2) as it is.
    Path(&'a CStr),
    /// A descriptor, O_PATH suffices. A script finds itself under `/proc/self/fd`.
    Open(BorrowedFd<'a>),
}

/// A program and its surroundings.
pub struct Spawn<'a> {
    /// The file.
    pub executable: Executable<'a>,
    /// Its arguments, argv[0] included.
    pub argv: &'a [CString],
    /// Its whole environment.
    pub env: &'a [CString],
    /// Its standard input, output and error; all of them above 2 in the caller.
    pub stdio: [BorrowedFd<'a>; 3],
    /// Its working directory, looked up after `before_exec`.
    pub cwd: Option<&'a CStr>,
    /// Runs in the new process first, to enter namespaces for instance.
    pub before_exec: Option<&'a dyn Fn() -> Result<()>>,
}

impl std::fmt::Debug for Spawn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Spawn");
        out.field("executable", &self.executable).field("argv", &self.argv).finish_non_exhaustive()
    }
}

/// A process that [`spawn`] started, the leader of its own session and process group.
#[derive(Debug)]
pub struct Spawned {
    process: Child,
    report: File,
}

/// The status of a child that could not execute its program; the report tells the reason.
const NOT_EXECUTED: i32 = 127;

/// Makes a process and executes. Whether the program could be executed shows in [`Spawned::wait`].
pub fn spawn(spawn: &Spawn<'_>) -> Result<Spawned> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe2(O_CLOEXEC)")?;
    // It comes with its descriptor: one opened afterwards could be refused, with the program at work already.
    let process = clone::spawn(&Birth::default(), || child(spawn, File::from(write)))?;
    Ok(Spawned { process, report: File::from(read) })
}

impl Spawned {
    /// Kills the process and its whole process group.
    pub fn kill(&self) -> Result<()> {
        // The process has not been reaped, so its number, and that of its group, cannot belong to anybody else.
        // SAFETY: takes no pointers.
        let ret = unsafe { libc::kill(-self.process.pid, libc::SIGKILL) };
        // There is no such group before the child has made it: hence the second signal, and hence no error here.
        if ret == -1 && nix::errno::Errno::last() != nix::errno::Errno::ESRCH {
            check(ret.into(), || format!("kill(-{}, SIGKILL)", self.process.pid))?;
        }
        pidfd::send_signal(self.process.as_fd(), libc::SIGKILL)
    }

    /// Waits for the end of the process and reaps it. A program that could not be executed is an error.
    pub fn wait(mut self) -> Result<pidfd::Exit> {
        // The report ends with the execve or with the process.
        let mut report = Vec::new();
        self.report.read_to_end(&mut report).context("read the report of a child")?;
        let exit = pidfd::wait(self.process.as_fd())?;
        if report.is_empty() { Ok(exit) } else { Err(Error::decode(&report)) }
    }
}

impl AsFd for Spawned {
    /// The pidfd, readable once the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

/// The new process: executes the program or reports why it cannot.
fn child(spawn: &Spawn<'_>, mut report: File) -> i32 {
    let Err(error) = execute(spawn);
    // A report that cannot be written has no reader left either.
    let _ = report.write_all(&error.encode());
    NOT_EXECUTED
}

fn execute(spawn: &Spawn<'_>) -> Result<std::convert::Infallible> {
    nix::unistd::setsid().context("setsid()")?;
    if let Some(before_exec) = spawn.before_exec {
        before_exec()?;
    }
    if let Some(cwd) = spawn.cwd {
        nix::unistd::chdir(cwd).with_context(|| format!("chdir({})", cwd.to_string_lossy()))?;
    }
    for (target, fd) in (0..).zip(spawn.stdio) {
        let source = fd.as_raw_fd();
        if source < 3 {
            crate::bail!("descriptor {source} cannot become descriptor {target}: it is a target itself");
        }
        // SAFETY: dup2 takes numbers only; 0, 1 and 2 have no owner in this process that could be surprised.
        check(unsafe { libc::dup2(source, target) }.into(), || format!("dup2({}, {target})", show(fd)))?;
    }
    close_from(3)?;
    signal::reset(signal::Set::ALL)?;
    signal::set_mask(signal::Set::EMPTY)?;
    let (argv, env) = (pointers(spawn.argv), pointers(spawn.env));
    match spawn.executable {
        Executable::Path(path) => exec(path, &argv, &env),
        Executable::Open(fd) => exec_open(fd, &argv, &env),
    }
}

/// Marks every descriptor from `first` on as close-on-exec.
fn close_from(first: u32) -> Result<()> {
    // SAFETY: takes no pointers and closes nothing now.
    let ret = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    check(ret, || format!("close_range({first}, ~0, CLOSE_RANGE_CLOEXEC)"))?;
    Ok(())
}

/// The NULL-terminated array that execve(2) wants, valid as long as `strings` is.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

fn exec(path: &CStr, argv: &[*const c_char], env: &[*const c_char]) -> Result<std::convert::Infallible> {
    // SAFETY: `path` is NUL-terminated, both arrays end in NULL and point to strings that the caller keeps.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    let errno = nix::errno::Errno::last_raw();
    Err(Error::syscall(format_args!("execve({})", path.to_string_lossy()), errno))
}

/// Executes a descriptor. A script's interpreter opens the script once more, so the descriptor must then survive the
/// execve; the kernel tells by ENOENT that it would not (execveat(2), BUGS).
fn exec_open(
    fd: BorrowedFd<'_>,
    argv: &[*const c_char],
    env: &[*const c_char],
) -> Result<std::convert::Infallible> {
    // SAFETY: the empty path is NUL-terminated, both arrays end in NULL and point to strings that the caller keeps.
    unsafe {
        let (argv, env) = (argv.as_ptr(), env.as_ptr());
        libc::syscall(libc::SYS_execveat, fd.as_raw_fd(), c"".as_ptr(), argv, env, libc::AT_EMPTY_PATH)
    };
    let errno = nix::errno::Errno::last_raw();
    if errno != libc::ENOENT {
        return Err(Error::syscall(format_args!("execveat({}, AT_EMPTY_PATH)", show(fd)), errno));
    }
    let file = show(fd);
    // SAFETY: takes no pointers.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) }.into(), || {
        format!("fcntl({file}, F_SETFD, 0)")
    })?;
    exec(&cstring(format!("/proc/self/fd/{}", fd.as_raw_fd()))?, argv, env).context(file)
}

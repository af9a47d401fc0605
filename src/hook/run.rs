//! Runs hooks one after the other.

use super::plan::{Program, Redirection};
use crate::{
    error::{Context, Error, Result},
    sys::{
        cstring,
        fd::until,
        pidfd::Exit,
        spawn::{Executable, Spawn, Spawned, spawn},
    },
};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, poll},
    sys::stat::Mode,
    unistd::pipe2,
};
use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    time::Instant,
};

/// How much of the end of a failed hook's output an error shows, in bytes.
const TAIL: usize = 4096;

/// The surroundings that all hooks of one kind share.
#[derive(Default)]
pub struct Setting<'a> {
    /// The working directory, the bundle for hooks in the runtime's namespaces; looked up after `before_exec`.
    pub cwd: Option<&'a Path>,
    /// Where standard output and standard error go. What is not redirected is kept for the error of a failed hook.
    pub redirection: Redirection,
    /// Runs in each hook's process before its program, to enter the container's namespaces.
    pub before_exec: Option<&'a dyn Fn() -> Result<()>>,
}

impl std::fmt::Debug for Setting<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Setting");
        out.field("cwd", &self.cwd).field("redirection", &self.redirection).finish_non_exhaustive()
    }
}

/// Opens the executables now, in the namespaces of the caller, for hooks that run in others (createContainer: "the path
/// resolves in the runtime namespace").
pub fn open_all(programs: &mut [Program]) -> Result<()> {
    for program in programs {
        let fd = nix::fcntl::open(program.path.as_c_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
        program.executable = Some(fd.with_context(|| name(program))?);
    }
    Ok(())
}

/// Runs hooks in order, each with `state` on its standard input, until one fails: one that cannot be executed, ends
/// with a status other than 0, by a signal, or not within its timeout. The caller ignores SIGPIPE, because a hook need not
/// read its input.
pub fn run_all(programs: &[Program], state: &[u8], setting: &Setting<'_>) -> Result<()> {
    programs.iter().try_for_each(|program| run(program, state, setting).with_context(|| name(program)))
}

/// As [`run_all`], but runs every hook and returns what failed, for poststop hooks: "the runtime MUST log a warning,
/// but the remaining hooks and lifecycle continue".
pub fn run_tolerant(programs: &[Program], state: &[u8], setting: &Setting<'_>) -> Vec<Error> {
    let run = |program| run(program, state, setting).with_context(|| name(program));
    programs.iter().filter_map(|program| run(program).err()).collect()
}

fn name(program: &Program) -> String {
    format!("run {} ({})", program.json_path, program.path.to_string_lossy())
}

fn run(program: &Program, state: &[u8], setting: &Setting<'_>) -> Result<()> {
    let deadline = program.timeout.map(|timeout| Instant::now() + timeout);
    let (stdin, state_end) = pipe2(OFlag::O_CLOEXEC).context("pipe2(O_CLOEXEC)")?;
    let (tail_end, output) = pipe2(OFlag::O_CLOEXEC).context("pipe2(O_CLOEXEC)")?;
    let stdout = setting.redirection.stdout.as_deref().map(append).transpose()?;
    let stderr = setting.redirection.stderr.as_deref().map(append).transpose()?;
    let cwd = setting.cwd.map(|cwd| cstring(cwd.as_os_str().as_bytes())).transpose()?;
    let mut talk = Talk::new(state, state_end, tail_end)?;
    let hook = spawn(&Spawn {
        executable: match &program.executable {
            Some(fd) => Executable::Open(fd.as_fd()),
            None => Executable::Path(&program.path),
        },
        argv: &program.argv,
        env: &program.env,
        stdio: [
            stdin.as_fd(),
            stdout.as_ref().unwrap_or(&output).as_fd(),
            stderr.as_ref().unwrap_or(&output).as_fd(),
        ],
        cwd: cwd.as_deref(),
        before_exec: setting.before_exec,
    })?;
    drop((stdin, output));
    let in_time = talk.until_exit(hook.as_fd(), deadline);
    finish(hook, in_time, program, &talk.tail())
}

/// Reaps the hook, kills it before where it has to go, and judges.
fn finish(hook: Spawned, in_time: Result<bool>, program: &Program, tail: &str) -> Result<()> {
    if !matches!(in_time, Ok(true)) {
        hook.kill()?;
    }
    let exit = hook.wait()?;
    let failure = match (in_time?, exit) {
        (true, Exit::Code(0)) => return Ok(()),
        (true, Exit::Code(code)) => format!("exit status {code}"),
        (true, Exit::Signal(_)) => format!("killed by {exit}"),
        (false, _) => format!("killed after its timeout of {:?}", program.timeout.unwrap_or_default()),
    };
    Err(if tail.is_empty() { Error::new(failure) } else { Error::new(tail).context(failure) })
}

fn append(path: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::from_bits_truncate(0o600))
        .with_context(|| format!("open {} for the output of hooks", path.display()))
}

/// The conversation with a running hook: the state goes in, the end of the output is kept.
struct Talk<'a> {
    state: &'a [u8],
    stdin: Option<File>,
    output: Option<File>,
    tail: Vec<u8>,
}

impl<'a> Talk<'a> {
    fn new(state: &'a [u8], stdin: OwnedFd, output: OwnedFd) -> Result<Self> {
        for fd in [&stdin, &output] {
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("fcntl(F_SETFL, O_NONBLOCK)")?;
        }
        Ok(Self { state, stdin: Some(stdin.into()), output: Some(output.into()), tail: Vec::new() })
    }

    /// Goes on until the hook has ended (true) or the time is over (false). Descendants that hold the output open are
    /// not waited for.
    fn until_exit(&mut self, pidfd: BorrowedFd<'_>, deadline: Option<Instant>) -> Result<bool> {
        loop {
            let [ended, writable, readable] = self.ready(pidfd, deadline)?;
            if writable {
                self.write()?;
            }
            if readable {
                self.read()?;
            }
            if ended {
                return Ok(true);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(false);
            }
        }
    }

    fn ready(&self, pidfd: BorrowedFd<'_>, deadline: Option<Instant>) -> Result<[bool; 3]> {
        let mut fds = vec![PollFd::new(pidfd, PollFlags::POLLIN)];
        fds.extend(self.stdin.iter().map(|f| PollFd::new(f.as_fd(), PollFlags::POLLOUT)));
        fds.extend(self.output.iter().map(|f| PollFd::new(f.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, until(deadline)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::from(errno).context("poll a hook")),
        }
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
        let mut next = |present| present && ready.next().unwrap_or(false);
        Ok([next(true), next(self.stdin.is_some()), next(self.output.is_some())])
    }

    fn write(&mut self) -> Result<()> {
        let Some(stdin) = &mut self.stdin else { return Ok(()) };
        match stdin.write(self.state) {
            Ok(count) => self.state = &self.state[count..],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // The hook does not want to know.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.state = &[],
            Err(error) => return Err(Error::from(error).context("write the state to the hook")),
        }
        if self.state.is_empty() {
            self.stdin = None;
        }
        Ok(())
    }

    /// Takes what the pipe holds, at most one pipe full, so that a chatty hook cannot hold off its deadline.
    fn read(&mut self) -> Result<()> {
        let Some(output) = &mut self.output else { return Ok(()) };
        let mut chunk = vec![0; 65536];
        match output.read(&mut chunk) {
            Ok(0) => self.output = None,
            Ok(count) => {
                self.tail.extend_from_slice(&chunk[..count]);
                let excess = self.tail.len().saturating_sub(TAIL);
                self.tail.drain(..excess);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(Error::from(error).context("read the output of the hook")),
        }
        Ok(())
    }

    /// The end of the output on one line, without what a terminal would obey.
    fn tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.join("; ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

#[cfg(test)]
mod tests;

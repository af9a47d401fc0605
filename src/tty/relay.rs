//! Copies between the caller's terminal, or what else its standard input and output are, and the container's. Each
//! direction holds at most one buffer and reads no more before that is written.

use super::raw::Raw;
use crate::{
    error::{Context, Error, Result},
    sys::tty::{self, Size},
};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags},
    sys::termios::{LocalFlags, SpecialCharacterIndices, tcgetattr},
    unistd::{read, write},
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What a ready pipe takes without blocking, PIPE_BUF. The caller's descriptors stay in blocking mode, because other
/// processes share it.
const CHUNK: usize = 4096;

/// The relay of one container's terminal.
#[derive(Debug)]
pub struct Relay<'a> {
    master: OwnedFd,
    /// Held open, so that the master never reports a hang-up while the container has its end closed for a moment.
    _slave: OwnedFd,
    stdin: Option<BorrowedFd<'a>>,
    stdout: BorrowedFd<'a>,
    input: Buffer,
    output: Buffer,
    ends_line: bool,
    _raw: Option<Raw>,
}

/// Bytes on their way.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    done: usize,
}

impl Buffer {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.done..]
    }

    fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    fn fill(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.done = 0;
    }
}

impl<'a> Relay<'a> {
    /// Puts `stdin` into raw mode if it is a terminal and gives the container's terminal the caller's size.
    pub fn new(master: OwnedFd, stdin: BorrowedFd<'a>, stdout: BorrowedFd<'a>) -> Result<Self> {
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("fcntl(F_SETFL, O_NONBLOCK)")?;
        let slave = tty::peer(master.as_fd())?;
        let raw = Raw::enter(stdin)?;
        let (input, output) = (Buffer::default(), Buffer::default());
        let stdin = Some(stdin);
        let relay = Self { master, _slave: slave, stdin, stdout, input, output, ends_line: true, _raw: raw };
        relay.resize()?;
        Ok(relay)
    }

    /// Gives the container's terminal the size of the caller's, if the caller has one.
    pub fn resize(&self) -> Result<()> {
        let mut terminals = self.stdin.into_iter().chain([self.stdout]);
        match terminals.find_map(|terminal| tty::size(terminal).ok()) {
            Some(size) if size != (Size { rows: 0, columns: 0 }) => tty::set_size(self.master.as_fd(), size),
            _ => Ok(()),
        }
    }

    /// What to wait for, for [`Relay::step`].
    pub fn interests(&self) -> [Option<PollFd<'_>>; 3] {
        let stdin = self.stdin.filter(|_| self.input.is_empty());
        let stdout = (!self.output.is_empty()).then_some(self.stdout);
        let mut master = PollFlags::empty();
        master.set(PollFlags::POLLIN, self.output.is_empty());
        master.set(PollFlags::POLLOUT, !self.input.is_empty());
        [
            stdin.map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
            stdout.map(|fd| PollFd::new(fd, PollFlags::POLLOUT)),
            (!master.is_empty()).then(|| PollFd::new(self.master.as_fd(), master)),
        ]
    }

    /// Does what is possible now that the descriptors of [`Relay::interests`] are ready (true) or not, in its order.
    pub fn step(&mut self, [stdin, stdout, master]: [bool; 3]) -> Result<()> {
        if stdin {
            self.read_stdin()?;
        }
        if master || !self.input.is_empty() {
            self.write_master()?;
        }
        if stdout {
            self.write_stdout()?;
        }
        if master && self.output.is_empty() {
            self.read_master()?;
        }
        Ok(())
    }

    /// Whether the container's terminal holds output that has not been written yet; reads it in if so. Called after
    /// the container's end, until it says no.
    pub fn has_output(&mut self) -> Result<bool> {
        self.stdin = None;
        if self.output.is_empty() {
            self.read_master()?;
        }
        Ok(!self.output.is_empty())
    }

    fn read_stdin(&mut self) -> Result<()> {
        let Some(stdin) = self.stdin else { return Ok(()) };
        let mut chunk = [0; CHUNK];
        match read(stdin, &mut chunk) {
            // EIO: the terminal has gone, or belongs to another job for good.
            Ok(0) | Err(Errno::EIO) => {
                self.stdin = None;
                self.end_of_input()
            }
            Ok(count) => {
                self.ends_line = chunk[count - 1] == b'\n';
                self.input.fill(&chunk[..count]);
                Ok(())
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::from(errno).context("read standard input")),
        }
    }

    /// The end of a file is typed on a terminal; in the middle of a line it takes two strokes, the first of which only
    /// sends the line. A terminal in raw mode has no such key.
    fn end_of_input(&mut self) -> Result<()> {
        let modes = tcgetattr(&self.master).context("read the modes of the container's terminal")?;
        let key = modes.control_chars[SpecialCharacterIndices::VEOF as usize];
        if modes.local_flags.contains(LocalFlags::ICANON) && key != libc::_POSIX_VDISABLE {
            self.input.fill(&[key, key][usize::from(self.ends_line)..]);
        }
        Ok(())
    }

    fn write_master(&mut self) -> Result<()> {
        if self.input.is_empty() {
            return Ok(());
        }
        match write(&self.master, self.input.rest()) {
            Ok(count) => self.input.done += count,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(Error::from(errno).context("write to the container's terminal")),
        }
        Ok(())
    }

    fn read_master(&mut self) -> Result<()> {
        let mut chunk = [0; CHUNK];
        match read(&self.master, &mut chunk) {
            Ok(count) => self.output.fill(&chunk[..count]),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(Error::from(errno).context("read the container's terminal")),
        }
        Ok(())
    }

    fn write_stdout(&mut self) -> Result<()> {
        match write(self.stdout, self.output.rest()) {
            Ok(count) => self.output.done += count,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(Error::from(errno).context("write standard output")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

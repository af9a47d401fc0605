//! Terminals: the engine's end of `--console-socket`, and a terminal for the runtime itself.

use super::scratch::deadline;
use nix::errno::Errno;
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A listening socket that waits for the master of a terminal.
#[derive(Debug)]
pub struct ConsoleSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ConsoleSocket {
    /// Listens on `path`, which `owner` may connect to.
    pub fn listen(path: &Path, owner: (u32, u32)) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        std::os::unix::fs::chown(path, Some(owner.0), Some(owner.1)).unwrap();
        Self { listener, path: path.to_owned() }
    }

    /// The path for `--console-socket`.
    pub fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Has anybody connected?
    pub fn was_called(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        self.listener.accept().is_ok()
    }

    /// Accepts one connection and returns its payload and its one file descriptor.
    #[track_caller]
    pub fn accept(&self) -> (Vec<u8>, OwnedFd) {
        self.listener.set_nonblocking(true).unwrap();
        let deadline = deadline(10);
        let stream = loop {
            match self.listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "no one connected: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        stream.set_nonblocking(false).unwrap();
        let (payload, mut fds) = receive_fd(&stream);
        assert_eq!(fds.len(), 1, "exactly one descriptor crosses");
        (payload, fds.remove(0))
    }
}

/// One message with its descriptors.
pub fn receive_fd(stream: &impl AsFd) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut bytes = [0_u8; 8192];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 8]);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let raw = stream.as_fd().as_raw_fd();
    let message = loop {
        match recvmsg::<()>(raw, &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            // Another test's signal; where a socket has a timeout, SA_RESTART does not help (signal(7)).
            Err(Errno::EINTR) => {}
            result => break result.unwrap(),
        }
    };
    let mut fds = Vec::new();
    for control in message.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(list) = control {
            // SAFETY: the kernel just gave these descriptors to this process, and nothing else owns them.
            fds.extend(list.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    let length = message.bytes;
    (bytes[..length].to_vec(), fds)
}

/// A pseudo terminal whose slave becomes the runtime's standard input, output and error.
#[derive(Debug)]
pub struct Pty {
    /// The user's side.
    pub master: File,
    /// The runtime's side.
    pub slave: OwnedFd,
}

impl Pty {
    /// A terminal of `rows` × `columns`.
    pub fn new(rows: u16, columns: u16) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        Self { master: master.into(), slave }
    }

    /// Runs a command with the terminal on its three descriptors and `typed` as what the user types; its exit code and what it wrote.
    pub fn run(self, mut command: Command, typed: &str) -> (i32, String) {
        let Self { mut master, slave } = self;
        let other = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(other()).stdout(other()).stderr(other());
        let mut child = command.spawn().unwrap();
        drop((slave, command));
        master.write_all(typed.as_bytes()).unwrap();
        let mut output = Vec::new();
        // The terminal's end is an error (EIO): nobody holds the other side any more.
        let _ = master.read_to_end(&mut output);
        (child.wait().unwrap().code().unwrap(), String::from_utf8_lossy(&output).into_owned())
    }

    /// Reads from the master until `text` has come, or fails the test after ten seconds.
    #[track_caller]
    pub fn read_until(&mut self, text: &str) -> String {
        read_until(&mut self.master, text)
    }
}

/// Reads from the master of a terminal until `text` has come, or fails the test after ten seconds.
#[track_caller]
pub fn read_until(master: &mut File, text: &str) -> String {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let deadline = deadline(10);
    let mut seen = String::new();
    while !seen.contains(text) {
        assert!(Instant::now() < deadline, "waited in vain for {text:?}; saw {seen:?}");
        let mut waiting = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waiting, PollTimeout::from(100_u8)).unwrap() == 0 {
            continue;
        }
        let mut bytes = [0_u8; 1024];
        match master.read(&mut bytes) {
            Ok(count) => seen.push_str(&String::from_utf8_lossy(&bytes[..count])),
            Err(error) => panic!("terminal closed before {text:?}: {error}; saw {seen:?}"),
        }
    }
    seen
}

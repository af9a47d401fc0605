//! `SCMP_ACT_NOTIFY`, the runtime's side: fetch the listener from the filtered process, hand it to the agent.
//!
//! The filtered process takes no part, because every system call it would make may be one that waits for the agent.

use crate::{
    bail,
    error::{Context, Result},
    sys::{self, proc::Proc},
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        socket::{
            AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg,
            setsockopt, socket, sockopt::SendTimeout,
        },
        time::{TimeSpec, TimeVal},
    },
};
use std::{
    io::IoSlice,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::Path,
    time::Instant,
};

/// The name of the descriptor in `ContainerProcessState` (OCI config-linux.md, "seccomp").
const FD_NAME: &str = "seccompFd";

/// What the kernel calls a listener in /proc/PID/fd.
const LISTENER: &str = "anon_inode:seccomp notify";

/// Between two looks at the process.
const PAUSE: TimeSpec = TimeSpec::new(0, 100_000);

/// `ContainerProcessState`: what an agent learns about the process.
///
/// `state` is the container's state as the `state` command prints it; `pid` is the process in the runtime's pid
/// namespace, which differs from the state's for `exec`.
pub fn state_document(pid: i32, metadata: Option<&str>, state: &serde_json::Value) -> Vec<u8> {
    let mut document = serde_json::json!({
        "ociVersion": state["ociVersion"],
        "fds": [FD_NAME],
        "pid": pid,
        "state": state,
    });
    if let Some(metadata) = metadata {
        document["metadata"] = metadata.into();
    }
    document.to_string().into_bytes()
}

/// Takes the listener out of the process behind `pidfd`, where it appears as descriptor `number` once the filter is
/// loaded. Waits for that until `deadline`.
///
/// # Errors
/// The process ended, the deadline passed, or the caller may not ptrace the process.
pub fn fetch(pidfd: BorrowedFd<'_>, number: RawFd, deadline: Instant) -> Result<OwnedFd> {
    let proc = Proc::open()?;
    loop {
        match sys::pidfd::getfd(pidfd, number) {
            Ok(fd) if is_listener(&proc, fd.as_fd())? => return Ok(fd),
            Ok(_) => {}
            Err(error) if matches!(error.errno(), Some(libc::EBADF | libc::ESRCH)) => {}
            Err(error) => {
                return Err(error.context("fetch the seccomp listener"))
                    .hint("pidfd_getfd(2) needs CAP_SYS_PTRACE in the user namespace of the process");
            }
        }
        // The kernel has no event for "a descriptor appeared", only one for "the process ended".
        let mut ended = [PollFd::new(pidfd, PollFlags::POLLIN)];
        let count = match ppoll(&mut ended, Some(PAUSE), None) {
            Err(Errno::EINTR) => 0,
            other => other.context("poll the filtered process")?,
        };
        if count > 0 {
            bail!("fetch the seccomp listener: the process ended before its filter was loaded");
        }
        if Instant::now() >= deadline {
            bail!("fetch the seccomp listener: the process has not loaded its filter in time");
        }
    }
}

fn is_listener(proc: &Proc, fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(proc.descriptor(fd)? == Path::new(LISTENER))
}

/// How long the agent may take to accept the connection and the message.
const AGENT_PATIENCE: TimeVal = TimeVal::new(10, 0);

/// Sends the state document and the listener to the agent at `path`, in one message on a connection of its own.
///
/// # Errors
/// The agent is not there, or does not accept or read within ten seconds.
pub fn hand_over(path: &Path, state: &[u8], listener: BorrowedFd<'_>) -> Result<()> {
    send(path, state, listener)
        .with_context(|| format!("hand the seccomp listener to {}", path.display()))
        .hint("start the seccomp agent that listens on linux.seccomp.listenerPath")
}

fn send(path: &Path, state: &[u8], listener: BorrowedFd<'_>) -> Result<()> {
    let socket =
        socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).context("socket")?;
    // Holds for connect(2) as well, which waits while the agent's queue is full.
    setsockopt(&socket, SendTimeout, &AGENT_PATIENCE).context("set SO_SNDTIMEO")?;
    let address = UnixAddr::new(path).context("the path of the socket")?;
    connect(socket.as_raw_fd(), &address).context("connect")?;
    let (text, fds) = ([IoSlice::new(state)], [listener.as_raw_fd()]);
    let rights = [ControlMessage::ScmRights(&fds)];
    let sent = sendmsg::<UnixAddr>(socket.as_raw_fd(), &text, &rights, MsgFlags::MSG_NOSIGNAL, None);
    let sent = sent.context("sendmsg")?;
    if sent < state.len() {
        bail!("sendmsg: the agent took {sent} of {} bytes", state.len());
    }
    Ok(())
}

//! `SCMP_ACT_NOTIFY`, the runtime's side: fetch the listener from the filtered process, hand it to the agent.
//!
//! The filtered process takes no part, because every system call it would make may be one that waits for the agent.

use crate::{
    bail,
    error::{Context, Error, Result},
    sys,
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout},
    sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg},
};
use std::{
    io::IoSlice,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Instant,
};

/// The name of the descriptor in `ContainerProcessState` (OCI config-linux.md, "seccomp").
const FD_NAME: &str = "seccompFd";

/// What the kernel calls a listener in /proc/PID/fd.
const LISTENER: &str = "anon_inode:seccomp notify";

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
    loop {
        match sys::seccomp::pidfd_getfd(pidfd, number) {
            Ok(fd) if is_listener(fd.as_fd())? => return Ok(fd),
            Ok(_) => {}
            Err(error) if error.errno() == Some(libc::EBADF) => {}
            Err(error) => return Err(error.context("fetch the seccomp listener")),
        }
        // The kernel has no event for "a descriptor appeared"; a millisecond is its shortest wait for "or it ended".
        let mut ended = [PollFd::new(pidfd, PollFlags::POLLIN)];
        let count =
            nix::poll::poll(&mut ended, PollTimeout::from(1u8)).context("poll the filtered process")?;
        if count > 0 {
            bail!("fetch the seccomp listener: the process ended before its filter was loaded");
        }
        if Instant::now() >= deadline {
            bail!("fetch the seccomp listener: the process has not loaded its filter in time");
        }
    }
}

fn is_listener(fd: BorrowedFd<'_>) -> Result<bool> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let target = std::fs::read_link(&link).with_context(|| format!("readlink {link}"))?;
    Ok(target == Path::new(LISTENER))
}

/// Sends the state document and the listener to the agent at `path`, in one message on a connection of its own.
pub fn hand_over(path: &Path, state: &[u8], listener: BorrowedFd<'_>) -> Result<()> {
    let step = || format!("hand the seccomp listener to {}", path.display());
    let socket = UnixStream::connect(path)
        .with_context(step)
        .hint("start the seccomp agent that listens on linux.seccomp.listenerPath")?;
    let fds = [listener.as_raw_fd()];
    let sent = sendmsg::<UnixAddr>(
        socket.as_raw_fd(),
        &[IoSlice::new(state)],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    );
    let sent = sent.with_context(step)?;
    if sent < state.len() {
        // The descriptor went with the first bytes; the rest follows on the same stream.
        std::io::Write::write_all(&mut &socket, &state[sent..]).map_err(Error::from).with_context(step)?;
    }
    Ok(())
}

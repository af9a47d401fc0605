//! What `create`, `run` and `exec` have in common on the caller's side of a process.

use crate::{
    bail,
    error::{Context, Result},
    ns::plan::Maps,
    plan::Descriptors,
    spec::{Config, NamespaceKind},
    sys::{fd, proc::Proc, seal, tty},
    tty::console,
};
use nix::unistd::geteuid;
use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// What the process keeps of the caller's descriptors; all others are closed by its execve(2). systemd's socket
/// activation counts when it is meant for this process, sd_listen_fds(3); conmon says so, Podman names nobody.
pub fn descriptors(preserve_fds: u32) -> Result<Descriptors> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let meant = number("LISTEN_PID").is_none_or(|pid| pid == std::process::id());
    let listen = if meant { number("LISTEN_FDS").unwrap_or(0) } else { 0 };
    let limit = |count: u32| i32::try_from(count).ok().filter(|&count| count < 1 << 20);
    let (Some(listened), Some(kept)) = (limit(listen), listen.checked_add(preserve_fds).and_then(limit))
    else {
        bail!("preserve {preserve_fds} and {listen} file descriptors: too many");
    };
    fd::close_on_exec_from(3 + kept.cast_unsigned()).context("keep the caller's descriptors to urun")?;
    Ok(Descriptors { kept, listen: listened })
}

/// CVE-2019-5736: a container that has an id which may write the program's file must not get to see that file. Without
/// `maps` it has the caller's ids or unknown ones.
pub fn protect_if_exposed(maps: Option<&Maps>, proc: &Proc) -> Result<()> {
    let program = seal::Program::own(proc)?;
    let stat = program.stat()?;
    if maps.is_some_and(|maps| !maps.holds_uid(stat.st_uid) && stat.st_mode & 0o022 == 0) {
        return Ok(());
    }
    let image = program.open()?;
    if !image.is_protected()? {
        image.run_protected()?;
    }
    Ok(())
}

/// What [`protect_if_exposed`] is sure to do later where root makes a container without a user namespace: what the program has
/// done until then it does again.
pub fn protect_early(config: &Config, proc: &Proc) -> Result<()> {
    if config.linux.namespace(NamespaceKind::User).is_none() && geteuid().is_root() {
        protect_if_exposed(None, proc)?;
    }
    Ok(())
}

/// Hands the master of a new terminal to whoever listens at the console socket; without one it is for the caller to
/// relay, and has the size of the caller's terminal. `size` is that of the configuration: rows and columns.
pub fn deliver(
    master: OwnedFd,
    console_socket: Option<&Path>,
    size: Option<(u16, u16)>,
) -> Result<Option<OwnedFd>> {
    // Before the program can ask: its first look at the size has to be right already.
    let callers = if console_socket.is_none() { caller_size() } else { None };
    if let Some(size) = callers.or(size.map(|(rows, columns)| tty::Size { rows, columns })) {
        tty::set_size(master.as_fd(), size)?;
    }
    let Some(socket) = console_socket else { return Ok(Some(master)) };
    let name = format!("/dev/pts/{}", tty::number(master.as_fd())?);
    console::hand_over(socket, master.as_fd(), &name)?;
    Ok(None)
}

/// The size of the terminal that the caller sits at; none where that is no terminal or has no size.
fn caller_size() -> Option<tty::Size> {
    let [stdin, ..] = fd::standard();
    let size = tty::size(stdin).ok()?;
    (size.rows > 0 && size.columns > 0).then_some(size)
}

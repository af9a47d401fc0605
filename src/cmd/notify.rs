//! The readiness of a container for a service manager: sd_notify(3) across the container's border.
//!
//! A caller that was given `NOTIFY_SOCKET` gives one to the container, `/run/notify/notify.sock`, as runc does. Whoever starts
//! the container listens there, and when the payload says that it is ready, tells the service manager so, with the
//! payload's pid. Engines take the variable out of the runtime's environment and do this themselves.

use crate::{
    bail,
    error::{Context, Error, Result},
    spec::{Config, Mount, MountKind, mount::Attrs},
    state::Entry,
    sys::{clone::Child, pidfd, socket},
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::stat::{Mode, fchmod, umask},
    unistd::{UnlinkatFlags, unlinkat},
};
use std::{
    ffi::OsString,
    os::{
        fd::{AsFd, BorrowedFd},
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::Path,
};

/// The environment variable of sd_notify(3).
const VARIABLE: &str = "NOTIFY_SOCKET";
/// The directory in the container's state that the container sees.
pub const DIRECTORY: &str = "notify";
/// Where it sees it.
const PLACE: &str = "/run/notify";
/// The socket in it.
const SOCKET: &str = "notify.sock";
/// How long the service manager may take to read what was sent, milliseconds.
const BARRIER: u16 = 5000;

/// Whether the caller wants to hear when the container is ready. A container that has a socket of its own says so to that one.
pub fn is_wanted(config: &Config) -> bool {
    let has_own = |env: &[String]| env.iter().any(|entry| entry.starts_with("NOTIFY_SOCKET="));
    variable().is_some() && config.process.as_ref().is_some_and(|process| !has_own(&process.env))
}

fn variable() -> Option<OsString> {
    std::env::var_os(VARIABLE).filter(|value| !value.is_empty())
}

/// `config` with the mount of `directory` and the variable.
pub fn announced(config: &Config, directory: &Path) -> Config {
    let mut config = config.clone();
    // The payload may talk to the socket and put nothing beside it.
    let attrs =
        libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    let directory = MountKind::Bind { source: directory.to_owned(), recursive: false };
    let mount = Mount::plain(config.mounts.len(), PLACE, directory);
    config.mounts.push(Mount { attrs: Attrs { set: attrs, clear: 0 }, ..mount });
    if let Some(process) = &mut config.process {
        process.env.push(format!("{VARIABLE}={PLACE}/{SOCKET}"));
    }
    config
}

/// The socket that the container talks to, and the way to the service manager.
#[derive(Debug)]
pub struct Proxy {
    container: UnixDatagram,
    manager: UnixDatagram,
}

impl Proxy {
    /// Listens for the container; none where the caller has no service manager or the container no directory.
    pub fn listen(entry: &Entry) -> Result<Option<Self>> {
        let Some(variable) = variable() else { return Ok(None) };
        let Some(directory) = entry.open_directory(DIRECTORY)? else { return Ok(None) };
        let manager = manager(&variable)?;
        let container = UnixDatagram::unbound().context("make a socket for the container")?;
        match unlinkat(&directory, SOCKET, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno).with_context(|| format!("unlink an old {SOCKET}")),
        }
        // Linux gives the file the mode of the unbound socket: everybody in the container may talk to it.
        let all = Mode::from_bits_truncate(0o666);
        fchmod(&container, all).context("fchmod the container's socket")?;
        let mask = umask(Mode::empty());
        let bound = socket::bind_datagram(container.as_fd(), directory.as_fd(), SOCKET);
        umask(mask);
        bound?;
        Ok(Some(Self { container, manager }))
    }

    /// Takes one message of the container, and where that says that it is ready, tells the service manager. Whether it did.
    pub fn pass(&self, pid: i32) -> Result<bool> {
        let mut bytes = [0; 4096];
        let length = self.container.recv(&mut bytes).context("hear the container")?;
        let ready = bytes[..length].split(|byte| *byte == b'\n').find(|line| line.starts_with(b"READY="));
        let Some(ready) = ready else { return Ok(false) };
        let step = "tell the service manager that the container is ready";
        self.manager.send(ready).context(step)?;
        self.manager.send(format!("MAINPID={pid}").as_bytes()).context(step)?;
        Ok(true)
    }

    /// Waits until the container is ready or has ended, and then until the service manager has read so: it has to find the
    /// sender alive, systemd.service(5) "NotifyAccess=".
    pub fn wait(&self, init: &Child) -> Result<()> {
        loop {
            let interest = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut fds = [interest(self.as_fd()), interest(init.as_fd())];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("wait until the container is ready"),
            }
            let [spoke, _] = fds.map(|fd| fd.any().unwrap_or(false));
            if spoke && self.pass(init.pid)? {
                return self.barrier();
            }
            if !spoke && pidfd::exited(init.as_fd())? {
                return Ok(());
            }
        }
    }

    /// sd_notify_barrier(3): the service manager closes the descriptor when it has read everything before.
    fn barrier(&self) -> Result<()> {
        let (read, write) = std::io::pipe().context("make a pipe")?;
        socket::send(self.manager.as_fd(), b"BARRIER=1", &[write.as_fd()])?;
        drop(write);
        let mut fds = [PollFd::new(read.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(BARRIER)) {
            // A manager that is slow has been told all the same.
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno).context("wait for the service manager"),
        }
    }
}

impl AsFd for Proxy {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.container.as_fd()
    }
}

/// A socket that talks to the service manager: at a path, or under an abstract name behind `@`.
fn manager(address: &OsString) -> Result<UnixDatagram> {
    let socket = UnixDatagram::unbound().context("make a socket for the service manager")?;
    let bytes = address.as_bytes();
    let connected = match bytes.first() {
        Some(b'@') => SocketAddr::from_abstract_name(&bytes[1..])
            .and_then(|name| socket.connect_addr(&name))
            .map_err(Error::from),
        Some(b'/') => socket::connect_socket(socket.as_fd(), Path::new(address)),
        _ => {
            bail!("{VARIABLE} is {}: only a path or an abstract name can be reached", address.display())
        }
    };
    connected.with_context(|| format!("connect to {VARIABLE} {}", address.display()))?;
    Ok(socket)
}

//! Local sockets that carry descriptors: unix(7), the SCM_RIGHTS part, with every way of losing a descriptor made an
//! error. Paths may be longer than `sun_path` (108 bytes): they are then reached through a descriptor in
//! `/proc/self/fd`.

use super::{check, check_fd, show};
use crate::error::{Context, Error, Result};
use libc::{c_int, c_void, cmsghdr, iovec, msghdr, sockaddr_un};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::{
        socket::{setsockopt, sockopt},
        stat::Mode,
        time::{TimeVal, TimeValLike},
    },
};
use std::{
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

/// The most descriptors one message can carry, `SCM_MAX_FD` in the kernel.
pub const MAX_FDS: usize = 253;

/// `CMSG_SPACE` of [`MAX_FDS`] descriptors in words of 8 bytes, the alignment of a control header.
const CONTROL_WORDS: usize = (size_of::<cmsghdr>() + MAX_FDS * size_of::<c_int>()).div_ceil(8);

/// What one receive brought.
#[derive(Debug)]
pub struct Message {
    /// The payload, at least one byte.
    pub bytes: Vec<u8>,
    /// The descriptors that came with it, close-on-exec, in the sender's order.
    pub fds: Vec<OwnedFd>,
}

/// Two connected SOCK_SEQPACKET sockets, both close-on-exec: messages keep their bounds, and the end of the peer is
/// seen as the end of file.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds: [c_int; 2] = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `fds` has room for the two descriptors that the call writes.
    let ret = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) };
    check(ret.into(), || "socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC)".to_owned())?;
    // SAFETY: the kernel has just handed both descriptors to us and nobody else has seen them.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Sends one message with its descriptors, never raising SIGPIPE; a vanished peer is EPIPE. On a stream socket the
/// bytes are all sent, the descriptors with the first of them. An empty message is an error: its receiver could not
/// tell it from the end of file. A SOCK_SEQPACKET message must fit into the send buffer (`net.core.wmem_default`,
/// usually 208 KiB), or the call fails with EMSGSIZE.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    if bytes.is_empty() || fds.len() > MAX_FDS {
        crate::bail!(
            "sendmsg({}): {} bytes and {} descriptors are no message",
            show(socket),
            bytes.len(),
            fds.len()
        );
    }
    let mut sent = send_once(socket, bytes, fds)?;
    while sent < bytes.len() {
        sent += send_once(socket, &bytes[sent..], &[])?;
    }
    Ok(())
}

#[allow(clippy::cast_possible_truncation)] // at most 253 descriptors of 4 bytes
fn send_once(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize> {
    let mut iov = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = [0u64; CONTROL_WORDS];
    let mut header = header(&mut iov, &mut control);
    let size = size_of_val(fds) as u32;
    if fds.is_empty() {
        header.msg_control = std::ptr::null_mut();
        header.msg_controllen = 0;
    } else {
        // SAFETY: `control` is aligned for a cmsghdr and holds CMSG_SPACE(MAX_FDS descriptors), which the caller has
        // checked to be enough; a BorrowedFd has the layout of the int it wraps.
        unsafe {
            header.msg_controllen = libc::CMSG_SPACE(size) as _;
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(size) as _;
            let data = libc::CMSG_DATA(first);
            std::ptr::copy_nonoverlapping(fds.as_ptr().cast::<u8>(), data, size as usize);
        }
    }
    retry(
        // SAFETY: `header` points to `iov` and `control`, both alive, and sendmsg only reads what they point to.
        || unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) },
        || format!("sendmsg({}, {} bytes, {} descriptors)", show(socket), bytes.len(), fds.len()),
    )
}

/// Receives one message of at most `capacity` bytes, or as much as a stream socket has at hand; `None` is the end of
/// file. A message that is longer, and descriptors that could not all be delivered (the peer sent too many, or this
/// process may open no more), are errors; what did arrive of them is closed.
pub fn receive(socket: BorrowedFd<'_>, capacity: usize) -> Result<Option<Message>> {
    // Not zeroed: the room is a hundred times what most messages need, and every page touched costs a fault.
    let mut bytes: Vec<u8> = Vec::with_capacity(capacity.max(1));
    let mut iov = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.capacity() };
    let mut control = [0u64; CONTROL_WORDS];
    let mut header = header(&mut iov, &mut control);
    let length = retry(
        // SAFETY: `header` points to `iov` and `control`, both alive and writable for the lengths it tells.
        || unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) },
        || format!("recvmsg({}, {capacity} bytes)", show(socket)),
    )?;
    let fds = descriptors(&header);
    if header.msg_flags & libc::MSG_TRUNC != 0 {
        crate::bail!("recvmsg({}): the message is longer than {capacity} bytes", show(socket));
    }
    if header.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(Error::new(format_args!(
            "recvmsg({}): only {} of the descriptors that were sent arrived",
            show(socket),
            fds.len()
        ))
        .hint("the limit on open files (RLIMIT_NOFILE) is the usual cause"));
    }
    // SAFETY: recvmsg has written so many bytes, which is at most what there is room for.
    unsafe { bytes.set_len(length) };
    Ok((length > 0).then_some(Message { bytes, fds }))
}

fn header(iov: &mut iovec, control: &mut [u64; CONTROL_WORDS]) -> msghdr {
    // SAFETY: msghdr is plain data for which all zeroes is valid.
    let mut header: msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = iov;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast::<c_void>();
    header.msg_controllen = size_of_val(control) as _;
    header
}

/// Takes ownership of every descriptor in a received header, so that none can leak.
fn descriptors(header: &msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: recvmsg has filled the header and the control buffer it points to, so the CMSG walk stays inside it, and
    // each descriptor in an SCM_RIGHTS part is ours alone.
    unsafe {
        let mut part = libc::CMSG_FIRSTHDR(header);
        while let Some(cmsg) = part.as_ref() {
            if cmsg.cmsg_level == libc::SOL_SOCKET && cmsg.cmsg_type == libc::SCM_RIGHTS {
                let size = cmsg.cmsg_len - libc::CMSG_LEN(0) as usize;
                let data = std::slice::from_raw_parts(libc::CMSG_DATA(cmsg), size);
                let (numbers, _) = data.as_chunks::<{ size_of::<c_int>() }>();
                fds.extend(numbers.iter().map(|fd| OwnedFd::from_raw_fd(c_int::from_ne_bytes(*fd))));
            }
            part = libc::CMSG_NXTHDR(header, part);
        }
    }
    fds
}

/// Runs a call again for as long as a signal interrupts it.
#[allow(clippy::cast_possible_truncation)] // ssize_t, ptrdiff_t and long have one size on Linux
pub(super) fn retry(mut call: impl FnMut() -> isize, text: impl FnOnce() -> String) -> Result<usize> {
    loop {
        let ret = call();
        if ret != -1 || Errno::last() != Errno::EINTR {
            return Ok(check(ret as _, text)?.cast_unsigned() as usize);
        }
    }
}

/// Binds a stream socket to `path`, which must not exist yet, and listens. The socket's file is born with mode 0600,
/// less what the umask takes. Only the file's name has to fit into about 85 bytes, the directory's may have any length.
pub fn bind(path: &Path) -> Result<OwnedFd> {
    let socket = stream()?;
    // Linux gives the file the mode of the unbound socket, so there is no moment with a wider one.
    nix::sys::stat::fchmod(&socket, Mode::from_bits_truncate(0o600)).context("fchmod a new socket")?;
    let (address, _parent) = reachable(path, |path| {
        let name = path.file_name().ok_or_else(|| Error::new("the path has no file name"))?;
        let parent = open_path(path.parent().unwrap_or(Path::new("/")))?;
        let short = Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(name);
        Ok((short, parent))
    })
    .with_context(|| format!("bind a socket to {}", path.display()))?;
    let (address, size) = address;
    // SAFETY: `address` is a whole sockaddr_un and `size` is the length of the part in use.
    let ret = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
    check(ret.into(), || format!("bind({})", path.display()))?;
    // SAFETY: takes no pointers.
    let ret = unsafe { libc::listen(socket.as_raw_fd(), libc::SOMAXCONN) };
    check(ret.into(), || format!("listen({})", path.display()))?;
    Ok(socket)
}

/// Binds a datagram socket to `name` in `directory`. The file is born with the socket's own mode, less what the umask takes.
pub fn bind_datagram(socket: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &str) -> Result<()> {
    let (address, size) =
        address(&Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name))?;
    // SAFETY: `address` is a whole sockaddr_un and `size` is the length of the part in use.
    let ret = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
    check(ret.into(), || format!("bind({name})")).map(drop)
}

/// Connects a stream socket to the listener at `path`, of any length.
pub fn connect(path: &Path) -> Result<OwnedFd> {
    let socket = stream()?;
    connect_socket(socket.as_fd(), path)?;
    Ok(socket)
}

/// As [`connect`], waiting no longer than `limit` for a listener whose queue is full (EAGAIN), nor for one that does not
/// read what is sent.
pub fn connect_within(path: &Path, limit: Duration) -> Result<OwnedFd> {
    let socket = stream()?;
    let limit = TimeVal::microseconds(i64::try_from(limit.as_micros()).unwrap_or(i64::MAX));
    setsockopt(&socket, sockopt::SendTimeout, &limit).context("setsockopt(SO_SNDTIMEO)")?;
    connect_socket(socket.as_fd(), path)?;
    Ok(socket)
}

/// Connects a socket of either kind to the one at `path`, of any length.
pub fn connect_socket(socket: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let ((address, size), _target) = reachable(path, |path| {
        let target = open_path(path)?;
        Ok((Path::new("/proc/self/fd").join(target.as_raw_fd().to_string()), target))
    })
    .with_context(|| format!("connect to {}", path.display()))?;
    retry(
        // SAFETY: `address` is a whole sockaddr_un and `size` is the length of the part in use.
        || unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), size) as isize },
        || format!("connect({})", path.display()),
    )
    .map(drop)
}

/// Waits for the next connection; it is close-on-exec.
pub fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd> {
    loop {
        let none = std::ptr::null_mut();
        // SAFETY: no address is asked for, so no pointer is followed.
        let ret =
            unsafe { libc::accept4(listener.as_raw_fd(), none, std::ptr::null_mut(), libc::SOCK_CLOEXEC) };
        if ret != -1 || Errno::last() != Errno::EINTR {
            return check_fd(ret.into(), || format!("accept4({})", show(listener)));
        }
    }
}

/// Hands one descriptor to whoever listens at `path`: one message, one descriptor, no answer awaited, because the
/// listener may accept after this process has ended. It is the protocol of `--console-socket`, `--pidfd-socket` and the
/// seccomp listener.
pub fn send_descriptor(path: &Path, payload: &[u8], fd: BorrowedFd<'_>) -> Result<()> {
    let socket = connect(path)?;
    send(socket.as_fd(), payload, &[fd])
}

fn stream() -> Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    let ret = unsafe { libc::socket(libc::AF_UNIX, kind, 0) };
    check_fd(ret.into(), || "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC)".to_owned())
}

type Address = (sockaddr_un, libc::socklen_t);

/// The address of `path`, or of the detour that `shorten` makes through a descriptor, which must stay open meanwhile.
fn reachable(
    path: &Path,
    shorten: impl FnOnce(&Path) -> Result<(PathBuf, OwnedFd)>,
) -> Result<(Address, Option<OwnedFd>)> {
    if let Ok(address) = address(path) {
        return Ok((address, None));
    }
    let (short, fd) = shorten(path)?;
    Ok((address(&short)?, Some(fd)))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // an address has 110 bytes; a path is bytes
fn address(path: &Path) -> Result<Address> {
    let bytes = path.as_os_str().as_bytes();
    // SAFETY: sockaddr_un is plain data for which all zeroes is valid.
    let mut address: sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as _;
    // A leading NUL would name the abstract namespace, an empty path autobind.
    if bytes.is_empty() || bytes.contains(&0) || bytes.len() >= address.sun_path.len() {
        crate::bail!("{} does not fit into a socket address", path.display());
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as _;
    }
    let size = std::mem::offset_of!(sockaddr_un, sun_path) + bytes.len() + 1;
    Ok((address, size as _))
}

fn open_path(path: &Path) -> Result<OwnedFd> {
    nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .with_context(|| format!("open {}", path.display()))
}

#[cfg(test)]
mod tests;

//! rtnetlink(7) for network devices.

use super::show;
use crate::error::{Context, Error, Result};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvfrom, sendto, socket,
    },
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A route socket. It belongs for good to the network namespace in which it is opened.
pub fn route_socket() -> Result<OwnedFd> {
    socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
        .context("socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)")
}

/// Sends one datagram to the kernel.
pub fn send(socket: BorrowedFd<'_>, datagram: &[u8]) -> Result<()> {
    let sent = sendto(socket.as_raw_fd(), datagram, &NetlinkAddr::new(0, 0), MsgFlags::empty())
        .with_context(|| format!("sendto({}, {} bytes)", show(socket), datagram.len()))?;
    if sent != datagram.len() {
        crate::bail!("sendto({}): {sent} of {} bytes were taken", show(socket), datagram.len());
    }
    Ok(())
}

/// The kernel makes no larger datagrams.
const LARGEST: usize = 64 << 10;

/// The next datagram from the kernel; those of other processes are passed over.
pub fn receive(socket: &OwnedFd) -> Result<Vec<u8>> {
    let mut datagram = vec![0; LARGEST];
    loop {
        let (length, sender) = match recvfrom::<NetlinkAddr>(socket.as_raw_fd(), &mut datagram) {
            Ok(received) => received,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno).with_context(|| format!("recvfrom({})", show(socket.as_fd()))),
        };
        if sender.is_none_or(|sender| sender.pid() != 0) {
            continue;
        }
        if length >= LARGEST {
            return Err(Error::new("recvfrom(netlink): a datagram larger than the kernel makes"));
        }
        datagram.truncate(length);
        return Ok(datagram);
    }
}

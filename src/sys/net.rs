//! rtnetlink(7) for network devices.

use super::{show, uninterrupted};
use crate::error::{Context, Result};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, recvfrom, sendto, socket,
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

/// The next datagram from the kernel; those of other processes are passed over.
pub fn receive(socket: &OwnedFd) -> Result<Vec<u8>> {
    let raw = socket.as_raw_fd();
    let step = || format!("recvfrom({})", show(socket.as_fd()));
    loop {
        // Most answers are short: room for the longest that there may be would have to be asked of the kernel.
        let length = uninterrupted(|| recv(raw, &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC))
            .with_context(step)?;
        let mut datagram = vec![0; length];
        let (_, sender) = uninterrupted(|| recvfrom::<NetlinkAddr>(raw, &mut datagram)).with_context(step)?;
        if sender.is_some_and(|sender| sender.pid() == 0) {
            return Ok(datagram);
        }
    }
}

//! rtnetlink(7) for network devices.

use super::{show, socket::retry};
use crate::error::{Context, Error, Result};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sendto, socket,
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
#[allow(clippy::cast_possible_truncation)] // an address has 12 bytes
pub fn receive(socket: &OwnedFd) -> Result<Vec<u8>> {
    // Not zeroed: most answers are short, and every page touched costs a fault.
    let mut datagram: Vec<u8> = Vec::with_capacity(LARGEST);
    // SAFETY: sockaddr_nl is plain data for which all zeroes is valid.
    let mut sender: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    loop {
        let mut size = size_of_val(&sender) as libc::socklen_t;
        let (room, from) = (datagram.as_mut_ptr().cast(), (&raw mut sender).cast());
        let length = retry(
            // SAFETY: the vector has room for LARGEST bytes, and `sender` for `size` of them.
            || unsafe { libc::recvfrom(socket.as_raw_fd(), room, LARGEST, 0, from, &raw mut size) },
            || format!("recvfrom({})", show(socket.as_fd())),
        )?;
        if size as usize != size_of_val(&sender) || sender.nl_pid != 0 {
            continue;
        }
        if length >= LARGEST {
            return Err(Error::new("recvfrom(netlink): a datagram larger than the kernel makes"));
        }
        // SAFETY: recvfrom has written so many bytes.
        unsafe { datagram.set_len(length) };
        return Ok(datagram);
    }
}

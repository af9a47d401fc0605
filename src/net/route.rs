//! Requests to the kernel and their answers.

use super::message::{self, Request, messages};
use crate::{
    error::{Error, Result},
    sys::net,
};
use std::{
    cell::Cell,
    os::fd::{AsFd, OwnedFd},
};

/// A route socket of one network namespace.
#[derive(Debug)]
pub struct Route {
    socket: OwnedFd,
    sequence: Cell<u32>,
}

impl Route {
    /// Opens one in the caller's network namespace.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: net::route_socket()?, sequence: Cell::new(0) })
    }

    fn send(&self, request: Request) -> Result<u32> {
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        net::send(self.socket.as_fd(), &request.finish(sequence))?;
        Ok(sequence)
    }

    /// Sends a request with `NLM_F_ACK` and waits for the acknowledgement; `call` names it in the error.
    pub(super) fn acknowledge(&self, request: Request, call: &str) -> Result<()> {
        self.collect(request, call, |_| Some(())).map(drop)
    }

    /// Sends a request and reads every message of the answer up to its end, an acknowledgement or `NLMSG_DONE`.
    pub(super) fn collect<T>(
        &self,
        request: Request,
        call: &str,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>> {
        let sequence = self.send(request)?;
        let mut found = Vec::new();
        loop {
            let datagram = net::receive(&self.socket)?;
            for message in messages(&datagram).filter(|message| message.sequence == sequence) {
                if i32::from(message.flags) & libc::NLM_F_DUMP_INTR != 0 {
                    crate::bail!("{call}: the devices changed meanwhile");
                }
                match i32::from(message.kind) {
                    libc::NLMSG_DONE => return Ok(found),
                    libc::NLMSG_ERROR => match message::errno(message.body) {
                        Some(0) => return Ok(found),
                        Some(errno) => return Err(Error::syscall(call, errno)),
                        None => crate::bail!("{call}: the kernel's answer is cut short"),
                    },
                    _ => found.extend(parse(message.body)),
                }
            }
        }
    }
}

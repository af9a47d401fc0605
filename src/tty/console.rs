//! `--console-socket` and `--pidfd-socket`: a descriptor for the engine.

use crate::{
    error::{Context, Result},
    sys::socket::send_descriptor,
};
use std::{os::fd::BorrowedFd, path::Path};

/// Engines read the name into a buffer of 4096 bytes and refuse one that fills it (conmon, go-console).
const NAME_MAX: usize = 4095;

/// Hands the master of the container's terminal to the engine that listens at `socket`: one message with one descriptor
/// and `name` as its payload, no answer, because engines may accept after the runtime has ended.
pub fn hand_over(socket: &Path, master: BorrowedFd<'_>, name: &str) -> Result<()> {
    check(name)?;
    let step = || format!("send the terminal to the console socket {}", socket.display());
    send_descriptor(socket, name.as_bytes(), master).with_context(step)
}

/// Hands the container's pidfd to the engine that listens at `socket`, in the manner of a console.
pub fn send_pidfd(socket: &Path, pidfd: BorrowedFd<'_>) -> Result<()> {
    let step = || format!("send the pidfd to the pidfd socket {}", socket.display());
    send_descriptor(socket, b"pidfd", pidfd).with_context(step)
}

fn check(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_MAX {
        crate::bail!("the name of a terminal has 1 to {NAME_MAX} bytes, not {}", name.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket::{accept, bind, receive};
    use std::os::fd::AsFd;

    #[test]
    fn an_engine_that_accepts_late_gets_one_message_and_the_end() {
        let dir = std::env::temp_dir().join(format!("urun-console-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("socket");
        let listener = bind(&path).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        hand_over(&path, null.as_fd(), "/dev/ptmx").unwrap();
        send_pidfd(&path, null.as_fd()).unwrap();
        let too_long = hand_over(&path, null.as_fd(), &"x".repeat(4096));
        std::fs::remove_dir_all(&dir).unwrap();
        for name in ["/dev/ptmx", "pidfd"] {
            let server = accept(listener.as_fd()).unwrap();
            let message = receive(server.as_fd(), 4096).unwrap().unwrap();
            assert_eq!((message.bytes.as_slice(), message.fds.len()), (name.as_bytes(), 1));
            assert!(receive(server.as_fd(), 4096).unwrap().is_none());
        }
        assert!(too_long.is_err());
    }
}

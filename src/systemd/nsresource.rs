//! systemd-nsresourced(8), which gives transient ids to user namespaces that have none: one call of its Varlink interface
//! `io.systemd.NamespaceResource` (systemd 256 and later). A Varlink message is a JSON object and a NUL byte.

use crate::{
    bail,
    error::{Context, Error, Result},
    sys::{fd, socket},
};
use serde_json::{Value, json};
use std::{
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    time::{Duration, Instant},
};

/// Where it listens.
const SOCKET: &str = "/run/systemd/io.systemd.NamespaceResource";
/// How many ids it gives, other than one.
pub const SIZE: u32 = 65_536;
/// How long its answer may take; it is started by the call.
const PATIENCE: Duration = Duration::from_secs(30);
/// No answer is longer.
const LONGEST: usize = 64 << 10;

/// Asks for [`SIZE`] ids, which become the map of `namespace`: a user namespace of the caller's that has no map yet. They are its
/// own until it ends.
///
/// # Errors
/// It refuses, or does not answer.
pub fn allocate(namespace: BorrowedFd<'_>, name: &str) -> Result<()> {
    ask(Path::new(SOCKET), namespace, name).with_context(|| format!("ask systemd-nsresourced at {SOCKET}"))
}

/// Whether there is somebody to be asked.
pub fn is_there() -> bool {
    Path::new(SOCKET).exists()
}

fn ask(path: &Path, namespace: BorrowedFd<'_>, name: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let connection = socket::connect_within(path, PATIENCE)?;
    let mut call = json!({
        "method": "io.systemd.NamespaceResource.AllocateUserRange",
        "parameters": { "name": name, "mangleName": true, "size": SIZE, "userNamespaceFileDescriptor": 0 },
    })
    .to_string()
    .into_bytes();
    call.push(0);
    socket::send(connection.as_fd(), &call, &[namespace])?;
    let mut answer = Vec::new();
    while answer.last() != Some(&0) {
        if !fd::wait_readable(connection.as_fd(), Some(deadline.saturating_duration_since(Instant::now())))? {
            bail!("no answer within {} s", PATIENCE.as_secs());
        }
        match socket::receive(connection.as_fd(), LONGEST)? {
            Some(message) if answer.len() < LONGEST => answer.extend(message.bytes),
            _ => bail!("the connection was closed by the other side"),
        }
    }
    answer.pop();
    let answer: Value = serde_json::from_slice(&answer).map_err(Error::new).context("read the answer")?;
    match answer.get("error") {
        None => Ok(()),
        Some(error) => bail!("it refuses: {error} {}", answer.get("parameters").unwrap_or(&Value::Null)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::store::tests::Scratch;
    use std::os::fd::OwnedFd;

    /// A nsresourced that says `words`; returns what it was asked, and how many descriptors came with it.
    fn asked(words: &[&[u8]]) -> (Result<()>, Value, usize) {
        let scratch = Scratch::new();
        let path = scratch.0.join("socket");
        let listener = socket::bind(&path).unwrap();
        std::thread::scope(|scope| {
            let serve = scope.spawn(|| {
                let connection: OwnedFd = socket::accept(listener.as_fd()).unwrap();
                let call = socket::receive(connection.as_fd(), LONGEST).unwrap().unwrap();
                for word in words {
                    socket::send(connection.as_fd(), word, &[]).unwrap();
                }
                let (end, text) = call.bytes.split_last().unwrap();
                assert_eq!(*end, 0);
                (serde_json::from_slice(text).unwrap(), call.fds.len())
            });
            let namespace = std::fs::File::open("/proc/self/ns/user").unwrap();
            let answer = ask(&path, namespace.as_fd(), "box");
            let (call, descriptors) = serve.join().unwrap();
            (answer, call, descriptors)
        })
    }

    #[test]
    fn a_range_is_asked_for_with_the_namespace() {
        let (answer, call, descriptors) = asked(&[b"{\"param", b"eters\":{\"name\":\"box\"}}\0"]);
        answer.unwrap();
        assert_eq!(descriptors, 1);
        assert_eq!(call["parameters"]["size"], SIZE);
        assert_eq!(call["parameters"]["userNamespaceFileDescriptor"], 0);
    }

    #[test]
    fn refusals_and_broken_answers_are_errors() {
        for (words, cause) in [
            (
                &b"{\"error\":\"io.systemd.NamespaceResource.DynamicRangeUnavailable\"}\0"[..],
                "DynamicRangeUnavailable",
            ),
            (b"{\"par", "closed by the other side"),
            (b"nonsense\0", "read the answer"),
        ] {
            let error = asked(&[words]).0.unwrap_err().to_string();
            assert!(error.contains(cause), "{error}");
        }
    }
}

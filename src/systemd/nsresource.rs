//! systemd-nsresourced(8), which gives transient ids to user namespaces that have none: one call of its Varlink interface
//! `io.systemd.NamespaceResource` (systemd 256 and later). A Varlink message is a JSON object and a NUL byte.
//!
//! No file of a transient id outlives it: a BPF program of its refuses to make one (EPERM), and to give one away, on every file
//! system that does not belong to the namespace or to one below it.

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

/// Which ids are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// [`SIZE`] as 0 to `SIZE - 1`.
    Range,
    /// The caller's own as 0 and [`SIZE`] more, each as itself: what a namespace below can map in another order. Systemd 262 has
    /// it for everybody, 257 for nobody. The namespace and those below are refused setgroups(2) (EPERM).
    OwnAndRange,
}

/// Asks for ids, which become the map of `namespace`: a user namespace of the caller's that has no map yet. They are its own
/// until it ends. The container's id is part of the name under which it is known (`ns-NAME-UID` for getpwuid(3)).
///
/// # Errors
/// It refuses, or does not answer.
pub fn allocate(namespace: BorrowedFd<'_>, id: &str, ids: Ids) -> Result<()> {
    ask(Path::new(SOCKET), namespace, id, ids).with_context(|| format!("ask systemd-nsresourced at {SOCKET}"))
}

/// Whether there is somebody to be asked.
pub fn is_there() -> bool {
    Path::new(SOCKET).exists()
}

fn ask(path: &Path, namespace: BorrowedFd<'_>, id: &str, ids: Ids) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let connection = socket::connect_within(path, PATIENCE)?;
    let inode = nix::sys::stat::fstat(namespace).context("look at the user namespace")?.st_ino;
    let mut parameters = json!({ "name": name(inode, id), "userNamespaceFileDescriptor": 0 });
    match ids {
        Ids::Range => parameters["size"] = SIZE.into(),
        Ids::OwnAndRange => {
            parameters["type"] = "self".into();
            parameters["size"] = 1.into();
            parameters["target"] = 0.into();
            parameters["delegateContainerRanges"] = 1.into();
            // An ordinary user's has to begin with its uid. systemd 257 does not know the word.
            parameters["mangleName"] = true.into();
        }
    }
    let method = "io.systemd.NamespaceResource.AllocateUserRange";
    let mut call = json!({ "method": method, "parameters": parameters }).to_string().into_bytes();
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
    judge(&answer)
}

/// Reads an answer without its end.
///
/// # Errors
/// It is a refusal, or no answer.
pub fn judge(answer: &[u8]) -> Result<()> {
    let answer: Value = serde_json::from_slice(answer).map_err(Error::new).context("read the answer")?;
    match answer.get("error") {
        None => Ok(()),
        Some(error) => {
            Err(refusal(error.as_str().unwrap_or_default(), answer.get("parameters").unwrap_or(&Value::Null)))
        }
    }
}

/// The name of a user namespace, which no other may have: that of a container can begin like another's, and only 22 bytes fit into
/// the user names that are made of it (`ns-NAME-65535`).
fn name(inode: u64, id: &str) -> String {
    let fits = |byte: &char| byte.is_ascii_alphanumeric() || matches!(byte, '-' | '_');
    format!("u{inode}-{id}").chars().filter(fits).take(22).collect()
}

/// An error of its interface, or of Varlink itself, with what can be done about it.
fn refusal(name: &str, parameters: &Value) -> Error {
    let remedy = match name {
        // An older one does not know the parameter.
        "org.varlink.service.InvalidParameter"
            if matches!(parameters["parameter"].as_str(), Some("type" | "delegateContainerRanges")) =>
        {
            "that of systemd 257 has no range for ordinary users, that of 262 has; or give this user subordinate ids \
             (usermod --add-subuids and --add-subgids)"
        }
        "io.systemd.NamespaceResource.UserNamespaceInterfaceNotSupported" => {
            "it needs the BPF security module: bpf among the words of lsm= on the kernel's command line"
        }
        "io.systemd.NamespaceResource.DynamicRangeUnavailable"
        | "io.systemd.NamespaceResource.NoDynamicRange"
        | "io.systemd.NamespaceResource.TooManyDelegations" => {
            "it has no range left: delete containers that are stopped"
        }
        // EUSERS, and it counts namespaces that others than urun have made.
        "io.systemd.System" if parameters["errno"] == libc::EUSERS => {
            "a user has at most 256 user namespaces of it: delete containers that are stopped"
        }
        "org.varlink.service.PermissionDenied" => "a policy of this host forbids it",
        _ => "its journal may say why: journalctl -u systemd-nsresourced",
    };
    let told = if parameters.is_null() { String::new() } else { format!(" {parameters}") };
    Error::new(format_args!("it refuses: {name}{told}")).hint(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::store::tests::Scratch;
    use std::os::fd::OwnedFd;

    /// A nsresourced that says `words`; returns what it was asked for `ids`, and how many descriptors came with it.
    fn asked(ids: Ids, words: &[&[u8]]) -> (Result<()>, Value, usize) {
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
            let answer = ask(&path, namespace.as_fd(), "box", ids);
            let (call, descriptors) = serve.join().unwrap();
            (answer, call, descriptors)
        })
    }

    #[test]
    fn a_range_is_asked_for_with_the_namespace() {
        let words: [&[u8]; 2] = [b"{\"param", b"eters\":{\"name\":\"box\"}}\0"];
        let (answer, call, descriptors) = asked(Ids::Range, &words);
        answer.unwrap();
        assert_eq!(descriptors, 1);
        let inode = nix::sys::stat::stat("/proc/self/ns/user").unwrap().st_ino;
        let mut parameters = json!({
            "name": format!("u{inode}-box"), "size": SIZE, "userNamespaceFileDescriptor": 0,
        });
        assert_eq!(call["parameters"], parameters);
        // What an older one does not know, or refuses together with another size or target.
        let (answer, call, _) = asked(Ids::OwnAndRange, &words);
        answer.unwrap();
        parameters["size"] = 1.into();
        parameters["type"] = "self".into();
        parameters["target"] = 0.into();
        parameters["delegateContainerRanges"] = 1.into();
        parameters["mangleName"] = true.into();
        assert_eq!(call["parameters"], parameters);
        assert_eq!(name(4_026_532_999, "k8s.io_pod-1_of_many"), "u4026532999-k8sio_pod-");
    }

    #[test]
    fn refusals_come_with_what_helps() {
        for (name, parameters, remedy) in [
            ("org.varlink.service.InvalidParameter", json!({"parameter": "type"}), "systemd 257"),
            ("org.varlink.service.InvalidParameter", json!({"parameter": "name"}), "journal"),
            ("org.varlink.service.PermissionDenied", json!({}), "a policy"),
            ("io.systemd.System", json!({"errno": libc::EUSERS}), "256"),
            ("io.systemd.System", json!({"errno": libc::EIO}), "journal"),
            ("io.systemd.NamespaceResource.UserNamespaceInterfaceNotSupported", Value::Null, "bpf"),
            ("io.systemd.NamespaceResource.NoDynamicRange", Value::Null, "delete containers"),
            ("io.systemd.NamespaceResource.NameExists", Value::Null, "journal"),
        ] {
            let mut answer = json!({"error": name, "parameters": parameters}).to_string().into_bytes();
            answer.push(0);
            let error = asked(Ids::OwnAndRange, &[&answer]).0.unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            assert!(error.remedy().is_some_and(|told| told.contains(remedy)), "{error:?}");
        }
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
            let error = asked(Ids::Range, &[words]).0.unwrap_err().to_string();
            assert!(error.contains(cause), "{error}");
        }
    }
}

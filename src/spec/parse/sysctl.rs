//! `linux.sysctl`.

use crate::spec::{
    linux::{Linux, NamespaceKind},
    node::{Node, quoted},
};
use std::collections::BTreeMap;

/// The keys that belong to the ipc namespace (ipc_namespaces(7)), beside `fs.mqueue.*`.
const IPC: &[&str] = &[
    "kernel.auto_msgmni",
    "kernel.msg_next_id",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.sem_next_id",
    "kernel.shm_next_id",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// Keys with dots between their parts and a slash where a part itself holds a dot (`net.ipv4.conf.eth0/1.forwarding`),
/// the first form of sysctl(8). Only keys of a namespace that the container has: any other would change the host.
pub(super) fn sysctl(node: Node<'_>, linux: &Linux) -> BTreeMap<String, String> {
    let mut sysctl = BTreeMap::new();
    for (written, value) in node.entries() {
        let key = dotted(written);
        if !is_key(&key) {
            value.error("is not the name of a kernel parameter");
        } else {
            check_namespace(&value, &key, linux);
        }
        let Some(text) = value.text() else { continue };
        if sysctl.insert(key, text.to_owned()).is_some() {
            value.error(format_args!("{} is given twice", quoted(written)));
        }
    }
    sysctl
}

/// The form with dots. Where the first separator is a slash, slashes separate and dots are part of names.
fn dotted(key: &str) -> String {
    if key.find(['.', '/']).is_some_and(|at| key.as_bytes()[at] == b'/') {
        key.chars()
            .map(|letter| {
                if letter == '/' {
                    '.'
                } else if letter == '.' {
                    '/'
                } else {
                    letter
                }
            })
            .collect()
    } else {
        key.to_owned()
    }
}

/// At least two parts, none of which is empty or leads elsewhere.
fn is_key(key: &str) -> bool {
    let is_part = |part: &str| {
        !matches!(part, "" | "/" | "//")
            && !part.bytes().any(|byte| byte == b'=' || byte.is_ascii_whitespace() || byte.is_ascii_control())
    };
    key.contains('.') && key.split('.').all(is_part)
}

fn check_namespace(node: &Node<'_>, key: &str, linux: &Linux) {
    let kind = if key.starts_with("net.") {
        Some(("network", NamespaceKind::Network))
    } else if key.starts_with("fs.mqueue.") || IPC.contains(&key) {
        Some(("ipc", NamespaceKind::Ipc))
    } else if matches!(key, "kernel.hostname" | "kernel.domainname") {
        Some(("uts", NamespaceKind::Uts))
    } else if key.starts_with("user.") {
        Some(("user", NamespaceKind::User))
    } else {
        None
    };
    match kind {
        None => node.error("is not in a namespace: setting it would change the host"),
        Some((name, kind)) if linux.namespace(kind).is_none() => {
            node.error(format_args!("needs a {name} namespace among linux.namespaces"));
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_key_become_the_one_with_dots() {
        for (written, expected) in [
            ("net.ipv4.ip_forward", "net.ipv4.ip_forward"),
            ("net/ipv4/ip_forward", "net.ipv4.ip_forward"),
            ("net/ipv4/conf/eth0.1/forwarding", "net.ipv4.conf.eth0/1.forwarding"),
            ("net.ipv4.conf.eth0/1.forwarding", "net.ipv4.conf.eth0/1.forwarding"),
        ] {
            assert_eq!(dotted(written), expected);
            assert!(is_key(&dotted(written)), "{written}");
        }
    }

    #[test]
    fn keys_that_lead_elsewhere_are_refused() {
        for key in [
            "", "net", ".", "net..x", "net.", ".net", "net.//.x", "net././x", "net/../x", "net/./x",
            "/net/x", "net.a=b", "net.a\nb",
        ] {
            assert!(!is_key(&dotted(key)), "{key}");
        }
    }
}

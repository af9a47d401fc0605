//! `linux.netDevices`.

use crate::spec::{
    linux::{Linux, NamespaceKind},
    node::{Node, quoted},
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn net_devices(node: Node<'_>, linux: &Linux) -> BTreeMap<String, String> {
    let mut devices = BTreeMap::new();
    let mut names = BTreeSet::new();
    for (host, entry) in node.entries() {
        check_name(&entry, host);
        let Some(entry) = entry.object() else { continue };
        let name = entry.get("name");
        let inside = name.filled().unwrap_or(host);
        check_name(&name, inside);
        // The kernel fills in a number for `%d`, so such a name may be asked for more than once.
        if !inside.contains('%') && !names.insert(inside.to_owned()) {
            entry.error(format_args!("another device is to be named {} too", quoted(inside)));
        }
        devices.insert(host.to_owned(), inside.to_owned());
    }
    if !devices.is_empty() && linux.namespace(NamespaceKind::Network).is_none() {
        node.error("needs a network namespace among linux.namespaces");
    }
    devices
}

/// The kernel's rule for names of network devices (net/core/dev.c, `dev_valid_name`).
pub(super) fn check_name(node: &Node<'_>, name: &str) {
    let is_valid = !matches!(name, "" | "." | "..")
        && name.len() < libc::IFNAMSIZ
        && !name
            .bytes()
            .any(|byte| byte == b'/' || byte == b':' || byte.is_ascii_whitespace() || byte == 0x0b);
    if !is_valid {
        node.error(format_args!("{} is not a name of a network device", quoted(name)));
    }
}

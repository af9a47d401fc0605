//! `linux.namespaces` and what hangs on them.

use super::words::NAMESPACES;
use crate::spec::{
    linux::{Linux, Namespace, NamespaceKind, TimeOffsets},
    node::{Node, quoted},
};

pub(super) fn namespaces(node: Node<'_>) -> Vec<Namespace> {
    let mut namespaces: Vec<Namespace> = Vec::new();
    for item in node.list() {
        let Some(item) = item.required().object() else { continue };
        let kind = item.get("type").required().word("namespace type", NAMESPACES);
        let path = item.get("path").absolute();
        let Some(kind) = kind else { continue };
        if namespaces.iter().any(|known| known.kind == kind) {
            item.get("type").error(format_args!("{kind} is given twice"));
        } else {
            namespaces.push(Namespace { kind, path });
        }
    }
    namespaces
}

/// `timeOffsets`, which can be written only before the first process enters a new time namespace.
pub(super) fn time_offsets(node: Node<'_>, linux: &Linux) -> TimeOffsets {
    let mut offsets = TimeOffsets::default();
    for (clock, value) in node.entries() {
        let offset = value.object().map(|value| {
            let seconds = value.get("secs").number(i64::MIN..=i64::MAX).unwrap_or(0);
            (seconds, value.get("nanosecs").number(0..=999_999_999).unwrap_or(0))
        });
        match clock {
            "monotonic" => offsets.monotonic = offset,
            "boottime" => offsets.boottime = offset,
            other => {
                node.error(format_args!("unknown clock {}, expected monotonic or boottime", quoted(other)));
            }
        }
    }
    let is_new = linux.namespace(NamespaceKind::Time).is_some_and(|time| time.path.is_none());
    if offsets != TimeOffsets::default() && !is_new {
        node.error("needs a new time namespace among linux.namespaces");
    }
    offsets
}

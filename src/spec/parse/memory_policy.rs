//! `linux.memoryPolicy`.

use super::{
    number_list,
    words::{MEMORY_FLAGS, MEMORY_MODES},
};
use crate::spec::{
    linux::MemoryPolicy,
    node::{Node, quoted},
};

/// The first node number that no kernel has (`MAX_NUMNODES`, at most ten bits).
const NODES: u32 = 1024;

const DEFAULT: u32 = 0;
const PREFERRED: u32 = 1;
const BIND: u32 = 2;
const LOCAL: u32 = 4;
const PREFERRED_MANY: u32 = 5;

const NUMA_BALANCING: u32 = 1 << 13;
const RELATIVE: u32 = 1 << 14;
const STATIC: u32 = 1 << 15;

/// A policy that set_mempolicy(2) takes: mode, flags and nodes that go together (mm/mempolicy.c).
pub(super) fn memory_policy(node: Node<'_>) -> Option<MemoryPolicy> {
    let node = node.object()?;
    let mode = node.get("mode").required().word("mode", MEMORY_MODES);
    let flag_list = node.get("flags");
    let flags = flag_list
        .list()
        .filter_map(|item| item.required().word("flag", MEMORY_FLAGS))
        .fold(0, |flags, flag| flags | flag);
    let text = node.get("nodes");
    let nodes = match text.filled().map(|list| (list, number_list(list, NODES))) {
        None => Vec::new(),
        Some((_, Ok(nodes))) => nodes,
        Some((list, Err(error))) => {
            text.error(format_args!("{error}, found {}", quoted(list)));
            return None;
        }
    };
    let policy = MemoryPolicy { mode: mode?, flags, nodes };
    check_nodes(&text, &policy);
    check_flags(&flag_list, &policy);
    Some(policy)
}

fn check_nodes(node: &Node<'_>, policy: &MemoryPolicy) {
    let takes_none = matches!(policy.mode, DEFAULT | LOCAL);
    let may_lack = takes_none || (policy.mode == PREFERRED && policy.flags & (STATIC | RELATIVE) == 0);
    if takes_none && !policy.nodes.is_empty() {
        node.error("MPOL_DEFAULT and MPOL_LOCAL take no nodes");
    } else if !may_lack && policy.nodes.is_empty() {
        node.error("is required by this mode");
    }
}

fn check_flags(node: &Node<'_>, policy: &MemoryPolicy) {
    let has = |flags: u32| policy.flags & flags != 0;
    if has(STATIC) && has(RELATIVE) {
        node.error("MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other");
    }
    if has(NUMA_BALANCING) && !matches!(policy.mode, BIND | PREFERRED_MANY) {
        node.error("MPOL_F_NUMA_BALANCING is for MPOL_BIND and MPOL_PREFERRED_MANY alone");
    }
    if has(STATIC | RELATIVE) && policy.mode == LOCAL {
        node.error("MPOL_LOCAL takes no flags about nodes");
    }
}

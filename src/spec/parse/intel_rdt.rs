//! `linux.intelRdt`.

use crate::spec::{
    linux::IntelRdt,
    node::{Node, quoted},
};

pub(super) fn intel_rdt(node: Node<'_>) -> Option<IntelRdt> {
    let node = node.object()?;
    Some(IntelRdt {
        clos_id: clos_id(node.get("closID")),
        l3_cache_schema: node.get("l3CacheSchema").owned(),
        mem_bw_schema: node.get("memBwSchema").owned(),
        schemata: node.get("schemata").texts(),
        enable_monitoring: node.get("enableMonitoring").is_true(),
    })
}

/// The name of one directory of resctrl, or `/` for its root.
fn clos_id(node: Node<'_>) -> Option<String> {
    let name = node.owned()?;
    let is_name = !name.contains(['/', '\n']) && name != "." && name != "..";
    if name != "/" && !is_name {
        node.error(format_args!("expected / or a name without slashes, found {}", quoted(&name)));
    }
    Some(name)
}

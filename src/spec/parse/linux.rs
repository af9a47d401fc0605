//! `linux`.

use super::{
    device, idmap, intel_rdt, interface, memory_policy, namespace, resources, seccomp, sysctl,
    words::{PERSONALITIES, PROPAGATIONS},
};
use crate::spec::{
    linux::{Linux, NamespaceKind},
    node::Node,
};
use std::path::PathBuf;

pub(super) fn linux(node: Node<'_>) -> Linux {
    let Some(node) = node.object() else { return Linux::default() };
    let mut linux = Linux { namespaces: namespace::namespaces(node.get("namespaces")), ..Linux::default() };
    (linux.uid_mappings, linux.gid_mappings) = idmap::id_maps(&node);
    if !linux.uid_mappings.is_empty() && linux.namespace(NamespaceKind::User).is_none() {
        node.get("uidMappings").error("needs a user namespace among linux.namespaces");
    }
    let propagation = node.get("rootfsPropagation");
    Linux {
        time_offsets: namespace::time_offsets(node.get("timeOffsets"), &linux),
        devices: device::devices(node.get("devices")),
        net_devices: interface::net_devices(node.get("netDevices"), &linux),
        cgroups_path: node.get("cgroupsPath").owned(),
        resources: resources::resources(node.get("resources")),
        rootfs_propagation: propagation.filled().and_then(|_| propagation.word("propagation", PROPAGATIONS)),
        masked_paths: paths(node.get("maskedPaths")),
        readonly_paths: paths(node.get("readonlyPaths")),
        mount_label: node.get("mountLabel").owned(),
        sysctl: sysctl::sysctl(node.get("sysctl"), &linux),
        personality: personality(node.get("personality")),
        memory_policy: memory_policy::memory_policy(node.get("memoryPolicy")),
        seccomp: seccomp::seccomp(node.get("seccomp")),
        intel_rdt: intel_rdt::intel_rdt(node.get("intelRdt")),
        ..linux
    }
}

fn paths(node: Node<'_>) -> Vec<PathBuf> {
    node.list().map(Node::required_path).collect()
}

/// The specification defines no flag yet.
fn personality(node: Node<'_>) -> Option<u64> {
    let node = node.object()?;
    for flag in node.get("flags").list() {
        flag.error("no personality flag is defined");
    }
    node.get("domain").required().word("domain", PERSONALITIES)
}

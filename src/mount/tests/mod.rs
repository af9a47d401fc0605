//! Plans as text, and their effects on scratch directories, read back from the kernel.

mod effects;
mod hostile;
mod options;
mod plans;

use super::plan::{Facts, Request};
use crate::{
    host::cgroups::Cgroups,
    ns::idmap::Outside,
    spec::{Config, Hooks, IdMap, Linux, Mount, MountKind, Namespace, NamespaceKind, Root, mount::Parameter},
};
use std::{collections::BTreeMap, path::Path};

/// A config with this root and nothing else.
fn config(root: &Path) -> Config {
    Config {
        oci_version: "1.3.0".into(),
        root: Root { path: root.into(), readonly: false, idmap: false },
        process: None,
        hostname: None,
        domainname: None,
        mounts: Vec::new(),
        hooks: Hooks::default(),
        annotations: BTreeMap::new(),
        linux: Linux::default(),
        warnings: Vec::new(),
    }
}

/// Real root on a host without cgroups, no user namespace.
fn facts() -> Facts {
    Facts {
        bundle: "/bundle".into(),
        outside: Outside::Same,
        can_mknod: true,
        initial_userns: true,
        nested: false,
        container_userns: false,
        own_network: true,
        cgroups: Cgroups::default(),
        new_cgroup_namespace: true,
        groups: BTreeMap::new(),
    }
}

/// The same, for a container whose ids are 100000 and up outside.
fn mapped() -> Facts {
    let map = vec![IdMap { container: 0, host: 100_000, size: 65_536 }];
    Facts { outside: Outside::Mapped { uids: map.clone(), gids: map }, container_userns: true, ..facts() }
}

/// Adds a mount to a config.
fn add<'a>(config: &'a mut Config, destination: &str, kind: MountKind) -> &'a mut Mount {
    let index = config.mounts.len();
    config.mounts.push(Mount::plain(index, destination, kind));
    &mut config.mounts[index]
}

fn fs(fstype: &str) -> MountKind {
    MountKind::Filesystem { fstype: fstype.into(), source: Some(fstype.into()) }
}

fn bind(source: impl AsRef<Path>) -> MountKind {
    MountKind::Bind { source: source.as_ref().into(), recursive: true }
}

fn text(key: &str, value: &str) -> Parameter {
    Parameter::Text(key.into(), value.into())
}

/// What every engine asks for.
fn usual(root: &Path) -> Config {
    use nix::libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
    let mut config = config(root);
    let safe = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV;
    add(&mut config, "/proc", fs("proc")).attrs.set = safe;
    let dev = add(&mut config, "/dev", fs("tmpfs"));
    dev.attrs.set = MOUNT_ATTR_NOSUID;
    dev.parameters = vec![text("mode", "755"), text("size", "65536k")];
    let pts = add(&mut config, "/dev/pts", fs("devpts"));
    pts.attrs.set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
    pts.parameters = vec![
        Parameter::Flag("newinstance".into()),
        text("ptmxmode", "0666"),
        text("mode", "0620"),
        text("gid", "5"),
    ];
    add(&mut config, "/dev/mqueue", fs("mqueue")).attrs.set = safe;
    add(&mut config, "/sys", fs("sysfs")).attrs.set = safe | MOUNT_ATTR_RDONLY;
    let pid = Namespace { kind: NamespaceKind::Pid, path: None };
    config.linux.namespaces.push(pid);
    config.linux.masked_paths =
        ["/proc/timer_list", "/proc/acpi", "/sys/firmware", "/proc/nowhere"].map(Into::into).into();
    config.linux.readonly_paths = ["/proc/sys", "/proc/nowhere/too"].map(Into::into).into();
    config
}

fn terminal() -> Request {
    Request { terminal: true, label: None }
}

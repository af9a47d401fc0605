//! What `spec` writes: the example configuration of runc with a user namespace in it.

use super::{features::OCI_VERSION_MAX, linux::IdMap};

/// The document; every `@NAME@` in it is replaced.
const TEMPLATE: &str = include_str!("example.json");

/// The gid that owns terminals, by long convention the group `tty`.
const TTY: u32 = 5;

/// Paths of /proc and /sys that tell or do too much, the list of runc.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths of /proc that are to be seen but not changed, the list of runc.
const READONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The host's own /sys: a new sysfs needs a network namespace of the same owner.
const HOST_SYSFS: &str = r#"{ "destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] }"#;
const NEW_SYSFS: &str = r#"{ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
    { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }"#;
const RESOURCES: &str = r#"
    "resources": { "devices": [{ "allow": false, "access": "rwm" }] },"#;
const NETWORK: &str = r#"
      { "type": "network" },"#;

const USER: &str = r#"
      { "type": "user" },"#;

/// What the example is for.
#[derive(Clone, Debug)]
pub struct ExampleOptions {
    /// Whose ids the container has.
    pub users: Users,
    /// For a caller without privileges, as runc has it: the host's network and /sys, no resources.
    pub rootless: bool,
    /// No masked and no read-only paths: for a container with containers inside. Its root needs CAP_SETFCAP to become that of
    /// another user namespace (Linux 5.12, user_namespaces(7)).
    pub unmasked: bool,
}

/// Whose ids the container of an example has.
#[derive(Clone, Debug)]
pub enum Users {
    /// The host's.
    Hosts,
    /// These.
    Mapped {
        /// `linux.uidMappings`; like the gid mappings not empty, or the document does not load.
        uids: Vec<IdMap>,
        /// `linux.gidMappings`.
        gids: Vec<IdMap>,
    },
    /// What an annotation says when the container is made.
    Annotated {
        /// `io.urun.userns`
        name: &'static str,
        /// Its value.
        choice: String,
    },
}

/// The example as indented JSON with a line end.
pub fn document(options: &ExampleOptions) -> String {
    let (has_tty, users) = match &options.users {
        Users::Hosts => (true, ""),
        Users::Mapped { gids, .. } => {
            (gids.iter().any(|line| line.container <= TTY && TTY - line.container < line.size), USER)
        }
        Users::Annotated { .. } => (true, USER),
    };
    let maps = match &options.users {
        Users::Mapped { uids, gids } => {
            format!(
                "\n    \"uidMappings\": [{}],\n    \"gidMappings\": [{}],",
                mappings(uids),
                mappings(gids)
            )
        }
        _ => String::new(),
    };
    let annotations = match &options.users {
        Users::Annotated { name, choice } => format!("\n  \"annotations\": {{ \"{name}\": \"{choice}\" }},"),
        _ => String::new(),
    };
    let gid = if has_tty { r#", "gid=5""# } else { "" };
    let devpts = format!(r#""nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"{gid}"#);
    let (sysfs, resources, network) =
        if options.rootless { (HOST_SYSFS, "", "") } else { (NEW_SYSFS, RESOURCES, NETWORK) };
    let (masked, readonly): (&[&str], &[&str]) =
        if options.unmasked { (&[], &[]) } else { (MASKED, READONLY) };
    [
        ("@VERSION@", OCI_VERSION_MAX),
        ("@SETFCAP@", if options.unmasked { r#", "CAP_SETFCAP""# } else { "" }),
        ("@DEVPTS@", &devpts),
        ("@SYSFS@", sysfs),
        ("@ANNOTATIONS@", &annotations),
        ("@MAPS@", &maps),
        ("@USER@", users),
        ("@RESOURCES@", resources),
        ("@NETWORK@", network),
        ("@MASKED@", &paths(masked)),
        ("@READONLY@", &paths(readonly)),
    ]
    .into_iter()
    .fold(TEMPLATE.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn mappings(lines: &[IdMap]) -> String {
    let lines = lines.iter().map(|IdMap { container, host, size }| {
        format!(r#"{{ "containerID": {container}, "hostID": {host}, "size": {size} }}"#)
    });
    lines.collect::<Vec<_>>().join(", ")
}

fn paths(paths: &[&str]) -> String {
    if paths.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = paths.iter().map(|path| format!("\n      \"{path}\"")).collect();
    format!("{}\n    ", lines.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{self, NamespaceKind, mount::Parameter};

    fn line(size: u32) -> Vec<IdMap> {
        vec![IdMap { container: 0, host: 100_000, size }]
    }

    fn options(size: u32) -> ExampleOptions {
        let users = Users::Mapped { uids: line(size), gids: line(size) };
        ExampleOptions { users, rootless: false, unmasked: false }
    }

    #[test]
    fn every_form_of_the_example_loads_without_a_warning() {
        for size in [1, 65_536] {
            for rootless in [false, true] {
                for unmasked in [false, true] {
                    let text = document(&ExampleOptions { rootless, unmasked, ..options(size) });
                    let config = spec::load(text.as_bytes()).unwrap();
                    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
                    assert_eq!(config.linux.uid_mappings, line(size));
                    assert_eq!(config.linux.masked_paths.is_empty(), unmasked);
                    assert_eq!(config.linux.readonly_paths.is_empty(), unmasked);
                    assert_eq!(config.linux.namespace(NamespaceKind::Network).is_none(), rootless);
                    assert!(!text.contains('@'), "{text}");
                    let other: oci_spec::runtime::Spec = serde_json::from_str(&text).unwrap();
                    assert_eq!(other.mounts().as_ref().map(Vec::len), Some(config.mounts.len()));
                }
            }
        }
    }

    #[test]
    fn users_are_the_hosts_or_chosen_late() {
        let load = |users| {
            let text = document(&ExampleOptions { users, ..options(1) });
            assert!(!text.contains('@'), "{text}");
            spec::load(text.as_bytes()).unwrap()
        };
        let config = load(Users::Hosts);
        assert!(config.linux.namespace(NamespaceKind::User).is_none() && config.annotations.is_empty());
        let config = load(Users::Annotated { name: "io.urun.userns", choice: "auto:size=9".to_owned() });
        assert!(
            config.linux.namespace(NamespaceKind::User).is_some() && config.linux.uid_mappings.is_empty()
        );
        assert_eq!(config.annotations["io.urun.userns"], "auto:size=9");
    }

    #[test]
    fn the_group_of_terminals_is_named_only_where_it_is_mapped() {
        let gid = Parameter::Text("gid".to_owned(), "5".to_owned());
        for (size, expected) in [(5, false), (6, true)] {
            let config = spec::load(document(&options(size)).as_bytes()).unwrap();
            assert_eq!(config.mounts[2].parameters.contains(&gid), expected, "{size}");
        }
    }
}

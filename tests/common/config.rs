//! A complete config.json as an engine would write it, to be edited by the tests.

use super::host::has_cap_sys_resource;
use super::mode::{Driver, Mode, driver};
use super::subject::{Subject, subject};
use serde_json::{Value, json};

/// What Kubernetes' container runtimes grant by default: mask 00000000a80425fb.
pub const DEFAULT_CAPS: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// What a user namespace with everything in it may use without any hold on the host.
pub const CHROMIUM_SAFE_CAPS: &[&str] = &["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SETUID", "CAP_SETGID"];

/// Kubernetes' default masked paths.
pub const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Kubernetes' default read-only paths.
pub const READONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The five sets with `names` bounding, permitted and effective.
pub fn caps(names: &[&str]) -> Value {
    json!({"bounding": names, "permitted": names, "effective": names})
}

/// Sets the value at a JSON pointer, making the objects on the way.
pub fn set(config: &mut Value, pointer: &str, value: Value) {
    let mut at = config;
    for key in pointer.split('/').skip(1) {
        if at.is_null() && key == "-" {
            *at = json!([]);
        }
        at = match at {
            Value::Array(items) => {
                let index = if key == "-" { items.len() } else { key.parse().unwrap() };
                items.resize(items.len().max(index + 1), Value::Null);
                &mut items[index]
            }
            other => {
                if other.is_null() {
                    *other = json!({});
                }
                &mut other[key]
            }
        };
    }
    *at = value;
}

/// The config.json of `mode`.
pub fn default_config(mode: Mode, id: &str) -> Value {
    let mut namespaces = vec!["pid", "ipc", "uts", "mount", "network"];
    if mode.userns() {
        namespaces.push("user");
    }
    if mode.cgroups() {
        namespaces.push("cgroup");
    }
    let namespaces: Vec<Value> = namespaces.iter().map(|kind| json!({"type": kind})).collect();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["sleep", "600"],
            "env": [path, "TERM=xterm", format!("URUN_TEST_ID={id}")],
            "cwd": "/",
            "capabilities": caps(DEFAULT_CAPS),
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs"},
        "hostname": "box",
        "mounts": mounts(mode),
        "linux": {
            "namespaces": namespaces,
            "maskedPaths": MASKED,
            "readonlyPaths": READONLY,
        },
    });
    if let Some((uids, gids)) = mode.mappings() {
        config["linux"]["uidMappings"] = uids;
        config["linux"]["gidMappings"] = gids;
    }
    if mode.cgroups() {
        config["linux"]["cgroupsPath"] = match driver() {
            Driver::Cgroupfs => json!(format!("/{id}")),
            Driver::Systemd => json!(format!(":urun:{id}")),
        };
    }
    // crun raises a limit for every device filter, which takes a capability that some machines keep to themselves.
    if mode.cgroups() && !mode.rootless() && (subject().0 != Subject::Crun || has_cap_sys_resource()) {
        config["linux"]["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
    }
    config
}

fn mounts(mode: Mode) -> Value {
    let mut pts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    if mode.many_ids() {
        pts.push("gid=5");
    }
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": pts},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    ])
}

//! Settings of the kernel and control groups that are not the container's (SEC-17, SEC-18).

use crate::common::{Bundle, Mode, Traces, in_modes};
use serde_json::json;

const CORE_PATTERN: &str = "/proc/sys/kernel/core_pattern";

fn core_pattern() -> String {
    std::fs::read_to_string(CORE_PATTERN).unwrap()
}

/// The host's setting, which a test that fails puts back.
struct Kept(String);

impl Drop for Kept {
    fn drop(&mut self) {
        if core_pattern() != self.0 {
            let _ = std::fs::write(CORE_PATTERN, &self.0);
        }
    }
}

in_modes! {
    /// CVE-2023-25809: without an own cgroup namespace what is mounted are the groups of the host. Read-only as engines ask for
    /// it means that nothing of it can be written to.
    [rootless_one rootless_range root_in_userns]
    fn sec_17_the_hosts_control_groups_are_not_writable(mode) {
        for kind in ["cgroup", "bind"] {
            let bundle = Bundle::new(mode).namespace("cgroup", None);
            let bundle = match kind {
                "cgroup" => bundle.mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
                _ => bundle.mount("bind", "/sys/fs/cgroup", "/sys/fs/cgroup", &["rbind", "nosuid", "noexec", "nodev", "rro"]),
            };
            if bundle.try_create(&[]).code != 0 {
                Traces::none_of(&bundle);
                continue;
            }
            let state: serde_json::Value = serde_json::from_str(&bundle.call(&["state", bundle.id()]).ok().stdout).unwrap();
            let process = crate::common::Proc(u32::try_from(state["pid"].as_u64().unwrap()).unwrap());
            for mount in process.mounts() {
                let group = mount.kind.starts_with("cgroup") || mount.point.starts_with("/sys/fs/cgroup");
                assert!(!group || mount.has("ro"), "{kind}: {mount:?}");
            }
        }
    }
}

in_modes! {
    /// CVE-2022-0811: a second setting smuggled into the first one's text, and settings that are the host's.
    fn sec_18_a_setting_is_one_setting_and_the_containers(mode) {
        let before = Kept(core_pattern());
        let mut cases = vec![
            ("kernel.core_pattern", "|/bin/evil", None),
            ("kernel/core_pattern", "|/bin/evil", None),
            ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/bin/evil", None),
            ("kernel.shm_rmid_forced", "1\nkernel.core_pattern=|/bin/evil", None),
            ("kernel.shm_rmid_forced=1+kernel.core_pattern", "|/bin/evil", None),
            ("net.ipv4.ip_forward", "1=2", None),
            ("net/../kernel/core_pattern", "|/bin/evil", None),
            ("net.ipv4/../../kernel/core_pattern", "|/bin/evil", None),
            ("net...kernel.core_pattern", "|/bin/evil", None),
            ("kernel.msg/../core_pattern", "|/bin/evil", None),
            ("/proc/sys/kernel/core_pattern", "|/bin/evil", None),
            ("vm.overcommit_memory", "1", None),
            ("fs.suid_dumpable", "2", None),
            ("", "1", None),
            ("net.ipv4.ip_forward", "1", Some("network")),
            ("kernel.shm_rmid_forced", "1", Some("ipc")),
        ];
        if matches!(mode, Mode::Root | Mode::RootInUserns) {
            cases.push(("user.max_user_namespaces", "7", None));
        }
        for (name, value, without) in cases {
            let mut bundle = Bundle::new(mode).args(["true"]).with(|config| config["linux"]["sysctl"] = json!({name: value}));
            if let Some(kind) = without {
                bundle = bundle.namespace(kind, None).with(|config| {
                    // Neither can be mounted where the namespace is not the container's.
                    config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev/mqueue" && m["destination"] != "/sys");
                    config["linux"]["maskedPaths"] = json!([]);
                });
            }
            let output = bundle.run();
            assert_eq!(core_pattern(), before.0, "{name}={value:?}");
            output.refused("sysctl");
            bundle.call(&["delete", "--force", bundle.id()]);
            Traces::none_of(&bundle);
        }
    }
}

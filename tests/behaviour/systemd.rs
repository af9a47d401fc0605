//! The systemd driver, against the systemd that runs this machine: `make test-vm` has one. Without one the driver is refused
//! in words that name what is missing, which is what these tests see there.

use crate::common::*;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A bundle for the driver, with a scope of its own; none where no systemd of version 2 groups alone runs.
fn scoped(mode: Mode) -> Option<Bundle> {
    let runs = Path::new("/run/systemd/system").exists();
    let pure = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let bundle = Bundle::new(mode);
    let path = format!("urun-test.slice:urun:{}", bundle.id());
    let bundle = bundle.put("/linux/cgroupsPath", json!(path));
    if runs && pure {
        return Some(bundle);
    }
    if !only_ours("others find no systemd in other words") {
        bundle.write();
        let id = bundle.id().to_owned();
        let output = bundle.call(&["--systemd-cgroup", "create", &id]);
        output.refused_naming(&[if pure { "systemd" } else { "cgroup version 2" }]);
        Traces::none_of(&bundle);
    }
    None
}

fn unit(id: &str) -> String {
    format!("urun-{id}.scope")
}

fn group(id: &str) -> PathBuf {
    Path::new("/sys/fs/cgroup/urun.slice/urun-test.slice").join(unit(id))
}

fn create(bundle: Bundle) -> Container {
    bundle.write();
    let id = bundle.id().to_owned();
    let files = bundle.call(&["--systemd-cgroup", "create", &id]).ok().files;
    Container::of(bundle, files)
}

fn systemctl(args: &[&str]) -> String {
    let output = Command::new("systemctl").args(args).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn property(id: &str, name: &str) -> String {
    systemctl(&["show", &unit(id), "--value", "-p", name])
}

fn file(id: &str, name: &str) -> String {
    let path = group(id).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
}

in_modes! {
    [root root_userns]
    fn init_is_alone_in_its_scope_which_is_the_root_of_its_namespace(mode) {
        let Some(bundle) = scoped(mode) else { return };
        let container = create(bundle);
        let id = container.id().to_owned();
        let pid = container.state()["pid"].to_string();
        assert_eq!(file(&id, "cgroup.procs"), pid);
        let seen = Command::new("nsenter").args(["-t", &pid, "-C", "cat", &format!("/proc/{pid}/cgroup")]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&seen.stdout).trim(), "0::/");
        assert_eq!(property(&id, "Delegate"), "yes");
        assert_eq!(property(&id, "Slice"), "urun-test.slice");
    }
}

in_modes! {
    [root root_userns]
    fn delete_stops_the_unit(mode) {
        let Some(bundle) = scoped(mode) else { return };
        let container = create(bundle);
        container.start();
        let id = container.id().to_owned();
        assert_eq!(property(&id, "ActiveState"), "active");
        container.delete(&["--force"]).ok();
        assert_eq!(property(&id, "ActiveState"), "inactive");
        assert!(!group(&id).exists());
    }
}

#[test]
fn a_failed_creation_leaves_no_unit() {
    let Some(bundle) = scoped(Mode::RootUserns) else { return };
    let bundle = bundle.args(["/nowhere"]);
    bundle.write();
    let id = bundle.id().to_owned();
    bundle.call(&["--systemd-cgroup", "create", &id]).refused_naming(&["/nowhere"]);
    assert_eq!(property(&id, "ActiveState"), "inactive");
    assert!(!group(&id).exists());
}

#[test]
fn a_limit_of_one_process_has_room_for_init_alone() {
    let Some(bundle) = scoped(Mode::RootUserns) else { return };
    let container = create(bundle.put("/linux/resources/pids", json!({"limit": 1})));
    container.start();
    assert_eq!(file(container.id(), "pids.max"), "1");
    assert_eq!(property(container.id(), "TasksMax"), "1");
}

/// What is written, and what systemd calls it.
const LIMITS: [(&str, &str); 8] = [
    ("memory.max", "67108864"),
    ("memory.low", "33554432"),
    ("memory.high", "62914560"),
    ("memory.swap.max", "67108864"),
    ("pids.max", "17"),
    ("cpu.max", "25500 50000"),
    ("cpu.weight", "59"),
    ("cpuset.cpus", "0"),
];

fn limited(bundle: Bundle) -> Bundle {
    bundle
        .put(
            "/linux/resources/memory",
            json!({"limit": 67108864, "swap": 134217728, "reservation": 33554432}),
        )
        .put("/linux/resources/pids", json!({"limit": 17}))
        .put("/linux/resources/cpu", json!({"quota": 25500, "period": 50000, "shares": 512, "cpus": "0"}))
        .put("/linux/resources/unified", json!({"memory.high": "62914560"}))
}

#[test]
fn limits_are_exact_and_outlive_a_reload() {
    let Some(bundle) = scoped(Mode::RootUserns) else { return };
    let container = create(limited(bundle));
    let id = container.id();
    let all = || LIMITS.map(|(name, _)| file(id, name));
    assert_eq!(all(), LIMITS.map(|(_, value)| value.to_owned()));
    assert_eq!(property(id, "MemoryMax"), "67108864");
    assert_eq!(property(id, "CPUQuotaPerSecUSec"), "510ms");
    systemctl(&["daemon-reload"]);
    assert_eq!(all(), LIMITS.map(|(_, value)| value.to_owned()));
    // Which makes systemd write the group's files anew.
    systemctl(&["set-property", "--runtime", &unit(id), "IOWeight=50"]);
    assert_eq!(all(), LIMITS.map(|(_, value)| value.to_owned()));
}

#[test]
fn an_update_reaches_systemd_without_being_told_of_it() {
    let Some(bundle) = scoped(Mode::RootUserns) else { return };
    let container = create(limited(bundle));
    let id = container.id();
    container.call("update", &["--pids-limit", "23"]).ok();
    assert_eq!((file(id, "pids.max"), property(id, "TasksMax")), ("23".to_owned(), "23".to_owned()));
    assert_eq!(property(id, "MemoryMax"), "67108864", "what is not named stays");
    systemctl(&["daemon-reload"]);
    assert_eq!(file(id, "pids.max"), "23");
}

#[test]
fn device_rules_outlive_a_reload() {
    let Some(bundle) = scoped(Mode::Root) else { return };
    let script = "for go in 1 2; do while [ ! -e /tmp/$go ]; do sleep 0.1; done; \
                  (: >> /dev/kmsg) 2>/dev/null && echo open >/tmp/out$go || echo denied >/tmp/out$go; : < /dev/null; done; sleep 600";
    let bundle = bundle
        .sh(script)
        .put("/root/readonly", json!(false))
        // To write to the kernel's log takes no capability: the rules alone are in the way.
        .put("/linux/devices", json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]))
        .put("/linux/resources/devices", json!([{"allow": false, "access": "rwm"}]));
    let rootfs = bundle.rootfs_dir();
    let container = create(bundle);
    container.start();
    let ask = |number: u32| {
        std::fs::write(rootfs.join(format!("tmp/{number}")), "").unwrap();
        let answer = rootfs.join(format!("tmp/out{number}"));
        wait_until("the container answers", || {
            std::fs::read_to_string(&answer).is_ok_and(|text| text.ends_with('\n'))
        });
        std::fs::read_to_string(answer).unwrap()
    };
    assert_eq!(ask(1), "denied\n");
    systemctl(&["daemon-reload"]);
    assert_eq!(ask(2), "denied\n");
}

#[test]
fn annotations_are_properties_of_the_unit() {
    let Some(bundle) = scoped(Mode::RootUserns) else { return };
    let bundle = bundle.put(
        "/annotations",
        json!({
            "org.systemd.property.TimeoutStopUSec": "uint64 90000000",
            "org.systemd.property.RuntimeMaxSec": "100",
            "org.systemd.property.KillSignal": "37",
            "org.systemd.property.After": "['dbus.service']",
        }),
    );
    let container = create(bundle);
    let id = container.id();
    let found = ["TimeoutStopUSec", "RuntimeMaxUSec", "KillSignal"].map(|name| property(id, name));
    assert_eq!(found, ["1min 30s", "1min 40s", "37"]);
    assert!(property(id, "After").contains("dbus.service"));
}

#[test]
fn a_subgroup_and_a_delegated_group_are_below_the_scope() {
    let Some(bundle) = scoped(Mode::RootUserns) else { return };
    let bundle = bundle.put(
        "/annotations",
        json!({
            "run.oci.systemd.subgroup": "container",
            "run.oci.delegate-cgroup": "payload",
        }),
    );
    let container = create(limited(bundle));
    let id = container.id();
    let pid = container.state()["pid"].to_string();
    assert_eq!(file(id, "container/payload/cgroup.procs"), pid);
    assert_eq!(file(id, "memory.max"), "67108864");
    assert!(file(id, "container/payload/cgroup.controllers").contains("memory"));
    let seen = Command::new("nsenter")
        .args(["-t", &pid, "-C", "cat", &format!("/proc/{pid}/cgroup")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&seen.stdout).trim(), "0::/payload");
    container.delete(&["--force"]).ok();
    assert!(!group(id).exists());
}

#[test]
fn a_unit_of_somebody_else_is_left_alone() {
    let Some(bundle) = scoped(Mode::RootUserns) else { return };
    let first = create(bundle);
    let second = Bundle::new(Mode::RootUserns)
        .put("/linux/cgroupsPath", json!(format!("urun-test.slice:urun:{}", first.id())));
    second.write();
    let id = second.id().to_owned();
    second.call(&["--systemd-cgroup", "create", &id]).refused_naming(&["not empty"]);
    assert!(first.proc().alive());
    assert_eq!(property(first.id(), "ActiveState"), "active");
}

#[test]
fn a_path_of_the_other_driver_is_refused() {
    let Some(bundle) = scoped(Mode::RootUserns) else { return };
    let bundle = bundle.put("/linux/cgroupsPath", json!("/a/b"));
    bundle.write();
    let id = bundle.id().to_owned();
    bundle.call(&["--systemd-cgroup", "create", &id]).refused_naming(&["slice:prefix:name", "/a/b"]);
    Traces::none_of(&bundle);
}

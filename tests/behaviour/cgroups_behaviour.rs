//! Cgroups through their file system: v1 and hybrid as the host has it, pure v2 in the test machine (`tests/vm`).

use crate::common::*;
use serde_json::{Value, json};

/// The content of a file in the container's cgroup, where the host has the controller.
fn file(container: &Container, controller: &str, name: &str) -> Option<String> {
    cgroup_file(container.proc(), controller, name)
}

fn with(resources: Value) -> Bundle {
    Bundle::new(Mode::RootUserns).with(|config| {
        for (key, value) in resources.as_object().unwrap() {
            set(config, &format!("/linux/resources/{key}"), value.clone());
        }
    })
}

/// Starts the container where `controller` exists; where it does not, the limit must be refused by its name.
fn limited(controller: &str, resources: Value) -> Option<Container> {
    if cgroup_dir(controller, "/").is_some() {
        return Some(with(resources).start());
    }
    if !only_ours("the others ignore it in part") {
        let bundle = with(resources);
        bundle.run().refused_naming(&[controller]);
        Traces::none_of(&bundle);
    }
    None
}

in_modes! {
    [root root_userns]
    fn the_process_is_in_its_cgroup_in_every_hierarchy(mode) {
        let container = Bundle::new(mode).start();
        let path = match driver() {
            Driver::Cgroupfs => format!("/{}", container.id()),
            Driver::Systemd => format!("/system.slice/urun-{}.scope", container.id()),
        };
        for line in container.proc().read("cgroup").lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, cgroup) = (parts.next().unwrap(), parts.next().unwrap());
            let first = controllers.split(',').next().unwrap();
            // A hierarchy that is not mounted cannot be entered.
            let mounted = if let Some(name) = first.strip_prefix("name=") {
                host_mounts().iter().any(|m| m.super_has(&format!("name={name}")))
            } else {
                cgroup_dir(first, "/").is_some()
            };
            if mounted && !(first.is_empty() && subject().0 == Subject::Runc) {
                assert!(cgroup.ends_with(&path), "{line}");
            }
        }
    }
}

in_modes! {
    [root root_userns]
    fn delete_removes_the_cgroup_and_the_end_of_the_process_does_not(mode) {
        let container = Bundle::new(mode).start();
        let before = Traces::of(container.bundle()).cgroups;
        assert!(!before.is_empty());
        container.kill("KILL").ok();
        container.wait_stopped();
        // systemd removes a scope with its last process.
        if driver() == Driver::Cgroupfs {
            let after = Traces::of(container.bundle()).cgroups;
            assert_eq!(after, before, "an engine still reads memory.events");
        }
        container.delete(&[]).ok();
        Traces::none_of(container.bundle());
    }
}

#[test]
fn cgroups_made_inside_go_with_the_container() {
    let container = Bundle::new(Mode::RootUserns).start();
    for dir in Traces::of(container.bundle()).cgroups {
        std::fs::create_dir_all(dir.join("made/inside")).unwrap();
    }
    container.delete(&["--force"]).ok();
    Traces::none_of(container.bundle());
}

#[test]
fn a_limit_of_processes_is_set() {
    let Some(container) = limited("pids", json!({"pids": {"limit": 17}})) else { return };
    assert_eq!(file(&container, "pids", "pids.max").unwrap(), "17");
}

#[test]
fn no_limit_of_processes_is_minus_one() {
    // To have no limit takes no controller.
    let container = with(json!({"pids": {"limit": -1}})).start();
    if cgroup_dir("pids", "/").is_some() {
        assert_eq!(file(&container, "pids", "pids.max").unwrap(), "max");
    }
}

#[test]
fn limits_of_memory_are_set() {
    let memory = json!({"memory": {"limit": 67_108_864, "reservation": 33_554_432}});
    let Some(container) = limited("memory", memory) else { return };
    let (limit, low) = if is_v1("memory") {
        ("memory.limit_in_bytes", "memory.soft_limit_in_bytes")
    } else {
        ("memory.max", "memory.low")
    };
    assert_eq!(file(&container, "memory", limit).unwrap(), "67108864");
    assert_eq!(file(&container, "memory", low).unwrap(), "33554432");
}

#[test]
fn shares_and_quota_of_the_processor_are_set() {
    let cpu = json!({"cpu": {"shares": 512, "quota": 50_000, "period": 100_000}});
    let Some(container) = limited("cpu", cpu) else { return };
    if is_v1("cpu") {
        assert_eq!(file(&container, "cpu", "cpu.shares").unwrap(), "512");
        assert_eq!(file(&container, "cpu", "cpu.cfs_quota_us").unwrap(), "50000");
        assert_eq!(file(&container, "cpu", "cpu.cfs_period_us").unwrap(), "100000");
    } else {
        assert_eq!(file(&container, "cpu", "cpu.max").unwrap(), "50000 100000");
        assert_eq!(file(&container, "cpu", "cpu.weight").unwrap(), "59");
    }
}

#[test]
fn a_set_of_processors_is_set() {
    let Some(container) = limited("cpuset", json!({"cpu": {"cpus": "0", "mems": "0"}})) else { return };
    assert_eq!(file(&container, "cpuset", "cpuset.cpus").unwrap(), "0");
    assert_eq!(container.proc().status("Cpus_allowed_list"), "0");
}

#[test]
fn explicit_zeros_leave_everything_alone() {
    let zeros = json!({
        "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""},
        "memory": {"limit": 0, "swap": 0, "reservation": 0},
        "blockIO": {"weight": 0},
    });
    if only_ours("others take them literally in part") {
        return;
    }
    with(zeros).run().ok();
}

#[test]
fn swap_below_the_limit_is_refused_with_its_place() {
    if only_ours("others leave it to the kernel") {
        return;
    }
    let memory = json!({"memory": {"limit": 67_108_864, "swap": 1024}});
    with(memory).run().refused_naming(&["linux.resources.memory.swap"]);
    let memory = json!({"memory": {"swap": 67_108_864}});
    with(memory).run().refused_naming(&["linux.resources.memory.swap"]);
}

in_modes! {
    [root root_userns]
    fn device_rules_are_enforced(mode) {
        // Both devices are on the host; only the null device is among the default rules.
        let kmsg = std::path::Path::new("/dev/kmsg");
        if !kmsg.exists() || (subject().0 == Subject::Crun && !has_cap_sys_resource()) {
            return;
        }
        let script = "echo x > /dev/null && echo null; (: > /dev/kmsg) 2> /dev/null && echo kmsg; exit 0";
        let deny = Bundle::new(mode).mount("bind", kmsg, "/dev/kmsg", &["bind"]).sh(script);
        assert_eq!(deny.run().ok().text(), "null");
        if mode == Mode::Root {
            let allow = Bundle::new(mode).mount("bind", kmsg, "/dev/kmsg", &["bind"]).sh(script);
            let rule = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm"});
            let allow = allow.put("/linux/resources/devices/-", rule);
            assert_eq!(allow.run().ok().text(), "null\nkmsg");
        }
    }
}

in_modes! {
    [root root_userns]
    fn the_cgroup_namespace_shows_the_containers_cgroup_as_the_root(mode) {
        let output = Bundle::new(mode).args(["cat", "/proc/self/cgroup"]).run().ok();
        for line in output.stdout.lines().filter(|line| !line.starts_with("0::") || !is_v1("devices")) {
            assert!(line.ends_with(":/"), "{line}");
        }
    }
}

in_modes! {
    [root root_userns]
    fn the_cgroup_file_system_is_mounted_below_the_containers_root(mode) {
        let options = ["nosuid", "noexec", "nodev", "relatime", "ro"];
        let container = Bundle::new(mode).mount("cgroup", "cgroup", "/sys/fs/cgroup", &options).start();
        let mounts = container.proc().mounts();
        let below: Vec<_> = mounts.iter().filter(|mount| mount.point.starts_with("/sys/fs/cgroup")).collect();
        assert!(below.iter().any(|mount| mount.kind.starts_with("cgroup")), "{below:?}");
        // On v1 a tmpfs carries the hierarchies; the others leave it writable.
        let strict = subject().0 == Subject::Urun;
        for mount in below.iter().filter(|mount| strict || mount.kind.starts_with("cgroup")) {
            assert!(mount.has("ro") && mount.has("nosuid"), "{mount:?}");
        }
    }
}

#[test]
fn a_path_with_dots_cannot_leave_the_hierarchy() {
    let bundle = Bundle::new(Mode::Root).with(|config| {
        config["linux"]["cgroupsPath"] = json!("/../../../../tmp/evil");
    });
    let output = bundle.run();
    assert!(!std::path::Path::new("/tmp/evil").exists());
    // runc and crun put it below the root; an error is as good.
    let _ = output;
    for dir in host_mounts().iter().filter(|m| m.kind.starts_with("cgroup")).map(|m| m.point.clone()) {
        let _ = std::fs::remove_dir(format!("{dir}/tmp/evil"));
        let _ = std::fs::remove_dir(format!("{dir}/tmp"));
    }
}

#[test]
fn unified_files_are_names_and_not_paths() {
    if only_ours("runc refuses unified on v1 altogether") {
        return;
    }
    for name in ["../cgroup.procs", "a/b", "..", ""] {
        let mut unified = json!({});
        unified[name] = json!("1");
        let bundle = with(json!({"unified": unified}));
        bundle.run().refused_naming(&["linux.resources.unified"]);
        Traces::none_of(&bundle);
    }
}

#[test]
fn no_cgroup_is_touched_with_the_disabled_manager() {
    if only_ours("crun does the same, runc has no such flag") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    bundle.write();
    // It wins over `--systemd-cgroup` as well.
    bundle.call(&["--cgroup-manager", "disabled", "run", "-d", bundle.id()]).ok();
    assert_eq!(Traces::of(&bundle).cgroups, Vec::<std::path::PathBuf>::new());
}

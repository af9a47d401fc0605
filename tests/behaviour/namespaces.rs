//! Every kind of namespace: new, inherited, joined by path.

use crate::common::*;
use serde_json::json;

const KINDS: &[(&str, &str)] = &[
    ("pid", "pid"),
    ("network", "net"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroup", "cgroup"),
    ("user", "user"),
];

pub(crate) fn host() -> Proc {
    Proc(std::process::id())
}

in_modes! {
    fn listed_namespaces_are_new_and_the_others_are_the_callers(mode) {
        let container = Bundle::new(mode).start();
        let listed = container.bundle().config["linux"]["namespaces"].to_string();
        for (name, file) in KINDS {
            let new = listed.contains(&format!("\"{name}\"")) || (*name == "user" && mode == Mode::RootInUserns);
            assert_eq!(container.proc().ns(file) != host().ns(file), new, "{name}");
        }
    }
}

in_modes! {
    fn every_new_namespace_belongs_to_the_containers_user_namespace(mode) {
        if mode == Mode::Root {
            return;
        }
        let container = Bundle::new(mode).start();
        for (name, file) in KINDS.iter().filter(|(name, _)| *name != "user" && *name != "cgroup") {
            let owner = container.proc().ns_owner(file);
            assert_eq!(owner, container.proc().ns("user"), "owner of the {name} namespace");
        }
    }
}

in_modes! {
    [root root_userns]
    fn a_namespace_without_entry_is_shared_with_the_host(mode) {
        for (kind, file) in [("ipc", "ipc"), ("uts", "uts"), ("network", "net"), ("cgroup", "cgroup")] {
            let mut bundle = Bundle::new(mode).namespace(kind, None);
            if kind == "uts" {
                bundle.config["hostname"] = json!(null);
            }
            if kind == "ipc" {
                bundle = bundle.with(without_mount("/dev/mqueue"));
            }
            if kind == "network" {
                bundle = bundle.with(without_mount("/sys"));
            }
            let container = bundle.start();
            assert_eq!(container.proc().ns(file), host().ns(file), "{kind}");
        }
    }
}

fn without_mount(destination: &'static str) -> impl FnOnce(&mut serde_json::Value) {
    move |config| config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != destination)
}

in_modes! {
    [root root_userns]
    fn a_container_without_pid_namespace_is_an_ordinary_process_of_the_host(mode) {
        let mut bundle = Bundle::new(mode).namespace("pid", None);
        bundle = bundle.with(without_mount("/proc")).mount("bind", "/proc", "/proc", &["rbind", "nosuid", "noexec", "nodev"]);
        bundle.config["linux"]["maskedPaths"] = json!([]);
        bundle.config["linux"]["readonlyPaths"] = json!([]);
        let container = bundle.start();
        assert_eq!(container.proc().ns("pid"), host().ns("pid"));
        assert_eq!(container.proc().status("NSpid").split_whitespace().count(), 1);
        container.kill("KILL").ok();
        container.wait_stopped();
    }
}

in_modes! {
    fn the_process_is_number_one_of_its_pid_namespace(mode) {
        let container = Bundle::new(mode).start();
        assert_eq!(container.proc().status("NSpid").split_whitespace().last(), Some("1"));
    }
}

in_modes! {
    fn the_hostname_is_set_in_the_containers_uts_namespace(mode) {
        let before = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let output = Bundle::new(mode).args(["hostname"]).put("/hostname", json!("lighthouse")).run().ok();
        assert_eq!(output.text(), "lighthouse");
        assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
    }
}

in_modes! {
    [root root_userns rootless_range]
    fn the_domainname_is_set_in_the_containers_uts_namespace(mode) {
        if subject().0 == Subject::Runc {
            return; // runc 1.1 speaks OCI 1.0, which has no domainname
        }
        let bundle = Bundle::new(mode).put("/domainname", json!("sea.example")).put("/ociVersion", json!("1.1.0"));
        let output = bundle.args(["cat", "/proc/sys/kernel/domainname"]).run().ok();
        assert_eq!(output.text(), "sea.example");
    }
}

#[test]
fn a_hostname_without_uts_namespace_is_refused() {
    let output = Bundle::new(Mode::Root).namespace("uts", None).put("/hostname", json!("evil")).run();
    output.refused_naming(&["hostname", "uts"]);
}

#[test]
fn namespaces_are_joined_by_path() {
    let pinned = PinnedNamespaces::with(&["--net", "--ipc", "--uts"], None);
    let mut bundle = Bundle::new(Mode::Root);
    for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        bundle = bundle.namespace(kind, Some(&pinned.path(file)));
    }
    let container = bundle.start();
    for file in ["net", "ipc", "uts"] {
        assert_eq!(container.proc().ns(file), Proc(pinned.pid()).ns(file), "{file}");
    }
}

/// The shape of a Kubernetes pod with a user namespace: everything but pid, mount and cgroup is pinned.
pub(crate) fn pod(pinned: &PinnedNamespaces) -> Bundle {
    let mut bundle = Bundle::new(Mode::RootUserns);
    for (kind, file) in [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        bundle = bundle.namespace(kind, Some(&pinned.path(file)));
    }
    bundle
}

#[test]
fn a_pods_user_namespace_is_joined_with_the_namespaces_it_owns() {
    let pinned = PinnedNamespaces::with(&["--net", "--ipc", "--uts"], Some((131_072, 65536)));
    let container = pod(&pinned).start();
    for file in ["user", "net", "ipc", "uts"] {
        assert_eq!(container.proc().ns(file), Proc(pinned.pid()).ns(file), "{file}");
    }
    assert_eq!(container.proc().map("uid_map"), [[0, 131_072, 65536]]);
    assert_eq!(container.proc().ns_owner("pid"), container.proc().ns("user"));
    assert_eq!(container.proc().ns_owner("mnt"), container.proc().ns("user"));
}

#[test]
fn a_pod_may_mix_its_own_namespaces_with_the_hosts_network() {
    let pinned = PinnedNamespaces::with(&["--ipc", "--uts"], Some((131_072, 65536)));
    let bundle = pod(&pinned).namespace("network", None).with(without_mount("/sys"));
    let bundle = bundle.mount("bind", "/sys", "/sys", &["rbind", "ro", "nosuid", "noexec", "nodev"]);
    let container = bundle.start();
    assert_eq!(container.proc().ns("net"), host().ns("net"));
    assert_eq!(container.proc().ns("user"), Proc(pinned.pid()).ns("user"));
}

#[test]
fn a_pid_namespace_of_another_container_is_joined() {
    let first = Bundle::new(Mode::RootUserns).start();
    let second = Bundle::new(Mode::RootUserns)
        .namespace("user", Some(&format!("/proc/{}/ns/user", first.proc().0)))
        .namespace("pid", Some(&format!("/proc/{}/ns/pid", first.proc().0)))
        .start();
    assert_eq!(second.proc().ns("pid"), first.proc().ns("pid"));
    assert_ne!(second.proc().status("NSpid").split_whitespace().last(), Some("1"));
}

#[test]
fn a_path_that_is_another_kind_of_namespace_is_refused() {
    let pinned = PinnedNamespaces::with(&["--uts"], None);
    let bundle = Bundle::new(Mode::Root).namespace("network", Some(&pinned.path("uts")));
    bundle.run().refused_naming(&["network", &pinned.path("uts")]);
}

#[test]
fn a_path_that_is_not_there_is_refused_by_name() {
    let bundle = Bundle::new(Mode::Root).namespace("network", Some("/run/nowhere/net"));
    bundle.run().refused_naming(&["/run/nowhere/net"]);
    Traces::none_of(&bundle);
}

#[test]
fn a_namespace_listed_twice_is_refused() {
    if only_ours("crun takes the last one") {
        return;
    }
    let bundle = Bundle::new(Mode::Root).put("/linux/namespaces/-", json!({"type": "uts"}));
    bundle.run().refused_naming(&["linux.namespaces", "uts"]);
}

#[test]
fn an_unknown_namespace_is_refused_by_name() {
    let bundle = Bundle::new(Mode::Root).put("/linux/namespaces/-", json!({"type": "colour"}));
    bundle.run().refused_naming(&["linux.namespaces", "colour"]);
}

in_modes! {
    [root root_userns rootless_range]
    fn time_offsets_shift_the_clocks_of_a_new_time_namespace(mode) {
        if subject().0 == Subject::Runc {
            return; // runc 1.1 has no time namespaces
        }
        let bundle = Bundle::new(mode)
            .namespace("time", Some(""))
            .put("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000_000, "nanosecs": 0}}));
        let container = bundle.sh("cut -d. -f1 /proc/uptime; exec sleep 600").start();
        assert_ne!(container.proc().ns("time"), host().ns("time"));
        crate::common::wait_until("it wrote its uptime", || container.output().trim().parse::<u64>().is_ok());
        assert!(container.output().trim().parse::<u64>().unwrap() > 1_000_000_000);
    }
}

#[test]
fn time_offsets_without_time_namespace_are_refused() {
    if subject().0 == Subject::Runc {
        return;
    }
    let offsets = json!({"monotonic": {"secs": 1, "nanosecs": 0}});
    Bundle::new(Mode::Root).put("/linux/timeOffsets", offsets).run().refused_naming(&["timeOffsets", "time"]);
}

#[test]
fn a_new_network_namespace_has_its_loopback_up() {
    let output = Bundle::new(Mode::RootUserns).args(["ip", "-o", "addr", "show", "lo"]).run().ok();
    assert!(output.stdout.contains("127.0.0.1/8"), "{}", output.stdout);
}

in_modes! {
    [root root_userns]
    fn a_mount_namespace_is_joined_and_gets_the_containers_root(mode) {
        if only_ours("crun and runc leave the masks of the joined one to chance") {
            return;
        }
        let pinned = PinnedNamespaces::with(&["--mount"], None);
        let container = Bundle::new(mode).namespace("mount", Some(&pinned.path("mnt"))).start();
        assert_eq!(container.proc().ns("mnt"), Proc(pinned.pid()).ns("mnt"));
        assert_ne!(container.proc().ns("mnt"), Proc(std::process::id()).ns("mnt"));
        assert!(container.proc().path("root").join("bin/busybox").exists());
        let points = container.proc().mounts();
        assert!(points.iter().any(|mount| mount.point == "/proc/sys" && mount.has("ro")), "masks are in place");
        assert_eq!(points.iter().filter(|mount| mount.point == "/").count(), 1, "the old root is gone");
    }
}

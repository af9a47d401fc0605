//! What `contrib` has for engines that do not run here: read as they would, and pods turned into containers by an engine that does.

use crate::common::Proc;
use crate::podman::{Podman, contrib};
use crate::report::{Report, Scenario};
use crate::site::Who;
use serde_json::Value;
use std::fs;

pub fn suite(report: &Report) {
    for file in ["crio/50-urun.conf", "crio/50-urun-default.conf"] {
        report.run("contrib", Who::Root, file, || crio(file));
    }
    for (file, version, plugin) in [
        ("containerd/config-v2.toml", 2, "io.containerd.grpc.v1.cri"),
        ("containerd/config-v3.toml", 3, "io.containerd.cri.v1.runtime"),
    ] {
        report.run("contrib", Who::Root, file, || containerd(file, version, plugin));
    }
    report.run("contrib", Who::Root, "kubernetes/runtimeclass.yaml", runtime_class);
    report.suite("contrib", Who::Root, Pods::new, PODS);
}

/// Where `make install` puts the program.
const PROGRAM: &str = "/usr/local/bin/urun";

/// The keys of a runtime's table in CRI-O 1.37 (pkg/config/config.go).
const CRIO_KEYS: &[&str] = &[
    "allowed_annotations",
    "container_create_timeout",
    "container_min_memory",
    "default_annotations",
    "exec_cpu_affinity",
    "inherit_default_runtime",
    "monitor_cgroup",
    "monitor_env",
    "monitor_exec_cgroup",
    "monitor_path",
    "no_sync_log",
    "platform_runtime_paths",
    "privileged_without_host_devices",
    "runtime_config_path",
    "runtime_path",
    "runtime_pull_image",
    "runtime_root",
    "runtime_type",
    "seccomp_profile",
    "stream_websockets",
];

fn toml(file: &str) -> Value {
    toml::from_str(&fs::read_to_string(contrib(file)).unwrap()).unwrap()
}

fn crio(file: &str) {
    let runtime = &toml(file)["crio"]["runtime"];
    let table = &runtime["runtimes"]["urun"];
    for key in table.as_object().unwrap().keys() {
        assert!(CRIO_KEYS.contains(&key.as_str()), "CRI-O does not know {key}");
    }
    assert_eq!(table["runtime_path"], PROGRAM);
    assert_eq!(table["runtime_type"], "oci");
    assert_eq!(table["runtime_root"], "/run/urun");
    let expected = if file.contains("default") { Value::from("urun") } else { Value::Null };
    assert_eq!(runtime["default_runtime"], expected);
}

fn containerd(file: &str, version: u32, plugin: &str) {
    let config = toml(file);
    assert_eq!(config["version"], version);
    let runtime = &config["plugins"][plugin]["containerd"]["runtimes"]["urun"];
    assert_eq!(runtime["runtime_type"], "io.containerd.runc.v2");
    assert_eq!(runtime["options"]["BinaryName"], PROGRAM);
}

fn yaml(name: &str) -> Value {
    serde_yaml_ng::from_str(&fs::read_to_string(contrib(&format!("kubernetes/{name}.yaml"))).unwrap())
        .unwrap()
}

fn runtime_class() {
    let class = yaml("runtimeclass");
    assert_eq!((&class["apiVersion"], &class["kind"]), (&"node.k8s.io/v1".into(), &"RuntimeClass".into()));
    let handler = class["handler"].as_str().unwrap();
    assert!(toml("crio/50-urun.conf")["crio"]["runtime"]["runtimes"][handler].is_object());
    for entry in fs::read_dir(contrib("kubernetes")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let name = name.trim_end_matches(".yaml");
        if name == "runtimeclass" {
            continue;
        }
        let pod = yaml(name);
        assert_eq!(pod["spec"]["runtimeClassName"], class["metadata"]["name"], "{name}");
        let scenario = format!("kubernetes/{name}.yaml");
        assert!(PODS.iter().any(|(known, _)| *known == scenario), "{scenario} is never run");
    }
}

/// Podman with the image that the pods name.
struct Pods(Podman);

const PODS: &[Scenario<Pods>] = &[
    ("kubernetes/userns.yaml", userns),
    ("kubernetes/userns-unmasked.yaml", userns_unmasked),
    ("kubernetes/security-context.yaml", security_context),
    ("kubernetes/security-context-capabilities.yaml", security_context_capabilities),
    ("kubernetes/restricted.yaml", restricted),
];

impl Pods {
    fn new() -> Self {
        let podman = Podman::new(Who::Root);
        podman.call(&["tag", "localhost/busybox", "docker.io/library/busybox:1"]).ok();
        Self(podman)
    }

    /// Plays the pod and looks at its process.
    fn play(&self, name: &str, look: impl FnOnce(Proc)) {
        let file = contrib(&format!("kubernetes/{name}.yaml")).display().to_string();
        let mut args = vec!["play", "kube", "--network", "none"];
        // Podman has another way to say so.
        if yaml(name)["spec"]["hostUsers"] == false {
            args.extend(["--userns", "auto"]);
        }
        self.0.call(&[&args[..], &[&file]].concat()).ok();
        look(self.0.process(&format!("{name}-shell")));
        self.0.call(&["play", "kube", "--down", &file]).ok();
    }
}

/// Are the paths below /proc masked that engines mask?
pub fn is_masked(process: Proc) -> bool {
    process.mounts().iter().any(|mount| mount.point == "/proc/keys")
}

/// The host's id of the container's root, and that there is a range of them.
fn first_id(process: Proc) -> u32 {
    let map = process.map("uid_map");
    assert!(map[0][0] == 0 && map[0][1] >= 100_000 && map[0][2] > 1, "{map:?}");
    map[0][1]
}

fn userns(pods: &Pods) {
    pods.play("userns", |process| {
        assert_eq!(process.numbers("Uid"), [first_id(process); 4]);
        assert!(is_masked(process));
    });
}

fn userns_unmasked(pods: &Pods) {
    let container = &yaml("userns-unmasked")["spec"]["containers"][0];
    assert_eq!(container["securityContext"]["procMount"], "Unmasked");
    // `podman play kube` passes over procMount, so the container is made with the flag that means it.
    let flags =
        ["--network", "none", "--userns", "auto", "--security-opt", "unmask=ALL", "--name", "unmasked"];
    let image = container["image"].as_str().unwrap();
    pods.0.call(&[&["run", "--detach"], &flags[..], &[image, "sleep", "3600"]].concat()).ok();
    let process = pods.0.process("unmasked");
    assert_eq!(process.numbers("Uid"), [first_id(process); 4]);
    assert!(!is_masked(process));
    pods.0.call(&["rm", "--force", "--time", "0", "unmasked"]).ok();
}

fn security_context(pods: &Pods) {
    pods.play("security-context", |process| {
        assert_eq!((process.numbers("Uid")[0], process.numbers("Gid")[0]), (1000, 3000));
        assert!(process.numbers("Groups").contains(&4000));
        assert_eq!(process.status("NoNewPrivs"), "1");
        assert!(process.mounts().iter().any(|mount| mount.point == "/data/demo"));
    });
}

fn security_context_capabilities(pods: &Pods) {
    pods.play("security-context-capabilities", |process| {
        first_id(process);
        let caps = u64::from_str_radix(&process.caps("CapEff"), 16).unwrap();
        assert_eq!((caps >> 12 & 1, caps >> 25 & 1), (1, 1));
    });
}

fn restricted(pods: &Pods) {
    pods.play("restricted", |process| {
        assert_eq!(process.numbers("Uid"), [first_id(process) + 1000; 4]);
        assert_eq!(process.caps("CapBnd"), "0000000000000000");
        assert_eq!((process.status("NoNewPrivs"), process.status("Seccomp")), ("1".into(), "2".into()));
        assert!(process.mount("/").has("ro"));
    });
}

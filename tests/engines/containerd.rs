//! containerd through `ctr`, with the configuration that ships.

use crate::common::{Output, Proc, Pty, cgroup_dir, has_cap_sys_resource, limits_are, wait_until};
use crate::cri::{self, Message};
use crate::daemon::Daemon;
use crate::image;
use crate::podman::contrib;
use crate::report::{Report, Scenario};
use crate::site::{Site, Who, cgroup_driver, runtime_name};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// containerd with the image.
pub struct Containerd {
    site: Site,
    daemon: Daemon,
    /// The plugin of the Container Runtime Interface, whose name depends on the version.
    plugin: &'static str,
}

const IMAGE: &str = "localhost/busybox:latest";
/// The plugin of containerd 2 that runs pods.
const NEWEST: &str = "io.containerd.cri.v1.runtime";
const PROBE: [&str; 2] = ["ctr", "version"];

pub fn suite(report: &Report) {
    report.suite("containerd", Who::Root, Containerd::new, SCENARIOS);
}

const SCENARIOS: &[Scenario<Containerd>] = &[
    ("shipped_configuration", shipped_configuration),
    ("run", run),
    ("life", life),
    ("userns", userns),
    ("privileged", privileged),
    ("capabilities", capabilities),
    ("seccomp", seccomp),
    ("read_only", read_only),
    ("mount", mount),
    ("limits", limits),
    ("terminal", terminal),
    ("missing_binary", missing_binary),
    ("exec", exec),
    ("pause_resume", pause_resume),
    ("metrics", metrics),
    ("restart_with_containers_alive", restart_with_containers_alive),
    ("shim_killed", shim_killed),
    ("cri_pod", cri_pod),
];

impl Containerd {
    fn new() -> Self {
        let site = Site::new();
        let default = site.run(Who::Root, &["containerd", "config", "default"]).ok().stdout;
        let plugin = [NEWEST, "io.containerd.grpc.v1.cri"].into_iter().find(|name| default.contains(name)).unwrap();
        site.write("/etc/containerd/config.toml", &config(plugin));
        let daemon = Daemon::start(&site, "containerd", &[], &PROBE);
        let archive = image::archive(&site);
        let containerd = Self { site, daemon, plugin };
        for namespace in ["default", "k8s.io"] {
            containerd.ctr(&["--namespace", namespace, "images", "import", &archive]).ok();
        }
        containerd
    }

    #[track_caller]
    fn ctr(&self, args: &[&str]) -> Output {
        self.site.run(Who::Root, &[&["ctr"], args].concat())
    }

    /// `ctr run` of the command with flags.
    fn command(&self, name: &str, flags: &[&str], command: &[&str]) -> Command {
        let binary = format!("/usr/local/bin/{}", runtime_name());
        let cgroup = format!("system.slice:urun-ctr:{name}");
        let mut words = vec!["ctr", "run", "--runc-binary", &binary];
        if cgroup_driver() == "systemd" {
            words.extend(["--runc-systemd-cgroup", "--cgroup", &cgroup]);
        }
        self.site.command(Who::Root, &[&words, flags, &[IMAGE, name], command].concat())
    }

    /// `ctr run` of the command with flags, to its end.
    #[track_caller]
    fn run(&self, name: &str, flags: &[&str], command: &[&str]) -> Output {
        self.site.finish(self.command(name, flags, command))
    }

    /// A container that sleeps.
    #[track_caller]
    fn detached(&self, name: &str, flags: &[&str]) -> Proc {
        self.run(name, &[flags, &["--detach", "--null-io"]].concat(), &["sleep", "600"]).ok();
        self.process(name)
    }

    #[track_caller]
    fn process(&self, name: &str) -> Proc {
        let tasks = self.ctr(&["tasks", "list"]).ok().stdout;
        let line = tasks.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        self.site.process(line.split_whitespace().nth(1).unwrap().parse().unwrap())
    }

    fn status(&self, name: &str) -> String {
        let tasks = self.ctr(&["tasks", "list"]).ok().stdout;
        let line = tasks.lines().find(|line| line.starts_with(&format!("{name} ")));
        line.map(|line| line.split_whitespace().nth(2).unwrap().to_owned()).unwrap_or_default()
    }

    #[track_caller]
    fn remove(&self, name: &str) {
        self.ctr(&["tasks", "kill", "--signal", "KILL", name]).ok();
        wait_until("the task has stopped", || self.status(name) == "STOPPED");
        self.ctr(&["tasks", "delete", name]).ok();
        self.ctr(&["containers", "delete", name]).ok();
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.daemon.end(&self.site, "TERM");
    }
}

/// The configuration that ships, and what only the tests need: a sandbox of the image that is there, Debian's place for network
/// plugins, and no lower OOM score than a root without CAP_SYS_RESOURCE may set.
fn config(plugin: &str) -> String {
    let (name, sandbox, own_table, plugins) = if plugin == NEWEST {
        let pinned = "io.containerd.cri.v1.images\".pinned_images]\nsandbox";
        ("config-v3.toml", pinned, format!("[plugins.\"{plugin}\"]\n"), "bin_dirs = [\"/usr/lib/cni\"]")
    } else {
        let here = "io.containerd.grpc.v1.cri\"]\nsandbox_image";
        ("config-v2.toml", here, String::new(), "bin_dir = \"/usr/lib/cni\"")
    };
    let mut shipped = fs::read_to_string(contrib("containerd").join(name)).unwrap();
    if cgroup_driver() == "systemd" {
        assert!(shipped.contains("# SystemdCgroup = true"));
        shipped = shipped.replace("# SystemdCgroup = true", "SystemdCgroup = true");
    }
    let restrict = !has_cap_sys_resource();
    format!(
        "{shipped}\n[plugins.\"{sandbox} = \"{IMAGE}\"\n{own_table}restrict_oom_score_adj = {restrict}\n\
         [plugins.\"{plugin}\".cni]\n{plugins}\n"
    )
}

fn shipped_configuration(containerd: &Containerd) {
    let dump = containerd.site.run(Who::Root, &["containerd", "config", "dump"]).ok().stdout;
    let dump: Value = toml::from_str(&dump).unwrap();
    let runtime = &dump["plugins"][containerd.plugin]["containerd"]["runtimes"]["urun"];
    assert_eq!(runtime["runtime_type"], "io.containerd.runc.v2", "the handler is known");
    assert_eq!(runtime["options"]["BinaryName"], "/usr/local/bin/urun");
    assert_eq!(runtime["options"]["SystemdCgroup"] == true, cgroup_driver() == "systemd");
}

fn run(containerd: &Containerd) {
    let output = containerd.run("run", &["--rm"], &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((output.code, output.stdout.as_str()), (7, "out\n"), "{output:?}");
    assert!(output.stderr.contains("err\n"));
}

fn life(containerd: &Containerd) {
    let process = containerd.detached("life", &[]);
    assert_eq!(containerd.status("life"), "RUNNING");
    assert!(process.read("cmdline").starts_with("sleep"));
    assert_eq!(process.fds(), [0, 1, 2]);
    containerd.ctr(&["tasks", "kill", "--signal", "KILL", "life"]).ok();
    wait_until("the task has stopped", || containerd.status("life") == "STOPPED");
    assert!(!process.alive());
    let deleted = containerd.ctr(&["tasks", "delete", "life"]);
    assert!(deleted.stderr.contains("exit code 137"), "{deleted:?}");
    containerd.ctr(&["containers", "delete", "life"]).ok();
}

fn userns(containerd: &Containerd) {
    let maps = ["--uidmap", "0:300000:65536", "--gidmap", "0:300000:65536"];
    let process = containerd.detached("userns", &maps);
    assert_eq!(process.map("uid_map"), [[0, 300_000, 65536]]);
    assert_eq!(process.numbers("Uid"), [300_000; 4]);
    containerd.remove("userns");
}

fn privileged(containerd: &Containerd) {
    let process = containerd.detached("privileged", &["--privileged"]);
    assert_eq!(process.caps("CapEff"), Proc(std::process::id()).caps("CapBnd"));
    containerd.remove("privileged");
}

fn capabilities(containerd: &Containerd) {
    let process = containerd.detached("caps", &["--cap-add", "CAP_NET_ADMIN", "--cap-drop", "CAP_CHOWN"]);
    let caps = u64::from_str_radix(&process.caps("CapEff"), 16).unwrap();
    assert_eq!((caps >> 12 & 1, caps & 1), (1, 0));
    containerd.remove("caps");
}

fn seccomp(containerd: &Containerd) {
    let process = containerd.detached("seccomp", &["--seccomp"]);
    assert_eq!(process.status("Seccomp"), "2");
    containerd.remove("seccomp");
}

fn read_only(containerd: &Containerd) {
    containerd.run("sealed", &["--rm", "--read-only"], &["touch", "/file"]).refused("Read-only file system");
}

fn mount(containerd: &Containerd) {
    let dir = containerd.site.scratch().dir("volume", (0, 0), 0o755);
    let mount = format!("type=bind,src={},dst=/mnt,options=rbind:rw", dir.display());
    containerd.run("mount", &["--rm", "--mount", &mount], &["sh", "-c", "echo x > /mnt/file"]).ok();
    assert_eq!(fs::metadata(dir.join("file")).unwrap().uid(), 0);
}

fn limits(containerd: &Containerd) {
    let process = containerd.detached("limits", &["--memory-limit", "67108864"]);
    let cgroup = process.read("cgroup");
    let legacy = cgroup.lines().any(|line| line.contains(":memory:"));
    let (name, file) = if legacy { ("memory", "memory.limit_in_bytes") } else { ("", "memory.max") };
    let dir = cgroup_dir("memory", &process.cgroup(name)).unwrap();
    assert_eq!(fs::read_to_string(dir.join(file)).unwrap().trim(), "67108864");
    containerd.remove("limits");
}

fn terminal(containerd: &Containerd) {
    // ctr tells the size only after the program has started.
    let wait =
        "i=0; until [ \"$(stty size 2>&1)\" = '24 80' ] || [ $i = 100 ]; do i=$((i+1)); sleep 0.1; done";
    let script = format!("tty; {wait}; stty size; exit 5");
    let command = containerd.command("tty", &["--rm", "--tty"], &["sh", "-c", &script]);
    let (code, output) = Pty::new(24, 80).run(command, "");
    let lines: Vec<&str> = output.split_whitespace().collect();
    assert_eq!((code, lines), (5, vec!["/dev/pts/0", "24", "80"]));
}

fn missing_binary(containerd: &Containerd) {
    containerd.run("missing", &["--rm"], &["nonesuch"]).refused("executable file not found in $PATH");
    assert_eq!(containerd.status("missing"), "");
}

fn exec(containerd: &Containerd) {
    let process = containerd.detached("exec", &[]);
    let exec = |id: &str, flags: &[&str], command: &[&str]| {
        containerd.ctr(&[&["tasks", "exec", "--exec-id", id], flags, &["exec"], command].concat())
    };
    let output = exec("one", &[], &["sh", "-c", "echo out; readlink /proc/self/ns/mnt; exit 9"]);
    assert_eq!((output.code, output.stdout), (9, format!("out\n{}\n", process.ns("mnt"))));
    let output = exec("two", &["--user", "1000"], &["id", "-u"]).ok();
    assert_eq!(output.text(), "1000");
    exec("three", &[], &["nonesuch"]).refused("executable file not found in $PATH");
    containerd.remove("exec");
}

fn pause_resume(containerd: &Containerd) {
    containerd.detached("pause", &[]);
    containerd.ctr(&["tasks", "pause", "pause"]).ok();
    assert_eq!(containerd.status("pause"), "PAUSED");
    containerd.ctr(&["tasks", "resume", "pause"]).ok();
    assert_eq!(containerd.status("pause"), "RUNNING");
    containerd.remove("pause");
}

fn metrics(containerd: &Containerd) {
    let process = containerd.detached("metrics", &[]);
    let output = containerd.ctr(&["tasks", "metrics", "metrics"]).ok();
    assert!(output.stdout.contains("memory"), "{output:?}");
    let output = containerd.ctr(&["tasks", "ps", "metrics"]).ok();
    let pid = process.status("NSpid").split_whitespace().nth(1).unwrap_or_default().to_owned();
    assert!(output.stdout.contains(&pid), "{output:?}");
    containerd.remove("metrics");
}

fn restart_with_containers_alive(containerd: &Containerd) {
    let process = containerd.detached("survivor", &[]);
    containerd.daemon.end(&containerd.site, "KILL");
    assert!(process.alive());
    containerd.daemon.run(&containerd.site, &PROBE);
    assert_eq!(containerd.status("survivor"), "RUNNING");
    assert_eq!(containerd.process("survivor").0, process.0);
    containerd.remove("survivor");
}

/// containerd's own clean-up: the shim is called once more and calls `delete --force`.
fn shim_killed(containerd: &Containerd) {
    let process = containerd.detached("orphan", &[]);
    let shim = process.status("PPid");
    assert!(Proc(shim.parse().unwrap()).read("comm").starts_with("containerd-shim"));
    let pid = nix::unistd::Pid::from_raw(shim.parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_until("the container is gone", || !process.alive() && containerd.status("orphan") != "RUNNING");
    containerd.ctr(&["containers", "delete", "orphan"]).ok();
    let state = containerd.site.run(Who::Root, &["ls", "/run/containerd/runc/default"]);
    assert!(!state.stdout.contains("orphan"), "{state:?}");
}

/// A pod as the kubelet asks for it, on the handler of the configuration that ships.
fn cri_pod(containerd: &Containerd) {
    let message = Message::default;
    let call = |method: &str, message: &Message| {
        let socket = "/run/containerd/containerd.sock";
        cri::call(&containerd.site, socket, method, message)
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    };
    // The node's network: no plugin has to make one.
    let namespaces = message().number(1, 2).number(2, 1);
    let security = message().message(1, &namespaces);
    let metadata = message().text(1, "pod").text(2, "uid-1").text(3, "default");
    let sandbox =
        message().message(1, &metadata).text(3, "/var/log/pods").message(8, &message().message(2, &security));
    let pod = call("RunPodSandbox", &message().message(1, &sandbox).text(2, "urun")).text(1);
    let resources = message().number(4, 64 << 20);
    let linux = message().message(1, &resources).message(2, &message().message(3, &namespaces));
    let config = message()
        .message(1, &message().text(1, "shell"))
        .message(2, &message().text(1, IMAGE))
        .text(3, "sleep")
        .text(3, "654")
        .text(11, "shell.log")
        .message(15, &linux);
    let create = message().text(1, &pod).message(2, &config).message(3, &sandbox);
    let container = call("CreateContainer", &create).text(1);
    let id = message().text(1, &container);
    call("StartContainer", &id);

    let tasks = containerd.ctr(&["--namespace", "k8s.io", "tasks", "list"]).ok().stdout;
    let line = tasks.lines().find(|line| line.starts_with(&container)).unwrap();
    let process = containerd.site.process(line.split_whitespace().nth(1).unwrap().parse().unwrap());
    assert!(process.read("cmdline").starts_with("sleep\x00654"));
    limits_are(process, &[("memory.limit", 64 << 20)]);

    let exec = |words: &[&str]| {
        let request = words.iter().fold(id.clone(), |request, word| request.text(2, word));
        call("ExecSync", &request.number(3, 10))
    };
    let output = exec(&["sh", "-c", "echo out; echo err >&2; exit 9"]);
    assert_eq!((output.text(1), output.text(2), output.number(3)), ("out\n".into(), "err\n".into(), 9));
    call("UpdateContainerResources", &id.clone().message(2, &message().number(4, 96 << 20)));
    limits_are(process, &[("memory.limit", 96 << 20)]);

    call("StopContainer", &id);
    assert!(!process.alive());
    call("RemoveContainer", &id);
    let pod = message().text(1, &pod);
    call("StopPodSandbox", &pod);
    call("RemovePodSandbox", &pod);
    let tasks = containerd.ctr(&["--namespace", "k8s.io", "tasks", "list", "--quiet"]).ok();
    assert_eq!(tasks.text(), "");
}

//! containerd through `ctr`, with the configuration that ships.

use crate::common::{Output, Proc, Pty, cgroup_dir, has_cap_sys_resource, wait_until};
use crate::cri::{self, Message, Response};
use crate::daemon::Daemon;
use crate::image;
use crate::mistakes;
use crate::podman::contrib;
use crate::pods;
use crate::report::{Report, Scenario};
use crate::site::{Site, Who, cgroup_driver, runtime_name};
use serde_json::Value;
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// containerd with the image.
pub struct Containerd {
    pub site: Site,
    daemon: Daemon,
    /// The plugin of the Container Runtime Interface, whose name depends on the version.
    plugin: &'static str,
}

pub const IMAGE: &str = "localhost/busybox:latest";
/// The plugin of containerd 2 that runs pods.
const NEWEST: &str = "io.containerd.cri.v1.runtime";
/// A bridge of the site's own.
const NETWORK: &str = r#"{"cniVersion": "1.0.0", "name": "urun", "plugins": [{"type": "bridge", "bridge": "urun0", "isGateway": true,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]]}}]}"#;
const PROBE: [&str; 2] = ["ctr", "version"];

pub fn suite(report: &Report) {
    let mut scenarios = [SCENARIOS, pods::SCENARIOS].concat();
    if plugin() == NEWEST {
        scenarios.extend(pods::NEWEST);
    } else {
        for (name, _) in pods::NEWEST {
            report.not_run("containerd", Who::Root, name, "it came with containerd 2: tests/vm has one");
        }
    }
    report.suite("containerd", Who::Root, Containerd::new, &scenarios);
}

/// The plugin of this machine's containerd that runs pods.
fn plugin() -> &'static str {
    let default = Command::new("containerd").args(["config", "default"]).output().unwrap();
    let default = String::from_utf8(default.stdout).unwrap();
    [NEWEST, "io.containerd.grpc.v1.cri"].into_iter().find(|name| default.contains(name)).unwrap()
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
    ("eight_mistakes", eight_mistakes),
];

impl Containerd {
    fn new() -> Self {
        let site = Site::new();
        let plugin = plugin();
        site.write("/etc/cni/net.d/10-urun.conflist", NETWORK);
        site.write("/etc/containerd/config.toml", &config(plugin));
        // ctr forgets --runc-binary where it is told --uidmap; then the shim takes `runc` from PATH.
        site.run(Who::Root, &["ln", "-sf", &runtime_name(), "/usr/local/bin/runc"]).ok();
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
        // Whoever else made it, the runtime under test would not know it.
        let state = ["--root", "/run/containerd/runc/default", "state", name];
        self.site.run(Who::Root, &[&[runtime_name().as_str()], &state[..]].concat()).ok();
        self.process(name)
    }

    #[track_caller]
    fn process(&self, name: &str) -> Proc {
        let tasks = self.ctr(&["tasks", "list"]).ok().stdout;
        let line = tasks.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        self.site.process(line.split_whitespace().nth(1).unwrap().parse().unwrap())
    }

    /// A method of the CRI plugin's RuntimeService, which has to succeed.
    #[track_caller]
    pub fn cri(&self, method: &str, message: &Message) -> Response {
        cri::call(&self.site, method, message).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The process that a verbose status of the CRI plugin tells.
    #[track_caller]
    pub fn pid(&self, status: &Response) -> Proc {
        let info: Value = serde_json::from_str(&status.messages(2)[0].text(2)).unwrap();
        self.site.process(info["pid"].as_u64().unwrap().try_into().unwrap())
    }

    /// Kills the daemon and starts it anew.
    pub fn restart(&self) {
        self.daemon.end(&self.site, "KILL");
        self.daemon.run(&self.site, &PROBE);
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
    let listed = output.stdout.split_whitespace().filter_map(|word| word.parse().ok());
    assert!(listed.map(|pid| containerd.site.process(pid)).any(|other| other.0 == process.0), "{output:?}");
    containerd.remove("metrics");
}

fn restart_with_containers_alive(containerd: &Containerd) {
    let process = containerd.detached("survivor", &[]);
    containerd.restart();
    assert!(process.alive());
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

fn eight_mistakes(containerd: &Containerd) {
    let version = containerd.site.run(Who::Root, &["containerd", "--version"]).ok();
    let version = version.text().split_whitespace().nth(2).unwrap();
    let engine = format!("containerd-{}", version.split(['+', '~']).next().unwrap());
    let count = Cell::new(0);
    mistakes::make(&containerd.site, &engine, &mistakes::ctr(&containerd.site), |flags, command| {
        count.set(count.get() + 1);
        containerd.run(&format!("mistake-{}", count.get()), &[&["--rm"], flags].concat(), command)
    });
}

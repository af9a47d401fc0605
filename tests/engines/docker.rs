//! Docker, with the daemon.json that ships: urun is the default runtime.

use crate::common::{Output, Proc, cgroup_dir, wait_until};
use crate::daemon::Daemon;
use crate::image;
use crate::mistakes;
use crate::podman::contrib;
use crate::report::{Report, Scenario};
use crate::site::{Site, Who, cgroup_driver, runtime_name};
use serde_json::{Value, json};
use std::fs;

/// dockerd with the image.
pub struct Docker {
    site: Site,
    daemon: Daemon,
    /// First host id of the daemon's containers.
    first_id: u32,
}

/// Debian's; another one may come before it on PATH.
const CLI: &str = "/usr/bin/docker";
const PROBE: [&str; 2] = [CLI, "version"];

pub fn suite(report: &Report) {
    report.suite("docker", Who::Root, || Docker::new(&json!({"live-restore": true}), 0), SCENARIOS);
    let remap = json!({"userns-remap": "default"});
    report.suite("docker-remap", Who::Root, || Docker::new(&remap, 2_000_000), REMAPPED);
}

const SCENARIOS: &[Scenario<Docker>] = &[
    ("run", run),
    ("life", life),
    ("user_and_groups", user_and_groups),
    ("privileged", privileged),
    ("capabilities_and_seccomp", capabilities_and_seccomp),
    ("volumes_and_read_only", volumes_and_read_only),
    ("limits", limits),
    ("terminal", terminal),
    ("shared_namespaces", shared_namespaces),
    ("exit_codes", exit_codes),
    ("build", build),
    ("exec", exec),
    ("exec_errors", exec_errors),
    ("healthcheck", healthcheck),
    ("pause_unpause", pause_unpause),
    ("update", update),
    ("live_restore", live_restore),
    ("seven_mistakes", seven_mistakes),
];

const REMAPPED: &[Scenario<Docker>] = &[
    ("run", run),
    ("life", life),
    ("user_and_groups", user_and_groups),
    ("capabilities_and_seccomp", capabilities_and_seccomp),
    ("limits", limits),
    ("terminal", terminal),
    ("exit_codes", exit_codes),
    ("build", build),
    ("exec", exec),
];

impl Docker {
    fn new(more: &Value, first_id: u32) -> Self {
        let site = Site::new();
        let text = fs::read_to_string(contrib("docker/daemon.json")).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        let runtime = runtime_name();
        if runtime != "urun" {
            config = json!({"default-runtime": runtime, "runtimes": {&runtime: {"path": format!("/usr/local/bin/{runtime}")}}});
        }
        config["exec-opts"] = json!([format!("native.cgroupdriver={}", cgroup_driver())]);
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        site.write("/etc/docker/daemon.json", &config.to_string());
        let flags = ["--iptables=false", "--ip6tables=false", "--bridge=none"];
        let daemon = Daemon::start(&site, "dockerd", &flags, &PROBE);
        let archive = image::archive(&site);
        let docker = Self { site, daemon, first_id };
        docker.call(&["load", "--input", &archive]).ok();
        docker
    }

    #[track_caller]
    fn call(&self, args: &[&str]) -> Output {
        self.site.run(Who::Root, &[&[CLI], args].concat())
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Output {
        self.call(&[&["run", "--network", "none"], args].concat())
    }

    #[track_caller]
    fn detached(&self, name: &str, flags: &[&str]) -> Proc {
        let image = ["localhost/busybox", "sleep", "600"];
        self.run(&[&["--detach", "--name", name], flags, &image].concat()).ok();
        self.process(name)
    }

    #[track_caller]
    fn inspect(&self, name: &str, format: &str) -> String {
        self.call(&["inspect", "--format", format, name]).ok().text().to_owned()
    }

    #[track_caller]
    fn process(&self, name: &str) -> Proc {
        self.site.process(self.inspect(name, "{{.State.Pid}}").parse().unwrap())
    }

    #[track_caller]
    fn remove(&self, name: &str) {
        self.call(&["rm", "--force", name]).ok();
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.daemon.end(&self.site, "TERM");
    }
}

fn run(docker: &Docker) {
    let output = docker.run(&["--rm", "localhost/busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (7, "out\n", "err\n"));
    let runtime = docker.call(&["info", "--format", "{{.DefaultRuntime}}"]).ok();
    assert_eq!(runtime.text(), runtime_name());
}

fn life(docker: &Docker) {
    let process = docker.detached("life", &[]);
    assert_eq!(process.numbers("Uid"), [docker.first_id; 4]);
    docker.call(&["kill", "life"]).ok();
    wait_until("it ended", || !process.alive());
    assert_eq!(docker.inspect("life", "{{.State.ExitCode}}"), "137");
    docker.call(&["start", "life"]).ok();
    let again = docker.process("life");
    assert!(again.alive() && again.0 != process.0);
    docker.call(&["restart", "--time", "0", "life"]).ok();
    assert!(!again.alive());
    docker.remove("life");
    docker.call(&["inspect", "life"]).refused("no such");
}

fn user_and_groups(docker: &Docker) {
    let flags = ["--user", "1000:1001", "--group-add", "1002"];
    let process = docker.detached("user", &flags);
    assert_eq!(process.numbers("Uid"), [docker.first_id + 1000; 4]);
    assert_eq!(process.numbers("Gid"), [docker.first_id + 1001; 4]);
    assert!(process.numbers("Groups").contains(&(docker.first_id + 1002)));
    docker.remove("user");
}

fn privileged(docker: &Docker) {
    let process = docker.detached("privileged", &["--privileged"]);
    // Docker knows fewer capabilities than a new kernel.
    let sys_admin = u64::from_str_radix(&process.caps("CapEff"), 16).unwrap() >> 21 & 1;
    assert_eq!((sys_admin, process.status("Seccomp").as_str()), (1, "0"));
    docker.remove("privileged");
}

fn capabilities_and_seccomp(docker: &Docker) {
    let process = docker.detached("caps", &["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]);
    assert_eq!(process.caps("CapBnd"), "0000000000000000");
    assert_eq!(process.status("NoNewPrivs"), "1");
    assert_eq!(process.status("Seccomp"), "2");
    docker.remove("caps");
    let process =
        docker.detached("free", &["--cap-add", "NET_ADMIN", "--security-opt", "seccomp=unconfined"]);
    assert_eq!(u64::from_str_radix(&process.caps("CapEff"), 16).unwrap() >> 12 & 1, 1);
    assert_eq!(process.status("Seccomp"), "0");
    docker.remove("free");
}

fn volumes_and_read_only(docker: &Docker) {
    let dir = docker.site.scratch().dir("docker-volume", (0, 0), 0o755);
    let volume = format!("{}:/mnt", dir.display());
    let flags = ["--rm", "--read-only", "--tmpfs", "/tmp", "--volume", &volume, "--volume", "named:/data"];
    let script = "echo x > /mnt/file && touch /tmp/file /data/file && touch /file";
    let output = docker.run(&[&flags[..], &["localhost/busybox", "sh", "-c", script]].concat());
    output.refused("Read-only file system");
    assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "x\n");
}

fn memory_limit(process: Proc) -> String {
    let legacy = process.read("cgroup").lines().any(|line| line.contains(":memory:"));
    let (name, file) = if legacy { ("memory", "memory.limit_in_bytes") } else { ("", "memory.max") };
    let dir = cgroup_dir("memory", &process.cgroup(name)).unwrap();
    fs::read_to_string(dir.join(file)).unwrap().trim().to_owned()
}

fn limits(docker: &Docker) {
    let process = docker.detached("limits", &["--memory", "64m", "--pids-limit", "33"]);
    assert_eq!(memory_limit(process), (64 << 20).to_string());
    docker.remove("limits");
}

fn terminal(docker: &Docker) {
    let output =
        docker.run(&["--rm", "--tty", "localhost/busybox", "sh", "-c", "tty; test -t 1 && echo terminal"]);
    assert_eq!(output.ok().stdout, "/dev/pts/0\r\nterminal\r\n");
}

fn shared_namespaces(docker: &Docker) {
    let owner = docker.detached("owner", &["--ipc", "shareable"]);
    let flags = ["--detach", "--name", "guest", "--network", "container:owner", "--pid", "container:owner"];
    let rest = ["--ipc", "container:owner", "localhost/busybox", "sleep", "600"];
    docker.call(&[&["run"], &flags[..], &rest].concat()).ok();
    let guest = docker.process("guest");
    for kind in ["net", "pid", "ipc"] {
        assert_eq!(owner.ns(kind), guest.ns(kind), "{kind}");
    }
    docker.remove("guest");
    docker.remove("owner");
}

fn exit_codes(docker: &Docker) {
    for (args, code, words) in [
        (&["localhost/busybox", "nonesuch"][..], 127, "executable file not found in $PATH"),
        (&["localhost/busybox", "/etc/passwd"], 126, "permission denied"),
        (&["--nonesuch", "localhost/busybox"], 125, "unknown flag"),
    ] {
        let output = docker.run(&[&["--rm"], args].concat());
        assert_eq!(output.code, code, "{output:?}");
        output.refused(words);
    }
}

fn build(docker: &Docker) {
    let dir = docker.site.scratch().dir("context", (0, 0), 0o755);
    let lines = "FROM localhost/busybox\nRUN echo built > /etc/built && test $(id -u) = 0\nUSER 1000\nRUN test $(id -u) = 1000\n\
                 ENTRYPOINT [\"cat\", \"/etc/built\"]\n";
    fs::write(dir.join("Dockerfile"), lines).unwrap();
    let context = dir.display().to_string();
    let mut command =
        docker.site.command(Who::Root, &[CLI, "build", "--network", "none", "--tag", "built", &context]);
    command.env("DOCKER_BUILDKIT", "0");
    docker.site.finish(command).ok();
    assert_eq!(docker.run(&["--rm", "built"]).ok().text(), "built");
}

fn exec(docker: &Docker) {
    let process = docker.detached("exec", &[]);
    let exec = |args: &[&str]| docker.call(&[&["exec"], args].concat());
    let output = exec(&["exec", "sh", "-c", "echo out; echo err >&2; exit 9"]);
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (9, "out\n", "err\n"));
    let flags = ["--user", "1000", "--workdir", "/tmp", "--env", "WORD=x", "exec"];
    let output =
        exec(&[&flags[..], &["sh", "-c", "id -u; pwd; echo $WORD; readlink /proc/self/ns/mnt"]].concat())
            .ok();
    assert_eq!(output.stdout, format!("1000\n/tmp\nx\n{}\n", process.ns("mnt")));
    exec(&["--detach", "exec", "touch", "/tmp/done"]).ok();
    wait_until("the detached one wrote", || process.inside("/tmp/done").exists());
    docker.remove("exec");
}

fn exec_errors(docker: &Docker) {
    docker.detached("exec-errors", &[]);
    let missing = docker.call(&["exec", "exec-errors", "nonesuch"]);
    assert!(missing.code == 127 || missing.code == 126, "{missing:?}");
    // It comes on standard output in some versions.
    assert!(format!("{missing:?}").contains("executable file not found in $PATH"), "{missing:?}");
    docker.remove("exec-errors");
}

fn healthcheck(docker: &Docker) {
    let flags = ["--health-cmd", "test -e /tmp/well", "--health-interval", "100ms", "--health-retries", "1"];
    let process = docker.detached("patient", &flags);
    let health = || docker.inspect("patient", "{{.State.Health.Status}}");
    wait_until("it is ill", || health() == "unhealthy");
    fs::write(process.inside("/tmp/well"), "").unwrap();
    wait_until("it is well", || health() == "healthy");
    docker.remove("patient");
}

fn pause_unpause(docker: &Docker) {
    docker.detached("pause", &[]);
    docker.call(&["pause", "pause"]).ok();
    assert_eq!(docker.inspect("pause", "{{.State.Status}}"), "paused");
    docker.call(&["unpause", "pause"]).ok();
    assert_eq!(docker.inspect("pause", "{{.State.Status}}"), "running");
    docker.remove("pause");
}

fn update(docker: &Docker) {
    let process = docker.detached("update", &["--memory", "64m"]);
    docker.call(&["update", "--memory", "96m", "--memory-swap", "192m", "update"]).ok();
    assert_eq!(memory_limit(process), (96 << 20).to_string());
    docker.remove("update");
}

fn live_restore(docker: &Docker) {
    let process = docker.detached("survivor", &[]);
    docker.daemon.end(&docker.site, "TERM");
    assert!(process.alive());
    docker.daemon.run(&docker.site, &PROBE);
    assert_eq!(docker.inspect("survivor", "{{.State.Status}}"), "running");
    assert_eq!(docker.process("survivor").0, process.0);
    docker.call(&["kill", "survivor"]).ok();
    wait_until("it ended", || !process.alive());
    docker.remove("survivor");
}

/// The three with user namespaces are not Docker's: its daemon has one map for all.
fn seven_mistakes(docker: &Docker) {
    let version = docker.call(&["version", "--format", "{{.Server.Version}}"]).ok();
    let engine = format!("docker-{}", version.text().split('+').next().unwrap());
    mistakes::make(&docker.site, &engine, &mistakes::common(&docker.site), |flags, command| {
        docker.run(&[&["--rm"], flags, &["localhost/busybox"], command].concat())
    });
}

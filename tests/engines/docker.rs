//! Docker, with the daemon.json that ships: urun is the default runtime.

use crate::common::{Output, Proc, Pty, cgroup_dir, limits_are, wait_until};
use crate::daemon::Daemon;
use crate::image;
use crate::mistakes::{self, Mistake};
use crate::podman::contrib;
use crate::report::{Report, Scenario};
use crate::site::{Site, Who, cgroup_driver, on_the_machine, runtime_name};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

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
    ("devices_sysctls_and_ulimits", devices_sysctls_and_ulimits),
    ("limits", limits),
    ("out_of_memory", out_of_memory),
    ("terminal", terminal),
    ("shared_namespaces", shared_namespaces),
    ("published_port", published_port),
    ("user_network", user_network),
    ("exit_codes", exit_codes),
    ("build", build),
    ("buildkit", buildkit),
    ("exec", exec),
    ("exec_terminal", exec_terminal),
    ("exec_errors", exec_errors),
    ("attach_and_wait", attach_and_wait),
    ("stop", stop),
    ("init", init),
    ("restart_policy", restart_policy),
    ("healthcheck", healthcheck),
    ("stats_and_top", stats_and_top),
    ("copy_commit_rename", copy_commit_rename),
    ("pause_unpause", pause_unpause),
    ("update", update),
    ("live_restore", live_restore),
    ("seven_mistakes", seven_mistakes),
];

const REMAPPED: &[Scenario<Docker>] = &[
    ("run", run),
    ("life", life),
    ("user_and_groups", user_and_groups),
    ("host_user_namespace", host_user_namespace),
    ("capabilities_and_seccomp", capabilities_and_seccomp),
    ("owners_of_volumes", owners_of_volumes),
    ("devices_sysctls_and_ulimits", devices_sysctls_and_ulimits),
    ("limits", limits),
    ("terminal", terminal),
    ("user_network", user_network),
    ("exit_codes", exit_codes),
    ("build", build),
    ("buildkit", buildkit),
    ("exec", exec),
    ("healthcheck", healthcheck),
    ("three_mistakes", three_mistakes),
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
        let (name, value) = builder(&site);
        let daemon = Daemon::start_with(&site, "dockerd", &[], &[(name, &value)], &PROBE);
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
    fn exec(&self, args: &[&str]) -> Output {
        self.call(&[&["exec"], args].concat())
    }

    /// A container that serves `/etc` on port 80.
    #[track_caller]
    fn server(&self, name: &str, flags: &[&str]) -> Proc {
        let image = ["localhost/busybox", "httpd", "-f", "-h", "/etc"];
        self.call(&[&["run", "--detach", "--name", name], flags, &image].concat()).ok();
        self.process(name)
    }

    /// `docker build`, with BuildKit or the builder before it.
    #[track_caller]
    fn build(&self, buildkit: bool, flags: &[&str], lines: &str) -> Output {
        let dir = self.site.scratch().dir("context", (0, 0), 0o755);
        fs::write(dir.join("Dockerfile"), lines).unwrap();
        let context = dir.display().to_string();
        let mut command =
            self.site.command(Who::Root, &[&[CLI, "build"], flags, &[context.as_str()]].concat());
        command.env("DOCKER_BUILDKIT", if buildkit { "1" } else { "0" });
        self.site.finish(command)
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

/// The calls of BuildKit, which does not ask for the default runtime.
fn builder_calls(site: &Site) -> PathBuf {
    site.scratch().join("builder/calls")
}

/// The variable that makes BuildKit call the runtime under test, through a script that keeps the arguments.
fn builder(site: &Site) -> (&'static str, String) {
    let dir = site.scratch().dir("builder", (0, 0), 0o755).display().to_string();
    let (calls, runtime) = (builder_calls(site), runtime_name());
    let text =
        format!("#!/bin/sh\necho \"$*\" >> {}\nexec /usr/local/bin/{runtime} \"$@\"\n", calls.display());
    let script = site.scratch().file("builder/runc", &text, (0, 0), 0o755).display().to_string();
    // Debian 12's version knows no variable for it.
    match on_the_machine() {
        true => ("DOCKER_BUILDKIT_RUNC_COMMAND", script),
        false => ("PATH", format!("{dir}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")),
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

fn host_user_namespace(docker: &Docker) {
    let process = docker.detached("inner", &[]);
    assert_eq!(process.map("uid_map"), [[0, docker.first_id, 65536]]);
    docker.remove("inner");
    let host = Proc(std::process::id()).ns("user");
    for (flags, seccomp) in [(&["--userns", "host"][..], "2"), (&["--userns", "host", "--privileged"], "0")] {
        let process = docker.detached("outer", flags);
        assert_eq!(process.ns("user"), host);
        assert_eq!((process.numbers("Uid"), process.status("Seccomp").as_str()), (vec![0; 4], seccomp));
        docker.remove("outer");
    }
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

fn owners_of_volumes(docker: &Docker) {
    let dir = docker.site.scratch().dir("volume", (docker.first_id, docker.first_id), 0o777);
    let volume = format!("{}:/mnt", dir.display());
    let process = docker.detached("volumes", &["--volume", &volume, "--volume", "owned:/data"]);
    docker.exec(&["volumes", "touch", "/mnt/root", "/data/root"]).ok();
    docker.exec(&["--user", "1000:1001", "volumes", "touch", "/mnt/user"]).ok();
    let owner = |path: PathBuf| fs::metadata(path).map(|file| (file.uid(), file.gid())).unwrap();
    let first = docker.first_id;
    assert_eq!(owner(dir.join("root")), (first, first));
    assert_eq!(owner(process.inside("/data/root")), (first, first));
    assert_eq!(owner(dir.join("user")), (first + 1000, first + 1001));
    docker.remove("volumes");
    docker.call(&["volume", "rm", "owned"]).ok();
}

fn devices_sysctls_and_ulimits(docker: &Docker) {
    let flags = ["--device", "/dev/fuse:/dev/source:r", "--ulimit", "nofile=123:456"];
    let sysctls = ["--sysctl", "kernel.msgmax=4242", "--sysctl", "net.ipv4.ip_default_ttl=99"];
    let process = docker.detached("tuned", &[flags, sysctls].concat());
    assert_eq!(process.limit("Max open files"), ("123".to_owned(), "456".to_owned()));
    assert_eq!(fs::metadata(process.inside("/dev/source")).unwrap().rdev(), nix::sys::stat::makedev(10, 229));
    let script = "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_default_ttl; : < /dev/source && echo read; : > /dev/source";
    let output = docker.exec(&["tuned", "sh", "-c", script]);
    assert_eq!(output.stdout, "4242\n99\nread\n");
    output.refused("not permitted");
    docker.remove("tuned");
}

fn memory_limit(process: Proc) -> String {
    let legacy = process.read("cgroup").lines().any(|line| line.contains(":memory:"));
    let (name, file) = if legacy { ("memory", "memory.limit_in_bytes") } else { ("", "memory.max") };
    let dir = cgroup_dir("memory", &process.cgroup(name)).unwrap();
    fs::read_to_string(dir.join(file)).unwrap().trim().to_owned()
}

fn limits(docker: &Docker) {
    let flags = ["--memory", "64m", "--pids-limit", "33", "--cpus", "0.5", "--cpu-shares", "512"];
    let process = docker.detached("limits", &flags);
    assert_eq!(memory_limit(process), (64 << 20).to_string());
    let others = [("pids.limit", 33), ("cpu.quota", 50_000), ("cpu.period", 100_000), ("cpu.shares", 512)];
    limits_are(process, &others);
    let id = docker.inspect("limits", "{{.Id}}");
    let group = match cgroup_driver().as_str() {
        "systemd" => format!("/system.slice/docker-{id}.scope\n"),
        _ => format!("/docker/{id}\n"),
    };
    assert!(process.read("cgroup").contains(&group), "{}", process.read("cgroup"));
    docker.remove("limits");
}

fn out_of_memory(docker: &Docker) {
    // It waits until it is told, because the shim looks at memory.events once the process has started and hears nothing of what was
    // before; the shell lives on, so that nobody has to look at a group of which the last process was killed.
    let script =
        "until test -e /eat; do sleep 0.1; done; dd if=/dev/zero of=/dev/null bs=64M count=1; exec sleep 600";
    let flags = ["--detach", "--name", "hungry", "--memory", "16m", "--memory-swap", "16m"];
    docker.run(&[&flags[..], &["localhost/busybox", "sh", "-c", script]].concat()).ok();
    docker.exec(&["hungry", "touch", "/eat"]).ok();
    let filters = ["--filter", "container=hungry", "--filter", "event=oom", "--format", "{{.Action}}"];
    let events = ["events", "--since", "1h", "--until", "0s"];
    let told = || docker.call(&[&events[..], &filters].concat()).ok();
    wait_until("it is an event", || told().text().lines().any(|action| action == "oom"));
    docker.call(&["kill", "hungry"]).ok();
    // 20.10 brings its records up to date with the end.
    wait_until("it is reported", || docker.inspect("hungry", "{{.State.OOMKilled}}") == "true");
    docker.remove("hungry");
}

fn terminal(docker: &Docker) {
    let output =
        docker.run(&["--rm", "--tty", "localhost/busybox", "sh", "-c", "tty; test -t 1 && echo terminal"]);
    assert_eq!(output.ok().stdout, "/dev/pts/0\r\nterminal\r\n");
}

/// An address that the kernel has in the network namespace of the process.
fn has_address(process: Proc, address: &str) -> bool {
    process.read("net/fib_trie").lines().any(|line| line.trim_start() == format!("|-- {address}"))
}

fn published_port(docker: &Docker) {
    let process = docker.server("server", &["--publish", "80"]);
    assert!(process.read("net/dev").contains("eth0:"));
    let address = docker.inspect("server", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    assert!(has_address(process, &address), "{address}: {}", process.read("net/fib_trie"));
    let published = docker.call(&["port", "server", "80/tcp"]).ok();
    let port = published.text().lines().next().unwrap().rsplit(':').next().unwrap();
    let gateway = docker.inspect("server", "{{.NetworkSettings.Networks.bridge.Gateway}}");
    // Through the proxy, by the rules of the firewall, and straight.
    for server in [format!("127.0.0.1:{port}"), format!("{gateway}:{port}"), address] {
        let url = format!("http://{server}/group");
        let mut answer = String::new();
        wait_until(&format!("{url} answers"), || {
            let output = docker.site.run(Who::Root, &["curl", "--silent", "--fail", "--max-time", "5", &url]);
            answer = output.stdout;
            output.code == 0
        });
        assert_eq!(answer, "root:x:0:\nuser:x:1000:\n");
    }
    docker.remove("server");
}

fn user_network(docker: &Docker) {
    docker.call(&["network", "create", "compose"]).ok();
    let process = docker.server("web", &["--network", "compose", "--network-alias", "site"]);
    let address = docker.inspect("web", "{{.NetworkSettings.Networks.compose.IPAddress}}");
    assert!(has_address(process, &address), "{address}: {}", process.read("net/fib_trie"));
    for server in ["site", &address] {
        let url = format!("http://{server}/group");
        let client =
            ["run", "--rm", "--network", "compose", "localhost/busybox", "wget", "-q", "-O", "-", &url];
        assert_eq!(docker.call(&client).ok().stdout, "root:x:0:\nuser:x:1000:\n");
    }
    docker.call(&["network", "connect", "bridge", "web"]).ok();
    assert!(process.read("net/dev").contains("eth1:"));
    docker.remove("web");
    docker.call(&["network", "rm", "compose"]).ok();
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
    let lines = "FROM localhost/busybox\nRUN echo built > /etc/built && test $(id -u) = 0\nUSER 1000\nRUN test $(id -u) = 1000\n\
                 ENTRYPOINT [\"cat\", \"/etc/built\"]\n";
    docker.build(false, &["--network", "none", "--tag", "built"], lines).ok();
    assert_eq!(docker.run(&["--rm", "built"]).ok().text(), "built");
}

fn buildkit(docker: &Docker) {
    let calls = builder_calls(&docker.site);
    let runs = || fs::read_to_string(&calls).unwrap_or_default().matches(" run ").count();
    let before = runs();
    let lines = "FROM localhost/busybox\nRUN ip -4 addr show eth0 > /etc/built\nUSER 1000\nRUN test $(id -u) = 1000\n\
                 ENTRYPOINT [\"cat\", \"/etc/built\"]\n";
    docker.build(true, &["--tag", "kit"], lines).ok();
    assert_eq!(runs() - before, 2);
    assert!(docker.run(&["--rm", "kit"]).ok().stdout.contains("inet 172."));
    docker.build(true, &[], "FROM localhost/busybox\nRUN exit 9\n").refused("exit code: 9");
    assert_eq!(runs() - before, 3);
}

fn exec(docker: &Docker) {
    let process = docker.detached("exec", &[]);
    let output = docker.exec(&["exec", "sh", "-c", "echo out; echo err >&2; exit 9"]);
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (9, "out\n", "err\n"));
    let flags = ["--user", "1000", "--workdir", "/tmp", "--env", "WORD=x", "exec"];
    let output = docker
        .exec(&[&flags[..], &["sh", "-c", "id -u; pwd; echo $WORD; readlink /proc/self/ns/mnt"]].concat())
        .ok();
    assert_eq!(output.stdout, format!("1000\n/tmp\nx\n{}\n", process.ns("mnt")));
    docker.exec(&["--detach", "exec", "touch", "/tmp/done"]).ok();
    wait_until("the detached one wrote", || process.inside("/tmp/done").exists());
    docker.remove("exec");
}

fn exec_terminal(docker: &Docker) {
    docker.detached("screen", &[]);
    let script = "tty; test -t 1 && echo terminal";
    let output = docker.exec(&["--tty", "screen", "sh", "-c", script]).ok();
    assert_eq!(output.stdout, "/dev/pts/0\r\nterminal\r\n");
    let words = [CLI, "exec", "--interactive", "--tty", "screen", "sh"];
    let (code, text) =
        Pty::new(24, 80).run(docker.site.command(Who::Root, &words), "echo $((6 * 7)); exit 4\n");
    assert!(code == 4 && text.contains("\n42\r\n"), "{code}: {text}");
    docker.remove("screen");
}

fn exec_errors(docker: &Docker) {
    docker.detached("exec-errors", &[]);
    let missing = docker.exec(&["exec-errors", "nonesuch"]);
    assert!(missing.code == 127 || missing.code == 126, "{missing:?}");
    // It comes on standard output in some versions.
    assert!(format!("{missing:?}").contains("executable file not found in $PATH"), "{missing:?}");
    docker.remove("exec-errors");
}

fn attach_and_wait(docker: &Docker) {
    let script = "read line; echo heard $line; exit 6";
    let image = ["localhost/busybox", "sh", "-c", script];
    let flags = ["--detach", "--interactive", "--tty", "--name", "listener"];
    docker.run(&[&flags[..], &image].concat()).ok();
    let attach = docker.site.command(Who::Root, &[CLI, "attach", "listener"]);
    let (code, text) = Pty::new(24, 80).run(attach, "a word\n");
    assert!(code == 6 && text.contains("heard a word"), "{code}: {text}");
    assert_eq!(docker.call(&["wait", "listener"]).ok().text(), "6");
    docker.remove("listener");
}

fn stop(docker: &Docker) {
    let script = "trap 'exit 3' TERM; touch /tmp/ready; sleep 600 & wait";
    docker.run(&["--detach", "--name", "polite", "localhost/busybox", "sh", "-c", script]).ok();
    let process = docker.process("polite");
    wait_until("it has its trap", || process.inside("/tmp/ready").exists());
    docker.call(&["stop", "polite"]).ok();
    assert!(!process.alive());
    assert_eq!(docker.inspect("polite", "{{.State.Status}} {{.State.ExitCode}}"), "exited 3");
    docker.remove("polite");
}

fn init(docker: &Docker) {
    let process = docker.detached("init", &["--init"]);
    assert_eq!(process.read("comm"), "docker-init\n");
    assert!(process.mount("/sbin/docker-init").has("ro"));
    let child = || process.read(&format!("task/{}/children", process.0));
    wait_until("it has a child", || !child().is_empty());
    let child = Proc(child().trim().parse().unwrap());
    wait_until("its child is the command", || child.read("comm") == "sleep\n");
    // The first process of a namespace dies of no signal that it does not handle; a child does.
    docker.call(&["stop", "init"]).ok();
    assert_eq!(docker.inspect("init", "{{.State.ExitCode}}"), "143");
    docker.remove("init");
}

fn restart_policy(docker: &Docker) {
    let image = ["localhost/busybox", "sh", "-c", "echo again; exit 5"];
    docker.run(&[&["--detach", "--name", "stubborn", "--restart", "on-failure:2"], &image[..]].concat()).ok();
    let state = || docker.inspect("stubborn", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}");
    wait_until("it gives up", || state() == "exited 5 2");
    assert_eq!(docker.call(&["logs", "stubborn"]).ok().stdout, "again\nagain\nagain\n");
    docker.remove("stubborn");
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

fn stats_and_top(docker: &Docker) {
    docker.detached("watched", &[]);
    let format = "{{.Name}} {{.PIDs}} {{.MemUsage}}";
    let stats = docker.call(&["stats", "--no-stream", "--format", format, "watched"]).ok();
    assert!(stats.text().starts_with("watched 1 "), "{stats:?}");
    assert!(!stats.text().contains(" 0B /"), "{stats:?}");
    let top = docker.call(&["top", "watched", "-o", "pid,comm"]).ok();
    let pid = docker.inspect("watched", "{{.State.Pid}}");
    let words: Vec<&str> = top.stdout.split_whitespace().collect();
    assert_eq!(words, ["PID", "COMMAND", &pid, "sleep"]);
    docker.remove("watched");
}

fn copy_commit_rename(docker: &Docker) {
    let process = docker.detached("draft", &[]);
    let source = docker.site.scratch().file("copied", "from outside\n", (0, 0), 0o644).display().to_string();
    docker.call(&["cp", &source, "draft:/etc/copied"]).ok();
    assert_eq!(fs::read_to_string(process.inside("/etc/copied")).unwrap(), "from outside\n");
    // Commit pauses the container.
    docker.call(&["commit", "draft", "committed"]).ok();
    assert_eq!(docker.run(&["--rm", "committed", "cat", "/etc/copied"]).ok().stdout, "from outside\n");
    docker.call(&["rename", "draft", "final"]).ok();
    assert_eq!(docker.process("final").0, process.0);
    fs::write(process.inside("/etc/copied"), "from inside\n").unwrap();
    docker.call(&["cp", "final:/etc/copied", &source]).ok();
    assert_eq!(fs::read_to_string(source).unwrap(), "from inside\n");
    docker.remove("final");
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

fn seven_mistakes(docker: &Docker) {
    mistakes(docker, "", mistakes::common(&docker.site));
}

fn three_mistakes(docker: &Docker) {
    mistakes(docker, "-remap", mistakes::docker_remapped(&docker.site));
}

fn mistakes(docker: &Docker, suffix: &str, mistakes: Vec<Mistake>) {
    let version = docker.call(&["version", "--format", "{{.Server.Version}}"]).ok();
    let engine = format!("docker-{}{suffix}", version.text().split('+').next().unwrap());
    mistakes::make(&docker.site, &engine, &mistakes, |flags, command| {
        docker.run(&[&["--rm"], flags, &["localhost/busybox"], command].concat())
    });
}

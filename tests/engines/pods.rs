//! Pods through containerd's CRI plugin, as the kubelet asks for them. The numbers of fields are those of `runtime.v1` (k8s.io/cri-api).

use crate::common::{Proc, is_v1, limit_of, limits_are, lsm, wait_until};
use crate::containerd::{Containerd, IMAGE};
use crate::cri::{self, Message, Response};
use crate::report::Scenario;
use crate::shipped::is_masked;
use crate::site::{Who, cgroup_driver};
use crate::stream::Stream;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What every containerd with a CRI plugin does.
pub const SCENARIOS: &[Scenario<Containerd>] = &[
    ("pod", pod),
    ("pod_network", pod_network),
    ("pod_security_context", pod_security_context),
    ("pod_privileged", pod_privileged),
    ("pod_shares_pids", pod_shares_pids),
    ("pod_volumes", pod_volumes),
    ("pod_exec_sync", pod_exec_sync),
    ("pod_exec_stream", pod_exec_stream),
    ("pod_exec_terminal", pod_exec_terminal),
    ("pod_update", pod_update),
    ("pod_stats", pod_stats),
    ("pod_stop", pod_stop),
    ("pod_out_of_memory", pod_out_of_memory),
    ("pod_errors", pod_errors),
    ("pod_survives_a_restart", pod_survives_a_restart),
];

/// What came with containerd 2.
pub const NEWEST: &[Scenario<Containerd>] = &[
    ("pod_handler_features", pod_handler_features),
    ("pod_userns", pod_userns),
    ("pod_userns_volumes", pod_userns_volumes),
    ("pod_userns_unmasked", pod_userns_unmasked),
    ("pod_userns_shares_pids", pod_userns_shares_pids),
    ("pod_userns_terminal", pod_userns_terminal),
    ("pod_userns_survives_a_restart", pod_userns_survives_a_restart),
    ("pod_recursive_read_only", pod_recursive_read_only),
    ("pod_image_volume", pod_image_volume),
];

/// The kubelet's lists for procMount: Default (kubernetes/pkg/securitycontext).
const MASKED: &[&str] = &["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"];
const READONLY: &[&str] = &["/proc/bus", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// First host id and number of ids of the pods with a user namespace.
const IDS: [u32; 2] = [131_072, 65536];

/// NamespaceMode.
const CONTAINER: u64 = 1;
const NODE: u64 = 2;

fn message() -> Message {
    Message::default()
}

/// NamespaceOption: the pod's own network, a pid namespace for each container.
fn own() -> Message {
    message().number(2, CONTAINER)
}

/// IDMapping from 0.
fn mapping() -> Message {
    message().number(1, IDS[0].into()).number(3, IDS[1].into())
}

/// `hostUsers: false`.
fn userns(options: Message) -> Message {
    options.message(5, &message().message(2, &mapping()).message(3, &mapping()))
}

/// A pod that runs. It is stopped and removed with its containers when the value ends.
struct Pod<'a> {
    containerd: &'a Containerd,
    config: Message,
    options: Message,
    id: String,
}

impl<'a> Pod<'a> {
    /// A pod on urun's handler with a NamespaceOption.
    #[track_caller]
    fn run(containerd: &'a Containerd, name: &str, options: Message) -> Self {
        Self::with(containerd, name, options, message())
    }

    /// The same with more of LinuxSandboxSecurityContext.
    #[track_caller]
    fn with(containerd: &'a Containerd, name: &str, options: Message, security: Message) -> Self {
        let logs = containerd.site.scratch().dir(&format!("logs-{name}"), (0, 0), 0o755);
        let parent = if cgroup_driver() == "systemd" { "urun-pods.slice" } else { "/urun-pods" };
        let linux = message().text(1, parent).message(2, &security.message(1, &options));
        let metadata = message().text(1, name).text(2, &format!("uid-{name}")).text(3, "default");
        // The kubelet gives pods in the node's network no name of their own.
        let host = Response::parse(&options.0).number(1) == NODE;
        let config = message()
            .message(1, &metadata)
            .text(2, if host { "" } else { name })
            .text(3, logs.to_str().unwrap())
            .message(8, &linux);
        let answer = containerd.cri("RunPodSandbox", &message().message(1, &config).text(2, "urun"));
        Self { containerd, config, options, id: answer.text(1) }
    }

    /// A container that can still be told more.
    fn container(&self, name: &str, command: &[&str]) -> Wanted<'_> {
        let config = message().message(1, &message().text(1, name)).message(2, &message().text(1, IMAGE));
        let config = config.texts(3, command).text(11, name);
        let security = message().message(3, &self.options).texts(13, MASKED).texts(14, READONLY);
        Wanted { pod: self, config, security, resources: message() }
    }

    /// A container that sleeps.
    #[track_caller]
    fn sleeper(&self, name: &str) -> Container<'_> {
        self.container(name, &["sleep", "600"]).start()
    }

    /// The process that holds the pod's namespaces.
    #[track_caller]
    fn process(&self) -> Proc {
        let request = message().text(1, &self.id).number(2, 1);
        self.containerd.pid(&self.containerd.cri("PodSandboxStatus", &request))
    }

    /// What a container wrote, as the kubelet reads it.
    fn log(&self, name: &str) -> String {
        let logs = Response::parse(&self.config.0).text(3);
        fs::read_to_string(PathBuf::from(logs).join(name)).unwrap_or_default()
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        let id = message().text(1, &self.id);
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            if let Err(error) = cri::call(&self.containerd.site, method, &id) {
                println!("{method}: {error}");
            }
        }
    }
}

/// A container before it is made.
struct Wanted<'p> {
    pod: &'p Pod<'p>,
    config: Message,
    security: Message,
    resources: Message,
}

impl<'p> Wanted<'p> {
    /// More of ContainerConfig.
    fn config(mut self, more: impl FnOnce(Message) -> Message) -> Self {
        self.config = more(self.config);
        self
    }

    /// More of LinuxContainerSecurityContext.
    fn security(mut self, more: impl FnOnce(Message) -> Message) -> Self {
        self.security = more(self.security);
        self
    }

    /// `procMount: Unmasked`.
    fn unmasked(mut self) -> Self {
        self.security = message().message(3, &self.pod.options);
        self
    }

    /// LinuxContainerResources.
    fn resources(mut self, resources: Message) -> Self {
        self.resources = resources;
        self
    }

    /// A Mount of a host's directory, with more of its fields.
    fn mount(self, host: &str, inside: &str, more: impl FnOnce(Message) -> Message) -> Self {
        self.config(|config| config.message(7, &more(message().text(1, inside).text(2, host))))
    }

    #[track_caller]
    fn create(self) -> Container<'p> {
        let pod = self.pod;
        let id = self.try_create().unwrap_or_else(|error| panic!("CreateContainer: {error}"));
        Container { pod, id }
    }

    fn try_create(self) -> Result<String, String> {
        let linux = message().message(1, &self.resources).message(2, &self.security);
        let config = self.config.message(15, &linux);
        let create = message().text(1, &self.pod.id).message(2, &config).message(3, &self.pod.config);
        cri::call(&self.pod.containerd.site, "CreateContainer", &create).map(|answer| answer.text(1))
    }

    #[track_caller]
    fn start(self) -> Container<'p> {
        let container = self.create();
        container.call("StartContainer", message());
        container
    }
}

/// A container that exists as long as its pod.
struct Container<'p> {
    pod: &'p Pod<'p>,
    id: String,
}

impl Container<'_> {
    /// A method whose request begins with the container's id.
    #[track_caller]
    fn call(&self, method: &str, rest: Message) -> Response {
        self.pod.containerd.cri(method, &message().text(1, &self.id).and(&rest))
    }

    #[track_caller]
    fn process(&self) -> Proc {
        self.pod.containerd.pid(&self.call("ContainerStatus", message().number(2, 1)))
    }

    /// ContainerStatus.
    #[track_caller]
    fn status(&self) -> Response {
        self.call("ContainerStatus", message()).message(1)
    }

    /// Exit code, standard output and standard error of a program inside.
    #[track_caller]
    fn exec(&self, words: &[&str]) -> (u64, String, String) {
        let request = message().texts(2, words).number(3, 60);
        let output = self.call("ExecSync", request);
        (output.number(3), output.text(1), output.text(2))
    }

    /// Standard output of a shell's line that has to succeed.
    #[track_caller]
    fn shell(&self, line: &str) -> String {
        let (code, out, err) = self.exec(&["sh", "-c", line]);
        assert_eq!(code, 0, "{line}: {out}{err}");
        out.trim().to_owned()
    }

    /// A program whose streams are connected: more of ExecRequest says which.
    #[track_caller]
    fn stream(&self, words: &[&str], streams: Message) -> Stream {
        let request = message().texts(2, words).and(&streams);
        Stream::open(&self.pod.containerd.site, &self.call("Exec", request).text(1))
    }

    /// Waits until the program has ended, and returns its exit code and the reason.
    #[track_caller]
    fn ended(&self) -> (u64, String) {
        // CONTAINER_EXITED
        wait_until("the container has ended", || self.status().number(3) == 2);
        let status = self.status();
        (status.number(7), status.text(10))
    }
}

/// Capabilities to add: LinuxContainerSecurityContext.capabilities.
fn capability(name: &str) -> impl FnOnce(Message) -> Message {
    move |security| security.message(1, &message().text(1, name))
}

fn bit(process: Proc, capability: u32) -> u64 {
    u64::from_str_radix(&process.caps("CapEff"), 16).unwrap() >> capability & 1
}

fn pod(containerd: &Containerd) {
    let pod = Pod::run(containerd, "host-network", message().number(1, NODE).number(2, CONTAINER));
    let container = pod.container("shell", &["sh", "-c", "echo out; echo err >&2; exec sleep 654"]).start();
    let process = container.process();
    assert_eq!(process.ns("net"), pod.process().ns("net"));
    assert_ne!(process.ns("pid"), pod.process().ns("pid"));
    assert!(is_masked(process));
    wait_until("the log has both", || {
        let log = pod.log("shell");
        log.contains("stdout F out\n") && log.contains("stderr F err\n")
    });
    let cgroup = process.cgroup(if is_v1("pids") { "pids" } else { "" });
    let scope = if cgroup_driver() == "systemd" {
        format!("cri-containerd-{}.scope", container.id)
    } else {
        container.id.clone()
    };
    assert!(cgroup.contains("urun") && cgroup.ends_with(&format!("/{scope}")), "{cgroup}");
    container.call("StopContainer", message());
    assert!(!process.alive());
    container.call("RemoveContainer", message());
    let list = containerd.cri("ListContainers", &message());
    assert!(list.messages(1).iter().all(|other| other.text(1) != container.id));
}

/// Two pods on a bridge, as a network plugin makes it.
fn pod_network(containerd: &Containerd) {
    let server = Pod::run(containerd, "server", own());
    let status = containerd.cri("PodSandboxStatus", &message().text(1, &server.id));
    let address = status.message(1).message(5).text(1);
    assert!(address.starts_with("10.88."), "{address}");
    server.container("talks", &["sh", "-c", "while true; do echo spoken | nc -l -p 8080; done"]).start();
    let client = Pod::run(containerd, "client", own());
    let container = client.sleeper("asks");
    let process = container.process();
    assert_eq!(process.ns("net"), client.process().ns("net"));
    assert_ne!(process.ns("net"), server.process().ns("net"));
    let ask = format!("nc {address} 8080");
    wait_until("the server is heard", || container.exec(&["sh", "-c", &ask]).1 == "spoken\n");
    assert_eq!(container.shell("hostname"), "client");
}

fn pod_security_context(containerd: &Containerd) {
    let pod = Pod::run(containerd, "restricted", own());
    let number = |value| message().number(1, value);
    let drop_all = message().text(2, "ALL");
    let restrict = |security: Message| {
        let ids = security.message(5, &number(1000)).message(12, &number(3000)).number(8, 4000);
        // RuntimeDefault is the first of SecurityProfile's types, and a message without fields.
        ids.message(1, &drop_all).number(7, 1).number(11, 1).message(15, &message())
    };
    let container = pod.container("shell", &["sleep", "600"]).security(restrict).start();
    let process = container.process();
    assert_eq!((process.numbers("Uid"), process.numbers("Gid")), (vec![1000; 4], vec![3000; 4]));
    assert!(process.numbers("Groups").contains(&4000));
    assert_eq!(process.caps("CapBnd"), "0000000000000000");
    assert_eq!((process.status("NoNewPrivs"), process.status("Seccomp")), ("1".into(), "2".into()));
    assert!(process.mount("/").has("ro"));
    if lsm("apparmor") {
        assert_eq!(process.read("attr/current").trim(), "cri-containerd.apparmor.d (enforce)");
    }
}

fn pod_privileged(containerd: &Containerd) {
    let privileged = |number| move |security: Message| security.number(number, 1);
    let options = message().number(1, NODE).number(2, NODE).number(3, NODE);
    let pod = Pod::with(containerd, "privileged", options, privileged(6)(message()));
    let container = pod.container("shell", &["sleep", "600"]).unmasked().security(privileged(2)).start();
    let process = container.process();
    assert_eq!(process.ns("pid"), pod.process().ns("pid"));
    assert_eq!((bit(process, 21), process.status("Seccomp").as_str()), (1, "0"));
    assert!(!is_masked(process));
    assert!(!process.mount("/sys").has("ro"));
    container.shell("mount -t tmpfs x /mnt && test -e /dev/loop-control -o -e /dev/fuse");
}

/// `shareProcessNamespace`.
fn pod_shares_pids(containerd: &Containerd) {
    let pod = Pod::run(containerd, "pids", message());
    let (one, two) = (pod.container("one", &["sleep", "655"]).start(), pod.sleeper("two"));
    assert_eq!(one.process().ns("pid"), pod.process().ns("pid"));
    assert!(two.shell("ps -o args").contains("sleep 655"));
    one.call("StopContainer", message());
    assert!(two.process().alive());
}

fn pod_volumes(containerd: &Containerd) {
    let dir = containerd.site.scratch().dir("volumes", (0, 0), 0o755).display().to_string();
    for name in ["plain", "sealed", "follows"] {
        fs::create_dir(format!("{dir}/{name}")).unwrap();
    }
    let pod = Pod::run(containerd, "volumes", own());
    let container = pod
        .container("shell", &["sleep", "600"])
        .mount(&format!("{dir}/plain"), "/plain", |mount| mount)
        .mount(&format!("{dir}/sealed"), "/sealed", |mount| mount.number(3, 1))
        // PROPAGATION_HOST_TO_CONTAINER
        .mount(&format!("{dir}/follows"), "/follows", |mount| mount.number(5, 1))
        .start();
    container.shell("echo x > /plain/file");
    assert_eq!(fs::metadata(format!("{dir}/plain/file")).unwrap().uid(), 0);
    let (code, _, err) = container.exec(&["touch", "/sealed/file"]);
    assert!(code != 0 && err.contains("Read-only file system"), "{err}");
    for name in ["plain", "follows"] {
        let later = format!("{dir}/{name}/later");
        containerd
            .site
            .run(Who::Root, &["sh", "-c", &format!("mkdir {later} && mount -t tmpfs later {later}")])
            .ok();
    }
    let process = container.process();
    let has = |point: &str| process.mounts().iter().any(|mount| mount.point == point);
    assert!(has("/follows/later") && !has("/plain/later"));
    containerd
        .site
        .run(Who::Root, &["umount", &format!("{dir}/plain/later"), &format!("{dir}/follows/later")])
        .ok();
}

fn pod_exec_sync(containerd: &Containerd) {
    let pod = Pod::run(containerd, "exec-sync", own());
    let container = pod.sleeper("shell");
    let output = container.exec(&["sh", "-c", "echo out; echo err >&2; readlink /proc/self/ns/mnt; exit 9"]);
    assert_eq!(output, (9, format!("out\n{}\n", container.process().ns("mnt")), "err\n".into()));
    let error = exec_error(&container, &["nonesuch"], 10);
    assert!(error.contains("executable file not found in $PATH"), "{error}");
    let error = exec_error(&container, &["sleep", "98"], 1);
    assert!(error.contains("deadline exceeded") || error.contains("timeout"), "{error}");
    assert!(!container.shell("ps -o args").contains("sleep 98"), "what took too long is gone");
}

/// What the engine says instead of running a program.
#[track_caller]
fn exec_error(container: &Container, words: &[&str], seconds: u64) -> String {
    let request = message().text(1, &container.id).texts(2, words);
    let site = &container.pod.containerd.site;
    cri::call(site, "ExecSync", &request.number(3, seconds)).err().expect("it has to fail")
}

fn pod_exec_stream(containerd: &Containerd) {
    let pod = Pod::run(containerd, "exec-stream", own());
    let container = pod.sleeper("shell");
    let script = "read line; echo \"heard $line\"; echo err >&2; exit 7";
    let mut stream =
        container.stream(&["sh", "-c", script], message().number(4, 1).number(5, 1).number(6, 1));
    stream.write("word\n");
    stream.finish();
    assert_eq!((stream.stdout.as_str(), stream.stderr.as_str()), ("heard word\n", "err\n"));
    let status: Value = serde_json::from_str(&stream.status).unwrap();
    assert_eq!(status["details"]["causes"][0]["message"], "7", "{status}");
    let mut stream = container.stream(&["true"], message().number(5, 1));
    stream.finish();
    assert!(stream.status.contains("Success"), "{}", stream.status);
    let mut stream = container.stream(&["nonesuch"], message().number(5, 1).number(6, 1));
    stream.finish();
    assert!(stream.status.contains("executable file not found in $PATH"), "{}", stream.status);
}

/// `kubectl exec -it`: a terminal that follows the size of the user's.
fn talk_on_a_terminal(container: &Container) {
    let mut stream = container.stream(&["sh"], message().number(3, 1).number(4, 1).number(5, 1));
    stream.write("tty\n");
    stream.read_until(|stream| stream.stdout.contains("/dev/pts/"));
    stream.resize(33, 77);
    stream.write("until stty size | grep '33 77'; do sleep 0.1; done; exit 4\n");
    stream.finish();
    assert!(stream.stdout.contains("\n33 77\r\n"), "{}", stream.stdout);
    assert!(stream.status.contains("\"message\":\"4\""), "{}", stream.status);
}

fn pod_exec_terminal(containerd: &Containerd) {
    let pod = Pod::run(containerd, "terminal", own());
    talk_on_a_terminal(&pod.sleeper("shell"));
    // The container's own.
    let container =
        pod.container("tty", &["sh", "-c", "tty; exec sleep 600"]).config(|c| c.number(14, 1)).start();
    wait_until("it told its terminal", || pod.log("tty").contains("/dev/pts/0"));
    assert_eq!(fs::read_link(container.process().path("fd/0")).unwrap(), PathBuf::from("/dev/pts/0"));
}

/// In-place resize.
fn pod_update(containerd: &Containerd) {
    let pod = Pod::run(containerd, "resized", own());
    let resources = message().number(1, 100_000).number(2, 50_000).number(3, 512).number(4, 64 << 20);
    let container = pod.container("shell", &["sleep", "600"]).resources(resources).start();
    let process = container.process();
    limits_are(process, &[("memory.limit", 64 << 20), ("cpu.quota", 50_000), ("cpu.shares", 512)]);
    let update =
        |resources: Message| container.call("UpdateContainerResources", message().message(2, &resources));
    update(message().number(4, 96 << 20));
    limits_are(process, &[("memory.limit", 96 << 20), ("cpu.quota", 50_000), ("cpu.shares", 512)]);
    update(message().number(1, 100_000).number(2, 70_000).number(3, 1024));
    limits_are(process, &[("memory.limit", 96 << 20), ("cpu.quota", 70_000), ("cpu.shares", 1024)]);
    // Pinned by pid: nothing was started anew.
    assert_eq!(container.process().0, process.0);
    if cgroup_driver() == "systemd" {
        // It writes its own idea of the limits again.
        containerd.site.run(Who::Root, &["systemctl", "daemon-reload"]).ok();
    }
    limits_are(process, &[("memory.limit", 96 << 20), ("cpu.quota", 70_000), ("cpu.shares", 1024)]);
}

fn pod_stats(containerd: &Containerd) {
    let pod = Pod::run(containerd, "stats", own());
    let container = pod.container("works", &["sh", "-c", "while true; do :; done"]).start();
    let stats = || container.call("ContainerStats", message()).message(1);
    // CpuUsage.usage_core_nano_seconds and MemoryUsage.working_set_bytes, each in a UInt64Value.
    let (cpu, memory) =
        (|s: &Response| s.message(2).message(2).number(1), |s: &Response| s.message(3).message(2).number(1));
    let first = stats();
    assert!(memory(&first) > 0);
    wait_until("it has worked", || cpu(&stats()) > cpu(&first) + 10_000_000);
}

fn pod_stop(containerd: &Containerd) {
    let pod = Pod::run(containerd, "stopped", own());
    let polite = "trap 'exit 3' TERM; echo ready; while true; do sleep 0.05; done";
    let container = pod.container("polite", &["sh", "-c", polite]).start();
    wait_until("the trap is set", || pod.log("polite").contains("ready"));
    container.call("StopContainer", message().number(2, 30));
    assert_eq!(container.ended(), (3, "Error".into()));
    let deaf = "trap '' TERM; echo ready; while true; do sleep 0.05; done";
    let container = pod.container("deaf", &["sh", "-c", deaf]).start();
    wait_until("the trap is set", || pod.log("deaf").contains("ready"));
    container.call("StopContainer", message().number(2, 1));
    assert_eq!(container.ended().0, 137);
    let container = pod.container("short", &["true"]).start();
    assert_eq!(container.ended(), (0, "Completed".into()));
}

fn pod_out_of_memory(containerd: &Containerd) {
    let pod = Pod::run(containerd, "hungry", own());
    // The shim looks at memory.events from after the start of the process until its end, so nothing may be missing before or right
    // before that.
    let eats = "until test -e /eat; do sleep 0.1; done; tail /dev/zero; exec sleep 600";
    let container =
        pod.container("eats", &["sh", "-c", eats]).resources(message().number(4, 32 << 20)).start();
    if limit_of(pod.process(), "memory.limit").is_some() {
        container.shell("touch /eat");
        wait_until("containerd knows the reason", || container.status().text(10) == "OOMKilled");
        container.call("StopContainer", message().number(2, 1));
        assert_eq!(container.ended(), (137, "OOMKilled".into()));
    }
}

/// What the kubelet puts into a pod's events.
fn pod_errors(containerd: &Containerd) {
    let pod = Pod::run(containerd, "errors", own());
    let refusal = |wanted: Wanted| {
        let created = wanted.try_create();
        let site = &containerd.site;
        created
            .and_then(|id| cri::call(site, "StartContainer", &message().text(1, &id)).map(|_| ()))
            .expect_err("it has to fail")
    };
    let missing = refusal(pod.container("missing", &["nonesuch"]));
    assert!(missing.contains("exec: \"nonesuch\": executable file not found in $PATH"), "{missing}");
    let plain = refusal(pod.container("plain", &["/etc/passwd"]));
    assert!(plain.contains("/etc/passwd: permission denied"), "{plain}");
    // Nothing of them is left.
    let processes =
        containerd.site.run(Who::Root, &["urun", "--root", "/run/containerd/runc/k8s.io", "list", "--quiet"]);
    assert_eq!(processes.ok().text().lines().filter(|id| **id != *pod.id).count(), 0);
}

fn pod_survives_a_restart(containerd: &Containerd) {
    survives_a_restart(containerd, "survivor", own());
}

/// Containers go on without their engine, and it knows them again.
fn survives_a_restart(containerd: &Containerd, name: &str, options: Message) {
    let pod = Pod::run(containerd, name, options);
    let container = pod.sleeper("shell");
    let process = container.process();
    containerd.restart();
    assert!(process.alive());
    // CONTAINER_RUNNING
    assert_eq!(container.status().number(3), 1);
    assert_eq!(container.process().0, process.0);
    assert_eq!(container.shell("readlink /proc/1/ns/mnt"), process.ns("mnt"));
    let late = pod.sleeper("late");
    assert_eq!(late.process().ns("net"), process.ns("net"));
    container.call("StopContainer", message());
    assert!(!process.alive());
}

/// What `urun features` makes the kubelet know of a node's handler.
fn pod_handler_features(containerd: &Containerd) {
    let status = containerd.cri("Status", &message());
    let handlers = status.messages(3);
    let ours = handlers.iter().find(|handler| handler.text(1) == "urun").expect("the handler is known");
    let features = ours.message(2);
    assert_eq!(
        [features.number(1), features.number(2)],
        [1, 1],
        "recursive_read_only_mounts, user_namespaces"
    );
}

/// The namespaces of a container belong to the pod's user namespace.
fn pod_userns(containerd: &Containerd) {
    let pod = Pod::run(containerd, "userns", userns(own()));
    let one = pod.container("one", &["sleep", "600"]).security(capability("NET_ADMIN")).start();
    let as_user = |security: Message| security.message(5, &message().number(1, 1000));
    let two = pod.container("two", &["sleep", "600"]).security(as_user).start();
    let (process, other, sandbox) = (one.process(), two.process(), pod.process());
    for map in ["uid_map", "gid_map"] {
        assert_eq!(process.map(map), [[0, IDS[0], IDS[1]]]);
    }
    assert_eq!(process.numbers("Uid"), [IDS[0]; 4]);
    assert_eq!(other.numbers("Uid"), [IDS[0] + 1000; 4]);
    for kind in ["user", "net", "ipc", "uts"] {
        assert_eq!([process.ns(kind), other.ns(kind)], [sandbox.ns(kind), sandbox.ns(kind)], "{kind}");
    }
    assert_ne!(process.ns("pid"), other.ns("pid"));
    assert_eq!(bit(process, 12), 1);
    // The network namespace is the pod's own, so its root may change it.
    one.shell("ip address add 127.9.9.9/8 dev lo");
    assert_eq!(one.shell("stat -c %u:%g / /bin/busybox /etc/hostname | sort -u"), "0:0");
    one.shell("touch /made && mkdir /etc/below");
    assert_eq!(fs::metadata(process.inside("/made")).unwrap().uid(), IDS[0]);
    assert!(is_masked(process));
    let (code, ..) = one.exec(&["umount", "/proc/keys"]);
    assert_ne!(code, 0, "what is masked stays masked");
}

/// Volumes as the kubelet gives them to such a pod: with the pod's own maps.
fn pod_userns_volumes(containerd: &Containerd) {
    let scratch = containerd.site.scratch();
    let dir = scratch.dir("idmapped", (0, 0), 0o755).display().to_string();
    scratch.file("idmapped/kept", "kept\n", (1000, 1000), 0o600);
    let projected = scratch.dir("projected", (0, 0), 0o755).display().to_string();
    containerd.site.run(Who::Root, &["mount", "-t", "tmpfs", "-o", "mode=700", "projected", &projected]).ok();
    let mapped = |mount: Message| mount.message(6, &mapping()).message(7, &mapping());
    {
        let pod = Pod::run(containerd, "userns-volumes", userns(own()));
        let container = pod
            .container("shell", &["sleep", "600"])
            .mount(&dir, "/mnt", mapped)
            .mount(&projected, "/projected", mapped)
            .mount(&dir, "/plain", |mount| mount)
            .start();
        let process = container.process();
        for point in ["/mnt", "/projected"] {
            assert!(process.mount(point).has("idmapped"), "{point}");
        }
        assert!(!process.mount("/plain").has("idmapped"));
        assert_eq!(
            container.shell("stat -c %u:%g /mnt /mnt/kept /projected /plain"),
            "0:0\n1000:1000\n0:0\n65534:65534"
        );
        container.shell("echo x > /mnt/file && echo x > /projected/file && chown 1000:1001 /mnt/file");
        let made = fs::metadata(format!("{dir}/file")).unwrap();
        assert_eq!((made.uid(), made.gid()), (1000, 1001), "nothing of the pod's ids reaches the disk");
        let (code, ..) = container.exec(&["touch", "/plain/file"]);
        assert_ne!(code, 0, "what is not id-mapped belongs to nobody");
    }
    containerd.site.run(Who::Root, &["umount", &projected]).ok();
}

/// `procMount: Unmasked`: a container inside can have a /proc of its own. With masks the kernel refuses it.
fn pod_userns_unmasked(containerd: &Containerd) {
    // AppArmor's default profile denies every mount.
    let may_mount = |security: Message| capability("SYS_ADMIN")(security).text(9, "unconfined");
    let pod = Pod::run(containerd, "unmasked", userns(own()));
    let nested = [
        "unshare",
        "--pid",
        "--mount",
        "--fork",
        "sh",
        "-c",
        "mount -t proc proc /proc && exec cat /proc/1/comm",
    ];
    let open = pod.container("open", &["sleep", "600"]).unmasked().security(may_mount).start();
    let closed = pod.container("closed", &["sleep", "600"]).security(may_mount).start();
    assert!(!is_masked(open.process()));
    assert!(is_masked(closed.process()));
    assert_eq!(open.exec(&nested), (0, "cat\n".into(), String::new()));
    let (code, _, err) = closed.exec(&nested);
    assert!(code != 0 && err.contains("mount: permission denied"), "{err}");
    assert_eq!(open.shell("echo 1 > /proc/sys/net/ipv4/ip_forward; cat /proc/sys/net/ipv4/ip_forward"), "1");
}

fn pod_userns_shares_pids(containerd: &Containerd) {
    let pod = Pod::run(containerd, "userns-pids", userns(message()));
    let (one, two) = (pod.container("one", &["sleep", "656"]).start(), pod.sleeper("two"));
    assert_eq!(one.process().ns("pid"), pod.process().ns("pid"));
    assert_eq!(one.process().numbers("Uid"), [IDS[0]; 4]);
    assert!(two.shell("ps -o args").contains("sleep 656"));
}

fn pod_userns_terminal(containerd: &Containerd) {
    let pod = Pod::run(containerd, "userns-terminal", userns(own()));
    let container = pod.container("tty", &["sleep", "600"]).config(|config| config.number(14, 1)).start();
    let stdin = fs::metadata(container.process().path("fd/0")).unwrap();
    assert_eq!(stdin.uid(), IDS[0], "the terminal is the container's own");
    talk_on_a_terminal(&container);
}

fn pod_userns_survives_a_restart(containerd: &Containerd) {
    survives_a_restart(containerd, "userns-survivor", userns(own()));
}

fn pod_recursive_read_only(containerd: &Containerd) {
    let dir = containerd.site.scratch().dir("tree", (0, 0), 0o755).display().to_string();
    let below = format!("{dir}/below");
    containerd
        .site
        .run(Who::Root, &["sh", "-c", &format!("mkdir {below} && mount -t tmpfs below {below}")])
        .ok();
    {
        let pod = Pod::run(containerd, "rro", own());
        let sealed = |mount: Message| mount.number(3, 1);
        let container = pod
            .container("shell", &["sleep", "600"])
            .mount(&dir, "/ro", sealed)
            .mount(&dir, "/rro", |mount| sealed(mount).number(8, 1))
            .start();
        let process = container.process();
        let read_only =
            ["/ro", "/ro/below", "/rro", "/rro/below"].map(|point| process.mount(point).has("ro"));
        assert_eq!(read_only, [true, false, true, true]);
    }
    containerd.site.run(Who::Root, &["umount", &below]).ok();
}

fn pod_image_volume(containerd: &Containerd) {
    for (name, options) in [("image", own()), ("userns-image", userns(own()))] {
        let pod = Pod::run(containerd, name, options);
        let image = |mount: Message| mount.number(3, 1).message(9, &message().text(1, IMAGE));
        let container = pod.container("shell", &["sleep", "600"]).mount("", "/image", image).start();
        assert!(container.process().mount("/image").has("ro"));
        container.shell("test -x /image/bin/busybox && ! touch /image/file 2>/dev/null");
    }
}

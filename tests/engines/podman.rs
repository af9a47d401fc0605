//! Podman and Buildah, as root and as an ordinary user. The runtime is chosen by the drop-in of `contrib/podman` alone.

use crate::common::{Bundle, Output, Proc, cgroup_dir, run_limited, set_mode, wait_until};
use crate::mistakes;
use crate::report::{Report, Scenario};
use crate::site::{Site, Who, cgroup_driver, runtime_name};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::process::Command;

/// One engine with the image `busybox`.
pub struct Podman {
    pub site: Site,
    pub who: Who,
}

/// All scenarios of one caller.
pub fn suite(report: &Report, who: Who) {
    let systemd = cgroup_driver() == "systemd";
    let own = if who == Who::Root { ROOT } else { ROOTLESS };
    let mut scenarios = [SCENARIOS, own].concat();
    let no_cgroup = "Podman gives an ordinary user no cgroup without systemd";
    let no_manager = "it takes a service manager: tests/vm has one";
    for (list, can_run, why) in
        [(CGROUPS, systemd || who == Who::Root, no_cgroup), (SYSTEMD, systemd, no_manager)]
    {
        if can_run {
            scenarios.extend(list);
        } else {
            for (name, _) in list {
                report.not_run("podman", who, name, why);
            }
        }
    }
    report.suite("podman", who, || Podman::new(who), &scenarios);
}

/// What root and an ordinary user have in common.
const SCENARIOS: &[Scenario<Podman>] = &[
    ("run", run),
    ("run_input", run_input),
    ("run_detached_stop_rm", run_detached_stop_rm),
    ("kill", kill),
    ("restart", restart),
    ("replace", replace),
    ("logs_and_wait", logs_and_wait),
    ("user_workdir_env_hostname", user_workdir_env_hostname),
    ("pod_with_infra", pod_with_infra),
    ("pod_shares_pids", pod_shares_pids),
    ("userns_auto", userns_auto),
    ("userns_of_a_container", userns_of_a_container),
    ("uidmap", uidmap),
    ("volumes", volumes),
    ("read_only", read_only),
    ("privileged", privileged),
    ("capabilities", capabilities),
    ("seccomp", seccomp),
    ("mask_and_unmask", mask_and_unmask),
    ("devices", devices),
    ("terminal", terminal),
    ("init", init),
    ("tmpfs_and_shm", tmpfs_and_shm),
    ("ulimit_and_sysctl", ulimit_and_sysctl),
    ("host_namespaces", host_namespaces),
    ("cgroups_disabled", cgroups_disabled),
    ("preserve_fds", preserve_fds),
    ("sdnotify_container", sdnotify_container),
    ("sdnotify_conmon", sdnotify_conmon),
    ("hooks", hooks),
    ("exit_codes", exit_codes),
    ("build", build),
    ("buildah_oci_isolation", buildah_oci_isolation),
    ("exec", exec),
    ("exec_detached_and_terminal", exec_detached_and_terminal),
    ("exec_errors", exec_errors),
    ("healthcheck", healthcheck),
    ("ten_mistakes", ten_mistakes),
];

const ROOT: &[Scenario<Podman>] = &[("idmapped_volume", idmapped_volume), ("bridge_network", bridge_network)];

const ROOTLESS: &[Scenario<Podman>] =
    &[("userns_keep_id", userns_keep_id), ("userns_nomap", userns_nomap), ("keep_groups", keep_groups)];

/// What needs a cgroup that Podman manages.
const CGROUPS: &[Scenario<Podman>] =
    &[("limits", limits), ("update", update), ("pause_unpause", pause_unpause)];

/// What needs a running systemd.
const SYSTEMD: &[Scenario<Podman>] =
    &[("cgroups_split", cgroups_split), ("quadlet", quadlet), ("systemd_always", systemd_always)];

impl Podman {
    pub fn new(who: Who) -> Self {
        let site = Site::new();
        let dir = match who {
            Who::Root => "/etc/containers".to_owned(),
            Who::Rootless => site.scratch().join("home/.config/containers").display().to_string(),
        };
        let dropin = fs::read_to_string(contrib("podman/50-urun.conf")).unwrap();
        site.write(&format!("{dir}/containers.conf.d/50-urun.conf"), &dropin);
        site.write(&format!("{dir}/containers.conf.d/90-test.conf"), &test_config());
        let podman = Self { site, who };
        if who == Who::Rootless {
            let home = podman.site.scratch().join("home").display().to_string();
            podman.site.run(Who::Root, &["chown", "-R", "urun-test:", &home]).ok();
        }
        Bundle::rootfs_at(&podman.site.scratch().join("image"), (0, 0));
        let image = podman.site.scratch().join("image").display().to_string();
        let archive = podman.site.scratch().join("image.tar").display().to_string();
        podman.site.run(Who::Root, &["tar", "-C", &image, "-cf", &archive, "."]).ok();
        podman.call(&["import", "--quiet", &archive, "busybox"]).ok();
        podman
    }

    /// `podman args…`, ready to run.
    pub fn command(&self, args: &[&str]) -> Command {
        self.site.command(self.who, &[&["podman"], args].concat())
    }

    /// `podman args…`.
    #[track_caller]
    pub fn call(&self, args: &[&str]) -> Output {
        self.site.finish(self.command(args))
    }

    /// `podman run` without a network, with flags, image and command.
    #[track_caller]
    fn run(&self, args: &[&str]) -> Output {
        self.call(&[&["run", "--network", "none"], args].concat())
    }

    /// A running container of the name, with flags, that sleeps unless a command follows the image.
    #[track_caller]
    fn detached(&self, name: &str, args: &[&str]) -> Proc {
        let sleep: &[&str] = if args.contains(&"busybox") { &[] } else { &["busybox", "sleep", "600"] };
        self.run(&[&["--detach", "--name", name, "--stop-timeout", "0"], args, sleep].concat()).ok();
        self.process(name)
    }

    #[track_caller]
    fn inspect(&self, name: &str, format: &str) -> String {
        self.call(&["inspect", "--format", format, name]).ok().text().to_owned()
    }

    /// The process of a container.
    #[track_caller]
    pub fn process(&self, name: &str) -> Proc {
        self.site.process(self.inspect(name, "{{.State.Pid}}").parse().unwrap())
    }

    #[track_caller]
    fn remove(&self, name: &str) {
        self.call(&["rm", "--force", "--time", "0", name]).ok();
    }

    /// The host id of the id 0 of the engine's own user namespace.
    fn own_root(&self) -> u32 {
        self.who.ids().0
    }
}

/// conmon, to which the runtime left the container.
fn parent(process: Proc) -> Proc {
    let parent = Proc(process.status("PPid").parse().unwrap());
    assert_eq!(parent.read("comm"), "conmon\n");
    parent
}

/// A file that the project ships.
pub fn contrib(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("contrib").join(name)
}

/// What the machine asks for and no user would write: the driver, and limits that a root without CAP_SYS_RESOURCE can set.
fn test_config() -> String {
    let runtime = runtime_name();
    let driver = cgroup_driver();
    format!(
        "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n[engine]\nruntime = \"{runtime}\"\n\
         cgroup_manager = \"{driver}\"\nevents_logger = \"file\"\n"
    )
}

fn run(podman: &Podman) {
    let output = podman.run(&["--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (7, "out\n", "err\n"));
    assert_eq!(podman.call(&["ps", "--all", "--quiet"]).ok().text(), "");
}

fn run_input(podman: &Podman) {
    let file = podman.site.scratch().file("input", "spoken\n", (0, 0), 0o644);
    let mut command =
        podman.command(&["run", "--rm", "--interactive", "--network", "none", "busybox", "cat"]);
    command.stdin(fs::File::open(file).unwrap());
    assert_eq!(podman.site.finish(command).ok().text(), "spoken");
}

fn run_detached_stop_rm(podman: &Podman) {
    let process = podman.detached("stopped", &[]);
    assert!(process.read("cmdline").starts_with("sleep"));
    assert_eq!(process.numbers("Uid"), [podman.own_root(); 4]);
    podman.call(&["stop", "--time", "0", "stopped"]).ok();
    assert!(!process.alive());
    assert_eq!(podman.inspect("stopped", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    podman.call(&["rm", "stopped"]).ok();
    podman.call(&["inspect", "stopped"]).refused("no such");
}

fn kill(podman: &Podman) {
    let script = "trap 'echo heard; exit 3' USR1; echo ready; while true; do sleep 0.05; done";
    let process = podman.detached("killed", &["busybox", "sh", "-c", script]);
    wait_until("the trap is set", || podman.call(&["logs", "killed"]).stdout.contains("ready"));
    podman.call(&["kill", "--signal", "USR1", "killed"]).ok();
    assert_eq!(podman.call(&["wait", "killed"]).ok().text(), "3");
    assert!(!process.alive());
    assert!(podman.call(&["logs", "killed"]).ok().stdout.contains("heard"));
    podman.remove("killed");
}

fn restart(podman: &Podman) {
    let first = podman.detached("again", &[]);
    podman.call(&["restart", "--time", "0", "again"]).ok();
    let second = podman.process("again");
    assert!(!first.alive() && second.alive());
    podman.call(&["stop", "--time", "0", "again"]).ok();
    podman.call(&["start", "again"]).ok();
    assert!(podman.process("again").alive());
    podman.remove("again");
}

fn replace(podman: &Podman) {
    let first = podman.detached("same", &[]);
    let second = podman.detached("same", &["--replace"]);
    assert!(!first.alive() && second.alive());
    podman.remove("same");
    assert!(!second.alive());
}

fn logs_and_wait(podman: &Podman) {
    podman
        .run(&["--detach", "--name", "talks", "busybox", "sh", "-c", "echo one; echo two >&2; exit 5"])
        .ok();
    assert_eq!(podman.call(&["wait", "talks"]).ok().text(), "5");
    let logs = podman.call(&["logs", "talks"]).ok();
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("one\n", "two\n"));
    podman.remove("talks");
}

fn user_workdir_env_hostname(podman: &Podman) {
    let flags = ["--rm", "--user", "1000:1001", "--workdir", "/home", "--env", "WORD=x", "--hostname", "box"];
    let script = "id -u; id -g; pwd; echo $WORD; hostname; umask";
    let output = podman.run(&[&flags[..], &["--umask", "0027", "busybox", "sh", "-c", script]].concat()).ok();
    assert_eq!(output.stdout, "1000\n1001\n/home\nx\nbox\n0027\n");
}

fn pod_with_infra(podman: &Podman) {
    podman.call(&["pod", "create", "--name", "pod", "--network", "none"]).ok();
    let member = |name: &str| {
        let flags = ["--pod", "pod", "--detach", "--name", name, "busybox", "sleep", "600"];
        podman.call(&[&["run"], &flags[..]].concat()).ok();
        podman.process(name)
    };
    let (one, two) = (member("one"), member("two"));
    let infra = podman.call(&["pod", "inspect", "--format", "{{.InfraContainerID}}", "pod"]).ok();
    let infra = podman.process(infra.text());
    for kind in ["net", "ipc", "uts"] {
        assert_eq!([one.ns(kind), two.ns(kind)], [infra.ns(kind), infra.ns(kind)], "{kind}");
    }
    for kind in ["mnt", "pid"] {
        assert_ne!(one.ns(kind), two.ns(kind), "{kind}");
    }
    podman.call(&["pod", "stop", "--time", "0", "pod"]).ok();
    podman.call(&["pod", "start", "pod"]).ok();
    assert!(podman.process("one").alive());
    podman.call(&["pod", "rm", "--force", "--time", "0", "pod"]).ok();
    assert!(!one.alive() && !two.alive() && !infra.alive());
}

fn pod_shares_pids(podman: &Podman) {
    podman.call(&["pod", "create", "--name", "pids", "--network", "none", "--share", "pid,ipc,net,uts"]).ok();
    podman.call(&["run", "--pod", "pids", "--detach", "--name", "seen", "busybox", "sleep", "654"]).ok();
    let output = podman.call(&["run", "--pod", "pids", "--rm", "busybox", "ps", "-o", "pid,args"]).ok();
    assert!(output.stdout.contains("sleep 654"), "{output:?}");
    podman.call(&["pod", "rm", "--force", "--time", "0", "pids"]).ok();
}

fn userns_auto(podman: &Podman) {
    let process = podman.detached("auto", &["--userns", "auto"]);
    let map = process.map("uid_map");
    assert_eq!(map.len(), 1, "{map:?}");
    let first = podman.who.subordinate().unwrap_or(100_000);
    assert!(map[0][0] == 0 && map[0][1] >= first, "{map:?}");
    assert_eq!(process.numbers("Uid"), [map[0][1]; 4]);
    podman.remove("auto");
}

fn userns_of_a_container(podman: &Podman) {
    let owner = podman.detached("owner", &["--userns", "auto"]);
    let guest = podman.detached("guest", &["--userns", "container:owner"]);
    assert_eq!(owner.ns("user"), guest.ns("user"));
    assert_eq!(owner.numbers("Uid"), guest.numbers("Uid"));
    podman.remove("guest");
    podman.remove("owner");
}

fn uidmap(podman: &Podman) {
    // An ordinary user's numbers count from the first of the subordinate ids, which is 1 in Podman's namespace.
    let (inside, outside) = podman.who.subordinate().map_or((300_000, 300_000), |first| (1000, first + 999));
    let map = format!("0:{inside}:2000");
    let process = podman.detached("mapped", &["--uidmap", &map, "--gidmap", &map]);
    assert_eq!(process.map("uid_map"), [[0, outside, 2000]]);
    assert_eq!(process.numbers("Uid"), [outside; 4]);
    podman.remove("mapped");
}

fn userns_keep_id(podman: &Podman) {
    let (uid, _) = podman.who.ids();
    let process = podman.detached("kept", &["--userns", "keep-id"]);
    assert_eq!(process.numbers("Uid"), [uid; 4]);
    let output = podman.run(&["--rm", "--userns", "keep-id", "busybox", "id", "-u"]).ok();
    assert_eq!(output.text(), uid.to_string());
    podman.remove("kept");
}

fn userns_nomap(podman: &Podman) {
    let (uid, _) = podman.who.ids();
    let process = podman.detached("nomap", &["--userns", "nomap"]);
    let covers = |[_, first, count]: &[u32; 3]| (*first..first + count).contains(&uid);
    assert!(!process.map("uid_map").iter().any(covers), "{:?}", process.map("uid_map"));
    podman.remove("nomap");
}

fn keep_groups(podman: &Podman) {
    let mut command = podman.command(&[
        "run",
        "--rm",
        "--network",
        "none",
        "--group-add",
        "keep-groups",
        "busybox",
        "id",
        "-G",
    ]);
    command.env("LOGNAME", "urun-test");
    podman.site.finish(command).ok();
}

/// A directory of the caller.
fn directory(podman: &Podman, name: &str) -> String {
    podman.site.scratch().dir(name, podman.who.ids(), 0o755).display().to_string()
}

fn volumes(podman: &Podman) {
    let (writable, sealed) = (directory(podman, "writable"), directory(podman, "sealed"));
    fs::create_dir(format!("{sealed}/below")).unwrap();
    let volumes = [format!("{writable}:/mnt"), format!("{sealed}:/srv:ro")];
    let flags = ["--rm", "--volume", &volumes[0], "--volume", &volumes[1], "--volume", "named:/data"];
    let script = "echo x > /mnt/file; echo y > /data/file; touch /srv/file";
    let output = podman.run(&[&flags[..], &["busybox", "sh", "-c", script]].concat());
    output.refused("Read-only file system");
    let file = fs::metadata(format!("{writable}/file")).unwrap();
    assert_eq!(file.uid(), podman.own_root());
    let output = podman.run(&["--rm", "--volume", "named:/data", "busybox", "cat", "/data/file"]).ok();
    assert_eq!(output.text(), "y");
}

fn idmapped_volume(podman: &Podman) {
    let dir = directory(podman, "idmapped");
    let volume = format!("{dir}:/mnt:idmap");
    let map = "0:300000:2000";
    let script = "stat -c %u:%g /mnt && echo x > /mnt/file";
    let flags = ["--rm", "--uidmap", map, "--gidmap", map, "--volume", &volume];
    let output = podman.run(&[&flags[..], &["busybox", "sh", "-c", script]].concat()).ok();
    assert_eq!(output.text(), "0:0");
    assert_eq!(fs::metadata(format!("{dir}/file")).unwrap().uid(), 0);
}

fn read_only(podman: &Podman) {
    let script = "touch /tmp/file && echo tmp; touch /etc/file";
    let output = podman.run(&["--rm", "--read-only", "busybox", "sh", "-c", script]);
    assert_eq!(output.stdout, "tmp\n");
    output.refused("Read-only file system");
}

fn privileged(podman: &Podman) {
    let process = podman.detached("privileged", &["--privileged"]);
    assert_eq!(process.caps("CapEff"), parent(process).caps("CapBnd"));
    assert_eq!(process.status("Seccomp"), "0");
    assert!(!process.mounts().iter().any(|mount| mount.point == "/proc/keys"));
    podman.remove("privileged");
    let output =
        podman.run(&["--rm", "--privileged", "busybox", "sh", "-c", "mount -t tmpfs x /mnt && echo mounted"]);
    assert_eq!(output.ok().text(), "mounted");
}

fn capabilities(podman: &Podman) {
    let bits = |process: Proc| u64::from_str_radix(&process.caps("CapEff"), 16).unwrap();
    let (net_admin, chown) = (1 << 12, 1 << 0);
    let process = podman.detached("caps", &["--cap-add", "NET_ADMIN", "--cap-drop", "CHOWN"]);
    assert_eq!(bits(process) & (net_admin | chown), net_admin);
    let none = podman.detached("nocaps", &["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]);
    assert_eq!(none.caps("CapBnd"), "0000000000000000");
    assert_eq!(none.status("NoNewPrivs"), "1");
    podman.remove("caps");
    podman.remove("nocaps");
}

fn seccomp(podman: &Podman) {
    let default = podman.detached("filtered", &[]);
    assert_eq!(default.status("Seccomp"), "2");
    podman.remove("filtered");
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":93}]}"#;
    let path = podman.site.scratch().file("profile.json", profile, (0, 0), 0o644).display().to_string();
    let option = format!("seccomp={path}");
    // It stays a moment: under load Podman 4.3 once gave nothing of what a container had said that ended at once.
    let script = "mkdir /tmp/x; code=$?; sleep 1; exit $code";
    let output = podman.run(&["--rm", "--security-opt", &option, "busybox", "sh", "-c", script]);
    output.refused("Protocol not supported");
    let free = podman.detached("free", &["--security-opt", "seccomp=unconfined"]);
    assert_eq!(free.status("Seccomp"), "0");
    podman.remove("free");
}

fn mask_and_unmask(podman: &Podman) {
    let masked = |process: Proc| process.mounts().iter().any(|mount| mount.point == "/proc/keys");
    let process = podman.detached("masked", &["--security-opt", "mask=/etc/group"]);
    assert!(masked(process));
    assert_eq!(process.mount("/etc/group").kind, process.mount("/proc/keys").kind);
    podman.remove("masked");
    let process = podman.detached("unmasked", &["--security-opt", "unmask=ALL"]);
    assert!(!masked(process));
    podman.remove("unmasked");
}

fn devices(podman: &Podman) {
    let process = podman.detached("devices", &["--device", "/dev/zero:/dev/nought"]);
    let device = fs::metadata(process.inside("/dev/nought")).unwrap();
    assert!(device.file_type().is_char_device());
    assert_eq!(device.rdev(), libc::makedev(1, 5));
    podman.remove("devices");
    let output = podman.run(&[
        "--rm",
        "--device",
        "/dev/zero:/dev/nought",
        "busybox",
        "head",
        "-c",
        "3",
        "/dev/nought",
    ]);
    assert_eq!(output.ok().stdout, "\0\0\0");
}

fn terminal(podman: &Podman) {
    let output = podman.run(&[
        "--rm",
        "--tty",
        "busybox",
        "sh",
        "-c",
        "tty && test -t 0 && test -t 1 && echo terminal",
    ]);
    assert_eq!(output.ok().stdout, "/dev/pts/0\r\nterminal\r\n");
    let process = podman.detached("tty", &["--tty", "--interactive"]);
    let stdin = fs::read_link(process.path("fd/0")).unwrap();
    assert_eq!(stdin, PathBuf::from("/dev/pts/0"));
    podman.remove("tty");
}

fn init(podman: &Podman) {
    let process = podman.detached("init", &["--init"]);
    assert!(process.read("cmdline").contains("podman-init"), "{}", process.read("cmdline"));
    podman.remove("init");
}

fn tmpfs_and_shm(podman: &Podman) {
    let flags = ["--rm", "--tmpfs", "/scratch:size=1m,mode=1770", "--shm-size", "2m"];
    let script = "stat -c %a /scratch; df -k /scratch /dev/shm | awk 'NR > 1 { print $2 }'";
    let output = podman.run(&[&flags[..], &["busybox", "sh", "-c", script]].concat()).ok();
    assert_eq!(output.stdout, "1770\n1024\n2048\n");
}

fn ulimit_and_sysctl(podman: &Podman) {
    let flags = ["--sysctl", "net.ipv4.ip_default_ttl=77"];
    // Podman's own default for the other limit asks for more than a root without CAP_SYS_RESOURCE has.
    let limits = ["--ulimit", "nofile=512:768", "--ulimit", "nproc=1024:1024"];
    let process = podman.detached("limits", &limits);
    assert_eq!(process.limit("Max open files"), ("512".to_owned(), "768".to_owned()));
    podman.remove("limits");
    let output =
        podman.run(&["--rm", flags[0], flags[1], "busybox", "cat", "/proc/sys/net/ipv4/ip_default_ttl"]).ok();
    assert_eq!(output.text(), "77");
}

fn host_namespaces(podman: &Podman) {
    let kinds = ["pid", "net", "uts"];
    let flags = ["--pid", "host", "--uts", "host", "--network", "host"];
    podman
        .call(&[&["run", "--detach", "--name", "host"], &flags[..], &["busybox", "sleep", "600"]].concat())
        .ok();
    let process = podman.process("host");
    let of = |process: Proc| kinds.map(|kind| process.ns(kind));
    assert_eq!(of(process), of(parent(process)));
    podman.remove("host");
}

fn cgroups_disabled(podman: &Podman) {
    let process = podman.detached("nocgroup", &["--cgroups", "disabled"]);
    assert_eq!(process.read("cgroup"), parent(process).read("cgroup"));
    podman.remove("nocgroup");
}

fn preserve_fds(podman: &Podman) {
    let file = podman.site.scratch().file("handed", "over\n", (0, 0), 0o644).display().to_string();
    let line = format!(
        "exec 3< {file}; exec podman run --rm --network none --preserve-fds 1 busybox sh -c 'cat <&3; ls /proc/self/fd'"
    );
    let output = podman.site.run(podman.who, &["sh", "-c", &line]).ok();
    // `ls` has its own directory open as the next one.
    assert_eq!(output.stdout, "over\n0\n1\n2\n3\n4\n");
}

/// What a service manager hears when a container says that it is ready.
fn sdnotify_container(podman: &Podman) {
    let script = "test -S $NOTIFY_SOCKET && echo socket; exec sleep 600";
    let heard = notified(podman, "container", &["busybox", "sh", "-c", script], |name| {
        wait_until("the container looked", || podman.call(&["logs", name]).stdout.contains("socket"));
        let process = podman.process(name);
        let variable = process.env().into_iter().find(|v| v.starts_with("NOTIFY_SOCKET=")).unwrap();
        let inside = process.inside(&variable["NOTIFY_SOCKET=".len()..]);
        let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
        socket.send_to(b"READY=1", inside).unwrap();
    });
    assert!(heard.contains("READY=1"), "{heard}");
    assert!(heard.contains("MAINPID="), "{heard}");
}

fn sdnotify_conmon(podman: &Podman) {
    let heard = notified(podman, "conmon", &["busybox", "sleep", "600"], |_| ());
    assert!(heard.contains("READY=1") && heard.contains("MAINPID="), "{heard}");
}

/// Runs a container in a mode of `--sdnotify` and returns what the manager's socket got.
fn notified(podman: &Podman, mode: &str, command: &[&str], act: impl FnOnce(&str)) -> String {
    let path = podman.site.scratch().join(format!("notify-{mode}"));
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    set_mode(&path, 0o777);
    let flags = ["run", "--detach", "--network", "none", "--sdnotify", mode, "--name", mode];
    let mut run = podman.command(&[&flags[..], command].concat());
    run.env("NOTIFY_SOCKET", &path);
    let dir = podman.site.scratch().join("io");
    let heard = std::thread::scope(|scope| {
        // `podman run -d` returns when the container is ready, so somebody else has to make it so.
        let run = scope.spawn(move || run_limited(run, &dir));
        wait_until("the container is there", || {
            podman.call(&["inspect", "--format", "{{.State.Running}}", mode]).text() == "true"
        });
        act(mode);
        run.join().unwrap().ok();
        socket.set_nonblocking(true).unwrap();
        let mut heard = String::new();
        wait_until("the manager heard it", || {
            let mut bytes = [0; 4096];
            while let Ok(count) = socket.recv(&mut bytes) {
                heard += &String::from_utf8_lossy(&bytes[..count]);
                heard.push('\n');
            }
            heard.contains("READY=1")
        });
        heard
    });
    podman.remove(mode);
    heard
}

fn hooks(podman: &Podman) {
    let scratch = podman.site.scratch();
    let dir = directory(podman, "hooks.d");
    let said = scratch.file("said", "", podman.who.ids(), 0o644).display().to_string();
    for stage in ["createRuntime", "createContainer", "poststart", "poststop"] {
        let hook = format!(
            r#"{{"version":"1.0.0","hook":{{"path":"/bin/sh","args":["sh","-c","echo {stage} >> {said}"]}},
            "when":{{"always":true}},"stages":["{stage}"]}}"#
        );
        scratch.file(&format!("hooks.d/{stage}.json"), &hook, (0, 0), 0o644);
    }
    podman.call(&["--hooks-dir", &dir, "run", "--rm", "--network", "none", "busybox", "true"]).ok();
    wait_until("the last hook ran", || fs::read_to_string(&said).unwrap().contains("poststop"));
    assert_eq!(fs::read_to_string(&said).unwrap(), "createRuntime\ncreateContainer\npoststart\npoststop\n");
}

fn exit_codes(podman: &Podman) {
    let missing = podman.run(&["--rm", "busybox", "nonesuch"]);
    assert_eq!(missing.code, 127, "{missing:?}");
    assert!(missing.stderr.contains("executable file not found in $PATH"), "{missing:?}");
    let directory = podman.run(&["--rm", "busybox", "/etc"]);
    assert_eq!(directory.code, 126, "{directory:?}");
    let plain = podman.run(&["--rm", "busybox", "/etc/passwd"]);
    assert_eq!(plain.code, 126, "{plain:?}");
    let flag = podman.run(&["--rm", "--nonesuch", "busybox", "true"]);
    assert_eq!(flag.code, 125, "{flag:?}");
}

/// The lines of a Containerfile that runs programs in every way.
const CONTAINERFILE: &str = "FROM localhost/busybox\nRUN echo built > /etc/built && id -u\nRUN --mount=type=tmpfs,target=/scratch touch /scratch/x\n\
    USER 1000\nRUN test $(id -u) = 1000 && ! touch /etc/x 2>/dev/null\nENTRYPOINT [\"cat\", \"/etc/built\"]\n";

fn build(podman: &Podman) {
    let dir = directory(podman, "context");
    fs::write(format!("{dir}/Containerfile"), CONTAINERFILE).unwrap();
    podman.call(&["build", "--isolation", "oci", "--network", "none", "--tag", "built", &dir]).ok();
    assert_eq!(podman.run(&["--rm", "built"]).ok().text(), "built");
    fs::write(format!("{dir}/Containerfile"), "FROM localhost/busybox\nRUN exit 9\n").unwrap();
    podman.call(&["build", "--isolation", "oci", "--network", "none", &dir]).refused("exit status 9");
}

fn buildah_oci_isolation(podman: &Podman) {
    let runtime = format!("/usr/local/bin/{}", runtime_name());
    let buildah = |args: &[&str]| podman.site.run(podman.who, &[&["buildah"], args].concat());
    let from = buildah(&["from", "--pull-never", "localhost/busybox"]).ok();
    let (isolation, runtime) = (["run", "--isolation", "oci", "--network", "none"], ["--runtime", &runtime]);
    let run = |command: &[&str]| buildah(&[&isolation[..], &runtime, &[from.text(), "--"], command].concat());
    assert_eq!(run(&["sh", "-c", "echo written > /etc/written; cat /etc/written"]).ok().text(), "written");
    assert_eq!(run(&["cat", "/etc/written"]).ok().text(), "written");
    assert_eq!(run(&["sh", "-c", "exit 6"]).code, 6);
    buildah(&["rm", from.text()]).ok();
}

fn bridge_network(podman: &Podman) {
    let output = podman.call(&["run", "--rm", "busybox", "ip", "-4", "addr", "show", "eth0"]).ok();
    assert!(output.stdout.contains("inet 10."), "{output:?}");
}

fn limits(podman: &Podman) {
    let flags = ["--memory", "64m", "--pids-limit", "33", "--cpu-period", "100000", "--cpu-quota", "50000"];
    let process = podman.detached("limited", &flags);
    let value = |controller: &str, one: &str, two: &str| {
        let dir = cgroup_dir(controller, &process.cgroup(controller_of(process, controller))).unwrap();
        let file = [one, two].into_iter().map(|name| dir.join(name)).find(|path| path.exists()).unwrap();
        fs::read_to_string(file).unwrap().trim().to_owned()
    };
    assert_eq!(value("memory", "memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    assert_eq!(value("pids", "pids.max", "pids.max"), "33");
    assert!(value("cpu", "cpu.cfs_quota_us", "cpu.max").starts_with("50000"));
    podman.remove("limited");
}

/// The name of the hierarchy's line in `/proc/PID/cgroup`: the controller's, or none on version 2.
fn controller_of(process: Proc, controller: &str) -> &str {
    let named =
        |line: &str| line.split(':').nth(1).is_some_and(|names| names.split(',').any(|n| n == controller));
    if process.read("cgroup").lines().any(named) { controller } else { "" }
}

fn update(podman: &Podman) {
    let process = podman.detached("updated", &["--memory", "64m"]);
    podman.call(&["update", "--memory", "96m", "updated"]).ok();
    let dir = cgroup_dir("memory", &process.cgroup(controller_of(process, "memory"))).unwrap();
    let file = ["memory.limit_in_bytes", "memory.max"].map(|name| dir.join(name));
    let file = file.iter().find(|path| path.exists()).unwrap();
    assert_eq!(fs::read_to_string(file).unwrap().trim(), (96 << 20).to_string());
    podman.remove("updated");
}

fn pause_unpause(podman: &Podman) {
    let script = "while true; do echo x >> /tmp/ticks; sleep 0.02; done";
    let process = podman.detached("paused", &["busybox", "sh", "-c", script]);
    let ticks = || fs::metadata(process.inside("/tmp/ticks")).map_or(0, |file| file.len());
    podman.call(&["pause", "paused"]).ok();
    assert_eq!(podman.inspect("paused", "{{.State.Status}}"), "paused");
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(ticks(), before);
    podman.call(&["unpause", "paused"]).ok();
    wait_until("it goes on", || ticks() > before);
    podman.remove("paused");
}

fn exec(podman: &Podman) {
    let process = podman.detached("host-of-exec", &[]);
    let exec = |args: &[&str]| podman.call(&[&["exec"], args].concat());
    let output = exec(&["host-of-exec", "sh", "-c", "echo out; echo err >&2; exit 9"]);
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (9, "out\n", "err\n"));
    let flags = ["--user", "1000", "--workdir", "/tmp", "--env", "WORD=x", "host-of-exec"];
    let output =
        exec(&[&flags[..], &["sh", "-c", "id -u; pwd; echo $WORD; readlink /proc/self/ns/mnt"]].concat())
            .ok();
    assert_eq!(output.stdout, format!("1000\n/tmp\nx\n{}\n", process.ns("mnt")));
    let file = podman.site.scratch().file("exec-input", "spoken\n", (0, 0), 0o644);
    let mut command = podman.command(&["exec", "--interactive", "host-of-exec", "cat"]);
    command.stdin(fs::File::open(file).unwrap());
    assert_eq!(podman.site.finish(command).ok().text(), "spoken");
    let output = exec(&["--privileged", "host-of-exec", "grep", "CapEff", "/proc/self/status"]).ok();
    assert!(output.stdout.contains(&parent(process).caps("CapBnd")), "{output:?}");
    podman.remove("host-of-exec");
}

fn exec_detached_and_terminal(podman: &Podman) {
    let process = podman.detached("exec-more", &[]);
    podman.call(&["exec", "--detach", "exec-more", "sh", "-c", "echo x > /tmp/done"]).ok();
    wait_until("the detached one wrote", || process.inside("/tmp/done").exists());
    let output = podman.call(&["exec", "--tty", "exec-more", "sh", "-c", "tty"]).ok();
    assert!(output.stdout.starts_with("/dev/pts/"), "{output:?}");
    podman.remove("exec-more");
}

fn exec_errors(podman: &Podman) {
    podman.detached("exec-errors", &[]);
    let missing = podman.call(&["exec", "exec-errors", "nonesuch"]);
    assert_eq!(missing.code, 127, "{missing:?}");
    assert!(missing.stderr.contains("executable file not found in $PATH"), "{missing:?}");
    let plain = podman.call(&["exec", "exec-errors", "/etc/passwd"]);
    assert_eq!(plain.code, 126, "{plain:?}");
    podman.remove("exec-errors");
}

fn healthcheck(podman: &Podman) {
    let flags =
        ["--health-cmd", "test -e /tmp/well", "--health-retries", "1", "--health-interval", "disable"];
    podman.detached("patient", &flags);
    assert_eq!(podman.call(&["healthcheck", "run", "patient"]).code, 1);
    podman.call(&["exec", "patient", "touch", "/tmp/well"]).ok();
    podman.call(&["healthcheck", "run", "patient"]).ok();
    podman.remove("patient");
}

fn ten_mistakes(podman: &Podman) {
    let version = podman.call(&["version", "--format", "{{.Client.Version}}"]).ok();
    let mut mistakes = mistakes::common(&podman.site);
    mistakes.extend(mistakes::podman());
    let engine = format!("podman-{}-{}", version.text(), podman.who.name());
    mistakes::make(&podman.site, &engine, &mistakes, |flags, command| {
        podman.run(&[&["--rm"], flags, &["busybox"], command].concat())
    });
}

/// The arguments for a service manager: the system's, or the user's own.
fn of_manager<'a>(podman: &Podman, program: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    let user: &[&str] = if podman.who == Who::Rootless { &["--user"] } else { &[] };
    [&[program], user, args].concat()
}

fn cgroups_split(podman: &Podman) {
    let unit = format!("urun-split-{}.scope", std::process::id());
    let scope = ["--scope", "--quiet", "--property=Delegate=yes", "--unit", &unit];
    let run = ["podman", "run", "--detach", "--name", "split", "--network", "none", "--cgroups=split"];
    let args = [&scope[..], &run, &["--memory", "64m", "busybox", "sleep", "600"]].concat();
    podman.site.run(podman.who, &of_manager(podman, "systemd-run", &args)).ok();
    let cgroup = podman.process("split").cgroup("");
    assert!(cgroup.contains(&format!("/{unit}/libpod-payload-")), "{cgroup}");
    let limit = cgroup_dir("", &cgroup).unwrap().join("memory.max");
    assert_eq!(fs::read_to_string(limit).unwrap(), "67108864\n");
    podman.remove("split");
}

/// A service manager as the first process of a container that has the machine's own programs.
fn systemd_always(podman: &Podman) {
    let root = directory(podman, "manager");
    for name in ["bin", "lib", "lib64", "sbin"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), format!("{root}/{name}")).unwrap();
    }
    for name in ["dev", "etc", "proc", "run", "sys", "tmp", "usr", "var"] {
        directory(podman, &format!("manager/{name}"));
    }
    let flags = ["run", "--detach", "--name", "manager", "--network", "none", "--systemd", "always"];
    let manager =
        ["--volume", "/usr:/usr:ro", "--rootfs", &root, "/usr/lib/systemd/systemd", "--unit=basic.target"];
    podman.call(&[&flags[..], &manager].concat()).ok();
    let active = ["exec", "manager", "systemctl", "is-active", "basic.target"];
    wait_until("it has started what it was told to", || podman.call(&active).text() == "active");
    let process = podman.process("manager");
    let cgroup = process.cgroup("");
    let own = cgroup_dir("", cgroup.strip_suffix("/init.scope").expect("it has made groups")).unwrap();
    assert!(own.join("system.slice").is_dir());
    for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
        assert_eq!(fs::metadata(own.join(file)).unwrap().uid(), podman.own_root(), "{file}");
    }
    podman.call(&["stop", "--time", "60", "manager"]).ok();
    assert_eq!(podman.inspect("manager", "{{.State.ExitCode}}"), "0", "it has shut down");
    podman.remove("manager");
}

fn quadlet(podman: &Podman) {
    let (dir, home) = match podman.who {
        Who::Root => ("/run/containers/systemd".to_owned(), "/root".to_owned()),
        Who::Rootless => (
            format!("/etc/containers/systemd/users/{}", podman.who.ids().0),
            podman.site.scratch().join("home").display().to_string(),
        ),
    };
    let file = format!("{dir}/urun-quadlet.container");
    let unit = format!(
        "[Container]\nImage=localhost/busybox:latest\nPull=never\nContainerName=quadlet\nNetwork=none\nExec=sleep 600\n\
         [Service]\nEnvironment=HOME={home}\n"
    );
    podman.site.write(&file, &unit);
    let systemctl = |args: &[&str]| podman.site.run(podman.who, &of_manager(podman, "systemctl", args));
    systemctl(&["daemon-reload"]).ok();
    let started = systemctl(&["start", "urun-quadlet.service"]);
    fs::remove_file(&file).unwrap();
    started.ok();
    let process = podman.process("quadlet");
    assert!(process.read("cmdline").starts_with("sleep"));
    let cgroup = process.cgroup("");
    assert!(cgroup.contains("/urun-quadlet.service/libpod-payload-"), "{cgroup}");
    systemctl(&["stop", "urun-quadlet.service"]).ok();
    assert!(!process.alive());
    systemctl(&["daemon-reload"]).ok();
}

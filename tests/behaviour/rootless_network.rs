//! The recipes of docs/rootless-network.md, run as they stand by an ordinary user: the container reaches a listener on the host's
//! loopback, which is all of the world that is asked.

use crate::common::*;
use serde_json::{Value, json};
use std::{
    fs,
    io::Read,
    net::TcpListener,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    process::{Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

const PAGE: &str = include_str!("../../docs/rootless-network.md");
const TUN: &str = "/dev/net/tun";

/// The code in a language below a heading of the page.
fn code(heading: &str, language: &str) -> &'static str {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).expect("the page has the heading");
    let section = section.split("\n## ").next().unwrap();
    let (_, code) = section.split_once(&format!("```{language}\n")).expect("it has code");
    code.split_once("```").unwrap().0
}

/// Whether the machine has what a recipe needs; says what it lacks.
fn has(programs: &[&str]) -> bool {
    let is_there =
        |name: &&str| ["/usr/bin", "/usr/sbin"].iter().any(|dir| Path::new(dir).join(name).exists());
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let lacking: Vec<&str> = programs
        .iter()
        .copied()
        .filter(|name| !is_there(name))
        .chain((!Path::new(TUN).exists()).then_some(TUN))
        // pasta's is a copy of the host's.
        .chain(
            (routes.lines().all(|line| line.split('\t').nth(1) != Some("00000000")))
                .then_some("a default route"),
        )
        .collect();
    if !lacking.is_empty() {
        eprintln!("not run: this machine lacks {}", lacking.join(", "));
    }
    lacking.is_empty()
}

/// Waits for a way out and sends what network namespace it is in.
const SEND: &str = "until ip route | grep -q ^default; do sleep 0.1; done; \
                    host=$(ip route | sed -n 's/^default via \\([^ ]*\\) .*/\\1/p'); readlink /proc/self/ns/net | nc -w 5 $host ";

struct Recipe {
    bundle: Bundle,
    /// What a container has sent, once there is one.
    told: JoinHandle<String>,
}

impl Recipe {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let bundle = Bundle::new(Mode::RootlessRange).sh(&format!("{SEND}{port}"));
        let bundle = bundle.namespace("cgroup", None).with(|config| {
            config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
        });
        Self { bundle, told: std::thread::spawn(move || hear(&listener)) }
    }

    fn with(self, edit: impl FnOnce(Bundle) -> Bundle) -> Self {
        Self { bundle: edit(self.bundle), ..self }
    }

    /// Makes the `urun` that the recipes call: with this test's state, and without a cgroup driver that asks systemd.
    fn make_program(&self) {
        let program = self.bundle.command(&[]).get_program().display().to_string();
        let text =
            format!("#!/bin/sh\nexec '{program}' --root '{}' \"$@\"\n", self.bundle.state_root().display());
        self.bundle.scratch().dir("bin", (0, 0), 0o755);
        self.bundle.scratch().file("bin/urun", &text, (0, 0), 0o755);
    }

    /// The user's shell with what is to run in it.
    fn shell(&self, script: &str) -> Command {
        // The device belongs to root alone where no udev has opened it to all.
        const ENTER: &str = r#"[ -z "$1" ] || mount --bind "$1" /dev/net/tun
            cd "$4" && ids="--reuid $2 --regid $3" && shift 4 && exec setpriv $ids --clear-groups -- "$@""#;
        let scratch = self.bundle.scratch();
        let open = fs::metadata(TUN).is_ok_and(|found| found.mode() & 0o006 == 0o006);
        let device = if open { String::new() } else { tun(scratch) };
        let (uid, gid) = self.bundle.mode().caller();
        let inner = self.bundle.command(&[]);
        let mut command = Command::new("unshare");
        // With the first process of its namespace everything ends that a recipe has started and a test that failed has left.
        command.args([
            "--mount",
            "--propagation",
            "slave",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]);
        command.args(["sh", "-c", ENTER, "sh", &device]);
        command.args([uid.to_string(), gid.to_string()]).arg(self.bundle.dir()).args(["sh", "-c", script]);
        command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", scratch.join("bin").display());
        command.env("PATH", path).env("HOME", self.bundle.dir()).current_dir("/").stdin(Stdio::null());
        command
    }

    /// Runs the recipe; the container has told its network namespace to the listener, which is not the host's.
    #[track_caller]
    fn reaches_the_host(self, heading: &str) {
        self.make_program();
        self.bundle.write();
        let (uid, gid) = self.bundle.mode().caller();
        chown(self.bundle.dir().join("config.json"), Some(uid), Some(gid)).unwrap();
        let script = format!("set -e\n{}", code(heading, "sh"));
        let output = self.bundle.call_command(self.shell(&script));
        self.bundle.call_command(self.shell("urun delete --force web")).ok();
        let told = self.told.join().unwrap();
        assert!(told.starts_with("net:["), "{told:?}\n{}{}", output.stdout, output.stderr);
        assert_ne!(told.trim(), Proc(std::process::id()).ns("net"));
        output.ok();
    }
}

/// What the first who connects has to say; nothing where nobody does.
fn hear(listener: &TcpListener) -> String {
    listener.set_nonblocking(true).unwrap();
    let until = deadline(20);
    while Instant::now() < until {
        if let Ok((mut stream, from)) = listener.accept() {
            assert!(from.ip().is_loopback(), "{from}");
            stream.set_nonblocking(false).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            return text;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    String::new()
}

/// A device for all users, as udev makes it.
fn tun(scratch: &Scratch) -> String {
    let path = scratch.join("tun");
    let device = nix::sys::stat::makedev(10, 200);
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
    let _ = fs::remove_file(&path);
    nix::sys::stat::mknod(&path, nix::sys::stat::SFlag::S_IFCHR, mode, device).unwrap();
    set_mode(&path, 0o666);
    path.display().to_string()
}

/// Without ids of its own to map, as in the namespace of another program: that one's.
fn shares_the_callers_ids(bundle: Bundle, namespaces: &[&str]) -> Bundle {
    let bundle = bundle.with(|config| {
        let linux = config["linux"].as_object_mut().unwrap();
        linux.remove("uidMappings");
        linux.remove("gidMappings");
    });
    namespaces.iter().fold(bundle, |bundle, kind| bundle.namespace(kind, None))
}

/// A terminal's group is not among the ids of one.
fn one_id(config: &mut Value) {
    for mount in config["mounts"].as_array_mut().unwrap() {
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|option| option != "gid=5");
        }
        if mount["type"] == "sysfs" {
            *mount =
                json!({"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "ro"]});
        }
    }
}

#[test]
fn rootlesskit_around_the_runtime() {
    if !has(&["rootlesskit", "slirp4netns", "newuidmap"]) {
        return;
    }
    let recipe = Recipe::new().with(|bundle| {
        let bundle = shares_the_callers_ids(bundle, &["network", "user"]);
        bundle.with(one_id)
    });
    recipe.reaches_the_host("rootlesskit around urun");
}

#[test]
fn namespaces_that_are_there_first() {
    if !has(&["slirp4netns", "newuidmap"]) {
        return;
    }
    let recipe = Recipe::new().with(|bundle| {
        let joined: Vec<Value> =
            serde_json::from_str(code("Namespaces that are there first", "json")).unwrap();
        let bundle = shares_the_callers_ids(bundle, &["network", "user"]);
        joined.into_iter().fold(bundle, |bundle, namespace| bundle.put("/linux/namespaces/-", namespace))
    });
    recipe.reaches_the_host("Namespaces that are there first");
}

#[test]
fn a_container_that_runs_already() {
    if !has(&["pasta"]) {
        return;
    }
    Recipe::new().reaches_the_host("A container that runs already");
}

//! A bundle on disk and the calls of the runtime on it.

use super::config::default_config;
use super::container::Container;
use super::mode::{Driver, Mode, PinnedNamespaces, driver};
use super::scratch::{Scratch, set_mode};
use super::subject::{Output, Subject, run_limited, stdin_of, subject};
use super::turned_down::TurnedDown;
use serde_json::{Value, json};
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A root file system of busybox, a config.json, an id and a state root of its own; deleted by force when dropped.
#[derive(Debug)]
pub struct Bundle {
    mode: Mode,
    scratch: Scratch,
    id: String,
    /// What will be written to config.json.
    pub config: Value,
    outer: Option<PinnedNamespaces>,
    program: PathBuf,
    /// A program with arguments that the runtime is called through; none where it is called itself.
    through: Vec<String>,
    turned_down: Option<TurnedDown>,
    touched: AtomicBool,
    stdin: Option<String>,
    env: Vec<(String, String)>,
}

impl Bundle {
    /// A bundle for `mode` that sleeps for ten minutes.
    pub fn new(mode: Mode) -> Self {
        let scratch = Scratch::new();
        let number = scratch.path().file_name().unwrap().to_str().unwrap().to_owned();
        let id = format!("urun-test-{}-{number}", std::process::id());
        scratch.dir("bundle", mode.caller(), 0o755);
        scratch.dir("run", mode.caller(), 0o700);
        scratch.dir("io", (0, 0), 0o755);
        make_rootfs(&scratch.join("bundle/rootfs"), mode.owner());
        let program = private_copy(mode, &scratch);
        let config = default_config(mode, &id);
        let outer = (mode == Mode::RootInUserns).then(PinnedNamespaces::outer);
        let env = vec![("XDG_RUNTIME_DIR".to_owned(), scratch.join("run").display().to_string())];
        Self {
            mode,
            scratch,
            id,
            config,
            outer,
            program,
            through: Vec::new(),
            turned_down: TurnedDown::by_environment(),
            touched: AtomicBool::new(false),
            stdin: None,
            env,
        }
    }

    /// The container runs this program.
    pub fn args<const N: usize>(self, args: [&str; N]) -> Self {
        self.with(|config| config["process"]["args"] = json!(args.as_slice()))
    }

    /// The container runs this shell script.
    pub fn sh(self, script: &str) -> Self {
        self.args(["sh", "-c", script])
    }

    /// Edits config.json.
    pub fn with(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        edit(&mut self.config);
        self
    }

    /// Puts a value at a JSON pointer of config.json; `-` appends to an array.
    pub fn put(self, pointer: &str, value: Value) -> Self {
        self.with(|config| super::set(config, pointer, value))
    }

    /// Adds a mount to config.json.
    pub fn mount(self, kind: &str, source: impl AsRef<Path>, destination: &str, options: &[&str]) -> Self {
        let mount =
            json!({"destination": destination, "type": kind, "source": source.as_ref(), "options": options});
        self.put("/mounts/-", mount)
    }

    /// The process runs as these container ids; directories of the root file system stay root's.
    pub fn user(self, uid: u32, gid: u32) -> Self {
        self.put("/process/user/uid", json!(uid)).put("/process/user/gid", json!(gid))
    }

    /// Replaces the namespace `kind`: `None` removes it, a path joins it.
    pub fn namespace(self, kind: &str, path: Option<&str>) -> Self {
        self.with(|config| {
            let list = config["linux"]["namespaces"].as_array_mut().unwrap();
            list.retain(|ns| ns["type"] != kind);
            if let Some(path) = path {
                list.push(if path.is_empty() {
                    json!({"type": kind})
                } else {
                    json!({"type": kind, "path": path})
                });
            }
        })
    }

    /// A new outer namespace, which knows the mounts that the test made on the host in the meantime.
    pub fn renew_outer(mut self) -> Self {
        self.outer = self.outer.is_some().then(PinnedNamespaces::outer);
        self
    }

    /// The runtime, called by root, sees a pure version 2 hierarchy, whatever the host mounts.
    pub fn in_pure_v2(mut self) -> Self {
        if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            self.through = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pure-cgroup2").to_owned()];
        }
        self
    }

    /// The runtime has no standard input from here on.
    pub fn without_stdin(&mut self) {
        self.through = ["sh", "-c", "exec \"$@\" <&-", "sh"].map(str::to_owned).to_vec();
    }

    /// A call is turned down for the runtime from here on; `None` for none.
    pub fn turn_down(&mut self, turned_down: Option<TurnedDown>) {
        self.turned_down = turned_down;
    }

    /// Is a call turned down for the runtime?
    pub fn is_turned_down(&self) -> bool {
        self.turned_down.is_some()
    }

    /// Text on the runtime's standard input.
    pub fn stdin(mut self, text: &str) -> Self {
        self.stdin = Some(text.to_owned());
        self
    }

    /// A variable in the runtime's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Edits the root file system on the host, as the container's root would own it afterwards.
    pub fn rootfs(self, edit: impl FnOnce(&Path)) -> Self {
        edit(&self.rootfs_dir());
        own_tree(&self.rootfs_dir(), self.mode.owner());
        self
    }

    /// Another root file system, for a container that is not this bundle's.
    pub fn rootfs_at(path: &Path, owner: (u32, u32)) {
        make_rootfs(path, owner);
    }

    /// The namespace that the caller is root of in [`Mode::RootInUserns`].
    pub fn outer(&self) -> Option<&PinnedNamespaces> {
        self.outer.as_ref()
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The test's directory.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The bundle's directory.
    pub fn dir(&self) -> PathBuf {
        self.scratch.join("bundle")
    }

    /// The root file system on the host.
    pub fn rootfs_dir(&self) -> PathBuf {
        self.dir().join("rootfs")
    }

    /// The state root given with `--root`.
    pub fn state_root(&self) -> PathBuf {
        self.scratch.join("run/state")
    }

    /// Writes config.json.
    pub fn write(&self) {
        let path = self.dir().join("config.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&self.config).unwrap()).unwrap();
        set_mode(&path, 0o644);
    }

    /// The runtime with `--root` and the arguments, ready to run as the mode's caller.
    pub fn command(&self, args: &[&str]) -> Command {
        self.touched.store(true, Ordering::Relaxed);
        let program = self.through.first().map_or(&*self.program, Path::new);
        let mut command =
            self.mode.command_without(self.turned_down, program, &self.dir(), self.outer.as_ref());
        if !self.through.is_empty() {
            command.args(&self.through[1..]).arg(&self.program);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.arg("--root").arg(self.state_root());
        match (driver(), self.mode.cgroups()) {
            (Driver::Systemd, true) => {
                command.arg("--systemd-cgroup");
                if let Some(account) = self.mode.account() {
                    // Beside the state, which has to be the test's own, the user has one bus.
                    let bus = format!("unix:path=/run/user/{}/bus", account.uid);
                    command.env("DBUS_SESSION_BUS_ADDRESS", bus);
                }
            }
            // crun makes a choice of its own between the drivers; runc and urun take cgroupfs.
            (Driver::Cgroupfs, true) if subject().0 == Subject::Crun => {
                command.args(["--cgroup-manager", "cgroupfs"]);
            }
            _ => (),
        }
        command.args(args).stdin(stdin_of(self.stdin.as_deref(), &self.scratch.join("io")));
        command
    }

    /// Calls the runtime with `--root` and the arguments.
    #[track_caller]
    pub fn call(&self, args: &[&str]) -> Output {
        run_limited(self.command(args), &self.scratch.join("io"))
    }

    /// Runs any command with the limit on its time and its output in files.
    #[track_caller]
    pub fn call_command(&self, command: Command) -> Output {
        run_limited(command, &self.scratch.join("io"))
    }

    /// `run` in the foreground.
    #[track_caller]
    pub fn run(&self) -> Output {
        self.run_with(&[])
    }

    /// `run` in the foreground with more flags.
    ///
    /// Nobody waits for a program that sleeps: where the test names none, it ends at once.
    #[track_caller]
    pub fn run_with(&self, flags: &[&str]) -> Output {
        self.write();
        if self.config["process"]["args"] == json!(["sleep", "600"]) {
            let mut config = self.config.clone();
            config["process"]["args"] = json!(["true"]);
            std::fs::write(self.dir().join("config.json"), serde_json::to_vec_pretty(&config).unwrap())
                .unwrap();
        }
        self.call(&[&["run"], flags, &[self.id.as_str()]].concat())
    }

    /// `create` with flags, whatever comes of it.
    #[track_caller]
    pub fn try_create(&self, flags: &[&str]) -> Output {
        self.write();
        self.call(&[&["create"], flags, &[self.id.as_str()]].concat())
    }

    /// A created container.
    #[track_caller]
    pub fn create(self) -> Container {
        self.create_with(&[])
    }

    /// A created container, made with flags.
    #[track_caller]
    pub fn create_with(self, flags: &[&str]) -> Container {
        let files = self.try_create(flags).ok().files;
        Container::of(self, files)
    }

    /// A running container.
    #[track_caller]
    pub fn start(self) -> Container {
        let container = self.create();
        container.start();
        container
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.turned_down = None;
        if self.touched.load(Ordering::Relaxed) {
            // Never panics: the test may be unwinding, and its own message is the one to read.
            let mut delete = self.command(&["delete", "--force", &self.id]);
            let _ = delete.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status();
        }
        super::traces::sweep(&self.id);
    }
}

/// An ordinary user may not reach the build directory, so the runtime is copied to where it can be run.
fn private_copy(mode: Mode, scratch: &Scratch) -> PathBuf {
    let (who, program) = subject();
    if who != Subject::Urun || matches!(mode, Mode::Root | Mode::RootUserns) {
        return program;
    }
    let copy = scratch.join("urun");
    copy_program(&program, &copy);
    set_mode(&copy, 0o755);
    copy
}

/// Copies a program by a process of its own: a descriptor open for writing here would be inherited by whatever another
/// test starts at this moment, and the kernel executes no file that is open for writing.
pub fn copy_program(from: &Path, to: &Path) {
    assert!(Command::new("cp").args([from, to]).status().unwrap().success(), "cp to {}", to.display());
}

/// A root file system with Debian's static busybox, owned by `owner`.
pub fn make_rootfs(root: &Path, owner: (u32, u32)) {
    static APPLETS: OnceLock<Vec<String>> = OnceLock::new();
    let busybox = Path::new("/bin/busybox");
    assert!(busybox.exists(), "busybox-static is not installed: use `make test`");
    let applets = APPLETS.get_or_init(|| {
        let list = Command::new(busybox).arg("--list").output().unwrap().stdout;
        String::from_utf8(list).unwrap().lines().filter(|a| *a != "busybox").map(str::to_owned).collect()
    });
    for dir in ["bin", "etc", "proc", "sys", "dev", "tmp", "run", "root", "home", "mnt", "usr/bin", "var/tmp"]
    {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    copy_program(busybox, &root.join("bin/busybox"));
    for applet in applets {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    std::fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n",
    )
    .unwrap();
    std::fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\n").unwrap();
    set_mode(&root.join("bin/busybox"), 0o755);
    set_mode(&root.join("tmp"), 0o1777);
    own_tree(root, owner);
}

/// Gives a tree to `owner`, symlinks themselves included.
pub fn own_tree(path: &Path, owner: (u32, u32)) {
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            own_tree(&entry.unwrap().path(), owner);
        }
        chown(path, Some(owner.0), Some(owner.1)).unwrap();
    } else {
        lchown(path, Some(owner.0), Some(owner.1)).unwrap();
    }
}

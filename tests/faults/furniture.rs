//! What a container can have outside of itself, and what a fault must not make of it: hooks that are told of no end, ids that
//! nobody gives back, a device that is left down or without its address.

use crate::common::{Bundle, Mode, PinnedNamespaces, cgroup_dir, nsresourced, set_mode, wait_until};
use serde_json::json;
use std::cell::Cell;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the container is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Namespaces, mounts, groups, limits and a filter.
    Plain,
    /// Beside them a hook of each kind, ids by `--userns auto`, and a network device where the caller may move one.
    Furnished,
}

/// Whether this host's control groups can limit anything: a version 2 hierarchy beside those of version 1 has no controllers.
pub fn has_limits() -> bool {
    cgroup_dir("pids", "/").is_some()
}

/// The kinds of hooks in their order: three of create, two of start, one of the end.
const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// What a [`Shape::Furnished`] container has outside of itself.
pub struct Furniture {
    /// Where each hook writes a line.
    ran: PathBuf,
    /// What urun warns of.
    log: String,
    wire: Option<Wire>,
}

type Result<T> = std::result::Result<T, String>;

impl Furniture {
    /// Adds it to a bundle.
    pub fn in_bundle(bundle: Bundle) -> (Bundle, Self) {
        let mode = bundle.mode();
        let dir = bundle.scratch().dir("log", mode.caller(), 0o777);
        let [ran, log] = ["ran", "log"].map(|name| dir.join(name));
        // By the variable a hook that outlives its runtime is found.
        let own = format!("URUN_TEST_ID={}", bundle.id());
        let hook = |kind: &str| {
            let place = if kind == "startContainer" { Path::new("/log/ran") } else { &ran };
            let script = format!("echo {kind} >> {}", place.display());
            json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": [own]})
        };
        let hooks = KINDS.map(|kind| (format!("/hooks/{kind}/-"), hook(kind)));
        let bundle = bundle.mount("bind", &dir, "/log", &["bind"]);
        let bundle = hooks.into_iter().fold(bundle, |bundle, (pointer, hook)| bundle.put(&pointer, hook));
        let wire = (!mode.rootless()).then(Wire::new);
        let bundle = match wire {
            Some(_) => bundle.put("/linux/netDevices", json!({DEVICE: {"name": "net7"}})),
            None => bundle,
        };
        (bundle, Self { ran, log: log.display().to_string(), wire })
    }

    /// The flags before the verb.
    pub fn globals(&self) -> [&str; 4] {
        ["--log", &self.log, "--log-level", "warning"]
    }

    /// The flags of create and run.
    pub fn flags(mode: Mode) -> [String; 2] {
        let choice = match mode.account() {
            // An ordinary user's files are root's inside only where root inside is the user.
            Some(account) => format!("auto:uidmapping=0:{}:1,gidmapping=0:{}:1", account.uid, account.gid),
            None => "auto".to_owned(),
        };
        ["--userns".to_owned(), choice]
    }

    /// The call is made where the device is.
    pub fn surround(&self, command: &mut Command) {
        if let Some(wire) = &self.wire {
            wire.enter(command);
        }
    }

    /// Before a container is made: no hook has run, the device is there.
    pub fn renew(&self) {
        for file in [self.ran.as_path(), Path::new(&self.log)] {
            std::fs::write(file, "").unwrap();
            set_mode(file, 0o666);
        }
        if let Some(wire) = &self.wire {
            wire.renew();
        }
    }

    fn hooks(&self) -> Vec<String> {
        std::fs::read_to_string(&self.ran).unwrap().lines().map(str::to_owned).collect()
    }

    /// A container whose program runs has had the hooks of create and its own, once and in order.
    pub fn has_begun(&self) -> Result<()> {
        match self.hooks() {
            hooks if hooks == KINDS[..4] || hooks == KINDS[..5] => Ok(()),
            hooks => Err(format!("the container runs, and its hooks were {hooks:?}")),
        }
    }

    /// Whoever says that it runs has told the hooks of that.
    pub fn has_started(&self) -> Result<()> {
        match self.hooks() {
            hooks if hooks == KINDS[..5] => Ok(()),
            hooks => Err(format!("the container is said to run, and its hooks were {hooks:?}")),
        }
    }

    /// Of a container that is gone: whoever was told of its beginning is told of its end, or a warning says why not.
    pub fn has_ended(&self) -> Result<()> {
        let (hooks, log) = (self.hooks(), std::fs::read_to_string(&self.log).unwrap());
        match hooks.is_empty() || hooks.iter().any(|kind| kind == "poststop") || log.contains("poststop") {
            true => Ok(()),
            false => Err(format!("the container is gone, and its hooks were {hooks:?}: {log}")),
        }
    }

    /// The device is on the host as it was, or gone with the container's network namespace.
    pub fn is_whole_or_gone(&self) -> Result<()> {
        match self.wire.as_ref().map(Wire::device) {
            Some(Device::Changed) => Err("the device on the host is down or without its address".to_owned()),
            _ => Ok(()),
        }
    }

    /// systemd-nsresourced looks for user namespaces that are gone when it is asked again or has nothing else to do, and the other
    /// end of a device that went into a container is gone as soon as that container's network namespace is, which the
    /// kernel takes its time for: those of all attempts are waited for at the end.
    pub fn finish(&self, mode: Mode) {
        if mode == Mode::RootlessOne {
            wait_until("systemd-nsresourced has all ids back", || nsresourced::registry().is_empty());
        }
        if let Some(wire) = &self.wire {
            wire.ip(&format!("link del {DEVICE}"));
            wait_until("no network namespace of a container is left", || {
                wire.ip("-o link show type veth").0.is_empty()
            });
        }
    }
}

/// What claims of ids are left of a container, or of processes that were about to make it.
pub fn claims(bundle: &Bundle, pids: &[i32]) -> Vec<String> {
    let root = if bundle.mode().rootless() { bundle.state_root() } else { "/run/urun".into() };
    let container = bundle.state_root().join(bundle.id()).display().to_string();
    let is_ours = |holder: &str| match holder.strip_prefix("process ").and_then(|rest| rest.split(' ').next())
    {
        Some(pid) => pids.iter().any(|ours| ours.to_string() == pid),
        None => holder == container,
    };
    let claims = std::fs::read_dir(root.join("@ids")).into_iter().flatten().flatten();
    let told = claims.filter_map(|claim| {
        let holder = std::fs::read_link(claim.path()).ok()?.into_os_string().into_string().ok()?;
        is_ours(&holder).then(|| format!("{} of {holder}", claim.file_name().display()))
    });
    told.collect()
}

/// What it is called on the host.
const DEVICE: &str = "dev0";
const ADDRESS: &str = "10.1.2.3/24";

/// A network namespace in the host's place, and in it one end of a pair for the container.
struct Wire {
    host: File,
    pairs: Cell<u32>,
}

/// What has become of it in the host's place.
enum Device {
    Whole,
    Changed,
    Gone,
}

impl Wire {
    fn new() -> Self {
        let pinned = PinnedNamespaces::with(&["--net"], None);
        Self { host: File::open(pinned.path("net")).unwrap(), pairs: Cell::new(0) }
    }

    fn enter(&self, command: &mut Command) {
        let host = self.host.as_raw_fd();
        // SAFETY: one system call, with numbers alone; the descriptor is open as long as this value, which outlives the call.
        unsafe {
            command.pre_exec(move || match libc::setns(host, libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
    }

    /// What ip(8) says, and whether it is content.
    fn ip(&self, arguments: &str) -> (String, bool) {
        let mut command = Command::new("ip");
        command.args(arguments.split(' ')).stdin(Stdio::null()).stderr(Stdio::null());
        self.enter(&mut command);
        let output = command.output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.success())
    }

    fn device(&self) -> Device {
        match self.ip(&format!("-o addr show dev {DEVICE} up")) {
            (_, false) => Device::Gone,
            (text, true) if text.contains(&format!("inet {ADDRESS} ")) => Device::Whole,
            (_, true) => Device::Changed,
        }
    }

    fn renew(&self) {
        match self.device() {
            Device::Whole => return,
            Device::Changed => drop(self.ip(&format!("link del {DEVICE}"))),
            Device::Gone => {}
        }
        let number = self.pairs.get();
        self.pairs.set(number + 1);
        for arguments in [
            format!("link add {DEVICE} type veth peer name peer{number}"),
            format!("addr add {ADDRESS} dev {DEVICE}"),
            format!("link set {DEVICE} up"),
        ] {
            assert!(self.ip(&arguments).1, "ip {arguments}");
        }
    }
}

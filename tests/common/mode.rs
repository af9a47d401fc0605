//! Who calls the runtime, and which ids the container gets.

use super::scratch::{Scratch, wait_until};
use super::turned_down::{self, TurnedDown};
use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The five ways in which every promise is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Real root, the container shares the host's user namespace.
    Root,
    /// Real root, the container has a user namespace of 65536 ids from 131072.
    RootUserns,
    /// Root of a user namespace of 131072 ids from 200000, the container shares it.
    RootInUserns,
    /// An ordinary user without subordinate ids: one id is mapped.
    RootlessOne,
    /// An ordinary user with a subordinate range.
    RootlessRange,
}

/// First host id of the container in [`Mode::RootUserns`], as the kubelet gives out.
pub const POD_BASE: u32 = 131_072;
/// First host id of the outer namespace in [`Mode::RootInUserns`].
pub const OUTER_BASE: u32 = 200_000;
const OUTER_SIZE: u32 = 131_072;

/// An unprivileged account that the tests keep on the machine.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// The user's id; its group has the id in `gid`.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// First subordinate uid and gid, where the user has any.
    pub sub: Option<(u32, u32)>,
}

/// Who makes the cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The runtime itself.
    Cgroupfs,
    /// systemd, asked by the runtime: the manager of the system, or of the user.
    Systemd,
}

/// The driver that the runtime is told to use: `URUN_TEST_DRIVER`, `cgroupfs` where it is not set.
pub fn driver() -> Driver {
    match std::env::var("URUN_TEST_DRIVER").as_deref() {
        Err(_) | Ok("" | "cgroupfs") => Driver::Cgroupfs,
        Ok("systemd") => Driver::Systemd,
        Ok(other) => panic!("URUN_TEST_DRIVER={other}: cgroupfs and systemd are known"),
    }
}

impl Mode {
    pub fn root() -> Self {
        Self::Root
    }
    pub fn root_userns() -> Self {
        Self::RootUserns
    }
    pub fn root_in_userns() -> Self {
        Self::RootInUserns
    }
    pub fn rootless_one() -> Self {
        Self::RootlessOne
    }
    pub fn rootless_range() -> Self {
        Self::RootlessRange
    }

    /// Is the caller an ordinary user?
    pub fn rootless(self) -> bool {
        matches!(self, Self::RootlessOne | Self::RootlessRange)
    }

    /// Does the container get a user namespace of its own?
    pub fn userns(self) -> bool {
        matches!(self, Self::RootUserns) || self.rootless()
    }

    /// Is more than one id mapped, so that a process can be someone else than root?
    pub fn many_ids(self) -> bool {
        self != Self::RootlessOne
    }

    /// Does the container get a cgroup of its own? An ordinary user has to have a manager for that, so the tests keep one for the
    /// account with a subordinate range.
    pub fn cgroups(self) -> bool {
        match self {
            Self::Root | Self::RootUserns => true,
            Self::RootlessRange => driver() == Driver::Systemd,
            Self::RootInUserns | Self::RootlessOne => false,
        }
    }

    /// The account behind a rootless mode; made on first use.
    pub fn account(self) -> Option<Account> {
        static RANGE: OnceLock<Account> = OnceLock::new();
        static ONE: OnceLock<Account> = OnceLock::new();
        match self {
            Self::RootlessRange => Some(*RANGE.get_or_init(|| account("urun-test", true))),
            Self::RootlessOne => Some(*ONE.get_or_init(|| account("urun-test-one", false))),
            _ => None,
        }
    }

    /// `(container id, host id, size)` lines of the container's maps, uid then gid, as the host sees them.
    pub fn maps(self) -> (Vec<[u32; 3]>, Vec<[u32; 3]>) {
        match self {
            Self::Root => (vec![[0, 0, u32::MAX]], vec![[0, 0, u32::MAX]]),
            Self::RootUserns => (vec![[0, POD_BASE, 65536]], vec![[0, POD_BASE, 65536]]),
            Self::RootInUserns => (vec![[0, OUTER_BASE, OUTER_SIZE]], vec![[0, OUTER_BASE, OUTER_SIZE]]),
            Self::RootlessOne | Self::RootlessRange => {
                let account = self.account().unwrap();
                let lines = |own, sub: Option<u32>| {
                    let first = [0, own, 1];
                    std::iter::once(first).chain(sub.map(|start| [1, start, 65536])).collect()
                };
                (lines(account.uid, account.sub.map(|s| s.0)), lines(account.gid, account.sub.map(|s| s.1)))
            }
        }
    }

    /// The host uid of the container's `uid`.
    pub fn host_uid(self, uid: u32) -> u32 {
        through(&self.maps().0, uid)
    }

    /// The host gid of the container's `gid`.
    pub fn host_gid(self, gid: u32) -> u32 {
        through(&self.maps().1, gid)
    }

    /// The host ids of the container's root, who owns the root file system.
    pub fn owner(self) -> (u32, u32) {
        (self.host_uid(0), self.host_gid(0))
    }

    /// The host ids of the caller.
    pub fn caller(self) -> (u32, u32) {
        match self {
            Self::Root | Self::RootUserns => (0, 0),
            _ => self.owner(),
        }
    }

    /// `linux.uidMappings` and `linux.gidMappings` for config.json, where the container gets its own namespace.
    pub fn mappings(self) -> Option<(Value, Value)> {
        let json = |lines: Vec<[u32; 3]>| {
            let line = |[c, h, n]: &[u32; 3]| json!({"containerID": c, "hostID": h, "size": n});
            Value::Array(lines.iter().map(line).collect())
        };
        self.userns().then(|| (json(self.maps().0), json(self.maps().1)))
    }

    /// `program` as this mode's caller runs it, in `dir`; `outer` is the namespace of [`Mode::RootInUserns`].
    pub fn command(self, program: &Path, dir: &Path, outer: Option<&PinnedNamespaces>) -> Command {
        self.command_without(TurnedDown::by_environment(), program, dir, outer)
    }

    /// As [`Mode::command`], with a call turned down.
    pub fn command_without(
        self,
        turned_down: Option<TurnedDown>,
        program: &Path,
        dir: &Path,
        outer: Option<&PinnedNamespaces>,
    ) -> Command {
        let mut command = match outer {
            None => Command::new(program),
            Some(outer) => {
                let mut command = Command::new("nsenter");
                command.args(["--user", "--mount", "--setuid", "0", "--setgid", "0", "--target"]);
                command
                    .arg(outer.pid().to_string())
                    .arg(format!("--wdns={}", dir.display()))
                    .arg("--")
                    .arg(program);
                command
            }
        };
        turned_down::enter(&mut command, turned_down, self.account());
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.current_dir(dir).stdin(Stdio::null());
        command
    }
}

fn through(lines: &[[u32; 3]], id: u32) -> u32 {
    lines.iter().find(|[c, _, n]| *c <= id && id - c < *n).map_or(65534, |[c, h, _]| h + (id - c))
}

fn account(name: &str, range: bool) -> Account {
    let lock = std::fs::File::create(std::env::temp_dir().join("urun-test.lock")).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    if passwd(name).is_none() {
        let mut useradd = Command::new("useradd");
        useradd.args(["--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]);
        // A system account gets no subordinate ids.
        if !range {
            useradd.arg("--system");
        }
        let output = useradd.arg(name).output().unwrap();
        assert!(output.status.success(), "useradd {name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    if range && subordinate("/etc/subuid", name).is_none() {
        let ids = "300000-365535";
        let mut usermod = Command::new("usermod");
        let output = usermod.args(["--add-subuids", ids, "--add-subgids", ids, name]).output().unwrap();
        assert!(output.status.success(), "usermod {name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    drop(lock);
    let (uid, gid) = passwd(name).unwrap();
    let sub = subordinate("/etc/subuid", name).zip(subordinate("/etc/subgid", name));
    assert_eq!(sub.is_some(), range, "subordinate ids of {name}");
    Account { uid, gid, sub }
}

/// The ids of a local account. Read by hand: a static binary must not ask glibc's name services.
fn passwd(name: &str) -> Option<(u32, u32)> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut fields = line.split(':').skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn subordinate(file: &str, name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.split(':').next()?.parse().ok())
}

/// Namespaces kept alive by a process that sleeps in them; killed with the value.
#[derive(Debug)]
pub struct PinnedNamespaces(Child);

impl PinnedNamespaces {
    /// A user and a mount namespace of 131072 ids from 200000.
    pub fn outer() -> Self {
        Self::with(&["--mount", "--propagation", "slave"], Some((OUTER_BASE, OUTER_SIZE)))
    }

    /// New namespaces by `unshare`'s flags, in a new user namespace with ids `(first, count)` where given.
    pub fn with(flags: &[&str], ids: Option<(u32, u32)>) -> Self {
        let mut command = Command::new("unshare");
        if ids.is_some() {
            command.arg("--user");
        }
        command.args(flags).args(["--", "sleep", "600"]).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pinned = Self(child);
        let of = |pid: &str, kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
        let name = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        wait_until("the namespaces are there", || name(pinned.pid()).trim() == "sleep");
        if let Some((first, count)) = ids {
            assert_ne!(of("self", "user"), of(&pinned.pid().to_string(), "user"));
            for map in ["uid_map", "gid_map"] {
                std::fs::write(format!("/proc/{}/{map}", pinned.pid()), format!("0 {first} {count}\n"))
                    .unwrap();
            }
        }
        pinned
    }

    /// New namespaces by `unshare`'s flags that belong to `outer`.
    pub fn inside(outer: &Self, flags: &[&str]) -> Self {
        let mut command = Command::new("nsenter");
        command.args([
            "--user",
            "--mount",
            "--setuid",
            "0",
            "--setgid",
            "0",
            "--target",
            &outer.pid().to_string(),
        ]);
        command.args(["--", "unshare"]).args(flags).args(["--", "sleep", "600"]).stdin(Stdio::null());
        let pinned = Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let name = || std::fs::read_to_string(format!("/proc/{}/comm", pinned.pid())).unwrap_or_default();
        wait_until("the namespaces are there", || name().trim() == "sleep");
        pinned
    }

    /// The process that holds them.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// `/proc/PID/ns/KIND`.
    pub fn path(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.pid())
    }
}

impl Drop for PinnedNamespaces {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory that the mode's caller owns.
pub fn owned_dir(mode: Mode, scratch: &Scratch, name: &str) -> std::path::PathBuf {
    scratch.dir(name, mode.caller(), 0o755)
}

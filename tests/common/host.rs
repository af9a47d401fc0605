//! What the host's kernel says about a process: the judge of every behaviour test.

use std::path::{Path, PathBuf};

/// One line of a mountinfo file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Root of the mount within its file system.
    pub root: String,
    /// Mount point as the process sees it.
    pub point: String,
    /// Per-mount options.
    pub options: Vec<String>,
    /// Propagation fields: `shared:1`, `master:2`, `unbindable`; empty for a private mount.
    pub propagation: Vec<String>,
    /// File system type.
    pub kind: String,
    /// Source.
    pub source: String,
    /// Options of the file system itself.
    pub super_options: Vec<String>,
}

impl Mount {
    fn parse(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let dash = words.iter().position(|word| *word == "-").unwrap();
        let list = |text: &str| text.split(',').map(str::to_owned).collect();
        Self {
            root: unescape(words[3]),
            point: unescape(words[4]),
            options: list(words[5]),
            propagation: words[6..dash].iter().map(ToString::to_string).collect(),
            kind: words[dash + 1].to_owned(),
            source: unescape(words[dash + 2]),
            super_options: list(words[dash + 3]),
        }
    }

    /// Is the per-mount option set?
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }

    /// Is the option of the file system set?
    pub fn super_has(&self, option: &str) -> bool {
        self.super_options.iter().any(|o| o == option)
    }

    /// Is the mount a member of a peer group?
    pub fn shared(&self) -> bool {
        self.propagation.iter().any(|p| p.starts_with("shared:"))
    }

    /// Does the mount receive from a peer group?
    pub fn slave(&self) -> bool {
        self.propagation.iter().any(|p| p.starts_with("master:"))
    }
}

/// mountinfo writes blanks, tabs, newlines and backslashes in octal.
fn unescape(word: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = word.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' {
            let digits: String = bytes.by_ref().take(3).map(char::from).collect();
            out.push(u8::from_str_radix(&digits, 8).unwrap());
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).unwrap()
}

/// A process as the host's `/proc` shows it.
#[derive(Clone, Copy, Debug)]
pub struct Proc(pub u32);

impl Proc {
    /// `/proc/PID/NAME`.
    pub fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }

    /// The content of `/proc/PID/NAME`.
    #[track_caller]
    pub fn read(self, name: &str) -> String {
        let path = self.path(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The field of `/proc/PID/status`, trimmed.
    #[track_caller]
    pub fn status(self, field: &str) -> String {
        let text = self.read("status");
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {field} in {text}")).trim().to_owned()
    }

    /// A status field of numbers.
    #[track_caller]
    pub fn numbers(self, field: &str) -> Vec<u32> {
        self.status(field).split_whitespace().map(|word| word.parse().unwrap()).collect()
    }

    /// How many seccomp filters it has of its own: those around the tests, and one that turns a call down, are not.
    #[track_caller]
    pub fn filters(self) -> u32 {
        let count = |process: Self| process.numbers("Seccomp_filters")[0];
        let all = count(self);
        assert_eq!(self.status("Seccomp"), if all == 0 { "0" } else { "2" });
        all - count(Self(std::process::id())) - u32::from(super::TurnedDown::by_environment().is_some())
    }

    /// A capability set of the status file: `CapEff`, `CapPrm`, `CapBnd`, `CapInh`, `CapAmb`.
    #[track_caller]
    pub fn caps(self, set: &str) -> String {
        self.status(set)
    }

    /// `uid_map` or `gid_map` as `[inside, outside, size]` lines.
    #[track_caller]
    pub fn map(self, file: &str) -> Vec<[u32; 3]> {
        let line = |line: &str| {
            let ids: Vec<u32> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
            [ids[0], ids[1], ids[2]]
        };
        self.read(file).lines().map(line).collect()
    }

    /// The mount table.
    #[track_caller]
    pub fn mounts(self) -> Vec<Mount> {
        self.read("mountinfo").lines().map(Mount::parse).collect()
    }

    /// The top mount on `point`.
    #[track_caller]
    pub fn mount(self, point: &str) -> Mount {
        let mounts = self.mounts();
        let found = mounts.iter().rev().find(|mount| mount.point == point).cloned();
        found.unwrap_or_else(|| panic!("nothing is mounted on {point}: {}", self.read("mountinfo")))
    }

    /// The identity of a namespace: `user:[4026531837]`.
    #[track_caller]
    pub fn ns(self, kind: &str) -> String {
        let path = self.path("ns").join(kind);
        std::fs::read_link(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).display().to_string()
    }

    /// The user namespace that owns a namespace, as ioctl_ns(2) tells it.
    #[track_caller]
    #[allow(unsafe_code)] // the kernel tells it in no other way
    pub fn ns_owner(self, kind: &str) -> String {
        use std::os::fd::{AsRawFd, FromRawFd};
        use std::os::unix::fs::MetadataExt;
        const NS_GET_USERNS: nix::libc::c_ulong = 0xb701;
        let namespace = std::fs::File::open(self.path("ns").join(kind)).unwrap();
        // SAFETY: the descriptor is open, and the request takes no argument.
        let owner = unsafe { nix::libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) };
        assert!(owner >= 0, "{kind}: {}", std::io::Error::last_os_error());
        // SAFETY: the kernel just made this descriptor for this call.
        let owner = unsafe { std::fs::File::from_raw_fd(owner) };
        format!("user:[{}]", owner.metadata().unwrap().ino())
    }

    /// `(soft, hard)` of a line of `/proc/PID/limits`, such as `Max open files`.
    #[track_caller]
    pub fn limit(self, name: &str) -> (String, String) {
        let text = self.read("limits");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next().unwrap(), words.next().unwrap())
    }

    /// The cgroup of a v1 controller, or of v2 with an empty name.
    #[track_caller]
    pub fn cgroup(self, controller: &str) -> String {
        let text = self.read("cgroup");
        let found = text.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let names = parts.next()?;
            names
                .split(',')
                .any(|name| name == controller)
                .then(|| parts.next().unwrap_or_default().to_owned())
        });
        found.unwrap_or_else(|| panic!("no {controller} in {text}"))
    }

    /// The open file descriptors.
    pub fn fds(self) -> Vec<u32> {
        let mut fds: Vec<u32> = std::fs::read_dir(self.path("fd"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
            .collect();
        fds.sort_unstable();
        fds
    }

    /// The environment.
    pub fn env(self) -> Vec<String> {
        self.read("environ").split('\0').filter(|v| !v.is_empty()).map(str::to_owned).collect()
    }

    /// A path as the process sees it, reached from the host. Symlinks on the way are the host's: for files without any.
    pub fn inside(self, path: &str) -> PathBuf {
        self.path("root").join(path.trim_start_matches('/'))
    }

    /// Is the process there and not a zombie?
    pub fn alive(self) -> bool {
        let stat = std::fs::read_to_string(self.path("stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
    }
}

/// The test's own mount table, without hierarchies that another mount covers: those stand there still and cannot be reached.
pub fn host_mounts() -> Vec<Mount> {
    let reachable = |mount: &Mount| !mount.kind.starts_with("cgroup") || Path::new(&mount.point).is_dir();
    Proc(std::process::id()).mounts().into_iter().filter(reachable).collect()
}

/// Mount points of this process at or below `dir`, outermost first.
pub fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    host_mounts().into_iter().map(|m| PathBuf::from(m.point)).filter(|point| point.starts_with(dir)).collect()
}

/// May this machine raise a hard limit? Some sandboxes run root without CAP_SYS_RESOURCE.
pub fn has_cap_sys_resource() -> bool {
    let effective = Proc(std::process::id()).caps("CapEff");
    u64::from_str_radix(&effective, 16).unwrap() & (1 << 24) != 0
}

/// Is the Linux security module active?
pub fn lsm(name: &str) -> bool {
    match name {
        "apparmor" => std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")
            .is_ok_and(|t| t.starts_with('Y')),
        "selinux" => Path::new("/sys/fs/selinux/enforce").exists(),
        other => panic!("unknown LSM {other}"),
    }
}

/// The directory of `cgroup` in the hierarchy that has `controller`, or in the unified one for an empty name.
pub fn cgroup_dir(controller: &str, cgroup: &str) -> Option<PathBuf> {
    let found = host_mounts().into_iter().find(|mount| match mount.kind.as_str() {
        "cgroup" => !controller.is_empty() && mount.super_has(controller),
        "cgroup2" => {
            let controllers = std::fs::read_to_string(Path::new(&mount.point).join("cgroup.controllers"));
            controller.is_empty()
                || controllers.is_ok_and(|text| text.split_whitespace().any(|c| c == controller))
        }
        _ => false,
    })?;
    Some(Path::new(&found.point).join(cgroup.trim_start_matches('/')))
}

/// The names of the capabilities in the order of their numbers.
pub const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The first two numbers of the running kernel's version.
pub fn linux() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|word| word.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

//! What was asked for is what the kernel enforces (SEC-90): everything that the host can read about a process of a container, against
//! its config.json.

use crate::common::*;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Kinds of namespaces as config.json and /proc call them.
const KINDS: [(&str, &str); 8] = [
    ("user", "user"),
    ("mount", "mnt"),
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

/// Devices of every container: runtime-spec config-linux.md, "Default Devices".
const DEVICES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// A process of a container, what its config.json says, and what was found to be otherwise.
struct Audit<'a> {
    container: &'a Container,
    process: Proc,
    config: &'a Value,
    mode: Mode,
    wrong: Vec<String>,
}

impl Audit<'_> {
    /// Looks at everything; says what is wrong.
    fn of(container: &Container, process: Proc) -> Vec<String> {
        let (config, mode) = (&container.bundle().config, container.bundle().mode());
        let mut audit = Audit { container, process, config, mode, wrong: Vec::new() };
        audit.ids();
        audit.capabilities();
        audit.filters_and_labels();
        audit.namespaces();
        audit.mounts();
        audit.devices();
        audit.limits();
        audit.files();
        audit.wrong
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: T, expected: T) {
        if found != expected {
            self.wrong.push(format!("{what}: {found:?}, expected {expected:?}"));
        }
    }

    fn at(&self, pointer: &str) -> &Value {
        self.config.pointer(pointer).unwrap_or(&Value::Null)
    }

    fn list(&self, pointer: &str) -> Vec<Value> {
        self.at(pointer).as_array().cloned().unwrap_or_default()
    }

    fn number(&self, pointer: &str) -> u32 {
        self.at(pointer).as_u64().map_or(0, |number| number.try_into().unwrap())
    }

    fn is_hardened(&self) -> bool {
        self.at("/annotations/io.urun.hardened") == "true"
    }

    fn ids(&mut self) {
        let (process, mode) = (self.process, self.mode);
        let (uid, gid) = (self.number("/process/user/uid"), self.number("/process/user/gid"));
        self.same("Uid", process.numbers("Uid"), vec![mode.host_uid(uid); 4]);
        self.same("Gid", process.numbers("Gid"), vec![mode.host_gid(gid); 4]);
        let groups = self.list("/process/user/additionalGids");
        let groups = groups.iter().map(|gid| mode.host_gid(gid.as_u64().unwrap().try_into().unwrap()));
        self.same("Groups", process.numbers("Groups"), groups.collect());
        self.same("uid_map", process.map("uid_map"), mode.maps().0);
        self.same("gid_map", process.map("gid_map"), mode.maps().1);
        let setgroups = if mode == Mode::RootlessOne { "deny" } else { "allow" };
        self.same("setgroups", process.read("setgroups").trim(), setgroups);
    }

    /// The five sets after execve, capabilities(7): root gets what is bounding, others what is ambient.
    fn capabilities(&mut self) {
        let bits = |set: &str| {
            let names = self.list(&format!("/process/capabilities/{set}"));
            let bit = |name: &Value| 1u64 << CAPABILITIES.iter().position(|known| name == known).unwrap();
            names.iter().map(bit).sum::<u64>()
        };
        let [bounding, inheritable, ambient] = ["bounding", "inheritable", "ambient"].map(bits);
        let ambient = if self.is_hardened() { 0 } else { ambient };
        let effective = if self.number("/process/user/uid") == 0 { bounding | inheritable } else { ambient };
        let expected = [
            ("CapBnd", bounding),
            ("CapPrm", effective),
            ("CapEff", effective),
            ("CapInh", inheritable),
            ("CapAmb", ambient),
        ];
        for (set, bits) in expected {
            self.same(set, self.process.caps(set), format!("{bits:016x}"));
        }
    }

    fn filters_and_labels(&mut self) {
        let hardened = self.is_hardened();
        let new_privileges = self.at("/process/noNewPrivileges") != true && !hardened;
        self.same("NoNewPrivs", self.process.status("NoNewPrivs"), u8::from(!new_privileges).to_string());
        let filters = u32::from(!self.at("/linux/seccomp").is_null()) + u32::from(hardened);
        self.same("Seccomp_filters", self.process.filters(), filters);
        if let Some(profile) = self.at("/process/apparmorProfile").as_str() {
            let label = self.process.read("attr/current");
            self.same("label", label.trim(), &format!("{profile} (enforce)"));
        }
    }

    /// Which it has, and who owns each: that is what makes root inside root of it (SEC-91).
    fn namespaces(&mut self) {
        let own = Proc(std::process::id());
        let user = self.process.ns("user");
        for (kind, file) in KINDS {
            let entries = self.list("/linux/namespaces");
            let entry = entries.iter().find(|entry| entry["type"] == kind);
            let found = self.process.ns(file);
            match entry.map(|entry| entry["path"].as_str()) {
                Some(Some(path)) => {
                    self.same(kind, found, fs::read_link(path).unwrap().display().to_string());
                }
                Some(None) => {
                    self.same(&format!("new {kind} namespace"), found != own.ns(file), true);
                    if kind != "user" {
                        self.same(&format!("owner of {kind}"), self.process.ns_owner(file), user.clone());
                    }
                }
                None if kind == "user" && self.mode == Mode::RootInUserns => {}
                None => self.same(kind, found, own.ns(file)),
            }
            self.same(&format!("{kind} of init"), self.process.ns(file), self.container.proc().ns(file));
        }
    }

    fn mounts(&mut self) {
        let mounts = self.process.mounts();
        let top = |point: &str| mounts.iter().rev().find(|mount| mount.point == point);
        let mut known: Vec<String> = vec!["/".into()];
        for asked in self.list("/mounts") {
            let point = asked["destination"].as_str().unwrap().to_owned();
            let Some(mount) = top(&point) else {
                self.wrong.push(format!("nothing is mounted on {point}"));
                continue;
            };
            let kind = asked["type"].as_str().unwrap();
            // With version 1 it is a directory of hierarchies.
            if kind != "bind" && kind != "cgroup" {
                self.same(&format!("type of {point}"), mount.kind.as_str(), kind);
            }
            for flag in ["ro", "nosuid", "nodev", "noexec"] {
                let wanted = asked["options"].as_array().unwrap().iter().any(|option| option == flag);
                let below = mounts.iter().filter(|other| other.point.starts_with(&format!("{point}/")));
                for mount in below.filter(|_| kind == "cgroup").chain([mount]) {
                    if wanted || kind != "bind" {
                        self.same(&format!("{flag} of {}", mount.point), mount.has(flag), wanted);
                    }
                }
            }
            known.push(point);
        }
        let read_only = self.at("/root/readonly") == true;
        self.same("ro of /", top("/").unwrap().has("ro"), read_only);
        for path in self.list("/linux/maskedPaths") {
            let path = path.as_str().unwrap();
            let Ok(seen) = fs::metadata(self.process.inside(path)) else { continue };
            let masked = match seen.is_dir() {
                true => fs::read_dir(self.process.inside(path)).unwrap().count() == 0,
                false => seen.rdev() == nix::sys::stat::makedev(1, 3),
            };
            self.same(&format!("mask of {path}"), masked, true);
            known.push(path.to_owned());
        }
        for path in self.list("/linux/readonlyPaths") {
            let path = path.as_str().unwrap();
            if self.process.inside(path).exists() {
                self.same(&format!("ro of {path}"), top(path).is_some_and(|mount| mount.has("ro")), true);
                known.push(path.to_owned());
            }
        }
        // Where nobody may make nodes they are the host's, one by one; the hardened /proc has a mount on a link of its own.
        known.extend(DEVICES.map(|(name, ..)| format!("/dev/{name}")));
        known.extend(self.is_hardened().then(|| "/proc/thread-self".to_owned()));
        for mount in &mounts {
            self.same(&format!("propagation of {}", mount.point), mount.propagation.is_empty(), true);
            if !known.contains(&mount.point) && !mount.point.starts_with("/sys/fs/cgroup/") {
                self.wrong
                    .push(format!("{} is mounted on {} and nobody asked for it", mount.kind, mount.point));
            }
        }
    }

    /// The default ones are there and no other is, anywhere in the root file system or below /dev.
    fn devices(&mut self) {
        for (name, major, minor) in DEVICES {
            let found = fs::metadata(self.process.inside("/dev").join(name)).map(|meta| meta.rdev()).ok();
            self.same(&format!("/dev/{name}"), found, Some(nix::sys::stat::makedev(major, minor)));
        }
        let mut nodes = Vec::new();
        below(&self.process.inside("/dev"), &mut nodes);
        for node in nodes {
            let name = node.strip_prefix(self.process.inside("/dev")).unwrap().display().to_string();
            if !DEVICES.iter().any(|(known, ..)| *known == name) && name != "pts/ptmx" {
                self.wrong.push(format!("/dev/{name} is a device that nobody asked for"));
            }
        }
        if self.mode.cgroups() && is_v1("devices") {
            let rules = cgroup_file(self.process, "devices", "devices.list").unwrap();
            self.same("all devices are allowed", rules.contains("a *:* rwm"), false);
        }
    }

    fn limits(&mut self) {
        for limit in self.list("/process/rlimits") {
            let name = if limit["type"] == "RLIMIT_NOFILE" { "Max open files" } else { "Max core file size" };
            let expected = (limit["soft"].to_string(), limit["hard"].to_string());
            self.same(name, self.process.limit(name), expected);
        }
        let score = match self.at("/process/oomScoreAdj") {
            Value::Null => Proc(std::process::id()).read("oom_score_adj"),
            score => score.to_string(),
        };
        self.same("oom_score_adj", self.process.read("oom_score_adj").trim(), score.trim());
        for path in ["memory.limit", "pids.limit"] {
            let asked = self.at(&format!("/linux/resources/{}", path.replace('.', "/"))).as_i64();
            if let Some(asked) = asked {
                self.same(path, limit_of(self.process, path), Some(asked));
            }
        }
    }

    /// Where it stands, what it executes, what it holds open.
    fn files(&mut self) {
        let root = self.container.bundle().rootfs_dir();
        let inode = |path: PathBuf| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        self.same("root", inode(self.process.path("root/.")), inode(root.join(".")));
        self.same("exe", inode(self.process.path("exe")), inode(root.join("bin/busybox")));
        let cwd = self.at("/process/cwd").as_str().unwrap().to_owned();
        self.same("cwd", inode(self.process.path("cwd/.")), inode(self.process.inside(&cwd).join(".")));
        self.same("cwd", fs::read_link(self.process.path("cwd")).unwrap(), PathBuf::from(&cwd));
        self.same("descriptors", self.process.fds(), vec![0, 1, 2]);
        let id = format!("URUN_TEST_ID={}", self.container.id());
        self.same("environment", self.process.env().contains(&id), true);
    }
}

/// Device nodes below a directory, its symlinks aside.
fn below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            below(&entry.path(), found);
        } else if kind.is_char_device() || kind.is_block_device() {
            found.push(entry.path());
        }
    }
}

/// What engines ask for beyond the usual.
fn demanding(bundle: Bundle) -> Bundle {
    let mode = bundle.mode();
    let volume = bundle.scratch().dir("volume", mode.owner(), 0o755);
    let mut bundle = bundle
        .put("/root/readonly", json!(true))
        .put("/process/oomScoreAdj", json!(500))
        .put("/process/cwd", json!("/tmp"))
        .put(
            "/process/rlimits",
            json!([
                {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            ]),
        )
        .put(
            "/linux/seccomp",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{"names": ["keyctl"], "action": "SCMP_ACT_ERRNO"}],
            }),
        )
        .mount("bind", volume, "/mnt", &["bind", "ro", "nosuid", "nodev", "noexec"]);
    if mode.many_ids() {
        let ambient = json!(["CAP_NET_BIND_SERVICE"]);
        bundle = bundle
            .user(1000, 1000)
            .put("/process/user/additionalGids", json!([5, 1001]))
            .put("/process/capabilities/inheritable", ambient.clone())
            .put("/process/capabilities/ambient", ambient);
    }
    if mode.cgroups() {
        bundle = bundle
            .put("/linux/resources/memory", json!({"limit": 64 << 20}))
            .put("/linux/resources/pids", json!({"limit": 50}))
            .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["ro", "nosuid", "nodev", "noexec"]);
    }
    bundle
}

/// The ways to ask for a container, and what has to outlive it.
fn shapes(mode: Mode) -> Vec<(&'static str, Bundle, Box<dyn std::any::Any>)> {
    let plain = || Bundle::new(mode);
    let nothing = || Box::new(()) as Box<dyn std::any::Any>;
    let mut shapes = vec![
        ("plain", plain(), nothing()),
        ("demanding", demanding(plain()), nothing()),
        (
            "bare",
            plain()
                .put("/process/capabilities", json!({}))
                .put("/process/noNewPrivileges", json!(false))
                .put("/linux/maskedPaths", json!([]))
                .put("/linux/readonlyPaths", json!([])),
            nothing(),
        ),
    ];
    if mode.userns() {
        let (first, mut pod) = (plain().start(), plain());
        for kind in ["user", "network", "ipc", "uts", "pid"] {
            let file = if kind == "network" { "net" } else { kind };
            pod = pod.namespace(kind, Some(&first.proc().path("ns").join(file).display().to_string()));
        }
        shapes.push(("pod", pod, Box::new(first)));
        if subject().0 == Subject::Urun {
            let hardened = plain().put("/annotations/io.urun.hardened", json!("true"));
            shapes.push(("hardened", demanding(hardened), nothing()));
        }
    }
    if lsm("apparmor") && !mode.rootless() {
        let bundle = plain();
        let profile = Profile::load(&bundle, "audit", "deny /etc/shadow r,");
        let labelled = bundle.put("/process/apparmorProfile", json!(profile.name));
        shapes.push(("labelled", labelled, Box::new(profile)));
    }
    shapes
}

in_modes! {
    /// For the first process and for one that is executed later: ids, maps, the five capability sets, filters, label, namespaces and their
    /// owners, mounts, masks, devices, limits, root, program, descriptors. Fails on crun 1.8.1 and 1.28, whose `exec` leaves out what its
    /// flags do not repeat (no_new_privs, limits; 1.8.1 the user too), and on runc 1.1.5: /sys/fs/cgroup is not read-only.
    fn sec_90_what_was_asked_for_is_what_the_kernel_enforces(mode) {
        let mut wrong = Vec::new();
        for (shape, bundle, _kept) in shapes(mode) {
            let container = bundle.start();
            let pid_file = container.bundle().dir().join("exec.pid");
            let flags = ["exec", "--detach", "--pid-file", pid_file.to_str().unwrap(), container.id(), "sleep", "100"];
            container.bundle().call(&flags).ok();
            let later = Proc(fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap());
            for (who, process) in [("init", container.proc()), ("exec", later)] {
                wrong.extend(Audit::of(&container, process).into_iter().map(|text| format!("{shape}, {who}: {text}")));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

//! The calls that real engines made, on this machine: see `tests/golden/captures/README.md`.

use super::bundle::Bundle;
use super::console::ConsoleSocket;
use super::host::{CAPABILITIES, Proc, cgroup_dir, has_cap_sys_resource};
use super::limits::{cgroup_file, is_v1, limits_are};
use super::mode::{Mode, OUTER_BASE, PinnedNamespaces};
use super::scratch::{set_mode, wait_until};
use super::subject::{Subject, subject};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// The calls of a recorded scenario.
pub fn recorded(engine: &str, scenario: &str) -> Vec<Value> {
    let file = format!("{}/tests/golden/captures/{engine}/{scenario}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap()
}

/// One engine's scenario on this machine.
#[derive(Debug)]
pub struct Replay {
    /// The caller's place and the runtime.
    pub bundle: Bundle,
    rootless: bool,
    /// The containers run the recorded programs and hooks.
    faithful: bool,
    pinned: Option<PinnedNamespaces>,
    /// Recorded container id → id here.
    pub ids: HashMap<String, String>,
    /// Recorded pid → pid here, and id here → pid here.
    pub pids: HashMap<String, u32>,
    /// Where the masters of terminals will come from.
    pub sockets: Vec<ConsoleSocket>,
    /// Masters of terminals: a container whose terminal is closed gets a hangup.
    terminals: Vec<OwnedFd>,
    listeners: Vec<UnixListener>,
    /// What was written to config.json, by id.
    pub configs: HashMap<String, Value>,
}

impl Replay {
    /// A place for the calls; containers sleep unless the replay is `faithful`.
    pub fn new(calls: &[Value], rootless: bool, faithful: bool) -> Self {
        let bundle = Bundle::new(if rootless { Mode::RootInUserns } else { Mode::Root });
        Self {
            pinned: pinned_for(calls, bundle.outer()),
            bundle,
            rootless,
            faithful,
            ids: HashMap::new(),
            pids: HashMap::new(),
            sockets: Vec::new(),
            terminals: Vec::new(),
            listeners: Vec::new(),
            configs: HashMap::new(),
        }
    }

    /// The recorded id that a call is about and the id here; none for a container whose birth is not part of the recording.
    pub fn subject_of(&mut self, call: &Value, recorded: &[&str]) -> Option<(String, String)> {
        // The id is the last word, but for kill, where a signal may follow.
        let known = recorded.iter().rev().find(|word| self.ids.contains_key(**word));
        let theirs = (*known.unwrap_or(recorded.last().unwrap())).to_owned();
        if !call["config"].is_object() && !self.ids.contains_key(&theirs) {
            return None;
        }
        let ours = format!("{}-{}", self.bundle.id(), self.ids.len());
        let ours = self.ids.entry(theirs.clone()).or_insert(ours).clone();
        Some((theirs, ours))
    }

    /// The directory of a call's bundle.
    pub fn dir(&self, id: &str, name: &str) -> PathBuf {
        self.bundle.scratch().join(format!("b{}-{name}", id.rsplit('-').next().unwrap()))
    }

    /// Writes the configuration of a call for this machine into the directory.
    pub fn write_config(&mut self, call: &Value, id: &str, dir: &Path) {
        if call["config"].is_object() {
            let config = self.localised(call, id, dir);
            fs::write(dir.join("config.json"), config.to_string()).unwrap();
            self.configs.insert(id.to_owned(), config);
        }
    }

    /// Writes the document of an update for this machine.
    pub fn write_resources(&self, call: &Value) -> Option<PathBuf> {
        let path = self.bundle.scratch().join("run/resources.json");
        call["resources"].is_object().then(|| {
            fs::write(&path, possible(&call["resources"]).to_string()).unwrap();
            path
        })
    }

    /// The pid of a container.
    pub fn pid_of(&self, id: &str) -> Option<u32> {
        self.pids.get(id).copied()
    }

    /// Keeps the pid of a container that was created, and the terminal that it sent.
    pub fn remember_pid(&mut self, call: &Value, id: &str) {
        let state: Value = serde_json::from_str(&self.bundle.call(&["state", id]).ok().stdout).unwrap();
        let pid = u32::try_from(state["pid"].as_u64().unwrap()).unwrap();
        self.pids.insert(id.to_owned(), pid);
        if let Some(recorded) = call["pid"].as_str() {
            self.pids.insert(recorded.to_owned(), pid);
        }
        self.accept_terminals();
    }

    /// Takes the terminals that were sent since the last time, and returns the last one.
    pub fn accept_terminals(&mut self) -> Option<&OwnedFd> {
        self.terminals.extend(self.sockets.drain(..).map(|socket| socket.accept().1));
        self.terminals.last()
    }

    /// The engine's arguments with the test's paths. The test's own `--root` stands before them, so theirs goes.
    pub fn arguments(
        &mut self,
        recorded: &[&str],
        (recorded_id, id): (&str, &str),
        dir: &Path,
        name: &str,
    ) -> Vec<String> {
        let mut out = Vec::new();
        let mut words = recorded.iter();
        while let Some(word) = words.next() {
            let (flag, inline) =
                word.split_once('=').map_or((*word, None), |(flag, value)| (flag, Some(value)));
            let path = match flag {
                "--root" => None,
                "--resources" => match inline.or_else(|| words.as_slice().first().copied()) {
                    Some("-") => {
                        out.push((*word).to_owned());
                        continue;
                    }
                    _ => Some(self.bundle.scratch().join("run/resources.json")),
                },
                "--process" => Some(self.bundle.scratch().join(format!("run/{name}.process"))),
                "--bundle" => Some(dir.to_owned()),
                "--log" => Some(self.bundle.scratch().join(format!("run/{name}.log"))),
                "--pid-file" => Some(self.bundle.scratch().join(format!("run/{name}.pid"))),
                "--console-socket" => {
                    let path = self.bundle.scratch().join(format!("run/c-{name}"));
                    let socket = ConsoleSocket::listen(&path, self.bundle.mode().caller());
                    self.sockets.push(socket);
                    Some(path)
                }
                _ => {
                    out.push(if *word == recorded_id { id.to_owned() } else { (*word).to_owned() });
                    continue;
                }
            };
            if inline.is_none() {
                words.next();
            }
            match (path, inline) {
                (Some(path), Some(_)) => out.push(format!("{flag}={}", path.display())),
                (Some(path), None) => out.extend([flag.to_owned(), path.display().to_string()]),
                (None, _) => {}
            }
        }
        out
    }

    /// The engine's configuration on this machine.
    fn localised(&mut self, call: &Value, id: &str, dir: &Path) -> Value {
        let mut config = call["config"].clone();
        let owner = self.owner(&config);
        fs::create_dir_all(dir).unwrap();
        Bundle::rootfs_at(&dir.join("rootfs"), (owner, owner));
        // The program of a sandbox's own container.
        fs::write(dir.join("rootfs/pause"), "#!/bin/sh\nexec sleep 600\n").unwrap();
        set_mode(&dir.join("rootfs/pause"), 0o755);
        if config["root"]["path"].as_str().unwrap().starts_with('/') {
            config["root"]["path"] = json!(dir.join("rootfs"));
        }
        if call["exit"] == "0" && !self.faithful {
            let foreground = call["call"].as_str().unwrap().ends_with("-run");
            config["process"]["args"] = if foreground { json!(["true"]) } else { json!(["sleep", "600"]) };
        }
        config["process"]["env"].as_array_mut().unwrap().push(json!(format!("URUN_TEST_ID={id}")));
        if !self.faithful {
            config.as_object_mut().unwrap().remove("hooks");
        }
        if subject().0 == Subject::Crun {
            config["ociVersion"] = json!("1.0.2"); // crun 1.8 knows nothing newer
        }
        Self::localise_limits(&mut config, id);
        self.localise_namespaces(&mut config);
        self.localise_mounts(&mut config, dir, owner);
        if config["linux"]["seccomp"]["listenerPath"].is_string() {
            let path = self.bundle.scratch().join(format!("run/n{}", self.listeners.len()));
            self.listeners.push(UnixListener::bind(&path).unwrap());
            config["linux"]["seccomp"]["listenerPath"] = json!(path);
        }
        if let Some(devices) = config["linux"]["devices"].as_array_mut() {
            devices.retain(|device| {
                let kind = if device["type"] == "b" { "block" } else { "char" };
                Path::new(&format!("/sys/dev/{kind}/{}:{}", device["major"], device["minor"])).exists()
            });
        }
        config
    }

    /// The host id of the container's root.
    fn owner(&self, config: &Value) -> u32 {
        let lines = config["linux"]["uidMappings"].as_array().into_iter().flatten();
        let first = lines
            .filter(|line| line["containerID"] == 0)
            .find_map(|line| line["hostID"].as_u64())
            .unwrap_or(0);
        u32::try_from(first + if self.rootless { u64::from(OUTER_BASE) } else { 0 }).unwrap()
    }

    /// What this machine cannot limit is not asked for, as the recorder had to do it too.
    fn localise_limits(config: &mut Value, id: &str) {
        let linux = config["linux"].as_object_mut().unwrap();
        if linux.get("cgroupsPath").is_some() {
            linux.insert("cgroupsPath".into(), json!(format!("/{id}")));
        }
        if let Some(resources) = linux.get_mut("resources").and_then(Value::as_object_mut) {
            resources.retain(|key, _| key == "devices");
            if subject().0 == Subject::Crun && !has_cap_sys_resource() {
                resources.clear();
            }
        }
        let process = config["process"].as_object_mut().unwrap();
        process.remove("rlimits");
        if !has_cap_sys_resource() {
            for set in process["capabilities"].as_object_mut().into_iter().flat_map(|sets| sets.values_mut())
            {
                set.as_array_mut().unwrap().retain(|name| name != "CAP_SYS_RESOURCE");
            }
        }
        let own = Proc(std::process::id()).read("oom_score_adj").trim().parse::<i64>().unwrap();
        if process.get("oomScoreAdj").and_then(Value::as_i64).is_some_and(|score| score < own) {
            process.remove("oomScoreAdj");
        }
    }

    fn localise_namespaces(&self, config: &mut Value) {
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            let Some(path) = namespace["path"].as_str() else { continue };
            let kind = namespace["type"].as_str().unwrap();
            let file = if kind == "network" { "net" } else { kind };
            let recorded = path.strip_prefix("/proc/").and_then(|rest| rest.split('/').next());
            let local = match recorded.and_then(|pid| self.pids.get(pid)) {
                Some(pid) => format!("/proc/{pid}/ns/{file}"),
                None if kind == "pid" => {
                    // The sandbox's own, which CRI-O pins after it was born.
                    let first = self.ids.values().find_map(|id| self.pids.get(id)).unwrap();
                    format!("/proc/{first}/ns/pid")
                }
                None => self.pinned.as_ref().unwrap().path(file),
            };
            namespace["path"] = json!(local);
        }
    }

    fn localise_mounts(&self, config: &mut Value, dir: &Path, owner: u32) {
        let sources = dir.join("sources");
        fs::create_dir_all(&sources).unwrap();
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| {
            let source = mount["source"].as_str().unwrap_or_default();
            let device = source.starts_with("/dev/") && !source.starts_with("/dev/shm");
            // A device of the recorder's host that this one has not, and a volume whose layers nobody made.
            (!device || Path::new(source).exists()) && (self.faithful || mount["type"] != "overlay")
        });
        for (number, mount) in mounts.iter_mut().enumerate() {
            if mount["type"] == "overlay" {
                // An image as a volume: its layer, and an empty one.
                let layers = ["layer", "empty"].map(|name| sources.join(format!("{number}-{name}")));
                for layer in &layers {
                    fs::create_dir(layer).unwrap();
                }
                mount["options"] =
                    json!([format!("lowerdir={}:{}", layers[0].display(), layers[1].display())]);
            }
            let source = mount["source"].as_str().unwrap_or_default().to_owned();
            let options = mount["options"].to_string();
            let system = ["/dev/", "/sys", "/proc"].iter().any(|place| source.starts_with(place));
            if !options.contains("bind\"") || (system && !source.starts_with("/dev/shm")) {
                continue;
            }
            let local = sources.join(number.to_string());
            let destination = mount["destination"].as_str().unwrap();
            let file = ["/etc/", "termination-log", ".containerenv", "docker-init", "/sbin/", "/init"];
            if file.iter().any(|name| destination.contains(name)) {
                fs::write(&local, "x").unwrap();
            } else {
                fs::create_dir(&local).unwrap();
            }
            // Id-mapped volumes belong to the host's ids, the others to the container's.
            let uid = if mount["uidMappings"].is_array() { 0 } else { owner };
            std::os::unix::fs::chown(&local, Some(uid), Some(uid)).unwrap();
            mount["source"] = json!(local);
        }
    }

    /// What an update asked for, as the host sees it.
    pub fn check_limits(&self, resources: &Value, id: &str) {
        let resources = &possible(resources);
        let process = Proc(self.pid_of(id).unwrap());
        for object in ["memory", "cpu", "pids"] {
            for (key, value) in resources[object].as_object().into_iter().flatten() {
                match value.as_i64() {
                    Some(number) => limits_are(process, &[(&format!("{object}.{key}"), number)]),
                    None => {
                        assert_eq!(
                            cgroup_file(process, "cpuset", &format!("cpuset.{key}")).as_deref(),
                            value.as_str()
                        );
                    }
                }
            }
        }
    }

    /// What the configuration asked for, as the host sees it.
    pub fn check(&self, id: &str) {
        let config = &self.configs[id];
        let process = Proc(self.pid_of(id).unwrap());
        if subject().0 != Subject::Urun {
            wait_until("the program runs", || process.read("cmdline").starts_with("sleep"));
        }
        let caps = &config["process"]["capabilities"];
        for (set, key) in [("CapBnd", "bounding"), ("CapInh", "inheritable"), ("CapAmb", "ambient")] {
            let asked = mask(&caps[key]);
            let own = u64::from_str_radix(&Proc(std::process::id()).caps("CapBnd"), 16).unwrap();
            let has = u64::from_str_radix(&process.caps(set), 16).unwrap();
            assert_eq!(has & own, asked & own, "{set}");
        }
        let nnp = u8::from(config["process"]["noNewPrivileges"] == true).to_string();
        assert_eq!(process.status("NoNewPrivs"), nnp);
        assert_eq!(process.filters(), u32::from(config["linux"]["seccomp"].is_object()));
        assert_eq!(
            fs::read_link(process.path("cwd")).unwrap(),
            Path::new(config["process"]["cwd"].as_str().unwrap())
        );
        let uid = config["process"]["user"]["uid"].as_u64().unwrap();
        assert_eq!(u64::from(process.numbers("Uid")[0]), self.outside(&config["linux"]["uidMappings"], uid));
        let gid = config["process"]["user"]["gid"].as_u64().unwrap();
        assert_eq!(u64::from(process.numbers("Gid")[0]), self.outside(&config["linux"]["gidMappings"], gid));
        Self::check_mounts(config, process);
    }

    fn outside(&self, lines: &Value, id: u64) -> u64 {
        let base = if self.rootless { u64::from(OUTER_BASE) } else { 0 };
        let number = |line: &Value, key: &str| line[key].as_u64().unwrap();
        let lines: Vec<&Value> = lines.as_array().into_iter().flatten().collect();
        let found = lines.iter().find(|line| {
            let first = number(line, "containerID");
            (first..first + number(line, "size")).contains(&id)
        });
        base + found.map_or(id, |line| number(line, "hostID") + id - number(line, "containerID"))
    }

    fn check_mounts(config: &Value, process: Proc) {
        let mounts = process.mounts();
        let there = |point: &str| mounts.iter().any(|mount| mount.point == point);
        for mount in config["mounts"].as_array().unwrap() {
            let destination = mount["destination"].as_str().unwrap();
            assert!(there(destination), "{destination}");
        }
        for key in ["maskedPaths", "readonlyPaths"] {
            for path in
                config["linux"][key].as_array().into_iter().flatten().map(|path| path.as_str().unwrap())
            {
                // The same kernel answers inside, so what is not here is not there either.
                if path.starts_with("/proc/") && Path::new(path).exists() && !path.contains("/fs/") {
                    assert!(there(path), "{key} {path}");
                }
            }
        }
        if config["root"]["readonly"] == true {
            assert!(process.mount("/").has("ro"));
        }
    }
}

/// The part of an update's document that the controllers of this machine can apply.
fn possible(resources: &Value) -> Value {
    let mut resources = resources.clone();
    let Some(members) = resources.as_object_mut() else { return resources };
    let has = |controller: &str| cgroup_dir(controller, "/").is_some();
    members.retain(|key, _| !matches!(key.as_str(), "memory" | "cpu" | "pids") || has(key));
    if let Some(Value::Object(cpu)) = members.get_mut("cpu").filter(|_| !has("cpuset")) {
        cpu.retain(|key, _| !matches!(key.as_str(), "cpus" | "mems"));
    }
    if let Some(Value::Object(files)) = members.get_mut("unified") {
        files.retain(|name, _| {
            let controller = name.split('.').next().unwrap();
            has(controller) && !is_v1(controller)
        });
    }
    resources
}

/// The mask of a list of capabilities.
fn mask(names: &Value) -> u64 {
    let names = names.as_array().into_iter().flatten().map(|name| name.as_str().unwrap());
    names
        .filter_map(|name| CAPABILITIES.iter().position(|known| *known == name))
        .fold(0, |mask, bit| mask | 1 << bit)
}

/// The namespaces that the engine had pinned before: those joined by a path outside of `/proc`.
fn pinned_for(calls: &[Value], outer: Option<&PinnedNamespaces>) -> Option<PinnedNamespaces> {
    let mut flags = Vec::new();
    let mut ids = None;
    for config in calls.iter().map(|call| &call["config"]).filter(|config| config.is_object()) {
        for namespace in config["linux"]["namespaces"].as_array().unwrap() {
            if namespace["path"].as_str().is_none_or(|path| path.starts_with("/proc/")) {
                continue;
            }
            match namespace["type"].as_str().unwrap() {
                "network" => flags.push("--net"),
                "ipc" => flags.push("--ipc"),
                "uts" => flags.push("--uts"),
                "user" => ids = Some(first_line(config)),
                // The sandbox's own, which its container here has too.
                "pid" => {}
                other => panic!("pinned {other}"),
            }
        }
    }
    flags.sort_unstable();
    flags.dedup();
    if let Some(outer) = outer.filter(|_| !flags.is_empty()) {
        return Some(PinnedNamespaces::inside(outer, &flags));
    }
    (!flags.is_empty() || ids.is_some()).then(|| PinnedNamespaces::with(&flags, ids))
}

/// First host id and size of the first line of the uid map.
fn first_line(config: &Value) -> (u32, u32) {
    let line = &config["linux"]["uidMappings"][0];
    let number = |key: &str| u32::try_from(line[key].as_u64().unwrap()).unwrap();
    (number("hostID"), number("size"))
}

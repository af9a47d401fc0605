//! The calls that real engines made, replayed with their own arguments; see `tests/golden/captures/README.md`.

use crate::common::*;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// First id of the outer user namespace of a rootless Podman, where ids of the configuration are counted from.
const OUTER_BASE: u64 = 200_000;

/// One engine's scenario on this machine.
struct Replay {
    bundle: Bundle,
    rootless: bool,
    pinned: Option<PinnedNamespaces>,
    /// Recorded container id → id here.
    ids: HashMap<String, String>,
    /// Recorded pid → pid here.
    pids: HashMap<String, u32>,
    sockets: Vec<(ConsoleSocket, String)>,
    /// Masters of terminals: a container whose terminal is closed gets a hangup.
    terminals: Vec<OwnedFd>,
    listeners: Vec<UnixListener>,
    configs: HashMap<String, Value>,
}

fn replay(engine: &str, scenario: &str) {
    let file = format!("{}/tests/golden/captures/{engine}/{scenario}.json", env!("CARGO_MANIFEST_DIR"));
    let calls: Vec<Value> = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let rootless = scenario.starts_with("rl-");
    let mode = if rootless { Mode::RootInUserns } else { Mode::Root };
    let bundle = Bundle::new(mode);
    let pinned = pinned_for(&calls, bundle.outer());
    let mut replay = Replay {
        bundle,
        rootless,
        pinned,
        ids: HashMap::new(),
        pids: HashMap::new(),
        sockets: Vec::new(),
        terminals: Vec::new(),
        listeners: Vec::new(),
        configs: HashMap::new(),
    };
    for call in &calls {
        replay.call(call);
    }
    for id in replay.ids.values() {
        replay.bundle.call(&["delete", "--force", id]).ok();
        sweep(id);
    }
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

impl Replay {
    fn call(&mut self, call: &Value) {
        let name = call["call"].as_str().unwrap();
        let verb = name.split_once('-').unwrap().1;
        let fails = call["exit"].as_str() != Some("0");
        let recorded: Vec<&str> =
            call["argv"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
        // The id is the last word, but for kill, where a signal may follow.
        let known = recorded.iter().rev().find(|word| self.ids.contains_key(**word));
        let recorded_id = (*known.unwrap_or(recorded.last().unwrap())).to_owned();
        if !call["config"].is_object() && !self.ids.contains_key(&recorded_id) {
            return; // a container whose birth is not part of the recording
        }
        let number = self.ids.len();
        let id = self
            .ids
            .entry(recorded_id.clone())
            .or_insert_with(|| format!("{}-{number}", self.bundle.id()))
            .clone();
        let dir = self.bundle.scratch().join(format!("b{number}-{name}"));
        if call["config"].is_object() {
            let config = self.localised(call, &id, &dir);
            fs::write(dir.join("config.json"), config.to_string()).unwrap();
            self.configs.insert(id.clone(), config);
        }
        let resources = possible(&call["resources"]);
        if call["resources"].is_object() {
            fs::write(self.bundle.scratch().join("run/resources.json"), resources.to_string()).unwrap();
        }
        let argv = self.arguments(&recorded, (&recorded_id, &id), &dir, name);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let alive = self.pid_of(&id).is_some_and(|pid| Proc(pid).alive());
        let mut command = self.bundle.command(&argv);
        if call["resources"].is_object() {
            command.stdin(fs::File::open(self.bundle.scratch().join("run/resources.json")).unwrap());
        }
        let output = self.bundle.call_command(command);
        if verb == "kill" {
            // The recorded program may have died earlier or later than a sleep does.
            let alive_still = || self.pid_of(&id).is_some_and(|pid| Proc(pid).alive());
            assert!(output.code == 0 || !alive_still(), "{name}: {output:?}");
            if alive && matches!(argv.last(), Some(&"9" | &"KILL" | &"SIGKILL")) {
                let pid = self.pid_of(&id).unwrap();
                wait_until("the process has died", || !Proc(pid).alive());
            }
            return;
        }
        if verb == "delete" && !fails && !recorded.contains(&"--force") && alive {
            // The recorded program had ended by itself here.
            self.bundle.call(&["kill", &id, "KILL"]).ok();
            let pid = self.pid_of(&id).unwrap();
            wait_until("the process has died", || !Proc(pid).alive());
            self.bundle.call(&argv).ok();
            return;
        }
        assert_eq!(output.code != 0, fails, "{name} {argv:?}: {output:?}");
        if !fails {
            self.check_call(call, &id, &output, &resources);
        }
    }

    /// What a call that succeeded has left and said.
    fn check_call(&mut self, call: &Value, id: &str, output: &Output, resources: &Value) {
        let verb = call["call"].as_str().unwrap().split_once('-').unwrap().1;
        let said = || serde_json::from_str::<Value>(&output.stdout).unwrap();
        match verb {
            "create" => self.remember_pid(call, id),
            "start" => self.check(id),
            "state" if matches!(call["status"].as_str(), Some("created" | "paused")) => {
                assert_eq!(said()["status"], call["status"], "{}", call["call"]);
            }
            "ps" => {
                assert_eq!(said(), json!([self.pid_of(id).unwrap()]));
                assert_eq!(output.stderr, "");
            }
            "update" => self.check_limits(resources, id),
            _ => {}
        }
    }

    /// What an update asked for, as the host sees it.
    fn check_limits(&self, resources: &Value, id: &str) {
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

    fn pid_of(&self, id: &str) -> Option<u32> {
        self.pids.get(id).copied()
    }

    fn remember_pid(&mut self, call: &Value, id: &str) {
        let state: Value = serde_json::from_str(&self.bundle.call(&["state", id]).ok().stdout).unwrap();
        let pid = u32::try_from(state["pid"].as_u64().unwrap()).unwrap();
        self.pids.insert(id.to_owned(), pid);
        if let Some(recorded) = call["pid"].as_str() {
            self.pids.insert(recorded.to_owned(), pid);
        }
        for (socket, owner) in &self.sockets {
            if owner == id {
                self.terminals.push(socket.accept().1);
            }
        }
    }

    /// The engine's arguments with the test's paths. The test's own `--root` stands before them, so theirs goes.
    fn arguments(
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
                "--bundle" => Some(dir.to_owned()),
                "--log" => Some(self.bundle.scratch().join(format!("run/{name}.log"))),
                "--pid-file" => Some(self.bundle.scratch().join(format!("run/{name}.pid"))),
                "--console-socket" => {
                    let path = self.bundle.scratch().join(format!("run/c{}", self.sockets.len()));
                    let socket = ConsoleSocket::listen(&path, self.bundle.mode().caller());
                    self.sockets.push((socket, id.to_owned()));
                    Some(path)
                }
                "--resources" => match inline.or_else(|| words.as_slice().first().copied()) {
                    Some("-") => {
                        out.push((*word).to_owned());
                        continue;
                    }
                    _ => Some(self.bundle.scratch().join("run/resources.json")),
                },
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
        if config["root"]["path"].as_str().unwrap().starts_with('/') {
            config["root"]["path"] = json!(dir.join("rootfs"));
        }
        if call["exit"] == "0" {
            let foreground = call["call"].as_str().unwrap().ends_with("-run");
            config["process"]["args"] = if foreground { json!(["true"]) } else { json!(["sleep", "600"]) };
        }
        config["process"]["env"].as_array_mut().unwrap().push(json!(format!("URUN_TEST_ID={id}")));
        config.as_object_mut().unwrap().remove("hooks");
        if subject().0 == Subject::Crun {
            config["ociVersion"] = json!("1.0.2"); // crun 1.8 knows nothing newer
        }
        Self::localise_limits(&mut config, id);
        self.localise_namespaces(&mut config);
        Self::localise_mounts(&mut config, dir, owner);
        if config["linux"]["seccomp"]["listenerPath"].is_string() {
            let path = self.bundle.scratch().join(format!("run/n{}", self.listeners.len()));
            self.listeners.push(UnixListener::bind(&path).unwrap());
            config["linux"]["seccomp"]["listenerPath"] = json!(path);
        }
        if let Some(devices) = config["linux"]["devices"].as_array_mut() {
            devices.retain(|device| Path::new(device["path"].as_str().unwrap()).exists());
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
        u32::try_from(first + if self.rootless { OUTER_BASE } else { 0 }).unwrap()
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

    fn localise_mounts(config: &mut Value, dir: &Path, owner: u32) {
        let sources = dir.join("sources");
        fs::create_dir_all(&sources).unwrap();
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| {
            let source = mount["source"].as_str().unwrap_or_default();
            let device = source.starts_with("/dev/") && !source.starts_with("/dev/shm");
            // A device of the recorder's host that this one has not, and image layers that are nowhere.
            (!device || Path::new(source).exists()) && mount["type"] != "overlay"
        });
        for (number, mount) in mounts.iter_mut().enumerate() {
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

    /// What the configuration asked for, as the host sees it.
    fn check(&self, id: &str) {
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
        assert_eq!(process.status("Seccomp"), if config["linux"]["seccomp"].is_object() { "2" } else { "0" });
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
        let base = if self.rootless { OUTER_BASE } else { 0 };
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
        .filter_map(|name| super::capabilities::NAMES.iter().position(|known| *known == name))
        .fold(0, |mask, bit| mask | 1 << bit)
}

/// One test for each scenario.
macro_rules! scenarios {
    ($($engine:ident: $($name:ident = $file:literal)+;)+) => {
        $(mod $engine { $(#[test] fn $name() { super::replay(stringify!($engine), $file); })+ })+

        #[test]
        fn every_recorded_scenario_is_replayed() {
            let listed: &[(&str, &[&str])] = &[$((stringify!($engine), &[$($file),+])),+];
            for (engine, files) in listed {
                let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/captures").join(engine);
                for entry in fs::read_dir(dir).unwrap() {
                    let name = entry.unwrap().file_name().into_string().unwrap();
                    assert!(files.contains(&name.trim_end_matches(".json")), "{engine}/{name} has no test");
                }
            }
        }
    };
}

scenarios! {
    containerd:
        cri_a_restricted = "cri-a-restricted"
        cri_b_userns = "cri-b-userns"
        cri_f_shared_pid = "cri-f-shared-pid"
        cri_i_openshift = "cri-i-openshift"
        cri_l_create_fails = "cri-l-create-fails"
        cri_o_devices_rro = "cri-o-devices-rro"
        cri_j2_update = "cri-j2-update"
        ctr_life = "ctr-life"
        ctr_missing_binary = "ctr-missing-binary"
        ctr_no_pivot = "ctr-no-pivot"
        ctr_read_only_user = "ctr-read-only-user"
        ctr_seccomp = "ctr-seccomp"
        ctr_tty = "ctr-tty"
        ctr_userns = "ctr-userns";
    crio:
        a_restricted = "a-restricted"
        b_userns = "b-userns"
        c_userns_unmasked = "c-userns-unmasked"
        d_hostnet_userns = "d-hostnet-userns"
        d2_hostnet = "d2-hostnet"
        e2_privileged_bidir = "e2-privileged-bidir"
        f_shared_pid = "f-shared-pid"
        g_localhost_seccomp = "g-localhost-seccomp"
        h_tty = "h-tty"
        i_openshift = "i-openshift"
        j_update_pause = "j-update-pause"
        k_exit = "k-exit"
        l_create_fails = "l-create-fails"
        m_hostpid = "m-hostpid"
        n_annotations = "n-annotations"
        nodrop_b_userns = "nodrop-b-userns"
        nodrop_plain = "nodrop-plain"
        o_devices_rro = "o-devices-rro"
        p_userns_devices_tty = "p-userns-devices-tty"
        q_seccomp_notify = "q-seccomp-notify";
    docker:
        build_buildkit = "build-buildkit"
        cap_drop_all_user = "cap-drop-all-user"
        life = "life"
        missing_binary = "missing-binary"
        not_executable = "not-executable"
        privileged = "privileged"
        read_only = "read-only"
        remap_devices = "remap-devices"
        remap_update = "remap-update"
        remap_run = "remap-run"
        remap_tty = "remap-tty"
        run_rm = "run-rm"
        shared_ns = "shared-ns";
    podman:
        cap_add = "cap-add"
        cap_drop_all = "cap-drop-all"
        mask = "mask"
        net_host = "net-host"
        pid_host = "pid-host"
        pod = "pod"
        privileged = "privileged"
        read_only = "read-only"
        rl_cap_add = "rl-cap-add"
        rl_privileged = "rl-privileged"
        rl_read_only = "rl-read-only"
        rl_run_rm = "rl-run-rm"
        rl_run_tty = "rl-run-tty"
        rl_userns_keep_id = "rl-userns-keep-id"
        rl_volumes = "rl-volumes"
        run_missing_binary = "run-missing-binary"
        run_rm = "run-rm"
        run_tty = "run-tty"
        update = "update"
        userns_auto = "userns-auto"
        userns_uidmap = "userns-uidmap"
        volumes = "volumes";
}

//! CRI-O. It is not packaged by Debian, so its recorded calls are made once more with its own configurations, descriptors and parentage:
//! by a stand-in for conmon that is as strict as the rules allow, and by conmon itself. A live CRI-O is used where there is one.

use crate::common::{CAPABILITIES, Proc, Pty, Replay, Traces, recorded, sweep, wait_until};
use crate::crio_live;
use crate::monitor::{Launch, Monitor};
use crate::report::Report;
use crate::site::Who;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Containers that outlive a restart of CRI-O: one story in three recordings.
const RESTART: [&str; 3] = ["s-left-running", "s-restart-with-containers", "s-after-restart"];

/// What the recorded crun refused and urun runs: a filter without setresgid, which urun loads after the ids are set, and an image
/// volume with mappings, whose layers urun maps.
const REFUSED_BY_CRUN: [&str; 2] = ["g2-localhost-seccomp-too-tight", "r-image-volume-userns-fails"];

/// Every recorded scenario, by each monitor.
pub fn suite(report: &Report, engine: &'static str, monitor: Monitor) {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/captures/crio");
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> = names.map(|name| name.trim_end_matches(".json").to_owned()).collect();
    for name in &names {
        match RESTART.iter().position(|part| part == name) {
            None => report.run(engine, Who::Root, name, || Crio::replay(&[name], monitor)),
            Some(0) => report.run(engine, Who::Root, "s-restart", || Crio::replay(&RESTART, monitor)),
            Some(_) => {}
        }
    }
}

/// A replay under way.
struct Crio {
    replay: Replay,
    monitor: Monitor,
    /// What crun refused is expected to succeed.
    better: bool,
    running: HashMap<String, crate::monitor::Running>,
}

impl Crio {
    fn replay(scenarios: &[&str], monitor: Monitor) {
        let calls: Vec<Value> = scenarios.iter().flat_map(|scenario| recorded("crio", scenario)).collect();
        let mut crio = Self {
            replay: Replay::new(&calls, false, true),
            monitor,
            better: REFUSED_BY_CRUN.contains(&scenarios[0]),
            running: HashMap::new(),
        };
        for call in &calls {
            crio.call(call);
        }
        let ids: Vec<String> = crio.replay.ids.values().cloned().collect();
        for id in &ids {
            crio.replay.bundle.call(&["delete", "--force", id]).ok();
        }
        crio.running.clear();
        let left = Traces::of(&crio.replay.bundle);
        for id in &ids {
            sweep(id);
        }
        assert!(left.cgroups.is_empty() && left.processes.is_empty() && left.state.is_empty(), "{left:?}");
    }

    fn call(&mut self, call: &Value) {
        let name = call["call"].as_str().unwrap();
        let recorded: Vec<&str> = words(&call["argv"]);
        let verb = name.split_once('-').unwrap().1;
        if matches!(verb, "version" | "features") {
            return self.probe(verb);
        }
        let Some((theirs, ours)) = self.replay.subject_of(call, &recorded) else { return };
        let dir = self.replay.dir(&ours, name);
        fs::create_dir_all(&dir).unwrap();
        self.replay.write_config(call, &ours, &dir);
        let argv = self.replay.arguments(&recorded, (&theirs, &ours), &dir, name);
        if self.monitor == Monitor::Conmon {
            // It listens for the terminal itself.
            self.replay.sockets.clear();
        }
        let launch = Launch {
            id: ours,
            dir,
            argv,
            pid_file: self.replay.bundle.scratch().join(format!("run/{name}.pid")),
            process: self.write_process(call, name),
            terminal: call["config"]["process"]["terminal"] == true || call["process"]["terminal"] == true,
            one_cpu: call["cpus"] == "0",
        };
        match verb {
            "create" => self.create(call, launch),
            "exec" if recorded.contains(&"--detach") => self.exec_sync(call, launch),
            "exec" => self.exec_stream(call, &launch),
            _ => self.direct(call, verb, &launch),
        }
    }

    /// What CRI-O asks a runtime when it starts.
    fn probe(&self, verb: &str) {
        let mut command = Command::new(crate::common::subject().1);
        command.arg(if verb == "version" { "--version" } else { "features" });
        let output = self.replay.bundle.call_command(command).ok();
        // CRI-O reads both streams as one.
        assert_eq!(output.stderr, "");
        if verb == "features" {
            let features: Value = serde_json::from_str(&output.stdout).unwrap();
            assert!(features["ociVersionMin"].is_string() && features["ociVersionMax"].is_string());
            assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
            assert!(features["mountOptions"].as_array().unwrap().contains(&json!("rro")));
        }
    }

    fn create(&mut self, call: &Value, launch: Launch) {
        let expected = call["exit"] == "0" || self.better;
        let outcome = self.monitor.create(&self.replay.bundle, &launch);
        let running = match outcome {
            Ok(running) if expected => running,
            Ok(_) => panic!("{} should have failed", call["call"]),
            Err(message) => {
                assert!(!expected, "{}: {message}", call["call"]);
                // conmon takes one read of it.
                assert!(!message.trim().is_empty() && message.len() < 1024, "{message:?}");
                let state = self.replay.bundle.call(&["state", &launch.id]);
                return drop(state.refused("does not exist"));
            }
        };
        let process = Proc(running.pid);
        assert_eq!(process.status("PPid"), running.monitor.to_string(), "init belongs to the monitor");
        self.replay.remember_pid(call, &launch.id);
        assert_eq!(self.replay.pid_of(&launch.id), Some(running.pid), "state and pid file");
        self.running.insert(launch.id, running);
    }

    /// What holds for every container that was started.
    fn started(&self, id: &str) {
        self.replay.check(id);
        let process = Proc(self.replay.pid_of(id).unwrap());
        if !process.alive() {
            return;
        }
        // A shell opens descriptors of its own.
        if self.program(id).starts_with("/bin/sleep") {
            assert_eq!(process.fds(), [0, 1, 2], "descriptors of the monitor and of CRI-O stay outside");
        }
        let session = nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(process.0.try_into().unwrap())));
        assert_eq!(session.unwrap().as_raw(), i32::try_from(process.0).unwrap(), "a session of its own");
        let ignored = u64::from_str_radix(&process.status("SigIgn"), 16).unwrap();
        assert_eq!(ignored >> (libc::SIGPIPE - 1) & 1, 0, "SIGPIPE as the program expects it");
        let own = Proc(std::process::id()).status("Cpus_allowed_list");
        assert_eq!(process.status("Cpus_allowed_list"), own, "taskset was for the runtime alone");
    }

    /// `process.json` on this machine.
    fn write_process(&self, call: &Value, name: &str) -> Option<PathBuf> {
        let mut process = call["process"].as_object()?.clone();
        process.remove("rlimits");
        process.remove("oomScoreAdj");
        let own = u64::from_str_radix(&Proc(std::process::id()).caps("CapBnd"), 16).unwrap();
        let sets = process.get_mut("capabilities").and_then(Value::as_object_mut);
        for set in sets.into_iter().flat_map(|sets| sets.values_mut()) {
            let bit = |name: &Value| CAPABILITIES.iter().position(|known| name == known);
            set.as_array_mut().unwrap().retain(|name| bit(name).is_some_and(|bit| own >> bit & 1 == 1));
        }
        let path = self.replay.bundle.scratch().join(format!("run/{name}.process"));
        fs::write(&path, json!(process).to_string()).unwrap();
        Some(path)
    }

    /// `crictl exec --sync`, by way of the monitor.
    fn exec_sync(&mut self, call: &Value, launch: Launch) {
        // CRI-O makes the file before.
        fs::write(&launch.pid_file, "").unwrap();
        let limit = (call["process"]["args"] == json!(["sleep", "100"])).then_some(1);
        let outcome = self.monitor.exec(&mut self.replay, &launch, limit);
        let args = words(&call["process"]["args"]).join(" ");
        if call["exit"] != "0" {
            let message = outcome.expect_err(&args);
            assert!(!message.trim().is_empty(), "the monitor has words for the user");
            assert!(!launch.pid_file.exists(), "a pid file says that the process ran");
            return;
        }
        let (code, output) = outcome.unwrap_or_else(|message| panic!("{args}: {message}"));
        if limit.is_some() {
            assert_ne!(code, 0, "killed after its time");
            return;
        }
        assert_eq!(code, 0, "{args}: {output}");
        self.expect(call, &output, &launch.id);
    }

    /// Output of the recorded programs that is known.
    fn expect(&self, call: &Value, output: &str, id: &str) {
        let config = &self.replay.configs[id];
        let args = words(&call["process"]["args"]);
        match args[0] {
            "id" => {
                let uid = &call["process"]["user"]["uid"];
                assert!(output.contains(&format!("uid={uid}")), "{output}");
            }
            "cat" if args.len() == 2 => {
                let line = &config["linux"]["uidMappings"][0];
                let found: Vec<&str> = output.split_whitespace().collect();
                // The middle number is the reader's view of the host's.
                assert_eq!(found[2], line["size"].to_string(), "{output}");
            }
            "tty" => assert!(output.starts_with("/dev/pts/"), "{output}"),
            "ps" => assert!(output.contains("sleep"), "{output}"),
            _ => {}
        }
    }

    /// `crictl exec`: the runtime in the foreground, with CRI-O's pipes or terminal.
    fn exec_stream(&mut self, call: &Value, launch: &Launch) {
        let mut command = launch.command(&self.replay.bundle);
        let args = words(&call["process"]["args"]).join(" ");
        let (code, output) = if call["stdin"] == "terminal" {
            Pty::new(24, 80).run(command, "spoken\n\x04")
        } else {
            let pipe = call["stdin"] == "pipe";
            command.stdin(if pipe { Stdio::piped() } else { Stdio::null() });
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(b"spoken\n").unwrap();
            }
            let output = child.wait_with_output().unwrap();
            let text = [output.stdout, output.stderr].concat();
            (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
        };
        // A process that never ran is told by 255, where crun says 1.
        let expected = if args == "/no/such/binary" { "255" } else { call["exit"].as_str().unwrap() };
        assert_eq!(code.to_string(), expected, "{args}: {output}");
        match args.as_str() {
            "cat" => assert!(output.contains("spoken"), "{output}"),
            "sh -c echo out; echo err >&2; exit 7" => assert_eq!(output, "out\nerr\n"),
            "/no/such/binary" => assert!(output.contains("/no/such/binary"), "{output}"),
            "sh -c tty; stty size; exit 5" => assert!(output.contains("/dev/pts/"), "{output}"),
            _ => {}
        }
    }

    /// What CRI-O asks by itself.
    fn direct(&mut self, call: &Value, verb: &str, launch: &Launch) {
        let name = call["call"].as_str().unwrap();
        let (id, pid) = (&launch.id, self.replay.pid_of(&launch.id));
        let alive = || pid.is_some_and(|pid| Proc(pid).alive());
        if verb == "delete" && self.ends_by_itself(id) {
            wait_until("the program has ended", || !alive());
        }
        let was_alive = alive();
        let mut command = launch.command(&self.replay.bundle);
        if let Some(resources) = self.replay.write_resources(call) {
            command.stdin(fs::File::open(resources).unwrap());
        }
        let output = self.replay.bundle.call_command(command);
        match verb {
            "kill" => {
                // The program may have died earlier or later than the recorded one.
                assert!(output.code == 0 || !alive(), "{name}: {output:?}");
                if output.code != 0 {
                    // One of the phrases that end CRI-O's loop.
                    output.refused("not running");
                } else if matches!(launch.argv.last().map(String::as_str), Some("9" | "KILL")) {
                    wait_until("the process has died", || !alive());
                    let expected: &[i32] = match (was_alive, self.is_first(id)) {
                        (false, _) => &[],
                        (true, true) => &[137],
                        // It may die of the SIGTERM that was sent before, which a first process does not.
                        (true, false) => &[137, 143],
                    };
                    self.end(id, expected);
                }
            }
            "state" => {
                let state: Value = serde_json::from_str(&output.ok().stdout).unwrap();
                assert_eq!(state["pid"].as_u64().unwrap() != 0, state["status"] != "stopped");
                let status = &call["status"];
                if ["created", "paused"].iter().any(|sure| status == sure) {
                    assert_eq!(state["status"], *status, "{name}");
                }
            }
            "start" => {
                output.ok();
                self.started(id);
            }
            "delete" => {
                output.ok();
                let expected = self.ends_by_itself(id).then(|| self.own_code(id));
                self.end(id, expected.as_slice());
            }
            "update" => {
                output.ok();
                self.replay.check_limits(&call["resources"], id);
            }
            _ => drop(output.ok()),
        }
    }

    /// Takes the exit code from the monitor, once: one of `expected`, or any where that is empty.
    fn end(&mut self, id: &str, expected: &[i32]) {
        let Some(running) = self.running.remove(id) else { return };
        let code = running.exit_code();
        assert!(
            expected.is_empty() || expected.contains(&code),
            "exit code of {id}: {code}, not {expected:?}"
        );
    }

    fn program(&self, id: &str) -> String {
        self.replay
            .configs
            .get(id)
            .map(|config| words(&config["process"]["args"]).join(" "))
            .unwrap_or_default()
    }

    /// Whether the container's program is the first process of its pid namespace.
    fn is_first(&self, id: &str) -> bool {
        let namespaces = self.replay.configs.get(id).map(|config| &config["linux"]["namespaces"]);
        let mut namespaces = namespaces.and_then(Value::as_array).into_iter().flatten();
        namespaces.any(|namespace| namespace["type"] == "pid" && namespace["path"].is_null())
    }

    fn ends_by_itself(&self, id: &str) -> bool {
        self.running.contains_key(id) && self.program(id).ends_with("sleep 1; exit 3")
    }

    fn own_code(&self, id: &str) -> i32 {
        self.program(id).rsplit(' ').next().unwrap().parse().unwrap()
    }
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|word| word.as_str().unwrap()).collect()
}

/// A live CRI-O with its own client.
pub fn live(report: &Report) {
    if !crio_live::is_here() {
        report.not_run("crio", Who::Root, "live_pod", "crio and crictl are not on PATH");
        return;
    }
    report.run("crio", Who::Root, "live_pod", crio_live::pod);
}

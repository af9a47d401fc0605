//! A verb with a fault in it, and what must be true afterwards.

use crate::common::{Bundle, Mode, Output, Proc, Traces, cgroup_dir, sweep, wait_until};
use crate::facts;
use crate::furniture::{self, Furniture, Shape};
use crate::tracer::{self, Call, Fault, Trace};
use serde_json::{Value, json};
use std::process::Command;

/// What is called under the tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `create`
    Create,
    /// `start` of a created container.
    Start,
    /// `exec` in a running one, which serves for all.
    Exec,
    /// `delete --force` of a running one.
    Delete,
    /// `run --detach`: create and start in one.
    Run,
    /// `kill` of a created one.
    Kill,
    /// `update` of a running one.
    Update,
}

/// What [`Verb::Update`] changes.
const NEW_LIMIT: &str = "30";

/// What a process of exec says of itself.
const CONFESSION: &str = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Umask)' /proc/self/status; \
     cat /proc/self/limits; sed 's/^[0-9]*//' /proc/self/cgroup; ls /proc/self/fd | head -n 3; env | grep -v ^HOME=; pwd";

/// A bundle, and what is true of its container where nothing goes wrong.
pub struct Stage {
    bundle: Bundle,
    verb: Verb,
    shape: Shape,
    furniture: Option<Furniture>,
    guards: String,
    confession: String,
    /// The container of [`Verb::Exec`].
    running: Option<Proc>,
}

type Result<T> = std::result::Result<T, String>;

/// A first process that reaps: what a killed shell of exec leaves behind would fill up the container's limit of processes.
const REAPER: [&str; 3] = ["sh", "-c", "while true; do sleep 1; done"];

fn bundle(mode: Mode, shape: Shape) -> (Bundle, Option<Furniture>) {
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["kexec_load", "swapon"], "action": "SCMP_ACT_ERRNO"}],
    });
    let bundle = Bundle::new(mode)
        .args(REAPER)
        .put("/linux/seccomp", filter)
        .put("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 500, "hard": 600}]))
        .put("/process/oomScoreAdj", json!(500))
        .put("/process/user/umask", json!(0o27));
    let volume = bundle.scratch().dir("volume", mode.owner(), 0o755);
    let bundle = bundle.mount("bind", volume, "/mnt", &["bind", "ro", "nosuid"]);
    let bundle = match mode.many_ids() {
        true => bundle.put("/process/user/additionalGids", json!([7])),
        false => bundle,
    };
    let limited = mode.cgroups() && !mode.rootless() && furniture::has_limits();
    let bundle = match limited {
        true => bundle
            .put("/linux/resources/pids", json!({"limit": 40}))
            .put("/linux/resources/memory", json!({"limit": 256 << 20})),
        false => bundle,
    };
    let (bundle, furniture) = match shape {
        Shape::Plain => (bundle, None),
        Shape::Furnished => {
            let (bundle, furniture) = Furniture::in_bundle(bundle);
            (bundle, Some(furniture))
        }
    };
    bundle.write();
    (bundle, furniture)
}

impl Stage {
    pub fn new(mode: Mode, verb: Verb, shape: Shape) -> Self {
        let (bundle, furniture) = bundle(mode, shape);
        let (guards, confession) = (String::new(), String::new());
        let mut stage = Self { bundle, verb, shape, furniture, guards, confession, running: None };
        let init = stage.started();
        stage.guards = stage.facts(init);
        stage.confession = stage.call(&["exec", stage.bundle.id(), "sh", "-c", CONFESSION]).ok().stdout;
        stage.call(&["delete", "--force", stage.bundle.id()]).ok();
        Traces::none_of(&stage.bundle);
        let guards = &stage.guards;
        assert!(guards.contains("Seccomp: 2") && guards.contains("NoNewPrivs: 1"), "{guards}");
        assert!(guards.contains("on /proc/keys"), "{guards}");
        let programs = mode.cgroups() && !mode.rootless() && cgroup_dir("devices", "/").is_none();
        assert!(!(programs && guards.contains("device programs: 0")), "{guards}");
        stage
    }

    /// The verb once, with a fault in it; what is not as it should be afterwards.
    pub fn attempt(&mut self, fault: Option<(Call, Fault)>) -> Result<Trace> {
        let init = match self.verb {
            Verb::Create | Verb::Run => {
                self.furniture.iter().for_each(Furniture::renew);
                None
            }
            Verb::Exec => Some(self.running()),
            Verb::Start | Verb::Kill => Some(self.created()),
            Verb::Delete | Verb::Update => Some(self.started()),
        };
        let trace = tracer::trace(self.command(), &self.bundle.scratch().join("io"), fault);
        if trace.hung {
            return Err(format!("it did not end: {}", trace.output.stderr));
        }
        if let (Some((call, Fault::Kill)), true) = (fault, trace.struck) {
            // The tracer goes on while the kernel ends it.
            let struck = Proc(trace.pids[call.process].cast_unsigned());
            wait_until("the killed process has ended", || !struck.alive());
        }
        self.state_is_whole()?;
        let killed = trace.struck && was_killed(fault) && fault.is_some_and(|(call, _)| call.process == 0);
        // The call may have been done when somebody else was struck: who waits for his start, or has been told to start.
        let other = fault.is_some_and(|(call, _)| call.process != 0);
        let late = other && (was_killed(fault) || self.verb == Verb::Create);
        match trace.output.code {
            _ if killed => {}
            // Whoever is killed between his start and execve(2) counts as started: the status is that of the program.
            137 if self.verb == Verb::Exec && was_killed(fault) && trace.output.stderr.is_empty() => {}
            0 if late && self.is_dead() => {}
            0 => match self.complete(&trace.output, init) {
                Err(_) if late && self.is_dead() => {}
                other => other?,
            },
            _ if !trace.struck => {
                return Err(format!("it failed without the fault: {}", trace.output.stderr));
            }
            _ => {
                told(&trace.output, fault.map(|(_, fault)| fault))?;
                if let Verb::Create | Verb::Run = self.verb {
                    self.ended(&trace)?;
                    self.nothing_left("by what failed")?;
                }
            }
        }
        match (self.verb, init.or_else(|| self.known())) {
            (Verb::Exec, Some(init)) => return self.unharmed(&trace, init).map(|()| trace),
            (Verb::Start | Verb::Run, Some(init)) => self.dead_or_guarded(init)?,
            _ => {}
        }
        self.cleared(&trace, was_killed(fault)).map(|()| trace)
    }

    fn command(&self) -> Command {
        let id = self.bundle.id();
        match self.verb {
            Verb::Create => self.making(&["create"]),
            Verb::Start => self.urun(&["start", id]),
            Verb::Exec => self.urun(&["exec", id, "sh", "-c", CONFESSION]),
            Verb::Delete => self.urun(&["delete", "--force", id]),
            Verb::Run => self.making(&["run", "--detach"]),
            Verb::Kill => self.urun(&["kill", id, "KILL"]),
            Verb::Update => self.urun(&["update", "--pids-limit", NEW_LIMIT, id]),
        }
    }

    /// A call that makes the container.
    fn making(&self, words: &[&str]) -> Command {
        let mut command = self.urun(words);
        if self.furniture.is_some() {
            command.args(Furniture::flags(self.bundle.mode()));
        }
        command.arg(self.bundle.id());
        command
    }

    fn urun(&self, words: &[&str]) -> Command {
        let Some(furniture) = &self.furniture else { return self.bundle.command(words) };
        let mut command = self.bundle.command(&[&furniture.globals(), words].concat());
        furniture.surround(&mut command);
        command
    }

    fn call(&self, words: &[&str]) -> Output {
        self.bundle.call_command(self.urun(words))
    }

    /// A fresh bundle, after a failure that may have spoiled this one.
    pub fn renew(&mut self) {
        sweep(self.bundle.id());
        *self = Self::new(self.bundle.mode(), self.verb, self.shape);
    }

    /// The kernel takes a second or two to collect a keyring that nobody holds any more: those of all attempts, which have one
    /// name, are waited for at the end.
    pub fn finish(&self) {
        self.call(&["delete", "--force", self.bundle.id()]).ok();
        let mode = self.bundle.mode();
        self.furniture.iter().for_each(|furniture| furniture.finish(mode));
        let keyring = format!("_ses.{}:", self.bundle.id());
        wait_until("the keyrings are gone", || {
            !std::fs::read_to_string("/proc/keys").is_ok_and(|keys| keys.contains(&keyring))
        });
    }

    fn running(&mut self) -> Proc {
        let init = self.running.unwrap_or_else(|| self.started());
        *self.running.insert(init)
    }

    fn started(&self) -> Proc {
        let init = self.created();
        self.call(&["start", self.bundle.id()]).ok();
        init
    }

    fn created(&self) -> Proc {
        self.furniture.iter().for_each(Furniture::renew);
        self.bundle.call_command(self.making(&["create"])).ok();
        init(&self.bundle)
    }

    /// The init of a container that there is in spite of all.
    fn known(&self) -> Option<Proc> {
        let state = self.call(&["state", self.bundle.id()]);
        let pid = serde_json::from_str::<Value>(&state.stdout).ok()?["pid"].as_u64()?;
        u32::try_from(pid).ok().filter(|pid| *pid > 0).map(Proc)
    }

    fn is_dead(&self) -> bool {
        self.known().is_none_or(|init| !init.alive())
    }

    /// The record is replaced as a whole.
    fn state_is_whole(&self) -> Result<()> {
        let path = self.bundle.state_root().join(self.bundle.id()).join("state.json");
        match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(format!("state.json: {error}")),
            Ok(bytes) => match serde_json::from_slice::<Value>(&bytes) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("state.json is torn: {error}")),
            },
        }
    }

    /// A call that says it has worked has done everything.
    fn complete(&self, output: &Output, init: Option<Proc>) -> Result<()> {
        match (self.verb, init) {
            (Verb::Create, _) => {
                let init = self::init(&self.bundle);
                let start = self.call(&["start", self.bundle.id()]);
                match start.code {
                    0 => self.whole(init),
                    _ => Err(format!("what was created cannot be started: {}", start.stderr)),
                }
            }
            (Verb::Run, _) => self.whole(self::init(&self.bundle)),
            (Verb::Start, Some(init)) => self.whole(init),
            (Verb::Kill, Some(init)) => {
                wait_until("init has ended", || !init.alive());
                Ok(())
            }
            (Verb::Update, Some(init)) => match facts::limit(init, "pids", "pids.max") {
                limit if limit.trim() == NEW_LIMIT => Ok(()),
                limit => Err(format!("the limit is still {limit}")),
            },
            (Verb::Exec, _) => match facts::difference(&self.confession, &output.stdout) {
                None => Ok(()),
                Some(lines) => {
                    Err(format!("exec succeeded, and its process differs:\n{lines}\n{}", output.stderr))
                }
            },
            _ => {
                self.nothing_left("by a delete that says it has worked")?;
                self.furniture.iter().try_for_each(Furniture::has_ended)
            }
        }
    }

    fn facts(&self, init: Proc) -> String {
        let text = facts::of(&self.bundle, init);
        if self.furniture.is_some() { facts::relative(&text, init) } else { text }
    }

    fn whole(&self, init: Proc) -> Result<()> {
        self.guarded(init)?;
        self.furniture.iter().try_for_each(Furniture::has_started)
    }

    fn guarded(&self, init: Proc) -> Result<()> {
        match facts::difference(&self.guards, &self.facts(init)) {
            None => self.furniture.iter().try_for_each(Furniture::has_begun),
            Some(lines) => Err(format!("the container runs, and differs:\n{lines}")),
        }
    }

    /// After a start that failed or was killed: no container, one that waits still, or one with every guard.
    fn dead_or_guarded(&self, init: Proc) -> Result<()> {
        // The environment is what execve sets last.
        let executed = || std::fs::read(init.path("environ")).is_ok_and(|text| !text.is_empty());
        let busybox = || std::fs::read_link(init.path("exe")).is_ok_and(|path| path.ends_with("bin/busybox"));
        let program = || busybox() && executed();
        let waits = || self.bundle.state_root().join(self.bundle.id()).join("start").exists();
        wait_until("init has heard", || !init.alive() || program() || waits());
        if init.alive() && program() { self.guarded(init) } else { Ok(()) }
    }

    /// After exec: nothing but init is left, and init is as it was.
    fn unharmed(&self, trace: &Trace, init: Proc) -> Result<()> {
        if !init.alive() {
            return Err("exec has ended the container".to_owned());
        }
        self.ended(trace)?;
        self.guarded(init)
    }

    /// Every process of the call ends by itself.
    fn ended(&self, trace: &Trace) -> Result<()> {
        let lives = |pid: &&i32| {
            let proc = Proc(pid.cast_unsigned());
            let ours = |name| {
                let text = std::fs::read(proc.path(name)).unwrap_or_default();
                text.windows(self.bundle.id().len()).any(|word| word == self.bundle.id().as_bytes())
            };
            proc.alive() && (ours("cmdline") || ours("environ"))
        };
        let deadline = crate::common::deadline(10);
        loop {
            match trace.pids.iter().find(lives) {
                None => return Ok(()),
                Some(pid) if std::time::Instant::now() > deadline => {
                    let wchan = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
                    return Err(format!("process {pid} of {:?} lives on, in {wchan}", trace.pids));
                }
                Some(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        }
    }

    /// `delete --force` removes whatever there is.
    fn cleared(&self, trace: &Trace, killed: bool) -> Result<()> {
        let delete = self.call(&["delete", "--force", self.bundle.id()]);
        if delete.code != 0 {
            return Err(format!("delete --force: {}", delete.stderr));
        }
        self.ended(trace)?;
        self.nothing_left("by delete --force")?;
        let Some(furniture) = &self.furniture else { return Ok(()) };
        furniture.has_ended()?;
        furniture.is_whole_or_gone()?;
        let mut claims = furniture::claims(&self.bundle, &trace.pids);
        // Whoever was killed with ids and without a container is nobody that `delete` could name.
        if killed && !claims.is_empty() {
            self.call(&["gc"]).ok();
            claims = furniture::claims(&self.bundle, &trace.pids);
            // It was killed before it became a claim, and the next one to be made takes its place.
            claims.retain(|claim| !claim.starts_with("new "));
        }
        match claims.is_empty() {
            true => Ok(()),
            false => Err(format!("ids are left: {claims:?}: {}", trace.output.stderr)),
        }
    }

    fn nothing_left(&self, by: &str) -> Result<()> {
        let traces = Traces::of(&self.bundle);
        if traces != Traces::default() {
            return Err(format!("left {by}: {traces:?}"));
        }
        for (dir, allowed) in
            [(self.bundle.state_root(), "@ids"), (self.bundle.scratch().join("run"), "state")]
        {
            let names = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
            if let Some(name) = names.into_iter().find(|name| name != allowed) {
                return Err(format!("left {by}: {}", name.display()));
            }
        }
        Ok(())
    }
}

fn was_killed(fault: Option<(Call, Fault)>) -> bool {
    fault.is_some_and(|(_, fault)| fault == Fault::Kill)
}

/// The container's init, by `state`.
pub fn init(bundle: &Bundle) -> Proc {
    let state: Value = serde_json::from_str(&bundle.call(&["state", bundle.id()]).ok().stdout).unwrap();
    Proc(u32::try_from(state["pid"].as_u64().unwrap()).unwrap())
}

/// A failure is told in a sentence, and perhaps a hint, that names what the kernel has refused or who is gone.
fn told(output: &Output, fault: Option<Fault>) -> Result<()> {
    let text = &output.stderr;
    let errors = text.lines().filter(|line| !line.contains("warning:"));
    let bad = |what: &str| Err(format!("{what}, code {}: {text:?}", output.code));
    match errors.count() {
        0 => return bad("it failed without a word"),
        1 | 2 => {}
        _ => return bad("more than a sentence and a hint"),
    }
    if output.code >= 126 && output.code != 255 {
        return bad("it ended by a signal");
    }
    if ["panicked", "unreachable", "unreadable failure report", "unknown cause"]
        .iter()
        .any(|word| text.contains(word))
    {
        return bad("no sentence of ours");
    }
    // What somebody else's end brings about is as good a sentence as that he has ended.
    let Some(Fault::Fail(errno)) = fault else { return Ok(()) };
    let errno = nix::errno::Errno::from_raw(errno);
    // What is said of a program is in the lower-case words that engines look for.
    let names = [format!("{errno:?}"), errno.desc().to_lowercase(), "ended without a word".to_owned()];
    match names.iter().any(|name| text.contains(name)) {
        true => Ok(()),
        false => bad("the cause is not named"),
    }
}

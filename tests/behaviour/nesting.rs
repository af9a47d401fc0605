//! urun in urun in urun: which /proc each level gets, and that what is masked outside stays masked inside.

use crate::common::*;
use serde_json::{Value, json};
use std::path::Path;

/// The levels' programs differ in what they sleep, so that a /proc tells whose it is.
const SLEEPS: [&str; 3] = ["601", "602", "603"];

/// Files that the kernel of this machine has and that nothing here needs: what a level masks beyond the usual.
const EXTRA: [&str; 3] = ["/proc/version", "/proc/uptime", "/proc/loadavg"];

/// Is this kernel's `subset=pid` free of the rule that all of the present /proc has to be seen?
fn has_free_subset() -> bool {
    linux() >= (7, 2)
}

/// What stands for a /proc that cannot be had.
fn substitute() -> &'static str {
    if has_free_subset() { "subset=pid" } else { "outer" }
}

/// How the levels are made.
struct Nest {
    mode: Mode,
    /// Every level may mount, and gives the next one a part of its ids; else the next one has one id, its root.
    admin: bool,
    /// Which paths of each level are masked; one that masks any has the usual read-only paths too.
    masked: [Vec<&'static str>; 3],
    /// Options of the second level's /proc.
    options: Vec<&'static str>,
}

impl Nest {
    fn new(mode: Mode) -> Self {
        let options = vec!["nosuid", "noexec", "nodev"];
        Self { mode, admin: false, masked: [vec![], vec![], vec![]], options }
    }

    fn masked(mut self, masked: [&[&'static str]; 3]) -> Self {
        self.masked = masked.map(<[_]>::to_vec);
        self
    }

    /// `(first, count)` of the ids of a level, as the level above counts.
    fn ids(&self, level: usize) -> (u32, u32) {
        if self.admin { (10_000, 40_000 / u32::try_from(level).unwrap()) } else { (0, 1) }
    }

    /// The host ids of a level's root.
    fn owner(&self, level: usize) -> (u32, u32) {
        let id = (1..=level).map(|level| self.ids(level).0).sum();
        (self.mode.host_uid(id), self.mode.host_gid(id))
    }

    /// The config.json of a level that is not the first: `outer` without what only the host has.
    fn config(&self, outer: &Value, level: usize) -> Value {
        let mut config = outer.clone();
        let (first, count) = self.ids(level);
        let linux = config["linux"].as_object_mut().unwrap();
        for name in ["cgroupsPath", "resources"] {
            linux.remove(name);
        }
        let maps = json!([{"containerID": 0, "hostID": first, "size": count}]);
        linux.insert("uidMappings".into(), maps.clone());
        linux.insert("gidMappings".into(), maps);
        linux["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "cgroup");
        self.protect(&mut config, level);
        if level == 1 {
            config["mounts"][0]["options"] = json!(self.options);
        }
        config["process"]["args"] = json!(["sh", "-c", Self::script(level)]);
        config
    }

    fn protect(&self, config: &mut Value, level: usize) {
        let masked = &self.masked[level];
        config["linux"]["maskedPaths"] = json!(masked);
        config["linux"]["readonlyPaths"] = json!(if masked.is_empty() { &[] } else { READONLY });
    }

    /// What a level does: the next one stands before it says so.
    fn script(level: usize) -> String {
        let sleep = format!("exec sleep {}", SLEEPS[level]);
        if level == 2 {
            return format!("echo level 2 stands; {sleep}");
        }
        let urun = "urun --root /run/urun --log /log --log-level debug";
        format!(
            "{urun} run -d -b /nest inner || exit 1; {urun} state inner >/state || exit 1; \
             echo level {level} stands; {sleep}"
        )
    }

    /// The outermost bundle with the others in it.
    fn bundle(&self) -> Bundle {
        let mut bundle = Bundle::new(self.mode);
        if self.admin {
            let all = [DEFAULT_CAPS, &["CAP_SYS_ADMIN"]].concat();
            bundle = bundle.put("/process/capabilities", caps(&all));
        }
        let config = bundle.config.clone();
        bundle = bundle.with(|config| self.protect(config, 0)).sh(&Self::script(0));
        let mut root = bundle.rootfs_dir();
        copy_program(&subject().1, &root.join("bin/urun"));
        for level in 1..3 {
            let inner = root.join("nest/rootfs");
            Bundle::rootfs_at(&inner, self.owner(level));
            std::fs::hard_link(root.join("bin/urun"), inner.join("bin/urun")).unwrap();
            let text = self.config(&config, level).to_string();
            std::fs::write(root.join("nest/config.json"), text).unwrap();
            root = inner;
        }
        bundle
    }
}

/// A nest that stands.
struct Standing {
    outermost: Container,
    levels: [Proc; 3],
}

impl Standing {
    /// The second level's runtime, which has the third one as its container.
    #[track_caller]
    fn second(&self, args: &[&str]) -> Output {
        let urun = ["urun", "--root", "/run/urun"];
        self.outermost.call("exec", &[&urun[..], &["exec", "inner"], &urun, args].concat())
    }

    #[track_caller]
    fn new(nest: &Nest) -> Self {
        let outermost = nest.bundle().start();
        wait_until("all levels stand", || {
            let output = outermost.output();
            assert!(outermost.proc().alive(), "{output}");
            (0..3).all(|level| output.contains(&format!("level {level} stands")))
        });
        let first = outermost.proc();
        let second = child(first);
        let levels = [first, second, child(second)];
        let sleeps = |process: &Proc| process.read("comm") == "sleep\n";
        wait_until("all levels sleep", || levels.iter().all(sleeps));
        Self { outermost, levels }
    }

    /// A file that a level's urun wrote about the next level.
    fn about(&self, level: usize, name: &str) -> String {
        let mut root = self.outermost.bundle().rootfs_dir();
        (1..level).for_each(|_| root.push("nest/rootfs"));
        std::fs::read_to_string(root.join(name)).unwrap_or_default()
    }

    /// Fails the test unless the level's /proc is what `view` says, in what urun says and in what the kernel shows.
    #[track_caller]
    fn has(&self, level: usize, view: &str) {
        let state: Value = serde_json::from_str(&self.about(level, "state")).unwrap();
        assert_eq!(state["proc"], view, "{state}");
        let log = self.about(level, "log");
        assert!(log.contains(&format!("/proc: {view}")), "{log}");
        let warned = log.contains("shows the processes");
        assert_eq!(warned, view == "outer", "{log}");
        let process = self.levels[level];
        assert_eq!(process.mount("/proc").super_has("subset=pid"), view == "subset=pid");
        let first = std::fs::read_to_string(process.inside("/proc/1/cmdline")).unwrap();
        let sleeps = if view == "outer" { SLEEPS[0] } else { SLEEPS[level] };
        assert_eq!(first, format!("sleep\0{sleeps}\0"));
    }

    /// Fails the test unless nobody at this level can read the file.
    #[track_caller]
    fn hides(&self, level: usize, path: &str) {
        let text = std::fs::read_to_string(self.levels[level].inside(path));
        let gone = text.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        assert!(gone || text.as_ref().is_ok_and(String::is_empty), "level {level}: {path}: {text:?}");
    }
}

/// The one child of another pid namespace that a container's first process has.
#[track_caller]
fn child(of: Proc) -> Proc {
    let children = of.read(&format!("task/{}/children", of.0));
    let mut found = children.split_whitespace().map(|pid| Proc(pid.parse().unwrap()));
    let inner = found.find(|process| process.ns("pid") != of.ns("pid"));
    inner.unwrap_or_else(|| panic!("no container below {of:?}: {children}"))
}

in_modes! {
    [root_userns rootless_range rootless_one]
    fn unmasked_every_level_has_a_proc_of_its_own(mode) {
        if only_ours("it runs itself") {
            return;
        }
        let nest = Standing::new(&Nest::new(mode).masked([&[], &[], &EXTRA]));
        for level in 1..3 {
            nest.has(level, "fresh");
            assert_eq!(nest.levels[level].map("uid_map"), [[0, mode.owner().0, 1]]);
            assert_ne!(nest.levels[level].ns("user"), nest.levels[level - 1].ns("user"));
        }
        nest.hides(2, EXTRA[0]);
    }
}

in_modes! {
    [root_userns rootless_range rootless_one]
    fn masks_hold_at_every_level_below(mode) {
        if only_ours("it runs itself") {
            return;
        }
        let nest = Standing::new(&Nest::new(mode).masked([&EXTRA[..1], &EXTRA[1..2], &EXTRA[2..]]));
        for level in 1..3 {
            nest.has(level, substitute());
            EXTRA[..=level].iter().for_each(|path| nest.hides(level, path));
        }
        let readable = std::fs::read_to_string(nest.levels[1].inside(EXTRA[2])).is_ok_and(|text| !text.is_empty());
        assert_eq!(readable, !has_free_subset(), "a level hides what it masks itself, and nothing for others");
    }
}

in_modes! {
    [root_userns rootless_range]
    fn masked_levels_with_many_ids_stand_too(mode) {
        if only_ours("it runs itself") {
            return;
        }
        let nest = Nest { admin: true, ..Nest::new(mode) }.masked([MASKED, MASKED, MASKED]);
        let standing = Standing::new(&nest);
        for level in 1..3 {
            standing.has(level, substitute());
            assert_eq!(standing.levels[level].map("uid_map"), [[0, nest.owner(level).0, nest.ids(level).1]]);
            assert_eq!(standing.levels[level].numbers("Uid"), [nest.owner(level).0; 4]);
        }
        for path in MASKED.iter().filter(|path| path.starts_with("/proc") && Path::new(path).is_file()) {
            standing.hides(2, path);
        }
        if !has_free_subset() {
            assert!(standing.levels[2].mount("/proc/sys").has("ro"));
        }
    }
}

in_modes! {
    [root_userns rootless_one]
    fn a_masked_level_knows_its_containers_by_their_numbers(mode) {
        if only_ours("it runs itself") {
            return;
        }
        // In the outer /proc every process has another number than the one that fork gave its parent.
        let nest = Standing::new(&Nest::new(mode).masked([&EXTRA; 3]));
        let third = nest.levels[2];
        assert_eq!(nest.second(&["exec", "inner", "cat", "/proc/self/comm"]).ok().text(), "cat");
        let number = third.numbers("NSpid")[2];
        assert_eq!(nest.second(&["ps", "-f", "json", "inner"]).ok().text(), format!("[{number}]"));
        let state: Value = serde_json::from_str(nest.second(&["state", "inner"]).ok().text()).unwrap();
        assert_eq!((&state["pid"], &state["status"]), (&json!(number), &json!("running")));
        nest.second(&["kill", "inner", "KILL"]).ok();
        wait_until("the third level has ended", || !third.alive());
        let state: Value = serde_json::from_str(nest.second(&["state", "inner"]).ok().text()).unwrap();
        assert_eq!(state["status"], "stopped");
        nest.second(&["delete", "inner"]).ok();
        assert!(nest.levels[1].alive());
    }
}

in_modes! {
    [root_userns rootless_one]
    fn options_of_proc_are_never_dropped(mode) {
        if only_ours("it runs itself") {
            return;
        }
        let options = vec!["nosuid", "noexec", "nodev", "hidepid=2"];
        let nest = Nest { options, ..Nest::new(mode) }.masked([&EXTRA, &[], &[]]);
        if has_free_subset() {
            let nest = Standing::new(&nest);
            nest.has(1, "subset=pid");
            assert!(nest.levels[1].mount("/proc").super_has("hidepid=invisible"));
            return;
        }
        let output = nest.bundle().run();
        assert_ne!(output.code, 0);
        assert!(output.stderr.contains("mount proc on /proc") && output.stderr.contains("procMount: Unmasked"), "{output:?}");
    }
}

in_modes! {
    [root_userns rootless_range rootless_one]
    fn what_spec_writes_runs_inside_an_unmasked_container(mode) {
        if only_ours("it runs itself") {
            return;
        }
        let script = "urun spec --config /tmp/config.json && sed -i 's/\"terminal\": true/\"terminal\": false/; s/\"sh\"/\"id\"/' /tmp/config.json && \
                      urun --root /run/urun run -b /nest --config /tmp/config.json inner";
        let bundle = Nest::new(mode).bundle().sh(script);
        assert!(bundle.run().ok().text().starts_with("uid=0(root) gid=0(root)"));
    }
}

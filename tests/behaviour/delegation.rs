//! A container with a cgroup namespace of its own and a writable cgroup mount: it arranges groups below its own, and its limits are
//! out of its reach. Read on the host, with pure version 2 groups: the test machine has them with every controller, and elsewhere
//! root sees a hierarchy with what is not bound to version 1.

use crate::common::*;
use serde_json::json;
use std::{
    fs,
    os::unix::fs::{MetadataExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

fn is_pure() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// A bundle whose container may write to its hierarchy; none where an ordinary user has no groups.
fn delegated(mode: Mode) -> Option<Bundle> {
    if mode.rootless() && !(is_pure() && mode.cgroups()) {
        eprintln!(
            "not run: the groups of an ordinary user are systemd's here, and URUN_TEST_DRIVER is another"
        );
        return None;
    }
    Some(writable(Bundle::new(mode).in_pure_v2()))
}

fn writable(bundle: Bundle) -> Bundle {
    bundle.namespace("cgroup", Some("")).put("/root/readonly", json!(false)).mount(
        "cgroup",
        "cgroup",
        "/sys/fs/cgroup",
        &["nosuid", "noexec", "nodev"],
    )
}

/// Where a container is.
struct Groups {
    /// The group that has its limits.
    limits: PathBuf,
    /// The root of the hierarchy that it sees.
    root: PathBuf,
}

#[track_caller]
fn groups(container: &Container) -> Groups {
    let own = container.proc().cgroup("");
    let mut limits = cgroup_dir("", &own).unwrap();
    let is_top = |dir: &Path| dir.file_name().unwrap().to_str().unwrap().contains(container.id());
    while !is_top(&limits) {
        assert!(limits.pop() && limits.file_name().is_some(), "{own}");
    }
    let below = limits.join("container");
    Groups { root: if below.exists() { below } else { limits.clone() }, limits }
}

#[track_caller]
fn read(dir: &Path, file: &str) -> String {
    let path = dir.join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
}

#[track_caller]
fn words(dir: &Path, file: &str) -> Vec<String> {
    let mut words: Vec<String> = read(dir, file).split_whitespace().map(str::to_owned).collect();
    words.sort();
    words
}

/// From where the mode's groups come: the root of the hierarchy, or what the user's manager has.
fn top(mode: Mode) -> PathBuf {
    let own = mode
        .account()
        .map_or(String::new(), |account| format!("user.slice/user-{0}.slice/user@{0}.service", account.uid));
    cgroup_dir("", &own).unwrap()
}

/// `systemctl` of the manager that keeps the mode's groups.
fn systemctl(mode: Mode, args: &[&str]) {
    let mut command = Command::new("systemctl");
    if let Some(account) = mode.account() {
        command.args(["--user", &format!("--machine={}@", account.uid)]);
    }
    let output = command.args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

in_modes! {
    [root_userns rootless_range]
    fn the_container_owns_its_group_and_not_its_limits(mode) {
        let Some(bundle) = delegated(mode) else { return };
        let container = bundle.start();
        let groups = groups(&container);
        let owner = |file: &str| {
            let found = fs::metadata(groups.root.join(file)).unwrap();
            (found.uid(), found.gid())
        };
        let list = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap();
        assert_eq!(owner(""), mode.owner());
        for file in fs::read_dir(&groups.root).unwrap().map(|entry| entry.unwrap().file_name()) {
            let file = file.to_str().unwrap();
            let delegated = list.lines().any(|line| line == file);
            assert_eq!(owner(file), if delegated { mode.owner() } else { mode.caller() }, "{file}");
        }
        // Who is root of his own container owns its limits as well: they are in a group that it does not see.
        assert_eq!(groups.limits != groups.root, mode.rootless(), "{}", groups.root.display());
        let namespace = Command::new("nsenter").args(["-t", &container.proc().0.to_string(), "-C"])
            .args(["cat", &format!("/proc/{}/cgroup", container.proc().0)]).output().unwrap();
        assert!(String::from_utf8_lossy(&namespace.stdout).lines().any(|line| line == "0::/"), "{namespace:?}");
        container.delete(&["--force"]).ok();
        Traces::none_of(container.bundle());
    }
}

in_modes! {
    /// The group of another process than the container's root, as the specification has it; an ordinary user cannot give it away.
    [root_userns rootless_range]
    fn the_group_is_that_of_the_process(mode) {
        let Some(bundle) = delegated(mode) else { return };
        let container = bundle.user(1000, 1000).start();
        let procs = fs::metadata(groups(&container).root.join("cgroup.procs")).unwrap();
        let expected = if mode.rootless() { mode.owner() } else { (mode.host_uid(1000), mode.host_gid(1000)) };
        assert_eq!((procs.uid(), procs.gid()), expected);
    }
}

/// Tries to lift limits and to leave, then arranges itself; says `done` and sleeps. Whether limits were lifted is read on the host:
/// where the hierarchy is mounted without `nsdelegate`, an ordinary user may write to the files that he sees.
const ATTACK: &str = r#"
cd /sys/fs/cgroup
for root in . /mnt; do
    [ $root = . ] || mount -t cgroup2 cgroup2 $root || echo "no second view"
    for file in memory.max memory.high pids.max cpu.max cgroup.max.depth; do
        [ ! -e $root/$file ] || ( echo max > $root/$file ) 2>/dev/null
    done
    [ ! -e $root/../cgroup.procs ] || echo "there is a way up from $root"
done
mkdir leaf && echo $$ > leaf/cgroup.procs || echo "no group below"
for controller in $(cat cgroup.controllers); do
    echo +$controller > cgroup.subtree_control || echo "no $controller"
done
for file in pids.max memory.max; do
    [ ! -e leaf/$file ] || echo max > leaf/$file || echo "no $file below"
done
echo done
exec sleep 600
"#;

in_modes! {
    [root_userns rootless_range]
    fn limits_hold_and_every_controller_is_handed_on(mode) {
        let Some(bundle) = delegated(mode) else { return };
        let mut limits = json!({"cgroup.max.depth": "5"});
        let available = words(&top(mode), "cgroup.controllers");
        for (file, value) in [("memory.max", "67108864"), ("pids.max", "33"), ("cpu.max", "50000 100000")] {
            if available.iter().any(|name| file.starts_with(name.as_str())) {
                limits[file] = json!(value);
            }
        }
        let capabilities = [DEFAULT_CAPS, &["CAP_SYS_ADMIN"]].concat();
        let bundle = bundle.put("/linux/resources/unified", limits.clone()).put("/process/capabilities", caps(&capabilities));
        // Nobody has enabled anything in a slice of its own.
        let slice = format!("urun{}.slice", bundle.id().trim_start_matches("urun-test").replace('-', "x"));
        let bundle = match driver() {
            Driver::Systemd => {
                let place = format!("{slice}:urun:{}", bundle.id());
                bundle.put("/linux/cgroupsPath", json!(place))
            }
            Driver::Cgroupfs => bundle,
        };
        let container = bundle.sh(ATTACK).start();
        container.wait_for("done");
        assert_eq!(container.output().trim(), "done");
        let groups = groups(&container);
        let holds = || {
            for (file, value) in limits.as_object().unwrap() {
                assert_eq!(json!(read(&groups.limits, file)), *value, "{file}");
            }
            assert_eq!(read(&groups.root, "leaf/cgroup.procs"), container.proc().0.to_string());
            assert_eq!(words(&groups.root, "cgroup.controllers"), available);
            assert_eq!(words(&groups.root, "cgroup.subtree_control"), available);
        };
        holds();
        if driver() == Driver::Systemd {
            systemctl(mode, &["daemon-reload"]);
            holds();
        }
        container.delete(&["--force"]).ok();
        if driver() == Driver::Systemd {
            systemctl(mode, &["stop", &slice]);
        }
        Traces::none_of(container.bundle());
    }
}

/// A part of the hierarchy that was handed to an ordinary user, who calls from a group in it.
struct Share(PathBuf);

impl Share {
    /// With all of the host's controllers or these; none where cgroupfs has no pure hierarchy.
    fn new(bundle: &Bundle, controllers: Option<&str>) -> Option<Self> {
        if !is_pure() || driver() == Driver::Systemd {
            eprintln!("not run: cgroupfs with version 2 alone is needed, which the test machine has");
            return None;
        }
        let number = bundle.id().trim_start_matches("urun-test");
        let share = Self(Path::new("/sys/fs/cgroup").join(format!("urun-share{number}")));
        fs::create_dir_all(share.0.join("user/caller")).unwrap();
        let all = read(Path::new("/sys/fs/cgroup"), "cgroup.controllers");
        for controller in all.split_whitespace() {
            fs::write("/sys/fs/cgroup/cgroup.subtree_control", format!("+{controller}")).unwrap();
        }
        for controller in controllers.unwrap_or(&all).split_whitespace() {
            fs::write(share.0.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
        }
        let (uid, gid) = bundle.mode().caller();
        for file in
            ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "caller", "caller/cgroup.procs"]
        {
            chown(share.0.join("user").join(file), Some(uid), Some(gid)).unwrap();
        }
        Some(share)
    }

    /// Calls the runtime as the user who is in it.
    #[track_caller]
    fn call(&self, bundle: &Bundle, args: &[&str]) -> Output {
        const ENTER: &str = r#"echo $$ > "$1" && ids="--reuid $2 --regid $3" && shift 3 && exec setpriv $ids --clear-groups -- "$@""#;
        bundle.write();
        let wanted = bundle.command(args);
        let (uid, gid) = bundle.mode().caller();
        let mut command = Command::new("sh");
        command.args(["-c", ENTER, "sh"]).arg(self.0.join("user/caller/cgroup.procs"));
        command.args([uid.to_string(), gid.to_string()]).arg(wanted.get_program()).args(wanted.get_args());
        command.env_clear().envs(wanted.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(wanted.get_current_dir().unwrap()).stdin(Stdio::null());
        bundle.call_command(command)
    }

    /// The place of the bundle's container, in config.json's terms.
    fn place(&self, bundle: &Bundle) -> String {
        format!("/{}/user/{}", self.0.file_name().unwrap().to_str().unwrap(), bundle.id())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        for dir in ["user/caller", "user", ""] {
            let _ = fs::remove_dir(self.0.join(dir));
        }
    }
}

/// A bundle of an ordinary user whose container may write to its hierarchy, and his part of the host's.
fn shared(controllers: Option<&str>) -> Option<(Share, Bundle)> {
    let bundle = writable(Bundle::new(Mode::RootlessRange));
    let share = Share::new(&bundle, controllers)?;
    let place = share.place(&bundle);
    Some((share, bundle.put("/linux/cgroupsPath", json!(place))))
}

#[test]
fn a_user_with_a_part_of_the_hierarchy_needs_no_systemd() {
    let Some((share, bundle)) = shared(None) else { return };
    let mode = bundle.mode();
    let bundle = bundle.put("/linux/resources/pids", json!({"limit": 33})).sh(ATTACK);
    let capabilities = [DEFAULT_CAPS, &["CAP_SYS_ADMIN"]].concat();
    let bundle = bundle.put("/process/capabilities", caps(&capabilities));
    let files = share.call(&bundle, &["create", bundle.id()]).ok().files;
    let container = Container::of(bundle, files);
    container.start();
    container.wait_for("done");
    assert_eq!(container.output().trim(), "done");
    let groups = groups(&container);
    assert_eq!(groups.limits, share.0.join("user").join(container.id()));
    assert_eq!(groups.root, groups.limits.join("container"));
    assert_eq!(fs::metadata(&groups.root).unwrap().uid(), mode.owner().0);
    assert_eq!(read(&groups.limits, "pids.max"), "33");
    assert_eq!(words(&groups.root, "cgroup.subtree_control"), words(&share.0, "cgroup.controllers"));
    container.delete(&["--force"]).ok();
    assert!(!groups.limits.exists());
}

#[test]
fn a_limit_whose_controller_is_not_handed_on_names_what_to_write() {
    let Some((share, bundle)) = shared(Some("memory pids")) else { return };
    let limited = bundle.put("/linux/resources/cpu", json!({"quota": 50_000}));
    let output = share.call(&limited, &["run", limited.id()]);
    let (sentence, hint) = output.stderr.split_once('\n').unwrap();
    let group = share.0.display();
    assert!(sentence.starts_with("cgroup controller cpu is not enabled: write \"+"), "{sentence}");
    assert!(sentence.contains(&format!(" to {group}/cgroup.subtree_control: ")), "{sentence}");
    assert!(sentence.ends_with("Permission denied (EACCES)"), "{sentence}");
    let expected = "hint: have systemd hand it on: as root write the lines `[Service]` and `Delegate=cpu cpuset io memory pids` to \
                    /etc/systemd/system/user@.service.d/delegate.conf, call `systemctl daemon-reload` and log in anew\n";
    assert_eq!((output.code, hint), (1, expected));
    Traces::none_of(&limited);
    assert!(!share.0.join("user").join(limited.id()).exists());
}

#[test]
fn what_is_not_handed_on_is_in_the_log() {
    let Some((share, bundle)) = shared(Some("memory pids")) else { return };
    let log = bundle.scratch().join("run/log");
    let args = ["--debug", "--log", log.to_str().unwrap(), "run", "-d", bundle.id()];
    share.call(&bundle, &args).ok();
    let text = fs::read_to_string(log).unwrap();
    let line =
        text.lines().find(|line| line.contains("lacks controllers")).unwrap_or_else(|| panic!("{text}"));
    for controller in ["cpu", "cpuset", "io"] {
        assert!(line.contains(&format!(" {controller} (write ")), "{line}");
    }
    assert!(!line.contains(" memory ("), "{line}");
    bundle.call(&["delete", "--force", bundle.id()]).ok();
}

/// The root file system of a system of its own: this machine's programs, and what it writes is its own.
fn system(root: &Path) {
    fs::remove_dir_all(root.join("bin")).unwrap();
    for name in ["bin", "lib", "lib64", "sbin"] {
        symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    for name in ["passwd", "group"] {
        fs::copy(Path::new("/etc").join(name), root.join("etc").join(name)).unwrap();
    }
    // With one it is not its first boot, at which it would ask for a time zone.
    fs::write(root.join("etc/machine-id"), "5f3cfd1e6d0a4a5c9d1b2a3c4d5e6f70\n").unwrap();
}

const MANAGER: &str = "/usr/lib/systemd/systemd";

fn booting(bundle: Bundle) -> Bundle {
    let capabilities = [DEFAULT_CAPS, &["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_RESOURCE"]].concat();
    bundle
        .rootfs(system)
        .args([MANAGER])
        .put("/process/env", json!(["PATH=/usr/sbin:/usr/bin", "container=urun"]))
        .put("/process/noNewPrivileges", json!(false))
        .put("/process/capabilities", caps(&capabilities))
        .put("/linux/readonlyPaths", json!([]))
        .mount("bind", "/usr", "/usr", &["rbind", "ro"])
        .mount("tmpfs", "tmpfs", "/run", &["nosuid", "nodev", "mode=755"])
        .mount("tmpfs", "tmpfs", "/tmp", &["nosuid", "nodev"])
}

/// From the manager's start to its end.
fn boots_and_shuts_down(container: &Container, exec: impl Fn(&[&str]) -> Output) {
    let mode = container.bundle().mode();
    container.start();
    let state = || exec(&["systemctl", "is-system-running"]).text().to_owned();
    let until = deadline(30);
    while !["running", "degraded"].contains(&state().as_str()) {
        assert!(Instant::now() < until, "waited in vain for the system: {}", container.output());
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(exec(&["systemctl", "--no-pager", "--plain", "--no-legend", "--failed"]).ok().text(), "");
    let groups = groups(container);
    let own = container.proc().cgroup("");
    assert!(groups.root.join("init.scope").exists() && own.ends_with("/init.scope"), "{own}");
    assert_eq!(read(&groups.root, "cgroup.procs"), "", "its processes are in groups of its own");
    for dir in ["init.scope", "system.slice", "system.slice/systemd-journald.service"] {
        assert_eq!(fs::metadata(groups.root.join(dir)).unwrap().uid(), mode.owner().0, "{dir}");
    }
    container.kill("SIGRTMIN+3").ok();
    container.wait_stopped();
    container.delete(&[]).ok();
    Traces::none_of(container.bundle());
}

in_modes! {
    [root_userns rootless_range]
    fn a_system_boots_in_it_and_shuts_down(mode) {
        if !Path::new(MANAGER).exists() {
            eprintln!("not run: there is no {MANAGER}");
            return;
        }
        let Some(bundle) = delegated(mode) else { return };
        let container = booting(bundle).create();
        boots_and_shuts_down(&container, |args| container.call("exec", args));
    }
}

#[test]
fn a_system_boots_for_a_user_with_a_part_of_the_hierarchy() {
    let Some((share, bundle)) = shared(None) else { return };
    let bundle = booting(bundle);
    let files = share.call(&bundle, &["create", bundle.id()]).ok().files;
    let container = Container::of(bundle, files);
    let exec = |args: &[&str]| share.call(container.bundle(), &[&["exec", container.id()], args].concat());
    boots_and_shuts_down(&container, exec);
}

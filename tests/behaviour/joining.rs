//! Namespaces joined by path together with a user namespace, as engines make pods: whatever the configuration says about maps, whoever
//! owns what is joined. Seen from the host.

use crate::common::*;
use crate::namespaces::{host, pod};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// First host id and number of ids of the pods here: other than what config.json has, where that is to be told apart.
const IDS: (u32, u32) = (131_072, 65536);

/// What may stand beside the path of a user namespace; only the first is what the kernel has.
const MAPS: [(&str, Option<[u32; 3]>); 4] = [
    ("equal", Some([0, IDS.0, IDS.1])),
    ("dummy", Some([0, 0, 1])),
    ("different", Some([0, 400_000, 1000])),
    ("none", None),
];

/// What Podman sends: the one sort that is told apart from the real maps by every id.
const DUMMY: &[(&str, Option<[u32; 3]>)] = &[MAPS[1]];

/// Kinds as config.json and /proc call them.
const OTHERS: [(&str, &str); 4] = [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")];

fn with_maps(bundle: Bundle, map: Option<[u32; 3]>) -> Bundle {
    let lines = map.map_or(
        json!([]),
        |[container, host, size]| json!([{"containerID": container, "hostID": host, "size": size}]),
    );
    bundle.put("/linux/uidMappings", lines.clone()).put("/linux/gidMappings", lines)
}

/// Everything that depends on ids: an id-mapped volume without lists, a tmpfs with an owner, a group that may be delegated.
fn demanding(bundle: Bundle) -> Bundle {
    let volume = bundle.scratch().dir("volume", (0, 0), 0o755);
    let options = ["nosuid", "noexec", "nodev", "rw"];
    bundle
        .mount("bind", volume, "/mnt/volume", &["bind", "idmap"])
        .mount("tmpfs", "tmpfs", "/mnt/tmpfs", &["uid=1000", "gid=1000", "mode=700"])
        .mount("cgroup", "cgroup", "/sys/fs/cgroup", &options)
}

/// A process that the container executes, seen from the host, where its init is.
#[track_caller]
fn entered(container: &Container) -> Proc {
    let pid_file = container.bundle().dir().join("exec.pid");
    let flags =
        ["exec", "--detach", "--pid-file", pid_file.to_str().unwrap(), container.id(), "sleep", "100"];
    container.bundle().call(&flags).ok();
    let process = Proc(fs::read_to_string(pid_file).unwrap().parse().unwrap());
    for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        assert_eq!(process.ns(kind), container.proc().ns(kind), "{kind} of a later process");
    }
    assert_eq!(process.numbers("Uid"), container.proc().numbers("Uid"));
    process
}

/// What a /proc shows: the processes of the container's own pid namespace, by its numbers.
#[track_caller]
fn shows_its_own_processes(process: Proc) {
    let number = process.status("NSpid").split_whitespace().last().unwrap().to_owned();
    let status = fs::read_to_string(process.inside(&format!("proc/{number}/status"))).unwrap();
    let shown = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    assert_eq!(shown.split_whitespace().last(), Some(number.as_str()));
    let highest = fs::read_dir(process.inside("proc")).unwrap();
    let pids = highest.filter_map(|entry| entry.unwrap().file_name().to_str().unwrap().parse::<u32>().ok());
    assert!(
        pids.max().unwrap() < 100 || process.ns("pid") == host().ns("pid"),
        "the host's processes are in /proc"
    );
}

/// The process's group, where version 2 is all there is: only then it is handed over.
fn delegated(process: Proc) -> Option<PathBuf> {
    let is_pure = !host_mounts().iter().any(|mount| mount.kind == "cgroup");
    is_pure.then(|| cgroup_dir("", &process.cgroup("")).unwrap())
}

/// Checks a container of [`demanding`] against the namespaces it was told to join.
#[track_caller]
fn stands(container: &Container, what: &str, joined: &[(&str, String)]) {
    let process = container.proc();
    for (file, namespace) in joined {
        assert_eq!(process.ns(file), *namespace, "{what}: {file}");
    }
    assert_eq!(process.map("uid_map"), [[0, IDS.0, IDS.1]], "{what}");
    assert_eq!(process.map("gid_map"), [[0, IDS.0, IDS.1]], "{what}");
    assert_eq!((process.numbers("Uid"), process.numbers("Gid")), (vec![IDS.0; 4], vec![IDS.0; 4]), "{what}");
    let new =
        ["mnt", "cgroup", "pid"].into_iter().filter(|file| !joined.iter().any(|(kind, _)| kind == file));
    for file in new {
        assert_eq!(process.ns_owner(file), process.ns("user"), "{what}: owner of the {file} namespace");
    }
    let volume = process.mount("/mnt/volume");
    assert!(volume.has("idmapped"), "{what}: {volume:?}");
    let owner = |path: &str| {
        let stat = fs::metadata(process.inside(path)).unwrap();
        (stat.uid(), stat.gid())
    };
    assert_eq!(owner("mnt/volume"), (IDS.0, IDS.0), "{what}: the volume goes through the real map");
    assert_eq!(owner("mnt/tmpfs"), (IDS.0 + 1000, IDS.0 + 1000), "{what}");
    assert_eq!(owner("dev/pts/ptmx"), (IDS.0, IDS.0), "{what}");
    if let Some(group) = delegated(process) {
        assert_eq!(
            fs::metadata(group.join("cgroup.procs")).unwrap().uid(),
            IDS.0,
            "{what}: the group's owner"
        );
    }
    assert!(process.mount("/sys").kind == "sysfs" && process.mount("/sys").has("ro"), "{what}");
    shows_its_own_processes(process);
    entered(container);
}

/// The namespaces of a pod, and their names.
struct Pod {
    pinned: PinnedNamespaces,
    infra: Container,
}

impl Pod {
    fn new() -> Self {
        let pinned = PinnedNamespaces::with(&["--net", "--ipc", "--uts"], Some(IDS));
        let infra = pod(&pinned).start();
        Self { pinned, infra }
    }

    fn path(&self, file: &str) -> String {
        match file {
            "pid" => format!("/proc/{}/ns/pid", self.infra.proc().0),
            _ => self.pinned.path(file),
        }
    }

    /// Outlives what joined it, whatever became of that.
    #[track_caller]
    fn is_unharmed(&self) {
        assert!(self.infra.proc().alive());
        self.infra.bundle().call(&["exec", self.infra.id(), "true"]).ok();
    }
}

/// Namespaces of every kind but user that belong to the host's user namespace and are not the host's.
struct Foreign {
    pinned: PinnedNamespaces,
    pids: Container,
}

impl Foreign {
    fn new() -> Self {
        let pinned = PinnedNamespaces::with(&["--net", "--ipc", "--uts"], None);
        Self { pinned, pids: Bundle::new(Mode::Root).start() }
    }

    fn path(&self, file: &str) -> String {
        match file {
            "pid" => format!("/proc/{}/ns/pid", self.pids.proc().0),
            _ => self.pinned.path(file),
        }
    }
}

/// Makes, enters and deletes a container for each sort of maps; `paths` are of what it joins.
#[track_caller]
fn joins(maps: &[(&str, Option<[u32; 3]>)], paths: &[(&str, &str, String)], edit: impl Fn(Bundle) -> Bundle) {
    for &(name, map) in maps {
        let mut bundle = with_maps(edit(demanding(Bundle::new(Mode::RootUserns))), map);
        for (kind, _, path) in paths {
            bundle = bundle.namespace(kind, Some(path));
        }
        let link = |path: &str| fs::read_link(path).unwrap().display().to_string();
        let joined: Vec<(&str, String)> = paths.iter().map(|(_, file, path)| (*file, link(path))).collect();
        let what = format!("{name} maps, {joined:?}");
        let container = bundle.start();
        stands(&container, &what, &joined);
        let process = container.proc();
        container.delete(&["--force"]).ok();
        wait_until("it is gone", || !process.alive());
        Traces::none_of(container.bundle());
    }
}

fn is_for_others() -> bool {
    only_ours("crun and runc differ about maps beside a path")
}

#[test]
fn a_pods_own_namespaces_are_joined_whatever_maps_stand_beside_the_path() {
    if is_for_others() {
        return;
    }
    let pod = Pod::new();
    let path = |(kind, file)| (kind, file, pod.path(file));
    let paths: Vec<_> = [("user", "user")].into_iter().chain(OTHERS).map(path).collect();
    joins(&MAPS, &paths, |bundle| bundle);
    joins(DUMMY, &paths[..4], |bundle| bundle);
    joins(DUMMY, &paths[..1], |bundle| bundle);
    pod.is_unharmed();
}

#[test]
fn each_namespace_may_be_one_that_the_host_owns() {
    if is_for_others() {
        return;
    }
    let (pod, foreign) = (Pod::new(), Foreign::new());
    for foreigner in OTHERS {
        let path = |(kind, file)| {
            (kind, file, if kind == foreigner.0 { foreign.path(file) } else { pod.path(file) })
        };
        let paths: Vec<_> = [("user", "user")].into_iter().chain(OTHERS).map(path).collect();
        joins(DUMMY, &paths, |bundle| bundle);
    }
    let path = |(kind, file)| (kind, file, foreign.path(file));
    let user = ("user", "user", pod.path("user"));
    joins(DUMMY, &std::iter::once(user).chain(OTHERS.map(path)).collect::<Vec<_>>(), |bundle| bundle);
    pod.is_unharmed();
    assert!(foreign.pids.proc().alive());
}

/// `hostNetwork: true` with `hostUsers: false`: no entry, or one with the host's own path.
#[test]
fn the_hosts_network_may_go_with_a_pods_user_namespace() {
    if is_for_others() {
        return;
    }
    let pod = Pod::new();
    let hosts = format!("/proc/{}/ns/net", std::process::id());
    for network in [None, Some(hosts.as_str())] {
        let path = |(kind, file)| (kind, file, pod.path(file));
        let paths: Vec<_> = [("user", "user"), OTHERS[1], OTHERS[2]].map(path).into();
        joins(DUMMY, &paths, |bundle| bundle.namespace("network", network));
    }
    pod.is_unharmed();
}

/// What a rootless engine pins: the namespaces of a container whose program runs, by paths that its owner may open.
fn of_container(first: &Container, kinds: &[&str]) -> Vec<(String, String)> {
    let file = |kind: &str| if kind == "network" { "net".to_owned() } else { kind.to_owned() };
    kinds
        .iter()
        .map(|kind| ((*kind).to_owned(), first.proc().path("ns").join(file(kind)).display().to_string()))
        .collect()
}

/// Makes, enters and deletes a container in namespaces of another one for each sort of maps.
#[track_caller]
fn joins_as_a_user(first: &Container, kinds: &[&str], maps: &[(&str, Option<[u32; 3]>)]) {
    let mode = first.bundle().mode();
    for &(name, map) in maps {
        let options = ["uid=0", "gid=0", "mode=700"];
        let mut bundle = with_maps(Bundle::new(mode), map).mount("tmpfs", "tmpfs", "/mnt/tmpfs", &options);
        if mode.cgroups() {
            bundle = bundle.mount("cgroup", "cgroup", "/sys/fs/cgroup", &["rw"]);
        }
        for (kind, path) in of_container(first, kinds) {
            bundle = bundle.namespace(&kind, Some(&path));
        }
        let container = bundle.start();
        let (process, what) = (container.proc(), format!("{name} maps, {kinds:?}"));
        for kind in kinds {
            let file = if *kind == "network" { "net" } else { kind };
            assert_eq!(process.ns(file), first.proc().ns(file), "{what}: {file}");
        }
        for field in ["Uid", "Gid"] {
            assert_eq!(process.numbers(field), first.proc().numbers(field), "{what}: {field}");
        }
        assert_eq!(process.map("uid_map"), first.proc().map("uid_map"), "{what}");
        let stat = fs::metadata(process.inside("mnt/tmpfs")).unwrap();
        assert_eq!((stat.uid(), stat.gid()), mode.owner(), "{what}");
        if let Some(group) = delegated(process).filter(|_| mode.cgroups()) {
            assert_eq!(fs::metadata(group.join("cgroup.procs")).unwrap().uid(), mode.owner().0, "{what}");
        }
        shows_its_own_processes(process);
        // Without groups and without a pid namespace of its own nothing tells whose process it is.
        let later = entered(&container);
        kill(Pid::from_raw(later.0.cast_signed()), Signal::SIGKILL).unwrap();
        wait_until("the later process has ended", || !later.alive());
        container.delete(&["--force"]).ok();
        Traces::none_of(container.bundle());
    }
}

in_modes! {
    [rootless_one rootless_range]
    fn an_ordinary_user_joins_what_is_its_own(mode) {
        if is_for_others() {
            return;
        }
        let first = Bundle::new(mode).start();
        let all = &["user", "network", "ipc", "uts", "pid"][..];
        joins_as_a_user(&first, all, &MAPS);
        for kinds in [&all[..1], &all[..4], &["user", "pid"]] {
            joins_as_a_user(&first, kinds, DUMMY);
        }
        assert!(first.proc().alive());
    }
}

in_modes! {
    [rootless_one rootless_range]
    fn the_hosts_network_comes_with_the_hosts_sysfs_read_only(mode) {
        if is_for_others() {
            return;
        }
        let first = Bundle::new(mode).start();
        let user = first.proc().path("ns/user").display().to_string();
        let container = Bundle::new(mode).namespace("user", Some(&user)).namespace("network", None).start();
        assert_eq!(container.proc().ns("net"), host().ns("net"));
        let sys: Vec<_> = container.proc().mounts().into_iter().filter(|m| m.point.starts_with("/sys")).collect();
        assert!(sys.iter().all(|mount| mount.has("ro")), "{sys:?}");
    }
}

in_modes! {
    [rootless_one]
    fn what_the_joined_map_lacks_is_missing_for_an_ordinary_user_too(mode) {
        if is_for_others() {
            return;
        }
        let first = Bundle::new(mode).start();
        let user = first.proc().path("ns/user").display().to_string();
        let joined = || with_maps(Bundle::new(mode), Some([0, 0, 65536])).namespace("user", Some(&user));
        // Engines ask for the tty group without looking at the maps.
        let options = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
        let tty = joined().put("/mounts/2/options", json!(options)).start();
        assert_eq!(tty.proc().mount("/dev/pts").kind, "devpts");
        joined().user(1000, 1000).run().refused_naming(&["process.user.uid 1000"]);
    }
}

#[test]
fn root_sets_no_groups_where_the_joined_namespace_denies_it() {
    if is_for_others() {
        return;
    }
    let first = Bundle::new(Mode::RootlessOne).start();
    let user = first.proc().path("ns/user").display().to_string();
    let container = with_maps(Bundle::new(Mode::RootUserns), None)
        .namespace("user", Some(&user))
        .put("/mounts/2/options", json!(["nosuid", "noexec", "newinstance", "gid=5"]))
        .start();
    assert_eq!(container.proc().ns("user"), first.proc().ns("user"));
    assert_eq!(container.proc().numbers("Uid")[0], Mode::RootlessOne.owner().0);
}

//! `--userns` and `io.urun.userns`: ids of a container's own for any bundle, and the root file system that follows.

use crate::common::*;
use serde_json::json;
use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const RANGE: u32 = 65_536;

/// Where real root's claims are.
const CLAIMS: &str = "/run/urun/@ids";

/// The claims of a container, by name.
pub fn claims_of(bundle: &Bundle) -> Vec<String> {
    let directory = bundle.state_root().join(bundle.id());
    let claims = std::fs::read_dir(CLAIMS).into_iter().flatten().flatten();
    let of_it =
        claims.filter(|claim| std::fs::read_link(claim.path()).is_ok_and(|holder| holder == directory));
    of_it.map(|claim| claim.file_name().into_string().unwrap()).collect()
}

/// The one line of a container's uid_map, which its gid_map repeats.
#[track_caller]
pub fn range_of(container: &Container) -> (u32, u32) {
    let maps = [container.proc().map("uid_map"), container.proc().map("gid_map")];
    assert_eq!(maps[0], maps[1]);
    let [[0, start, count]] = maps[0][..] else { panic!("{:?}", maps[0]) };
    (start, count)
}

/// A call where /etc/subuid and /etc/subgid have these lines.
pub fn with_subids(bundle: &Bundle, lines: &str, args: &[&str]) -> Output {
    let file = bundle.scratch().file("subids", lines, (0, 0), 0o644);
    in_mounts(bundle, "mount --bind \"$0\" /etc/subuid && mount --bind \"$0\" /etc/subgid", &file, args)
}

/// A call in a mount namespace that a script has prepared.
fn in_mounts(bundle: &Bundle, script: &str, argument: &Path, args: &[&str]) -> Output {
    bundle.write();
    let inner = bundle.command(args);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &format!("{script} && exec \"$@\"")]);
    command.arg(argument).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    if let Some(directory) = inner.get_current_dir() {
        command.current_dir(directory);
    }
    bundle.call_command(command)
}

/// A bundle whose config.json knows nothing of user namespaces.
fn plain() -> Bundle {
    Bundle::new(Mode::Root)
}

#[test]
fn auto_gives_ids_that_nobody_has_and_delete_gives_them_back() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let first = plain().create_with(&["--userns", "auto"]);
    let second = plain().with(|config| config["annotations"] = json!({"io.urun.userns": "auto"})).create();
    let (one, other) = (range_of(&first), range_of(&second));
    assert_eq!((one.1, other.1), (RANGE, RANGE));
    assert!(one.0 >= 2 * RANGE && other.0 >= 2 * RANGE, "the host's own: {one:?} {other:?}");
    assert!(one.0.abs_diff(other.0) >= RANGE, "{one:?} {other:?}");
    for (container, (start, count)) in [(&first, one), (&second, other)] {
        container.start();
        assert_eq!(container.proc().numbers("Uid"), [start; 4]);
        assert_eq!(claims_of(container.bundle()), [format!("{start}+{count}")]);
    }
    first.delete(&["--force"]).ok();
    assert_eq!(claims_of(first.bundle()), [""; 0]);
    assert_eq!(claims_of(second.bundle()).len(), 1);
}

#[test]
fn auto_takes_the_place_of_the_ids_of_config_json() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    own_tree(&bundle.rootfs_dir(), (0, 0));
    let container = bundle.create_with(&["--userns", "auto:size=1000"]);
    let (start, count) = range_of(&container);
    assert_eq!(count, 1000);
    assert_eq!(claims_of(container.bundle()), [format!("{start}+1024")]);
}

#[test]
fn the_root_follows_and_its_files_keep_their_owners_on_disk() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let bundle = plain();
    let disk = bundle.rootfs_dir();
    std::fs::write(disk.join("tmp/of-somebody"), "x").unwrap();
    std::os::unix::fs::chown(disk.join("tmp/of-somebody"), Some(1000), Some(2000)).unwrap();
    let container = bundle
        .sh("stat -c '%n %u:%g' / /tmp/of-somebody; echo new > /tmp/new; chown 7:8 /tmp/new; echo done; exec sleep 600")
        .create_with(&["--userns", "auto"]);
    container.start();
    container.wait_for("done");
    let (start, _) = range_of(&container);
    assert!(container.output().contains("/ 0:0\n/tmp/of-somebody 1000:2000\n"), "{}", container.output());
    // Through the container's mount, and on the disk.
    for (name, uid, gid) in [("", 0, 0), ("tmp/of-somebody", 1000, 2000), ("tmp/new", 7, 8)] {
        let seen = std::fs::metadata(container.proc().inside("/").join(name)).unwrap();
        assert_eq!((seen.uid(), seen.gid()), (start + uid, start + gid), "{name}");
        let there = std::fs::metadata(disk.join(name)).unwrap();
        assert_eq!((there.uid(), there.gid()), (uid, gid), "{name}");
    }
    assert!(container.proc().mount("/").has("idmapped"));
}

#[test]
fn given_ids_are_the_hosts_and_the_rest_is_the_containers() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let container = plain().create_with(&["--userns", "auto:uidmapping=1000:4242:1,gidmapping=70000:4343:2"]);
    let (uids, gids) = (container.proc().map("uid_map"), container.proc().map("gid_map"));
    let start = gids[0][1];
    assert_eq!(uids, [[0, start, 1000], [1000, 4242, 1], [1001, start + 1001, RANGE - 1001]]);
    assert_eq!(gids, [[0, start, RANGE], [70_000, 4343, 2]]);
}

#[test]
fn ranges_come_from_the_subordinate_ids_of_urun_before_others() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let lines = "containers:40000000:1000000\nurun:30000000:131072\nroot:50000000:1000000\n";
    let bundles = [plain(), plain(), plain()];
    let create = |bundle: &Bundle, lines: &str| {
        with_subids(bundle, lines, &["create", "--userns", "auto", bundle.id()])
    };
    for (bundle, start) in [(&bundles[0], 30_000_000), (&bundles[1], 30_065_536)] {
        create(bundle, lines).ok();
        assert_eq!(claims_of(bundle), [format!("{start}+{RANGE}")]);
    }
    let output = create(&bundles[2], lines);
    output.refused_naming(&["userns auto", "65536", "give to urun", "hint", "/etc/subuid"]);
    assert_eq!(claims_of(&bundles[2]), [""; 0]);
    Traces::none_of(&bundles[2]);
    bundles[0].call(&["delete", "--force", bundles[0].id()]).ok();
    create(&bundles[2], lines).ok();
    assert_eq!(claims_of(&bundles[2]), [format!("30000000+{RANGE}")]);
}

#[test]
fn without_ids_of_urun_come_those_of_containers_then_the_callers() {
    if only_ours("--userns is urun's own") {
        return;
    }
    for (lines, start) in [
        ("root:51000000:65536\ncontainers:41000000:65536\n", 41_000_000),
        ("root:52000000:65536\nsomebody:1000000:65536\n", 52_000_000),
        ("0:53000000:65536\n", 53_000_000),
    ] {
        let bundle = plain();
        with_subids(&bundle, lines, &["create", "--userns", "auto", bundle.id()]).ok();
        assert_eq!(claims_of(&bundle), [format!("{start}+{RANGE}")], "{lines}");
    }
}

#[test]
fn ids_of_somebody_elses_container_are_left_alone() {
    if only_ours("--userns is urun's own") {
        return;
    }
    // Podman's `--userns=auto` takes from the same subordinate ids, and urun's claims do not know of it.
    let other = PinnedNamespaces::with(&[], Some((42_000_000, RANGE)));
    let bundle = plain();
    let lines = "containers:42000000:131072\n";
    with_subids(&bundle, lines, &["create", "--userns", "auto", bundle.id()]).ok();
    assert_eq!(claims_of(&bundle), [format!("42065536+{RANGE}")]);
    drop(other);
}

/// Removes containers, whatever has become of the test.
struct Herd<'a>(&'a Bundle, Vec<String>);

impl Drop for Herd<'_> {
    fn drop(&mut self) {
        for id in &self.1 {
            let _ = self.0.command(&["delete", "--force", id]).status();
        }
    }
}

#[test]
fn two_hundred_starts_at_once_get_two_hundred_ranges() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let bundle = plain().with(|config| drop(config["linux"].as_object_mut().unwrap().remove("cgroupsPath")));
    bundle.write();
    let herd = Herd(&bundle, (0..200).map(|number| format!("{}-{number}", bundle.id())).collect());
    let mut calls: Vec<_> = herd
        .1
        .iter()
        .map(|id| {
            let mut command = bundle.command(&["run", "--detach", "--userns", "auto", "--pid-file"]);
            command.arg(bundle.scratch().join(id)).arg(id);
            let log = std::fs::File::create(bundle.scratch().join("log")).unwrap();
            command.stdout(log.try_clone().unwrap()).stderr(log);
            command.spawn().unwrap()
        })
        .collect();
    let failed = calls.iter_mut().filter_map(|call| (!call.wait().unwrap().success()).then_some(())).count();
    assert_eq!(failed, 0, "{}", std::fs::read_to_string(bundle.scratch().join("log")).unwrap());
    let range = |id: &String| {
        let pid = std::fs::read_to_string(bundle.scratch().join(id)).unwrap().trim().parse().unwrap();
        let [[0, start, RANGE]] = Proc(pid).map("uid_map")[..] else {
            panic!("{:?}", Proc(pid).map("uid_map"))
        };
        start
    };
    let starts: BTreeSet<u32> = herd.1.iter().map(range).collect();
    assert_eq!(starts.len(), 200);
    assert!(starts.iter().zip(starts.iter().skip(1)).all(|(one, next)| next - one >= RANGE));
    let root = bundle.state_root();
    drop(herd);
    let claims = std::fs::read_dir(CLAIMS).unwrap().flatten();
    let left: Vec<_> = claims
        .filter(|claim| std::fs::read_link(claim.path()).is_ok_and(|it| it.starts_with(&root)))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_container_that_fails_gives_its_ids_back() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let bundle = plain().args(["/no/such/program"]);
    let before: BTreeSet<PathBuf> = dead_claims();
    bundle.run_with(&["--userns", "auto"]).refused("no such file");
    // Found wrong after the ids were claimed and before there was a container.
    let bad = plain().with(|config| config["annotations"] = json!({"io.urun.proc-mount": "nothing"}));
    bad.run_with(&["--userns", "auto"]).refused_naming(&["proc-mount"]);
    for bundle in [&bundle, &bad] {
        assert_eq!(claims_of(bundle), [""; 0]);
        Traces::none_of(bundle);
    }
    // A process of another test may end between the two looks at it.
    wait_until("no claim is left for a process that is gone", || dead_claims().is_subset(&before));
    let bundle = plain().args(["true"]);
    bundle.run_with(&["--userns", "auto"]).ok();
    assert_eq!(claims_of(&bundle), [""; 0]);
}

/// Claims of the usual size for processes that are gone.
fn dead_claims() -> BTreeSet<PathBuf> {
    let claims = std::fs::read_dir(CLAIMS).into_iter().flatten().flatten();
    let usual = claims.filter(|claim| claim.file_name().to_string_lossy().ends_with("+65536"));
    let of_dead = usual.filter(|claim| {
        let holder = std::fs::read_link(claim.path()).unwrap_or_default();
        let words: Vec<&str> = holder.to_str().unwrap().split(' ').collect();
        matches!(words[..], ["process", pid, _] if !Proc(pid.parse().unwrap()).alive())
    });
    of_dead.map(|claim| claim.path()).collect()
}

#[test]
fn gc_releases_what_crashes_have_left_and_nothing_else() {
    if only_ours("gc is urun's own") {
        return;
    }
    let alive = plain().create_with(&["--userns", "auto"]);
    // A call that died between its claim and its container, and a container whose directory somebody has removed.
    let left = [
        ("4293000000+64", "process 4194304 1".to_owned()),
        ("4293000064+64", alive.bundle().state_root().join("gone").display().to_string()),
    ];
    for (name, holder) in &left {
        symlink(holder, Path::new(CLAIMS).join(name)).unwrap();
    }
    // A container whose making was cut short.
    let half = alive.bundle().state_root().join("half");
    std::fs::create_dir(&half).unwrap();
    set_mode(&half, 0o700);
    let told = alive.bundle().call(&["gc"]).ok().stdout;
    for (name, _) in &left {
        assert!(!Path::new(CLAIMS).join(name).is_symlink(), "{name}");
    }
    assert!(told.contains("removed container half"), "{told}");
    assert!(!half.exists());
    assert_eq!(claims_of(alive.bundle()).len(), 1);
    assert_eq!(alive.status(), "created");
}

/// Of a container with ids that are chosen for it, whose root file system `script` mounts from what is in `$0`.
fn with_root(bundle: &Bundle, script: &str) -> Output {
    let (root, lower) = (bundle.rootfs_dir(), bundle.scratch().join("lower"));
    std::fs::rename(&root, &lower).unwrap();
    std::fs::create_dir(&root).unwrap();
    let script = format!("root={}; {script}", root.display());
    in_mounts(bundle, &script, &lower, &["run", "--userns", "auto", bundle.id()])
}

#[test]
fn a_root_that_cannot_be_id_mapped_is_refused_with_its_file_system() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let bundle = plain();
    let output = with_root(&bundle, "mount -t ramfs memory $root && cp -a \"$0\"/. $root");
    output.refused_naming(&["failed to set MOUNT_ATTR_IDMAP", "rootfs", "ramfs", "\nhint: "]);
    assert_eq!(claims_of(&bundle), [""; 0]);
    Traces::none_of(&bundle);
}

#[test]
fn a_root_that_is_an_overlay_is_id_mapped_since_linux_7_3() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let bundle = plain().sh("stat -c %u:%g /bin && touch /made && stat -c %u:%g /made");
    let output = with_root(
        &bundle,
        "mount -t tmpfs upper /mnt && mkdir /mnt/upper /mnt/work && \
         mount -t overlay -o lowerdir=\"$0\",upperdir=/mnt/upper,workdir=/mnt/work overlay $root",
    );
    if linux() < (7, 3) {
        output.refused_naming(&["failed to set MOUNT_ATTR_IDMAP", "rootfs", "overlay", "since Linux 7.3"]);
    } else {
        assert_eq!(output.ok().text(), "0:0\n0:0");
    }
    assert_eq!(claims_of(&bundle), [""; 0]);
    Traces::none_of(&bundle);
}

#[test]
fn a_map_of_the_command_line_counts() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let bundle = plain();
    own_tree(&bundle.rootfs_dir(), (131_072, 131_072));
    let container = bundle.create_with(&["--userns", "0:131072:1000,u1000:200000:1,g1000:300000:2"]);
    assert_eq!(container.proc().map("uid_map"), [[0, 131_072, 1000], [1000, 200_000, 1]]);
    assert_eq!(container.proc().map("gid_map"), [[0, 131_072, 1000], [1000, 300_000, 2]]);
    assert!(!container.proc().mount("/").has("idmapped"));
}

#[test]
fn host_takes_the_user_namespace_away() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    own_tree(&bundle.rootfs_dir(), (0, 0));
    let container = bundle.create_with(&["--userns", "host"]);
    assert_eq!(container.proc().ns("user"), Proc(std::process::id()).ns("user"));
}

#[test]
fn keep_id_maps_the_caller_to_itself() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let account = Mode::RootlessRange.account().unwrap();
    let (uid, (first, _)) = (account.uid, account.sub.unwrap());
    let container =
        Bundle::new(Mode::RootlessRange).user(uid, account.gid).create_with(&["--userns", "keep-id"]);
    container.start();
    assert_eq!(container.proc().numbers("Uid"), [uid; 4]);
    assert_eq!(container.proc().numbers("Gid"), [account.gid; 4]);
    let map = container.proc().map("uid_map");
    assert_eq!(map[..2], [[0, first, uid], [uid, uid, 1]]);
    assert_eq!(map[2][..2], [uid + 1, first + uid]);
    container.call("exec", &["true"]).ok();
    // What root inside is, is nobody in particular outside.
    let inside = Bundle::new(Mode::RootlessRange).create_with(&["--userns", "keep-id:uid=0,gid=0"]);
    assert_eq!(inside.proc().map("uid_map")[0], [0, uid, 1]);
}

#[test]
fn an_ordinary_caller_stays_root_and_its_containers_share_nothing_else() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let account = Mode::RootlessRange.account().unwrap();
    let choice = format!("auto:size=1000,uidmapping=0:{}:1,gidmapping=0:{}:1", account.uid, account.gid);
    // Claims of ordinary callers are in the state root, so both have the same.
    let bundle = Bundle::new(Mode::RootlessRange)
        .with(|config| drop(config["linux"].as_object_mut().unwrap().remove("cgroupsPath")));
    bundle.write();
    let herd = Herd(&bundle, (0..2).map(|number| format!("{}-{number}", bundle.id())).collect());
    let starts: Vec<u32> = herd
        .1
        .iter()
        .map(|id| {
            let pid_file =
                bundle.scratch().dir(&format!("of-{id}"), (account.uid, account.gid), 0o755).join("pid");
            bundle.call(&["create", "--userns", &choice, "--pid-file", pid_file.to_str().unwrap(), id]).ok();
            let process = Proc(std::fs::read_to_string(pid_file).unwrap().parse().unwrap());
            let map = process.map("uid_map");
            assert_eq!((map[0], map[1][0], map[1][2]), ([0, account.uid, 1], 1, 999));
            assert_eq!(process.numbers("Uid"), [account.uid; 4]);
            map[1][1]
        })
        .collect();
    assert!(starts.iter().all(|start| *start > account.sub.unwrap().0), "{starts:?}");
    assert!(starts[0].abs_diff(starts[1]) >= 1000, "{starts:?}");
    let claims = bundle.state_root().join("@ids");
    assert_eq!(std::fs::read_dir(&claims).unwrap().count(), 2);
    drop(herd);
    assert_eq!(std::fs::read_dir(&claims).unwrap().count(), 0);
}

#[test]
fn a_joined_user_namespace_stays_with_an_annotation_and_contradicts_a_flag() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let pinned = PinnedNamespaces::with(&[], Some((131_072, RANGE)));
    let bundle = Bundle::new(Mode::RootUserns)
        .namespace("user", Some(&pinned.path("user")))
        .with(|config| config["annotations"] = json!({"io.urun.userns": "auto"}));
    bundle.run_with(&["--userns", "auto"]).refused_naming(&["--userns", "joins the user namespace", "hint"]);
    let container = bundle.create();
    assert_eq!(container.proc().ns("user"), Proc(pinned.pid()).ns("user"));
    assert_eq!(claims_of(container.bundle()), [""; 0]);
}

#[test]
fn what_cannot_be_is_refused_with_a_remedy() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let annotated =
        |text: &str| plain().with(|config| config["annotations"] = json!({"io.urun.userns": text}));
    annotated("nomap").run().refused_naming(&["annotations[\"io.urun.userns\"]", "expected auto"]);
    plain().run_with(&["--userns", "keep-id"]).refused_naming(&["keep-id", "the caller is root", "hint"]);
    plain().run_with(&["--userns", "0:5:0"]).refused_naming(&["--userns", "maps no ids"]);
    let rootless = Bundle::new(Mode::RootlessRange);
    rootless.run_with(&["--userns", "host"]).refused_naming(&["userns host", "CAP_SYS_ADMIN", "hint"]);
    let words = ["userns auto", "only root", "rootfs", "hint", "auto:uidmapping=0:"];
    rootless.run_with(&["--userns", "auto"]).refused_naming(&words);
    Traces::none_of(&rootless);
}

#[test]
fn exec_runs_with_the_ids_of_the_container() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let container = plain().create_with(&["--userns", "auto"]);
    container.start();
    let output = container
        .call("exec", &["sh", "-c", "cat /proc/self/uid_map; touch /tmp/mine; stat -c %u /tmp/mine"]);
    let words: Vec<String> = output.ok().stdout.split_whitespace().map(str::to_owned).collect();
    let (start, _) = range_of(&container);
    assert_eq!(words, ["0".to_owned(), start.to_string(), RANGE.to_string(), "0".to_owned()]);
    assert_eq!(std::fs::metadata(container.bundle().rootfs_dir().join("tmp/mine")).unwrap().uid(), 0);
}

#[test]
fn spec_writes_what_was_chosen() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let bundle = plain();
    let written = |choice: &str| -> serde_json::Value {
        let directory = bundle.scratch().dir(&format!("spec-{}", choice.len()), (0, 0), 0o755);
        bundle.call(&["spec", "--userns", choice, "--bundle", directory.to_str().unwrap()]).ok();
        serde_json::from_slice(&std::fs::read(directory.join("config.json")).unwrap()).unwrap()
    };
    let automatic = written("auto:size=5000");
    assert_eq!(automatic["annotations"]["io.urun.userns"], "auto:size=5000");
    assert_eq!(automatic["linux"].get("uidMappings"), None);
    let mapped = written("0:300000:10");
    assert_eq!(mapped["linux"]["gidMappings"], json!([{"containerID": 0, "hostID": 300_000, "size": 10}]));
    let kinds = |config: &serde_json::Value| config["linux"]["namespaces"].to_string().contains("user");
    assert!(kinds(&automatic) && kinds(&mapped) && !kinds(&written("host")));
}

#[test]
fn the_pictures_of_the_handbook_show_what_is_so() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = top.join("scripts/ids-pictures");
    if only_ours("they are drawn from urun's containers") || !script.exists() {
        eprintln!("not run: the test machines have the tests alone");
        return;
    }
    let bundle = plain();
    let pictures = bundle.scratch().dir("pictures", (0, 0), 0o755);
    let mut command = Command::new(script);
    command.arg(subject().1).env("IDS_PICTURES", &pictures);
    bundle.call_command(command).ok();
    for name in ["auto.svg", "volumes.svg"] {
        let drawn = std::fs::read_to_string(pictures.join(name)).unwrap();
        let known = std::fs::read_to_string(top.join("docs/user-namespaces").join(name)).unwrap();
        assert_eq!(drawn, known, "{name}: scripts/ids-pictures draws it anew");
    }
    // The third names the user's own ids, which differ from machine to machine.
    assert!(pictures.join("rootless.svg").exists());
}

//! Ids of systemd-nsresourced, where /etc/subuid and /etc/subgid give none.

use crate::common::*;
use crate::userns::{claims_of, range_of, with_subids};
use serde_json::json;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const RANGE: u32 = 65_536;
const MODE: Mode = Mode::RootlessOne;

/// `auto` with the only root that such a caller can have.
fn auto() -> String {
    let (uid, gid) = MODE.caller();
    format!("auto:uidmapping=0:{uid}:1,gidmapping=0:{gid}:1")
}

/// A call, however long the service takes under load.
fn patiently(call: impl Fn() -> Output) -> Output {
    loop {
        let output = call();
        if !output.stderr.contains("no answer within") {
            return output;
        }
    }
}

#[track_caller]
fn create(bundle: Bundle) -> Container {
    let output = patiently(|| bundle.try_create(&["--userns", &auto()])).ok();
    Container::of(bundle, output.files)
}

#[test]
fn an_ordinary_user_without_subordinate_ids_gets_a_range() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let Some(_alone) = nsresourced::ranges_for_users() else { return };
    let script = "touch /root/mine /t/mine && chown 7:8 /t/mine && echo done; exec sleep 600";
    let bundle = || Bundle::new(MODE).mount("tmpfs", "tmpfs", "/t", &[]).sh(script);
    let open = |root: &Path| {
        std::fs::create_dir(root.join("open")).unwrap();
        std::fs::set_permissions(root.join("open"), PermissionsExt::from_mode(0o777)).unwrap();
    };
    let (uid, gid) = MODE.caller();
    let container = create(bundle().rootfs(open));
    container.start();
    container.wait_for("done");

    // The caller as root, and the rest of a range as it is.
    let lines = container.proc().map("uid_map");
    let [[0, root, 1], [1, second, rest]] = lines[..] else { panic!("{lines:?}") };
    let start = second - 1;
    assert_eq!((root, rest), (uid, RANGE - 1));
    assert!((524_288..=1_879_048_191).contains(&start) && start % RANGE == 0, "{start}");
    assert_eq!(container.proc().map("gid_map"), [[0, gid, 1], [1, start + 1, RANGE - 1]]);
    assert_eq!(container.proc().read("setgroups"), "deny\n");

    // On the host's file system root's files are the caller's; in one of the container's own everybody has files.
    let owner = |path: &Path| {
        let meta = std::fs::symlink_metadata(path).unwrap();
        (meta.uid(), meta.gid())
    };
    assert_eq!(owner(&container.bundle().rootfs_dir().join("root/mine")), (uid, gid));
    assert_eq!(owner(&container.proc().inside("/t/mine")), (start + 7, start + 8));
    let exec =
        |script| container.bundle().call(&["exec", "--user", "5:6", container.id(), "sh", "-c", script]);
    exec("touch /t/other").ok();
    assert_eq!(owner(&container.proc().inside("/t/other")), (start + 5, start + 6));
    // Nothing of a transient id outlives it.
    assert_ne!(exec("touch /open/other").code, 0);
    container.call("exec", &["sh", "-c", "! chown 7:8 /root/mine"]).ok();
    assert_eq!(std::fs::read_dir(container.bundle().rootfs_dir().join("open")).unwrap().count(), 0);

    let other = create(bundle());
    let theirs = other.proc().map("uid_map");
    assert_eq!(theirs[0], [0, uid, 1]);
    assert_ne!(theirs[1][1], second);

    // Nobody but the container is left in the namespaces that were made, and with it the range goes.
    let held = |start: u32| {
        let names = nsresourced::registry().into_iter();
        names.filter(|name| name.contains(&start.to_string())).collect::<Vec<_>>()
    };
    assert_ne!(held(start), [""; 0], "the range in the registry");
    container.delete(&["--force"]).ok();
    wait_until("the range is free again", || held(start).is_empty());
    assert_ne!(held(theirs[1][1] - 1), [""; 0], "the other's range in the registry");
}

#[test]
fn whoever_can_have_no_range_is_told_why() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let bundle = Bundle::new(MODE);
    let refused = |flag: &str, words: &[&str]| {
        patiently(|| bundle.run_with(&["--userns", flag])).refused_naming(words);
        Traces::none_of(&bundle);
    };
    let large = format!("{},size=100000", auto());
    refused(&large, &["userns auto", "/etc/subuid and /etc/subgid", "65536 ids at most", "hint", "usermod"]);
    let service = nsresourced::service();
    match service.as_ref().map(|(_alone, told)| told.contains(nsresourced::DELEGATES)) {
        Some(true) => {
            let foreign = format!("{},uidmapping=5:0:1", auto());
            refused(&foreign, &["linux.uidMappings", "its own ids", "lent"]);
        }
        Some(false) => refused(&auto(), &["InvalidParameter", "hint", "systemd 257", "usermod"]),
        None => refused(&auto(), &["systemd-nsresourced", "No such file", "hint", "usermod"]),
    }
}

#[test]
fn hooks_of_such_a_container_have_privileges_in_its_mount_namespace() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let Some(_alone) = nsresourced::ranges_for_users() else { return };
    let script = "mount -t tmpfs hooked ROOT/t && touch ROOT/t/hooked";
    let bundle = Bundle::new(MODE).rootfs(|root| std::fs::create_dir(root.join("t")).unwrap());
    let script = script.replace("ROOT", bundle.rootfs_dir().to_str().unwrap());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin:/usr/sbin:/sbin"]}]);
    let container = create(bundle.put("/hooks/createContainer", hook));
    container.start();
    assert!(container.proc().inside("/t/hooked").exists());
}

#[test]
fn root_gets_a_range_that_its_files_do_not_show() {
    if only_ours("--userns is urun's own") {
        return;
    }
    let Some(_service) = nsresourced::service() else {
        eprintln!("not run: there is no systemd-nsresourced (the test machines have one)");
        return;
    };
    let bundle =
        Bundle::new(Mode::Root).sh("touch /tmp/mine && chown 7:8 /tmp/mine && echo done; exec sleep 600");
    let log = bundle.scratch().join("log");
    let create = || {
        let args = ["--log", log.to_str().unwrap(), "--debug", "create", "--userns", "auto", bundle.id()];
        let output = with_subids(&bundle, "somebody:1000000:65536\n", &args).ok();
        (output, std::fs::read_to_string(&log).unwrap())
    };
    let (mut created, mut told) = create();
    // Root gets other ids where the service does not answer in time.
    while told.contains("no answer within") {
        bundle.call(&["delete", "--force", bundle.id()]).ok();
        std::fs::remove_file(&log).unwrap();
        (created, told) = create();
    }
    let container = Container::of(bundle, created.files);
    let (start, count) = range_of(&container);
    // Its range for containers of others, and no claim of ours.
    assert_eq!(count, RANGE);
    assert!((524_288..=1_879_048_191).contains(&start) && start % RANGE == 0, "{start}: {told}");
    assert_eq!(claims_of(container.bundle()), [""; 0]);
    container.start();
    container.wait_for("done");
    let mine = std::fs::metadata(container.bundle().rootfs_dir().join("tmp/mine")).unwrap();
    assert_eq!((mine.uid(), mine.gid()), (7, 8));
    container.call("exec", &["touch", "/tmp/mine"]).ok();
    // Who kept the user namespace until the container lived in it is gone.
    let namespace = container.proc().ns("user");
    let pids =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|it| it.file_name().to_str()?.parse().ok());
    let inside: Vec<u32> = pids
        .filter(|&pid| std::fs::read_link(Proc(pid).path("ns/user")).is_ok_and(|it| *it == *namespace))
        .collect();
    assert_eq!(inside, [container.proc().0]);
}

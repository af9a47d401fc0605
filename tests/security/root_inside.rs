//! What root of a container tries with every right that it has there, and how the kernel ends each attempt (SEC-94, SEC-97).
//! `root_attacker.c` does the trying.

use crate::common::*;
use crate::{exec::attacker, keys::hold_secret, leaks::leak_file};
use serde_json::json;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// How an attempt ends: where root has every capability in a user namespace that does not own its mounts, and where it has the
/// usual ones alone and no user namespace of its own. The first line whose beginning fits counts.
const TABLE: &[(&str, &[&str], &[&str])] = &[
    ("clear ", &["EPERM"], &["EPERM"]),
    ("remount without ", &["EPERM"], &["EPERM"]),
    // These belong to the container's pid and IPC namespaces, and no option of theirs shows anything of the host.
    ("reconfigure /proc", &["EPERM", "done"], &["EPERM"]),
    ("reconfigure /dev/mqueue", &["done"], &["EPERM"]),
    ("reconfigure ", &["EPERM"], &["EPERM"]),
    ("umount in a nested user namespace ", &["EINVAL"], &["EINVAL"]),
    ("umount ", &["EINVAL"], &["EPERM"]),
    ("move ", &["EINVAL"], &["EPERM"]),
    ("clone alone ", &["EINVAL"], &["EPERM"]),
    ("pivot_root onto itself ", &["EINVAL", "EBUSY"], &["EPERM"]),
    ("mount ", &["EPERM"], &["EPERM"]),
    ("chroot and up ", &["EXDEV"], &["EXDEV"]),
    // A kernel without it has no such file. Whoever is not root of the host is refused for that before the mount is asked.
    ("write /proc/sysrq-trigger", &["EACCES", "ENOENT"], &["EROFS", "EACCES", "ENOENT"]),
    ("write -1000 oom_score_adj", &["EACCES"], &["EACCES"]),
    ("open the disk ", &["EPERM"], &["EPERM"]),
    ("open memory ", &["EPERM"], &["EPERM"]),
    // From a mount that it may clone root reads handles of what is below, and this one is not (Linux 6.11).
    ("open the host's root by handle ", &["EPERM", "ESTALE"], &["EPERM"]),
    ("enter a namespace ", &["EBADF"], &["EBADF"]),
    ("open ", &["EACCES"], &["EACCES"]),
    // Without a cgroup namespace of its own root may not mount; a controller of the other version is not there.
    ("write limits of a new mount ", &["EACCES", "EPERM", "EINVAL", "EBUSY"], &["EPERM"]),
    ("read the caller's key", &["EACCES"], &["EACCES"]),
    ("link the caller's key", &["EACCES"], &["EACCES"]),
    ("search the caller's key", &["ENOKEY"], &["ENOKEY"]),
    ("request the caller's key", &["ENOKEY"], &["ENOKEY"]),
];

/// What the attacker wrote: each attempt and how it ended.
#[derive(Debug)]
pub struct Attempts(Vec<(String, String)>);

impl Attempts {
    pub fn of(text: &str) -> Self {
        assert!(text.contains("tried"), "the attacker has not come to its end: {text}");
        let attempts = text.lines().filter_map(|line| line.rsplit_once(": "));
        Self(attempts.map(|(what, how)| (what.to_owned(), how.to_owned())).collect())
    }

    /// How many attempts begin with these words.
    pub fn number_of(&self, beginning: &str) -> usize {
        self.0.iter().filter(|(what, _)| what.starts_with(beginning)).count()
    }

    /// How this attempt ended.
    #[track_caller]
    fn how(&self, attempt: &str) -> &str {
        let found = self.0.iter().find(|(what, _)| what == attempt);
        &found.unwrap_or_else(|| panic!("{attempt} was not tried: {self:?}")).1
    }

    /// Fails the test unless every attempt ended as [`TABLE`] says; what is in no line of it must not have been possible at all.
    #[track_caller]
    pub fn have_failed(&self, who: &str, mode: Mode) {
        let wrong = self.0.iter().filter(|(what, how)| {
            let line = TABLE.iter().find(|(beginning, ..)| what.starts_with(beginning));
            let expected = line.map(|(_, admin, usual)| if mode.userns() { admin } else { usual });
            !expected.is_some_and(|expected| expected.contains(&how.as_str())) && !is_handed_over(mode, what)
        });
        let wrong: Vec<_> = wrong.collect();
        assert!(wrong.is_empty(), "{who}: {wrong:#?}");
    }
}

/// A group of version 2 that is the container's own: the files that the kernel lists, and for an ordinary user, whose limits are
/// one group above, all (ADR 10).
fn is_handed_over(mode: Mode, attempt: &str) -> bool {
    let files = std::fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_default();
    let path = attempt.strip_prefix("write /sys/fs/cgroup/");
    let of_a_user = mode.rootless() && mode.cgroups();
    mode.userns() && path.is_some_and(|path| of_a_user || files.lines().any(|file| file == path))
        || of_a_user && attempt == "write limits of a new mount of cgroup2"
}

/// The bundle with the attacker in its image, who has every capability where it has a user namespace of its own.
pub fn with_attacker(bundle: Bundle) -> Bundle {
    let all = if bundle.mode().userns() { &CAPABILITIES[..] } else { DEFAULT_CAPS };
    bundle
        .rootfs(|root| attacker("root_attacker.c", &root.join("bin/root_attacker")))
        .put("/process/capabilities", caps(all))
        .sh("root_attacker $ATTACK; exec sleep 600")
}

/// The attacker tries one topic alone.
pub fn trying(topic: &str, bundle: Bundle) -> Bundle {
    with_attacker(bundle).put("/process/env/-", json!(format!("ATTACK={topic}")))
}

/// Mount points and options, as the host sees them; what the attacker mounts in copies is gone.
fn table(process: Proc) -> Vec<(String, Vec<String>)> {
    process.mounts().into_iter().map(|mount| (mount.point, mount.options)).collect()
}

/// A process of the caller's on the host, ended with the value.
struct Bystander(Child);

impl Bystander {
    fn new(mode: Mode) -> Self {
        let mut command = Command::new("sleep");
        command.arg("600").stdin(Stdio::null());
        if let Some(account) = mode.account() {
            command.uid(account.uid).gid(account.gid);
        }
        Self(command.spawn().unwrap())
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The container uses the host's pid namespace, and sees its processes.
fn with_host_pids(bundle: Bundle) -> Bundle {
    let options = ["rbind", "nosuid", "noexec", "nodev"];
    bundle.namespace("pid", None).put(
        "/mounts/0",
        json!({"destination": "/proc", "type": "bind", "source": "/proc", "options": options}),
    )
}

in_modes! {
    /// Everything at once, by the first process and by a later one, whose callers have descriptors of the host's namespaces open and a key
    /// in their keyring. open_by_handle_at (Shocker) is among it.
    /// Fails on the same as SEC-97, and on crun also for the keys.
    fn sec_94_root_inside_gets_nowhere(mode) {
        let mut bundle = with_attacker(Bundle::new(mode));
        if mode.cgroups() {
            let options = if mode.userns() { "rw" } else { "ro" };
            bundle = bundle.mount("cgroup", "cgroup", "/sys/fs/cgroup", &[options]);
        }
        let volume = bundle.scratch().dir("volume", mode.owner(), 0o777);
        let bundle = bundle.mount("bind", volume, "/mnt", &["bind", "ro", "nosuid"]);
        bundle.write();
        hold_secret(&bundle);
        let namespace = "/proc/self/ns/mnt";
        let call = |bundle: &Bundle, args: &[&str]| {
            let mut command = bundle.command(args);
            leak_file(&mut command, namespace);
            bundle.call_command(command).ok()
        };
        let files = call(&bundle, &["create", bundle.id()]).files;
        let container = Container::of(bundle, files);
        let before = table(container.proc());
        container.start();
        container.wait_for("tried");
        let first = Attempts::of(&container.output());
        let masks = ["clear ro of /proc/sys", "umount /proc/keys", "umount /mnt", "open the disk ", "read the caller's key"];
        for attempt in masks {
            assert!(first.number_of(attempt) > 0, "{attempt} was not tried: {first:?}");
        }
        first.have_failed("init", mode);
        let later = call(container.bundle(), &["exec", container.id(), "root_attacker"]);
        Attempts::of(&later.stdout).have_failed("exec", mode);
        assert_eq!(table(container.proc()), before);
    }
}

in_modes! {
    /// Who shares the host's pid namespace sees its processes and enters none, the caller's own included.
    fn sec_94_processes_of_the_host_are_not_entered(mode) {
        let bystander = Bystander::new(mode);
        let bundle = with_host_pids(trying("processes", Bundle::new(mode)))
            .rootfs(|root| std::fs::write(root.join("other-pid"), bystander.0.id().to_string()).unwrap());
        let container = bundle.start();
        container.wait_for("tried");
        let first = Attempts::of(&container.output());
        assert_eq!(first.number_of("open "), 5, "{first:?}");
        first.have_failed("init", mode);
    }
}

/// The ways in which a container may be put together, without the ones that [`TABLE`] is not about.
fn shapes(mode: Mode) -> Vec<(&'static str, Bundle, Option<Container>)> {
    let plain = || trying("mounts", Bundle::new(mode));
    let neighbour = || Bundle::new(mode).start();
    let join = |kind: &str, file: &str| {
        let other = neighbour();
        let path = other.proc().path("ns").join(file).display().to_string();
        (plain().namespace(kind, Some(&path)), Some(other))
    };
    let mut shapes = vec![
        ("new", plain(), None),
        ("host network", plain().namespace("network", None), None),
        ("host pids", with_host_pids(plain()), None),
    ];
    if mode == Mode::RootUserns {
        let (user, infra) = join("user", "user");
        shapes.push(("joined user namespace", user, infra));
        let (mut pod, infra) = join("user", "user");
        for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")] {
            let path = infra.as_ref().unwrap().proc().path("ns").join(file);
            pod = pod.namespace(kind, Some(&path.display().to_string()));
        }
        shapes.push(("pod", pod, infra));
    }
    shapes
}

in_modes! {
    /// Masks, read-only paths and volumes stay, whatever capabilities root has, wherever the container's other namespaces are from, for
    /// its first process and for later ones. Fails on crun 1.8.1 and 1.28 and on runc 1.1.5 and 1.3.6: every mask comes off, and read-only
    /// paths are made writable.
    [root_userns rootless_one rootless_range]
    fn sec_97_masks_cannot_be_taken_off(mode) {
        for (shape, bundle, _neighbour) in shapes(mode) {
            let container = bundle.create();
            let before = table(container.proc());
            container.start();
            container.wait_for("tried");
            let first = Attempts::of(&container.output());
            assert!(first.number_of("umount ") > 20, "{shape}: {first:?}");
            first.have_failed(&format!("{shape}, init"), mode);
            let later = container.bundle().call(&["exec", container.id(), "root_attacker", "mounts"]).ok();
            Attempts::of(&later.stdout).have_failed(&format!("{shape}, exec"), mode);
            assert_eq!(table(container.proc()), before, "{shape}");
            if !only_ours("the word is ours") {
                assert_eq!(container.state()["mounts"], "locked", "{shape}");
            }
        }
    }
}

/// Fails the test unless `state` says "unlocked" and root inside takes a mask off.
#[track_caller]
fn is_unlocked(bundle: Bundle, what: &str) {
    let container = bundle.start();
    container.wait_for("tried");
    assert_eq!(container.state()["mounts"], "unlocked", "{what}");
    let attempts = Attempts::of(&container.output());
    for way in ["umount", "umount in a copy", "umount in a clone", "umount below the old root"] {
        assert_eq!(attempts.how(&format!("{way} /proc/keys")), "done", "{what}: {attempts:?}");
    }
}

in_modes! {
    /// Where masks can be taken off, `state` says so: with the annotation, and with CAP_SYS_ADMIN where no user namespace is between the
    /// container and whoever assembled it.
    fn sec_97_mounts_that_are_not_locked_are_called_so(mode) {
        if only_ours("the word is ours") {
            return;
        }
        let bundle = || trying("mounts", Bundle::new(mode)).put("/process/capabilities", caps(&CAPABILITIES));
        if mode.userns() {
            is_unlocked(bundle().put("/annotations/io.urun.mounts", json!("unlocked")), "annotation");
        } else {
            let admin = caps(&[DEFAULT_CAPS, &["CAP_SYS_ADMIN"]].concat());
            is_unlocked(bundle().put("/process/capabilities", admin), "no user namespace");
        }
        if mode.rootless() {
            let first = Bundle::new(mode).start();
            let user = first.proc().path("ns/user").display().to_string();
            is_unlocked(bundle().namespace("user", Some(&user)), "joined user namespace");
        }
    }
}

in_modes! {
    /// Without masks there is nothing to take off, and the kernel gives a whole /proc; the other mounts stay where they are.
    [root_userns rootless_one rootless_range]
    fn sec_97_unmasked_is_locked_too(mode) {
        if only_ours("the annotation is ours") {
            return;
        }
        let bundle = trying("mounts", Bundle::new(mode));
        let container = bundle.put("/annotations/io.urun.proc-mount", json!("unmasked")).start();
        container.wait_for("tried");
        let attempts = Attempts::of(&container.output());
        assert_eq!(attempts.how("mount a new proc"), "done");
        assert_eq!(attempts.how("umount /proc"), "EINVAL");
        assert_eq!(attempts.how("clear ro of /sys"), "EPERM");
        assert_eq!(container.state()["mounts"], "locked");
    }
}

/// Whose mount namespace a container joins decides who may change it, and urun does not promise anything there.
#[test]
fn sec_97_a_joined_mount_namespace_is_called_unlocked() {
    if only_ours("the word is ours") {
        return;
    }
    let pinned = PinnedNamespaces::with(&["--mount"], Some((POD_BASE, 65536)));
    let bundle = trying("mounts", Bundle::new(Mode::RootUserns))
        .namespace("user", Some(&pinned.path("user")))
        .namespace("mount", Some(&pinned.path("mnt")));
    is_unlocked(bundle, "joined mount namespace");
}

//! Callers whose root is an unusual one: the host's mounts stay in the container's mount namespace, and nobody inside may
//! come near them.

use crate::common::*;
use serde_json::json;
use std::process::{Command, Stdio};

/// The runtime in a mount namespace of its own that root has prepared by `script`, which calls the test's directory `$D`.
fn prepared(bundle: &Bundle, args: &[&str], script: &str) -> Command {
    let plain = bundle.command(args);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", script, "sh"]);
    if let Some(account) = bundle.mode().account() {
        let (uid, gid) = (format!("--reuid={}", account.uid), format!("--regid={}", account.gid));
        command.args(["setpriv", &uid, &gid, "--clear-groups"]);
    }
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(plain.get_current_dir().unwrap());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("D", bundle.scratch().path()).stdin(Stdio::null());
    command
}

/// Mounts both file systems of the kernel anew, and once more in namespaces nested below.
const ATTACK: &str = "for fs in proc sysfs; do mount -t $fs fs /mnt && echo new $fs; done; \
    unshare -Urmnpf sh -c 'echo nested; for fs in proc sysfs; do mount -t $fs fs /mnt && echo new $fs; done'; true";

fn attacked(mode: Mode) -> Bundle {
    let all = if mode.userns() { &CAPABILITIES[..] } else { DEFAULT_CAPS };
    let bundle = Bundle::new(mode).put("/process/capabilities", caps(all)).sh(ATTACK);
    bundle.scratch().dir("place/below", mode.caller(), 0o755);
    bundle
}

in_modes! {
    /// The kernel gives a new procfs to who sees a whole one in its mount namespace, where nothing of the mounts has to be in reach.
    [root root_userns rootless_one rootless_range]
    fn sec_97_without_pivot_no_view_of_the_hosts_kernel_is_left(mode) {
        let hidden = [
            ("none beside /proc and /sys", ""),
            ("under another mount", "mount --bind FS $D/place; mount -t tmpfs fs $D/place;"),
            ("three of them", "for i in 1 2 3; do mount --bind FS $D/place; done;"),
            ("two and another between", "mount --bind FS $D/place; mount -t tmpfs fs $D/place; mount --bind FS $D/place;"),
            ("below one that is under another", "mount -t tmpfs fs $D/place; mkdir $D/place/below; mount --bind FS $D/place/below; mount -t tmpfs fs $D/place/below;"),
            ("under the image", "mount --bind FS $D/bundle/rootfsFS;"),
        ];
        for ((what, script), kind) in hidden.iter().flat_map(|row| ["/proc", "/sys"].map(|kind| (row, kind))) {
            let bundle = attacked(mode);
            bundle.write();
            let script = format!("{}exec \"$@\"", script.replace("FS", kind));
            let tried = bundle.call_command(prepared(&bundle, &["run", "--no-pivot", bundle.id()], &script)).ok();
            assert!(tried.stdout.contains("nested"), "{what}: {tried:?}");
            assert!(!tried.stdout.contains("new "), "{what}, {kind}: {}", tried.stdout);
        }
    }
}

in_modes! {
    /// Nothing can be mounted where no path leads, but nothing of the host is there either where the root file system is alone (ADR 14).
    [root root_userns rootless_range]
    fn sec_97_without_pivot_a_view_that_cannot_be_hidden_is_named(mode) {
        if only_ours("others leave it") {
            return;
        }
        let covers = ["mount -t tmpfs fs $D/place;", "mount -t tmpfs fs $D/place; mkdir -p $D/place/below;"];
        for (cover, kind) in covers.iter().flat_map(|cover| ["proc", "sysfs"].map(|kind| (cover, kind))) {
            let bundle = attacked(mode);
            bundle.write();
            let script = format!("mount -t {kind} fs $D/place/below; {cover} exec \"$@\"");
            let refused = bundle.call_command(prepared(&bundle, &["run", "--no-pivot", bundle.id()], &script));
            if linux() >= (7, 0) && !mode.rootless() {
                let tried = refused.ok().stdout;
                assert!(tried.contains("nested") && !tried.contains("new "), "{tried}");
                continue;
            }
            let place = bundle.scratch().join("place/below").display().to_string();
            refused.refused_naming(&[&format!("hide the {kind} of the host at {place}"), "\nhint: "]);
            Traces::none_of(&bundle);
        }
    }
}

in_modes! {
    /// Whoever joins the mount namespace begins at its root: that is the container's, also where the caller's was another.
    /// `exec` of runc 1.1.5 runs in the host's root file system.
    [root root_userns]
    fn sec_21_a_caller_in_a_chroot_leaves_no_way_to_the_host(mode) {
        let pinned = PinnedNamespaces::with(&[], Some((POD_BASE, 65536)));
        for flags in [&[][..], &["--no-pivot"]] {
            let mut bundle = attacked(mode).sh(&format!("{ATTACK}; echo tried; exec sleep 600"));
            if mode.userns() {
                bundle = bundle.namespace("user", Some(&pinned.path("user")));
                bundle.config["linux"]["uidMappings"] = json!([]);
                bundle.config["linux"]["gidMappings"] = json!([]);
            }
            bundle.write();
            let args = [&["create"], flags, &[bundle.id()]].concat();
            // As on a machine with systemd: what is mounted on / outside the chroot would be seen by everybody.
            let chroot = "mount --rbind / $D/place; mount --make-rprivate $D/place; mount --make-shared /; cat /proc/self/mountinfo >$D/before; \
                chroot $D/place env -C $D/bundle \"$@\"; cat /proc/self/mountinfo >$D/after";
            let files = bundle.call_command(prepared(&bundle, &args, chroot)).ok().files;
            let mounts = ["before", "after"].map(|name| std::fs::read_to_string(bundle.scratch().join(name)).unwrap());
            assert_eq!(mounts[0], mounts[1], "{flags:?}");
            let container = Container::of(bundle, files);
            container.start();
            container.wait_for("tried");
            assert!(!container.output().contains("new "), "{flags:?}: {}", container.output());
            let names = |output: &str| output.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let mut image: Vec<_> = std::fs::read_dir(container.bundle().rootfs_dir()).unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            image.sort();
            let inside = container.call("exec", &["ls", "/"]).ok();
            assert_eq!(names(&inside.stdout), image, "{flags:?}");
            let root = Command::new("nsenter")
                .args([&format!("--mount={}", container.proc().path("ns/mnt").display()), "/bin/busybox", "ls", "/"])
                .output()
                .unwrap();
            assert_eq!(names(&String::from_utf8_lossy(&root.stdout)), image, "{flags:?}");
        }
    }
}

/// Its mounts cannot be made private by themselves; those of the whole namespace can.
#[test]
fn a_chroot_needs_to_be_no_mount_point() {
    let bundle = Bundle::new(Mode::Root).sh("ls /");
    bundle.write();
    let chroot = "mkdir $D/root; cd $D/root; for dir in /*; do test ! -d $dir || (mkdir .$dir; mount --rbind $dir .$dir); done; \
        exec chroot $D/root env -C $D/bundle \"$@\"";
    let seen = bundle.call_command(prepared(&bundle, &["run", bundle.id()], chroot)).ok();
    let mut image: Vec<_> = std::fs::read_dir(bundle.rootfs_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    image.sort();
    assert_eq!(seen.stdout.split_whitespace().collect::<Vec<_>>(), image);
    Traces::none_of(&bundle);
}

in_modes! {
    /// As on a machine with systemd. What is bound is no slave: what is mounted on the host's /dev/null later stays there (SEC-90).
    [root_userns rootless_one rootless_range]
    fn a_shared_host_passes_no_mount_on_to_devices(mode) {
        let bundle = Bundle::new(mode).sh("cat /proc/self/mountinfo");
        bundle.write();
        let seen = bundle.call_command(prepared(&bundle, &["run", bundle.id()], "mount --make-rshared /; exec \"$@\"")).ok();
        assert!(seen.stdout.lines().count() > 5, "{seen:?}");
        let peers: Vec<_> = seen.stdout.lines().filter(|line| line.contains("master:") || line.contains("shared:")).collect();
        assert!(peers.is_empty(), "{peers:#?}");
    }
}

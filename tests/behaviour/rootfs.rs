//! The root file system: pivoted into, read-only where asked, and nothing of the host's.

use crate::common::*;
use serde_json::json;
use std::os::unix::fs::MetadataExt;

in_modes! {
    fn the_root_is_the_bundles_and_no_host_mount_is_left(mode) {
        let container = Bundle::new(mode).start();
        let mounts = container.proc().mounts();
        let expected: Vec<&str> = ["/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"].into();
        for point in &expected {
            assert!(mounts.iter().any(|mount| mount.point == *point), "{point}: {mounts:?}");
        }
        for mount in &mounts {
            let known = expected.iter().any(|point| mount.point == *point)
                || mount.point.starts_with("/proc/")
                || mount.point.starts_with("/sys/")
                || mount.point.starts_with("/dev/");
            assert!(known, "{mount:?}");
        }
        let root = container.proc().mount("/");
        assert!(root.root.ends_with("/bundle/rootfs"), "{root:?}");
    }
}

in_modes! {
    fn nothing_above_the_root_can_be_reached(mode) {
        let script = "cd ../../../../..; pwd; ls; stat -c %i / /.. | uniq | wc -l";
        let output = Bundle::new(mode).sh(script).run().ok();
        assert!(output.stdout.starts_with("/\n"), "{}", output.stdout);
        assert!(output.stdout.ends_with("\n1\n"), "{}", output.stdout);
    }
}

in_modes! {
    fn a_read_only_root_cannot_be_written_but_dev_can(mode) {
        let bundle = Bundle::new(mode).put("/root/readonly", json!(true));
        let container = bundle.sh("touch /dev/shm/ok && ! touch /no && echo held && exec sleep 600").start();
        container.wait_for("held");
        assert!(container.proc().mount("/").has("ro"));
        assert!(!container.proc().mount("/dev").has("ro"));
    }
}

in_modes! {
    fn a_writable_root_is_written_to_the_bundle(mode) {
        let bundle = Bundle::new(mode).sh("echo here > /tmp/file");
        bundle.run().ok();
        assert_eq!(std::fs::read_to_string(bundle.rootfs_dir().join("tmp/file")).unwrap(), "here\n");
        assert_eq!(std::fs::metadata(bundle.rootfs_dir().join("tmp/file")).unwrap().uid(), mode.host_uid(0));
    }
}

in_modes! {
    [root root_userns rootless_range]
    fn an_absolute_root_path_is_as_good_as_a_relative_one(mode) {
        let bundle = Bundle::new(mode);
        let root = bundle.rootfs_dir();
        bundle.put("/root/path", json!(root)).args(["true"]).run().ok();
    }
}

in_modes! {
    fn every_mount_is_private_unless_propagation_was_asked_for(mode) {
        let container = Bundle::new(mode).start();
        for mount in container.proc().mounts() {
            assert!(!mount.shared(), "{mount:?}");
        }
    }
}

in_modes! {
    [root]
    fn the_propagation_of_the_root_is_set(mode) {
        if only_ours("runc takes it for the host's root, crun the same with shared") {
            return;
        }
        for (word, shared, slave) in [("shared", true, false), ("rshared", true, false), ("private", false, false)] {
            let bundle = Bundle::new(mode).put("/linux/rootfsPropagation", json!(word));
            let root = bundle.start().proc().mount("/");
            assert_eq!((root.shared(), root.slave()), (shared, slave), "{word}: {root:?}");
        }
        let root = Bundle::new(mode).put("/linux/rootfsPropagation", json!("unbindable")).start().proc().mount("/");
        assert!(root.propagation.iter().any(|word| word == "unbindable"), "{root:?}");
    }
}

#[test]
fn an_unknown_propagation_is_refused_with_its_place() {
    let bundle = Bundle::new(Mode::Root).put("/linux/rootfsPropagation", json!("sideways"));
    bundle.run().refused_naming(&["linux.rootfsPropagation", "sideways"]);
}

in_modes! {
    [root root_userns]
    fn no_pivot_gives_the_same_view(mode) {
        let bundle = Bundle::new(mode).sh("ls / | head -1; cat /proc/self/mountinfo | wc -l");
        assert_eq!(bundle.run_with(&["--no-pivot"]).ok().stdout.lines().next(), Some("bin"));
    }
}

#[test]
fn a_root_that_is_not_there_is_refused_by_name() {
    let bundle = Bundle::new(Mode::Root).put("/root/path", json!("no-such-root"));
    bundle.run().refused_naming(&["no-such-root"]);
    Traces::none_of(&bundle);
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    let bundle = Bundle::new(Mode::Root).put("/root/path", json!("config.json"));
    bundle.run().refused_naming(&["config.json"]);
    Traces::none_of(&bundle);
}

in_modes! {
    fn the_hosts_mounts_are_the_same_before_and_after(mode) {
        let bundle = Bundle::new(mode).args(["true"]);
        bundle.run().ok();
        Traces::none_of(&bundle);
    }
}

//! Device nodes: the defaults, those of config.json, and the terminal multiplexer.

use crate::common::*;
use serde_json::json;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

const DEFAULTS: &[(&str, u64, u64)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// `st_rdev` of major and minor.
fn rdev(major: u64, minor: u64) -> u64 {
    nix::sys::stat::makedev(major, minor)
}

in_modes! {
    fn the_default_devices_are_the_real_ones(mode) {
        let container = Bundle::new(mode).start();
        for (name, major, minor) in DEFAULTS {
            let path = container.proc().inside(&format!("/dev/{name}"));
            let meta = std::fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(meta.file_type().is_char_device(), "{name}");
            assert_eq!(meta.rdev(), rdev(*major, *minor), "{name}");
            assert_eq!(meta.mode() & 0o777, 0o666, "{name}");
        }
    }
}

in_modes! {
    fn the_default_devices_work_for_everybody_inside(mode) {
        let mut bundle = Bundle::new(mode).sh("echo x > /dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c");
        if mode.many_ids() {
            bundle = bundle.user(1000, 1000);
        }
        assert_eq!(bundle.run().ok().stdout, "4\n4\n");
    }
}

in_modes! {
    fn the_standard_symlinks_are_there(mode) {
        let container = Bundle::new(mode).start();
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ] {
            let link = std::fs::read_link(container.proc().inside(&format!("/dev/{name}")));
            let link = link.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(link.to_str().unwrap().ends_with(target), "{name} -> {}", link.display());
        }
    }
}

in_modes! {
    [root root_userns]
    fn a_device_of_the_configuration_is_made(mode) {
        let device = json!({"type": "c", "path": "/dev/fuse-like", "major": 10, "minor": 200, "fileMode": 0o640, "uid": 7, "gid": 8});
        let mut bundle = Bundle::new(mode).put("/linux/devices/-", device);
        if mode == Mode::RootUserns && !std::path::Path::new("/dev/net/tun").exists() {
            bundle = bundle.put("/linux/devices/0/path", json!("/dev/zero2")).put("/linux/devices/0/major", json!(1));
            bundle = bundle.put("/linux/devices/0/minor", json!(5));
        }
        let path = bundle.config["linux"]["devices"][0]["path"].as_str().unwrap().to_owned();
        let minor = bundle.config["linux"]["devices"][0]["minor"].as_u64().unwrap();
        let major = bundle.config["linux"]["devices"][0]["major"].as_u64().unwrap();
        if only_ours("others cannot make a node in a user namespace that is not on the host") && mode == Mode::RootUserns {
            return;
        }
        let container = bundle.start();
        let meta = std::fs::symlink_metadata(container.proc().inside(&path)).unwrap();
        assert_eq!(meta.rdev(), rdev(major, minor));
        assert_eq!((meta.mode() & 0o777, meta.uid(), meta.gid()), (0o640, mode.host_uid(7), mode.host_gid(8)));
    }
}

in_modes! {
    [root_in_userns rootless_one rootless_range]
    fn a_host_device_is_bound_where_no_node_can_be_made(mode) {
        let device = json!({"type": "c", "path": "/dev/zero", "major": 1, "minor": 5, "fileMode": 0o666});
        let container = Bundle::new(mode).put("/linux/devices/-", device).start();
        assert_eq!(std::fs::metadata(container.proc().inside("/dev/zero")).unwrap().rdev(), rdev(1, 5));
    }
}

in_modes! {
    [root]
    fn fifos_and_block_devices_are_made_too(mode) {
        let container = Bundle::new(mode)
            .put("/linux/devices/-", json!({"type": "p", "path": "/dev/pipe", "fileMode": 0o600}))
            .put("/linux/devices/-", json!({"type": "b", "path": "/dev/sub/loop", "major": 7, "minor": 0, "fileMode": 0o600}))
            .start();
        let kind = |path| std::fs::symlink_metadata(container.proc().inside(path)).unwrap().file_type();
        assert!(kind("/dev/pipe").is_fifo());
        assert!(kind("/dev/sub/loop").is_block_device());
    }
}

#[test]
fn a_device_over_another_file_is_refused_by_name() {
    if only_ours("others take what they find") {
        return;
    }
    let bundle = Bundle::new(Mode::Root)
        .rootfs(|root| std::fs::write(root.join("etc/device"), "no").unwrap())
        .put("/linux/devices/-", json!({"type": "c", "path": "/etc/device", "major": 1, "minor": 3}));
    bundle.run().refused_naming(&["/etc/device"]);
}

#[test]
fn an_unknown_type_of_device_is_refused_with_its_place() {
    let bundle = Bundle::new(Mode::Root)
        .put("/linux/devices/-", json!({"type": "x", "path": "/dev/x", "major": 1, "minor": 3}));
    bundle.run().refused_naming(&["linux.devices[0]"]);
}

in_modes! {
    fn the_hosts_null_device_keeps_its_owner_and_mode(mode) {
        if subject().0 == Subject::Crun {
            return; // crun 1.8 gives it away with standard input
        }
        let before = std::fs::metadata("/dev/null").unwrap();
        let _container = Bundle::new(mode).start();
        let after = std::fs::metadata("/dev/null").unwrap();
        assert_eq!((before.uid(), before.gid(), before.mode()), (after.uid(), after.gid(), after.mode()));
    }
}

in_modes! {
    fn pseudo_terminals_are_the_containers_own(mode) {
        let container = Bundle::new(mode).start();
        let pts = container.proc().mount("/dev/pts");
        assert_eq!(pts.kind, "devpts");
        let host = Proc(std::process::id());
        let device = |path: std::path::PathBuf| std::fs::metadata(path).unwrap().dev();
        assert_ne!(device(container.proc().inside("/dev/pts")), device(host.inside("/dev/pts")));
    }
}

/// Everything in /dev that a program opens by name.
const OPENED: [&str; 9] = ["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts/ptmx"];

in_modes! {
    [root root_userns]
    fn whatever_is_in_dev_belongs_to_the_containers_root(mode) {
        if only_ours("others bind the host's") {
            return;
        }
        let bundle = Bundle::new(mode).put("/process/terminal", json!(true));
        let socket = ConsoleSocket::listen(&bundle.scratch().join("run/console"), mode.caller());
        let container = bundle.create_with(&["--console-socket", socket.path()]);
        let _terminal = socket.accept();
        container.start();
        for name in OPENED {
            let meta = std::fs::metadata(container.proc().inside(&format!("/dev/{name}"))).unwrap();
            assert_eq!(meta.uid(), mode.host_uid(0), "{name}");
            assert!(meta.file_type().is_char_device(), "{name}");
        }
        let dev = std::fs::metadata(container.proc().inside("/dev")).unwrap();
        assert_eq!((dev.uid(), dev.gid()), mode.owner());
    }
}

in_modes! {
    [root_in_userns rootless_one rootless_range]
    fn a_device_that_has_to_be_bound_is_the_hosts_and_usable_all_the_same(mode) {
        let script = "stat -c %u:%g:%a /dev/null /dev/urandom && echo x >/dev/null && head -c 3 /dev/zero | wc -c && \
                      echo done && exec sleep 600";
        let container = Bundle::new(mode).sh(script).start();
        container.wait_for("done");
        assert_eq!(container.output(), "65534:65534:666\n65534:65534:666\n3\ndone\n");
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            let inside = std::fs::metadata(container.proc().inside(&format!("/dev/{name}"))).unwrap();
            let host = std::fs::metadata(format!("/dev/{name}")).unwrap();
            assert_eq!((inside.dev(), inside.ino()), (host.dev(), host.ino()), "{name}");
        }
    }
}

/// A node in the host's /dev, gone with the value.
struct HostNode(std::path::PathBuf);

impl HostNode {
    /// A null device of `owner` alone.
    fn of(owner: (u32, u32)) -> Self {
        use nix::sys::stat::{Mode, SFlag, makedev, mknod};
        let path = std::path::PathBuf::from(format!("/dev/urun-test-{}", std::process::id()));
        let node = Self(path.clone());
        mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(1, 3)).unwrap();
        std::os::unix::fs::chown(&path, Some(owner.0), Some(owner.1)).unwrap();
        node
    }
}

impl Drop for HostNode {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_bound_device_of_the_caller_belongs_to_root_inside() {
    let node = HostNode::of(Mode::RootlessRange.caller());
    let path = node.0.to_str().unwrap();
    let device = json!({"type": "c", "path": path, "major": 1, "minor": 3, "fileMode": 0o600});
    let script = format!("stat -c %u:%g:%a {path} && echo x >{path}");
    let output = Bundle::new(Mode::RootlessRange).put("/linux/devices/-", device).sh(&script).run().ok();
    assert_eq!(output.text(), "0:0:600");
}

in_modes! {
    [root root_userns]
    fn ids_that_the_container_does_not_have_leave_a_device_with_root(mode) {
        if only_ours("others refuse or give it to nobody") {
            return;
        }
        let device = json!({"type": "c", "path": "/dev/x", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 4_000_000, "gid": 44});
        let container = Bundle::new(mode).put("/linux/devices/-", device).start();
        let meta = std::fs::metadata(container.proc().inside("/dev/x")).unwrap();
        let uid = if mode == Mode::Root { 4_000_000 } else { mode.host_uid(0) };
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o777), (uid, mode.host_gid(44), 0o600));
    }
}

//! What of `/proc` and `/sys` the container sees: masks, read-only paths, procMount, sysctls.

use crate::common::*;
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

in_modes! {
    fn masked_files_are_the_null_device_and_masked_directories_are_empty(mode) {
        let container = Bundle::new(mode).start();
        let mounts = container.proc().mounts();
        for path in MASKED {
            let on_host = Path::new(path);
            // The same file system is mounted inside, so what the host has is there, and what it has not is skipped.
            let Ok(meta) = std::fs::metadata(on_host) else {
                assert!(!mounts.iter().any(|mount| mount.point == *path), "{path} does not exist");
                continue;
            };
            let inside = container.proc().inside(path);
            let seen = std::fs::metadata(&inside).unwrap();
            if meta.is_dir() {
                assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 0, "{path}");
                let mount = mounts.iter().rev().find(|mount| mount.point == *path).unwrap();
                assert!(mount.has("ro") || mount.super_has("ro"), "{mount:?}");
            } else {
                assert_eq!(seen.rdev(), nix::sys::stat::makedev(1, 3), "{path}");
            }
        }
    }
}

in_modes! {
    fn read_only_paths_are_read_only(mode) {
        let container = Bundle::new(mode).start();
        for path in READONLY.iter().filter(|path| Path::new(path).exists()) {
            assert!(container.proc().mount(path).has("ro"), "{path}");
        }
    }
}

in_modes! {
    fn a_read_only_path_keeps_the_flags_of_its_mount(mode) {
        let found = Bundle::new(mode).start().proc().mount("/proc/sys");
        if only_ours("crun 1.8 loses nosuid, nodev and noexec") {
            return;
        }
        assert!(["nosuid", "nodev", "noexec"].iter().all(|flag| found.has(flag)), "{found:?}");
    }
}

in_modes! {
    fn masks_work_anywhere_in_the_root_file_system(mode) {
        let output = Bundle::new(mode)
            .put("/linux/maskedPaths", json!(["/etc/passwd", "/home", "/no/such/path"]))
            .put("/linux/readonlyPaths", json!(["/tmp", "/neither/this"]))
            .sh("cat /etc/passwd; ls -A /home; touch /tmp/x 2>/dev/null || echo held")
            .run()
            .ok();
        assert_eq!(output.text(), "held");
    }
}

in_modes! {
    fn a_link_of_proc_is_never_masked_itself(mode) {
        let container = Bundle::new(mode)
            .put("/linux/maskedPaths", json!(["/proc/mounts", "/proc/self", "/proc/net"]))
            .put("/linux/readonlyPaths", json!(["/proc/mounts", "/proc/thread-self"]))
            .start();
        let links = ["/proc/mounts", "/proc/self", "/proc/thread-self", "/proc/net"];
        for link in links {
            let inside = std::fs::symlink_metadata(container.proc().inside(link)).unwrap();
            assert!(inside.is_symlink(), "{link}");
        }
        let found = container.proc().mounts();
        assert!(!found.iter().any(|mount| links.contains(&mount.point.as_str())), "{found:?}");
    }
}

in_modes! {
    [root root_userns rootless_range]
    fn a_mask_lies_over_what_was_mounted_in_proc(mode) {
        let bundle = Bundle::new(mode);
        let file = bundle.scratch().join("uptime");
        std::fs::write(&file, "from a mount\n").unwrap();
        let output = bundle
            .mount("bind", file, "/proc/uptime", &["bind"])
            .put("/linux/maskedPaths", json!(["/proc/uptime"]))
            .sh("cat /proc/uptime; echo end")
            .run()
            .ok();
        assert_eq!(output.text(), "end");
    }
}

in_modes! {
    [root root_userns rootless_range]
    fn what_an_image_has_in_place_of_proc_is_masked_like_anything_else(mode) {
        for proc in ["linked", "directory"] {
            let output = Bundle::new(mode)
                .with(|config| {
                    config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "proc");
                })
                .rootfs(|root| {
                    let _ = std::fs::remove_dir(root.join("proc"));
                    if proc == "linked" {
                        std::fs::create_dir(root.join("real")).unwrap();
                        std::os::unix::fs::symlink("real", root.join("proc")).unwrap();
                    } else {
                        std::fs::create_dir(root.join("proc")).unwrap();
                    }
                    std::fs::create_dir(root.join("proc/kept")).unwrap();
                    std::fs::write(root.join("proc/kept/file"), "seen\n").unwrap();
                    std::fs::write(root.join("proc/secret"), "seen\n").unwrap();
                })
                .put("/linux/maskedPaths", json!(["/proc/secret", "/proc/kept", "/proc/nothing"]))
                .put("/linux/readonlyPaths", json!([]))
                .sh("cat /proc/secret; ls /proc/kept; echo end")
                .run()
                .ok();
            assert_eq!(output.text(), "end", "{proc}");
        }
    }
}

in_modes! {
    fn empty_lists_leave_proc_as_the_kernel_made_it(mode) {
        let bundle = Bundle::new(mode).put("/linux/maskedPaths", json!([])).put("/linux/readonlyPaths", json!([]));
        let mounts = bundle.start().proc().mounts();
        let below: Vec<_> = mounts.iter().filter(|mount| mount.point.starts_with("/proc/")).collect();
        assert!(below.is_empty(), "{below:?}");
    }
}

in_modes! {
    [root_userns rootless_range rootless_one]
    fn proc_mount_unmasked_takes_the_lists_away(mode) {
        if only_ours("the flag is ours") {
            return;
        }
        let container = Bundle::new(mode).create_with(&["--proc-mount", "unmasked"]);
        container.start();
        assert!(!container.proc().mounts().iter().any(|mount| mount.point.starts_with("/proc/")));
    }
}

in_modes! {
    [root_userns rootless_range]
    fn proc_mount_unmasked_works_as_an_annotation_too(mode) {
        if only_ours("the annotation is ours") {
            return;
        }
        let bundle = Bundle::new(mode).put("/annotations/io.urun.proc-mount", json!("unmasked"));
        let container = bundle.start();
        assert!(!container.proc().mounts().iter().any(|mount| mount.point.starts_with("/proc/")));
    }
}

in_modes! {
    fn proc_mount_default_brings_the_lists_that_the_configuration_lacks(mode) {
        if only_ours("the flag is ours") {
            return;
        }
        let bundle = Bundle::new(mode).put("/linux/maskedPaths", json!([])).put("/linux/readonlyPaths", json!([]));
        let container = bundle.create_with(&["--proc-mount", "default"]);
        container.start();
        let mounts = container.proc().mounts();
        for path in ["/proc/kcore", "/proc/sys", "/proc/sysrq-trigger", "/proc/timer_list"] {
            let there = Path::new(path).exists();
            assert_eq!(mounts.iter().any(|mount| mount.point == path), there, "{path}");
        }
    }
}

in_modes! {
    [root root_in_userns]
    fn proc_mount_unmasked_is_refused_without_an_own_user_namespace(mode) {
        if only_ours("the flag is ours") {
            return;
        }
        let bundle = Bundle::new(mode);
        bundle.run_with(&["--proc-mount", "unmasked"]).refused_naming(&["unmasked", "user namespace"]);
        Traces::none_of(&bundle);
    }
}

#[test]
fn a_proc_mount_that_does_not_exist_is_refused_by_name() {
    if only_ours("the flag is ours") {
        return;
    }
    Bundle::new(Mode::RootUserns).run_with(&["--proc-mount", "partial"]).refused_naming(&["partial"]);
}

in_modes! {
    fn sysctls_of_the_containers_namespaces_are_set(mode) {
        let before = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        let output = Bundle::new(mode)
            .put("/linux/sysctl", json!({"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"}))
            .args(["cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shm_rmid_forced"])
            .run()
            .ok();
        assert_eq!(output.stdout, "1\n1\n");
        assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), before);
    }
}

#[test]
fn a_sysctl_may_be_written_with_slashes() {
    let name = "net/ipv4/conf/lo/forwarding";
    let bundle = Bundle::new(Mode::Root)
        .put("/linux/sysctl", json!({}))
        .with(|c| c["linux"]["sysctl"][name] = json!("1"));
    assert_eq!(bundle.args(["cat", "/proc/sys/net/ipv4/conf/lo/forwarding"]).run().ok().text(), "1");
}

#[test]
fn sysctls_of_the_host_are_refused_by_name() {
    for (name, without) in [
        ("kernel.core_pattern", None),
        ("vm.swappiness", None),
        ("net.ipv4.ip_forward", Some("network")),
        ("kernel.msgmax", Some("ipc")),
    ] {
        let before = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).unwrap();
        let mut bundle = Bundle::new(Mode::Root).with(|config| {
            config["linux"]["sysctl"] = json!({});
            config["linux"]["sysctl"][name] = json!("1");
            config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev/mqueue");
        });
        if let Some(kind) = without {
            bundle = bundle.namespace(kind, None);
        }
        bundle.run().refused_naming(&[name]);
        Traces::none_of(&bundle);
        assert_eq!(std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).unwrap(), before);
    }
}

#[test]
fn a_sysctl_cannot_point_elsewhere() {
    for name in
        ["net.ipv4/../../kernel.core_pattern", "../kernel.core_pattern", "net..ipv4", "/net/ipv4/ip_forward"]
    {
        let before = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
        let bundle = Bundle::new(Mode::Root).with(|config| {
            config["linux"]["sysctl"] = json!({});
            config["linux"]["sysctl"][name] = json!("pwned");
        });
        assert_ne!(bundle.run().code, 0, "{name}");
        assert_eq!(std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
    }
}

#[test]
fn a_sysctl_that_does_not_exist_is_named() {
    let bundle = Bundle::new(Mode::Root).put("/linux/sysctl", json!({"net.no.such": "1"}));
    bundle.run().refused_naming(&["net.no.such"]);
    Traces::none_of(&bundle);
}

#[test]
fn the_ping_group_range_is_tolerated_beyond_the_mapped_groups() {
    if subject().0 == Subject::Runc {
        return; // runc fails
    }
    let bundle = Bundle::new(Mode::RootUserns)
        .put("/linux/sysctl", json!({"net.ipv4.ping_group_range": "0 2147483647"}));
    bundle.run().ok();
}

in_modes! {
    fn the_containers_proc_shows_only_its_own_processes(mode) {
        let output = Bundle::new(mode).sh("ls /proc | grep -c '^[0-9]'; exit 0").run().ok();
        assert!(output.text().parse::<u32>().unwrap() <= 3, "{}", output.stdout);
    }
}

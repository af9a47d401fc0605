//! Writes that are meant for the kernel or for the container and land elsewhere (SEC-07, SEC-11 to SEC-18).

use crate::{
    canary::Canary,
    common::{Bundle, Traces, in_modes},
};
use serde_json::json;
use std::{os::unix::fs::symlink, path::Path, process::Command};

/// Values of the whole host that the attacks aim at; not every kernel has each.
fn host() -> Vec<Option<String>> {
    let names = [
        "kernel/core_pattern",
        "kernel/sysrq",
        "kernel/hostname",
        "net/ipv4/ip_default_ttl",
        "user/max_user_namespaces",
        "vm/overcommit_memory",
    ];
    names.map(|name| std::fs::read_to_string(Path::new("/proc/sys").join(name)).ok()).into()
}

fn link_over(root: &Path, name: &str, target: &str) {
    let place = root.join(name);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    let _ = std::fs::remove_dir_all(&place);
    let _ = std::fs::remove_file(&place);
    symlink(target, place).unwrap();
}

in_modes! {
    /// CVE-2025-24965: whatever the runtime itself makes in an image (mount points, nodes and links of /dev, the working
    /// directory) has been made there already, as a way out.
    fn sec_07_nothing_that_the_runtime_makes_goes_through_links_of_the_image(mode) {
        let names = ["dev/null", "dev/zero", "dev/full", "dev/random", "dev/urandom", "dev/tty", "dev/ptmx", "dev/fd", "dev/stdin",
                     "dev/stdout", "dev/stderr", "dev/console", "dev/core", "mnt/file", "mnt/dir", "work"];
        for dangling in [false, true] {
            for name in names {
                let bundle = Bundle::new(mode).put("/process/cwd", json!("/work/below")).sh("true");
                let canary = Canary::new(&bundle);
                let source = bundle.scratch().file("source", "x", mode.caller(), 0o644);
                let target = canary.join(if dangling { "new" } else { "file" }).display().to_string();
                let bundle = bundle
                    .with(|config| {
                        let mounts = config["mounts"].as_array_mut().unwrap();
                        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
                    })
                    .rootfs(|root| link_over(root, name, &target))
                    .mount("bind", &source, "/mnt/file", &["bind", "ro"])
                    .mount("tmpfs", "tmpfs", "/mnt/dir", &[]);
                bundle.run();
                canary.is_untouched();
                assert_eq!(std::fs::read_to_string(&source).unwrap(), "x", "{name}");
                Traces::none_of(&bundle);
            }
        }
    }
}

in_modes! {
    /// CVE-2019-16884, CVE-2025-52881: mounts of config.json over the files of /proc through which guards are set. A sysctl is in
    /// force in the container's network namespace, or there is no container.
    [root root_userns root_in_userns rootless_range]
    fn sec_11_mounts_over_proc_do_not_swallow_what_is_written_there(mode) {
        for kind in ["tmpfs", "bind"] {
            for place in ["/proc", "/proc/self", "/proc/self/attr", "/proc/thread-self/attr", "/proc/sys", "/proc/sys/net/ipv4"] {
                let bundle = Bundle::new(mode).put("/linux/sysctl", json!({"net.ipv4.ip_default_ttl": "77"}));
                let canary = Canary::new(&bundle);
                let source = if kind == "bind" { canary.path().to_owned() } else { "tmpfs".into() };
                let options: &[&str] = if kind == "bind" { &["rbind"] } else { &[] };
                let bundle = bundle.mount(kind, source, place, options);
                if bundle.try_create(&[]).code == 0 {
                    let state = bundle.call(&["state", bundle.id()]).ok().stdout;
                    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
                    let namespace = format!("--net=/proc/{}/ns/net", state["pid"]);
                    let seen = Command::new("nsenter").args([&namespace, "cat", "/proc/sys/net/ipv4/ip_default_ttl"]).output().unwrap();
                    assert_eq!(seen.stdout, b"77\n", "{kind} on {place}");
                }
                canary.is_untouched();
            }
        }
    }
}

in_modes! {
    /// CVE-2025-52881: the file of a sysctl is one of the host's by the time it is written.
    fn sec_12_a_sysctl_never_reaches_a_file_that_was_put_in_its_place(mode) {
        let before = host();
        for target in ["/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", ""] {
            let bundle = Bundle::new(mode).put("/linux/sysctl", json!({"net.ipv4.ip_default_ttl": "77"})).sh("true");
            let canary = Canary::new(&bundle);
            let source = if target.is_empty() { canary.join("file") } else { target.into() };
            let bundle = bundle.mount("bind", source, "/proc/sys/net/ipv4/ip_default_ttl", &["bind"]);
            bundle.run();
            canary.is_untouched();
            assert_eq!(host(), before, "{target}");
            Traces::none_of(&bundle);
        }
    }
}

in_modes! {
    /// CVE-2023-25809: without a cgroup namespace the hierarchies of the host are shown, and they are shown read-only, also where
    /// the mount of config.json becomes a bind of the host's.
    fn sec_17_the_hosts_cgroups_are_read_only(mode) {
        let container = Bundle::new(mode)
            .namespace("cgroup", None)
            .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "ro"])
            .start();
        let mounts = container.proc().mounts();
        let below: Vec<_> = mounts.iter().filter(|mount| mount.point.starts_with("/sys")).collect();
        assert!(below.iter().any(|mount| mount.point.starts_with("/sys/fs/cgroup")), "{mounts:?}");
        for mount in below {
            assert!(mount.has("ro"), "{mount:?}");
        }
    }
}

in_modes! {
    /// Names of sysctls that lead out of /proc/sys, or to what all containers share.
    fn sec_18_no_sysctl_of_the_host_is_written(mode) {
        let before = host();
        for (name, value) in [
            ("kernel.core_pattern", "|/evil"),
            ("kernel/core_pattern", "|/evil"),
            ("kernel.sysrq", "1"),
            ("kernel.shmmax/../core_pattern", "|/evil"),
            ("net.ipv4.ip_default_ttl/../../../kernel/core_pattern", "|/evil"),
            ("net/../kernel/core_pattern", "|/evil"),
            ("../sysrq-trigger", "c"),
            ("/proc/sys/kernel/core_pattern", "|/evil"),
            ("net.ipv4.ip_default_ttl=77", "77"),
            ("net.ipv4.ip_default_ttl+", "77"),
            ("net..ipv4.ip_default_ttl", "77"),
            ("", "77"),
            ("kernel.shmmax\n", "77"),
            ("vm.overcommit_memory", "1"),
            ("fs.file-max", "1"),
        ] {
            let bundle = Bundle::new(mode).put("/linux/sysctl", json!({name: value})).sh("true");
            bundle.run().refused("sysctl");
            assert_eq!(host(), before, "{name:?}");
            Traces::none_of(&bundle);
        }
        let bundle = Bundle::new(mode).put("/linux/sysctl", json!({"net.ipv4.ip_default_ttl": "77"})).namespace("network", None).sh("true");
        bundle.run().refused("net.ipv4.ip_default_ttl");
        assert_eq!(host(), before);
    }
}

in_modes! {
    /// Without a user namespace of its own the limits of user namespaces are the host's.
    [root]
    fn sec_18_limits_of_the_hosts_user_namespace_are_not_written(mode) {
        let before = host();
        Bundle::new(mode).put("/linux/sysctl", json!({"user.max_user_namespaces": "7"})).sh("true").run().refused("user.max_user_namespaces");
        assert_eq!(host(), before);
    }
}

//! The promises that this project grew from, each by its name.

use crate::common::*;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;

/// A pod of <https://kubernetes.io/docs/tasks/configure-pod-container/user-namespaces/>: `hostUsers: false`.
fn pod() -> Bundle {
    Bundle::new(Mode::RootUserns)
}

#[test]
fn kubernetes_user_namespace_pod() {
    let output = pod().args(["cat", "/proc/self/uid_map"]).run().ok();
    assert_eq!(output.stdout.split_whitespace().collect::<Vec<_>>(), ["0", "131072", "65536"]);
    let container = pod().start();
    assert_eq!(container.proc().numbers("Uid"), [131_072; 4]);
    assert_eq!(container.proc().map("uid_map"), [[0, 131_072, 65536]]);
    assert_eq!(container.proc().map("gid_map"), [[0, 131_072, 65536]]);
}

#[test]
fn kubernetes_user_namespace_pod_starts_a_program_that_demands_root() {
    let script = "test $(id -u) = 0 && chown 33:33 /tmp && mount -t tmpfs tmpfs /mnt && ip link set lo down && echo rooted";
    let all = [DEFAULT_CAPS, &["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]].concat();
    let bundle = pod().put("/process/capabilities", caps(&all)).sh(script);
    assert_eq!(bundle.run().ok().text(), "rooted");
    assert_eq!(std::fs::metadata(bundle.rootfs_dir().join("tmp")).unwrap().uid(), 131_072 + 33);
}

#[test]
fn kubernetes_user_namespace_pod_cannot_read_a_host_file_of_an_unmapped_owner() {
    let bundle = pod();
    let secret = bundle.scratch().file("secret", "the host's\n", (0, 0), 0o600);
    let all = [DEFAULT_CAPS, &["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"]].concat();
    let bundle =
        bundle.put("/process/capabilities", caps(&all)).mount("bind", secret, "/mnt/secret", &["bind"]);
    let bundle = bundle.sh("stat -c %u:%g /mnt/secret; cat /mnt/secret");
    let output = bundle.run();
    assert_eq!(output.stdout, "65534:65534\n");
    output.refused("Permission denied");
}

/// <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/>
fn security_context(mode: Mode) -> Bundle {
    let groups = json!([2000, 3000, 4000]);
    Bundle::new(mode).user(1000, 3000).put("/process/user/additionalGids", groups)
}

in_modes! {
    [root root_userns]
    fn security_context_user_and_groups(mode) {
        let bundle = security_context(mode);
        let volume = bundle.scratch().dir("demo", (mode.host_uid(0), mode.host_gid(2000)), 0o2777);
        let bundle = bundle.mount("bind", &volume, "/data/demo", &["bind"]);
        let container = bundle.sh("id; cd /data/demo && echo hello > testfile && echo written && exec sleep 600").start();
        container.wait_for("written");
        assert_eq!(container.proc().numbers("Uid"), [mode.host_uid(1000); 4]);
        assert_eq!(container.proc().numbers("Gid"), [mode.host_gid(3000); 4]);
        let mut groups = container.proc().numbers("Groups");
        groups.sort_unstable();
        assert_eq!(groups, [2000, 3000, 4000].map(|gid| mode.host_gid(gid)));
        assert!(container.output().contains("uid=1000"), "{}", container.output());
        assert!(container.output().contains("gid=3000"), "{}", container.output());
        let file = std::fs::metadata(volume.join("testfile")).unwrap();
        assert_eq!((file.uid(), file.gid()), (mode.host_uid(1000), mode.host_gid(2000)));
    }
}

in_modes! {
    [root root_userns]
    fn security_context_capabilities(mode) {
        let process = Bundle::new(mode).start();
        assert_eq!(process.proc().caps("CapPrm"), "00000000a80425fb");
        assert_eq!(process.proc().caps("CapEff"), "00000000a80425fb");
        let more = [DEFAULT_CAPS, &["CAP_NET_ADMIN", "CAP_SYS_TIME"]].concat();
        let process = Bundle::new(mode).put("/process/capabilities", caps(&more)).start();
        assert_eq!(process.proc().caps("CapPrm"), "00000000aa0435fb");
        assert_eq!(process.proc().caps("CapEff"), "00000000aa0435fb");
    }
}

in_modes! {
    [root root_userns]
    fn security_context_masked_and_read_only_paths(mode) {
        let container = Bundle::new(mode).sh("cat /proc/keys /proc/timer_list; echo x > /proc/sys/kernel/shm_rmid_forced; exec sleep 600").start();
        container.wait_for("Read-only file system");
        let mounts = container.proc().mounts();
        for path in MASKED.iter().chain(READONLY) {
            let there = std::path::Path::new(path).exists();
            assert_eq!(mounts.iter().any(|mount| mount.point == *path), there, "{path}");
        }
    }
}

in_modes! {
    [root root_userns]
    fn security_context_no_privilege_escalation(mode) {
        let bundle = security_context(mode).rootfs(|root| {
            crate::common::copy_program("/bin/busybox".as_ref(), &root.join("bin/busybox-setuid"));
        });
        let path = bundle.rootfs_dir().join("bin/busybox-setuid");
        set_uid_bit(&path);
        let output = bundle.args(["/bin/busybox-setuid", "id", "-u"]).run();
        assert_eq!(output.text(), "1000");
        let container = security_context(mode).start();
        assert_eq!(container.proc().status("NoNewPrivs"), "1");
    }
}

fn set_uid_bit(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o4755)).unwrap();
}

in_modes! {
    [root root_userns]
    fn security_context_read_only_root_filesystem(mode) {
        let bundle = security_context(mode).put("/root/readonly", json!(true)).sh("touch /tmp/file");
        bundle.run().refused("Read-only file system");
        assert!(!bundle.rootfs_dir().join("tmp/file").exists());
    }
}

/// A container of OpenShift's `restricted-v2`: an arbitrary user of the root group.
fn openshift(mode: Mode) -> Bundle {
    let bundle = Bundle::new(mode).user(1_000_120_000, 0).put("/process/capabilities", json!({}));
    bundle.put("/process/user/additionalGids", json!([0, 1_000_120_000]))
}

#[test]
fn openshift_arbitrary_user() {
    use std::os::unix::fs::PermissionsExt;
    let bundle = openshift(Mode::Root);
    let shared = bundle.rootfs_dir().join("srv");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o775)).unwrap();
    let bundle =
        bundle.sh("echo mine > /srv/file && ! touch /etc/file 2>/dev/null && echo held && exec sleep 600");
    let container = bundle.start();
    container.wait_for("held");
    assert_eq!(container.proc().numbers("Uid"), [1_000_120_000; 4]);
    assert_eq!(container.proc().numbers("Gid"), [0; 4]);
    let file = std::fs::metadata(shared.join("file")).unwrap();
    assert_eq!((file.uid(), file.gid()), (1_000_120_000, 0));
    for set in ["CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"] {
        assert_eq!(container.proc().caps(set), "0000000000000000", "{set}");
    }
}

#[test]
fn openshift_arbitrary_user_in_a_user_namespace() {
    let range = json!([
        {"containerID": 0, "hostID": 131_072, "size": 65535},
        {"containerID": 1_000_120_000, "hostID": 131_072 + 65535, "size": 1},
    ]);
    let bundle =
        openshift(Mode::RootUserns).put("/linux/uidMappings", range.clone()).put("/linux/gidMappings", range);
    let container = bundle.start();
    assert_eq!(container.proc().numbers("Uid"), [131_072 + 65535; 4]);
    assert_eq!(container.proc().numbers("Gid"), [131_072; 4]);
}

#[test]
fn openshift_security_context_constraints() {
    let dropped = |drop: &[&str]| -> Vec<&str> {
        DEFAULT_CAPS.iter().filter(|cap| !drop.contains(cap)).copied().collect()
    };
    let kept = dropped(&["CAP_KILL", "CAP_MKNOD", "CAP_SETUID", "CAP_SETGID"]);
    for (name, user, granted, bounding, effective) in [
        ("restricted", 1_000_120_000, kept.clone(), "00000000a004251b", "0000000000000000"),
        ("nonroot", 1000, kept, "00000000a004251b", "0000000000000000"),
        ("anyuid", 0, dropped(&["CAP_MKNOD"]), "00000000a00425fb", "00000000a00425fb"),
    ] {
        let container =
            Bundle::new(Mode::Root).user(user, 0).put("/process/capabilities", caps(&granted)).start();
        assert_eq!(container.proc().caps("CapBnd"), bounding, "{name}");
        assert_eq!(container.proc().caps("CapEff"), effective, "{name}");
    }
}

#[test]
fn openshift_lsns_shows_both_ids() {
    let container = pod().user(1000, 1000).start();
    let pid = container.proc().0.to_string();
    let mut lsns = std::process::Command::new("lsns");
    lsns.args(["-t", "user", "-J", "-o", "NS,TYPE,PID,UID", "-p", &pid]);
    let mut table = Value::Null;
    // lsns reads all of /proc and fails when a process of another test ends meanwhile.
    wait_until("lsns reads /proc to its end", || {
        let output = lsns.output().unwrap();
        output.status.success() && {
            table = serde_json::from_slice(&output.stdout).unwrap();
            true
        }
    });
    let row = &table["namespaces"][0];
    assert_eq!(row["type"], "user");
    // lsns names the process with the lowest number, which is the container's own.
    assert_eq!(row["pid"].to_string().trim_matches('"'), pid);
    assert_eq!(row["uid"].to_string().trim_matches('"'), (131_072 + 1000).to_string());
    let inside = std::process::Command::new("nsenter")
        .args([
            "-t",
            &pid,
            "-U",
            "-p",
            "-m",
            "/bin/busybox",
            "sh",
            "-c",
            "sed -n 's/^Uid:[[:space:]]*\\([0-9]*\\).*/\\1/p' /proc/1/status",
        ])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&inside.stdout).trim(), "1000");
}

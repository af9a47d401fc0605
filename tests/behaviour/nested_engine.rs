//! Podman and Buildah of an ordinary user inside a container whose /proc is unmasked.

use crate::common::*;
use serde_json::json;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

/// The user inside, and the subordinate ids it has there.
const USER: u32 = 1000;
const SUBORDINATE: (u32, u32) = (10_000, 50_000);

/// What the user does: images without a network, and a container of one with many ids. The inner engine's runtime is urun.
/// It has no cgroups, network devices or FUSE of its own.
const SCRIPT: &str = r#"
set -eu
engine="podman --cgroup-manager cgroupfs --events-backend file --log-level error"
run="--cgroups disabled --network none"
cd /home/user/image
cp /opt/busybox .
cat >one <<'END'
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN chown 7:7 /bin/busybox && echo built as $(id -u) >/made
END
cat >two <<'END'
FROM localhost/one
RUN echo again >>/made
END
$engine build --network host --file one --tag one .
buildah build --isolation oci --runtime /opt/urun --network host --file two --tag two .
echo image: $($engine run --rm $run two cat /made)
echo owner: $($engine run --rm $run two stat -c %u:%g /bin/busybox)
$engine run --detach --name inner $run two sleep 604
echo exec: $($engine exec inner cat /proc/1/comm)
echo stands
exec sleep 600
"#;

/// A root file system that has the machine's programs: /usr comes from the host, the rest is made.
fn machine(mode: Mode) -> Bundle {
    let bundle = Bundle::new(mode).rootfs(|root| {
        std::fs::remove_dir_all(root).unwrap();
        for dir in ["usr", "etc/containers", "proc", "sys", "dev", "run/user/1000", "tmp", "var/tmp", "opt"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        std::fs::create_dir_all(root.join("home/user/image")).unwrap();
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(Path::new("usr").join(name), root.join(name)).unwrap();
        }
        for name in ["tmp", "var/tmp"] {
            set_mode(&root.join(name), 0o1777);
        }
        let (first, count) = SUBORDINATE;
        let range = format!("user:{first}:{count}\n");
        // As the drop-in that ships, with the urun under test.
        let settings =
            include_str!("../../contrib/podman/50-urun.conf").replace("/usr/local/bin/urun", "/opt/urun");
        for (name, text) in [
            ("passwd", "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"),
            ("group", "root:x:0:\nuser:x:1000:\n"),
            ("subuid", &range),
            ("subgid", &range),
            ("containers/containers.conf", &settings),
            ("containers/policy.json", r#"{"default": [{"type": "insecureAcceptAnything"}]}"#),
        ] {
            std::fs::write(root.join("etc").join(name), text).unwrap();
        }
        copy_program(&subject().1, &root.join("opt/urun"));
        copy_program(Path::new("/bin/busybox"), &root.join("opt/busybox"));
    });
    for dir in ["home/user", "home/user/image", "run/user/1000"] {
        chown(bundle.rootfs_dir().join(dir), Some(mode.host_uid(USER)), Some(mode.host_gid(USER))).unwrap();
    }
    bundle
        .mount("bind", "/usr", "/usr", &["rbind", "ro", "idmap"])
        .mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "ro"])
        .user(USER, USER)
        .put("/process/noNewPrivileges", json!(false))
        .put("/process/capabilities/bounding/-", json!("CAP_SYS_ADMIN"))
        .put("/process/env/-", json!("HOME=/home/user"))
        .put("/process/env/-", json!("XDG_RUNTIME_DIR=/run/user/1000"))
        .put("/annotations/io.urun.proc-mount", json!("unmasked"))
}

#[test]
fn podman_of_an_ordinary_user_builds_and_runs() {
    if only_ours("it runs itself") {
        return;
    }
    if !Path::new("/usr/bin/podman").exists() {
        eprintln!("not run: Podman is not installed");
        return;
    }
    let mode = Mode::RootUserns;
    let container = machine(mode).sh(SCRIPT).start();
    let until = deadline(90);
    while !container.output().contains("stands\n") {
        let works = container.proc().alive() && Instant::now() < until;
        assert!(works, "the engine has not done its work: {}", container.output());
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = container.output();
    for line in ["image: built as 0 again\n", "owner: 7:7\n", "exec: sleep\n"] {
        assert!(output.contains(line), "{output}");
    }
    let inner = below(container.proc(), "sleep\x00604\0").expect("the inner container runs");
    let (first, count) = SUBORDINATE;
    assert_eq!(inner.map("uid_map"), [[0, mode.host_uid(USER), 1], [1, mode.host_uid(first), count]]);
    // A /proc of its own, which the kernel gives to nobody who sees a masked one alone.
    assert_eq!(std::fs::read_to_string(inner.inside("/proc/1/cmdline")).unwrap(), "sleep\x00604\0");
    assert!(!inner.mount("/proc").super_has("subset=pid"));
}

/// The process with this command line among those that descend from `ancestor`.
fn below(ancestor: Proc, command: &str) -> Option<Proc> {
    let children = std::fs::read_to_string(ancestor.path(&format!("task/{}/children", ancestor.0)));
    children.unwrap_or_default().split_whitespace().find_map(|pid| {
        let process = Proc(pid.parse().unwrap());
        let found = std::fs::read_to_string(process.path("cmdline")).is_ok_and(|text| text == command);
        if found { Some(process) } else { below(process, command) }
    })
}

//! Symbolic links and false files in the image (SEC-01 to SEC-15).

use crate::{
    canary::Canary,
    common::{Bundle, ConsoleSocket, Proc, Traces, deadline, in_modes},
};
use serde_json::json;
use std::{
    os::unix::fs::{FileTypeExt, MetadataExt, symlink},
    path::Path,
    time::Instant,
};

/// What is put into the image before the run.
type Plant<'a> = &'a dyn Fn(&Path, &str);

fn replace_by_link(root: &Path, name: &str, target: &str) {
    let place = root.join(name);
    if place.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        std::fs::remove_dir_all(&place).unwrap();
    } else {
        let _ = std::fs::remove_file(&place);
    }
    symlink(target, place).unwrap();
}

/// A console socket that the mode's caller may connect to; an older one is removed.
fn console(bundle: &Bundle) -> ConsoleSocket {
    let path = bundle.scratch().join("console");
    let _ = std::fs::remove_file(&path);
    ConsoleSocket::listen(&path, bundle.mode().caller())
}

/// Without the mounts at and below these places.
pub fn without_mounts(bundle: Bundle, places: &[&str]) -> Bundle {
    bundle.with(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| {
            let at = mount["destination"].as_str().unwrap();
            !places.iter().any(|place| at == *place || at.starts_with(&format!("{place}/")))
        });
    })
}

in_modes! {
    /// CVE-2019-19921, CVE-2023-27561, CVE-2025-54867: a procfs or sysfs that lands elsewhere leaves the masks behind.
    fn sec_01_kernel_file_systems_are_not_mounted_through_links(mode) {
        for (name, target) in [("proc", "tmp/x"), ("proc", "/tmp/x"), ("sys", "/tmp/x")] {
            let bundle = Bundle::new(mode)
                .rootfs(|root| {
                    std::fs::create_dir(root.join("tmp/x")).unwrap();
                    replace_by_link(root, name, target);
                })
                .sh("true");
            let canary = Canary::new(&bundle);
            bundle.run().refused(name);
            canary.is_untouched();
            Traces::none_of(&bundle);
        }
        let bundle = without_mounts(Bundle::new(mode), &["/dev"]);
        let canary = Canary::new(&bundle);
        for target in ["/tmp/x".to_owned(), canary.path().display().to_string()] {
            let bundle = without_mounts(Bundle::new(mode), &["/dev"])
                .rootfs(|root| {
                    std::fs::create_dir(root.join("tmp/x")).unwrap();
                    symlink(&target, root.join("dev/pts")).unwrap();
                })
                .mount("devpts", "devpts", "/dev/pts", &["newinstance"])
                .sh("true");
            bundle.run().refused_naming(&["/dev/pts"]);
            canary.is_untouched();
            Traces::none_of(&bundle);
        }
    }
}

in_modes! {
    /// CVE-2026-41579, CVE-2026-47766: device nodes and links made on the host, before the root was entered. Fails on runc
    /// 1.0.0-rc93 and 1.1.5, which replace `ptmx` and add `fd` there.
    fn sec_02_a_dev_that_leads_out_is_not_filled_on_the_host(mode) {
        for mounted in [true, false] {
            for read_only in [true, false] {
                let mut bundle = Bundle::new(mode).put("/root/readonly", json!(read_only)).sh("true");
                if !mounted {
                    bundle = without_mounts(bundle, &["/dev"]);
                }
                let canary = Canary::new(&bundle);
                let target = canary.path().display().to_string();
                let bundle = bundle.rootfs(|root| replace_by_link(root, "dev", &target));
                bundle.run();
                canary.is_untouched();
                let up = format!("../../../../../../..{target}");
                let bundle = bundle.rootfs(|root| replace_by_link(root, "dev", &up));
                bundle.run();
                canary.is_untouched();
                Traces::none_of(&bundle);
            }
        }
    }
}

in_modes! {
    /// CVE-2026-88264, CVE-2025-52565: the place of the console, in an image whose /dev nothing covers.
    fn sec_03_a_console_that_is_a_link_makes_no_file_on_the_host(mode) {
        let plain = |target: &str| {
            let target = target.to_owned();
            move |root: &Path| {
                let _ = std::fs::create_dir(root.join("dev"));
                replace_by_link(root, "dev/console", &target);
            }
        };
        let bundle = without_mounts(Bundle::new(mode), &["/dev"])
            .put("/process/terminal", json!(true))
            .mount("devpts", "devpts", "/dev/pts", &["newinstance", "ptmxmode=0666"])
            .sh("true");
        let canary = Canary::new(&bundle);
        let there = canary.join("console").display().to_string();
        let new = canary.join("new").display().to_string();
        let fifo = bundle.scratch().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let owner = |path: &Path| path.symlink_metadata().map(|meta| (meta.mode(), meta.uid(), meta.gid())).unwrap();
        let before = owner(&fifo);
        let mut bundle = bundle;
        let pipe = fifo.display().to_string();
        let up = |path: &str| format!("../../../../../../..{path}");
        for target in [there.clone(), up(&there), new.clone(), up(&new), pipe.clone(), up(&pipe)] {
            bundle = bundle.rootfs(plain(&target));
            let socket = console(&bundle);
            let deadline = deadline(2);
            bundle.try_create(&["--console-socket", socket.path()]);
            assert!(Instant::now() < deadline, "{target} made the runtime wait");
            canary.is_untouched();
            assert_eq!(owner(&fifo), before);
            bundle.call(&["delete", "--force", bundle.id()]);
        }
    }
}

/// Masks, and standard input where it is a file, are the host's null device, and no file of procfs is within reach.
#[track_caller]
fn has_true_null_devices(bundle: &Bundle, name: &str) {
    let state = bundle.call(&["state", bundle.id()]).ok().stdout;
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    let process = Proc(u32::try_from(state["pid"].as_u64().unwrap()).unwrap());
    let null = |place: &Path| {
        let meta = std::fs::metadata(place).unwrap();
        meta.file_type().is_char_device() && meta.rdev() == nix::sys::stat::makedev(1, 3)
    };
    for mask in ["/proc/timer_list", "/proc/keys"] {
        assert!(null(&process.inside(mask)), "{name}: {mask}");
    }
    for mount in process.mounts() {
        let lies = mount.kind == "proc" && mount.root != "/" && !mount.has("ro");
        assert!(!lies, "{name}: a file of procfs is within reach, {mount:?}");
    }
    if process.path("fd/0").exists() {
        assert!(null(&process.path("fd/0")), "{name}: standard input is a false null device");
    }
}

in_modes! {
    /// CVE-2025-31133, CVE-2026-88265, CVE-2025-62161: a false null device as the source of masks and standard streams.
    fn sec_04_and_13_a_false_null_device_masks_nothing_and_is_not_chowned(mode) {
        let none = |_: &Path, _: &str| {};
        let link = |root: &Path, canary: &str| symlink(format!("{canary}/null"), root.join("dev/null")).unwrap();
        let up = |root: &Path, canary: &str| symlink(format!("../../../../../../..{canary}/null"), root.join("dev/null")).unwrap();
        let pattern = |root: &Path, _: &str| symlink("/proc/sys/kernel/core_pattern", root.join("dev/null")).unwrap();
        let file = |root: &Path, _: &str| std::fs::write(root.join("dev/null"), "image").unwrap();
        let fifo = |root: &Path, _: &str| {
            nix::unistd::mkfifo(&root.join("dev/null"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        };
        let zero = |root: &Path, _: &str| {
            use nix::sys::stat::{Mode, SFlag, makedev, mknod};
            mknod(&root.join("dev/null"), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 5)).unwrap();
        };
        let cases: [(&str, Plant<'_>); 7] = [
            ("none", &none), ("link", &link), ("up", &up), ("pattern", &pattern), ("file", &file), ("fifo", &fifo), ("zero", &zero),
        ];
        let host = || std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
        let before = host();
        // In the image itself, with standard input and without; in a volume that is the container's /dev.
        let ways = [(false, false), (true, false), (true, true)];
        for ((name, make), (closed, volume)) in cases.into_iter().flat_map(|case| ways.map(|way| (case, way))) {
            let bundle = without_mounts(Bundle::new(mode), &["/dev"]).put("/linux/maskedPaths", json!(["/proc/timer_list", "/proc/keys"]));
            let canary = Canary::new(&bundle);
            let at = canary.path().display().to_string();
            let mut bundle = if volume {
                let dev = bundle.scratch().dir("volume/dev", mode.owner(), 0o755);
                make(dev.parent().unwrap(), &at);
                bundle.mount("bind", &dev, "/dev", &["rbind"])
            } else {
                // With an owner, so that something is chowned.
                let user = if mode.many_ids() { 1000 } else { 0 };
                let device = json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "uid": user, "gid": user});
                bundle.rootfs(|root| make(root, &at)).put("/linux/devices", json!([device]))
            };
            bundle.write();
            if closed {
                bundle.without_stdin();
            }
            let created = bundle.call(&["create", bundle.id()]);
            // The volume is not the runtime's to fill, so nothing in it is in its way.
            assert!(created.code == 0 || !volume && name != "none", "{name}: {created:?}");
            if created.code == 0 {
                has_true_null_devices(&bundle, name);
            }
            canary.is_untouched();
            assert_eq!(host(), before, "{name}");
        }
    }
}

in_modes! {
    fn sec_06_a_destination_below_a_link_stays_in_the_root(mode) {
        let bundle = Bundle::new(mode).sh("true");
        let canary = Canary::new(&bundle);
        let at = canary.path().display().to_string();
        let source = bundle.scratch().file("source", "x", mode.caller(), 0o644);
        let bundle = bundle
            .rootfs(|root| {
                symlink(format!("../../../../../../../..{at}"), root.join("up")).unwrap();
                symlink(&at, root.join("absolute")).unwrap();
            })
            .mount("bind", &source, "/up/b/file", &["bind", "ro"])
            .mount("tmpfs", "tmpfs", "/up/b/c", &[])
            .mount("bind", &source, "/absolute/b/file", &["bind", "ro"])
            .mount("tmpfs", "tmpfs", "/absolute/x/../../y", &["tmpcopyup"]);
        bundle.run();
        canary.is_untouched();
        Traces::none_of(&bundle);
    }
}

in_modes! {
    fn sec_14_a_masked_link_masks_its_target_in_the_root_or_fails(mode) {
        let bundle = Bundle::new(mode).sh("cat /secret /link; true");
        let canary = Canary::new(&bundle);
        let at = canary.join("file").display().to_string();
        let bundle = bundle
            .rootfs(|root| {
                std::fs::write(root.join("secret"), "SECRET").unwrap();
                symlink("secret", root.join("link")).unwrap();
                symlink(&at, root.join("out")).unwrap();
            })
            .put("/linux/maskedPaths", json!(["/link", "/out", "/not/there"]));
        let output = bundle.run();
        assert!(!output.stdout.contains("SECRET"), "{output:?}");
        assert!(output.code == 0 || !output.stderr.is_empty());
        canary.is_untouched();
        Traces::none_of(&bundle);
    }
}

in_modes! {
    /// The names of devpts in an image that brings its own /dev.
    fn sec_15_false_ptmx_and_pts_do_not_lead_out(mode) {
        let bundle = without_mounts(Bundle::new(mode), &["/dev"])
            .put("/process/terminal", json!(true))
            .mount("devpts", "devpts", "/dev/pts", &["newinstance", "ptmxmode=0666"])
            .sh("true");
        let canary = Canary::new(&bundle);
        let at = canary.join("ptmx").display().to_string();
        let bundle = bundle.rootfs(|root| {
            std::fs::create_dir(root.join("dev/pts")).unwrap();
            symlink(&at, root.join("dev/ptmx")).unwrap();
            symlink(&at, root.join("dev/pts/0")).unwrap();
            symlink(&at, root.join("dev/pts/ptmx")).unwrap();
        });
        let socket = console(&bundle);
        bundle.try_create(&["--console-socket", socket.path()]);
        canary.is_untouched();
    }
}

in_modes! {
    /// A link in the place of /dev/pts does not lead exec to another devpts that the container has, which may be the host's.
    [root root_userns rootless_range]
    fn sec_15_exec_takes_no_terminal_of_another_devpts(mode) {
        if crate::common::only_ours("others follow it") {
            return;
        }
        let container = Bundle::new(mode)
            .with(|config| {
                let mounts = config["mounts"].as_array_mut().unwrap();
                mounts.iter_mut().find(|mount| mount["destination"] == "/dev/pts").unwrap()["destination"] = json!("/other");
            })
            .sh("ln -s /other /dev/pts && echo ready; exec sleep 600")
            .start();
        container.wait_for("ready");
        let socket = console(container.bundle());
        let flags = ["exec", "--tty", "--detach", "--console-socket", socket.path(), container.id(), "true"];
        container.bundle().call(&flags).refused_naming(&["/dev/pts", "ELOOP"]);
    }
}

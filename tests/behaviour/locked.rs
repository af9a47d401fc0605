//! Mounts that root inside cannot undo, even with CAP_SYS_ADMIN there, and the way to have it the other runtimes' way.

use crate::common::*;
use serde_json::json;

/// Root of its user namespace with every right over mounts, trying what the script says.
fn admin(mode: Mode, script: &str) -> Bundle {
    let all = [DEFAULT_CAPS, &["CAP_SYS_ADMIN"]].concat();
    Bundle::new(mode).put("/process/capabilities", caps(&all)).sh(script)
}

in_modes! {
    [root_userns rootless_one rootless_range]
    fn masks_stay_whatever_root_inside_tries(mode) {
        if only_ours("the others' masks come off") {
            return;
        }
        for attempt in [
            "umount /proc/timer_list",
            "umount /proc/keys",
            "umount -l /proc/sys",
            "umount -l /proc",
            "mount -o remount,bind,rw /proc/sys",
            "mount -o remount,rw /sys",
            "mount --move /proc/timer_list /tmp",
            "unshare -p -m -f sh -c 'mount -t proc proc /mnt'",
            "unshare -U -r -m umount /proc/timer_list",
        ] {
            let bundle = admin(mode, &format!("{attempt} 2>&1 && echo DONE; echo tried; exec sleep 600"));
            let container = bundle.start();
            container.wait_for("tried");
            assert!(!container.output().contains("DONE"), "{attempt}: {}", container.output());
            let process = container.proc();
            assert!(process.mount("/proc/sys").has("ro"), "{attempt}");
            assert_eq!(std::fs::metadata(process.inside("/proc/keys")).unwrap_or_else(|e| panic!("{attempt}: {e}")).len(), 0);
        }
    }
}

in_modes! {
    [root_userns rootless_range]
    fn a_read_only_bind_stays_read_only(mode) {
        if only_ours("the others' binds open up") {
            return;
        }
        let bundle = admin(mode, "mount -o remount,bind,rw /mnt 2>&1; umount /mnt 2>&1; touch /mnt/file 2>&1; echo tried; exec sleep 600");
        let volume = bundle.scratch().dir("volume", mode.owner(), 0o777);
        let container = bundle.mount("bind", &volume, "/mnt", &["bind", "ro"]).start();
        container.wait_for("tried");
        assert!(container.proc().mount("/mnt").has("ro"));
        assert!(!volume.join("file").exists());
    }
}

in_modes! {
    [root_userns rootless_range]
    fn root_inside_still_mounts_what_is_its_own(mode) {
        let container = admin(mode, "mount -t tmpfs mine /mnt && umount /mnt && mount -t tmpfs mine /mnt && echo mounted; exec sleep 600").start();
        container.wait_for("mounted");
        assert_eq!(container.proc().mount("/mnt").source, "mine");
    }
}

in_modes! {
    [root_userns rootless_range]
    fn unlocked_mounts_can_be_undone(mode) {
        if only_ours("the annotation is ours") {
            return;
        }
        let bundle = admin(mode, "umount /proc/timer_list && umount /proc/sys && echo undone; exec sleep 600");
        let container = bundle.put("/annotations/io.urun.mounts", json!("unlocked")).start();
        container.wait_for("undone");
        let points: Vec<String> = container.proc().mounts().into_iter().map(|mount| mount.point).collect();
        assert!(!points.contains(&"/proc/sys".to_owned()), "{points:?}");
    }
}

#[test]
fn an_unknown_word_for_the_mounts_is_refused() {
    if only_ours("the annotation is ours") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns).put("/annotations/io.urun.mounts", json!("ajar"));
    bundle.run().refused_naming(&["io.urun.mounts", "ajar"]);
}

in_modes! {
    [root_userns rootless_range]
    fn the_mount_namespace_belongs_to_the_containers_user_namespace(mode) {
        // So CAP_SYS_ADMIN inside is worth something, and only there.
        let container = admin(mode, "unshare -m true && echo owned; exec sleep 600").start();
        container.wait_for("owned");
        assert_ne!(container.proc().ns("mnt"), Proc(std::process::id()).ns("mnt"));
    }
}

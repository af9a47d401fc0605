//! What root inside may still do with mounts where those that it started with are locked (SEC-97 is about what it may not).

use crate::common::*;
use serde_json::json;

/// Root of its user namespace with every right over mounts, trying what the script says.
fn admin(mode: Mode, script: &str) -> Bundle {
    let all = [DEFAULT_CAPS, &["CAP_SYS_ADMIN"]].concat();
    Bundle::new(mode).put("/process/capabilities", caps(&all)).sh(script)
}

in_modes! {
    [root_userns rootless_range]
    fn root_inside_still_mounts_what_is_its_own(mode) {
        let container = admin(mode, "mount -t tmpfs mine /mnt && umount /mnt && mount -t tmpfs mine /mnt && echo mounted; exec sleep 600").start();
        container.wait_for("mounted");
        assert_eq!(container.proc().mount("/mnt").source, "mine");
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

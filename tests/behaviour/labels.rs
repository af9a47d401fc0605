//! Labels of Linux security modules: applied where the module is there, refused by its name where it is not.

use crate::common::*;
use serde_json::json;

#[test]
fn an_apparmor_profile_without_apparmor_is_refused_by_name() {
    let bundle = Bundle::new(Mode::RootUserns).put("/process/apparmorProfile", json!("crio-default"));
    if lsm("apparmor") {
        return; // the next test's business
    }
    if only_ours("the others ignore it in part") {
        return;
    }
    bundle.run().refused_naming(&["AppArmor", "crio-default"]);
    Traces::none_of(&bundle);
}

#[test]
fn an_apparmor_profile_is_on_the_process() {
    let bundle = Bundle::new(Mode::RootUserns).put("/process/apparmorProfile", json!("unconfined"));
    if lsm("apparmor") {
        assert!(bundle.start().proc().read("attr/current").starts_with("unconfined"));
    } else {
        // The word of engines for "none", which works without the module as well.
        bundle.run().ok();
    }
}

#[test]
fn an_selinux_label_without_selinux_is_refused_by_name() {
    let label = "system_u:system_r:container_t:s0:c1,c2";
    let bundle = Bundle::new(Mode::RootUserns).put("/process/selinuxLabel", json!(label));
    if lsm("selinux") {
        assert_eq!(bundle.start().proc().read("attr/current").trim_end_matches('\0'), label);
    } else if !only_ours("crun ignores it") {
        bundle.run().refused_naming(&["SELinux", label]);
        Traces::none_of(&bundle);
    }
}

#[test]
fn a_mount_label_without_selinux_is_refused_by_name() {
    if lsm("selinux") || only_ours("the others ignore it") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns)
        .put("/linux/mountLabel", json!("system_u:object_r:container_file_t:s0"));
    bundle.run().refused_naming(&["SELinux", "linux.mountLabel"]);
}

in_modes! {
    fn empty_labels_ask_for_nothing(mode) {
        let bundle = Bundle::new(mode)
            .put("/process/apparmorProfile", json!(""))
            .put("/process/selinuxLabel", json!(""))
            .put("/linux/mountLabel", json!(""));
        bundle.run().ok();
    }
}

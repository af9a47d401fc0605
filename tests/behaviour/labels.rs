//! Labels of Linux security modules: applied where the module is there, refused by its name where it is not.

use crate::common::*;
use serde_json::json;
use std::process::Command;

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

in_modes! {
    fn a_loaded_apparmor_profile_confines_the_process(mode) {
        if !lsm("apparmor") {
            return; // the first test's business
        }
        let bundle = Bundle::new(mode)
            .sh("echo > /tmp/open && echo open; echo > /tmp/shut || echo shut; exec sleep 600");
        let profile = Profile::load(&bundle, "box", "deny /tmp/shut w,");
        let container = bundle.put("/process/apparmorProfile", json!(profile.name)).start();
        container.wait_for("shut\n");
        let expected = format!("{} (enforce)\n", profile.name);
        assert_eq!(container.proc().read("attr/apparmor/current"), expected);
        assert!(container.output().contains("open\n"), "{}", container.output());
        assert!(!container.proc().inside("/tmp/shut").exists());
    }
}

in_modes! {
    fn an_apparmor_profile_that_is_not_loaded_is_refused_by_name(mode) {
        if !lsm("apparmor") {
            return;
        }
        let bundle = Bundle::new(mode).put("/process/apparmorProfile", json!("urun-test-no-such-profile"));
        bundle.run().refused_naming(&["AppArmor", "urun-test-no-such-profile", "aa-status"]);
        Traces::none_of(&bundle);
    }
}

#[test]
fn a_confined_runtime_that_may_not_gain_privileges_adds_the_profile_to_its_own() {
    if !lsm("apparmor") || only_ours("the others fail") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    let outer = Profile::load(&bundle, "runtime", "");
    let inner = Profile::load(&bundle, "box", "");
    let bundle = bundle.put("/process/apparmorProfile", json!(inner.name));
    bundle.write();
    let runtime = bundle.command(&["create", bundle.id()]);
    let mut confined = Command::new("aa-exec");
    confined.args(["--profile", &outer.name, "--"]).arg(runtime.get_program()).args(runtime.get_args());
    confined.current_dir(bundle.dir());
    bundle.call_command(confined).ok();
    bundle.call(&["start", bundle.id()]).ok();
    let state: serde_json::Value =
        serde_json::from_str(&bundle.call(&["state", bundle.id()]).ok().stdout).unwrap();
    let process = Proc(u32::try_from(state["pid"].as_u64().unwrap()).unwrap());
    let current = process.read("attr/apparmor/current");
    let (names, mode) = current.trim_end().rsplit_once(' ').unwrap();
    let mut names: Vec<&str> = names.split("//&").collect();
    names.sort_unstable();
    assert_eq!((names, mode), (vec![inner.name.as_str(), outer.name.as_str()], "(enforce)"));
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

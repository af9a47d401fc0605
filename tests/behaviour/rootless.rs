//! An ordinary user, with nothing configured.

use crate::common::*;
use serde_json::json;
use std::os::unix::fs::MetadataExt;

in_modes! {
    [rootless_one rootless_range]
    fn the_state_lives_in_the_users_runtime_directory(mode) {
        let bundle = Bundle::new(mode);
        bundle.write();
        let mut command = bundle.command(&[]);
        command = rebuilt(command, &["run", "-d", bundle.id()]);
        bundle.call_command(command).ok();
        let name = match subject().0 {
            Subject::Urun => "urun",
            Subject::Crun => "crun",
            Subject::Runc => "runc",
        };
        let state = bundle.scratch().join("run").join(name);
        assert_eq!(std::fs::metadata(&state).unwrap().uid(), mode.caller().0);
        let command = rebuilt(bundle.command(&[]), &["delete", "--force", bundle.id()]);
        bundle.call_command(command).ok();
    }
}

/// The same caller and environment without `--root`.
fn rebuilt(command: std::process::Command, args: &[&str]) -> std::process::Command {
    use std::os::unix::process::CommandExt;
    let mut fresh = std::process::Command::new(command.get_program());
    fresh.env_clear().current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        fresh.env(name, value.unwrap());
    }
    let owner = std::fs::metadata(command.get_current_dir().unwrap()).unwrap();
    fresh.uid(owner.uid()).gid(owner.gid()).args(args);
    fresh
}

in_modes! {
    [rootless_one rootless_range]
    fn root_inside_owns_what_the_user_owns_outside(mode) {
        let bundle = Bundle::new(mode).sh("stat -c %u:%g /bin/busybox; echo mine > /root/file");
        assert_eq!(bundle.run().ok().text(), "0:0");
        let file = std::fs::metadata(bundle.rootfs_dir().join("root/file")).unwrap();
        assert_eq!((file.uid(), file.gid()), mode.caller());
    }
}

in_modes! {
    [rootless_range]
    fn another_user_inside_writes_with_a_subordinate_id(mode) {
        let bundle = Bundle::new(mode).sh("echo x > /tmp/file && chown 1000:1000 /tmp/file");
        bundle.run().ok();
        let file = std::fs::metadata(bundle.rootfs_dir().join("tmp/file")).unwrap();
        assert_eq!((file.uid(), file.gid()), (mode.host_uid(1000), mode.host_gid(1000)));
    }
}

in_modes! {
    [rootless_one rootless_range]
    fn there_is_no_cgroup_where_the_user_has_none(mode) {
        if mode.cgroups() {
            return; // the user has one
        }
        let container = Bundle::new(mode).start();
        let own = Proc(std::process::id());
        assert_eq!(container.proc().cgroup(""), own.cgroup(""));
    }
}

in_modes! {
    [rootless_one rootless_range root_in_userns]
    fn a_limit_that_cannot_be_set_is_an_error_and_not_ignored(mode) {
        if mode.cgroups() || only_ours("crun ignores it on v1") {
            return;
        }
        let bundle = Bundle::new(mode).put("/linux/resources", json!({"pids": {"limit": 10}}));
        bundle.run().refused_naming(&["cgroup"]);
        Traces::none_of(&bundle);
    }
}

#[test]
fn the_manager_of_the_user_makes_a_scope_with_limits() {
    let mode = Mode::RootlessRange;
    if !mode.cgroups() {
        return; // the tests before this one
    }
    let limits = json!({"pids": {"limit": 17}, "memory": {"limit": 67_108_864}, "cpu": {"quota": 50_000, "period": 100_000}});
    let container = Bundle::new(mode).put("/linux/resources", limits).start();
    let cgroup = container.proc().cgroup("");
    let uid = mode.caller().0;
    assert!(cgroup.starts_with(&format!("/user.slice/user-{uid}.slice/user@{uid}.service/")), "{cgroup}");
    assert!(cgroup.contains(&format!("/urun-{}.scope", container.id())), "{cgroup}");
    let dir = cgroup_dir("", &cgroup).unwrap();
    for (file, expected) in [("pids.max", "17"), ("memory.max", "67108864"), ("cpu.max", "50000 100000")] {
        assert_eq!(std::fs::read_to_string(dir.join(file)).unwrap().trim(), expected, "{file}");
    }
    container.delete(&["--force"]).ok();
    Traces::none_of(container.bundle());
}

in_modes! {
    [rootless_one rootless_range]
    fn empty_and_zero_resources_are_no_limits(mode) {
        let resources = json!({"memory": {}, "cpu": {"shares": 0}, "blockIO": {}, "devices": [{"allow": false, "access": "rwm"}]});
        if only_ours("others try the devices") {
            return;
        }
        Bundle::new(mode).put("/linux/resources", resources).run().ok();
    }
}

in_modes! {
    [rootless_one rootless_range]
    fn without_a_user_namespace_in_the_configuration_the_user_gets_one(mode) {
        if only_ours("crun does the same, runc refuses") {
            return;
        }
        let bundle = Bundle::new(mode).namespace("user", None).with(|config| {
            let linux = config["linux"].as_object_mut().unwrap();
            linux.remove("uidMappings");
            linux.remove("gidMappings");
        });
        let container = bundle.start();
        let (uids, gids) = mode.maps();
        assert_eq!(container.proc().map("uid_map")[0], uids[0]);
        assert_eq!(container.proc().map("gid_map")[0], gids[0]);
    }
}

in_modes! {
    [rootless_one rootless_range]
    fn nothing_of_another_user_becomes_readable(mode) {
        let bundle = Bundle::new(mode);
        let secret = bundle.scratch().file("secret", "root's\n", (0, 0), 0o600);
        let bundle = bundle.mount("bind", secret, "/mnt/secret", &["bind"]).args(["cat", "/mnt/secret"]);
        assert_ne!(bundle.run().code, 0);
    }
}

in_modes! {
    [rootless_one rootless_range]
    fn the_binary_cannot_be_written_from_inside(mode) {
        if only_ours("read through the program's own link") {
            return;
        }
        let bundle = Bundle::new(mode).args(["/proc/self/exe", "--version"]);
        // Whatever it runs, it must not be a descriptor of the runtime that can be written.
        let before = std::fs::read(subject().1).unwrap().len();
        bundle.run();
        assert_eq!(std::fs::read(subject().1).unwrap().len(), before);
    }
}

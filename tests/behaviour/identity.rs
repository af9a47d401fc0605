//! Who the process is: ids, groups, umask, directory, environment, limits, scheduling.

use crate::common::*;
use serde_json::json;

/// The bit of SIGPIPE in the masks of `/proc/PID/status`.
const SIGPIPE: u64 = 1 << 12;

in_modes! {
    [root root_userns root_in_userns rootless_range]
    fn ids_and_groups_are_those_of_the_configuration(mode) {
        if mode.rootless() && subject().0 == Subject::Runc {
            return; // a limit of runc 1.1
        }
        let bundle = Bundle::new(mode).user(1000, 3000).put("/process/user/additionalGids", json!([2000, 4000]));
        let container = bundle.start();
        assert_eq!(container.proc().numbers("Uid"), [mode.host_uid(1000); 4]);
        assert_eq!(container.proc().numbers("Gid"), [mode.host_gid(3000); 4]);
        let mut groups = container.proc().numbers("Groups");
        groups.sort_unstable();
        assert_eq!(groups, [mode.host_gid(2000), mode.host_gid(4000)]);
    }
}

in_modes! {
    fn no_group_of_the_caller_is_left(mode) {
        let container = Bundle::new(mode).start();
        assert_eq!(container.proc().numbers("Groups"), Vec::<u32>::new());
    }
}

in_modes! {
    fn the_umask_is_0022_unless_another_is_given(mode) {
        let container = Bundle::new(mode).start();
        assert_eq!(container.proc().status("Umask"), "0022");
        let container = Bundle::new(mode).put("/process/user/umask", json!(0o077)).start();
        assert_eq!(container.proc().status("Umask"), "0077");
    }
}

in_modes! {
    fn the_working_directory_is_entered_and_made_where_it_is_missing(mode) {
        let container = Bundle::new(mode).put("/process/cwd", json!("/home")).start();
        assert_eq!(std::fs::read_link(container.proc().path("cwd")).unwrap(), std::path::Path::new("/home"));
        let output = Bundle::new(mode).put("/process/cwd", json!("/srv/new/deep")).args(["pwd"]).run().ok();
        assert_eq!(output.text(), "/srv/new/deep");
    }
}

in_modes! {
    [root root_userns]
    fn a_directory_that_only_the_user_may_enter_is_entered(mode) {
        use std::os::unix::fs::{DirBuilderExt, chown};
        let bundle = Bundle::new(mode).user(1000, 1000).put("/process/cwd", json!("/home/mine"));
        let home = bundle.rootfs_dir().join("home/mine");
        std::fs::DirBuilder::new().mode(0o700).create(&home).unwrap();
        chown(&home, Some(mode.host_uid(1000)), Some(mode.host_gid(1000))).unwrap();
        assert_eq!(bundle.args(["pwd"]).run().ok().text(), "/home/mine");
    }
}

#[test]
fn a_working_directory_outside_the_container_is_refused() {
    for cwd in ["/proc/self/fd/3", "/proc/self/fd/7", "/proc/self/fd/8", "/proc/self/cwd"] {
        let output = Bundle::new(Mode::Root).put("/process/cwd", json!(cwd)).sh("pwd; ls /bin/busybox").run();
        // Either there is no such directory, or it is inside.
        assert!(output.code != 0 || output.stdout.contains("/bin/busybox"), "{cwd}: {output:?}");
    }
}

#[test]
fn a_relative_working_directory_is_refused_with_its_place() {
    Bundle::new(Mode::Root).put("/process/cwd", json!("home")).run().refused_naming(&["process.cwd"]);
}

in_modes! {
    fn the_environment_is_the_configurations_and_home_is_added(mode) {
        let container = Bundle::new(mode).env("LEAK", "1").put("/process/env/-", json!("COLOUR=blue")).start();
        let env = container.proc().env();
        assert!(env.contains(&"COLOUR=blue".to_owned()), "{env:?}");
        assert!(env.contains(&"HOME=/root".to_owned()), "{env:?}");
        for leak in ["LEAK", "XDG_RUNTIME_DIR", "_OCI"] {
            assert!(!env.iter().any(|v| v.starts_with(leak)), "{env:?}");
        }
    }
}

#[test]
fn home_comes_from_the_images_passwd_by_number_only() {
    let passwd =
        "root:x:0:0::/root:/bin/sh\n1000:x:0:0::/evil:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n";
    let bundle = Bundle::new(Mode::Root)
        .user(1000, 1000)
        .rootfs(|root| std::fs::write(root.join("etc/passwd"), passwd).unwrap());
    let container = bundle.start();
    assert_eq!(container.proc().numbers("Uid"), [1000; 4]);
    assert!(container.proc().env().contains(&"HOME=/home/user".to_owned()), "{:?}", container.proc().env());
}

in_modes! {
    [root root_userns rootless_range]
    fn home_is_the_root_directory_for_a_user_that_the_image_does_not_know(mode) {
        let container = Bundle::new(mode).user(4242, 0).start();
        assert!(container.proc().env().contains(&"HOME=/".to_owned()), "{:?}", container.proc().env());
    }
}

in_modes! {
    fn a_given_home_is_left_alone(mode) {
        let env = Bundle::new(mode).put("/process/env/-", json!("HOME=/elsewhere")).start().proc().env();
        assert_eq!(env.iter().filter(|v| v.starts_with("HOME=")).collect::<Vec<_>>(), ["HOME=/elsewhere"]);
    }
}

in_modes! {
    fn limits_are_lowered(mode) {
        let limits = json!([
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        ]);
        let container = Bundle::new(mode).put("/process/rlimits", limits).start();
        assert_eq!(container.proc().limit("Max open files"), ("100".into(), "200".into()));
        assert_eq!(container.proc().limit("Max core file size"), ("0".into(), "0".into()));
    }
}

#[test]
fn raising_a_hard_limit_takes_the_capability_and_says_so() {
    let now = Proc(std::process::id()).limit("Max locked memory").1;
    let Ok(now) = now.parse::<u64>() else { return };
    let limits = json!([{"type": "RLIMIT_MEMLOCK", "soft": now + 4096, "hard": now + 4096}]);
    let bundle = Bundle::new(Mode::RootUserns).put("/process/rlimits", limits);
    if has_cap_sys_resource() {
        let container = bundle.start();
        assert_eq!(container.proc().limit("Max locked memory").1, (now + 4096).to_string());
    } else {
        bundle.run().refused_naming(&["RLIMIT_MEMLOCK", "Operation not permitted"]);
        Traces::none_of(&bundle);
    }
}

#[test]
fn unknown_and_repeated_limits_are_refused_with_their_place() {
    let unknown = json!([{"type": "RLIMIT_JOY", "soft": 1, "hard": 1}]);
    Bundle::new(Mode::Root)
        .put("/process/rlimits", unknown)
        .run()
        .refused_naming(&["process.rlimits[0]", "RLIMIT_JOY"]);
    if only_ours("crun applies the last") {
        return;
    }
    let core = json!({"type": "RLIMIT_CORE", "soft": 0, "hard": 0});
    Bundle::new(Mode::Root)
        .put("/process/rlimits", json!([core, core]))
        .run()
        .refused_naming(&["process.rlimits[1]"]);
}

in_modes! {
    fn the_oom_score_is_raised_for_everybody(mode) {
        let container = Bundle::new(mode).put("/process/oomScoreAdj", json!(777)).start();
        assert_eq!(container.proc().read("oom_score_adj").trim(), "777");
    }
}

in_modes! {
    fn the_oom_score_is_left_alone_where_none_is_given(mode) {
        let own = Proc(std::process::id()).read("oom_score_adj");
        assert_eq!(Bundle::new(mode).start().proc().read("oom_score_adj"), own);
    }
}

#[test]
fn lowering_the_oom_score_takes_the_capability_and_says_so() {
    let bundle = Bundle::new(Mode::RootUserns).put("/process/oomScoreAdj", json!(-500));
    if has_cap_sys_resource() {
        assert_eq!(bundle.start().proc().read("oom_score_adj").trim(), "-500");
    } else {
        bundle.run().refused_naming(&["oom"]);
        Traces::none_of(&bundle);
    }
}

#[test]
fn the_scheduler_is_set() {
    if only_ours("OCI 1.1") {
        return;
    }
    let container = Bundle::new(Mode::RootUserns)
        .put("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 7}))
        .start();
    let stat = container.proc().read("stat");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // Fields 19 and 41 of proc(5), counted from the third.
    assert_eq!((fields[16], fields[38]), ("7", "3"));
}

#[test]
fn the_io_priority_is_set() {
    if only_ours("OCI 1.1") {
        return;
    }
    let priority = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
    let container = Bundle::new(Mode::RootUserns).put("/process/ioPriority", priority).start();
    let output =
        std::process::Command::new("ionice").arg("-p").arg(container.proc().0.to_string()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "best-effort: prio 6");
}

in_modes! {
    fn the_personality_is_set(mode) {
        if subject().0 == Subject::Runc {
            return; // since runc 1.2
        }
        let bundle = Bundle::new(mode).put("/linux/personality", json!({"domain": "LINUX32"}));
        assert_eq!(bundle.args(["uname", "-m"]).run().ok().text(), "i686");
    }
}

#[test]
fn the_memory_policy_is_set() {
    if only_ours("OCI 1.3") {
        return;
    }
    let policy = json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"});
    let container = Bundle::new(Mode::RootUserns)
        .put("/linux/memoryPolicy", policy)
        .put("/ociVersion", json!("1.3.0"))
        .start();
    assert!(
        container.proc().read("numa_maps").contains("interleave:0"),
        "{}",
        container.proc().read("numa_maps")
    );
}

#[test]
fn a_narrow_affinity_of_the_caller_is_not_inherited() {
    if subject().0 == Subject::Runc {
        return; // later versions
    }
    let all = Proc(std::process::id()).status("Cpus_allowed_list");
    let bundle = Bundle::new(Mode::RootUserns);
    bundle.write();
    let inner = bundle.command(&["create", bundle.id()]);
    let mut narrow = std::process::Command::new("taskset");
    narrow
        .args(["--cpu-list", "0"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(bundle.dir());
    narrow.env("XDG_RUNTIME_DIR", bundle.scratch().join("run"));
    bundle.call_command(narrow).ok();
    let state: serde_json::Value =
        serde_json::from_str(&bundle.call(&["state", bundle.id()]).ok().stdout).unwrap();
    let pid = u32::try_from(state["pid"].as_u64().unwrap()).unwrap();
    assert_eq!(Proc(pid).status("Cpus_allowed_list"), all);
}

in_modes! {
    fn the_session_keyring_is_new(mode) {
        let container = Bundle::new(mode).put("/linux/maskedPaths", json!([])).sh("cat /proc/keys; exec sleep 600").start();
        crate::common::wait_until("it runs", || container.proc().read("cmdline").starts_with("sleep"));
        assert!(container.output().contains(container.id()), "{}", container.output());
    }
}

in_modes! {
    fn no_new_privileges_is_set_and_only_where_asked(mode) {
        let container = Bundle::new(mode).start();
        assert_eq!(container.proc().status("NoNewPrivs"), "1");
        let container = Bundle::new(mode).put("/process/noNewPrivileges", json!(false)).start();
        assert_eq!(container.proc().status("NoNewPrivs"), "0");
    }
}

in_modes! {
    fn the_process_leads_its_own_session_and_group(mode) {
        let container = Bundle::new(mode).start();
        let stat = container.proc().read("stat");
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let pid = container.proc().0.to_string();
        assert_eq!((fields[2], fields[3]), (pid.as_str(), pid.as_str()));
    }
}

in_modes! {
    fn signals_are_neither_blocked_nor_ignored(mode) {
        let container = Bundle::new(mode).start();
        assert_eq!(container.proc().status("SigBlk"), "0000000000000000");
        // Whatever the test itself was started with is inherited, as execve(2) has it.
        let own = Proc(std::process::id());
        let bits = |process: Proc| u64::from_str_radix(&process.status("SigIgn"), 16).unwrap();
        assert_eq!(bits(container.proc()) & (!bits(own) | SIGPIPE), 0);
    }
}

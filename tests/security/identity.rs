//! Who a container, and who the runtime itself, takes itself for (SEC-30 to SEC-46).

use crate::common::{Bundle, Mode, Proc, Traces, in_modes, only_ours, set_mode, subject};
use serde_json::json;
use std::os::unix::process::CommandExt;

in_modes! {
    /// CVE-2016-3697: a user of the image who is *named* like a number.
    [root root_userns root_in_userns rootless_range]
    fn sec_30_a_number_is_never_a_name(mode) {
        let container = Bundle::new(mode)
            .rootfs(|root| std::fs::write(root.join("etc/passwd"), "1000:x:0:0::/evil:/bin/sh\nroot:x:0:0::/root:/bin/sh\n").unwrap())
            .user(1000, 1000)
            .start();
        assert_eq!(container.proc().numbers("Uid"), [mode.host_uid(1000); 4]);
        assert_eq!(container.proc().numbers("Gid"), [mode.host_gid(1000); 4]);
        assert!(!container.proc().env().iter().any(|entry| entry == "HOME=/evil"));
    }
}

in_modes! {
    /// CVE-2026-15809, and files of the image that never end: runc 1.1.5 waits for ever for a writer of the named pipe.
    fn sec_33_a_hostile_passwd_neither_hangs_nor_injects(mode) {
        type Make = fn(&std::path::Path);
        let cases: [Make; 4] = [
            |file| nix::unistd::mkfifo(file, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            |file| std::os::unix::fs::symlink("/dev/zero", file).unwrap(),
            |file| std::fs::File::create(file).unwrap().set_len(1 << 40).unwrap(),
            |file| std::fs::write(file, "root:x:0:0::/ho\u{1}me\\nEVIL=1:/bin/sh\n").unwrap(),
        ];
        for make in cases {
            let bundle = Bundle::new(mode)
                .rootfs(|root| {
                    std::fs::remove_file(root.join("etc/passwd")).unwrap();
                    make(&root.join("etc/passwd"));
                })
                .args(["env"]);
            let output = bundle.run();
            assert_eq!(output.code, 0, "{output:?}");
            assert!(!output.stdout.lines().any(|line| line.starts_with("EVIL")), "{output:?}");
        }
    }
}

in_modes! {
    /// CVE-2014-8989: who may map nothing but itself must not shed a group that denies it access.
    [rootless_one]
    fn sec_34_groups_cannot_be_shed_without_the_right(mode) {
        let container = Bundle::new(mode).start();
        assert_eq!(container.proc().read("setgroups").trim(), "deny");
        Bundle::new(mode).put("/process/user/additionalGids", json!([5])).run().refused("additionalGids");
    }
}

#[test]
fn sec_44_a_recycled_pid_is_never_killed() {
    if only_ours("the record is our own") {
        return;
    }
    let container = Bundle::new(Mode::RootUserns).start();
    let mut bystander = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let path = container.bundle().state_root().join(container.id()).join("state.json");
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    record["init"]["pid"] = json!(bystander.id());
    std::fs::write(&path, record.to_string()).unwrap();
    let id = container.id();
    let verbs = [
        &["kill", id, "KILL"][..],
        &["kill", "--all", id, "KILL"],
        &["start", id],
        &["pause", id],
        &["exec", id, "true"],
        &["delete", id],
        &["delete", "--force", id],
    ];
    for verb in verbs {
        container.bundle().call(verb);
        let stat = Proc(bystander.id()).read("status");
        assert!(stat.contains("State:\tS"), "{verb:?} has stopped a process that is none of its own");
        assert!(
            bystander.try_wait().unwrap().is_none(),
            "{verb:?} has ended a process that is none of its own"
        );
    }
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

/// PATH must not let a directory of the caller's choice write the id maps (runc 9258eac07).
#[test]
fn sec_45_map_tools_of_a_relative_path_are_passed_over() {
    let bundle = Bundle::new(Mode::RootlessRange).args(["true"]);
    for name in ["newuidmap", "newgidmap"] {
        let path = bundle.dir().join(name);
        std::fs::write(
            &path,
            format!("#!/bin/sh\necho >{}/evil\n", bundle.scratch().dir("mark", (0, 0), 0o777).display()),
        )
        .unwrap();
        set_mode(&path, 0o755);
    }
    let bundle = bundle.env("PATH", ".::bin:/usr/bin:/bin");
    bundle.run().ok();
    assert!(!bundle.scratch().join("mark/evil").exists());
}

/// CVE-2020-5291 and its kin: a setuid installation would make everybody root.
#[test]
fn sec_46_a_setuid_installation_refuses_to_work_for_others() {
    if only_ours("their own affair") {
        return;
    }
    let bundle = Bundle::new(Mode::Root);
    for bits in [0o4755, 0o2755] {
        let copy = bundle.scratch().join(format!("urun-{bits:o}"));
        crate::common::copy_program(&subject().1, &copy);
        set_mode(&copy, bits);
        let mut command = std::process::Command::new(&copy);
        command.arg("--version").uid(12345).gid(12345);
        let output = bundle.call_command(command);
        output.refused("chmod ug-s");
    }
}

in_modes! {
    /// A caller that ignores SIGCHLD has its children reaped by the kernel; the runtime must still hear how its own ended.
    fn sec_46_what_the_caller_ignores_and_closes_does_no_harm(mode) {
        let bundle = Bundle::new(mode).args(["sh", "-c", "exit 7"]);
        bundle.write();
        let mut command = bundle.command(&["run", bundle.id()]);
        // SAFETY: signal and close are safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGCHLD, libc::SIG_IGN);
                for fd in 0..3 {
                    libc::close(fd);
                }
                Ok(())
            });
        }
        assert_eq!(bundle.call_command(command).code, 7);
        Traces::none_of(&bundle);
    }
}

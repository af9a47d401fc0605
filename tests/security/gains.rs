//! Programs of the image that mean to give their process more than it was given (SEC-22, SEC-31, SEC-36), and annotations that
//! mean to make the runtime do something (SEC-60).

use crate::{
    canary::Canary,
    common::{Bundle, Container, Mode, Proc, Traces, in_modes, set_mode, wait_until},
};
use serde_json::json;
use std::{ffi::CString, os::unix::ffi::OsStrExt, path::Path, process::Command};

/// `CAP_KILL`, which is all that the tests put into the bounding set.
const KILL: &str = "0000000000000020";
const NONE: &str = "0000000000000000";

/// Programs that have a set-user-ID bit, capabilities, capabilities to be inherited.
const PROGRAMS: [&str; 3] = ["setuid", "capable", "inheriting"];

fn plant(root: &Path, mode: Mode) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/security/gains.c");
    let plain = root.join("bin/plain");
    assert!(
        Command::new("gcc")
            .args(["-O2", "-static", "-o"])
            .arg(&plain)
            .arg(source)
            .status()
            .unwrap()
            .success()
    );
    for name in PROGRAMS {
        std::fs::copy(&plain, root.join("bin").join(name)).unwrap();
    }
    let setuid = root.join("bin/setuid");
    let (uid, gid) = mode.owner();
    std::os::unix::fs::chown(&setuid, Some(uid), Some(gid)).unwrap();
    set_mode(&setuid, 0o4755);
    // CAP_NET_RAW, capabilities(7): permitted and effective, or inheritable.
    const NET_RAW: u32 = 1 << 13;
    set_capabilities(&root.join("bin/capable"), [0x0200_0001, NET_RAW, 0, 0, 0]);
    set_capabilities(&root.join("bin/inheriting"), [0x0200_0001, 0, NET_RAW, 0, 0]);
}

fn set_capabilities(file: &Path, words: [u32; 5]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let file = CString::new(file.as_os_str().as_bytes()).unwrap();
    // SAFETY: the strings end with a NUL and the length is that of the bytes.
    let result = unsafe {
        libc::setxattr(file.as_ptr(), c"security.capability".as_ptr(), bytes.as_ptr().cast(), bytes.len(), 0)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// A container whose image has the programs and whose bounding set is [`KILL`].
fn bundle(mode: Mode, no_new_privileges: bool) -> Bundle {
    let bundle = Bundle::new(mode)
        .put("/process/capabilities", json!({"bounding": ["CAP_KILL"]}))
        .put("/process/noNewPrivileges", json!(no_new_privileges));
    // Now, because a change of owner takes what is planted.
    plant(&bundle.rootfs_dir(), mode);
    bundle
}

/// Nothing but what the bounding set and a set-user-ID bit may give.
fn has_only(process: Proc, mode: Mode, program: &str, no_new_privileges: bool) {
    let gains = program == "setuid" && !no_new_privileges;
    let (user, root) = (mode.host_uid(1000), mode.host_uid(0));
    let ids = if gains { [user, root, root, root] } else { [user; 4] };
    assert_eq!(process.numbers("Uid"), ids, "{program}");
    let powers = if gains { KILL } else { NONE };
    for (set, expected) in
        [("CapInh", NONE), ("CapPrm", powers), ("CapEff", powers), ("CapBnd", KILL), ("CapAmb", NONE)]
    {
        assert_eq!(process.caps(set), expected, "{program}, {set}, no_new_privs {no_new_privileges}");
    }
    assert_eq!(process.status("NoNewPrivs"), u32::from(no_new_privileges).to_string(), "{program}");
}

in_modes! {
    /// CVE-2016-8867, CVE-2022-29162, CVE-2025-27612: nothing is inherited, so a program with capabilities has none to take up.
    [root root_userns root_in_userns rootless_range]
    fn sec_31_no_program_of_the_image_gives_more_than_the_bounding_set(mode) {
        for no_new_privileges in [true, false] {
            for program in PROGRAMS {
                let bundle = bundle(mode, no_new_privileges).args([&format!("/bin/{program}")]).user(1000, 1000);
                if bundle.try_create(&[]).code == 0 {
                    let pid = serde_json::from_str::<serde_json::Value>(&bundle.call(&["state", bundle.id()]).ok().stdout).unwrap()["pid"].as_u64().unwrap();
                    // The kernel does not execute a program that wants what the bounding set lacks.
                    if bundle.call(&["start", bundle.id()]).code == 0 {
                        let process = Proc(u32::try_from(pid).unwrap());
                        wait_until("the program runs", || std::fs::read_link(process.path("exe")).is_ok_and(|exe| exe.ends_with(program)));
                        has_only(process, mode, program, no_new_privileges);
                    } else {
                        assert_eq!(program, "capable");
                    }
                }
            }
        }
    }
}

in_modes! {
    /// The same for exec, whose flags add capabilities: none of them may be inherited.
    [root root_userns root_in_userns rootless_range]
    fn sec_31_exec_adds_nothing_that_is_inherited(mode) {
        for no_new_privileges in [true, false] {
            let container = bundle(mode, no_new_privileges).args(["/bin/plain"]).start();
            for program in PROGRAMS {
                if let Some(process) = entered(&container, &["--user", "1000:1000"], &format!("/bin/{program}")) {
                    has_only(process, mode, program, no_new_privileges);
                } else {
                    assert_eq!(program, "capable");
                }
            }
            let process = entered(&container, &["--user", "1000:1000", "--cap", "CAP_NET_RAW"], "/bin/inheriting").unwrap();
            for set in ["CapInh", "CapAmb", "CapPrm", "CapEff"] {
                assert_eq!(process.caps(set), NONE, "{set}");
            }
        }
    }
}

/// The process of a detached exec, where it could be executed.
fn entered(container: &Container, flags: &[&str], program: &str) -> Option<Proc> {
    let bundle = container.bundle();
    let file = bundle
        .scratch()
        .dir("pids", bundle.mode().caller(), 0o755)
        .join(format!("pid{}", program.replace('/', "-")));
    let _ = std::fs::remove_file(&file);
    let path = file.display().to_string();
    let arguments = [&["exec", "--detach", "--pid-file", &path], flags, &[container.id(), program]].concat();
    (bundle.call(&arguments).code == 0)
        .then(|| Proc(std::fs::read_to_string(&file).unwrap().trim().parse().unwrap()))
}

in_modes! {
    fn sec_36_no_securebits_are_handed_on(mode) {
        let container = bundle(mode, true).args(["/bin/plain"]).start();
        container.wait_for("securebits");
        assert_eq!(container.output().trim(), "securebits 0");
    }
}

in_modes! {
    /// A filter that ends whoever closes a range of descriptors: they are closed before it is there.
    fn sec_22_a_filter_on_close_range_keeps_no_descriptor_open(mode) {
        let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["close_range", "close"], "action": "SCMP_ACT_KILL_PROCESS"}]});
        let container = bundle(mode, true).put("/linux/seccomp", filter).args(["/bin/plain"]).start();
        assert_eq!(container.proc().fds(), [0, 1, 2]);
    }
}

in_modes! {
    /// CVE-2024-3154 and others: texts of users in annotations, under the names that a runtime listens to.
    fn sec_60_annotations_execute_nothing(mode) {
        let names = ["io.urun.userns", "io.urun.mounts", "io.urun.hardened", "io.urun.version", "run.oci.handler", "run.oci.hooks",
                     "run.oci.systemd.subgroup", "run.oci.delegate-cgroup", "run.oci.mount_context_type", "run.oci.keep_original_groups",
                     "run.oci.seccomp.receiver", "run.oci.pidfd_receiver", "org.criu.config", "module.wasm.image/variant", "bundle",
                     "org.systemd.property.FailureAction", "org.systemd.property.ExecStopPost"];
        let bundle = Bundle::new(mode);
        let canary = Canary::new(&bundle);
        let file = canary.join("evil").display().to_string();
        let values = [format!("/bin/touch {file}"), format!("$(touch {file})"), format!("`touch {file}`"), format!("|touch {file}"),
                      file.clone(), format!("../../../../../../../..{file}"), "a\u{0}b".to_owned(), "\n".to_owned(), "x".repeat(5000)];
        let mut bundle = bundle.sh("true");
        for (at, name) in names.iter().enumerate() {
            // Each name with a third of the values in each mode: the rounds are bounded.
            for value in values.iter().skip(at % 3).step_by(3) {
                bundle = bundle.put("/annotations", json!({*name: value}));
                bundle.run();
                canary.is_untouched();
                Traces::none_of(&bundle);
            }
        }
    }
}

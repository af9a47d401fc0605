//! What a program of the image may win by its file's bits and capabilities, and what is in force on it (SEC-31, SEC-35, SEC-36).

use crate::{
    common::{Bundle, Container, DEFAULT_CAPS, Proc, caps, in_modes, set_mode, wait_until},
    probe,
};
use serde_json::json;
use std::{ffi::CString, os::unix::ffi::OsStrExt, path::Path};

const NET_RAW: u32 = 1 << 13;

/// Gives a file CAP_NET_RAW, permitted and effective or inheritable and effective, by a user namespace whose root is `root`
/// (`struct vfs_ns_cap_data` of linux/capability.h).
fn file_capability(path: &Path, inheritable: bool, root: u32) {
    let (permitted, inherited) = if inheritable { (0, NET_RAW) } else { (NET_RAW, 0) };
    // VFS_CAP_REVISION_3 with VFS_CAP_FLAGS_EFFECTIVE
    let data: Vec<u8> = [0x0300_0001, permitted, inherited, 0, 0, root]
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect();
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: both texts end with a NUL and the length is the data's.
    let ret = unsafe {
        libc::setxattr(path.as_ptr(), c"security.capability".as_ptr(), data.as_ptr().cast(), data.len(), 0)
    };
    assert_eq!(ret, 0, "{}", std::io::Error::last_os_error());
}

/// Programs that would give more: by capabilities that are permitted, by ones that are inheritable, by root's setuid bit.
const PROGRAMS: [&str; 3] = ["probe-permitted", "probe-inheritable", "probe-setuid"];

fn image(bundle: Bundle) -> Bundle {
    let mode = bundle.mode();
    let bundle = bundle.rootfs(|root| {
        for name in PROGRAMS {
            probe::put(root);
            std::fs::copy(root.join("bin/probe"), root.join("bin").join(name)).unwrap();
        }
    });
    // After the change of owners, which takes all of these away.
    let bin = bundle.rootfs_dir().join("bin");
    file_capability(&bin.join(PROGRAMS[0]), false, mode.host_uid(0));
    file_capability(&bin.join(PROGRAMS[1]), true, mode.host_uid(0));
    set_mode(&bin.join(PROGRAMS[2]), 0o4755);
    bundle
}

/// What the kernel enforces on `process` once it is `program`.
#[track_caller]
fn has(process: Proc, program: &str, bound: bool, extra: u64) {
    let mode_uid = process.numbers("Uid");
    let set = |name: &str| u64::from_str_radix(&process.caps(name), 16).unwrap();
    assert_eq!([set("CapInh"), set("CapAmb")], [0, 0], "{program}");
    let permitted = match program {
        "probe-permitted" if !bound => u64::from(NET_RAW),
        "probe-setuid" if !bound => set("CapBnd"),
        _ => 0,
    };
    assert_eq!(
        set("CapPrm") & !extra,
        permitted & !extra,
        "{program}, no_new_privs {bound}, ids {mode_uid:?}"
    );
    assert_eq!(mode_uid[0] == mode_uid[1], bound || program != "probe-setuid", "{program}: {mode_uid:?}");
}

/// The process of an `exec` that goes on in the background.
fn entered(container: &Container, flags: &[&str], program: &[&str]) -> Proc {
    let file = container.bundle().dir().join("entered.pid");
    let _ = std::fs::remove_file(&file);
    let text = file.to_str().unwrap();
    let fixed = ["exec", "--detach", "--pid-file", text];
    container.bundle().call(&[&fixed, flags, &[container.id()], program].concat()).ok();
    let process = Proc(std::fs::read_to_string(&file).unwrap().trim().parse().unwrap());
    wait_until("the program runs", || {
        std::fs::read_link(process.path("exe")).is_ok_and(|exe| exe.ends_with(program[0]))
    });
    process
}

in_modes! {
    /// CVE-2022-29162 and its kin, CVE-2025-27612: capabilities that are inheritable come true by a file of the image.
    [root root_userns root_in_userns rootless_range]
    fn sec_31_a_file_gives_what_it_may_and_nothing_by_inheritance(mode) {
        for bound in [true, false] {
            for program in PROGRAMS {
                let bundle = image(Bundle::new(mode)).user(1000, 1000).put("/process/noNewPrivileges", json!(bound));
                // Within the bounds and otherwise nothing: what the process has before it executes the file it would keep.
                let bundle = bundle.put("/process/capabilities", json!({"bounding": DEFAULT_CAPS}));
                let container = bundle.args([program, "wait"]).create();
                container.call("start", &[]).ok();
                let exe = container.proc().path("exe");
                wait_until("the program runs", || std::fs::read_link(&exe).is_ok_and(|exe| exe.ends_with(program)));
                has(container.proc(), program, bound, 0);
                has(entered(&container, &[], &[program, "wait"]), program, bound, 0);
                // Given to the process itself, and neither inheritable nor ambient for that.
                has(entered(&container, &["--cap", "CAP_NET_RAW"], &[program, "wait"]), program, bound, u64::from(NET_RAW));
            }
        }
    }
}

in_modes! {
    /// The guards that the configuration asks for are the ones in force, for who is born inside and who comes later.
    fn sec_35_the_guards_in_force_are_those_that_were_asked_for(mode) {
        for (bound, filtered) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut bundle = Bundle::new(mode).put("/process/noNewPrivileges", json!(bound));
            if filtered {
                let rule = json!([{"names": ["keyctl"], "action": "SCMP_ACT_ERRNO"}]);
                bundle = bundle.put("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rule}));
            }
            let container = bundle.start();
            // An error where no security module is active.
            let label = |process: Proc| std::fs::read_to_string(process.path("attr/current")).ok();
            for process in [container.proc(), entered(&container, &[], &["busybox", "sleep", "100"])] {
                assert_eq!(process.status("NoNewPrivs"), u8::from(bound).to_string());
                assert_eq!(process.filters(), u32::from(filtered));
                // Nobody asked for a label: it is the one of whoever called.
                assert_eq!(label(process), label(Proc(std::process::id())));
            }
        }
    }
}

in_modes! {
    /// Securebits left over from the change of ids would change what every setuid program and every change of ids means.
    fn sec_36_there_are_no_securebits(mode) {
        let users: &[u32] = if mode.many_ids() { &[0, 1000] } else { &[0] };
        for &user in users {
            let bundle = Bundle::new(mode).rootfs(probe::put).user(user, user).put("/process/capabilities", caps(&["CAP_KILL"]));
            assert_eq!(bundle.args(["probe", "securebits"]).run().ok().text(), "securebits 0", "user {user}");
            let container = Bundle::new(mode).rootfs(probe::put).user(user, user).start();
            for flags in [&[][..], &["--cap", "CAP_NET_RAW"]] {
                let call = [&["exec"], flags, &[container.id(), "probe", "securebits"]].concat();
                assert_eq!(container.bundle().call(&call).ok().text(), "securebits 0", "user {user}, {flags:?}");
            }
        }
    }
}

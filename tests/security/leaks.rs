//! What of the host could be found in a container: descriptors, directories, the runtime's own file, its memory, the
//! surroundings of hooks (SEC-20 to SEC-25, SEC-90).

use crate::common::{Bundle, CAPABILITIES, Proc, Subject, Traces, caps, in_modes, only_ours, subject};
use crate::exec::attacker;
use nix::sys::statvfs::{FsFlags, statvfs};
use serde_json::{Value, json};
use std::{
    fs::File,
    os::{
        fd::AsRawFd,
        unix::{fs::MetadataExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::Command,
};

/// The pid that `state` tells.
fn pid(bundle: &Bundle) -> Proc {
    let state: Value = serde_json::from_str(&bundle.call(&["state", bundle.id()]).ok().stdout).unwrap();
    Proc(u32::try_from(state["pid"].as_u64().unwrap()).unwrap())
}

/// What a process holds open.
fn held(process: Proc) -> Vec<(u32, String)> {
    let target =
        |fd| std::fs::read_link(process.path("fd").join(fd)).unwrap_or_default().display().to_string();
    process.fds().into_iter().map(|fd| (fd, target(fd.to_string()))).collect()
}

/// Lets the command hold 200 descriptors of the host's root directory that are not close-on-exec.
pub fn leak(command: &mut Command) {
    leak_file(command, "/");
}

/// Lets the command hold 200 descriptors of a file that are not close-on-exec.
pub fn leak_file(command: &mut Command, path: &str) {
    let file = File::open(path).unwrap();
    // SAFETY: dup2 is safe between fork and exec.
    unsafe {
        command.pre_exec(move || {
            for copy in 100..300 {
                if libc::dup2(file.as_raw_fd(), copy) == -1 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
}

/// Fails the test unless the runtime's file is as it was, which it is again for the tests that follow.
#[track_caller]
pub fn is_whole(program: &Path, before: &[u8]) {
    let is_whole = std::fs::read(program).unwrap() == before;
    if !is_whole {
        let new = program.with_extension("new");
        std::fs::write(&new, before).unwrap();
        crate::common::set_mode(&new, 0o755);
        std::fs::rename(&new, program).unwrap();
    }
    assert!(is_whole, "the runtime's file was overwritten");
}

in_modes! {
    /// CVE-2019-5736: a neighbour in a shared pid namespace keeps the runtime's file open across its execve, and writes.
    [root root_userns]
    fn sec_20_the_runtimes_own_file_cannot_be_overwritten(mode) {
        if only_ours("another runtime's file would be the machine's own") {
            return;
        }
        let binary = subject().1;
        let before = std::fs::read(&binary).unwrap();
        // A redirection of exec that fails ends the shell and with it everybody in its pid namespace: tried in a child first.
        let script = "while :; do for p in /proc/[0-9]*; do case $(cat $p/comm 2>&1) in urun*|memfd*|exe|[0-9]*) \
                      (: <$p/exe) 2>&1 && exec 9<$p/exe && touch /held && echo held; while sleep 0.05; do [ -e /go ] && { echo evil >/proc/self/fd/9; \
                      echo evil >>$p/exe; echo tried; sleep 600; }; done;; esac; done; sleep 0.01; done";
        let powers = json!(["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_CHOWN"]);
        let neighbour = Bundle::new(mode)
            .sh(script)
            .with(|config| config["process"]["capabilities"] = json!({"bounding": powers, "effective": powers, "permitted": powers}))
            .start();
        let mut bundle = Bundle::new(mode).args(["/proc/self/exe", "--version"]);
        for kind in if mode.userns() { &["pid", "user"][..] } else { &["pid"] } {
            bundle = bundle.namespace(kind, Some(&neighbour.proc().path("ns").join(kind).display().to_string()));
        }
        let victim = bundle.create();
        // Whoever is root of the host's user namespace may look at any process, others only at what has executed.
        let sees_all = !mode.userns();
        if sees_all {
            neighbour.wait_for("held");
        } else {
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        victim.call("start", &[]);
        std::fs::write(neighbour.bundle().rootfs_dir().join("go"), "").unwrap();
        if sees_all {
            neighbour.wait_for("tried");
        } else {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        is_whole(&binary, &before);
    }
}

in_modes! {
    /// CVE-2019-5736: an image whose program is the runtime itself gets a copy of it, or a file nobody inside may write.
    fn sec_20_an_image_that_executes_the_runtime_cannot_write_to_it(mode) {
        if only_ours("another runtime's file would be the machine's own") {
            return;
        }
        let bundle = Bundle::new(mode)
            .rootfs(|root| {
                let script = root.join("bin/evil");
                std::fs::write(&script, "#!/proc/self/exe\n").unwrap();
                std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            })
            .args(["/bin/evil"]);
        let binary = bundle.command(&[]);
        let program = match binary.get_program().to_str().unwrap() {
            "nsenter" => PathBuf::from(binary.get_args().last().unwrap()).join(".."),
            other => PathBuf::from(other),
        };
        let program = if program.is_file() { program } else { bundle.scratch().join("urun") };
        let before = std::fs::read(&program).unwrap();
        bundle.run();
        let waiting = bundle.args(["/proc/self/exe", "--version"]).create();
        let exe = std::fs::read_link(waiting.proc().path("exe")).unwrap();
        if exe == program {
            let meta = std::fs::metadata(&program).unwrap();
            let mapped = mode.maps().0.iter().any(|[_, host, size]| (*host..host + size).contains(&meta.uid()));
            assert!(!mapped && meta.mode() & 0o022 == 0, "{} is within reach", program.display());
        } else {
            let read_only = statvfs(&waiting.proc().path("exe")).unwrap().flags().contains(FsFlags::ST_RDONLY);
            assert!(read_only || exe.to_string_lossy().contains("memfd:"), "{}", exe.display());
        }
        waiting.call("start", &[]);
        is_whole(&program, &before);
    }
}

in_modes! {
    /// CVE-2019-5736: no call of a neighbour who is root with all that root may do on the host makes the runtime's file writable, as
    /// long as it is executed or after that.
    [root]
    fn sec_20_root_with_every_power_cannot_unlock_the_runtimes_own_file(mode) {
        if only_ours("another runtime's file would be the machine's own") {
            return;
        }
        let binary = subject().1;
        let look = || {
            let meta = std::fs::metadata(&binary).unwrap();
            (meta.mode(), meta.uid(), meta.gid(), meta.nlink(), meta.size(), meta.mtime(), meta.ctime())
        };
        let (before, looks) = (std::fs::read(&binary).unwrap(), look());
        let neighbour = Bundle::new(mode)
            .rootfs(|root| attacker("image_attacker.c", &root.join("bin/attacker")))
            .args(["attacker"])
            .put("/process/capabilities", caps(&CAPABILITIES))
            .start();
        let pids = neighbour.proc().path("ns/pid").display().to_string();
        let victim = Bundle::new(mode).args(["true"]).namespace("pid", Some(&pids)).create();
        neighbour.wait_for("waits");
        victim.start_and_end();
        std::fs::write(neighbour.proc().inside("go"), "").unwrap();
        neighbour.wait_for("tried");
        is_whole(&binary, &before);
        assert_eq!(look(), looks, "{}", neighbour.output());
        // A copy in memory belongs to its process, which may change all but what it contains.
        let is_copy = victim.bundle().is_turned_down();
        let output = neighbour.output();
        let worked: Vec<_> = output.lines().filter(|line| line.ends_with(": done")).collect();
        assert!(is_copy || worked.is_empty(), "{worked:?}");
        assert!(!worked.contains(&"write: done"), "{worked:?}");
    }
}

in_modes! {
    /// A file on a tmpfs has a seal of its own kind: it is neither taken for the one that protects nor in the way of the mount.
    [root]
    fn sec_20_a_runtime_on_a_tmpfs_is_protected_by_a_mount_too(mode) {
        if only_ours("another runtime's file would be the machine's own") {
            return;
        }
        let copy = PathBuf::from(format!("/dev/shm/urun-{}", std::process::id()));
        std::fs::copy(subject().1, &copy).unwrap();
        let bundle = Bundle::new(mode);
        bundle.write();
        let mut command = Command::new(&copy);
        command.args(bundle.command(&["create", "--bundle", bundle.dir().to_str().unwrap(), bundle.id()]).get_args());
        let output = bundle.call_command(command);
        std::fs::remove_file(&copy).unwrap();
        output.ok();
        let exe = pid(&bundle).path("exe");
        let flags = statvfs(&exe).unwrap().flags();
        assert!(bundle.is_turned_down() || flags.contains(FsFlags::ST_RDONLY), "{}", std::fs::read_link(exe).unwrap().display());
        bundle.call(&["delete", "--force", bundle.id()]).ok();
    }
}

in_modes! {
    /// CVE-2024-21626: a working directory behind a descriptor that the runtime has forgotten to close.
    fn sec_21_the_working_directory_is_never_outside(mode) {
        for number in 3..40 {
            for cwd in [format!("/proc/self/fd/{number}"), format!("/proc/self/fd/{number}/.."), "/link".to_owned()] {
                let target = format!("/proc/self/fd/{number}/..");
                let bundle = Bundle::new(mode)
                    .rootfs(|root| std::os::unix::fs::symlink(&target, root.join("link")).unwrap())
                    .put("/process/cwd", json!(cwd))
                    .args(["true"]);
                let output = bundle.run();
                assert_ne!(output.code, 0, "cwd {cwd}: {output:?}");
                if number > 12 {
                    break;
                }
            }
            if mode.rootless() && number > 12 {
                break;
            }
        }
    }
}

in_modes! {
    /// What a caller has open, and what the runtime itself has, stays outside: parked, running, and as the program is found.
    fn sec_22_nothing_that_is_open_outside_is_open_inside(mode) {
        if only_ours("what a waiting process holds is each runtime's own affair") {
            return;
        }
        let bundle = Bundle::new(mode);
        bundle.write();
        let mut command = bundle.command(&["create", bundle.id()]);
        leak(&mut command);
        bundle.call_command(command).ok();
        let process = pid(&bundle);
        for (fd, target) in held(process) {
            assert!(fd < 3 || target.starts_with("socket:"), "{fd} -> {target}");
        }
        bundle.call(&["start", bundle.id()]).ok();
        assert_eq!(process.fds(), [0, 1, 2]);
    }
}

in_modes! {
    /// Sockets, memory files and directories of the caller stay outside unless they are handed down, also where the profile of
    /// the container ends whoever calls close_range(2).
    fn sec_22_only_what_is_handed_down_comes_along(mode) {
        for (preserve, listen) in [(0, 0), (2, 0), (0, 1), (2, 1)] {
            let seccomp = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["close_range"], "action": "SCMP_ACT_KILL_PROCESS"}],
            });
            let bundle = Bundle::new(mode).put("/linux/seccomp", seccomp);
            bundle.write();
            let number = preserve.to_string();
            let mut command = bundle.command(&["create", "--preserve-fds", &number, bundle.id()]);
            if listen > 0 {
                command.env("LISTEN_FDS", listen.to_string());
            }
            leak(&mut command);
            // SAFETY: all of these are safe between fork and exec.
            unsafe {
                command.pre_exec(move || {
                    let root = libc::open(c"/".as_ptr(), libc::O_DIRECTORY | libc::O_RDONLY);
                    let memory = libc::memfd_create(c"x".as_ptr(), 0);
                    let mut pair = [0; 2];
                    libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr());
                    for (fd, to) in [(memory, 40), (pair[0], 41), (pair[1], 42), (root, 43)] {
                        libc::dup2(fd, to);
                    }
                    // What is handed down has to be there.
                    for to in 3..3 + preserve + listen {
                        libc::dup2(40, to);
                        libc::fcntl(to, libc::F_SETFD, 0);
                    }
                    for to in 3 + preserve + listen..12 {
                        libc::dup2(43, to);
                    }
                    Ok(())
                });
            }
            bundle.call_command(command).ok();
            let process = pid(&bundle);
            bundle.call(&["start", bundle.id()]).ok();
            crate::common::wait_until("the program runs", || {
                std::fs::read_link(process.path("exe")).is_ok_and(|exe| exe.ends_with("busybox"))
            });
            let expected: Vec<u32> = (0..3 + (preserve + listen).cast_unsigned()).collect();
            assert_eq!(process.fds(), expected, "--preserve-fds {preserve}, LISTEN_FDS={listen}: {:?}", held(process));
        }
    }
}

in_modes! {
    /// CVE-2016-9962: what waits for its start belongs to root in /proc, so that no process of the same user may ptrace it.
    fn sec_22_a_waiting_init_is_hidden(mode) {
        use std::os::unix::fs::MetadataExt;
        let container = Bundle::new(mode).create();
        let owner = std::fs::metadata(container.proc().path("environ")).unwrap().uid();
        let hidden = if mode == crate::common::Mode::RootInUserns { mode.owner().0 } else { 0 };
        assert_eq!(owner, hidden, "an init that is dumpable owns its files in /proc itself");
        assert!(!container.proc().path("map_files").join("x").exists());
    }
}

in_modes! {
    /// CVE-2024-21626, second form: the program is looked up, and executed, through a directory of the host. It caught this
    /// project's own init once, which held the host's procfs until execve(2) had found its file.
    fn sec_24_no_program_of_the_host_is_executed_through_a_descriptor(mode) {
        let bundle = Bundle::new(mode);
        let host = bundle.scratch().dir("host", mode.caller(), 0o755);
        std::fs::copy("/bin/busybox", host.join("escaped")).unwrap();
        let up = "/..".repeat(12);
        let entries: Vec<String> = (0..64).map(|number| format!("/proc/self/fd/{number}{up}{}", host.display())).collect();
        let path = format!("PATH={}", entries.join(":"));
        let bundle = bundle.args(["escaped", "true"]).put("/process/env", json!([path]));
        let output = bundle.run();
        assert_eq!(output.code, 1, "{output:?}");
        for entry in ["/proc/self/cwd", "/proc/1/root", "/proc/1/cwd", "/proc/self/root"] {
            let program = format!("{entry}{up}{}/escaped", host.display());
            let bundle = Bundle::new(mode).args([&program, "true"]);
            assert_ne!(bundle.run().code, 0, "{program}");
        }
    }
}

in_modes! {
    /// CVE-2025-23266: hooks run with the runtime's rights and must not take orders from the image.
    fn sec_25_hooks_see_nothing_of_the_image(mode) {
        let bundle = Bundle::new(mode);
        let report = bundle.scratch().dir("report", mode.caller(), 0o777);
        let script = format!(
            "exec >{}/$1; tr '\\0' '\\n' </proc/self/environ; pwd; ls /proc/self/fd | tr '\\n' ' '; cat >/dev/null",
            report.display()
        );
        let hook = |name: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", script, "sh", name], "env": ["OWN=1"]}]);
        let env = ["LD_PRELOAD=./evil.so", "LD_LIBRARY_PATH=.", "GCONV_PATH=.", "LD_AUDIT=./evil.so", "PATH=/bin"];
        let kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
        let mut bundle = bundle.put("/process/env", json!(env)).args(["true"]);
        for kind in kinds {
            bundle = bundle.put(&format!("/hooks/{kind}"), hook(kind));
        }
        bundle.run().ok();
        for kind in kinds {
            let text = std::fs::read_to_string(report.join(kind)).unwrap_or_else(|e| panic!("{kind}: {e}"));
            for evil in ["LD_", "GCONV", "XDG_RUNTIME_DIR"] {
                assert!(!text.contains(evil) || subject().0 == Subject::Crun, "{kind}: {text}");
            }
            assert!(text.starts_with("OWN=1\n"), "{kind}: {text}");
            // The descriptor of `ls` itself is the fourth.
            let fds = text.lines().last().unwrap().trim();
            assert_eq!(fds, "0 1 2 3", "{kind}: {text}");
            assert!(text.contains(&bundle.dir().display().to_string()), "{kind}: {text}");
        }
        Traces::none_of(&bundle);
    }
}

in_modes! {
    /// A hook that gives up uid 0 has to give up its capabilities with it: what the runtime keeps for itself while it
    /// makes files ends with the hook's birth.
    [root root_userns root_in_userns]
    fn sec_25_a_hook_has_no_securebits_of_the_runtimes(mode) {
        let bundle = Bundle::new(mode);
        let report = bundle.scratch().dir("report", mode.caller(), 0o777).join("hook");
        let script = format!("cat >/dev/null; setpriv --dump >{}", report.display());
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]);
        let bundle = bundle.put("/hooks/createContainer", hook).args(["true"]);
        bundle.run().ok();
        let text = std::fs::read_to_string(&report).unwrap();
        assert!(text.contains("Securebits: [none]"), "{text}");
    }
}

in_modes! {
    /// CVE-2016-9962: a neighbour in a pod's user and pid namespace, with CAP_SYS_PTRACE there, looks for descriptors of the
    /// host in an init that waits for its root file system.
    [root_userns]
    fn sec_23_a_neighbour_cannot_look_into_an_init_that_waits(mode) {
        if only_ours("the others' waiting processes have other names") {
            return;
        }
        let script = "while :; do for p in /proc/[0-9]*; do case $(cat $p/comm 2>&1) in sh|cat|ls|sleep|busybox|*proc*) ;; \
                      *) echo met; [ -n \"$(ls $p/fd 2>/dev/null)\" ] && echo inside $p; readlink $p/root && echo inside $p;; \
                      esac; done; done";
        let powers = json!(["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]);
        let neighbour = Bundle::new(mode)
            .sh(script)
            .put("/process/capabilities", json!({"bounding": powers, "effective": powers, "permitted": powers}))
            .start();
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "cat >/dev/null; sleep 0.5"], "env": ["PATH=/usr/bin:/bin"]}]);
        let mut bundle = Bundle::new(mode).put("/hooks/createRuntime", hook);
        for kind in ["pid", "user"] {
            bundle = bundle.namespace(kind, Some(&neighbour.proc().path("ns").join(kind).display().to_string()));
        }
        let victim = bundle.create();
        neighbour.wait_for("met");
        assert!(!neighbour.output().contains("inside"), "{}", neighbour.output());
        drop(victim);
    }
}

/// RLIMIT_NOFILE of the caller, from nothing to enough.
#[test]
fn sec_22_a_caller_with_few_descriptors_is_told_so_and_leaves_nothing() {
    let bundle = Bundle::new(crate::common::Mode::RootUserns).args(["true"]);
    bundle.write();
    for limit in 3..40 {
        let mut command = bundle.command(&["run", bundle.id()]);
        few_descriptors(&mut command, limit);
        let output = bundle.call_command(command);
        if output.code != 0 {
            bundle.call(&["delete", "--force", bundle.id()]);
        }
        Traces::none_of(&bundle);
    }
}

/// Lets the command have no more descriptors than this.
fn few_descriptors(command: &mut Command, limit: u64) {
    // SAFETY: setrlimit is safe between fork and exec.
    unsafe {
        command.pre_exec(move || {
            let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == -1 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

/// What is mounted is not kept open.
#[test]
fn a_caller_with_few_descriptors_may_have_many_mounts() {
    let mut bundle = Bundle::new(crate::common::Mode::RootUserns).args(["true"]);
    for number in 0..100 {
        bundle = bundle.mount("tmpfs", "tmpfs", &format!("/many/{number}"), &[]);
    }
    bundle.write();
    let mut command = bundle.command(&["run", bundle.id()]);
    few_descriptors(&mut command, 64);
    bundle.call_command(command).ok();
}

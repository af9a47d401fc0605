//! Tests of the module above.

use super::*;
use crate::{spec::config::Hook, sys};
use nix::{libc, sched::CloneFlags};
use std::{path::PathBuf, process::Command, time::Duration};

/// A directory that goes away with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("urun-hook-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }

    /// Both outputs into `out`, the working directory here.
    fn setting(&self) -> Setting<'_> {
        let out = Some(self.0.join("out"));
        let redirection = Redirection { stdout: out.clone(), stderr: out };
        Setting { cwd: Some(&self.0), redirection, before_exec: None }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn programs(path: &str, args: &[&str], timeout: Option<u64>) -> Vec<Program> {
    let hook = Hook {
        json_path: "hooks.prestart[0]".into(),
        path: path.into(),
        args: args.iter().map(ToString::to_string).collect(),
        env: vec![],
        timeout: timeout.map(Duration::from_millis),
    };
    crate::hook::plan(&[hook]).unwrap()
}

fn shell(script: &str) -> Vec<Program> {
    programs("/bin/sh", &["sh", "-c", script], None)
}

#[test]
fn the_state_arrives_whole_on_standard_input() {
    let dir = Dir::new("state");
    let state = "{}".repeat(512 * 1024);
    run_all(&programs("/bin/cat", &[], None), state.as_bytes(), &dir.setting()).unwrap();
    assert!(dir.read("out") == state);
}

#[test]
fn a_hook_need_not_read_the_state() {
    let state = vec![b' '; 1 << 20];
    for script in ["exit 0", "exec 0<&-; sleep 0.05", "head -c 1 > /dev/null"] {
        run_all(&shell(script), &state, &Setting::default()).unwrap();
    }
}

#[test]
fn a_failure_names_the_hook_its_status_and_its_last_words() {
    let cases = [
        ("echo one >&2; echo two; exit 3", "exit status 3: one; two"),
        ("exit 1", "exit status 1"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
        ("printf 'a\\033[31mb' >&2; exit 4", "exit status 4: a [31mb"),
    ];
    for (script, cause) in cases {
        let error = run_all(&shell(script), b"{}", &Setting::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("run hooks.prestart[0] (/bin/sh): {cause}"));
    }
}

#[test]
fn only_the_end_of_long_output_is_kept_and_none_blocks_the_hook() {
    let error = run_all(&shell("yes | head -c 1000000; echo end; exit 1"), b"{}", &Setting::default());
    let text = error.unwrap_err().to_string();
    assert!(text.ends_with("; y; end") && text.len() < 3 * TAIL, "{}", text.len());
}

#[test]
fn a_program_that_cannot_be_executed_is_an_error() {
    for (path, errno) in [("/nonexistent", libc::ENOENT), ("/etc/passwd", libc::EACCES)] {
        let error = run_all(&programs(path, &[], None), b"{}", &Setting::default()).unwrap_err();
        assert_eq!(error.errno(), Some(errno), "{error}");
        assert!(error.to_string().contains(&format!("execve({path})")), "{error}");
    }
}

#[test]
fn a_timeout_kills_the_whole_process_group() {
    let dir = Dir::new("timeout");
    let script = "sleep 30 & echo $! > pid; wait";
    let hooks = programs("/bin/sh", &["sh", "-c", script], Some(300));
    let setting = Setting { cwd: Some(&dir.0), ..Setting::default() };
    let start = Instant::now();
    let error = run_all(&hooks, b"{}", &setting).unwrap_err().to_string();
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(error.contains("killed after its timeout of 300ms"), "{error}");
    let stat = format!("/proc/{}/stat", dir.read("pid").trim());
    let gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    let waited = (0..200).any(|_| {
        gone() || {
            std::thread::sleep(Duration::from_millis(10));
            false
        }
    });
    assert!(waited, "the hook's child lives on");
}

#[test]
fn a_descendant_that_keeps_the_output_open_is_not_waited_for() {
    let dir = Dir::new("daemon");
    let setting = Setting { cwd: Some(&dir.0), ..Setting::default() };
    let start = Instant::now();
    run_all(&shell("sleep 30 & echo $! > pid"), b"{}", &setting).unwrap();
    assert!(start.elapsed() < Duration::from_secs(10));
    let pid = dir.read("pid").trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn the_environment_is_exactly_what_the_hook_says() {
    let dir = Dir::new("env");
    for env in [vec![], vec![c"LD_X=1".to_owned(), c"A=".to_owned()]] {
        let mut hooks = programs("/usr/bin/env", &[], None);
        hooks[0].env.clone_from(&env);
        let out = dir.0.join("out");
        let _ = std::fs::remove_file(&out);
        run_all(&hooks, b"{}", &dir.setting()).unwrap();
        let expected: Vec<&str> = env.iter().map(|e| e.to_str().unwrap()).collect();
        assert_eq!(dir.read("out").lines().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn output_is_appended_to_the_files_of_the_annotations() {
    let dir = Dir::new("append");
    let redirection = Redirection { stdout: Some(dir.0.join("o")), stderr: Some(dir.0.join("e")) };
    let setting = Setting { redirection, ..Setting::default() };
    for _ in 0..2 {
        run_all(&shell("echo out; echo err >&2"), b"{}", &setting).unwrap();
    }
    assert_eq!((dir.read("o").as_str(), dir.read("e").as_str()), ("out\nout\n", "err\nerr\n"));
}

#[test]
fn a_hook_starts_in_its_directory_with_three_descriptors_and_a_session_of_its_own() {
    let dir = Dir::new("surroundings");
    // A descriptor that nobody marked.
    let leak = File::open("/dev/null").unwrap();
    fcntl(&leak, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let script = "pwd -P; ls -m /proc/$$/fd; cut -d' ' -f5,6 /proc/$$/stat; echo $$;
        grep -E 'Sig(Blk|Ign)' /proc/$$/status | cut -f2";
    run_all(&shell(script), b"{}", &dir.setting()).unwrap();
    let out = dir.read("out");
    let lines: Vec<&str> = out.lines().collect();
    let (cwd, pid) = (dir.0.canonicalize().unwrap(), lines[3]);
    assert_eq!(lines[0], cwd.to_str().unwrap());
    assert_eq!(lines[1..3], ["0, 1, 2".to_owned(), format!("{pid} {pid}")]);
    assert_eq!(lines[4..], ["0000000000000000"; 2]);
}

#[test]
fn a_magic_link_is_executed_as_it_is() {
    let dir = Dir::new("magic");
    let mut child = Command::new("/bin/cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let hooks = programs(&format!("/proc/{}/exe", child.id()), &["cat"], None);
    run_all(&hooks, b"{1}", &dir.setting()).unwrap();
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(dir.read("out"), "{1}");
}

#[test]
fn an_executable_opened_beforehand_is_the_one_that_runs() {
    let dir = Dir::new("opened");
    let script = dir.0.join("script");
    // Written by a child, or a concurrent fork of this program might hold the file open for writing (ETXTBSY).
    let text = "#!/bin/sh\necho script \"$@\"; ls -l /proc/$$/fd | wc -l\n";
    let write = format!("cat > {0}; chmod 755 {0}; cp {0} {0}.dead; mkdir {0}.d", script.display());
    let mut shell =
        Command::new("/bin/sh").args(["-c", &write]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
    let mut hooks = programs(script.to_str().unwrap(), &["x", "arg"], None);
    hooks.extend(programs("/bin/echo", &["echo", "binary"], None));
    open_all(&mut hooks).unwrap();
    std::fs::remove_file(&script).unwrap();
    run_all(&hooks, b"{}", &dir.setting()).unwrap();
    let out = dir.read("out");
    assert!(out.starts_with("script arg\n") && out.ends_with("\nbinary\n"), "{out}");
    assert!(open_all(&mut programs("/nonexistent", &[], None)).is_err());
}

#[test]
fn what_runs_before_the_program_runs_in_its_process_and_may_fail() {
    let dir = Dir::new("before");
    let pid = std::process::id();
    let other = move || if std::process::id() == pid { Err(Error::new("same process")) } else { Ok(()) };
    run_all(&shell("exit 0"), b"{}", &Setting { before_exec: Some(&other), ..dir.setting() }).unwrap();
    let refuse = || Err(Error::new("no entry"));
    let error = run_all(&shell("exit 0"), b"{}", &Setting { before_exec: Some(&refuse), ..dir.setting() });
    assert!(error.unwrap_err().to_string().ends_with(": no entry"));
}

#[test]
fn hooks_run_in_order_and_stop_at_the_first_failure_unless_tolerated() {
    let dir = Dir::new("order");
    let hooks = || {
        let mut hooks = shell("echo 1");
        hooks.extend(shell("echo 2; exit 9"));
        hooks.extend(shell("echo 3"));
        hooks
    };
    run_all(&hooks(), b"{}", &dir.setting()).unwrap_err();
    assert_eq!(dir.read("out"), "1\n2\n");
    let failed = run_tolerant(&hooks(), b"{}", &dir.setting());
    assert_eq!((failed.len(), dir.read("out").as_str()), (1, "1\n2\n1\n2\n3\n"));
}

/// A program that was started before its descriptor was asked for ran on alone.
#[test]
fn a_hook_needs_no_pidfd_open() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let dir = Dir::new(&format!("pidfd-{errno}"));
        let child = sys::scratch::child(CloneFlags::empty(), || {
            sys::seccomp::set_filter(&refusing(libc::SYS_pidfd_open, errno), 0)?;
            assert_eq!(sys::pidfd::open(1).unwrap_err().errno(), Some(errno));
            run_all(&shell("sleep 0.1; echo done"), b"", &dir.setting())?;
            let failed = run_all(&shell("exit 3"), b"", &dir.setting()).unwrap_err();
            let late = run_all(&programs("/bin/sleep", &["sleep", "20"], Some(50)), b"", &dir.setting())
                .unwrap_err();
            // Every process has been waited for.
            assert_eq!(nix::sys::wait::wait(), Err(Errno::ECHILD));
            Ok(format!("{}{failed}; {late}", dir.read("out")))
        })
        .report();
        let told = "done\nrun hooks.prestart[0] (/bin/sh): exit status 3; run hooks.prestart[0] (/bin/sleep): killed after its timeout of 50ms";
        assert_eq!(child, told, "{errno}");
    }
}

/// A filter that answers one call of this program's architecture with an errno.
fn refusing(call: libc::c_long, errno: i32) -> [libc::sock_filter; 4] {
    let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    let number = u32::try_from(call).unwrap();
    let refuse = libc::SECCOMP_RET_ERRNO | errno.cast_unsigned();
    [step(0x20, 0, 0), step(0x15, 1, number), step(0x06, 0, refuse), step(0x06, 0, libc::SECCOMP_RET_ALLOW)]
}

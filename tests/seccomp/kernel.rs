//! Filters in the kernel, seen from outside. Each test runs itself a second time as the filtered process.

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::{
    io::{BufRead, BufReader, IoSliceMut},
    net::UdpSocket,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::{
            net::{UnixDatagram, UnixListener},
            process::ExitStatusExt,
        },
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use urun::{
    seccomp,
    spec::{
        seccomp::{Action, Arg, Operator, Rule, Seccomp},
        syscall::Syscall,
    },
};

/// Set in the filtered process.
const FILTERED: &str = "URUN_TEST_FILTERED";

fn profile(name: &str, action: Action, args: Vec<Arg>) -> Seccomp {
    Seccomp {
        default_action: Action::Allow,
        architectures: vec![],
        flags: 0,
        listener_path: (action == Action::Notify).then(|| PathBuf::from("/nonexistent")),
        listener_metadata: None,
        syscalls: vec![Rule { names: Syscall::find(name).into_iter().collect(), action, args }],
    }
}

fn is_filtered() -> bool {
    std::env::var_os(FILTERED).is_some()
}

/// Runs the test `name` as the filtered process.
fn start(name: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(FILTERED, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The value after `key=` that the filtered process prints.
fn printed(child: &mut Child, key: &str) -> String {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
    let line = lines.find_map(|line| line.split_once(key).map(|(_, value)| value.to_owned()));
    line.unwrap_or_else(|| panic!("the filtered process did not print {key}"))
}

fn directory(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("seccomp-{name}-{}", std::process::id()))
}

fn wait_for_parent() {
    std::io::stdin().lines().next();
}

#[test]
fn an_errno_reaches_the_caller_and_proc_shows_the_filter() {
    if is_filtered() {
        let filter = seccomp::plan(&profile("mkdir", Action::Errno(73), vec![])).unwrap();
        assert!(seccomp::load(&filter).unwrap().is_none());
        let error = std::fs::create_dir(directory("errno")).unwrap_err();
        println!("errno={}", error.raw_os_error().unwrap());
        return wait_for_parent();
    }
    let mut child = start("kernel::an_errno_reaches_the_caller_and_proc_shows_the_filter");
    assert_eq!(printed(&mut child, "errno="), "73");
    let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let modes: Vec<_> = threads
        .map(|thread| std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap())
        .filter(|status| status.lines().any(|line| line == "Seccomp:\t2"))
        .collect();
    assert_eq!(modes.len(), 1, "the loading thread is filtered");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_killed_process_dies_of_sigsys() {
    if is_filtered() {
        let filter = seccomp::plan(&profile("mkdir", Action::KillProcess, vec![])).unwrap();
        seccomp::load(&filter).unwrap();
        drop(std::fs::create_dir(directory("kill")));
        return;
    }
    let status = start("kernel::a_killed_process_dies_of_sigsys").wait().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGSYS));
    assert!(
        std::fs::read_dir(env!("CARGO_TARGET_TMPDIR"))
            .unwrap()
            .all(|entry| { !entry.unwrap().file_name().to_string_lossy().starts_with("seccomp-kill") })
    );
}

#[test]
fn a_logged_call_goes_through() {
    if is_filtered() {
        let mut profile = profile("mkdir", Action::Log, vec![]);
        profile.flags = libc::SECCOMP_FILTER_FLAG_LOG | libc::SECCOMP_FILTER_FLAG_TSYNC;
        seccomp::load(&seccomp::plan(&profile).unwrap()).unwrap();
        let made = directory("log");
        std::fs::create_dir(&made).unwrap();
        std::fs::remove_dir(&made).unwrap();
        return;
    }
    assert!(start("kernel::a_logged_call_goes_through").wait().unwrap().success());
}

#[test]
fn an_argument_decides() {
    if is_filtered() {
        let family = Arg { index: 0, value: libc::AF_INET as u64, value_two: 0, op: Operator::Eq };
        let filter = seccomp::plan(&profile("socket", Action::Errno(97), vec![family])).unwrap();
        seccomp::load(&filter).unwrap();
        UnixDatagram::unbound().unwrap();
        assert_eq!(UdpSocket::bind("127.0.0.1:0").unwrap_err().raw_os_error(), Some(97));
        return;
    }
    assert!(start("kernel::an_argument_decides").wait().unwrap().success());
}

#[test]
fn the_default_profile_of_docker_denies_and_lets_live() {
    if is_filtered() {
        let golden = crate::profile::golden();
        let (_, profile) = golden.iter().find(|(name, _)| name == "docker-default").unwrap();
        seccomp::load(&seccomp::plan(profile).unwrap()).unwrap();
        println!("unshare={:?}", nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUTS));
        return;
    }
    let mut child = start("kernel::the_default_profile_of_docker_denies_and_lets_live");
    assert_eq!(printed(&mut child, "unshare="), "Err(EPERM)");
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_listener_reaches_the_agent_without_help_of_the_filtered_process() {
    if is_filtered() {
        let filter = seccomp::plan(&profile("mkdir", Action::Notify, vec![])).unwrap();
        assert!(filter.listener.is_some());
        // The kernel gives the lowest free number.
        let next = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
        println!("listener={next}");
        wait_for_parent();
        let listener = seccomp::load(&filter).unwrap().unwrap();
        assert_eq!(listener.as_raw_fd(), next);
        drop(std::fs::create_dir(directory("notify")));
        unreachable!("nobody answers the notification");
    }
    let path = directory("agent");
    let agent = UnixListener::bind(&path).unwrap();
    let mut child = start("kernel::the_listener_reaches_the_agent_without_help_of_the_filtered_process");
    let number: RawFd = printed(&mut child, "listener=").parse().unwrap();
    let pidfd = pidfd_open(&child);
    drop(child.stdin.take());
    let deadline = Instant::now() + Duration::from_secs(10);
    let listener = seccomp::notify::fetch(pidfd.as_fd(), number, deadline).unwrap();
    let state = serde_json::json!({"ociVersion": "1.3.0", "id": "c1", "status": "creating", "pid": 7});
    let document = seccomp::notify::state_document(8, Some("metadata"), &state);
    seccomp::notify::hand_over(&path, &document, listener.as_fd()).unwrap();
    std::fs::remove_file(&path).unwrap();

    let (connection, _) = agent.accept().unwrap();
    let mut bytes = [0; 4096];
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!(RawFd);
    let message =
        recvmsg::<()>(connection.as_raw_fd(), &mut buffers, Some(&mut space), MsgFlags::empty()).unwrap();
    let ControlMessageOwned::ScmRights(fds) = message.cmsgs().unwrap().next().unwrap() else {
        panic!("no rights")
    };
    let target = std::fs::read_link(format!("/proc/self/fd/{}", fds[0])).unwrap();
    assert_eq!(target, PathBuf::from("anon_inode:seccomp notify"));
    let size = message.bytes;
    let received: serde_json::Value = serde_json::from_slice(&bytes[..size]).unwrap();
    let expected = serde_json::json!({
        "ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": 8, "metadata": "metadata", "state": state,
    });
    assert_eq!(received, expected);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn waiting_for_a_listener_ends_with_the_process_or_the_deadline() {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let pidfd = pidfd_open(&child);
    let fetch =
        |wait| seccomp::notify::fetch(pidfd.as_fd(), 77, Instant::now() + Duration::from_millis(wait));
    let late = fetch(5).unwrap_err().to_string();
    assert!(late.contains("in time"), "{late}");
    // A descriptor that is none is not taken for a listener.
    let other = seccomp::notify::fetch(pidfd.as_fd(), 0, Instant::now()).unwrap_err().to_string();
    assert!(other.contains("in time"), "{other}");
    child.kill().unwrap();
    let ended = fetch(10_000).unwrap_err().to_string();
    assert!(ended.contains("ended"), "{ended}");
    child.wait().unwrap();
}

#[test]
fn an_agent_that_is_not_there_is_named() {
    let null = std::fs::File::open("/dev/null").unwrap();
    let path = directory("absent");
    let error = seccomp::notify::hand_over(&path, b"{}", null.as_fd()).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert!(error.remedy().unwrap().contains("listenerPath"));
}

#[allow(unsafe_code)]
fn pidfd_open(child: &Child) -> OwnedFd {
    // SAFETY: takes two integers; the descriptor it returns is new.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
    assert!(fd >= 0, "pidfd_open: {}", std::io::Error::last_os_error());
    // SAFETY: see above.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

//! Tests of the module above.

use super::*;
use crate::{
    sys::{
        fork::isolated::alone,
        spawn::{Executable, Spawn, Spawned, spawn},
        tty::Size,
    },
    tty::apply,
};
use std::{
    ffi::CString,
    fs::File,
    io::{Read, Write},
    os::fd::AsRawFd,
    time::Duration,
};

fn start(argv: &[&str], stdio: [BorrowedFd<'_>; 3], before_exec: Option<&dyn Fn() -> Result<()>>) -> Spawned {
    let argv: Vec<CString> = argv.iter().map(|arg| CString::new(*arg).unwrap()).collect();
    let executable = Executable::Path(&argv[0]);
    let env = [c"PATH=/usr/bin:/bin".to_owned()];
    spawn(&Spawn { executable, argv: &argv, env: &env, stdio, cwd: None, before_exec }).unwrap()
}

/// A container's process without a terminal.
fn plain(script: &str, stdout: BorrowedFd<'_>) -> Spawned {
    let null = File::open("/dev/null").unwrap();
    start(&["/bin/sh", "-c", script], [null.as_fd(), stdout, stdout], None)
}

/// A container's process with a terminal, and its master.
fn with_terminal(script: &str) -> (Spawned, OwnedFd) {
    let pty = crate::tty::Pty::open(File::open("/dev/pts").unwrap().as_fd()).unwrap();
    let enter = || apply::make_controlling(pty.slave.as_fd());
    let slave = pty.slave.as_fd();
    (start(&["/bin/sh", "-c", script], [slave; 3], Some(&enter)), pty.master)
}

fn pipe() -> (File, File) {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
    (read.into(), write.into())
}

fn pid_of(child: &Spawned) -> i32 {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", child.as_fd().as_raw_fd())).unwrap();
    info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().parse().unwrap()
}

/// Relays `input` to the script and returns how it ended and what it wrote.
fn relay(script: &str, input: &[u8]) -> (Exit, String) {
    let (child, master) = with_terminal(script);
    let ((stdin, mut typed), (mut shown, stdout)) = (pipe(), pipe());
    typed.write_all(input).unwrap();
    drop(typed);
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        shown.read_to_string(&mut text).unwrap();
        text
    });
    let relay = Relay::new(master, stdin.as_fd(), stdout.as_fd()).unwrap();
    let exit = watch_through(pid_of(&child), child.as_fd(), Some(relay), None).unwrap();
    drop(stdout);
    (exit, reader.join().unwrap())
}

#[test]
fn the_runtime_ends_as_the_container_ends() {
    alone(|| {
        let null = File::options().write(true).open("/dev/null").unwrap();
        for (script, exit) in
            [("exit 0", Exit::Code(0)), ("exit 42", Exit::Code(42)), ("kill -9 $$", Exit::Signal(9))]
        {
            let child = plain(script, null.as_fd());
            assert_eq!(watch(pid_of(&child), child.as_fd(), None, None).unwrap(), exit);
        }
    });
}

#[test]
fn signals_reach_the_container_even_those_sent_before_the_watch() {
    alone(|| {
        let (mut read, write) = pipe();
        let script = "trap 'echo usr1; kill -USR2 $PPID' USR1; trap 'echo usr2; exit 5' USR2; echo ready; while :; do sleep 0.01; done";
        let mask = block().unwrap();
        let child = plain(script, write.as_fd());
        drop(write);
        let mut ready = [0; 6];
        read.read_exact(&mut ready).unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGUSR1).unwrap();
        assert_eq!(watch(pid_of(&child), child.as_fd(), None, None).unwrap(), Exit::Code(5));
        signal::set_mask(mask).unwrap();
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "usr1\nusr2\n");
    });
}

#[test]
fn children_that_are_not_the_container_are_reaped_and_not_confused_with_it() {
    alone(|| {
        let null = File::options().write(true).open("/dev/null").unwrap();
        let other = plain("sleep 0.1; exit 1", null.as_fd());
        let child = plain("sleep 0.4; exit 6", null.as_fd());
        assert_eq!(watch(pid_of(&child), child.as_fd(), None, None).unwrap(), Exit::Code(6));
        assert_eq!(pidfd::wait(other.as_fd()).unwrap_err().errno(), Some(libc::ECHILD));
    });
}

#[test]
fn output_is_complete_even_if_the_container_ends_at_once() {
    alone(|| {
        let (exit, text) = relay("seq 20000; exit 3", b"");
        assert_eq!(exit, Exit::Code(3));
        // The end of standard input is typed and echoed at some place.
        let lines: Vec<u32> =
            text.lines().filter_map(|line| line.trim_start_matches("^D\u{8}\u{8}").parse().ok()).collect();
        assert!(lines == (1..=20000).collect::<Vec<_>>(), "{} lines", lines.len());
    });
}

#[test]
fn typed_text_and_its_end_arrive() {
    alone(|| {
        for (input, seen) in [("one\ntwo\n", "[one\ntwo\n]"), ("one\ntwo", "[one\ntwo]"), ("", "[]")] {
            let (exit, text) = relay("stty -echo -onlcr; printf '['; cat; printf ']'", input.as_bytes());
            assert_eq!(exit, Exit::Code(0));
            assert!(text.ends_with(seen) || text.replace('\r', "").contains(seen), "{text:?}");
        }
    });
}

#[test]
fn more_input_than_the_terminal_holds_waits_for_its_reader() {
    alone(|| {
        let input = "0123456789abcde\n".repeat(3000);
        let (exit, text) = relay("stty -echo; sleep 0.3; wc -c", input.as_bytes());
        // What arrived before stty is echoed.
        assert!(exit == Exit::Code(0) && text.ends_with("48000\r\n"), "{exit}, {} bytes", text.len());
    });
}

#[test]
fn the_size_of_the_callers_terminal_follows_and_its_modes_return() {
    alone(|| {
        let caller = nix::pty::openpty(None, None).unwrap();
        let before = nix::sys::termios::tcgetattr(&caller.slave).unwrap();
        crate::sys::tty::set_size(caller.master.as_fd(), Size { rows: 10, columns: 20 }).unwrap();
        let script =
            "until [ \"$(stty size)\" = '10 20' ]; do sleep 0.01; done; trap 'stty size; exit 0' WINCH;
            echo ready; while :; do sleep 0.01; done";
        let mask = block().unwrap();
        let (child, master) = with_terminal(script);
        let slave = caller.slave.as_fd();
        let relay = Relay::new(master, slave, slave).unwrap();
        assert_ne!(nix::sys::termios::tcgetattr(&caller.slave).unwrap(), before);
        let resizer = std::thread::spawn({
            let mut screen = File::from(caller.master.try_clone().unwrap());
            let own = pidfd::open(std::process::id().cast_signed()).unwrap();
            move || {
                let mut ready = [0; 7];
                screen.read_exact(&mut ready).unwrap();
                crate::sys::tty::set_size(screen.as_fd(), Size { rows: 33, columns: 44 }).unwrap();
                pidfd::send_signal(own.as_fd(), libc::SIGWINCH).unwrap();
                let mut size = [0; 7];
                screen.read_exact(&mut size).unwrap();
                size
            }
        });
        assert_eq!(watch_through(pid_of(&child), child.as_fd(), Some(relay), None).unwrap(), Exit::Code(0));
        assert_eq!(&resizer.join().unwrap(), b"33 44\r\n");
        signal::set_mask(mask).unwrap();
        assert_eq!(nix::sys::termios::tcgetattr(&caller.slave).unwrap(), before);
    });
}

#[test]
fn an_output_that_nobody_reads_any_more_is_an_error() {
    alone(|| {
        signal::ignore(libc::SIGPIPE).unwrap();
        let (child, master) = with_terminal("while echo x; do :; done");
        let ((stdin, _typed), (shown, stdout)) = (pipe(), pipe());
        drop(shown);
        let relay = Relay::new(master, stdin.as_fd(), stdout.as_fd()).unwrap();
        let error = watch_through(pid_of(&child), child.as_fd(), Some(relay), None).unwrap_err();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(error.errno(), Some(libc::EPIPE), "{error}");
    });
}

#[test]
fn a_reader_that_stalls_can_be_given_up_by_a_signal() {
    alone(|| {
        let (child, master) = with_terminal("seq 30000");
        let ((stdin, _typed), (_shown, stdout)) = (pipe(), pipe());
        // The pipe is full before anything is relayed.
        nix::fcntl::fcntl(&stdout, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        (&stdout).write_all(&[0; 4096]).unwrap();
        let relay = Relay::new(master, stdin.as_fd(), stdout.as_fd()).unwrap();
        let own = pidfd::open(std::process::id().cast_signed()).unwrap();
        let mask = block().unwrap();
        let (done, is_done) = std::sync::mpsc::channel();
        let killer = std::thread::spawn(move || {
            while is_done.recv_timeout(Duration::from_millis(200)).is_err() {
                pidfd::send_signal(own.as_fd(), libc::SIGTERM).unwrap();
            }
        });
        // The first signal ends the container, which is stuck writing; another one ends the wait for the reader.
        let exit = watch_through(pid_of(&child), child.as_fd(), Some(relay), None).unwrap();
        assert_eq!(exit, Exit::Signal(libc::SIGTERM));
        done.send(()).unwrap();
        killer.join().unwrap();
        // One more may be pending; this discards it.
        signal::ignore(libc::SIGTERM).unwrap();
        signal::set_mask(mask).unwrap();
    });
}

//! Terminals: handed to an engine by a socket, or relayed by `run` in the foreground.

use crate::common::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

fn with_terminal(mode: Mode) -> Bundle {
    Bundle::new(mode).put("/process/terminal", json!(true))
}

in_modes! {
    fn the_master_crosses_the_console_socket(mode) {
        let bundle = with_terminal(mode).sh("test -t 0 && test -t 1 && test -t 2 && tty && read line && echo got $line");
        let socket = ConsoleSocket::listen(&bundle.scratch().join("console"), mode.caller());
        let container = bundle.create_with(&["--console-socket", socket.path()]);
        let (payload, master) = socket.accept();
        assert!((1..4096).contains(&payload.len()), "{payload:?}");
        let mut master: std::fs::File = master.into();
        container.start();
        read_until(&mut master, "/dev/pts/0");
        master.write_all(b"hello\n").unwrap();
        read_until(&mut master, "got hello");
    }
}

in_modes! {
    fn the_terminal_is_the_consoles_and_belongs_to_the_user(mode) {
        let mut bundle = with_terminal(mode);
        let user = if mode.many_ids() { 1000 } else { 0 };
        bundle = bundle.user(user, user);
        let socket = ConsoleSocket::listen(&bundle.scratch().join("console"), mode.caller());
        let container = bundle.create_with(&["--console-socket", socket.path()]);
        let (_, _master) = socket.accept();
        container.start();
        let process = container.proc();
        let console = std::fs::metadata(process.inside("/dev/console")).unwrap();
        let pts = std::fs::metadata(process.inside("/dev/pts/0")).unwrap();
        assert_eq!(console.rdev(), pts.rdev());
        assert_eq!(pts.uid(), mode.host_uid(user));
        // The controlling terminal: field 7 of proc(5), which is not 0.
        let stat = process.read("stat");
        assert_ne!(stat.rsplit(") ").next().unwrap().split(' ').nth(4), Some("0"));
        // The program holds the terminal and nothing else.
        assert_eq!(process.fds(), [0, 1, 2]);
    }
}

#[test]
fn the_size_of_the_console_is_set() {
    let bundle =
        with_terminal(Mode::RootUserns).put("/process/consoleSize", json!({"height": 33, "width": 101}));
    let bundle = bundle.args(["stty", "size"]);
    let socket = ConsoleSocket::listen(&bundle.scratch().join("console"), (0, 0));
    let container = bundle.create_with(&["--console-socket", socket.path()]);
    let (_, master) = socket.accept();
    container.start();
    read_until(&mut master.into(), "33 101");
}

#[test]
fn a_terminal_needs_a_socket_and_a_socket_a_terminal() {
    let bundle = with_terminal(Mode::RootUserns);
    bundle.try_create(&[]).refused_naming(&["console"]);
    Traces::none_of(&bundle);
    if only_ours("crun does not look") {
        return;
    }
    let bundle = Bundle::new(Mode::RootUserns);
    let socket = ConsoleSocket::listen(&bundle.scratch().join("console"), (0, 0));
    bundle.try_create(&["--console-socket", socket.path()]).refused_naming(&["console", "terminal"]);
    Traces::none_of(&bundle);
}

#[test]
fn a_socket_that_is_not_there_is_named() {
    let bundle = with_terminal(Mode::RootUserns);
    bundle.try_create(&["--console-socket", "/no/such/socket"]).refused_naming(&["/no/such/socket"]);
    Traces::none_of(&bundle);
}

/// `run` in the foreground on a terminal of its own.
fn foreground(bundle: &Bundle, pty: &Pty) -> std::process::Child {
    bundle.write();
    let mut command = bundle.command(&["run", bundle.id()]);
    let copy = || Stdio::from(pty.slave.try_clone().unwrap());
    command.stdin(copy()).stdout(copy()).stderr(copy()).spawn().unwrap()
}

fn code(mut child: std::process::Child) -> Option<i32> {
    let mut code = None;
    wait_until("the runtime ended", || {
        code = child.try_wait().unwrap();
        code.is_some()
    });
    code.unwrap().code()
}

in_modes! {
    fn run_relays_its_own_terminal(mode) {
        if subject().0 == Subject::Runc {
            return; // runc sets the size when the program runs already
        }
        let bundle = with_terminal(mode).sh("echo size $(stty size); read line; echo got $line; exit 9");
        let mut pty = Pty::new(21, 67);
        let child = foreground(&bundle, &pty);
        pty.read_until("size 21 67");
        pty.master.write_all(b"words\n").unwrap();
        pty.read_until("got words");
        assert_eq!(code(child), Some(9));
    }
}

#[test]
fn a_new_size_of_the_window_arrives() {
    let bundle = with_terminal(Mode::RootUserns)
        .sh("trap 'echo now $(stty size)' WINCH; echo ready; while :; do sleep 0.1; done");
    let mut pty = Pty::new(10, 20);
    let child = foreground(&bundle, &pty);
    pty.read_until("ready");
    resize(&pty, 44, 55);
    let pid = Pid::from_raw(child.id().cast_signed());
    kill(pid, Signal::SIGWINCH).unwrap();
    pty.read_until("now 44 55");
    kill(pid, Signal::SIGKILL).unwrap();
    let _ = child.wait_with_output();
}

fn resize(pty: &Pty, rows: u16, columns: u16) {
    let size = nix::pty::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open and the argument is the structure that TIOCSWINSZ reads.
    let done = unsafe { nix::libc::ioctl(pty.master.as_raw_fd(), nix::libc::TIOCSWINSZ, &raw const size) };
    assert_eq!(done, 0);
}

#[test]
fn control_c_reaches_the_container_as_a_key() {
    let bundle = with_terminal(Mode::RootUserns)
        .sh("trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.1; done");
    let mut pty = Pty::new(24, 80);
    let child = foreground(&bundle, &pty);
    pty.read_until("ready");
    pty.master.write_all(&[3]).unwrap();
    pty.read_until("interrupted");
    assert_eq!(code(child), Some(3));
}

#[test]
fn the_callers_terminal_is_as_it_was_afterwards() {
    use nix::sys::termios::{LocalFlags, tcgetattr};
    let bundle = with_terminal(Mode::RootUserns).sh("echo ready; read line");
    let mut pty = Pty::new(24, 80);
    let before = tcgetattr(&pty.slave).unwrap();
    let child = foreground(&bundle, &pty);
    pty.read_until("ready");
    wait_until("the caller's terminal is raw", || {
        !tcgetattr(&pty.slave).unwrap().local_flags.contains(LocalFlags::ICANON)
    });
    pty.master.write_all(b"\n").unwrap();
    assert_eq!(code(child), Some(0));
    assert_eq!(tcgetattr(&pty.slave).unwrap().local_flags, before.local_flags);
}

#[test]
fn a_program_that_ends_by_itself_loses_none_of_its_output() {
    let bundle = with_terminal(Mode::RootUserns).sh("seq 1 3000; echo the end");
    let mut pty = Pty::new(24, 80);
    let child = foreground(&bundle, &pty);
    let seen = pty.read_until("the end");
    assert!(seen.contains("2999\r\n3000\r\n"), "{}", seen.len());
    assert_eq!(code(child), Some(0));
}

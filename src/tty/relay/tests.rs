//! Tests of the module above.

use super::*;
use std::{
    fs::File,
    io::{Read, Write},
};

/// A relay between the given ends, and the container's end of its terminal.
fn relay<'a>(stdin: &'a File, stdout: &'a File) -> (Relay<'a>, File) {
    let pty = crate::tty::Pty::open(File::open("/dev/pts").unwrap().as_fd()).unwrap();
    (Relay::new(pty.master, stdin.as_fd(), stdout.as_fd()).unwrap(), pty.slave.into())
}

fn pipe() -> (File, File) {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    (read.into(), write.into())
}

#[test]
fn nothing_is_read_before_the_last_was_written() {
    let ((stdin, mut typed), (_shown, stdout)) = (pipe(), pipe());
    let (mut relay, mut slave) = relay(&stdin, &stdout);
    let wanted = |relay: &Relay<'_>| relay.interests().map(|interest| interest.map(|fd| fd.events()));
    assert_eq!(wanted(&relay), [Some(PollFlags::POLLIN), None, Some(PollFlags::POLLIN)]);
    slave.write_all(b"shown\n").unwrap();
    relay.step([false, false, true]).unwrap();
    assert_eq!(wanted(&relay), [Some(PollFlags::POLLIN), Some(PollFlags::POLLOUT), None]);
    relay.step([false, true, false]).unwrap();
    assert_eq!(wanted(&relay), [Some(PollFlags::POLLIN), None, Some(PollFlags::POLLIN)]);
    typed.write_all(b"typed\n").unwrap();
    relay.step([true, false, false]).unwrap();
    let mut line = [0; 16];
    let count = slave.read(&mut line).unwrap();
    assert_eq!(&line[..count], b"typed\n");
}

#[test]
fn a_container_that_closes_its_terminal_for_a_moment_does_not_end_the_relay() {
    let ((stdin, _typed), (mut shown, stdout)) = (pipe(), pipe());
    let (mut relay, mut slave) = relay(&stdin, &stdout);
    slave.write_all(b"a").unwrap();
    drop(slave);
    assert!(relay.has_output().unwrap());
    relay.step([false, true, false]).unwrap();
    assert!(!relay.has_output().unwrap());
    let mut slave = File::from(tty::peer(relay.master.as_fd()).unwrap());
    slave.write_all(b"b").unwrap();
    assert!(relay.has_output().unwrap());
    relay.step([false, true, false]).unwrap();
    let mut text = [0; 2];
    shown.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"ab");
}

#[test]
fn a_terminal_in_raw_mode_gets_no_end_of_file_key() {
    let ((stdin, typed), (_shown, stdout)) = (pipe(), pipe());
    drop(typed);
    let (mut relay, slave) = relay(&stdin, &stdout);
    let _raw = Raw::enter(slave.as_fd()).unwrap().unwrap();
    relay.step([true, false, false]).unwrap();
    assert!(relay.input.is_empty() && relay.stdin.is_none());
}

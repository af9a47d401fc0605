//! Typing on behalf of whoever reads the caller's terminal (SEC-50; CVE-2016-10124, CVE-2017-5226).

use crate::{
    common::{Bundle, Pty, in_modes, read_until},
    probe,
};
use serde_json::json;
use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

/// Runs the command as the leader of a session whose terminal it is, and tells what came out of it.
fn on_terminal(mut command: Command) -> String {
    let mut pty = Pty::new(24, 80);
    let other = || Stdio::from(pty.slave.try_clone().unwrap());
    command.stdin(other()).stdout(other()).stderr(other());
    // SAFETY: setsid and ioctl are safe between fork and exec.
    unsafe {
        command.pre_exec(|| {
            if libc::setsid() == -1 || libc::ioctl(0, libc::TIOCSCTTY, 0) == -1 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let mut child = command.spawn().unwrap();
    drop(command);
    let seen = read_until(&mut pty.master, "terminal ");
    let is_whole = seen.rsplit("terminal ").next().is_some_and(|number| number.contains('\r'));
    let seen = if is_whole { seen } else { seen + &read_until(&mut pty.master, "\r") };
    child.wait().unwrap();
    seen
}

in_modes! {
    /// The caller's terminal is standard input and output of a container without a terminal, and is not its controlling one.
    fn sec_50_a_container_without_a_terminal_types_into_none(mode) {
        let bundle = Bundle::new(mode).rootfs(probe::put);
        let container = bundle.start();
        let exec = on_terminal(container.bundle().command(&["exec", container.id(), "probe", "type"]));
        drop(container);
        let bundle = Bundle::new(mode).rootfs(probe::put).args(["probe", "type"]);
        bundle.write();
        let run = on_terminal(bundle.command(&["run", bundle.id()]));
        for seen in [exec, run] {
            assert!(!seen.contains("into"), "{seen}");
            assert!(seen.contains("terminal 0\r"), "the caller's terminal is the container's: {seen}");
        }
    }
}

in_modes! {
    /// With a terminal it is the container's own that it types into: the caller's gets nothing but what the container writes.
    fn sec_50_a_container_with_a_terminal_types_into_its_own(mode) {
        let bundle = Bundle::new(mode).rootfs(probe::put);
        let container = bundle.start();
        let exec = on_terminal(container.bundle().command(&["exec", "--tty", container.id(), "probe", "type"]));
        drop(container);
        let bundle = Bundle::new(mode).rootfs(probe::put).put("/process/terminal", json!(true)).args(["probe", "type"]);
        bundle.write();
        let run = on_terminal(bundle.command(&["run", bundle.id()]));
        for seen in [exec, run] {
            assert!(!seen.contains("tty0") && !seen.contains("tty1") && !seen.contains("pasted"), "{seen}");
            // Its session is its own: as its pid namespace numbers it, or 0 for one of outside.
            assert!(seen.contains("session ") && !seen.contains("session 0 "), "{seen}");
        }
    }
}

//! A kernel that is turned down: a seccomp filter around the runtime, as an outer container or a service has one, answers one
//! system call with an error.
//!
//! `URUN_TEST_WITHOUT=openat2:ENOSYS` puts one around every call of the runtime that a test makes by a [`super::Bundle`]; with
//! it around them are the hooks, the container and whatever else the runtime starts.

#![allow(unsafe_code)] // a filter is loaded between fork and execve, where no other way leads

use super::mode::Account;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// One call and the error that it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnedDown {
    /// Its name; `waitid` stands for the one with `P_PIDFD` alone.
    pub call: &'static str,
    /// `ENOSYS`, as a kernel without it and newer filters say, or `EPERM`, as older filters do.
    pub errno: &'static str,
}

/// The calls that can be turned down.
const CALLS: &[(&str, libc::c_long)] = &[
    ("clone3", libc::SYS_clone3),
    ("close_range", libc::SYS_close_range),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("fsopen", libc::SYS_fsopen),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("move_mount", libc::SYS_move_mount),
    ("open_tree", libc::SYS_open_tree),
    ("openat2", libc::SYS_openat2),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
    ("waitid", libc::SYS_waitid),
];
const ERRNOS: &[(&str, i32)] = &[("ENOSYS", libc::ENOSYS), ("EPERM", libc::EPERM)];

/// `AUDIT_ARCH_X86_64` of linux/audit.h.
const X86_64: u32 = 0xc000_003e;

impl TurnedDown {
    /// What `URUN_TEST_WITHOUT` asks for.
    pub fn by_environment() -> Option<Self> {
        let text = std::env::var("URUN_TEST_WITHOUT").ok().filter(|text| !text.is_empty())?;
        let (call, errno) = text.split_once(':').unwrap_or((&text, "ENOSYS"));
        Some(Self::new(call, errno))
    }

    /// The call and the error of these names.
    pub fn new(call: &str, errno: &str) -> Self {
        let known =
            CALLS.iter().find(|known| known.0 == call).zip(ERRNOS.iter().find(|known| known.0 == errno));
        let (call, errno) = known.unwrap_or_else(|| panic!("{call}:{errno}: of {CALLS:?} and {ERRNOS:?}"));
        Self { call: call.0, errno: errno.0 }
    }

    /// The filter: its architecture's call, and for waitid(2) its first argument too.
    fn program(self) -> Vec<libc::sock_filter> {
        let number = CALLS.iter().find(|known| known.0 == self.call).unwrap().1;
        let errno = ERRNOS.iter().find(|known| known.0 == self.errno).unwrap().1;
        let load = |offset| libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: offset };
        // Goes on where it is equal, else to the last instruction, which allows.
        let unless = |value, jf| libc::sock_filter { code: 0x15, jt: 0, jf, k: value };
        let answer = |value| libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: value };
        let refuse = answer(libc::SECCOMP_RET_ERRNO | errno.cast_unsigned());
        let allow = answer(libc::SECCOMP_RET_ALLOW);
        let number = u32::try_from(number).unwrap();
        // Offsets of struct seccomp_data: nr 0, arch 4, args[0] 16.
        match self.call {
            "waitid" => vec![
                load(4),
                unless(X86_64, 5),
                load(0),
                unless(number, 3),
                load(16),
                unless(libc::P_PIDFD, 1),
                refuse,
                allow,
            ],
            _ => vec![load(4), unless(X86_64, 3), load(0), unless(number, 1), refuse, allow],
        }
    }
}

/// `command` as `account`, behind the filter where there is one.
///
/// It is loaded as root, who needs no `no_new_privs` for it: with that newuidmap could not be setuid.
pub(super) fn enter(command: &mut Command, turned_down: Option<TurnedDown>, account: Option<Account>) {
    let Some(turned_down) = turned_down else {
        if let Some(account) = account {
            command.uid(account.uid).gid(account.gid);
        }
        return;
    };
    let mut program = turned_down.program();
    let before = move || {
        let filter =
            libc::sock_fprog { len: u16::try_from(program.len()).unwrap(), filter: program.as_mut_ptr() };
        let must = |ret: libc::c_long| if ret == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        // SAFETY: the program outlives the call and has the length that it says; the rest takes numbers, and no other thread
        // is there after fork(2) whose ids would have to follow.
        unsafe {
            must(libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter))?;
            if let Some(account) = account {
                must(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()))?;
                must(libc::syscall(libc::SYS_setresgid, account.gid, account.gid, account.gid))?;
                must(libc::syscall(libc::SYS_setresuid, account.uid, account.uid, account.uid))?;
            }
        }
        Ok(())
    };
    // SAFETY: only system calls are made between fork and execve.
    unsafe { command.pre_exec(before) };
}

//! unshare(2), setns(2) and what belongs to a namespace as a whole.

use super::{check, check_fd, show};
use crate::error::Result;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// `CLONE_NEWTIME`, which nix does not name.
pub const NEW_TIME: i32 = 0x80;

/// Leaves the named namespaces for new ones.
pub fn unshare(flags: i32) -> Result<()> {
    // SAFETY: unshare(2) takes no memory.
    let ret = unsafe { libc::unshare(flags) };
    check(ret.into(), || format!("unshare({})", Flags(u64::from(flags.cast_unsigned())))).map(drop)
}

/// Joins the namespace behind `fd`, or of the process behind a pidfd those named by `flags`.
pub fn setns(fd: BorrowedFd<'_>, flags: i32) -> Result<()> {
    // SAFETY: `fd` is open; setns(2) takes no memory.
    let ret = unsafe { libc::setns(fd.as_raw_fd(), flags) };
    check(ret.into(), || format!("setns({}, {})", show(fd), Flags(u64::from(flags.cast_unsigned()))))
        .map(drop)
}

/// `NS_GET_PARENT` of linux/nsfs.h, `_IO(0xb7, 2)`.
const GET_PARENT: libc::Ioctl = 0xb702;

/// The namespace that a pid or user namespace was made in, Linux 4.9. EPERM: it is not below the caller's own.
pub fn parent(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    // SAFETY: this request takes no argument.
    let ret = unsafe { libc::ioctl(fd.as_raw_fd(), GET_PARENT) };
    check_fd(ret.into(), || format!("ioctl({}, NS_GET_PARENT)", show(fd)))
}

/// sethostname(2) in the caller's UTS namespace.
pub fn set_hostname(name: &str) -> Result<()> {
    // SAFETY: pointer and length describe `name`.
    let ret = unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) };
    check(ret.into(), || format!("sethostname({name:?})")).map(drop)
}

/// setdomainname(2) in the caller's UTS namespace.
pub fn set_domainname(name: &str) -> Result<()> {
    // SAFETY: pointer and length describe `name`.
    let ret = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    check(ret.into(), || format!("setdomainname({name:?})")).map(drop)
}

/// Flags of clone3(2), unshare(2) and setns(2) by name, for errors and for the remedies that look for them.
pub(super) struct Flags(pub(super) u64);

const NAMES: [(u64, &str); 9] = [
    (libc::CLONE_NEWUSER as u64, "CLONE_NEWUSER"),
    (libc::CLONE_NEWPID as u64, "CLONE_NEWPID"),
    (libc::CLONE_NEWNET as u64, "CLONE_NEWNET"),
    (libc::CLONE_NEWIPC as u64, "CLONE_NEWIPC"),
    (libc::CLONE_NEWUTS as u64, "CLONE_NEWUTS"),
    (libc::CLONE_NEWNS as u64, "CLONE_NEWNS"),
    (libc::CLONE_NEWCGROUP as u64, "CLONE_NEWCGROUP"),
    (NEW_TIME as u64, "CLONE_NEWTIME"),
    (libc::CLONE_PARENT as u64, "CLONE_PARENT"),
];

impl std::fmt::Display for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut words: Vec<String> =
            NAMES.iter().filter(|(bit, _)| self.0 & bit != 0).map(|(_, name)| (*name).to_owned()).collect();
        let rest = NAMES.iter().fold(self.0, |rest, (bit, _)| rest & !bit);
        if rest != 0 || words.is_empty() {
            words.push(format!("{rest:#x}"));
        }
        f.write_str(&words.join("|"))
    }
}

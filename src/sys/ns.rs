//! unshare(2), setns(2) and what belongs to a namespace as a whole.

use super::{check, show};
use crate::error::Result;
use nix::sched::CloneFlags;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `CLONE_NEWTIME`, which nix does not name.
pub const NEW_TIME: i32 = 0x80;

/// Leaves the named namespaces for new ones.
pub fn unshare(flags: i32) -> Result<()> {
    // SAFETY: unshare(2) takes no memory.
    let ret = unsafe { libc::unshare(flags) };
    check(ret.into(), || format!("unshare({})", Flags(flags))).map(drop)
}

/// Joins the namespace behind `fd`, or of the process behind a pidfd those named by `flags`.
pub fn setns(fd: BorrowedFd<'_>, flags: i32) -> Result<()> {
    // SAFETY: `fd` is open; setns(2) takes no memory.
    let ret = unsafe { libc::setns(fd.as_raw_fd(), flags) };
    check(ret.into(), || format!("setns({}, {})", show(fd), Flags(flags))).map(drop)
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

/// Namespace flags by name, for errors.
struct Flags(i32);

impl std::fmt::Display for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = CloneFlags::from_bits_truncate(self.0);
        let time = if self.0 & NEW_TIME != 0 { "CLONE_NEWTIME" } else { "" };
        let bar = if time.is_empty() || known.is_empty() { "" } else { "|" };
        let names: Vec<&str> = known.iter_names().map(|(name, _)| name).collect();
        write!(f, "{}{bar}{time}", names.join("|"))
    }
}

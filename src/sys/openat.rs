//! openat2(2).

use super::{check_fd, cstring, show};
use crate::error::Result;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// `RESOLVE_*` of openat2(2).
pub mod resolve {
    /// No crossing of mount points.
    pub const NO_XDEV: u64 = 0x01;
    /// No magic links such as `/proc/self/exe`.
    pub const NO_MAGICLINKS: u64 = 0x02;
    /// No symbolic links at all.
    pub const NO_SYMLINKS: u64 = 0x04;
    /// Never above the starting directory; absolute links and `..` beyond it are errors.
    pub const BENEATH: u64 = 0x08;
    /// No rule: one step through a magic link, taken from a directory that is proven already.
    pub const MAGIC_STEP: u64 = 0;
    /// The starting directory is `/` for the whole resolution.
    pub const IN_ROOT: u64 = 0x10;
}

/// Opens `path` below `dir` under the `RESOLVE_*` rules of `resolve`; close-on-exec is always added. A resolution that
/// lost a race (EAGAIN) is tried again a bounded number of times.
pub fn openat2(dir: BorrowedFd<'_>, path: &[u8], flags: i32, mode: u32, resolve: u64) -> Result<OwnedFd> {
    let name = cstring(path)?;
    // SAFETY: open_how is plain data for which all zeroes is valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::from((flags | libc::O_CLOEXEC).cast_unsigned());
    how.mode = u64::from(mode);
    how.resolve = resolve;
    let mut ret = -1;
    for _ in 0..32 {
        // SAFETY: `dir` is open, `name` is NUL-terminated, `how` is a whole open_how and its size is passed.
        ret = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                dir.as_raw_fd(),
                name.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
            )
        };
        if ret != -1 || nix::errno::Errno::last() != nix::errno::Errno::EAGAIN {
            break;
        }
    }
    check_fd(ret, || format!("openat2({}, {name:?}, flags={flags:#o}, resolve={resolve:#x})", show(dir)))
}

//! openat2(2).

use super::{check_fd, cstring, show};
use crate::error::Result;
use nix::errno::Errno;
use std::{
    ffi::{CStr, c_long},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

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
    let ret = call(dir, &name, flags, mode, resolve);
    check_fd(ret, || format!("openat2({}, {name:?}, flags={flags:#o}, resolve={resolve:#x})", show(dir)))
}

/// As [`openat2`] with O_PATH; none where there is nothing, at the price of no error text.
pub fn find(dir: BorrowedFd<'_>, path: &[u8], flags: i32, resolve: u64) -> Result<Option<OwnedFd>> {
    let name = cstring(path)?;
    let flags = flags | libc::O_PATH;
    let ret = call(dir, &name, flags, 0, resolve);
    if ret == -1 && matches!(Errno::last(), Errno::ENOENT | Errno::ENOTDIR) {
        return Ok(None);
    }
    check_fd(ret, || format!("openat2({}, {name:?}, flags={flags:#o}, resolve={resolve:#x})", show(dir)))
        .map(Some)
}

fn call(dir: BorrowedFd<'_>, name: &CStr, flags: i32, mode: u32, resolve: u64) -> c_long {
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
        if ret != -1 || Errno::last() != Errno::EAGAIN {
            break;
        }
    }
    ret
}

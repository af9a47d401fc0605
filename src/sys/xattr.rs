//! xattr(7).

use super::{check, cstring, show};
use crate::error::Result;
use std::{
    ffi::{CStr, c_long},
    os::fd::{AsRawFd, BorrowedFd},
};

/// Copies the extended attributes of one open file to another. What the target's file system cannot hold (user attributes on
/// a tmpfs before Linux 6.6, labels on a file system mounted with one) is left out.
pub fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    for name in list(from)?.split_inclusive(|byte| *byte == 0) {
        let name = cstring(name.strip_suffix(&[0]).unwrap_or(name))?;
        match set(to, &name, &get(from, &name)?) {
            Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Sets one attribute.
pub fn set(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> Result<()> {
    // SAFETY: the descriptor is open, the name NUL-terminated, the value as long as said.
    let ret =
        unsafe { libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    check(c_long::from(ret), || format!("fsetxattr({}, {name:?})", show(fd))).map(drop)
}

fn list(fd: BorrowedFd<'_>) -> Result<Vec<u8>> {
    let call = |buffer: &mut [u8]| {
        // SAFETY: the descriptor is open and the buffer as long as said.
        let ret = unsafe { libc::flistxattr(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        match check(ret as c_long, || format!("flistxattr({})", show(fd))) {
            Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => Ok(0),
            other => other,
        }
    };
    sized(call)
}

/// The value of one attribute.
pub fn get(fd: BorrowedFd<'_>, name: &CStr) -> Result<Vec<u8>> {
    sized(|buffer: &mut [u8]| {
        // SAFETY: the descriptor is open, the name NUL-terminated, the buffer as long as said.
        let ret = unsafe {
            libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len())
        };
        check(ret as c_long, || format!("fgetxattr({}, {name:?})", show(fd)))
    })
}

/// Asks for the size with an empty buffer, then for the bytes.
fn sized(call: impl Fn(&mut [u8]) -> Result<c_long>) -> Result<Vec<u8>> {
    let mut size = usize::try_from(call(&mut [])?).unwrap_or(0);
    let mut buffer = vec![0; size];
    if size > 0 {
        size = usize::try_from(call(&mut buffer)?).unwrap_or(0);
    }
    buffer.truncate(size);
    Ok(buffer)
}

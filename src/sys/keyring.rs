//! keyctl(2).

use super::{check, cstring};
use crate::error::Result;
use std::ffi::c_int;

/// The serial number of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(c_int);

/// `KEYCTL_JOIN_SESSION_KEYRING`: leaves the inherited session keyring for the one of this name, made if need be.
pub fn join_session(name: &str) -> Result<Key> {
    let name = cstring(name)?;
    // SAFETY: the operation takes a NUL-terminated name, which outlives the call.
    let ret =
        unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr(), 0, 0, 0) };
    let serial = check(ret, || format!("keyctl(KEYCTL_JOIN_SESSION_KEYRING, {name:?})"))?;
    #[allow(clippy::cast_possible_truncation)] // serial numbers are ints
    Ok(Key(serial as c_int))
}

/// `KEYCTL_SETPERM` with the bits of keyctl(2).
pub fn set_permissions(key: Key, permissions: u32) -> Result<()> {
    // SAFETY: the operation takes plain integers.
    let ret = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, key.0, permissions, 0, 0) };
    check(ret, || format!("keyctl(KEYCTL_SETPERM, {}, {permissions:#x})", key.0)).map(drop)
}

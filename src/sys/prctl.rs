//! prctl(2), capset(2), personality(2): what a process may change about itself.

use super::check;
use crate::error::Result;
use std::ffi::{c_int, c_long, c_ulong};

fn prctl(option: c_int, args: [c_ulong; 2], name: &str) -> Result<c_long> {
    // SAFETY: the options used in this module take plain integers, and the unused arguments are zero as they demand.
    let ret = unsafe { libc::prctl(option, args[0], args[1], 0 as c_ulong, 0 as c_ulong) };
    check(c_long::from(ret), || format!("prctl({name}, {}, {})", args[0], args[1]))
}

/// `PR_SET_NO_NEW_PRIVS`: no execve from here on grants anything, and there is no way back.
pub fn set_no_new_privs() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, [1, 0], "PR_SET_NO_NEW_PRIVS").map(drop)
}

/// `PR_SET_KEEPCAPS`: whether permitted capabilities outlive the change from uid 0 to another one.
pub fn set_keep_capabilities(keep: bool) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, [keep.into(), 0], "PR_SET_KEEPCAPS").map(drop)
}

/// `PR_SET_DUMPABLE`: whether processes of the same user may look inside (ptrace, /proc/PID/{fd,mem,root}).
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, [dumpable.into(), 0], "PR_SET_DUMPABLE").map(drop)
}

/// `PR_GET_DUMPABLE`
pub fn is_dumpable() -> Result<bool> {
    Ok(prctl(libc::PR_GET_DUMPABLE, [0, 0], "PR_GET_DUMPABLE")? == 1)
}

/// `PR_SET_PDEATHSIG`: which signal comes when the process that made this one ends. A process that has lost it already gets none.
pub fn end_with_parent(signal: i32) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, [signal.unsigned_abs().into(), 0], "PR_SET_PDEATHSIG").map(drop)
}

/// `PR_CAPBSET_DROP`; EINVAL is the kernel's word for a number beyond its last capability.
pub fn drop_bounding(capability: u32) -> Result<()> {
    prctl(libc::PR_CAPBSET_DROP, [capability.into(), 0], "PR_CAPBSET_DROP").map(drop)
}

/// `PR_CAPBSET_READ`.
pub fn in_bounding(capability: u32) -> Result<bool> {
    Ok(prctl(libc::PR_CAPBSET_READ, [capability.into(), 0], "PR_CAPBSET_READ")? == 1)
}

/// `PR_CAP_AMBIENT_CLEAR_ALL`.
pub fn clear_ambient() -> Result<()> {
    let what = libc::PR_CAP_AMBIENT_CLEAR_ALL;
    prctl(libc::PR_CAP_AMBIENT, [what.unsigned_abs().into(), 0], "PR_CAP_AMBIENT").map(drop)
}

/// `PR_CAP_AMBIENT_RAISE`; the capability has to be permitted and inheritable.
pub fn raise_ambient(capability: u32) -> Result<()> {
    let what = libc::PR_CAP_AMBIENT_RAISE;
    prctl(libc::PR_CAP_AMBIENT, [what.unsigned_abs().into(), capability.into()], "PR_CAP_AMBIENT").map(drop)
}

/// `_LINUX_CAPABILITY_VERSION_3`: 64 bits in two words.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// capset(2) of the calling thread; bits that the kernel does not know are ignored by it.
pub fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    #[allow(clippy::cast_possible_truncation)] // each word takes its half
    let word = |shift: u32| CapabilityData {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let data = [word(0), word(32)];
    // SAFETY: version 3 takes a header and two words of data, which is what is passed; both outlive the call.
    let ret = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    check(ret, || {
        format!("capset(effective={effective:#x}, permitted={permitted:#x}, inheritable={inheritable:#x})")
    })
    .map(drop)
}

/// personality(2).
pub fn set_personality(persona: u64) -> Result<()> {
    // SAFETY: personality takes a plain integer.
    let ret = unsafe { libc::personality(persona) };
    check(c_long::from(ret), || format!("personality({persona:#x})")).map(drop)
}

/// getcwd(2) itself: the C library's function hides the `(unreachable)` in front of a directory outside of the root.
pub fn working_directory() -> Result<Vec<u8>> {
    let mut path = vec![0_u8; libc::PATH_MAX.unsigned_abs() as usize];
    // SAFETY: the buffer is as long as said and outlives the call.
    let ret = unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) };
    let length = check(ret, || "getcwd()".to_owned())?;
    // The length includes the NUL at the end.
    path.truncate(usize::try_from(length).unwrap_or_default().saturating_sub(1));
    Ok(path)
}

/// From here on files are created as `uid` and `gid` (credentials(7), file system ids) while every capability stays:
/// SECBIT_NO_SETUID_FIXUP keeps the kernel from dropping those that concern files.
pub fn create_as(uid: u32, gid: u32) -> Result<()> {
    set_secure_bits(secure_bits()? | CREATOR_BITS)?;
    set_file_system_ids(uid, gid)
}

/// Undoes [`create_as`] in a process that is going to be another program: one that gives up uid 0 has to lose its
/// capabilities with it.
pub fn create_as_oneself() -> Result<()> {
    set_file_system_ids(nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())?;
    set_secure_bits(secure_bits()? & !CREATOR_BITS)
}

const CREATOR_BITS: c_ulong = (libc::SECBIT_NO_SETUID_FIXUP | libc::SECBIT_KEEP_CAPS) as c_ulong;

fn secure_bits() -> Result<c_ulong> {
    Ok(prctl(libc::PR_GET_SECUREBITS, [0, 0], "PR_GET_SECUREBITS")?.cast_unsigned())
}

fn set_secure_bits(bits: c_ulong) -> Result<()> {
    prctl(libc::PR_SET_SECUREBITS, [bits, 0], "PR_SET_SECUREBITS").map(drop)
}

fn set_file_system_ids(uid: u32, gid: u32) -> Result<()> {
    // SAFETY: setfsgid(2) takes no pointers; it reports failure only by not changing anything, hence the second call.
    let (_, got_gid) = unsafe { (libc::setfsgid(gid), libc::setfsgid(u32::MAX)) };
    // SAFETY: as above, for setfsuid(2).
    let (_, got_uid) = unsafe { (libc::setfsuid(uid), libc::setfsuid(u32::MAX)) };
    if (got_uid.cast_unsigned(), got_gid.cast_unsigned()) != (uid, gid) {
        crate::bail!("create files as {uid}:{gid}: the file system ids are {got_uid}:{got_gid}");
    }
    Ok(())
}

/// Changes the effective uid alone; capabilities leave the effective set with uid 0 and come back with it.
pub fn set_effective_uid(uid: u32) -> Result<()> {
    // SAFETY: setresuid takes plain integers; u32::MAX leaves an id as it is.
    let ret = unsafe { libc::setresuid(u32::MAX, uid, u32::MAX) };
    check(c_long::from(ret), || format!("setresuid(-1, {uid}, -1)")).map(drop)
}

/// `PR_SET_CHILD_SUBREAPER`: orphans below this process become its children.
pub fn become_subreaper() -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, [1, 0], "PR_SET_CHILD_SUBREAPER").map(drop)
}

//! listmount(2) and statmount(2), Linux 6.8: what the kernel alone knows about a mount.

use super::{check, show};
use crate::error::Result;
use std::{
    ffi::c_long,
    os::fd::{AsRawFd, BorrowedFd},
};

/// `SYS_statmount` and `SYS_listmount`, the same on every architecture.
const STATMOUNT: c_long = 457;
const LISTMOUNT: c_long = 458;
/// `LSMT_ROOT` of linux/mount.h: every mount of the namespace.
const ROOT: u64 = u64::MAX;
/// `STATMOUNT_MNT_BASIC`
const BASIC: u64 = 0x2;
/// `STATMOUNT_MNT_UIDMAP` and `STATMOUNT_MNT_GIDMAP`, Linux 6.15. An older kernel leaves out what it does not know.
const MAPS: u64 = 0x2000 | 0x4000;
/// `NS_GET_MNTNS_ID` of linux/nsfs.h, `_IOR(0xb7, 5, __u64)`, Linux 6.11.
const GET_MOUNT_NAMESPACE_ID: libc::Ioctl = 0x8008_b705;

/// `MNT_ID_REQ_SIZE_VER1`
const REQUEST: u32 = 32;

/// `struct mnt_id_req`
#[repr(C)]
struct Request {
    size: u32,
    spare: u32,
    mount: u64,
    param: u64,
    namespace: u64,
}

/// `struct statmount` as far as it is read here, and the room behind it.
#[repr(C)]
struct Answer {
    size: u32,
    options: u32,
    mask: u64,
    superblock: [u64; 3],
    unique: [u64; 2],
    id: u32,
    parent: u32,
    between: [u64; 11],
    uids: [u32; 2],
    gids: [u32; 2],
    spare: [u64; 43],
    text: [u8; TEXT],
}

/// 340 lines of three numbers of ten digits, twice.
const TEXT: usize = 2 * 340 * 33;

/// The maps of an id-mapped mount, in the ids of the caller's user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountMaps {
    /// The mount's id in mountinfo.
    pub id: u64,
    /// Lines as in uid_map: id on disk, id that it appears as, how many.
    pub uids: String,
    /// The same for gids.
    pub gids: String,
}

/// The maps of the id-mapped mounts of a mount namespace; ids that the caller's user namespace does not have make the kernel
/// leave a map out. ENOSYS, ENOTTY: the kernel cannot tell (before 6.15 it tells of none). EPERM: the namespace belongs to
/// somebody else.
pub fn maps(mount_namespace: BorrowedFd<'_>) -> Result<Vec<MountMaps>> {
    let mut namespace = 0_u64;
    // SAFETY: this request writes eight bytes.
    let ret = unsafe { libc::ioctl(mount_namespace.as_raw_fd(), GET_MOUNT_NAMESPACE_ID, &raw mut namespace) };
    check(ret.into(), || format!("ioctl({}, NS_GET_MNTNS_ID)", show(mount_namespace)))?;
    let mut found = Vec::new();
    let mut last = 0;
    loop {
        let mounts = list(namespace, last)?;
        let Some(next) = mounts.last() else { return Ok(found) };
        last = *next;
        for mount in mounts {
            found.extend(stat(namespace, mount)?);
        }
    }
}

/// The next mounts after `last`, by their unique ids.
fn list(namespace: u64, last: u64) -> Result<Vec<u64>> {
    let request = Request { size: REQUEST, spare: 0, mount: ROOT, param: last, namespace };
    let mut mounts = vec![0_u64; 256];
    // SAFETY: the request is whole and has its size in it, the array has room for as many as are asked for.
    let ret = unsafe { libc::syscall(LISTMOUNT, &raw const request, mounts.as_mut_ptr(), mounts.len(), 0) };
    let count = check(ret, || "listmount(LSMT_ROOT)".into())?;
    mounts.truncate(usize::try_from(count).unwrap_or_default());
    Ok(mounts)
}

fn stat(namespace: u64, mount: u64) -> Result<Option<MountMaps>> {
    let param = BASIC | MAPS;
    let request = Request { size: REQUEST, spare: 0, mount, param, namespace };
    // SAFETY: the answer is plain data for which all zeroes is valid.
    let mut answer: Answer = unsafe { std::mem::zeroed() };
    // SAFETY: the request is whole and has its size in it, the answer's size is passed.
    let ret =
        unsafe { libc::syscall(STATMOUNT, &raw const request, &raw mut answer, size_of::<Answer>(), 0) };
    match check(ret, || "statmount()".into()) {
        // Unmounted since it was listed.
        Err(error) if error.errno() == Some(libc::ENOENT) => return Ok(None),
        other => other?,
    };
    let lines = |[count, offset]: [u32; 2]| {
        let text = answer.text.get(offset as usize..).unwrap_or_default();
        let lines = text.split(|byte| *byte == 0).take(count as usize).map(String::from_utf8_lossy);
        lines.collect::<Vec<_>>().join("\n")
    };
    let maps = MountMaps { id: answer.id.into(), uids: lines(answer.uids), gids: lines(answer.gids) };
    Ok((answer.mask & MAPS == MAPS).then_some(maps))
}

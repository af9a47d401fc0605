//! The mount API: open_tree, fsopen, mount_setattr, move_mount. Linux 5.2, mount_setattr(2) 5.12.

use super::{check, check_fd, cstring, show};
use crate::error::{Context, Error, Result};
use nix::errno::Errno;
use std::{
    ffi::{CStr, c_char, c_int, c_long, c_uint},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::Path,
};

const EMPTY_PATH: c_uint = libc::AT_EMPTY_PATH.cast_unsigned();

/// A detached clone of the mount at the path, with what is mounted below where `flags` has `AT_RECURSIVE`;
/// `AT_SYMLINK_NOFOLLOW` clones a symlink itself. The clone is a peer of a shared original.
pub fn clone_path(path: &Path, flags: c_int) -> Result<OwnedFd> {
    use std::os::unix::ffi::OsStrExt;
    let name = cstring(path.as_os_str().as_bytes())?;
    open_tree(libc::AT_FDCWD, &name, flags.cast_unsigned() | libc::OPEN_TREE_CLONE, || "AT_FDCWD".into())
}

/// As [`clone_path`], of the very object behind a descriptor of the caller's mount namespace.
pub fn clone_fd(fd: BorrowedFd<'_>, flags: c_int) -> Result<OwnedFd> {
    clone_at(fd, c"", flags)
}

/// As [`clone_path`], of `name` in `directory`; of the very object behind `directory` where the name is empty.
pub fn clone_at(directory: BorrowedFd<'_>, name: &CStr, flags: c_int) -> Result<OwnedFd> {
    let flags = flags.cast_unsigned() | libc::OPEN_TREE_CLONE | EMPTY_PATH;
    open_tree(directory.as_raw_fd(), name, flags, || show(directory))
}

fn open_tree(dir: RawFd, name: &CStr, flags: c_uint, shown: impl FnOnce() -> String) -> Result<OwnedFd> {
    let ret = raw_open_tree(dir, name, flags);
    check_fd(ret, || format!("open_tree({}, {name:?}, {:#x})", shown(), flags | libc::OPEN_TREE_CLOEXEC))
}

fn raw_open_tree(dir: RawFd, name: &CStr, flags: c_uint) -> c_long {
    let flags = flags | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: `dir` is AT_FDCWD or open, `name` is NUL-terminated.
    unsafe { libc::syscall(libc::SYS_open_tree, dir, name.as_ptr(), flags) }
}

/// A new mount namespace in which a copy of the detached `tree` is the root and nothing else is mounted: `OPEN_TREE_NAMESPACE`, Linux
/// 7.0. The copies are in the peer groups of their originals. None, without an error's text, where the kernel does not make it
/// (EINVAL, EPERM).
pub fn namespace_of(tree: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    const OPEN_TREE_NAMESPACE: c_uint = 2;
    let flags = OPEN_TREE_NAMESPACE | libc::AT_RECURSIVE.cast_unsigned() | EMPTY_PATH;
    let ret = raw_open_tree(tree.as_raw_fd(), c"", flags);
    if ret == -1 && matches!(Errno::last(), Errno::EINVAL | Errno::EPERM) {
        return Ok(None);
    }
    let call = || format!("open_tree({}, \"\", {:#x})", show(tree), flags | libc::OPEN_TREE_CLOEXEC);
    check_fd(ret, call).map(Some)
}

/// Moves a mount, detached or not, onto the object behind `target`. The descriptor stays the mount's root.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    attach_at(mount, target, c"")
}

/// As [`attach`], onto `name` in `directory`, a symlink itself; onto the object behind `directory` where the name is empty.
pub fn attach_at(mount: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both descriptors are open, both strings are NUL-terminated.
    let ret = unsafe {
        let (from, to) = (mount.as_raw_fd(), directory.as_raw_fd());
        libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), to, name.as_ptr(), flags)
    };
    check(ret, || match name.is_empty() {
        true => format!("move_mount({}, {})", show(mount), show(directory)),
        false => format!("move_mount({}, {}, {name:?})", show(mount), show(directory)),
    })
    .map(drop)
}

/// Attribute bits to set and to clear, and a propagation type (`MS_PRIVATE` …, 0 for no change): mount_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `MOUNT_ATTR_*`
    pub set: u64,
    /// `MOUNT_ATTR_*`
    pub clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`
    pub propagation: u64,
}

/// Changes the mount whose root is behind `mount`, and everything below it where `flags` has `AT_RECURSIVE`.
pub fn set_attributes(mount: BorrowedFd<'_>, attributes: Attributes, flags: c_int) -> Result<()> {
    let Attributes { set, clear, propagation } = attributes;
    let attr = libc::mount_attr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 };
    mount_setattr(mount, &attr, flags)
}

/// Maps the ids of a detached mount through a user namespace (`MOUNT_ATTR_IDMAP`).
pub fn set_idmap(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>, flags: c_int) -> Result<()> {
    let userns_fd = u64::from(user_namespace.as_raw_fd().cast_unsigned());
    let attr = libc::mount_attr { attr_set: libc::MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd };
    mount_setattr(mount, &attr, flags)
}

fn mount_setattr(mount: BorrowedFd<'_>, attr: &libc::mount_attr, flags: c_int) -> Result<()> {
    let flags = flags | libc::AT_EMPTY_PATH;
    // SAFETY: `mount` is open, the string is NUL-terminated, `attr` is a whole mount_attr and its size is passed.
    let ret = unsafe {
        let (fd, attr) = (mount.as_raw_fd(), std::ptr::from_ref(attr));
        libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, attr, size_of::<libc::mount_attr>())
    };
    check(ret, || {
        let libc::mount_attr { attr_set, attr_clr, propagation, .. } = attr;
        let shown = show(mount);
        format!(
            "mount_setattr({shown}, {flags:#x}, set={attr_set:#x}, clear={attr_clr:#x}, propagation={propagation:#x})"
        )
    })
    .map(drop)
}

/// A file system that is being configured.
#[derive(Debug)]
pub struct Configuration(OwnedFd);

impl Configuration {
    /// fsopen(2). The namespaces the file system will show are those of the calling process.
    pub fn open(fstype: &str) -> Result<Self> {
        let name = cstring(fstype)?;
        // SAFETY: `name` is NUL-terminated.
        let ret = unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), libc::FSOPEN_CLOEXEC) };
        let fd = check_fd(ret, || format!("fsopen({name:?})"));
        fd.map(Self).map_err(|error| match error.errno() {
            Some(libc::ENODEV) => error.hint(format_args!("the kernel has no file system {fstype}")),
            _ => error,
        })
    }

    /// fspick(2): the superblock of the mount behind a descriptor.
    pub fn pick(mount: BorrowedFd<'_>) -> Result<Self> {
        let flags = libc::FSPICK_CLOEXEC | libc::FSPICK_EMPTY_PATH;
        // SAFETY: `mount` is open, the string is NUL-terminated.
        let ret = unsafe { libc::syscall(libc::SYS_fspick, mount.as_raw_fd(), c"".as_ptr(), flags) };
        check_fd(ret, || format!("fspick({})", show(mount))).map(Self)
    }

    /// `FSCONFIG_SET_FLAG`
    pub fn flag(&self, key: &str) -> Result<()> {
        self.command(libc::FSCONFIG_SET_FLAG, Some(key), None)
    }

    /// `FSCONFIG_SET_FD`
    pub fn descriptor(&self, key: &str, value: BorrowedFd<'_>) -> Result<()> {
        let name = cstring(key)?;
        let (fd, value) = (self.0.as_raw_fd(), value.as_raw_fd());
        // SAFETY: both descriptors are open, the key is NUL-terminated, and this command takes no other pointer.
        let ret = unsafe {
            let none = std::ptr::null::<c_char>();
            libc::syscall(libc::SYS_fsconfig, fd, libc::FSCONFIG_SET_FD, name.as_ptr(), none, value)
        };
        check(ret, || format!("fsconfig({key:?}, fd {value})")).map(drop)
    }

    /// `FSCONFIG_SET_STRING`; the kernel takes values of up to 255 bytes.
    pub fn text(&self, key: &str, value: &str) -> Result<()> {
        self.command(libc::FSCONFIG_SET_STRING, Some(key), Some(value))
    }

    /// Creates the superblock and mounts it, detached, with these `MOUNT_ATTR_*`.
    pub fn mount(&self, attributes: u64) -> Result<OwnedFd> {
        self.command(libc::FSCONFIG_CMD_CREATE, None, None)?;
        let fd = self.0.as_raw_fd();
        // SAFETY: the descriptor is open.
        let ret = unsafe { libc::syscall(libc::SYS_fsmount, fd, libc::FSMOUNT_CLOEXEC, attributes) };
        check_fd(ret, || format!("fsmount({attributes:#x})"))
    }

    /// `FSCONFIG_CMD_RECONFIGURE`
    pub fn reconfigure(&self) -> Result<()> {
        self.command(libc::FSCONFIG_CMD_RECONFIGURE, None, None)
    }

    fn command(&self, command: libc::fsconfig_command, key: Option<&str>, value: Option<&str>) -> Result<()> {
        let key_name = key.map(cstring).transpose()?;
        let text = value.map(cstring).transpose()?;
        let pointer = |name: Option<&CStr>| name.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: the descriptor is open; each pointer is null, where the command wants that, or NUL-terminated.
        let ret = unsafe {
            let fd = self.0.as_raw_fd();
            let (key, text) = (pointer(key_name.as_deref()), pointer(text.as_deref()));
            libc::syscall(libc::SYS_fsconfig, fd, command, key, text, 0)
        };
        check(ret, || match (key, value) {
            (Some(key), Some(value)) => format!("fsconfig({key:?}, {value:?})"),
            (Some(key), None) => format!("fsconfig({key:?})"),
            _ => "fsconfig(create)".into(),
        })
        .map(drop)
        .map_err(|error| self.explained(error))
    }

    /// Puts in front of the error what the kernel has to say about it (fsopen(2), the message log of the descriptor).
    fn explained(&self, error: Error) -> Error {
        let mut line = [0; 512];
        // The log is an extra: where it is empty (ENODATA), errno alone tells the story.
        match nix::unistd::read(&self.0, &mut line) {
            Ok(length @ 3..) => error.context(String::from_utf8_lossy(&line[2..length]).trim_end()),
            _ => error,
        }
    }
}

/// Makes the working directory, a mount's root, the root of the mount namespace and drops the old root.
pub fn pivot_here() -> Result<()> {
    // SAFETY: both strings are NUL-terminated.
    let ret = unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) };
    check(ret, || "pivot_root(\".\", \".\")".into())?;
    nix::mount::umount2(".", nix::mount::MntFlags::MNT_DETACH).context("umount2(\".\", MNT_DETACH)")?;
    nix::unistd::chdir("/").context("chdir(\"/\")")
}

/// The id of the mount that holds the object behind a descriptor, and whether the object is that mount's root (statx(2)).
pub fn mount_of(fd: BorrowedFd<'_>) -> Result<(u64, bool)> {
    // SAFETY: statx is plain data for which all zeroes is valid.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    // By its number: the standard library refers to the C library's statx weakly, so that an optimised static program has none.
    // SAFETY: the descriptor is open, the string NUL-terminated, `stat` a whole statx.
    let ret = unsafe {
        let flags = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW;
        libc::syscall(libc::SYS_statx, fd.as_raw_fd(), c"".as_ptr(), flags, libc::STATX_MNT_ID, &raw mut stat)
    };
    check(ret, || format!("statx({}, STATX_MNT_ID)", show(fd)))?;
    let root = stat.stx_attributes & u64::from(libc::STATX_ATTR_MOUNT_ROOT.cast_unsigned()) != 0;
    Ok((stat.stx_mnt_id, root))
}

/// Makes every mount of the caller's mount namespace private, mount_namespaces(7): nothing done from here on reaches
/// another namespace.
pub fn make_all_private() -> Result<()> {
    let root = super::openat::own_root()?;
    let attributes = Attributes { propagation: libc::MS_PRIVATE, ..Attributes::default() };
    set_attributes(root.as_fd(), attributes, libc::AT_RECURSIVE)
}

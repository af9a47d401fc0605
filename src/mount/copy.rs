//! `tmpcopyup`: what the image has at a destination, copied into a new file system before that hides it. The content is
//! hostile: nothing but directories and regular files is ever opened, and those only after their type is known.

use super::root::kind_of;
use crate::{
    error::{Context, Result},
    sys::{proc::Proc, xattr},
};
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, readlinkat},
    libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID},
    sys::{
        stat::{FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstat, mkdirat, mknodat, utimensat},
        statfs::fstatfs,
        statvfs::FsFlags,
        time::TimeSpec,
    },
    unistd::{Gid, Uid, fchownat, symlinkat},
};
use std::{
    ffi::{CStr, CString},
    fs::File,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

/// Directories within each other; descriptors are held along the way.
const MAX_DEPTH: usize = 200;

/// What the mount that holds `from` keeps from its files, `MOUNT_ATTR_*`: a copy made with host privilege must not give life to
/// devices and set-id programs that are dead where they come from.
pub(super) fn powers_withheld(from: &OwnedFd) -> Result<u64> {
    let flags = fstatfs(from).context("statfs")?.flags();
    let attribute = |flag, attribute| if flags.contains(flag) { attribute } else { 0 };
    Ok(attribute(FsFlags::ST_NODEV, MOUNT_ATTR_NODEV) | attribute(FsFlags::ST_NOSUID, MOUNT_ATTR_NOSUID))
}

/// Copies the content of the directory `from` and its own owner, mode and times to `to`. `proc` shows the caller.
pub(super) fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>, proc: &Proc) -> Result<()> {
    let copy = Copy { proc };
    let directory = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let from = openat(from, ".", directory, Mode::empty()).context("open the directory")?;
    let to = openat(to, ".", directory, Mode::empty()).context("open the new file system")?;
    copy.directory(&from, &to, 0)
}

struct Copy<'a> {
    proc: &'a Proc,
}

impl Copy<'_> {
    /// Content first, then what marks the directory itself, because copying changes its times.
    fn directory(&self, from: &OwnedFd, to: &OwnedFd, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            crate::bail!("more than {MAX_DEPTH} directories within each other");
        }
        for name in names(from)? {
            self.entry(from, to, &name, depth).with_context(|| format!("copy {}", name.to_string_lossy()))?;
        }
        let stat = fstat(from).context("fstat")?;
        finish(from, to, &stat)
    }

    fn entry(&self, from: &OwnedFd, to: &OwnedFd, name: &CStr, depth: usize) -> Result<()> {
        let found = openat(from, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
            .context("open")?;
        let stat = fstat(&found).context("fstat")?;
        let private = Mode::S_IRWXU;
        match kind_of(&stat) {
            SFlag::S_IFDIR => {
                mkdirat(to, name, private).context("mkdir")?;
                let made =
                    openat(to, name, OFlag::O_RDONLY | FIXED, Mode::empty()).context("open the copy")?;
                self.directory(&self.reopen(&found)?, &made, depth + 1)
            }
            SFlag::S_IFREG => {
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | FIXED;
                let mut made = File::from(openat(to, name, flags, private).context("create")?);
                let mut content = File::from(self.reopen(&found)?);
                std::io::copy(&mut content, &mut made).context("copy content")?;
                finish(&OwnedFd::from(content), &OwnedFd::from(made), &stat)
            }
            SFlag::S_IFLNK => {
                let target = readlinkat(&found, "").context("readlink")?;
                symlinkat(target.as_os_str(), to, name).context("symlink")?;
                label(to, name, &stat)
            }
            kind => {
                let mode = Mode::from_bits_truncate(stat.st_mode);
                mknodat(to, name, kind, mode, stat.st_rdev).context("mknod")?;
                label(to, name, &stat)
            }
        }
    }

    /// Opens for reading the very object whose type has been looked at.
    fn reopen(&self, found: &OwnedFd) -> Result<OwnedFd> {
        let path = format!("{}/fd/{}", self.proc.own()?, found.as_raw_fd());
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        openat(self.proc, path.as_str(), flags, Mode::empty()).context("open for reading")
    }
}

const FIXED: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_CLOEXEC);

/// The names in a directory, `.` and `..` left out.
fn names(directory: &OwnedFd) -> Result<Vec<CString>> {
    let mut stream = Dir::from_fd(directory.try_clone().context("dup")?).context("open directory")?;
    let mut names = Vec::new();
    for entry in stream.iter() {
        let entry = entry.context("read directory")?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Owner, mode, extended attributes and times of an open copy; the mode after the owner because chown(2) clears set-id bits.
fn finish(from: &OwnedFd, to: &OwnedFd, stat: &FileStat) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    nix::unistd::fchown(to, Some(uid), Some(gid)).context("chown")?;
    xattr::copy(from.as_fd(), to.as_fd())?;
    fchmod(to, Mode::from_bits_truncate(stat.st_mode)).context("chmod")?;
    let (accessed, modified) = times(stat);
    nix::sys::stat::futimens(to, &accessed, &modified).context("set times")
}

/// Owner and times of a copy that cannot be opened.
fn label(dir: &OwnedFd, name: &CStr, stat: &FileStat) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW).context("chown")?;
    let (accessed, modified) = times(stat);
    match utimensat(dir, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink) {
        // A file system may have no times for symlinks.
        Err(Errno::EOPNOTSUPP) => Ok(()),
        other => other.context("set times"),
    }
}

fn times(stat: &FileStat) -> (TimeSpec, TimeSpec) {
    (TimeSpec::new(stat.st_atime, stat.st_atime_nsec), TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec))
}

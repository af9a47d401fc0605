//! openat2(2), and what stands in for it where it is missing (before Linux 5.6) or an outer container's filter refuses it.

use super::{check_fd, cstring, mount::mount_of, show};
use crate::error::{Context, Error, Result};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::stat::{Mode, SFlag, fstat},
};
use std::{
    ffi::{CStr, c_long},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
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
    /// The starting directory is `/` for the whole resolution.
    pub const IN_ROOT: u64 = 0x10;
}

/// The root directory of the calling process, O_PATH.
pub fn own_root() -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open("/", flags, Mode::empty()).context("open /")
}

/// Opens `path` below `dir` under the `RESOLVE_*` rules of `resolve`; close-on-exec is always added. A resolution that
/// lost a race (EAGAIN) is tried again a bounded number of times.
pub fn openat2(dir: BorrowedFd<'_>, path: &[u8], flags: i32, resolve: u64) -> Result<OwnedFd> {
    let name = cstring(path)?;
    let ret = call(dir, &name, flags, resolve);
    check_fd(ret, || format!("openat2({}, {name:?}, flags={flags:#o}, resolve={resolve:#x})", show(dir)))
}

/// As [`openat2`]; none where there is nothing, at the price of no error text.
pub fn find(dir: BorrowedFd<'_>, path: &[u8], flags: i32, resolve: u64) -> Result<Option<OwnedFd>> {
    let name = cstring(path)?;
    let ret = call(dir, &name, flags, resolve);
    if ret == -1 && matches!(Errno::last(), Errno::ENOENT | Errno::ENOTDIR) {
        return Ok(None);
    }
    check_fd(ret, || format!("openat2({}, {name:?}, flags={flags:#o}, resolve={resolve:#x})", show(dir)))
        .map(Some)
}

/// Whether an error of [`openat2`] may mean that the call itself is refused.
pub fn is_turned_down(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::ENOSYS | libc::EPERM))
}

/// Opens what is there at a relative `path` below `dir`, close-on-exec, with no symlink (ELOOP) and no mount point (EXDEV) on
/// the way and no way up. For file systems of the kernel's, where whatever breaks these rules is an attack or a mistake.
pub fn beneath(dir: BorrowedFd<'_>, path: &[u8], flags: i32) -> Result<OwnedFd> {
    match openat2(dir, path, flags, BENEATH) {
        Err(error) if is_turned_down(&error) => walk(dir, path, flags),
        opened => opened,
    }
}

/// As [`beneath`]; none where there is nothing.
pub fn find_beneath(dir: BorrowedFd<'_>, path: &[u8], flags: i32) -> Result<Option<OwnedFd>> {
    match find(dir, path, flags, BENEATH) {
        Err(error) if is_turned_down(&error) => match walk(dir, path, flags) {
            Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
            walked => walked.map(Some),
        },
        found => found,
    }
}

const BENEATH: u64 = resolve::BENEATH | resolve::NO_XDEV | resolve::NO_SYMLINKS;

/// The same by one openat(2) for each component. The last one is looked at before it is opened, so that nothing happens to
/// what lies over it, and again afterwards, so that nothing can have come to lie over it meanwhile.
fn walk(dir: BorrowedFd<'_>, path: &[u8], flags: i32) -> Result<OwnedFd> {
    let refused = |errno: Errno| {
        let path = String::from_utf8_lossy(path);
        Error::syscall(format_args!("openat({}, {path:?}, flags={flags:#o})", show(dir)), errno as i32)
    };
    let (mount, _) = mount_of(dir)?;
    let step = |at: BorrowedFd<'_>, name: &[u8], flags: OFlag| {
        if name == b".." {
            return Err(refused(Errno::EXDEV));
        }
        let found = nix::fcntl::openat(at, name, flags, Mode::empty()).map_err(refused)?;
        let mode = SFlag::from_bits_truncate(fstat(&found).map_err(refused)?.st_mode);
        if mode & SFlag::S_IFMT == SFlag::S_IFLNK {
            return Err(refused(Errno::ELOOP));
        }
        if mount_of(found.as_fd())?.0 != mount {
            return Err(refused(Errno::EXDEV));
        }
        Ok(found)
    };
    if path.first() == Some(&b'/') {
        return Err(refused(Errno::EXDEV));
    }
    let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    let last = names.next_back().unwrap_or_default();
    let look = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut way: Option<OwnedFd> = None;
    for name in names {
        way = Some(step(way.as_ref().map_or(dir, AsFd::as_fd), name, look)?);
    }
    let parent = way.as_ref().map_or(dir, AsFd::as_fd);
    step(parent, last, look)?;
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    step(parent, last, flags)
}

/// One step through a magic link of procfs, from a directory that is proven already: openat(2), close-on-exec.
pub fn through_link(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let opened = nix::fcntl::openat(dir, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
    opened.map_err(|errno| Error::syscall(format_args!("openat({}, {name:?})", show(dir)), errno as i32))
}

fn call(dir: BorrowedFd<'_>, name: &CStr, flags: i32, resolve: u64) -> c_long {
    // SAFETY: open_how is plain data for which all zeroes is valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::from((flags | libc::O_CLOEXEC).cast_unsigned());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{fork::isolated, scratch::Dir};
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn both_ways_agree_on_what_lies_beneath() {
        isolated::run(|| {
            let dir = Dir::new("beneath");
            fs::create_dir_all(dir.join("a/b")).unwrap();
            fs::create_dir(dir.join("over")).unwrap();
            for file in ["a/file", "a/b/deep", "over/file", "covered", "cover"] {
                fs::write(dir.join(file), file).unwrap();
            }
            for (target, link) in [("a", "link"), ("/etc", "out"), ("nothing", "dangling"), ("..", "up")] {
                symlink(target, dir.join(link)).unwrap();
            }
            let bind = |from: &str, to: &str| {
                let flags = nix::mount::MsFlags::MS_BIND;
                nix::mount::mount(Some(&dir.join(from)), &dir.join(to), None::<&str>, flags, None::<&str>)
                    .unwrap();
            };
            bind("a", "over");
            bind("cover", "covered");
            let root = fs::File::open(&*dir).unwrap();
            let errno = |result: Result<OwnedFd>| match result {
                Ok(fd) => Ok(fstat(&fd).unwrap().st_ino),
                Err(error) => Err(Errno::from_raw(error.errno().unwrap())),
            };
            for (path, flags, expected) in [
                ("a/file", libc::O_RDONLY, Ok(())),
                ("a/b/deep", libc::O_RDWR, Ok(())),
                ("a//b/./deep", libc::O_PATH, Ok(())),
                (".", libc::O_RDONLY | libc::O_DIRECTORY, Ok(())),
                ("a/b", libc::O_PATH | libc::O_DIRECTORY, Ok(())),
                ("a/file", libc::O_RDONLY | libc::O_DIRECTORY, Err(Errno::ENOTDIR)),
                ("a/file/x", libc::O_RDONLY, Err(Errno::ENOTDIR)),
                ("a/none", libc::O_RDONLY, Err(Errno::ENOENT)),
                ("", libc::O_RDONLY, Err(Errno::ENOENT)),
                ("link/file", libc::O_RDONLY, Err(Errno::ELOOP)),
                ("link", libc::O_RDONLY, Err(Errno::ELOOP)),
                ("dangling", libc::O_RDONLY, Err(Errno::ELOOP)),
                ("out/passwd", libc::O_RDONLY, Err(Errno::ELOOP)),
                ("up", libc::O_PATH | libc::O_DIRECTORY, Err(Errno::ELOOP)),
                ("..", libc::O_PATH, Err(Errno::EXDEV)),
                ("/etc", libc::O_PATH, Err(Errno::EXDEV)),
                ("over/file", libc::O_RDONLY, Err(Errno::EXDEV)),
                ("covered", libc::O_WRONLY, Err(Errno::EXDEV)),
            ] {
                let walked = errno(walk(root.as_fd(), path.as_bytes(), flags));
                assert_eq!(walked, errno(beneath(root.as_fd(), path.as_bytes(), flags)), "{path}");
                assert_eq!(walked.map(drop), expected, "{path}");
            }
            for point in ["over", "covered"] {
                nix::mount::umount2(&dir.join(point), nix::mount::MntFlags::MNT_DETACH).unwrap();
            }
        });
    }
}

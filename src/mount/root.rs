//! The one way into the container's file system: a path is resolved below a descriptor, and what comes out is a descriptor.

use super::op::Link;
use crate::{
    error::{Context, Error, Result},
    sys::openat::{find, is_turned_down, openat2, own_root, resolve},
};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, readlinkat},
    sys::{
        stat::{FileStat, Mode, SFlag, fstat, mkdirat, mknodat},
        statfs::{PROC_SUPER_MAGIC, fstatfs},
    },
};
use std::{
    cell::Cell,
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::File,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::Path,
};

/// Symlinks on one path, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;
const FIND: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// How paths are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// openat2(2) with `RESOLVE_IN_ROOT` (Linux 5.6).
    Kernel,
    /// Component by component, where openat2 is missing or an outer container's filter refuses it.
    Walk,
}

/// What is made of a missing last component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// A directory, 0755.
    Directory,
    /// An empty file, 0644.
    File,
}

/// The root of a container's file system.
#[derive(Debug)]
pub struct Rootfs {
    fd: OwnedFd,
    lookup: Cell<Lookup>,
}

impl Rootfs {
    /// Takes the root directory. Where the kernel turns [`Lookup::Kernel`] down, it becomes [`Lookup::Walk`].
    pub fn new(fd: OwnedFd, lookup: Lookup) -> Self {
        Self { fd, lookup: Cell::new(lookup) }
    }

    /// The root directory of the calling process, which is in the container already.
    pub fn own() -> Result<Self> {
        Ok(Self::new(own_root()?, Lookup::Kernel))
    }

    /// The object at `path`, O_PATH; magic links (`/proc/self/exe`) lead nowhere.
    pub fn find(&self, path: &Path, link: Link) -> Result<OwnedFd> {
        let (name, flags, rules) = by_kernel(path, link);
        self.look(
            || openat2(self.fd.as_fd(), name, libc::O_PATH | flags, rules),
            || self.walk(path, link, None),
        )
        .with_context(|| format!("find {} in the root file system", path.display()))
    }

    /// As [`Rootfs::find`]; none where there is nothing.
    pub fn find_existing(&self, path: &Path, link: Link) -> Result<Option<OwnedFd>> {
        let (name, flags, rules) = by_kernel(path, link);
        self.look(
            || find(self.fd.as_fd(), name, libc::O_PATH | flags, rules),
            || match self.walk(path, link, None) {
                Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
                found => found.map(Some),
            },
        )
        .with_context(|| format!("find {} in the root file system", path.display()))
    }

    /// Looks in the one way, or in the other where the kernel turns the one down.
    fn look<T>(&self, kernel: impl Fn() -> Result<T>, walk: impl Fn() -> Result<T>) -> Result<T> {
        if self.lookup.get() == Lookup::Walk {
            return walk();
        }
        match kernel() {
            Err(error) if is_turned_down(&error) && self.is_without_openat2() => {
                self.lookup.set(Lookup::Walk);
                walk()
            }
            found => found,
        }
    }

    /// Whether it is the call that is turned down, and not what it was asked for.
    fn is_without_openat2(&self) -> bool {
        let asked = openat2(self.fd.as_fd(), b".", libc::O_PATH, resolve::IN_ROOT);
        asked.is_err_and(|error| is_turned_down(&error))
    }

    /// The regular file at `path`, opened for reading; none where there is nothing. Whatever else is there is not opened, for
    /// to open a device may do something. For a process whose own root directory this is.
    pub fn open_file(&self, path: &Path) -> Result<Option<File>> {
        let place = |fd: &OwnedFd| {
            let stat = fstat(fd).context("fstat")?;
            Ok::<_, Error>((kind(fd)? == SFlag::S_IFREG).then_some((stat.st_dev, stat.st_ino)))
        };
        let Some(found) = self.find_existing(path, Link::Follow)? else { return Ok(None) };
        let seen = place(&found)?;
        if seen.is_none() {
            crate::bail!("{} in the root file system is not a file", path.display());
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let (name, _, rules) = by_kernel(path, Link::Follow);
        let file = self.look(
            || openat2(self.fd.as_fd(), name, flags.bits(), rules),
            // What the plain path leads to has to be what the walk has led to.
            || Ok(openat(&self.fd, name, flags, Mode::empty())?),
        );
        let file = file.with_context(|| format!("open {} in the root file system", path.display()))?;
        if place(&file)? != seen {
            crate::bail!("{} in the root file system has just been replaced", path.display());
        }
        Ok(Some(file.into()))
    }

    /// The object at `path`, made where it is missing, with the directories on the way. A dangling symlink is followed
    /// inside the root, as real images want it for `/etc/resolv.conf`.
    pub fn create(&self, path: &Path, link: Link, missing: Missing) -> Result<OwnedFd> {
        self.walk(path, link, Some(missing))
            .with_context(|| format!("create {} in the root file system", path.display()))
    }

    /// Resolves `path` with one openat(2) per component. `..` goes back along the descriptors that led here, so nothing
    /// that is renamed meanwhile can lead above the root.
    fn walk(&self, path: &Path, link: Link, missing: Option<Missing>) -> Result<OwnedFd> {
        let mut way: Vec<OwnedFd> = Vec::new();
        let mut ahead: VecDeque<OsString> = components(path.as_os_str().as_bytes()).collect();
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                way.pop();
                continue;
            }
            let here = way.last().unwrap_or(&self.fd).as_fd();
            let make = missing.map(|last| if ahead.is_empty() { last } else { Missing::Directory });
            let next = step(here, &name, make)?;
            let is_link = kind(&next)? == SFlag::S_IFLNK;
            if !is_link || (link == Link::Last && ahead.is_empty()) {
                way.push(next);
                continue;
            }
            links += 1;
            if links > MAX_LINKS || link == Link::Refuse || is_magic(here, &next)? {
                return Err(Errno::ELOOP).with_context(|| format!("symlink {}", name.display()));
            }
            let target = readlinkat(&next, "").with_context(|| format!("readlink {}", name.display()))?;
            let target = target.into_vec();
            if target.first() == Some(&b'/') {
                way.clear();
            }
            for component in components(&target).rev() {
                ahead.push_front(component);
            }
        }
        way.pop().map_or_else(|| self.fd.try_clone().context("dup"), Ok)
    }
}

impl AsFd for Rootfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Rootfs> for OwnedFd {
    fn from(root: Rootfs) -> Self {
        root.fd
    }
}

/// Opens one component, itself even where it is a symlink; makes it first where it is missing and `make` says so.
fn step(dir: BorrowedFd<'_>, name: &OsStr, make: Option<Missing>) -> Result<OwnedFd> {
    let open = || openat(dir, name, FIND, Mode::empty());
    let step = match (open(), make) {
        (Err(Errno::ENOENT), Some(missing)) => {
            let made = match missing {
                Missing::Directory => mkdirat(dir, name, Mode::from_bits_truncate(0o755)),
                Missing::File => mknodat(dir, name, SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0),
            };
            match made {
                // Somebody else was faster; what is there now is looked at like anything else.
                Ok(()) | Err(Errno::EEXIST) => open(),
                Err(errno) => return Err(errno).with_context(|| format!("create {}", name.display())),
            }
        }
        (found, _) => found,
    };
    step.with_context(|| format!("open {}", name.display()))
}

/// Name below the root, flags and rules for openat2(2).
fn by_kernel(path: &Path, link: Link) -> (&[u8], i32, u64) {
    let absolute = path.as_os_str().as_bytes();
    let relative = absolute.iter().position(|byte| *byte != b'/').map_or(&b"."[..], |at| &absolute[at..]);
    let (flags, rules) = match link {
        Link::Follow => (0, 0),
        Link::Last => (libc::O_NOFOLLOW, 0),
        Link::Refuse => (0, resolve::NO_SYMLINKS),
    };
    (relative, flags, rules | resolve::IN_ROOT | resolve::NO_MAGICLINKS)
}

/// The type of an open object.
pub fn kind(fd: &OwnedFd) -> Result<SFlag> {
    Ok(kind_of(&fstat(fd).context("fstat")?))
}

/// The type that stat(2) tells.
pub fn kind_of(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// Whether a symlink is one of procfs that jumps instead of naming a path. Those in the root directory of a procfs
/// (`self`, `mounts`, `net`) are ordinary.
fn is_magic(dir: BorrowedFd<'_>, link: &OwnedFd) -> Result<bool> {
    const PROC_ROOT_INODE: u64 = 1;
    let on_proc = fstatfs(link).context("statfs")?.filesystem_type() == PROC_SUPER_MAGIC;
    Ok(on_proc && fstat(dir).context("fstat")?.st_ino != PROC_ROOT_INODE)
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = OsString> + use<> {
    let parts: Vec<OsString> = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(|part| OsString::from_vec(part.to_vec()))
        .collect();
    parts.into_iter()
}

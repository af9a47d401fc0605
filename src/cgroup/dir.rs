//! A directory of a cgroup file system, reached by descriptor alone.

use super::write::Version;
use crate::{
    bail,
    error::{Context, Error, Result},
    sys::{
        fd,
        openat::{beneath, find_beneath},
    },
};
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag},
    sys::{
        stat::{Mode, fchmod, mkdirat},
        statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, fstatfs},
    },
    unistd::{AccessFlags, Gid, Uid, UnlinkatFlags, faccessat, fchownat, unlinkat},
};
use std::{
    fs::File,
    io::Write,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// An open directory and its name for messages.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    name: PathBuf,
}

/// Whether a directory is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was made.
    New,
    /// It was there.
    Existed,
}

impl Dir {
    /// Opens the root of a hierarchy after proving that it is one.
    pub fn hierarchy(mount: &Path) -> Result<(Self, Version)> {
        let open = || format!("open cgroup hierarchy {}", mount.display());
        let fd = nix::fcntl::open(mount, DIRECTORY, Mode::empty()).with_context(open)?;
        let version = match fstatfs(&fd).with_context(open)?.filesystem_type() {
            CGROUP2_SUPER_MAGIC => Version::V2,
            CGROUP_SUPER_MAGIC => Version::V1,
            _ => bail!("{} is not a cgroup file system", mount.display()),
        };
        Ok((Self { fd, name: mount.to_owned() }, version))
    }

    /// Opens a directory below this one; an empty path is this one.
    pub fn open(&self, path: &str) -> Result<Self> {
        let name = self.name.join(path);
        let path = if path.is_empty() { "." } else { path };
        let fd = beneath(self.fd.as_fd(), path.as_bytes(), DIRECTORY.bits())
            .with_context(|| format!("open cgroup {}", name.display()))?;
        Ok(Self { fd, name })
    }

    /// As [`Dir::open`]; none where there is none.
    pub fn find(&self, path: &str) -> Result<Option<Self>> {
        let name = self.name.join(path);
        let found = find_beneath(self.fd.as_fd(), path.as_bytes(), DIRECTORY.bits())
            .with_context(|| format!("open cgroup {}", name.display()))?;
        Ok(found.map(|fd| Self { fd, name }))
    }

    /// Makes a directory of mode 0755, whatever the umask is.
    pub fn make(&self, child: &str) -> Result<(Self, Made)> {
        let make = || format!("create cgroup {}", self.name.join(child).display());
        let made = match mkdirat(&self.fd, child, Mode::from_bits_truncate(0o755)) {
            Ok(()) => Made::New,
            Err(Errno::EEXIST) => Made::Existed,
            Err(error) => return Err(hint_mkdir(Error::from(error), error).context(make())),
        };
        let dir = self.open(child)?;
        if made == Made::New {
            fchmod(&dir.fd, Mode::from_bits_truncate(0o755)).with_context(make)?;
        }
        Ok((dir, made))
    }

    /// Removes an empty directory.
    pub fn remove(&self, child: &str) -> Result<()> {
        unlinkat(&self.fd, child, UnlinkatFlags::RemoveDir)
            .with_context(|| format!("remove cgroup {}", self.name.join(child).display()))
    }

    /// Names of the directories in this one.
    pub fn children(&self) -> Result<Vec<String>> {
        let list = || format!("list cgroup {}", self.name.display());
        let mut dir = nix::dir::Dir::from_fd(self.open("")?.fd).with_context(list)?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let entry = entry.with_context(list)?;
            let name = entry.file_name().to_string_lossy();
            if entry.file_type() == Some(nix::dir::Type::Directory) && name != "." && name != ".." {
                names.push(name.into_owned());
            }
        }
        Ok(names)
    }

    /// Opens a file to read it.
    pub fn open_file(&self, file: &str) -> Result<File> {
        beneath(self.fd.as_fd(), file.as_bytes(), libc::O_RDONLY)
            .map(File::from)
            .with_context(|| format!("read {}", self.name.join(file).display()))
    }

    /// The contents of a file.
    pub fn read(&self, file: &str) -> Result<String> {
        let mut bytes = Vec::with_capacity(4096);
        fd::read_all(self.open_file(file)?.as_fd(), &mut bytes)
            .with_context(|| format!("read {}", self.name.join(file).display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes a value, each line of it in one write(2).
    pub fn write(&self, file: &str, value: &str) -> Result<()> {
        let write = || format!("write {value:?} to {}", self.name.join(file).display());
        let fd = beneath(self.fd.as_fd(), file.as_bytes(), libc::O_WRONLY).with_context(write)?;
        let mut open = File::from(fd);
        for line in value.lines() {
            let written = open.write(line.as_bytes()).with_context(write)?;
            if written != line.len() {
                bail!("{}: {written} of {} bytes were taken", write(), line.len());
            }
        }
        Ok(())
    }

    /// Whether the caller may write to a file, asked without writing.
    pub fn check_writable(&self, file: &str) -> Result<()> {
        faccessat(&self.fd, file, AccessFlags::W_OK, AtFlags::AT_EACCESS)
            .with_context(|| format!("write to {}", self.name.join(file).display()))
    }

    /// Gives the directory itself (empty name) or a file in it to somebody.
    pub fn give(&self, file: &str, uid: u32, gid: u32) -> Result<()> {
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH;
        fchownat(&self.fd, file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)
            .with_context(|| format!("give {} to {uid}:{gid}", self.name.join(file).display()))
    }

    /// Its name for messages.
    pub fn name(&self) -> &Path {
        &self.name
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn hint_mkdir(error: Error, errno: Errno) -> Error {
    match errno {
        Errno::EACCES | Errno::EPERM | Errno::EROFS => error.hint(super::apply::DELEGATE),
        Errno::EAGAIN => {
            error.hint("a group above has reached its cgroup.max.descendants or cgroup.max.depth")
        }
        _ => error,
    }
}

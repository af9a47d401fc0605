//! procfs, read and written through one verified handle (CVE-2019-16884, CVE-2025-52881: a path below /proc is only as
//! good as the mounts over it, so no other way in exists in this program).

use super::openat::{openat2, resolve};
use crate::error::{Context, Error, Result};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// The root directory of a procfs, proven to be one.
#[derive(Debug)]
pub struct Proc(OwnedFd);

/// inode number of the root directory of every procfs, `PROC_ROOT_INO` in the kernel.
const ROOT_INODE: u64 = 1;

impl Proc {
    /// Opens `/proc` and proves that it is the root of a procfs.
    pub fn open() -> Result<Self> {
        let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open("/proc", flags, nix::sys::stat::Mode::empty()).context("open /proc")?;
        Self::verified(fd)
    }

    /// Takes a descriptor, such as a detached mount, after proving that it is the root of a procfs.
    pub fn verified(fd: OwnedFd) -> Result<Self> {
        let kind = fstatfs(&fd).context("statfs /proc")?.filesystem_type();
        let inode = nix::sys::stat::fstat(&fd).context("stat /proc")?.st_ino;
        if kind != PROC_SUPER_MAGIC || inode != ROOT_INODE {
            return Err(Error::new("/proc is not the root of a procfs")
                .hint("mount procfs on /proc: mount -t proc proc /proc"));
        }
        Ok(Self(fd))
    }

    /// Opens a file below the handle; symlinks (`self` among them: use [`Proc::own`]) and mounts on the way are errors.
    pub fn open_file(&self, path: &str, flags: i32) -> Result<OwnedFd> {
        let rules = resolve::BENEATH | resolve::NO_XDEV | resolve::NO_SYMLINKS;
        openat2(self.0.as_fd(), path.as_bytes(), flags, 0, rules)
    }

    /// A namespace of a process by its name in /proc/PID/ns: the directory is proven to be procfs, then one step is taken
    /// through the magic link.
    pub fn namespace(&self, pid: &str, name: &str) -> Result<OwnedFd> {
        let directory = self.open_file(&format!("{pid}/ns"), libc::O_PATH | libc::O_DIRECTORY)?;
        openat2(directory.as_fd(), name.as_bytes(), libc::O_RDONLY, 0, resolve::MAGIC_STEP)
            .with_context(|| format!("open the {name} namespace of process {pid}"))
    }

    /// The contents of a file, `1234/status` for instance.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        // What is read here is a page at most, nearly always.
        let mut bytes = Vec::with_capacity(4096);
        let mut file = File::from(self.open_file(path, libc::O_RDONLY)?);
        file.read_to_end(&mut bytes).with_context(|| format!("read /proc/{path}"))?;
        Ok(bytes)
    }

    /// As [`Proc::read`], as text.
    pub fn read_text(&self, path: &str) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.read(path)?).into_owned())
    }

    /// Writes a whole value in one write(2), as id maps and sysctls want it.
    pub fn write(&self, path: &str, value: &[u8]) -> Result<()> {
        let mut file = File::from(self.open_file(path, libc::O_WRONLY)?);
        let written =
            file.write(value).with_context(|| format!("write {:?} to /proc/{path}", Short(value)))?;
        if written != value.len() {
            crate::bail!("write to /proc/{path}: {written} of {} bytes were taken", value.len());
        }
        Ok(())
    }

    /// The processes that this procfs shows.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let fd = self.open_file(".", libc::O_RDONLY | libc::O_DIRECTORY)?;
        let mut directory = nix::dir::Dir::from_fd(fd).context("list /proc")?;
        let mut pids = Vec::new();
        for entry in directory.iter() {
            pids.extend(entry.context("list /proc")?.file_name().to_string_lossy().parse::<i32>());
        }
        Ok(pids)
    }

    /// The caller's own directory in this procfs, a number even where the caller's pid namespace counts differently.
    pub fn own(&self) -> Result<String> {
        // The link's text is the answer, so no lookup goes through it.
        let link = nix::fcntl::readlinkat(&self.0, "self").context("readlink /proc/self")?;
        Ok(link.to_string_lossy().into_owned())
    }
}

impl AsFd for Proc {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A value as it appears in an error: not longer than a line.
struct Short<'a>(&'a [u8]);

impl std::fmt::Debug for Short<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy(&self.0[..self.0.len().min(80)]);
        write!(f, "{text:?}{}", if self.0.len() > 80 { "…" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_status() {
        let proc = Proc::open().unwrap();
        let own = proc.own().unwrap();
        assert_eq!(own, std::process::id().to_string());
        assert!(proc.read_text(&format!("{own}/status")).unwrap().contains("Uid:"));
    }

    #[test]
    fn a_symlink_is_refused() {
        let proc = Proc::open().unwrap();
        assert!(proc.read("self/status").unwrap_err().to_string().contains("ELOOP"));
    }

    #[test]
    fn a_directory_that_is_no_procfs_is_refused() {
        assert!(Proc::verified(File::open("/").unwrap().into()).is_err());
    }
}

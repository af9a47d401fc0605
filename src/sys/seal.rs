//! The program runs from an image of itself that nobody can write to, where a container could otherwise overwrite it
//! (CVE-2019-5736): a process that init becomes can reach the file of init's image through /proc/PID/exe.

use super::{
    check, check_fd, exec,
    mount::{self, Attributes},
    openat,
    proc::Proc,
    show,
};
use crate::error::{Context, Error, Result};
use nix::{
    fcntl::AtFlags,
    sys::{
        stat::{FileStat, fstatat},
        statvfs::{FsFlags, fstatvfs},
    },
};
use std::{
    ffi::CString,
    fs::File,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
};

const NAME: &std::ffi::CStr = c"urun";
const SEALS: i32 = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

/// The program's directory in the verified procfs, whose `exe` is its file.
#[derive(Debug)]
pub struct Program(OwnedFd);

impl Program {
    /// The running one.
    pub fn own(proc: &Proc) -> Result<Self> {
        proc.open_file(&proc.own()?, libc::O_PATH | libc::O_DIRECTORY).map(Self)
    }

    /// Owner and mode of its file.
    pub fn stat(&self) -> Result<FileStat> {
        fstatat(&self.0, "exe", AtFlags::empty()).context("stat the program's own file")
    }

    /// Its file.
    pub fn open(&self) -> Result<Image> {
        openat::through_link(self.0.as_fd(), "exe").map(Image).context("open the program's own file")
    }
}

/// The file of the running program.
#[derive(Debug)]
pub struct Image(OwnedFd);

impl Image {
    /// Whether it is one that nobody can write to already, made by [`Image::run_protected`].
    pub fn is_protected(&self) -> Result<bool> {
        // SAFETY: F_GET_SEALS takes no further argument; on a file that has no seals it fails with EINVAL. One on a tmpfs has some.
        let seals = unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_GET_SEALS) };
        if seals != -1 && seals & SEALS == SEALS {
            return Ok(true);
        }
        // Only a mount of this file alone has it for its root.
        let (_, is_root) = mount::mount_of(self.0.as_fd())?;
        let flags = fstatvfs(&self.0).context("statvfs the program's own file")?.flags();
        Ok(is_root && flags.contains(FsFlags::ST_RDONLY))
    }

    /// Starts the program anew, with the same arguments and environment: from a read-only mount of its file, which costs nothing,
    /// or from a sealed copy in memory where there can be no such mount (no CAP_SYS_ADMIN, Linux before 5.12, a filter around
    /// the caller). Returns only on failure.
    pub fn run_protected(self) -> Result<std::convert::Infallible> {
        let image = self.read_only().or_else(|_| self.sealed_copy())?;
        let args = strings(std::env::args_os().map(OsStringExt::into_vec))?;
        let env = strings(
            std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat()),
        )?;
        let errno = exec::fexecve(image.as_fd(), &args, &env);
        Err(Error::syscall("execveat(the protected image of the program)", errno))
    }

    /// A mount of the file that is nowhere attached. With its descriptor, which execve(2) closes, it leaves its namespace, and then
    /// no call can change its attributes, clone it or mount it any more: mount_setattr(2) and open_tree(2) want a mount
    /// that is in one.
    fn read_only(&self) -> Result<OwnedFd> {
        let mount = mount::clone_fd(self.0.as_fd(), 0)?;
        let set = libc::MOUNT_ATTR_RDONLY;
        let attributes = Attributes { set, propagation: libc::MS_PRIVATE, ..Attributes::default() };
        mount::set_attributes(mount.as_fd(), attributes, 0)?;
        Ok(mount)
    }

    fn sealed_copy(self) -> Result<OwnedFd> {
        let (mut from, mut to) = (File::from(self.0), File::from(memory_file()?));
        std::io::copy(&mut from, &mut to).context("copy the program into memory")?;
        seal(to.as_fd())?;
        Ok(to.into())
    }
}

/// How often sealing is tried, a pause apart.
const ATTEMPTS: u32 = 200;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// Forbids every further change. The kernel answers EBUSY while anything of its own holds a page of the file, as reclaim
/// does for a moment on a busy host.
fn seal(file: BorrowedFd<'_>) -> Result<()> {
    for _ in 1..ATTEMPTS {
        // SAFETY: F_ADD_SEALS takes an integer.
        let ret = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS) };
        if ret != -1 || nix::errno::Errno::last() != nix::errno::Errno::EBUSY {
            return check(ret.into(), || format!("fcntl({}, F_ADD_SEALS, {SEALS:#x})", show(file))).map(drop);
        }
        std::thread::sleep(PAUSE);
    }
    Err(Error::syscall(format_args!("fcntl({}, F_ADD_SEALS, {SEALS:#x})", show(file)), libc::EBUSY))
        .context("seal the copy of the program")
}

fn memory_file() -> Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is NUL-terminated.
    let mut ret = unsafe { libc::memfd_create(NAME.as_ptr(), flags | libc::MFD_EXEC) };
    if ret == -1 && nix::errno::Errno::last() == nix::errno::Errno::EINVAL {
        // Before Linux 6.3 every memory file was executable and the flag unknown.
        // SAFETY: as above.
        ret = unsafe { libc::memfd_create(NAME.as_ptr(), flags) };
    }
    check_fd(ret.into(), || format!("memfd_create({NAME:?})"))
}

fn strings(list: impl Iterator<Item = Vec<u8>>) -> Result<Vec<CString>> {
    list.map(super::cstring).collect()
}

//! procfs, read and written through one verified handle (CVE-2019-16884, CVE-2025-52881: a path below /proc is only as
//! good as the mounts over it, so no other way in exists in this program).

use super::{fd, openat, pidfd};
use crate::error::{Context, Error, Result};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use std::{
    cell::Cell,
    fs::File,
    io::Write,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    path::PathBuf,
    sync::atomic::{AtomicI32, Ordering},
};

/// The root directory of a procfs, proven to be one.
///
/// It may show an outer pid namespace: a nested container has the outer /proc where the kernel gives it none of its own. The
/// same process has another number there, so whoever knows a process by its pid asks [`Proc::process`] for its directory.
#[derive(Debug)]
pub struct Proc {
    root: OwnedFd,
    /// How many pid namespaces below the one that is shown the caller lives, once that is known.
    depth: Cell<Option<usize>>,
}

/// The number of the handle that was opened last.
static LAST: AtomicI32 = AtomicI32::new(-1);

/// What the kernel calls the object behind a descriptor, for an error: those arise where nobody has a handle, and what is /proc by its
/// name may be the container's. None where there is no procfs to ask.
pub(super) fn name(fd: BorrowedFd<'_>) -> Option<PathBuf> {
    // SAFETY: fcntl(2) takes numbers alone, and says so where this one is not open any more.
    let copy = unsafe { libc::fcntl(LAST.load(Ordering::Relaxed), libc::F_DUPFD_CLOEXEC, 0) };
    let last = (copy >= 0).then(|| {
        // SAFETY: the kernel has just handed this descriptor to us and nobody else has seen it.
        Proc::verified(unsafe { OwnedFd::from_raw_fd(copy) }).ok()
    });
    // Nothing here may tell an error by a descriptor's name.
    let proc = last.flatten().or_else(|| Proc::open().ok())?;
    let link = nix::fcntl::readlinkat(&proc.root, format!("self/fd/{}", fd.as_raw_fd()).as_str());
    link.ok().map(PathBuf::from)
}

/// inode number of the root directory of every procfs, `PROC_ROOT_INO` in the kernel.
const ROOT_INODE: u64 = 1;

impl Proc {
    /// Opens `/proc` and proves that it is the root of a procfs.
    pub fn open() -> Result<Self> {
        let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open("/proc", flags, nix::sys::stat::Mode::empty()).context("open /proc")?;
        let proc = Self::verified(fd)?;
        LAST.store(proc.root.as_raw_fd(), Ordering::Relaxed);
        Ok(proc)
    }

    /// Takes a descriptor, such as a detached mount, after proving that it is the root of a procfs.
    pub fn verified(fd: OwnedFd) -> Result<Self> {
        let kind = fstatfs(&fd).context("statfs /proc")?.filesystem_type();
        let inode = nix::sys::stat::fstat(&fd).context("stat /proc")?.st_ino;
        if kind != PROC_SUPER_MAGIC || inode != ROOT_INODE {
            return Err(Error::new("/proc is not the root of a procfs")
                .hint("mount procfs on /proc: mount -t proc proc /proc"));
        }
        Ok(Self { root: fd, depth: Cell::new(None) })
    }

    /// Opens a file below the handle; symlinks (`self` among them: use [`Proc::own`]) and mounts on the way are errors.
    pub fn open_file(&self, path: &str, flags: i32) -> Result<OwnedFd> {
        openat::beneath(self.root.as_fd(), path.as_bytes(), flags)
    }

    /// /proc/PID/ns of a process.
    pub fn namespaces(&self, pid: &str) -> Result<OwnedFd> {
        self.open_file(&format!("{pid}/ns"), libc::O_PATH | libc::O_DIRECTORY)
    }

    /// A namespace of a process by its name in /proc/PID/ns: the directory is proven to be procfs, then one step is taken
    /// through the magic link.
    pub fn namespace(&self, pid: &str, name: &str) -> Result<OwnedFd> {
        let directory = self.namespaces(pid)?;
        openat::through_link(directory.as_fd(), name)
            .with_context(|| format!("open the {name} namespace of process {pid}"))
    }

    /// The inode number of a namespace, which tells it from every other of its kind (namespaces(7)).
    pub fn namespace_inode(&self, pid: &str, name: &str) -> Result<u64> {
        let directory = self.namespaces(pid)?;
        let stat = nix::sys::stat::fstatat(&directory, name, nix::fcntl::AtFlags::empty());
        stat.map(|stat| stat.st_ino).with_context(|| format!("stat the {name} namespace of process {pid}"))
    }

    /// The contents of a file, `1234/status` for instance.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        // What is read here is a page at most, nearly always.
        let mut bytes = Vec::with_capacity(4096);
        let file = self.open_file(path, libc::O_RDONLY)?;
        fd::read_all(file.as_fd(), &mut bytes).with_context(|| format!("read /proc/{path}"))?;
        Ok(bytes)
    }

    /// As [`Proc::read`], as text.
    pub fn read_text(&self, path: &str) -> Result<String> {
        let text = String::from_utf8(self.read(path)?);
        Ok(text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
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

    /// The directories of the processes that this procfs shows.
    pub fn processes(&self) -> Result<Vec<String>> {
        let fd = self.open_file(".", libc::O_RDONLY | libc::O_DIRECTORY)?;
        let mut directory = nix::dir::Dir::from_fd(fd).context("list /proc")?;
        let mut names = Vec::new();
        for entry in directory.iter() {
            let name = entry.context("list /proc")?.file_name().to_string_lossy().into_owned();
            names.extend(name.bytes().all(|byte| byte.is_ascii_digit()).then_some(name));
        }
        Ok(names)
    }

    /// The directory of a process by its number in the caller's pid namespace. The process lives or has not been reaped.
    pub fn process(&self, pid: i32) -> Result<String> {
        if self.depth()? == 0 {
            return Ok(pid.to_string());
        }
        let handle = pidfd::open(pid)?;
        // The one place where the kernel says it from the outside in (pidfd_open(2), fdinfo): as this procfs counts.
        let path = format!("{}/fdinfo/{}", self.own()?, handle.as_raw_fd());
        let text = self.read_text(&path)?;
        let number = field(&text, "Pid:").and_then(|words| words.trim().parse::<i32>().ok());
        match number.filter(|number| *number > 0) {
            Some(number) => Ok(number.to_string()),
            None => Err(Error::new(format_args!("/proc does not show process {pid}"))),
        }
    }

    /// The number that the process of a directory has in the caller's pid namespace; none where it has none there.
    pub fn pid(&self, directory: &str) -> Result<Option<i32>> {
        match self.depth()? {
            0 => Ok(directory.parse().ok()),
            depth => Ok(numbers(&self.read_text(&format!("{directory}/status"))?).get(depth).copied()),
        }
    }

    /// The status of the caller, whose directory is `own`.
    pub fn own_status(&self, own: &str) -> Result<String> {
        let text = self.read_text(&format!("{own}/status"))?;
        self.depth.set(Some(numbers(&text).len().saturating_sub(1)));
        Ok(text)
    }

    fn depth(&self) -> Result<usize> {
        if self.depth.get().is_none() {
            self.own_status(&self.own()?)?;
        }
        Ok(self.depth.get().unwrap_or_default())
    }

    /// /proc/PID/fd of the caller.
    pub fn descriptors(&self) -> Result<OwnedFd> {
        self.open_file(&format!("{}/fd", self.own()?), libc::O_PATH | libc::O_DIRECTORY)
    }

    /// What the kernel calls the object behind a descriptor of the caller's, as the link in /proc/PID/fd says.
    pub fn descriptor(&self, fd: BorrowedFd<'_>) -> Result<PathBuf> {
        let link = nix::fcntl::readlinkat(self.descriptors()?, fd.as_raw_fd().to_string().as_str());
        link.map(PathBuf::from).with_context(|| format!("readlink /proc/self/fd/{}", fd.as_raw_fd()))
    }

    /// The caller's own directory in this procfs, a number even where the caller's pid namespace counts differently.
    pub fn own(&self) -> Result<String> {
        // The link's text is the answer, so no lookup goes through it.
        let link = nix::fcntl::readlinkat(&self.root, "self").context("readlink /proc/self")?;
        Ok(link.to_string_lossy().into_owned())
    }
}

impl AsFd for Proc {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// The rest of the line that begins with `name`.
pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let begins_a_line = |at: usize| at == 0 || text.as_bytes()[at - 1] == b'\n';
    let (at, _) = text.match_indices(name).find(|(at, _)| begins_a_line(*at))?;
    text[at + name.len()..].lines().next()
}

/// The numbers of a process in the pid namespace that the procfs shows and in each below it, down to its own
/// (proc_pid_status(5), `NSpid`).
fn numbers(status: &str) -> Vec<i32> {
    let words = field(status, "NSpid:").unwrap_or_default().split_ascii_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
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
    use crate::sys::{
        clone::{Birth, spawn},
        fork::isolated,
        scratch::child,
    };
    use nix::sched::CloneFlags;

    #[test]
    fn a_field_begins_its_line() {
        assert_eq!(field("Name:\tCapEff:\tff\nCapEff:\t01\n", "CapEff:"), Some("\t01"));
        assert_eq!(field("Pid:\t7", "Pid:"), Some("\t7"));
        assert_eq!(field("NSPid:\t7\n", "Pid:"), None);
    }

    #[test]
    fn reads_its_own_status() {
        let proc = Proc::open().unwrap();
        let own = proc.own().unwrap();
        assert_eq!(own, std::process::id().to_string());
        assert!(proc.read_text(&format!("{own}/status")).unwrap().contains("Uid:"));
    }

    #[test]
    fn a_process_of_an_inner_pid_namespace_is_found_by_its_own_number() {
        let proc = Proc::open().unwrap();
        assert_eq!(proc.process(1).unwrap(), "1");
        assert_eq!(numbers("Pid:\t7\nNSpid:\t7\t2\n"), [7, 2]);
        let mut outer = child(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID, || {
            let look = || {
                let proc = Proc::open()?;
                let own = proc.process(1)?;
                let counts = (std::process::id(), proc.pid(&own)?, proc.pid("1")?);
                match own == proc.own()? && own != "1" && counts == (1, Some(1), None) {
                    true => Ok(()),
                    false => Err(Error::new(format_args!("{own} {counts:?}"))),
                }
            };
            let inner = spawn(&Birth::default(), || match look() {
                Ok(()) => 0,
                Err(error) => panic!("{error}"),
            })?;
            pidfd::wait(inner.as_fd()).map(|exit| exit.to_string())
        });
        assert_eq!(outer.report(), "exit status 0");
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

    #[test]
    fn an_error_names_a_descriptor_by_the_handle_whatever_is_called_proc() {
        isolated::run(|| {
            let _proc = Proc::open().unwrap();
            let file = File::open("/etc/passwd").unwrap();
            let none = Option::<&str>::None;
            nix::mount::mount(Some("image"), "/proc", Some("tmpfs"), nix::mount::MsFlags::empty(), none)
                .unwrap();
            std::fs::create_dir_all("/proc/self/fd").unwrap();
            std::os::unix::fs::symlink("/lie", format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
            assert_eq!(name(file.as_fd()), Some("/etc/passwd".into()));
            LAST.store(-1, Ordering::Relaxed);
            assert_eq!(name(file.as_fd()), None);
        });
    }
}

//! What happens on a file system while the runtime runs, as the kernel reports it (fanotify(7), a mark on the whole file system).
//!
//! Reported is every file of that file system that is opened for writing (FAN_CLOSE_WRITE), written or cut (FAN_MODIFY), made
//! (mknod, mkdir, symlink, link: FAN_CREATE), removed, renamed, or given another owner, mode, time or extended attribute
//! (FAN_ATTRIB), through whatever path, mount, mount namespace or descriptor; inside [`super::world::CANARIES`] every open as well.
//!
//! It cannot see: descriptors opened with O_PATH, which change nothing; mounts (the tables of mounts are compared instead); other
//! file systems: procfs, sysfs and cgroups, whose files the runtime writes on purpose, and those that the runtime makes itself;
//! and what happens to a file that is already removed. The host's programs are on a read-only mount.

use nix::{fcntl::OFlag, sys::stat::Mode};
use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::Read,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

const EVENTS: u64 = libc::FAN_OPEN
    | libc::FAN_CLOSE_WRITE
    | libc::FAN_MODIFY
    | libc::FAN_ATTRIB
    | libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_MOVED_FROM
    | libc::FAN_MOVED_TO
    | libc::FAN_ONDIR;
/// `FAN_EVENT_INFO_TYPE_DFID_NAME`: a directory's handle and a name in it.
const DIRECTORY_AND_NAME: u8 = 2;
const OVERFLOW: u64 = 0x4000;

pub struct Watch {
    group: File,
    root: File,
}

/// Something that happened to a path, as far as it has one still.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    pub path: PathBuf,
    mask: u64,
    pid: i32,
}

impl Event {
    /// It was opened, perhaps for reading alone.
    pub fn is_open(&self) -> bool {
        self.mask & !libc::FAN_ONDIR == libc::FAN_OPEN
    }

    /// Something was written to it, as everybody does to /dev/null.
    pub fn is_write(&self) -> bool {
        self.mask & !(libc::FAN_OPEN | libc::FAN_CLOSE_WRITE | libc::FAN_MODIFY) == 0
    }
}

impl Watch {
    /// Watches the file system that holds `root`, whose paths are seen from there.
    pub fn new(root: &Path) -> Self {
        let flags = libc::FAN_CLASS_NOTIF
            | libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK
            | libc::FAN_UNLIMITED_QUEUE
            | libc::FAN_REPORT_DFID_NAME;
        // SAFETY: takes no pointers.
        let group = unsafe { libc::fanotify_init(flags, libc::O_RDONLY.cast_unsigned()) };
        assert!(group >= 0, "fanotify_init: {}", std::io::Error::last_os_error());
        // SAFETY: the descriptor is new and nobody else's.
        let group = File::from(unsafe { OwnedFd::from_raw_fd(group) });
        let root = File::open(root).unwrap();
        // SAFETY: both descriptors are open; no path is a path of the descriptor itself.
        let marked = unsafe {
            let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
            libc::fanotify_mark(group.as_raw_fd(), flags, EVENTS, root.as_raw_fd(), std::ptr::null())
        };
        assert_eq!(marked, 0, "fanotify_mark: {}", std::io::Error::last_os_error());
        let watch = Self { group, root };
        watch.proves_itself();
        watch
    }

    /// A watch that sees nothing would be happy with everything.
    fn proves_itself(&self) {
        let path = Path::new("/canary/file");
        drop(File::options().write(true).open(path).unwrap());
        std::os::unix::fs::chown(path, Some(0), Some(0)).unwrap();
        let seen = self.take();
        let of = |mask| seen.iter().any(|event| event.path == path && event.mask & mask != 0);
        assert!(of(libc::FAN_CLOSE_WRITE) && of(libc::FAN_ATTRIB), "nothing is seen: {seen:?}");
    }

    /// Throws away what has happened so far.
    pub fn forget(&self) {
        self.read(|_| ());
    }

    /// What has happened since the last call, each once.
    pub fn take(&self) -> Vec<Event> {
        let (mut directories, mut seen) = (HashMap::new(), std::collections::HashSet::new());
        self.read(|event| {
            let Some((handle, name)) = parse(event) else { return };
            let directory = directories.entry(handle.to_vec()).or_insert_with(|| self.directory(handle));
            let number = |at: usize| u64::from_ne_bytes(event[at..at + 8].try_into().unwrap());
            let pid = i32::from_ne_bytes(event[20..24].try_into().unwrap());
            // A directory that is gone was made or is missed where it was, and that is another event.
            if let Some(directory) = directory {
                let name = OsStr::from_bytes(name);
                let path = if name == "." { directory.clone() } else { directory.join(name) };
                seen.insert(Event { path, mask: number(8), pid });
            }
        });
        seen.into_iter().collect()
    }

    fn read(&self, mut each: impl FnMut(&[u8])) {
        let mut buffer = vec![0_u8; 1 << 18];
        loop {
            let length = match (&self.group).read(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("read events: {error}"),
            };
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                let size = u32::from_ne_bytes(rest[..4].try_into().unwrap());
                let (event, next) = rest.split_at(usize::try_from(size).unwrap());
                let mask = u64::from_ne_bytes(event[8..16].try_into().unwrap());
                assert_eq!(mask & OVERFLOW, 0, "events were lost");
                each(event);
                rest = next;
            }
        }
    }

    /// Where the directory with this `struct file_handle` is.
    fn directory(&self, handle: &[u8]) -> Option<PathBuf> {
        // The kernel reads two numbers in front, so the bytes have to lie as numbers do.
        let mut words = vec![0_u32; handle.len().div_ceil(4)];
        for (word, bytes) in words.iter_mut().zip(handle.chunks(4)) {
            let mut whole = [0; 4];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u32::from_ne_bytes(whole);
        }
        // SAFETY: the descriptor is open; the handle is whole, aligned, and not written to.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_open_by_handle_at,
                self.root.as_raw_fd(),
                words.as_mut_ptr(),
                libc::O_PATH,
            )
        };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        // SAFETY: the descriptor is new and nobody else's.
        let mut fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let path = loop {
            match std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())) {
                Ok(path) => break path,
                // Its name is longer than the kernel writes; one above it is in the same place for the question that is asked.
                Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => {
                    fd = nix::fcntl::openat(&fd, "..", OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty())
                        .unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        };
        (!path.as_os_str().as_bytes().ends_with(b" (deleted)")).then_some(path)
    }
}

/// The handle and the name of an event: `struct fanotify_event_metadata`, then a `struct fanotify_event_info_fid` with an eight
/// byte file system id, a `struct file_handle` and a string.
fn parse(event: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = usize::from(u16::from_ne_bytes(event[6..8].try_into().unwrap()));
    let info = event.get(start..)?;
    if *info.first()? != DIRECTORY_AND_NAME {
        return None;
    }
    let length = usize::from(u16::from_ne_bytes(info[2..4].try_into().unwrap()));
    let (handle, size) = (&info[12..length], u32::from_ne_bytes(info[12..16].try_into().unwrap()));
    let (handle, name) = handle.split_at(8 + usize::try_from(size).unwrap());
    Some((handle, name.split(|byte| *byte == 0).next().unwrap()))
}

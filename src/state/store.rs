//! Where records live: one directory a container below the state root, reached only through descriptors.
//!
//! Readers take no lock: `state.json` is replaced by rename(2), so they see the old record or the new one. Whoever
//! changes a container holds its lock, an flock(2) on its directory, which dies with its holder.

use super::{id::ContainerId, record::Record};
use crate::{
    bail,
    error::{Context, Error, Kind, Result},
    sys::{
        fd,
        lock::{Asked, Lock},
    },
};
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, renameat},
    sys::stat::{FileStat, Mode, fchmod, fstat, fstatat, mkdirat},
    unistd::{UnlinkatFlags, geteuid, unlinkat},
};
use std::{
    ffi::OsStr,
    fs::{DirBuilder, File},
    io::Write,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

/// Name of the socket that `create` binds in a container's directory and `start` unlinks: as long as it exists, the
/// container waits to be started.
pub const START_SOCKET: &str = "start";

/// How long whoever has made a container's directory tries to get its lock. A `state` that asks whether anybody holds the lock
/// holds it itself for a moment.
pub const FIRST_LOCK: Duration = Duration::from_secs(1);

/// How long a command waits for another one that is busy with the container; runc waits as long.
pub const PATIENCE: Duration = Duration::from_secs(10);

const STATE: &str = "state.json";
const CONFIG: &str = "config.json";

/// A state root. One that does not exist yet holds no containers.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    dir: Option<Arc<OwnedFd>>,
}

impl Store {
    /// Opens the state root at `path`, which must belong to the caller and be writable by nobody else: what is stored
    /// there decides which processes are killed.
    pub fn open(path: &Path) -> Result<Self> {
        let dir = open_root(path).with_context(|| format!("open state root {}", path.display()))?;
        Ok(Self { path: path.to_owned(), dir: dir.map(Arc::new) })
    }

    /// The state root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory of a new container, and the state root if need be, and takes the container's lock.
    pub fn create(&mut self, id: &ContainerId) -> Result<Entry> {
        self.make_root().with_context(|| format!("make state root {}", self.path.display()))?;
        let root = self.root(id)?;
        match mkdirat(root, id.as_str(), Mode::S_IRWXU) {
            Err(Errno::EEXIST) => {
                return Err(Error::new(format_args!("container with given ID already exists: {id}"))
                    .kind(Kind::Exists)
                    .hint(format_args!(
                        "choose another id, or remove the container: urun delete --force {id}"
                    )));
            }
            other => other.with_context(|| format!("mkdir {}", self.path.join(id.as_str()).display()))?,
        }
        // `delete --force` may clear the directory before the lock is taken; then the lock says so.
        let locked = self.entry(id).and_then(|mut entry| {
            entry.lock(FIRST_LOCK)?;
            Ok(entry)
        });
        locked.map_err(|error| match error.is(Kind::NoContainer) {
            true => error,
            false => match unlinkat(root, id.as_str(), UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => error,
                Err(errno) => error.also(&Error::from(errno).context("remove the new directory")),
            },
        })
    }

    /// The first one of `id`, `id-2`, `id-3`, … that no container has.
    pub fn free(&self, id: &ContainerId) -> ContainerId {
        let is_taken = |candidate: &ContainerId| {
            let dir = self.dir.as_ref();
            dir.is_some_and(|dir| fstatat(dir, candidate.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok())
        };
        let candidates = std::iter::once(id.clone()).chain((2..).map(|number| id.numbered(number)));
        candidates.into_iter().find(|candidate| !is_taken(candidate)).unwrap_or_else(|| id.clone())
    }

    /// The container called `id`.
    pub fn find(&self, id: &ContainerId) -> Result<Entry> {
        self.entry(id)
    }

    /// The ids of all containers, sorted.
    pub fn list(&self) -> Result<Vec<ContainerId>> {
        if self.dir.is_none() {
            return Ok(Vec::new());
        }
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&self.path).with_context(|| format!("list {}", self.path.display()))? {
            let entry = entry.with_context(|| format!("list {}", self.path.display()))?;
            // What is no directory or has no id for a name was not put here by urun.
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if let (true, Some(Ok(id))) = (is_dir, entry.file_name().to_str().map(str::parse)) {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Makes a directory for something else than a container, whose name no container can have, and opens it.
    pub(super) fn make_directory(&mut self, name: &str) -> Result<OwnedFd> {
        self.make_root().with_context(|| format!("make state root {}", self.path.display()))?;
        let step = || format!("make {}", self.path.join(name).display());
        let Some(root) = &self.dir else { bail!("{}: it is gone", step()) };
        match mkdirat(root, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).with_context(step),
        }
        let dir = openat(root, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()).with_context(step)?;
        ours(&dir).with_context(step).map(|()| dir)
    }

    fn make_root(&mut self) -> Result<()> {
        if self.dir.is_none() {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.path).context("mkdir")?;
            self.dir = open_root(&self.path)?.map(Arc::new);
        }
        Ok(())
    }

    fn root(&self, id: &ContainerId) -> Result<&Arc<OwnedFd>> {
        self.dir.as_ref().ok_or_else(|| missing(id))
    }

    fn entry(&self, id: &ContainerId) -> Result<Entry> {
        let root = self.root(id)?;
        let path = self.path.join(id.as_str());
        let dir = match openat(root, id.as_str(), DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()) {
            Err(Errno::ENOENT) => return Err(missing(id)),
            other => other.with_context(|| format!("open {}", path.display()))?,
        };
        ours(&dir).with_context(|| format!("open {}", path.display()))?;
        Ok(Entry { id: id.clone(), path, root: Arc::clone(root), dir, lock: None })
    }
}

pub(super) const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

fn open_root(path: &Path) -> Result<Option<OwnedFd>> {
    let dir = match nix::fcntl::open(path, DIRECTORY, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(None),
        other => other?,
    };
    ours(&dir)?;
    Ok(Some(dir))
}

/// Takes the lock of a directory; none where another holder keeps it longer than `patience`.
pub(super) fn lock_directory(dir: &OwnedFd, patience: Duration) -> Result<Option<Lock>> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    // A descriptor of its own: flock(2) holds the open file description, not the directory.
    let mut fd = openat(dir, ".", DIRECTORY, Mode::empty()).context("open")?;
    loop {
        match Lock::exclusive(fd)? {
            Asked::Held(lock) => return Ok(Some(lock)),
            Asked::Busy(back) if Instant::now() < deadline => fd = back,
            Asked::Busy(_) => return Ok(None),
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Refuses a directory that somebody else could have filled.
pub(super) fn ours(dir: &OwnedFd) -> Result<()> {
    let stat = fstat(dir).context("stat")?;
    if stat.st_uid != geteuid().as_raw() {
        return Err(Error::new(format_args!("it belongs to uid {}, not to uid {}", stat.st_uid, geteuid()))
            .hint("run urun as the user who created the containers"));
    }
    if stat.st_mode & 0o022 != 0 {
        let mode = stat.st_mode & 0o7777;
        return Err(
            Error::new(format_args!("others may write to it (mode {mode:04o})")).hint("chmod 0700 it")
        );
    }
    Ok(())
}

fn missing(id: &ContainerId) -> Error {
    Error::new(format_args!("container \"{id}\" does not exist")).kind(Kind::NoContainer)
}

/// The directory of one container.
#[derive(Debug)]
pub struct Entry {
    id: ContainerId,
    path: PathBuf,
    root: Arc<OwnedFd>,
    dir: OwnedFd,
    lock: Option<Lock>,
}

impl Entry {
    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The directory on the host, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory itself.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Takes the container's lock, waiting no longer than `patience` for another holder. A container that was deleted
    /// meanwhile is [`Kind::NoContainer`].
    ///
    /// The lock belongs to the open directory, so a forked child keeps it until it closes its descriptors or this
    /// process releases it ([`Entry::unlock`] releases every copy).
    pub fn lock(&mut self, patience: Duration) -> Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        self.lock =
            lock_directory(&self.dir, patience).with_context(|| format!("lock {}", self.path.display()))?;
        if self.lock.is_none() {
            bail!("container \"{}\" is busy: another urun is creating, starting or deleting it", self.id);
        }
        if self.is_linked()? {
            return Ok(());
        }
        self.lock = None;
        Err(missing(&self.id))
    }

    /// Releases the lock.
    pub fn unlock(&mut self) {
        // Dropping it calls LOCK_UN, which also ends the lock of every inherited copy.
        self.lock = None;
    }

    /// Whether another process holds the lock, that is, whether it creates, starts or deletes the container right now.
    pub fn is_busy(&self) -> Result<bool> {
        if self.lock.is_some() {
            return Ok(false);
        }
        let fd = openat(&self.dir, ".", DIRECTORY, Mode::empty()).context("open the directory to lock")?;
        let asked = Lock::shared(fd).with_context(|| format!("lock {}", self.path.display()))?;
        Ok(matches!(asked, Asked::Busy(_)))
    }

    /// The stored record; none when `create` did not get as far as storing one.
    pub fn record(&self) -> Result<Option<Record>> {
        match self.read(STATE)? {
            Some(bytes) => Record::decode(&bytes)
                .with_context(|| format!("container \"{}\"", self.id))
                .map(Some)
                .hint(format_args!("urun delete --force {} clears what is left of it", self.id)),
            None => Ok(None),
        }
    }

    /// Replaces the stored record as a whole.
    pub fn save(&self, record: &Record) -> Result<()> {
        self.write(STATE, &record.encode()?)
    }

    /// The config.json that the container was created with.
    pub fn config(&self) -> Result<Vec<u8>> {
        self.read(CONFIG)?.ok_or_else(|| {
            Error::new(format_args!("container \"{}\" has no copy of its config.json", self.id))
        })
    }

    /// Stores the config.json that the container is created with, exactly as it was read. Once, before the record names an init:
    /// until then nobody looks.
    pub fn save_config(&self, bytes: &[u8]) -> Result<()> {
        self.write_new(CONFIG, bytes).with_context(|| format!("write {}/{CONFIG}", self.path.display()))
    }

    /// Where `create` binds the socket on which the container waits for its start.
    pub fn start_socket(&self) -> PathBuf {
        self.path.join(START_SOCKET)
    }

    /// Makes a directory in the container's own, which others may look into.
    pub fn make_directory(&self, name: &str) -> Result<()> {
        let path = || self.path.join(name);
        mkdirat(&self.dir, name, Mode::S_IRWXU).with_context(|| format!("mkdir {}", path().display()))?;
        let dir = openat(&self.dir, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())
            .with_context(|| format!("open {}", path().display()))?;
        // Whatever the umask is.
        fchmod(&dir, Mode::from_bits_truncate(0o755)).with_context(|| format!("chmod {}", path().display()))
    }

    /// Opens such a directory; none where there is none.
    pub fn open_directory(&self, name: &str) -> Result<Option<OwnedFd>> {
        match openat(&self.dir, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()) {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno).with_context(|| format!("open {}", self.path.join(name).display())),
        }
    }

    /// Whether the container waits to be started.
    pub fn awaits_start(&self) -> Result<bool> {
        match self.stat(START_SOCKET) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno).with_context(|| format!("stat {}/{START_SOCKET}", self.path.display())),
        }
    }

    /// Removes the socket: the container is started.
    pub fn forget_start_socket(&self) -> Result<()> {
        unlinkat(&self.dir, START_SOCKET, UnlinkatFlags::NoRemoveDir)
            .with_context(|| format!("unlink {}/{START_SOCKET}", self.path.display()))
    }

    /// Removes the directory; the record goes last, so that an interrupted removal can be taken up again.
    pub fn remove(self) -> Result<()> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).with_context(|| format!("list {}", self.path.display()))? {
            names.push(entry.with_context(|| format!("list {}", self.path.display()))?.file_name());
        }
        names.sort_by_key(|name| name == STATE);
        for name in names {
            match unlinkat(&self.dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(Errno::EISDIR) => self.remove_directory(&name)?,
                Err(errno) => {
                    return Err(errno).with_context(|| format!("unlink {}", self.path.join(name).display()));
                }
            }
        }
        match unlinkat(&self.root, self.id.as_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno).with_context(|| format!("rmdir {}", self.path.display())),
        }
    }

    /// Removes a directory in the container's own with the files in it.
    fn remove_directory(&self, name: &OsStr) -> Result<()> {
        let path = self.path.join(name);
        let step = || format!("remove {}", path.display());
        let dir = openat(&self.dir, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()).with_context(step)?;
        for entry in std::fs::read_dir(&path).with_context(step)? {
            let file = entry.with_context(step)?.file_name();
            unlinkat(&dir, file.as_os_str(), UnlinkatFlags::NoRemoveDir).with_context(step)?;
        }
        unlinkat(&self.dir, name, UnlinkatFlags::RemoveDir).with_context(step)
    }

    /// Whether the container's name still leads to this directory.
    pub fn is_linked(&self) -> Result<bool> {
        let here = fstat(&self.dir).context("stat")?;
        match fstatat(&self.root, self.id.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(there) => Ok((here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno).with_context(|| format!("stat {}", self.path.display())),
        }
    }

    fn stat(&self, name: &str) -> nix::Result<FileStat> {
        fstatat(&self.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = match openat(&self.dir, name, flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            other => other.with_context(|| format!("open {}/{name}", self.path.display()))?,
        };
        let mut bytes = Vec::with_capacity(4096);
        fd::read_all(file.as_fd(), &mut bytes)
            .with_context(|| format!("read {}/{name}", self.path.display()))?;
        Ok(Some(bytes))
    }

    /// Writes a file under a temporary name and renames it into place.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary = format!("{name}.{}.{number}", std::process::id());
        let step = || format!("write {}/{name}", self.path.display());
        let placed = self
            .write_new(&temporary, bytes)
            .and_then(|()| Ok(renameat(&self.dir, temporary.as_str(), &self.dir, name)?))
            .with_context(step);
        if placed.is_err() {
            // The first failure is the one to tell; `remove` sweeps whatever stays behind.
            let _ = unlinkat(&self.dir, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        placed
    }

    fn write_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&self.dir, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        Ok(File::from(fd).write_all(bytes)?)
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
pub(crate) mod tests;

//! Which ids of the host belong to which container: one symlink a range in a directory of the state root, `131072+65536` →
//! `/run/urun/web`. A symlink comes into being with its content, so a crash leaves whole claims and no others.
//!
//! A claim is taken for a process that has no container yet, then handed to the container, and released before the
//! container's directory goes. What a crash leaves behind points to a process or a directory that is gone.

use super::{
    id::ContainerId,
    record::Init,
    store::{DIRECTORY, Store, lock_directory},
};
use crate::{
    bail,
    error::{Context, Result},
    host::ids::Range,
    sys::{lock::Lock, proc::Proc},
};
use nix::{
    errno::Errno,
    fcntl::{readlinkat, renameat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, symlinkat, unlinkat},
};
use std::{
    fmt,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// No container can be called so.
const NAME: &str = "@ids";
/// What a claim is called while it changes hands.
const NEW: &str = "new";
/// How long a command waits for its turn among others. Nobody holds the lock for more than a few calls, but two hundred starts at
/// once on two slow processors have needed more than ten seconds; whoever waits longer than this waits for a process that is stopped.
const PATIENCE: Duration = Duration::from_secs(60);

/// The claims below a state root, locked.
#[derive(Debug)]
pub struct Claims {
    path: PathBuf,
    dir: OwnedFd,
    _lock: Lock,
}

/// Who has a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A process that is about to make a container.
    Process(Init),
    /// The container with this directory.
    Container(PathBuf),
}

impl Claims {
    /// Opens the claims of a state root, and takes their lock for as long as the value lives.
    pub fn open(store: &mut Store) -> Result<Self> {
        let dir = store.make_directory(NAME)?;
        let path = store.path().join(NAME);
        let lock = lock_directory(&dir, PATIENCE).with_context(|| format!("lock {}", path.display()))?;
        let Some(lock) = lock else { bail!("{} is busy: another urun holds its lock", path.display()) };
        Ok(Self { path, dir, _lock: lock })
    }

    /// Every range that is claimed, whatever has become of its holder.
    pub fn ranges(&self) -> Result<Vec<Range>> {
        let step = || format!("list {}", self.path.display());
        let dir = nix::fcntl::openat(&self.dir, ".", DIRECTORY, Mode::empty()).with_context(step)?;
        let mut ranges = Vec::new();
        for entry in nix::dir::Dir::from_fd(dir).with_context(step)?.iter() {
            // What has no range for a name is no claim.
            ranges.extend(Range::from_text(&entry.with_context(step)?.file_name().to_string_lossy()));
        }
        Ok(ranges)
    }

    /// Takes a range that nobody has.
    pub fn take(&self, range: Range, holder: &Holder) -> Result<()> {
        let name = range.to_string();
        symlinkat(holder.to_string().as_str(), &self.dir, name.as_str())
            .with_context(|| format!("claim {}", self.path.join(&name).display()))
    }

    /// Hands a range on.
    pub fn hand_over(&self, range: Range, holder: &Holder) -> Result<()> {
        let name = range.to_string();
        let step = || format!("hand over {}", self.path.join(&name).display());
        match unlinkat(&self.dir, NEW, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno).with_context(step),
        }
        symlinkat(holder.to_string().as_str(), &self.dir, NEW).with_context(step)?;
        let handed = renameat(&self.dir, NEW, &self.dir, name.as_str()).with_context(step);
        if handed.is_err() {
            // The first failure is the one to tell; the next hand-over sweeps whatever stays behind.
            let _ = unlinkat(&self.dir, NEW, UnlinkatFlags::NoRemoveDir);
        }
        handed
    }

    /// Gives a range back; one that somebody else has meanwhile is left alone.
    pub fn release(&self, range: Range, holder: &Holder) -> Result<()> {
        let name = range.to_string();
        match self.holder(&name) {
            Ok(found) if found == *holder => self.remove(&name),
            Err(error) if error.errno() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }

    /// Gives back what belongs to nobody any more; returns it.
    pub fn release_stale(&self) -> Result<Vec<(Range, Holder)>> {
        let mut released = Vec::new();
        for range in self.ranges()? {
            let name = range.to_string();
            let holder = self.holder(&name)?;
            if holder.is_gone(range)? {
                self.remove(&name)?;
                released.push((range, holder));
            }
        }
        Ok(released)
    }

    fn holder(&self, name: &str) -> Result<Holder> {
        let step = || format!("read {}", self.path.join(name).display());
        let text = readlinkat(&self.dir, name).with_context(step)?;
        text.to_string_lossy().parse::<Holder>().with_context(step)
    }

    fn remove(&self, name: &str) -> Result<()> {
        match unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno).with_context(|| format!("release {}", self.path.join(name).display())),
        }
    }
}

impl Holder {
    /// The container with this id below a state root.
    pub fn container(root: &Path, id: &ContainerId) -> Self {
        Self::Container(root.join(id.as_str()))
    }

    /// Whether nobody can come back for the range.
    fn is_gone(&self, range: Range) -> Result<bool> {
        match self {
            Self::Process(process) => Ok(!process.is_alive(&Proc::open()?)?),
            Self::Container(directory) => match directory.symlink_metadata() {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
                other => {
                    other.with_context(|| format!("stat {}", directory.display()))?;
                    Ok(has_another(directory, range))
                }
            },
        }
    }
}

/// Whether a container says of itself that it has other ids: a later one of the same name.
fn has_another(directory: &Path, range: Range) -> bool {
    let (Some(root), Some(name)) = (directory.parent(), directory.file_name()) else { return false };
    let id = name.to_str().and_then(|name| name.parse::<ContainerId>().ok());
    let record = id.and_then(|id| Store::open(root).ok()?.find(&id).ok()?.record().ok()?);
    record.is_some_and(|record| record.id_range != Some(range))
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(Init { number, start_time, .. }) => write!(f, "process {number} {start_time}"),
            Self::Container(directory) => write!(f, "{}", directory.display()),
        }
    }
}

impl FromStr for Holder {
    type Err = crate::error::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.starts_with('/') {
            return Ok(Self::Container(text.into()));
        }
        let mut words = text.strip_prefix("process ").unwrap_or_default().split(' ');
        match (words.next().map(str::parse), words.next().map(str::parse), words.next()) {
            (Some(Ok(number)), Some(Ok(start_time)), None) => {
                Ok(Self::Process(Init { pid: number, number, start_time }))
            }
            _ => bail!("{text:?} is no holder of ids"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Record, store::tests::Scratch};
    use crate::sys::proc::Proc;

    const RANGE: Range = Range { start: 131_072, count: 65_536 };

    fn listed(claims: &Claims) -> Vec<(Range, Holder)> {
        let holder = |range: Range| (range, claims.holder(&range.to_string()).unwrap());
        claims.ranges().unwrap().into_iter().map(holder).collect()
    }

    fn myself() -> Holder {
        Holder::Process(Init::identify(&Proc::open().unwrap(), std::process::id().cast_signed()).unwrap())
    }

    #[test]
    fn a_claim_goes_from_a_process_to_a_container_and_ends_with_it() {
        let scratch = Scratch::new();
        let mut store = scratch.store();
        let claims = Claims::open(&mut store).unwrap();
        claims.take(RANGE, &myself()).unwrap();
        assert!(claims.take(RANGE, &myself()).unwrap_err().to_string().contains("EEXIST"));
        assert_eq!(claims.release_stale().unwrap(), []);
        assert_eq!(listed(&claims), [(RANGE, myself())]);
        let id: ContainerId = "web".parse().unwrap();
        let container = Holder::container(store.path(), &id);
        store.create(&id).unwrap();
        claims.hand_over(RANGE, &container).unwrap();
        assert_eq!(listed(&claims), [(RANGE, container.clone())]);
        assert_eq!(claims.release_stale().unwrap(), []);
        claims.release(RANGE, &myself()).unwrap();
        assert_eq!(listed(&claims).len(), 1, "somebody else's");
        claims.release(RANGE, &container).unwrap();
        claims.release(RANGE, &container).unwrap();
        assert_eq!(listed(&claims), []);
        assert_eq!(store.list().unwrap(), [id], "the claims are no container");
    }

    #[test]
    fn what_a_crash_leaves_is_released() {
        let scratch = Scratch::new();
        let mut store = scratch.store();
        let claims = Claims::open(&mut store).unwrap();
        let Holder::Process(this) = myself() else { panic!() };
        let dead = Holder::Process(Init { start_time: this.start_time + 1, ..this });
        let id: ContainerId = "web".parse().unwrap();
        let gone = Holder::container(store.path(), &"gone".parse().unwrap());
        let container = Holder::container(store.path(), &id);
        let other = |number| Range { start: number * RANGE.count, ..RANGE };
        for (number, holder) in [(3, &dead), (4, &gone), (5, &container), (6, &container)] {
            claims.take(other(number), holder).unwrap();
        }
        let entry = store.create(&id).unwrap();
        let mut record = Record::new(id, Path::new("/b"), Path::new("/b/rootfs"));
        record.id_range = Some(other(6));
        entry.save(&record).unwrap();
        let mut released = claims.release_stale().unwrap();
        released.sort_by_key(|(range, _)| range.start);
        assert_eq!(released, [(other(3), dead), (other(4), gone), (other(5), container.clone())]);
        assert_eq!(listed(&claims), [(other(6), container)]);
    }

    #[test]
    fn a_half_made_hand_over_is_no_claim() {
        let scratch = Scratch::new();
        let claims = Claims::open(&mut scratch.store()).unwrap();
        symlinkat("process 1 2", &claims.dir, NEW).unwrap();
        assert_eq!(listed(&claims), []);
        claims.take(RANGE, &myself()).unwrap();
        claims.hand_over(RANGE, &Holder::Container("/x/y".into())).unwrap();
        assert_eq!(listed(&claims), [(RANGE, Holder::Container("/x/y".into()))]);
    }

    #[test]
    fn a_hand_over_that_fails_leaves_nothing_behind() {
        let scratch = Scratch::new();
        let claims = Claims::open(&mut scratch.store()).unwrap();
        std::fs::create_dir(claims.path.join(RANGE.to_string())).unwrap();
        let error = claims.hand_over(RANGE, &myself()).unwrap_err();
        assert_eq!(error.errno(), Some(libc::EISDIR));
        assert!(!claims.path.join(NEW).is_symlink());
    }
}

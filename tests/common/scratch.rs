//! A directory for one test, gone when the test ends, however it ends.

use nix::mount::{MntFlags, umount2};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory below the system's temporary one; everything mounted below it is detached before it is removed.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    base: PathBuf,
}

impl Scratch {
    /// A new, empty directory that everybody may enter. Paths are short because sockets live in it.
    pub fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "the behaviour tests need root: use `make test`");
        let base = std::env::temp_dir().join(format!("urun-test.{}", std::process::id()));
        let path = base.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        // The last test of a moment removes the base, so it can vanish between the two calls.
        let made = (0..100).any(|_| {
            let _ = std::fs::create_dir(&base);
            std::fs::create_dir(&path).is_ok()
        });
        assert!(made, "make {}", path.display());
        for dir in [&base, &path] {
            set_mode(dir, 0o755);
        }
        Self { path, base }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `name` below the directory.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Makes a directory below this one, owned by `owner`.
    pub fn dir(&self, name: &str, owner: (u32, u32), mode: u32) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(&path).unwrap();
        set_mode(&path, mode);
        std::os::unix::fs::chown(&path, Some(owner.0), Some(owner.1)).unwrap();
        path
    }

    /// Writes a file below this directory.
    pub fn file(&self, name: &str, content: &str, owner: (u32, u32), mode: u32) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, content).unwrap();
        std::os::unix::fs::chown(&path, Some(owner.0), Some(owner.1)).unwrap();
        set_mode(&path, mode);
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for mount in super::mounts_below(&self.path).iter().rev() {
            let _ = umount2(mount.as_path(), MntFlags::MNT_DETACH);
        }
        if super::mounts_below(&self.path).is_empty() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
        let _ = std::fs::remove_dir(&self.base);
    }
}

/// `chmod` by path.
pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Until when a test waits for what should not take `seconds`; on a slow machine `URUN_TEST_PATIENCE` multiplies them.
pub fn deadline(seconds: u64) -> Instant {
    static PATIENCE: OnceLock<u64> = OnceLock::new();
    let patience =
        PATIENCE.get_or_init(|| std::env::var("URUN_TEST_PATIENCE").map_or(1, |n| n.parse().unwrap()));
    Instant::now() + Duration::from_secs(seconds * patience)
}

/// Asks `question` until it says yes, and fails the test after ten seconds of [`deadline`].
pub fn wait_until(what: &str, mut question: impl FnMut() -> bool) {
    let deadline = deadline(10);
    while !question() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

//! The host of the test: a tmpfs of its own in a mount namespace of its own, so that whatever happens on it is the runtime's
//! doing, and so that everything is gone with the process. Programs are the real host's, bound read-only.

use crate::{common::Mode, watch::Watch};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::stat::{Mode as Bits, SFlag, mknod},
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
};

/// Directories of the host that nobody is given, and that everybody could write to if it were only for the modes.
pub const CANARIES: [&str; 2] = ["/canary", "/etc"];

pub struct World {
    pub watch: Watch,
    untouched: Seen,
}

/// Mode, owners, device number and content of each name.
type Seen = BTreeMap<PathBuf, (u32, u32, u32, u64, Vec<u8>)>;

impl World {
    /// Moves the process there. It has one thread.
    pub fn enter() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "the tests need root: use `make test`");
        // Accounts are the real host's, and made there.
        let _ = Mode::RootlessRange.account();
        let path = crate::common::subject().1;
        // Now, because it may lie below the directory that the new root is mounted on.
        let program = fs::read(&path).unwrap();
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        propagate("/", MsFlags::MS_PRIVATE);
        let root = std::env::temp_dir().canonicalize().unwrap();
        mount(Some("host"), &root, Some("tmpfs"), MsFlags::empty(), Some("mode=755,size=2g")).unwrap();
        fill(&root, &path, &program);
        nix::unistd::chdir(&root).unwrap();
        nix::unistd::pivot_root(".", ".").unwrap();
        umount2(".", MntFlags::MNT_DETACH).unwrap();
        nix::unistd::chdir("/").unwrap();
        // As systemd leaves a host: what the runtime mounts outside of a namespace of its own would be seen.
        propagate("/", MsFlags::MS_SHARED);
        Self { watch: Watch::new(Path::new("/")), untouched: look() }
    }

    /// Fails the round unless the canaries are as they were.
    pub fn is_untouched(&mut self) {
        let now = look();
        let before = std::mem::replace(&mut self.untouched, now);
        let changed: Vec<_> = before
            .keys()
            .chain(self.untouched.keys())
            .filter(|name| before.get(*name) != self.untouched.get(*name))
            .collect();
        assert!(changed.is_empty(), "the host was touched: {changed:?}");
    }
}

fn propagate(path: &str, kind: MsFlags) {
    mount(None::<&str>, path, None::<&str>, kind | MsFlags::MS_REC, None::<&str>).unwrap();
}

fn fill(root: &Path, path: &Path, program: &[u8]) {
    for dir in
        ["usr", "etc", "proc", "sys", "dev/pts", "dev/shm", "dev/mqueue", "run", "tmp", "canary/directory"]
    {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{link}"), root.join(link)).unwrap();
    }
    for (dir, flags) in [
        ("usr", MsFlags::empty()),
        ("proc", MsFlags::MS_REC),
        ("sys", MsFlags::MS_REC),
        ("dev/pts", MsFlags::empty()),
    ] {
        let from = Path::new("/").join(dir);
        mount(Some(&from), &root.join(dir), None::<&str>, MsFlags::MS_BIND | flags, None::<&str>).unwrap();
    }
    let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, &root.join("usr"), None::<&str>, read_only, None::<&str>).unwrap();
    for name in ["passwd", "group", "subuid", "subgid", "nsswitch.conf", "login.defs", "ld.so.cache"] {
        if let Ok(content) = fs::read(Path::new("/etc").join(name)) {
            fs::write(root.join("etc").join(name), content).unwrap();
        }
    }
    for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)] {
        device(&root.join("dev").join(name), 1, minor);
    }
    device(&root.join("dev/tty"), 5, 0);
    for (name, mode) in [("tmp", 0o1777), ("dev/shm", 0o1777), ("canary", 0o777), ("canary/directory", 0o777)]
    {
        crate::common::set_mode(&root.join(name), mode);
    }
    for name in ["file", "null", "console", "ptmx", "passwd", "group", "directory/file"] {
        let path = root.join("canary").join(name);
        fs::write(&path, "alive\n").unwrap();
        crate::common::set_mode(&path, 0o666);
    }
    let copy = root.join(path.strip_prefix("/").unwrap());
    fs::create_dir_all(copy.parent().unwrap()).unwrap();
    fs::write(&copy, program).unwrap();
    crate::common::set_mode(&copy, 0o755);
}

fn device(path: &Path, major: u64, minor: u64) {
    mknod(path, SFlag::S_IFCHR, Bits::from_bits_truncate(0o666), nix::sys::stat::makedev(major, minor))
        .unwrap();
    crate::common::set_mode(path, 0o666);
}

fn look() -> Seen {
    let mut seen = Seen::new();
    for canary in CANARIES {
        look_below(Path::new(canary), &mut seen);
    }
    for device in fs::read_dir("/dev").unwrap() {
        note(&device.unwrap().path(), &mut seen);
    }
    for top in ["/", "/tmp", "/run"] {
        note(Path::new(top), &mut seen);
    }
    seen
}

fn look_below(path: &Path, seen: &mut Seen) {
    note(path, seen);
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            look_below(&entry.unwrap().path(), seen);
        }
    }
}

fn note(path: &Path, seen: &mut Seen) {
    let meta = path.symlink_metadata().unwrap();
    let content = if meta.is_file() { fs::read(path).unwrap() } else { Vec::new() };
    seen.insert(path.to_owned(), (meta.mode(), meta.uid(), meta.gid(), meta.rdev(), content));
}

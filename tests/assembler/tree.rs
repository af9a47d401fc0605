//! Traps in a root file system.

use crate::{common::set_mode, random::Random};
use nix::{
    fcntl::{AT_FDCWD, RenameFlags, renameat2},
    mount::{MsFlags, mount},
    sys::stat::{Mode, SFlag, makedev, mknod},
};
use std::{
    fs::{self, File},
    os::{fd::AsRawFd, unix::fs::symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Names that configurations use, names that engines' mounts use, and awkward ones.
const NAMES: [&str; 26] = [
    "a",
    "b",
    "c",
    "d",
    "dev",
    "dev",
    "proc",
    "sys",
    "etc",
    "tmp",
    "run",
    "mnt",
    "var",
    "null",
    "console",
    "pts",
    "shm",
    "mqueue",
    "ptmx",
    "fd",
    "cgroup",
    "fs",
    "passwd",
    "group",
    "new\nline",
    "tab\t\u{1b}[31m",
];
/// Where a symlink leads: out, round, nowhere, through procfs, or back inside.
const TARGETS: [&str; 22] = [
    "/canary",
    "/canary/file",
    "/canary/new",
    "/canary/directory",
    "../../../../../../../../canary",
    "../../../../../../../../canary/file",
    "/etc",
    "/etc/passwd",
    "/dev/null",
    "/dev",
    "/",
    "..",
    ".",
    "/proc/self/root/canary",
    "/proc/self/fd/3",
    "/proc/self/exe",
    "/proc/sys/kernel/core_pattern",
    "/nowhere/at/all",
    "/a",
    "b/c",
    "../tmp",
    "/run/var",
];

/// `FS_IMMUTABLE_FL` of linux/fs.h.
const IMMUTABLE: libc::c_long = 0x10;

pub struct Tree {
    root: PathBuf,
    /// Held open, or they could not be made removable again.
    immutable: Vec<File>,
    /// Pairs of names that are swapped while the runtime runs.
    pairs: Vec<(PathBuf, PathBuf)>,
}

/// A path of one to four components; `\0` stands for a name as long as names can be.
pub fn path(random: &mut Random) -> PathBuf {
    (0..=random.below(4)).map(|_| name(random)).collect()
}

/// One of `aims` or what is on the way to it, or anything.
fn place(aims: &[PathBuf], random: &mut Random) -> PathBuf {
    if random.once_in(3) {
        return path(random);
    }
    let aim = &aims[random.below(aims.len())];
    aim.iter().take(1 + random.below(aim.iter().count())).collect()
}

fn name(random: &mut Random) -> String {
    if random.once_in(40) { "x".repeat(255) } else { random.pick(&NAMES).to_owned() }
}

impl Tree {
    /// Plants traps below `root`, whose owner is `owner`, many of them on the way to `aims`; `volume` is bound inside where one is
    /// given, and other file systems are mounted.
    pub fn plant(
        root: &Path,
        owner: (u32, u32),
        aims: &[PathBuf],
        volume: Option<&Path>,
        random: &mut Random,
    ) -> Self {
        let mut tree = Self { root: root.to_owned(), immutable: Vec::new(), pairs: Vec::new() };
        for _ in 0..=random.below(10) {
            tree.plant_one(&place(aims, random), owner, volume, random);
        }
        for _ in 0..4 {
            tree.pairs.push((root.join(place(aims, random)), root.join(place(aims, random))));
        }
        tree
    }

    fn plant_one(&mut self, place: &Path, owner: (u32, u32), volume: Option<&Path>, random: &mut Random) {
        let path = self.root.join(place);
        // Through the traps of before; what leads out of the tree is not for us to follow.
        let above = path.parent().unwrap();
        let there = above.ancestors().find(|above| above.symlink_metadata().is_ok()).unwrap();
        if !self.leads_inside(there) || fs::create_dir_all(above).is_err() {
            return;
        }
        own(above, owner);
        if random.below(3) > 0 {
            let _ = fs::remove_file(&path);
            let _ = fs::remove_dir(&path);
        }
        let bits = Mode::from_bits_truncate(random.pick(&[0, 0o600, 0o644, 0o777, 0o6755]));
        let plain = |kind, device| {
            let _ = mknod(&path, kind, bits, device);
        };
        match random.below(17) {
            0..=4 => link(&path, random),
            5 => drop(fs::create_dir(&path)),
            6 => drop(fs::create_dir(&path).map(|()| deep(&path, random))),
            7 => drop(File::create_new(&path)),
            8 | 15 | 16 => plain(SFlag::S_IFIFO, 0),
            9 => plain(SFlag::S_IFSOCK, 0),
            10 => plain(SFlag::S_IFCHR, makedev(1, random.pick(&[1, 3, 5]))),
            11 => plain(SFlag::S_IFBLK, makedev(7, 0)),
            12 => drop(fs::create_dir(&path).map(|()| set_mode(&path, 0))),
            13 => self.make_immutable(&path),
            _ => {
                volume.map_or_else(|| plain(SFlag::S_IFREG, 0), |volume| mount_inside(&path, volume, random));
            }
        }
        own(&path, owner);
    }

    fn leads_inside(&self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|path| path.starts_with(&self.root) && path != self.root.join("bin"))
    }

    fn make_immutable(&mut self, path: &Path) {
        if fs::create_dir(path).is_ok()
            && let Ok(file) = File::open(path)
        {
            flag(&file, IMMUTABLE);
            self.immutable.push(file);
        }
    }

    /// Swaps names until `done`, a few thousand times a second.
    pub fn swap_until(&self, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            for (one, other) in &self.pairs {
                let inside = |path: &Path| self.leads_inside(path.parent().unwrap());
                if inside(one) && inside(other) {
                    let _ = renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE);
                }
            }
            std::thread::sleep(Duration::from_micros(20));
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.immutable.iter().for_each(|file| flag(file, 0));
    }
}

fn own(path: &Path, owner: (u32, u32)) {
    let _ = std::os::unix::fs::lchown(path, Some(owner.0), Some(owner.1));
}

fn link(path: &Path, random: &mut Random) {
    let target = match random.below(8) {
        0 => path.file_name().unwrap().to_str().unwrap().to_owned(),
        1 => "a/".repeat(2000),
        2 => "../".repeat(1300) + "canary/directory",
        3 => format!("/{}", self::path(random).display()),
        _ => random.pick(&TARGETS).to_owned(),
    };
    let _ = symlink(target, path);
}

/// Directories within each other, deeper than a copy goes, or less.
fn deep(path: &Path, random: &mut Random) {
    let mut path = path.to_owned();
    for _ in 0..random.pick(&[10, 250]) {
        path.push("a");
    }
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("b"), "deep").unwrap();
}

fn mount_inside(path: &Path, volume: &Path, random: &mut Random) {
    if fs::create_dir(path).is_err() {
        return;
    }
    match random.below(3) {
        0 => drop(mount(Some("image"), path, Some("tmpfs"), MsFlags::empty(), Some("size=64k"))),
        1 => drop(mount(Some(volume), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)),
        _ => drop(mount(Some("image"), path, Some("proc"), MsFlags::empty(), None::<&str>)),
    }
}

fn flag(file: &File, flags: libc::c_long) {
    // SAFETY: the descriptor is open and `flags` lives across the call. A file system without such flags refuses.
    let _ = unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_SETFLAGS, &raw const flags) };
}

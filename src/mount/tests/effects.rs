//! Effects, each in a mount namespace of its own, read back from mountinfo and stat.

use super::{add, bind, config, facts, fs as filesystem, mapped, terminal, text, usual};
use crate::{
    error::Result,
    mount::{Assembled, Facts, Request, Root, assemble, enter_root, open_sources, plan, root::Lookup},
    spec::{Config, MountKind},
    sys::{
        fork::{NamespaceHolder, isolated},
        proc::Proc,
        xattr,
    },
};
use nix::{
    libc::MOUNT_ATTR_RDONLY,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::stat::{Mode, SFlag, mknod},
};
use std::{
    fs::{self, Permissions},
    os::fd::AsFd,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

/// A scratch directory that is a tmpfs in the child's mount namespace alone, so that nothing has to be cleaned up.
pub(super) fn scratch(test: impl FnOnce(&Path)) {
    let path = PathBuf::from("/mnt");
    isolated::run(|| {
        mount(Some("scratch"), &path, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
        fs::create_dir(path.join("root")).unwrap();
        test(&path);
    });
}

pub(super) fn assembled(config: &Config, request: &Request, facts: &Facts) -> Result<Assembled> {
    assembled_in(config, request, facts, Lookup::Kernel)
}

pub(super) fn assembled_in(
    config: &Config,
    request: &Request,
    facts: &Facts,
    lookup: Lookup,
) -> Result<Assembled> {
    let plan = plan(config, request, facts)?;
    let proc = Proc::open()?;
    let sources = open_sources(&plan, &proc, false)?;
    assemble(&plan, sources, &proc, lookup)
}

/// The line of mountinfo for a mount point, from ` - ` on preceded by the mount's own options.
pub(super) fn mounted(path: &str) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().rev().find(|line| line.split(' ').nth(4) == Some(path))?;
    let fields: Vec<&str> = line.split(' ').skip(3).collect();
    Some(fields.join(" "))
}

#[test]
fn the_usual_root_is_assembled_and_entered() {
    scratch(|scratch| {
        unshare(CloneFlags::CLONE_NEWPID).unwrap();
        let holder = NamespaceHolder::start().unwrap();
        let mut config = usual(&scratch.join("root"));
        config.root.readonly = true;
        let assembled = assembled(&config, &terminal(), &facts()).unwrap();
        let at = |path: &str| mounted(&format!("/mnt/root{path}")).unwrap();
        assert!(
            at("/proc/sys").contains("/sys /mnt/root/proc/sys ro,nosuid,nodev,noexec"),
            "{}",
            at("/proc/sys")
        );
        assert!(at("/sys").contains(" ro,nosuid,nodev,noexec"));
        assert!(at("/dev/pts").contains("gid=5,mode=620,ptmxmode=666"));
        enter_root(&assembled, Root::Pivot).unwrap();
        assert_eq!(fs::read_link("/dev/ptmx").unwrap(), Path::new("pts/ptmx"));
        assert_eq!(fs::metadata("/dev/full").unwrap().rdev(), nix::libc::makedev(1, 7));
        assert_eq!(fs::metadata("/dev/full").unwrap().mode(), 0o20666);
        fs::write("/dev/null", "x").unwrap();
        assert!(fs::metadata("/proc/2").is_err(), "a procfs of another pid namespace");
        assert!(fs::metadata("/proc/1").is_ok());
        assert_eq!(fs::metadata("/dev/console").unwrap().rdev(), nix::libc::makedev(136, 0));
        assert!(assembled.terminal.is_some());
        assert!(fs::write("/new", "").unwrap_err().to_string().contains("Read-only"));
        assert_eq!(fs::metadata("/proc/timer_list").unwrap().rdev(), nix::libc::makedev(1, 3));
        assert_eq!(fs::read_dir("/sys/firmware").unwrap().count(), 0);
        assert_eq!(fs::read_dir("/mnt").map(|_| ()).map_err(|e| e.kind()), Err(std::io::ErrorKind::NotFound));
        holder.stop().unwrap();
    });
}

#[test]
fn everything_belongs_to_the_containers_root() {
    scratch(|scratch| {
        let mut config = usual(&scratch.join("root"));
        add(&mut config, "/made/by/us", filesystem("tmpfs")).parameters =
            vec![text("uid", "7"), text("gid", "8")];
        fs::write(scratch.join("file"), "").unwrap();
        add(&mut config, "/made/file", bind(scratch.join("file")));
        std::os::unix::fs::chown(scratch.join("root"), Some(100_000), Some(100_000)).unwrap();
        isolated::act_as(100_000);
        let assembled = assembled(&config, &terminal(), &mapped()).unwrap();
        enter_root(&assembled, Root::Pivot).unwrap();
        let owners = [
            "/proc/..",
            "/dev",
            "/dev/pts",
            "/dev/pts/ptmx",
            "/dev/mqueue",
            "/dev/null",
            "/made",
            "/dev/console",
        ];
        for path in owners {
            let stat = fs::metadata(path).unwrap();
            assert_eq!(stat.uid(), 100_000, "{path}");
        }
        let stat = fs::metadata("/made/by/us").unwrap();
        assert_eq!((stat.uid(), stat.gid()), (100_007, 100_008));
        assert!(mounted("/dev/pts").unwrap().contains("gid=100005"));
    });
}

#[test]
fn binds_are_created_at_the_right_kind_of_mount_point_with_their_flags() {
    scratch(|scratch| {
        fs::create_dir_all(scratch.join("volume/sub")).unwrap();
        mount(Some("sub"), &scratch.join("volume/sub"), Some("tmpfs"), MsFlags::empty(), None::<&str>)
            .unwrap();
        let mut config = config(&scratch.join("root"));
        add(&mut config, "/a/ro", bind(scratch.join("volume"))).attrs.set = MOUNT_ATTR_RDONLY;
        add(&mut config, "/a/rro", bind(scratch.join("volume"))).recursive_attrs.set = MOUNT_ATTR_RDONLY;
        let source = scratch.join("volume");
        add(&mut config, "/a/top", MountKind::Bind { source, recursive: false });
        assembled(&config, &Request::default(), &facts()).unwrap();
        assert!(mounted("/mnt/root/a/top").is_some() && mounted("/mnt/root/a/top/sub").is_none());
        assert!(mounted("/mnt/root/a/ro").unwrap().contains(" ro,"));
        assert!(mounted("/mnt/root/a/ro/sub").unwrap().contains(" rw,"));
        assert!(mounted("/mnt/root/a/rro/sub").unwrap().contains(" ro,"));
    });
}

#[test]
fn a_file_is_not_mounted_on_a_directory() {
    scratch(|scratch| {
        fs::create_dir(scratch.join("root/dir")).unwrap();
        fs::write(scratch.join("file"), "").unwrap();
        let mut config = config(&scratch.join("root"));
        add(&mut config, "/dir", bind(scratch.join("file")));
        let error = assembled(&config, &Request::default(), &facts()).unwrap_err();
        let words =
            "mounts[0]: mount /mnt/file on /dir: source and destination differ: Not a directory (ENOTDIR)";
        assert_eq!(error.to_string(), words);
    });
}

#[test]
fn a_missing_source_is_named() {
    scratch(|scratch| {
        let mut config = config(&scratch.join("root"));
        add(&mut config, "/a", bind("/no/such"));
        let error = assembled(&config, &Request::default(), &facts()).unwrap_err().to_string();
        assert!(error.starts_with("mounts[0]: open source /no/such for /a: open_tree("), "{error}");
        assert!(error.ends_with("No such file or directory (ENOENT)"), "{error}");
    });
}

#[test]
fn the_kernels_own_words_are_in_the_error() {
    scratch(|scratch| {
        let mut config = config(&scratch.join("root"));
        add(&mut config, "/a", filesystem("tmpfs")).parameters = vec![text("size", "much")];
        let error = assembled(&config, &Request::default(), &facts()).unwrap_err().to_string();
        assert_eq!(
            error,
            "mounts[0]: mount tmpfs on /a: tmpfs: Bad value for 'size': fsconfig(\"size\", \"much\"): Invalid argument (EINVAL)"
        );
    });
}

#[test]
fn copy_up_keeps_what_the_image_has() {
    scratch(|scratch| {
        let image = scratch.join("root/var");
        fs::create_dir_all(image.join("dir")).unwrap();
        fs::write(image.join("dir/file"), "content").unwrap();
        fs::set_permissions(image.join("dir/file"), Permissions::from_mode(0o4751)).unwrap();
        std::os::unix::fs::chown(image.join("dir"), Some(5), Some(6)).unwrap();
        symlink("/etc/shadow", image.join("link")).unwrap();
        nix::unistd::mkfifo(&image.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o640)).unwrap();
        let zero = nix::libc::makedev(1, 5);
        mknod(&image.join("zero"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o604), zero).unwrap();
        let file = fs::File::open(image.join("dir/file")).unwrap();
        xattr::set(file.as_fd(), c"user.color", b"blue").unwrap();
        let old = fs::metadata(image.join("dir/file")).unwrap();
        let mut config = config(&scratch.join("root"));
        let var = add(&mut config, "/var", filesystem("tmpfs"));
        (var.copy_up, var.attrs.set) = (true, MOUNT_ATTR_RDONLY);
        assembled(&config, &Request::default(), &facts()).unwrap();
        assert!(mounted("/mnt/root/var").unwrap().contains(" ro,"));
        assert_eq!(fs::read(image.join("dir/file")).unwrap(), b"content");
        let new = fs::metadata(image.join("dir/file")).unwrap();
        assert_ne!(new.dev(), old.dev());
        assert_eq!((new.mode(), new.mtime(), new.mtime_nsec()), (0o10_4751, old.mtime(), old.mtime_nsec()));
        assert_eq!(fs::metadata(image.join("dir")).unwrap().gid(), 6);
        assert_eq!(fs::read_link(image.join("link")).unwrap(), Path::new("/etc/shadow"));
        let copy = fs::metadata(image.join("zero")).unwrap();
        assert_eq!((copy.rdev(), copy.mode()), (zero, 0o2_0604));
        let copied = fs::File::open(image.join("dir/file")).unwrap();
        assert_eq!(xattr::get(copied.as_fd(), c"user.color").unwrap(), b"blue");
        assert_eq!(fs::metadata(image.join("fifo")).unwrap().mode(), 0o1_0640);
    });
}

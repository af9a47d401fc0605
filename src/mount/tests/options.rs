//! Effects of mount options, and of assembling inside a user namespace.

use super::{
    add, bind, config,
    effects::{assembled, mounted, scratch},
    facts, fs as filesystem, mapped, text, usual,
};
use crate::{
    host::cgroups::{Cgroups, Hierarchy},
    mount::{Facts, Request, Root, assemble, enter_root, open_sources, plan},
    spec::{
        IdMap, MountKind,
        mount::{MountIdMap, MountIds, Propagation, PropagationKind},
    },
    sys::{
        fork::{NamespaceHolder, isolated},
        proc::Proc,
    },
};
use nix::{
    errno::Errno,
    libc::{MOUNT_ATTR_NOEXEC, MOUNT_ATTR_RDONLY},
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, chown, symlink},
    path::Path,
};

/// Enters a user namespace, as a rootless runtime does, with one id and with namespaces that it owns.
fn enter_user_namespace() -> NamespaceHolder {
    let flags = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC;
    unshare(flags).unwrap();
    fs::write("/proc/self/setgroups", "deny").unwrap();
    fs::write("/proc/self/uid_map", "0 0 1").unwrap();
    fs::write("/proc/self/gid_map", "0 0 1").unwrap();
    NamespaceHolder::start().unwrap()
}

fn rootless() -> Facts {
    Facts { can_mknod: false, initial_userns: false, own_network: false, ..facts() }
}

#[test]
fn a_rootless_runtime_binds_what_it_cannot_make() {
    for own_network in [false, true] {
        scratch(|scratch| {
            let holder = enter_user_namespace();
            let mut config = usual(&scratch.join("root"));
            config.mounts[2].parameters.retain(|parameter| *parameter != text("gid", "5"));
            // The kernel refuses the second kind, because this network namespace is not ours.
            let facts = Facts { own_network, ..rootless() };
            assembled(&config, &Request::default(), &facts).unwrap();
            let null = fs::metadata(scratch.join("root/dev/null")).unwrap();
            assert_eq!(null.rdev(), nix::libc::makedev(1, 3));
            fs::write(scratch.join("root/dev/null"), "x").unwrap();
            let sys = mounted("/mnt/root/sys").unwrap();
            assert!(sys.contains(" ro,nosuid,nodev,noexec"), "{sys}");
            let cgroup = mounted("/mnt/root/sys/fs/cgroup");
            assert!(cgroup.is_none_or(|cgroup| cgroup.contains(" ro,")));
            holder.stop().unwrap();
        });
    }
}

#[test]
fn a_root_that_was_assembled_outside_is_locked_inside() {
    scratch(|scratch| {
        let holder = NamespaceHolder::start().unwrap();
        for file in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{file}", holder.pid()), "0 100000 65536").unwrap();
        }
        let namespace = fs::File::open(format!("/proc/{}/ns/user", holder.pid())).unwrap();
        let mut config = usual(&scratch.join("root"));
        config.linux.namespaces.clear();
        chown(scratch.join("root"), Some(100_000), Some(100_000)).unwrap();
        isolated::act_as(100_000);
        let assembled = assembled(&config, &Request::default(), &mapped()).unwrap();
        enter_root(&assembled, Root::Pivot).unwrap();
        setns(namespace, CloneFlags::CLONE_NEWUSER).unwrap();
        nix::unistd::setresgid(0.into(), 0.into(), 0.into()).unwrap();
        nix::unistd::setresuid(0.into(), 0.into(), 0.into()).unwrap();
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        for path in ["/proc/timer_list", "/sys/firmware", "/proc/sys", "/dev"] {
            assert_eq!(umount2(path, MntFlags::MNT_DETACH), Err(Errno::EINVAL), "{path}");
        }
        let remount = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
        let refused = mount(None::<&str>, "/proc/sys", None::<&str>, remount, None::<&str>);
        assert_eq!(refused, Err(Errno::EPERM));
        fs::write("/dev/null", "x").unwrap();
        let _master = fs::File::open("/dev/ptmx").unwrap();
        assert_eq!(fs::metadata("/dev/pts/0").unwrap().uid(), 0);
        for path in ["/dev", "/dev/zero", "/dev/pts", "/dev/mqueue"] {
            assert_eq!(fs::metadata(path).unwrap().uid(), 0, "{path}");
        }
        fs::create_dir("/new").unwrap();
        mount(None::<&str>, "/new", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        umount2("/new", MntFlags::empty()).unwrap();
    });
}

#[test]
fn a_procfs_that_the_kernel_refuses_is_explained() {
    scratch(|scratch| {
        // A user namespace without a pid namespace of its own.
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).unwrap();
        let mut config = config(&scratch.join("root"));
        add(&mut config, "/proc", filesystem("proc"));
        let error = assembled(&config, &Request::default(), &rootless()).unwrap_err();
        assert!(error.to_string().starts_with("mounts[0]: mount proc on /proc: "), "{error}");
        assert!(error.remedy().unwrap().contains("procMount: Unmasked"));
    });
}

#[test]
fn locked_flags_stay_and_are_named_when_asked_away() {
    scratch(|scratch| {
        let volume = scratch.join("volume");
        fs::create_dir(&volume).unwrap();
        mount(Some("volume"), &volume, Some("tmpfs"), MsFlags::MS_RDONLY | MsFlags::MS_NOSUID, None::<&str>)
            .unwrap();
        enter_user_namespace().stop().unwrap();
        let mut config = config(&scratch.join("root"));
        config.linux.devices.clear();
        add(&mut config, "/kept", bind(&volume)).attrs.set = MOUNT_ATTR_NOEXEC;
        assembled(&config, &Request::default(), &rootless()).unwrap();
        assert!(mounted("/mnt/root/kept").unwrap().contains(" ro,nosuid,noexec"));
        add(&mut config, "/asked", bind(&volume)).attrs.clear = MOUNT_ATTR_RDONLY;
        let error = assembled(&config, &Request::default(), &rootless()).unwrap_err().to_string();
        assert!(
            error.starts_with("mounts[1]: mount /mnt/volume on /asked: cannot clear locked flags 0x1: "),
            "{error}"
        );
    });
}

#[test]
fn ids_of_a_mount_are_mapped_by_its_own_maps_and_by_the_containers() {
    scratch(|scratch| {
        let volume = scratch.join("volume");
        fs::create_dir(&volume).unwrap();
        chown(&volume, Some(3), Some(4)).unwrap();
        let mut config = config(&scratch.join("root"));
        let map = |host| vec![IdMap { container: 0, host, size: 10 }];
        let own = |uids, gids| Some(MountIdMap { ids: MountIds::Own { uids, gids }, recursive: false });
        add(&mut config, "/own", bind(&volume)).idmap = own(map(500), map(600));
        add(&mut config, "/container", bind(&volume)).idmap =
            Some(MountIdMap { ids: MountIds::Container, recursive: true });
        add(&mut config, "/refused", bind("/proc")).idmap = own(map(500), map(600));
        let refused = config.mounts.pop().unwrap();
        assembled(&config, &Request::default(), &mapped()).unwrap();
        let owner = |path: &str| {
            let stat = fs::metadata(scratch.join("root").join(path)).unwrap();
            (stat.uid(), stat.gid())
        };
        assert_eq!(owner("own"), (503, 604));
        assert_eq!(owner("container"), (100_003, 100_004));
        config.mounts.push(refused);
        let error = assembled(&config, &Request::default(), &mapped()).unwrap_err().to_string();
        let words = "mounts[2]: open source /proc for /refused: failed to set MOUNT_ATTR_IDMAP on /proc: invalid argument \
                     (maybe the source filesystem doesn't support idmap mounts on this kernel?), file system proc, Linux ";
        assert!(error.starts_with(words), "{error}");
    });
}

#[test]
fn propagation_words_are_obeyed_and_binds_are_private_without_them() {
    scratch(|scratch| {
        let volume = scratch.join("volume");
        fs::create_dir(&volume).unwrap();
        mount(Some("volume"), &volume, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        mount(None::<&str>, &volume, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
        let mut config = config(&scratch.join("root"));
        add(&mut config, "/none", bind(&volume));
        for (path, kind) in [("/shared", PropagationKind::Shared), ("/slave", PropagationKind::Slave)] {
            add(&mut config, path, bind(&volume)).propagation = vec![Propagation { kind, recursive: true }];
        }
        let plan = plan(&config, &Request::default(), &facts()).unwrap();
        let proc = Proc::open().unwrap();
        let sources = open_sources(&plan, &proc, false).unwrap();
        // As the runtime does it: sources come from the caller's mount namespace, the rest happens in a new one.
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        assemble(&plan, sources, &proc, crate::mount::Lookup::Kernel).unwrap();
        assert!(!mounted("/mnt/root/none").unwrap().contains("shared"));
        assert!(!mounted("/mnt/root/none").unwrap().contains("master"));
        assert!(mounted("/mnt/root/shared").unwrap().contains("shared:"));
        assert!(mounted("/mnt/root/slave").unwrap().contains("master:"));
    });
}

#[test]
fn a_shared_root_is_shared_once_it_is_entered() {
    scratch(|scratch| {
        let mut config = usual(&scratch.join("root"));
        config.linux.namespaces.clear();
        config.linux.rootfs_propagation =
            Some(Propagation { kind: PropagationKind::Shared, recursive: true });
        let assembled = assembled(&config, &Request::default(), &facts()).unwrap();
        enter_root(&assembled, Root::Pivot).unwrap();
        assert!(mounted("/").unwrap().contains("shared:"));
        assert!(mounted("/dev").unwrap().contains("shared:"));
    });
}

#[test]
fn without_pivot_the_hosts_views_of_the_kernel_are_gone() {
    scratch(|scratch| {
        let mut config = usual(&scratch.join("root"));
        config.linux.namespaces.clear();
        let assembled = assembled(&config, &Request::default(), &facts()).unwrap();
        enter_root(&assembled, Root::MoveMount).unwrap();
        assert_eq!(fs::metadata("/dev/full").unwrap().rdev(), nix::libc::makedev(1, 7));
        assert!(fs::read_dir("/mnt").is_err());
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert_eq!(table.lines().filter(|line| line.contains(" - sysfs ")).count(), 1, "{table}");
    });
}

#[test]
fn a_mount_that_is_there_is_changed() {
    scratch(|scratch| {
        let mut config = config(&scratch.join("root"));
        add(&mut config, "/a", filesystem("tmpfs"));
        let again = add(&mut config, "/a", filesystem("tmpfs"));
        (again.remount, again.attrs.set) = (true, MOUNT_ATTR_RDONLY);
        again.parameters = vec![text("size", "64k")];
        assembled(&config, &Request::default(), &facts()).unwrap();
        let a = mounted("/mnt/root/a").unwrap();
        assert!(a.contains(" ro,") && a.contains("size=64k"), "{a}");
        config.mounts.remove(0);
        fs::create_dir_all(scratch.join("other/a")).unwrap();
        config.root.path = scratch.join("other");
        let error = assembled(&config, &Request::default(), &facts()).unwrap_err().to_string();
        assert_eq!(error, "mounts[1]: remount /a: nothing is mounted there");
    });
}

#[test]
fn symlinks_are_bound_copied_or_mounted_on_as_asked() {
    scratch(|scratch| {
        let root = scratch.join("root");
        fs::write(scratch.join("file"), "volume").unwrap();
        symlink("file", scratch.join("link")).unwrap();
        symlink("nowhere", root.join("image-link")).unwrap();
        let mut config = config(&root);
        add(&mut config, "/copied", bind(scratch.join("link"))).copy_symlink = true;
        let on = add(&mut config, "/image-link", bind(scratch.join("link")));
        (on.dest_nofollow, on.source_nofollow) = (true, true);
        add(&mut config, "/followed", bind(scratch.join("link")));
        assembled(&config, &Request::default(), &facts()).unwrap();
        assert_eq!(fs::read_link(root.join("copied")).unwrap(), Path::new("file"));
        assert_eq!(fs::read_link(root.join("image-link")).unwrap(), Path::new("file"));
        assert_eq!(fs::read_to_string(root.join("followed")).unwrap(), "volume");
        assert!(fs::symlink_metadata(root.join("nowhere")).is_err());
    });
}

/// The cgroup hierarchies of the machine the test runs on.
fn cgroups() -> Cgroups {
    let mut cgroups = Cgroups::default();
    for line in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        let (left, right) = line.split_once(" - ").unwrap();
        let mount = left.split(' ').nth(4).unwrap().into();
        let [fstype, _, options] = right.split(' ').collect::<Vec<_>>()[..] else { continue };
        let own = "/".to_owned();
        match fstype {
            "cgroup2" => cgroups.unified = Some(Hierarchy { mount, controllers: Vec::new(), own }),
            "cgroup" => {
                let words = options.split(',').filter(|word| !["rw", "ro", "xattr"].contains(word));
                let controllers = words.map(str::to_owned).collect();
                cgroups.legacy.push(Hierarchy { mount, controllers, own });
            }
            _ => {}
        }
    }
    cgroups
}

#[test]
fn cgroups_are_shown_as_the_host_has_them() {
    for new_cgroup_namespace in [true, false] {
        scratch(|scratch| {
            let facts = Facts { cgroups: cgroups(), new_cgroup_namespace, ..facts() };
            if new_cgroup_namespace {
                unshare(CloneFlags::CLONE_NEWCGROUP).unwrap();
            }
            let mut config = usual(&scratch.join("root"));
            config.linux.namespaces.clear();
            add(&mut config, "/sys/fs/cgroup", MountKind::Cgroup).attrs.set = MOUNT_ATTR_RDONLY;
            assembled(&config, &Request::default(), &facts).unwrap();
            let all = facts.cgroups.legacy.iter().chain(&facts.cgroups.unified);
            for hierarchy in all.filter(|_| !facts.cgroups.is_pure_v2()) {
                let there = format!("/mnt/root{}", hierarchy.mount.display());
                let line = mounted(&there).unwrap();
                assert!(line.contains(" ro,") && line.contains(" - cgroup"), "{line}");
                assert!(fs::metadata(Path::new(&there).join("cgroup.procs")).is_ok());
            }
            assert!(mounted("/mnt/root/sys/fs/cgroup").unwrap().contains(" ro,"));
        });
    }
}

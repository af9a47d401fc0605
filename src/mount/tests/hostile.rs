//! Images and volumes that attack the assembler, each with both ways of resolving paths.

use super::{
    add, bind, config,
    effects::{assembled_in, mounted, scratch},
    facts, fs as filesystem, terminal, usual,
};
use crate::{
    error::Result,
    mount::{
        Assembled, Request,
        apply::Assembler,
        op::{Device, DeviceFrom, Link, Node},
        open_sources, plan,
        root::{Lookup, Missing, Rootfs},
    },
    spec::Config,
    sys::proc::Proc,
};
use nix::{
    fcntl::{RenameFlags, renameat2},
    mount::{MsFlags, mount},
    sys::stat::{Mode, SFlag, mknod},
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

/// Runs the test with a scratch directory that has `root`, the root file system, and `host` with a canary, twice.
fn both(test: impl Fn(&Path, Lookup)) {
    for lookup in [Lookup::Kernel, Lookup::Walk] {
        scratch(|scratch| {
            fs::create_dir(scratch.join("host")).unwrap();
            fs::write(scratch.join("host/canary"), "host").unwrap();
            test(scratch, lookup);
            let left: Vec<_> = fs::read_dir(scratch.join("host")).unwrap().collect();
            assert_eq!(left.len(), 1, "{lookup:?} left something on the host: {left:?}");
            assert_eq!(fs::read_to_string(scratch.join("host/canary")).unwrap(), "host");
        });
    }
}

fn run(config: &Config, request: &Request, lookup: Lookup) -> Result<Assembled> {
    assembled_in(config, request, &facts(), lookup)
}

#[test]
fn sec_01_a_symlink_in_place_of_a_kernel_file_system_is_refused() {
    for (link, target) in [("proc", "tmp/x"), ("sys", "/tmp"), ("dev", "/mnt/host"), ("proc", "nowhere")] {
        both(|scratch, lookup| {
            fs::create_dir_all(scratch.join("root/tmp/x")).unwrap();
            symlink(target, scratch.join("root").join(link)).unwrap();
            let error = run(&usual(&scratch.join("root")), &Request::default(), lookup).unwrap_err();
            let wanted = format!("/{link} or a part of it is a symlink in the root file system");
            assert!(error.to_string().contains(&wanted), "{error}");
            assert!(mounted("/mnt/root/tmp/x").is_none());
        });
    }
}

#[test]
fn sec_01_a_symlink_in_place_of_dev_pts_is_refused() {
    both(|scratch, lookup| {
        fs::create_dir_all(scratch.join("root/dev")).unwrap();
        symlink("/mnt/host", scratch.join("root/dev/pts")).unwrap();
        let mut config = config(&scratch.join("root"));
        add(&mut config, "/dev/pts", filesystem("devpts"));
        let error = run(&config, &terminal(), lookup).unwrap_err();
        assert!(error.to_string().contains("/dev/pts or a part of it is a symlink"), "{error}");
    });
}

#[test]
fn sec_02_a_dev_that_leads_out_stays_inside() {
    both(|scratch, lookup| {
        symlink("/mnt/host", scratch.join("root/dev")).unwrap();
        let mut config = config(&scratch.join("root"));
        config.root.readonly = true;
        run(&config, &Request::default(), lookup).unwrap();
        let inside = scratch.join("root/mnt/host/null");
        assert_eq!(fs::metadata(inside).unwrap().rdev(), nix::libc::makedev(1, 3));
    });
}

#[test]
fn sec_03_a_symlink_in_place_of_the_console_is_refused() {
    for target in ["/mnt/host/canary", "../../host/canary", "/mnt/host/new", "nowhere"] {
        both(|scratch, lookup| {
            fs::create_dir_all(scratch.join("root/dev")).unwrap();
            symlink(target, scratch.join("root/dev/console")).unwrap();
            let mut config = config(&scratch.join("root"));
            add(&mut config, "/dev/pts", filesystem("devpts"));
            let error = run(&config, &terminal(), lookup).unwrap_err().to_string();
            assert_eq!(error, "set up /dev/console: a symlink of that name is in the root file system");
        });
    }
}

#[test]
fn sec_03_a_fifo_in_place_of_the_console_is_covered_and_never_opened() {
    both(|scratch, lookup| {
        fs::create_dir_all(scratch.join("root/dev")).unwrap();
        nix::unistd::mkfifo(&scratch.join("root/dev/console"), Mode::S_IRWXU).unwrap();
        let mut config = config(&scratch.join("root"));
        add(&mut config, "/dev/pts", filesystem("devpts"));
        run(&config, &terminal(), lookup).unwrap();
        assert_eq!(
            fs::metadata(scratch.join("root/dev/console")).unwrap().rdev(),
            nix::libc::makedev(136, 0)
        );
    });
}

#[test]
fn sec_03_a_console_without_a_devpts_is_refused() {
    both(|scratch, lookup| {
        fs::create_dir_all(scratch.join("root/dev/pts")).unwrap();
        nix::unistd::mkfifo(&scratch.join("root/dev/pts/ptmx"), Mode::S_IRWXU).unwrap();
        let error = run(&config(&scratch.join("root")), &terminal(), lookup).unwrap_err().to_string();
        assert_eq!(error, "set up /dev/console: /dev/pts is not a devpts");
    });
}

/// Ways to fake the null device, by the function that makes one.
const FAKES: [fn(&Path); 5] = [
    |null| symlink("/mnt/host/canary", null).unwrap(),
    |null| fs::write(null, "").unwrap(),
    |null| nix::unistd::mkfifo(null, Mode::S_IRWXU).unwrap(),
    |null| mknod(null, SFlag::S_IFCHR, Mode::S_IRWXU, nix::libc::makedev(1, 5)).unwrap(),
    |null| symlink("/proc/sys/kernel/core_pattern", null).unwrap(),
];

#[test]
fn sec_04_a_fake_null_device_is_refused() {
    for fake in FAKES {
        both(|scratch, lookup| {
            fs::create_dir_all(scratch.join("root/dev")).unwrap();
            fake(&scratch.join("root/dev/null"));
            let error =
                run(&config(&scratch.join("root")), &Request::default(), lookup).unwrap_err().to_string();
            assert_eq!(error, "make device /dev/null (c 1:3): something that is not c 1:3 is there already");
        });
    }
}

#[test]
fn sec_13_masks_do_not_come_from_the_containers_null_device() {
    for fake in FAKES {
        both(|scratch, lookup| {
            fs::create_dir_all(scratch.join("dev")).unwrap();
            fake(&scratch.join("dev/null"));
            fs::write(scratch.join("root/secret"), "secret").unwrap();
            let mut config = config(&scratch.join("root"));
            add(&mut config, "/dev", bind(scratch.join("dev")));
            add(&mut config, "/proc", filesystem("proc"));
            config.linux.masked_paths = ["/secret", "/proc/timer_list", "/proc/sys"].map(Into::into).into();
            run(&config, &Request::default(), lookup).unwrap();
            for masked in ["root/secret", "root/proc/timer_list"] {
                let stat = fs::metadata(scratch.join(masked)).unwrap();
                assert_eq!(stat.rdev(), nix::libc::makedev(1, 3), "{masked}");
            }
            assert_eq!(fs::read_dir(scratch.join("root/proc/sys")).unwrap().count(), 0);
            assert!(fs::write(scratch.join("root/proc/sys/x"), "").is_err());
        });
    }
}

#[test]
fn sec_14_a_mask_goes_where_the_symlink_leads_inside_the_root() {
    both(|scratch, lookup| {
        fs::create_dir_all(scratch.join("root/mnt/host")).unwrap();
        fs::write(scratch.join("root/mnt/host/canary"), "inside").unwrap();
        symlink("/mnt/host/canary", scratch.join("root/link")).unwrap();
        symlink("/proc/self/exe", scratch.join("root/magic")).unwrap();
        let mut config = config(&scratch.join("root"));
        config.linux.masked_paths = ["/link", "/missing", "/link/below/a/file"].map(Into::into).into();
        run(&config, &Request::default(), lookup).unwrap();
        let stat = fs::metadata(scratch.join("root/mnt/host/canary")).unwrap();
        assert_eq!(stat.rdev(), nix::libc::makedev(1, 3));
    });
}

#[test]
fn sec_06_parents_and_dangling_symlinks_are_made_inside_the_root() {
    both(|scratch, lookup| {
        let root = scratch.join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        symlink("../../..", root.join("a")).unwrap();
        symlink("/mnt/host/resolv.conf", root.join("etc/resolv.conf")).unwrap();
        symlink("../../host", root.join("up")).unwrap();
        fs::write(scratch.join("file"), "volume").unwrap();
        let mut config = config(&root);
        add(&mut config, "/a/b/c", bind(scratch.join("file")));
        add(&mut config, "/etc/resolv.conf", bind(scratch.join("file")));
        add(&mut config, "/up/new", filesystem("tmpfs")).copy_up = true;
        run(&config, &Request::default(), lookup).unwrap();
        for path in ["b/c", "mnt/host/resolv.conf"] {
            assert_eq!(fs::read_to_string(root.join(path)).unwrap(), "volume", "{path}");
        }
        assert!(mounted("/mnt/root/host/new").is_some());
        assert_eq!(fs::metadata(root.join("b")).unwrap().mode(), 0o4_0755);
    });
}

#[test]
fn sec_15_symlinks_and_files_in_a_bound_dev_are_not_followed() {
    for file in ["pts", "pts/ptmx"] {
        both(|scratch, lookup| {
            let dev = scratch.join("dev");
            fs::create_dir_all(if file == "pts" { dev.clone() } else { dev.join("pts") }).unwrap();
            symlink("/mnt/host/canary", dev.join(file)).unwrap();
            let mut config = config(&scratch.join("root"));
            add(&mut config, "/dev", bind(&dev));
            let error = run(&config, &terminal(), lookup).unwrap_err().to_string();
            assert!(error.starts_with("set up /dev/console: "), "{error}");
            assert_eq!(fs::read_dir(&dev).unwrap().count(), 1, "a bound /dev is not ours to fill");
        });
    }
}

/// Neither a devpts that the image leads to nor the multiplexer of another one, such as the host's, gives the terminal.
#[test]
fn sec_15_a_terminal_is_of_the_containers_own_devpts() {
    both(|scratch, lookup| {
        fs::create_dir_all(scratch.join("root/dev")).unwrap();
        symlink("/other", scratch.join("root/dev/pts")).unwrap();
        let mut config = config(&scratch.join("root"));
        add(&mut config, "/other", filesystem("devpts"));
        let error = run(&config, &terminal(), lookup).unwrap_err();
        assert_eq!(error.errno(), Some(nix::libc::ELOOP), "{error}");
    });
    both(|scratch, lookup| {
        let mut config = config(&scratch.join("root"));
        add(&mut config, "/dev/pts", filesystem("devpts"));
        add(&mut config, "/dev/pts/ptmx", bind("/dev/pts/ptmx"));
        let error = run(&config, &terminal(), lookup).unwrap_err();
        assert_eq!(error.errno(), Some(nix::libc::EXDEV), "{error}");
    });
}

#[test]
fn sec_11_nothing_is_mounted_inside_proc_whatever_leads_there() {
    both(|scratch, lookup| {
        symlink("/proc/self", scratch.join("root/innocent")).unwrap();
        symlink("/proc/sys", scratch.join("root/sysctl")).unwrap();
        symlink("/proc/uptime", scratch.join("root/uptime")).unwrap();
        for (destination, fine) in [("/innocent/attr", false), ("/sysctl", false), ("/sysctl/kernel", false)]
        {
            let mut config = config(&scratch.join("root"));
            add(&mut config, "/proc", filesystem("proc"));
            add(&mut config, destination, filesystem("tmpfs"));
            let error = run(&config, &Request::default(), lookup).unwrap_err().to_string();
            assert!(!fine && error.contains("nothing can be mounted inside /proc"), "{destination}: {error}");
        }
        fs::write(scratch.join("uptime"), "1 1").unwrap();
        let mut config = config(&scratch.join("root"));
        add(&mut config, "/proc", filesystem("proc"));
        add(&mut config, "/uptime", bind(scratch.join("uptime")));
        run(&config, &Request::default(), lookup).unwrap();
        assert_eq!(fs::read_to_string(scratch.join("root/proc/uptime")).unwrap(), "1 1");
    });
}

#[test]
fn sec_06_a_symlink_does_not_turn_a_remount_on_another_mount() {
    let read_only = |config: &mut Config, destination: &str| {
        let again = add(config, destination, filesystem("tmpfs"));
        (again.remount, again.attrs.set) = (true, nix::libc::MOUNT_ATTR_RDONLY);
    };
    both(|scratch, lookup| {
        symlink("/", scratch.join("root/link")).unwrap();
        let mut config = config(&scratch.join("root"));
        read_only(&mut config, "/link");
        let error = run(&config, &Request::default(), lookup).unwrap_err().to_string();
        assert!(
            error.contains("remount /link: a part of it is a symlink in the root file system"),
            "{error}"
        );
        fs::write(scratch.join("root/file"), "").unwrap();
    });
    // What was mounted is changed, whatever has its path now.
    both(|scratch, lookup| {
        fs::create_dir(scratch.join("volume")).unwrap();
        symlink("/", scratch.join("volume/x")).unwrap();
        let mut config = config(&scratch.join("root"));
        add(&mut config, "/a/x", filesystem("tmpfs"));
        add(&mut config, "/a", bind(scratch.join("volume")));
        read_only(&mut config, "/a/x");
        run(&config, &Request::default(), lookup).unwrap();
        assert!(mounted("/mnt/root/a/x").unwrap().contains(" ro,"));
        fs::write(scratch.join("root/file"), "").unwrap();
    });
}

#[test]
fn sec_10_a_copy_gives_no_life_to_devices_and_set_id_programs() {
    both(|scratch, lookup| {
        let image = scratch.join("root/var");
        fs::create_dir(&image).unwrap();
        mount(Some("image"), &image, Some("tmpfs"), MsFlags::MS_NODEV | MsFlags::MS_NOSUID, None::<&str>)
            .unwrap();
        mknod(&image.join("memory"), SFlag::S_IFCHR, Mode::S_IRWXU, nix::libc::makedev(1, 1)).unwrap();
        let mut config = config(&scratch.join("root"));
        add(&mut config, "/var", filesystem("tmpfs")).copy_up = true;
        run(&config, &Request::default(), lookup).unwrap();
        assert!(fs::symlink_metadata(image.join("memory")).is_ok());
        assert!(mounted("/mnt/root/var").unwrap().contains(" rw,nosuid,nodev,"));
    });
}

#[test]
fn sec_05_a_file_that_takes_the_place_of_a_new_device_is_not_given_away() {
    both(|scratch, lookup| {
        let dir = scratch.join("root/dev");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("victim"), "").unwrap();
        let (node, victim) = (dir.join("node"), dir.join("victim"));
        let proc = Proc::open().unwrap();
        let plan = plan(&config(&scratch.join("root")), &Request::default(), &facts()).unwrap();
        let mut assembler = Assembler::new(open_sources(&plan, &proc, false).unwrap(), &proc, lookup);
        let from = DeviceFrom::Make { mode: 0o600, uid: Some(1000), gid: None };
        let device = Device { origin: String::new(), path: "/dev/node".into(), node: Node::Fifo, from };
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let at = nix::fcntl::AT_FDCWD;
                while !done.load(Ordering::Relaxed) {
                    let _ = renameat2(at, &node, at, &victim, RenameFlags::RENAME_EXCHANGE);
                }
            });
            let mut given = false;
            for _ in 0..3000 {
                // A lost race is an error.
                drop(assembler.device(&device));
                for path in [&node, &victim] {
                    let Ok(meta) = fs::symlink_metadata(path) else { continue };
                    given |= meta.is_file() && meta.uid() != 0;
                    if !meta.is_file() {
                        let _ = fs::remove_file(path);
                    }
                }
                // The names may have changed places right before the removal.
                let _ = fs::File::create_new(&victim);
            }
            done.store(true, Ordering::Relaxed);
            assert!(!given);
        });
    });
}

#[test]
fn sec_05_a_racing_symlink_never_leads_out() {
    both(|scratch, lookup| {
        let root = scratch.join("root");
        fs::create_dir_all(root.join("volume/dir")).unwrap();
        symlink("../../../../../../mnt/host", root.join("volume/link")).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let (a, b) = (root.join("volume/dir"), root.join("volume/link"));
                    let at = nix::fcntl::AT_FDCWD;
                    renameat2(at, &a, at, &b, RenameFlags::RENAME_EXCHANGE).unwrap();
                }
            });
            let root = Rootfs::new(fs::File::open(&root).unwrap().into(), lookup);
            let canary = fs::metadata(scratch.join("host/canary")).unwrap().ino();
            let mut escapes = 0;
            for turn in 0..2000 {
                let new = format!("/volume/dir/{turn}/new");
                // A lost race may be an error, never an escape.
                drop(root.create(Path::new(&new), Link::Follow, Missing::File));
                if let Ok(found) = root.find(Path::new("/volume/dir/canary"), Link::Follow) {
                    escapes += i32::from(nix::sys::stat::fstat(found).unwrap().st_ino == canary);
                }
            }
            done.store(true, Ordering::Relaxed);
            assert_eq!(escapes, 0);
        });
    });
}

#[test]
fn both_ways_of_resolving_find_the_same() {
    scratch(|scratch| {
        let root = scratch.join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(root.join("proc")).unwrap();
        fs::write(root.join("a/b/file"), "").unwrap();
        for (target, link) in [
            ("a/b", "relative"),
            ("/a/b", "absolute"),
            ("../../../a", "up"),
            ("loop", "loop"),
            ("/nowhere", "dangling"),
            ("relative/../file", "zigzag"),
            ("/proc/self/root", "magic"),
            ("/", "top"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        mount(Some("proc"), &root.join("proc"), Some("proc"), MsFlags::empty(), None::<&str>).unwrap();
        let [kernel, walk] = [Lookup::Kernel, Lookup::Walk]
            .map(|lookup| Rootfs::new(fs::File::open(&root).unwrap().into(), lookup));
        for path in [
            "/",
            "/a",
            "/a/b/file",
            "/relative/file",
            "/absolute/file",
            "/up/b",
            "/loop",
            "/dangling",
            "/zigzag",
            "/magic",
            "/magic/etc",
            "/top/top/top/a",
            "/a/../..",
            "/a/b/file/c",
            "/missing",
            "/proc/self/status",
            "/proc/self/cwd",
            "/proc/mounts",
            "/proc/self/fd/0",
            "/a/./b/../b",
        ] {
            for link in [Link::Follow, Link::Last, Link::Refuse] {
                let [found, walked] = [&kernel, &walk].map(|root| {
                    let found = root.find(Path::new(path), link).map_err(|error| error.errno());
                    found.map(|fd| nix::sys::stat::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).unwrap())
                });
                assert_eq!(found, walked, "{path} {link:?}");
            }
        }
    });
}

//! What the runtime makes in the image and never takes from it (SEC-07, SEC-08, SEC-26).

use crate::{
    canary::Canary,
    common::{Bundle, ConsoleSocket, PinnedNamespaces, Proc, Traces, in_modes},
    paths::without_mounts,
};
use nix::mount::{MsFlags, mount};
use serde_json::json;
use std::{
    ffi::CString,
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsRawFd, FromRawFd},
        unix::{ffi::OsStrExt, fs::symlink},
    },
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

in_modes! {
    /// CVE-2025-24965, CVE-2026-47766: every name that is made in an image whose /dev nothing covers is a link to the host, to
    /// files that are there and to names that are not.
    fn sec_07_whatever_is_made_in_the_image_is_not_made_behind_its_links(mode) {
        let devices = ["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts", "shm", "mqueue"];
        let others = ["fd", "stdin", "stdout", "stderr", "core", "evil"];
        for existing in [true, false] {
            for terminal in [true, false] {
                let bundle = without_mounts(Bundle::new(mode), &["/dev"]).put("/process/terminal", json!(terminal));
                let canary = Canary::new(&bundle);
                let at = canary.path().display().to_string();
                let file = bundle.scratch().file("source", "x", mode.caller(), 0o644);
                let mut bundle = bundle
                    .rootfs(|root| {
                        for name in devices.iter().chain(&others) {
                            let target = if existing { "file" } else { name };
                            symlink(format!("{at}/{target}"), root.join("dev").join(name)).unwrap();
                        }
                        symlink(&at, root.join("out")).unwrap();
                        symlink(format!("../../../../../../../..{at}"), root.join("up")).unwrap();
                        symlink(format!("{at}/new"), root.join("new")).unwrap();
                    })
                    .put("/linux/devices", json!([{"path": "/dev/evil", "type": "c", "major": 1, "minor": 3}]))
                    .args(["true"]);
                bundle.run();
                canary.is_untouched();
                bundle.call(&["delete", "--force", bundle.id()]);
                for cwd in ["/out/made", "/up/a/b", "/new"] {
                    let image = bundle.put("/process/cwd", json!(cwd));
                    bundle = image
                        .with(|config| config["linux"]["devices"] = json!([]))
                        .mount("tmpfs", "tmpfs", &format!("{cwd}/tmpfs"), &["tmpcopyup"])
                        .mount("bind", &file, &format!("{cwd}/file"), &["bind"]);
                    if terminal {
                        let path = bundle.scratch().join("console");
                        let _ = std::fs::remove_file(&path);
                        let socket = ConsoleSocket::listen(&path, mode.caller());
                        bundle.try_create(&["--console-socket", socket.path()]);
                    } else {
                        bundle.run();
                    }
                    canary.is_untouched();
                    bundle.call(&["delete", "--force", bundle.id()]);
                }
                Traces::none_of(&bundle);
            }
        }
    }
}

in_modes! {
    /// crun#2262: a tree of the host in which a mount namespace is kept cannot be moved by some kernels. The answer must never be
    /// another tree.
    fn sec_08_a_tree_with_a_namespace_in_it_is_that_tree_or_an_error(mode) {
        for kind in ["uts", "mnt"] {
            let bundle = Bundle::new(mode);
            let tree = bundle.scratch().dir("tree", mode.caller(), 0o755);
            bundle.scratch().file("tree/host", "HOST\n", mode.caller(), 0o644);
            let file = bundle.scratch().file("tree/namespace", "", mode.caller(), 0o644);
            let private = |path: &Path| {
                mount(Some(path), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
                mount(None::<&str>, path, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>).unwrap();
            };
            private(&tree);
            let pinned = PinnedNamespaces::with(&["--mount", "--uts"], None);
            mount(Some(pinned.path(kind).as_str()), &file, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
            let script = "cat /tree/host; ls -d /tree/marker /tree/bin 2>/dev/null; true";
            let bundle = bundle
                .renew_outer()
                .rootfs(|root| std::fs::write(root.join("marker"), "").unwrap())
                .mount("bind", &tree, "/tree", &["rbind"])
                .sh(script);
            let output = bundle.run();
            if output.code == 0 {
                assert_eq!(output.stdout, "HOST\n", "{kind}");
            } else {
                assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{kind}: {output:?}");
                bundle.call(&["delete", "--force", bundle.id()]);
            }
            println!("{kind}: {} {}", output.code, output.stderr);
        }
    }
}

/// A process that opened a file of the image, as it was at that moment.
#[derive(Debug)]
struct Opened {
    file: String,
    root: String,
    capabilities: String,
    bound: String,
    user: String,
}

/// Asks the kernel to stop everybody who opens one of `files` until [`watch`] has looked at them (fanotify(7)).
fn stop_at(files: &[std::path::PathBuf]) -> File {
    // SAFETY: no pointer is handed over, and nothing else owns the descriptor.
    let group = unsafe {
        let fd = libc::fanotify_init(
            libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK,
            libc::O_RDONLY as u32,
        );
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        File::from_raw_fd(fd)
    };
    for file in files {
        let path = CString::new(file.as_os_str().as_bytes()).unwrap();
        let mask = libc::FAN_OPEN_PERM | libc::FAN_OPEN_EXEC_PERM;
        // SAFETY: the path ends with a NUL.
        let ret = unsafe {
            libc::fanotify_mark(group.as_raw_fd(), libc::FAN_MARK_ADD, mask, libc::AT_FDCWD, path.as_ptr())
        };
        assert_eq!(ret, 0, "{}: {}", file.display(), std::io::Error::last_os_error());
    }
    group
}

/// Looks at everybody who is stopped and lets them go on, until `done`.
fn watch(mut group: File, done: &AtomicBool) -> Vec<Opened> {
    let mut seen = Vec::new();
    let size = size_of::<libc::fanotify_event_metadata>();
    let mut last = false;
    while !last {
        last = done.load(Ordering::Relaxed);
        let mut bytes = [0_u8; 4096];
        let Ok(length) = group.read(&mut bytes) else {
            std::thread::sleep(std::time::Duration::from_micros(200));
            continue;
        };
        for at in (0..length).step_by(size) {
            // SAFETY: the kernel wrote whole events, and one may be read from any address.
            let event: libc::fanotify_event_metadata =
                unsafe { bytes.as_ptr().add(at).cast::<libc::fanotify_event_metadata>().read_unaligned() };
            // SAFETY: the kernel just opened it for this process.
            let file = unsafe { File::from_raw_fd(event.fd) };
            let process = Proc(event.pid.cast_unsigned());
            let link = |path| std::fs::read_link(path).unwrap_or_default().display().to_string();
            seen.push(Opened {
                file: link(format!("/proc/self/fd/{}", file.as_raw_fd()).into()),
                root: link(process.path("root")),
                capabilities: process.status("CapEff"),
                bound: process.status("NoNewPrivs"),
                user: process.ns("user"),
            });
            let mut answer = event.fd.to_ne_bytes().to_vec();
            answer.extend(libc::FAN_ALLOW.to_ne_bytes());
            group.write_all(&answer).unwrap();
        }
    }
    seen
}

in_modes! {
    /// CVE-2019-14271, CVE-2022-1227: a helper that entered a container loads a library, or runs a program, of the image while it
    /// holds privilege over the host. The kernel stops everybody who opens such a file until the test has looked at them.
    fn sec_26_no_file_of_the_image_is_executed_with_privilege(mode) {
        let names = [
            "etc/ld.so.preload", "etc/ld.so.cache", "etc/nsswitch.conf", "lib/libnss_files.so.2", "lib64/ld-linux-x86-64.so.2",
            "usr/bin/newuidmap", "usr/bin/newgidmap", "bin/urun", "usr/bin/nsenter", "usr/lib/gconv/gconv-modules", "etc/localtime",
        ];
        let bundle = Bundle::new(mode)
            .rootfs(|root| {
                for name in names {
                    let path = root.join(name);
                    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                    std::fs::write(&path, "evil").unwrap();
                    crate::common::set_mode(&path, 0o755);
                }
            })
            .put("/process/capabilities", crate::common::caps(&["CAP_KILL"]));
        let mut files: Vec<_> = names.iter().map(|name| bundle.rootfs_dir().join(name)).collect();
        files.push(bundle.rootfs_dir().join("bin/busybox"));
        let (group, done) = (stop_at(&files), AtomicBool::new(false));
        let host = Proc(std::process::id());
        let seen = std::thread::scope(|scope| {
            struct Stop<'a>(&'a AtomicBool);
            impl Drop for Stop<'_> {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
            let stop = Stop(&done);
            let watcher = scope.spawn(|| watch(group, &done));
            let container = bundle.start();
            container.bundle().call(&["exec", container.id(), "true"]).ok();
            container.bundle().call(&["ps", container.id()]).ok();
            container.kill("KILL").ok();
            drop(container);
            drop(stop);
            watcher.join().unwrap()
        });
        assert!(seen.len() >= 2, "{seen:?}");
        for opened in seen {
            assert!(opened.file.ends_with("/bin/busybox"), "{opened:?}");
            assert_eq!(opened.capabilities, "0000000000000020", "{opened:?}");
            assert_eq!(opened.bound, "1", "{opened:?}");
            // A process in another mount namespace has a root that the test's own /proc prints as `/`.
            assert_eq!(opened.root, "/", "{opened:?}");
            assert_eq!(opened.user == host.ns("user"), mode == crate::common::Mode::Root, "{opened:?}");
        }
    }
}

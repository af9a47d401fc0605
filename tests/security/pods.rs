//! What user namespaces promise about each other: the powers of root in its own, and none in its neighbour's (SEC-91, SEC-93).

use crate::common::*;
use nix::libc;
use std::fs::{self, File};
use std::os::{fd::AsRawFd, unix::process::CommandExt};
use std::path::PathBuf;

in_modes! {
    /// Every namespace was made inside the container's user namespace, so root there is root of it, and the host's stays as it is.
    [root_userns rootless_one rootless_range]
    fn sec_91_root_inside_is_root_of_its_namespaces(mode) {
        let name = || fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let before = name();
        let script = "hostname evil && ip link set lo down && mount -t mqueue new /tmp && umount /tmp && mount -t tmpfs new /tmp && \
                      unshare -p -f true && echo done; exec sleep 600";
        let container = Bundle::new(mode).put("/process/capabilities", caps(&CAPABILITIES)).sh(script).start();
        wait_until("it has tried", || container.proc().read("cmdline").starts_with("sleep"));
        assert_eq!(container.output().trim(), "done");
        for kind in ["mnt", "pid", "net", "ipc", "uts"] {
            assert_eq!(container.proc().ns_owner(kind), container.proc().ns("user"), "{kind}");
        }
        assert_eq!(name(), before);
    }
}

/// The ids of two containers are disjoint, so whoever escapes from one into the files of the other is nobody there.
#[test]
fn sec_93_a_pods_files_are_closed_to_its_neighbour_also_by_descriptor() {
    if only_ours("the others choose no ids") {
        return;
    }
    let pod = |script: &str| {
        let all = caps(&CAPABILITIES);
        Bundle::new(Mode::Root).put("/process/capabilities", all).sh(script)
    };
    let script = "umask 077; mkdir /secret; echo secret >/secret/file; echo secret >/file; echo stands; exec sleep 600";
    let first = pod(script).create_with(&["--userns", "auto"]);
    first.start();
    first.wait_for("stands");
    let attack = "for way in 'cat file' 'ls secret' 'cat secret/file' 'sh -c \"echo evil >file\"' 'chmod 777 secret' 'chown 0 file' \
                  'rm -rf secret' 'touch new' 'mknod null c 1 3' 'chroot . /bin/true'; do (cd /proc/self/fd/3 && eval $way) 2>&1 && \
                  echo \"DONE: $way\"; done; echo tried";
    for place in [first.bundle().rootfs_dir(), first.proc().inside("/")] {
        let second = pod(attack);
        let output = with_descriptor(&second, &place);
        assert!(output.contains("tried"), "{output}");
        let done: Vec<_> = output.lines().filter(|line| line.contains("DONE")).collect();
        // Everybody may execute what is open to everybody; whoever does so is still itself.
        assert_eq!(done, ["DONE: chroot . /bin/true"], "{}: {output}", place.display());
        assert!(!output.contains("secret\n"), "{output}");
    }
    let file = first.proc().inside("/secret/file");
    assert_eq!(fs::read_to_string(file).unwrap(), "secret\n");
    let map = first.proc().map("uid_map");
    assert!(map.iter().all(|[_, host, _]| *host >= 65536), "{map:?}");
}

/// What the container wrote that was run with the directory as its descriptor 3.
fn with_descriptor(bundle: &Bundle, place: &PathBuf) -> String {
    bundle.write();
    let directory = File::open(place).unwrap();
    let mut command = bundle.command(&["run", "--userns", "auto", "--preserve-fds", "1", bundle.id()]);
    // SAFETY: fcntl and dup2 are safe between fork and exec.
    unsafe {
        // Not onto itself, which would leave it close-on-exec.
        command.pre_exec(move || {
            match libc::dup2(libc::fcntl(directory.as_raw_fd(), libc::F_DUPFD, 10), 3) {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            }
        });
    }
    bundle.call_command(command).ok().stdout
}

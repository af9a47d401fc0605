//! `--no-pivot` leaves the host's mounts in place, out of reach. The kernel still sees them.

use super::apply::empty_directory;
use crate::{
    error::{Context, Error, Result},
    host::mountinfo::Mount,
    sys::{
        mount::{self, mount_of},
        proc::Proc,
    },
};
use nix::{errno::Errno, fcntl::OFlag, sys::stat::Mode};
use std::{
    collections::HashMap,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

/// Covers every procfs and sysfs outside the new root: as long as one of them is fully visible in this mount namespace, a
/// process with CAP_SYS_ADMIN in a user namespace could mount a fresh one without masks (`mnt_already_visible` in
/// fs/namespace.c). An error where one cannot be covered. The root of the calling process is that of its mount namespace.
///
/// The new root has left its own directory, which may have had a procfs of the host's on it.
pub(super) fn hide_kernel_views(root: BorrowedFd<'_>) -> Result<()> {
    let table = Mount::own_table(&Proc::open()?)?;
    let (container, _) = mount_of(root)?;
    for view in views(&table, container) {
        hide(view).with_context(|| {
            format!("hide the {} of the host at {} for --no-pivot", view.fstype, view.point.display())
        })?;
    }
    Ok(())
}

/// The kernel looks at the mounts of a namespace, not at paths: a view below a directory that another mount covers counts, and
/// nothing can be mounted on it there.
fn hide(view: &Mount) -> Result<()> {
    let found = nix::fcntl::open(&view.point, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
    match found {
        // A symlink that has taken the place of a directory on the way leads to another mount.
        Ok(found) if mount_of(found.as_fd())? == (view.id, true) => {
            mount::attach(empty_directory()?.as_fd(), found.as_fd())
        }
        Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR) => Err(Error::new("another mount lies over it").hint(
            "as long as it is there, root of the container could mount a new one without masks: unmount it, or what lies \
             over it, or do without --no-pivot",
        )),
        Err(errno) => Err(errno).context("open"),
    }
}

/// The mounts of all of a procfs or sysfs that are not below the mount `container` and not covered by a mount on their own
/// root, the last first.
fn views(table: &[Mount], container: u64) -> impl Iterator<Item = &Mount> {
    let parents: HashMap<u64, u64> = table.iter().map(|mount| (mount.id, mount.parent)).collect();
    let is_inside = move |mount: &Mount| {
        let mut id = mount.id;
        while id != container {
            match parents.get(&id) {
                // The root of a namespace is on itself.
                Some(&parent) if parent != id => id = parent,
                _ => return false,
            }
        }
        true
    };
    let is_covered =
        |view: &Mount| table.iter().any(|mount| mount.parent == view.id && mount.point == view.point);
    table.iter().rev().filter(move |mount| {
        matches!(mount.fstype.as_str(), "proc" | "sysfs")
            && mount.root == Path::new("/")
            && !is_covered(mount)
            && !is_inside(mount)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_of_the_kernel_outside_the_container_are_found_last_first() {
        let table = Mount::table(
            "1 1 0:2 / / rw - rootfs none rw\n\
             22 1 0:20 / /sys rw - sysfs sysfs rw\n\
             23 1 0:21 / /a\\040b/proc rw shared:1 - proc proc rw\n\
             24 23 0:21 /sys /a\\040b/proc/sys ro - proc proc rw\n\
             25 1 0:23 / /dev rw - tmpfs proc rw\n\
             26 1 0:21 / /twice rw - proc proc rw\n\
             27 26 0:21 / /twice rw - proc proc rw\n\
             28 1 0:21 / /covered rw - proc proc rw\n\
             29 28 0:24 / /covered rw - tmpfs tmpfs rw\n\
             40 1 8:1 /image / rw - ext4 /dev/sda1 rw\n\
             41 40 0:30 / /proc rw - proc proc rw\n",
        );
        let found: Vec<_> = views(&table, 40).map(|view| view.id).collect();
        assert_eq!(found, [27, 23, 22]);
    }
}

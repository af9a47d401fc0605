//! `--no-pivot` leaves the host's mounts in place, out of reach. The kernel still sees them.

use crate::{
    error::{Context, Result},
    host::mountinfo::Mount,
    sys::{
        mount::{self, Configuration},
        proc::Proc,
    },
};
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    libc,
    mount::{MntFlags, umount2},
    sys::stat::Mode,
};
use std::{
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

/// Unmounts every procfs and sysfs outside the new root, or hides it where that cannot be: as long as one of them is fully
/// visible in this mount namespace, a process with CAP_SYS_ADMIN could mount a fresh one without masks.
pub(super) fn hide_kernel_views(root: BorrowedFd<'_>) -> Result<()> {
    let proc = Proc::open()?;
    let own = proc.own()?;
    let table = proc.read_text(&format!("{own}/mountinfo"))?;
    let new_root = nix::fcntl::readlinkat(
        &proc,
        format!("{own}/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&root)).as_str(),
    )
    .context("find the new root")?;
    for path in views(&table, Path::new(&new_root)) {
        match umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            // Something else is mounted over it by now, or it went with its parent.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::EINVAL | Errno::EPERM) => hide(&path)?,
            Err(errno) => return Err(errno).with_context(|| format!("unmount {}", path.display())),
        }
    }
    Ok(())
}

fn hide(path: &Path) -> Result<()> {
    let empty = Configuration::open("tmpfs")?.mount(libc::MOUNT_ATTR_RDONLY)?;
    let target = open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty());
    let target = target.with_context(|| format!("open {}", path.display()))?;
    mount::attach(empty.as_fd(), target.as_fd()).with_context(|| format!("hide {}", path.display()))
}

/// Mount points of procfs and sysfs outside `root` in a mountinfo table, innermost first.
fn views(table: &str, root: &Path) -> Vec<PathBuf> {
    let view =
        |mount: &Mount| matches!(mount.fstype.as_str(), "proc" | "sysfs") && !mount.point.starts_with(root);
    Mount::table(table).into_iter().rev().filter(|mount| view(mount)).map(|mount| mount.point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_of_the_kernel_outside_the_root_are_found_innermost_first() {
        let table = "22 1 0:20 / /sys rw - sysfs sysfs rw\n23 1 0:21 / /a\\040b/proc rw shared:1 - proc proc rw\n\
                     24 1 0:22 / /root/proc rw - proc proc rw\n25 1 0:23 / /dev rw - tmpfs proc rw\n";
        let found = views(table, Path::new("/root"));
        assert_eq!(found, [PathBuf::from("/a b/proc"), PathBuf::from("/sys")]);
    }
}

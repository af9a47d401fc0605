//! /proc: what stands for it where the kernel gives no whole one, and what may lie over it.

use super::{
    attach::create,
    op::{Attrs, Filesystem, Link, OVER_PROC, Parameter, ProcView},
    root::Rootfs,
};
use crate::{
    error::{Context, Result},
    sys::mount::{self, Attributes},
};
use nix::{
    libc::{self, AT_RECURSIVE, MOUNT_ATTR_RDONLY},
    sys::{
        stat::fstat,
        statfs::{PROC_SUPER_MAGIC, fstatfs},
    },
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// inode number of the root directory of every procfs, `PROC_ROOT_INO` in the kernel.
const ROOT_INODE: u64 = 1;

/// What takes the place of a procfs that the kernel has refused; none where nothing may or the kernel refuses that too.
pub(super) fn instead(
    wanted: &Filesystem,
    attrs: &Attrs,
    pids: Option<&OwnedFd>,
    (subset, outer): (bool, bool),
) -> Result<Option<(OwnedFd, ProcView)>> {
    if subset {
        let mut smaller = wanted.clone();
        smaller.parameters.push(Parameter::Text("subset".into(), "pid".into()));
        // Linux 7.2 gives it to everybody, because it shows nothing that a mask could hide; older kernels refuse it as well.
        match create(&smaller, attrs, None, pids) {
            Err(error) if error.errno() == Some(libc::EPERM) => {}
            created => return created.map(|mount| Some((mount, ProcView::Subset))),
        }
    }
    match outer {
        true => self::outer(attrs).context("take the outer /proc").map(|tree| Some((tree, ProcView::Outer))),
        false => Ok(None),
    }
}

/// The /proc of the runtime with all that lies over it. The masks cannot be lost: a clone without them is refused by the
/// kernel (they are locked, mount_namespaces(7)), and here none is asked for.
fn outer(attrs: &Attrs) -> Result<OwnedFd> {
    let tree = mount::clone_path(Path::new("/proc"), AT_RECURSIVE)?;
    if !is_root(&tree)? {
        crate::bail!("it is not the root of a procfs");
    }
    let private = Attributes {
        // A device that masks a file has to stay one, so what is below becomes read-only at most.
        set: attrs.set & MOUNT_ATTR_RDONLY,
        propagation: libc::MS_PRIVATE,
        ..Attributes::default()
    };
    mount::set_attributes(tree.as_fd(), private, AT_RECURSIVE)?;
    let top = Attributes { set: attrs.set, ..Attributes::default() };
    mount::set_attributes(tree.as_fd(), top, 0)?;
    Ok(tree)
}

/// Refuses to hide what lies in a procfs, whatever path led there.
pub(super) fn guard(root: &Rootfs, target: &OwnedFd, mount: &OwnedFd, destination: &Path) -> Result<()> {
    let inside = on_proc(target)?;
    if !inside && destination != Path::new("/proc") {
        return Ok(());
    }
    let there = fstat(target).context("fstat")?;
    if !inside || there.st_ino == ROOT_INODE {
        if is_root(mount)? {
            return Ok(());
        }
        crate::bail!("only a procfs can be mounted over /proc");
    }
    for allowed in OVER_PROC {
        let Some(file) = root.find_existing(Path::new(allowed), Link::Refuse)? else { continue };
        let file = fstat(&file).context("fstat")?;
        if (file.st_dev, file.st_ino) == (there.st_dev, there.st_ino) {
            return Ok(());
        }
    }
    crate::bail!("nothing can be mounted inside /proc, except on {}", OVER_PROC.join(", "))
}

pub(super) fn is_root(fd: &OwnedFd) -> Result<bool> {
    Ok(on_proc(fd)? && fstat(fd).context("fstat")?.st_ino == ROOT_INODE)
}

fn on_proc(fd: &OwnedFd) -> Result<bool> {
    Ok(fstatfs(fd).context("statfs")?.filesystem_type() == PROC_SUPER_MAGIC)
}

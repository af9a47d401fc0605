//! Id-mapped mounts: the user namespaces whose maps they use, and the mapping itself.

use super::{
    idmap_refused::{Refused, explain},
    op::{IdLines, IdMapping},
};
use crate::{
    error::{Context, Error, Result},
    host::mountinfo::Mount,
    sys::{
        fork::NamespaceHolder,
        mount::{clone_path, mount_of, set_idmap},
        proc::Proc,
    },
};
use nix::{
    fcntl::{OFlag, openat},
    libc::AT_RECURSIVE,
    sys::stat::Mode,
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// User namespaces that nobody lives in, in the order of [`super::op::Plan::idmaps`].
#[derive(Debug)]
pub(super) struct Idmaps(Vec<OwnedFd>);

impl Idmaps {
    /// Makes one for each map. The caller has one thread.
    pub(super) fn make(maps: &[IdLines], proc: &Proc) -> Result<Self> {
        let make = |lines: &IdLines| {
            user_namespace(proc, lines)
                .with_context(|| format!("{}: make a user namespace for an id-mapped mount", lines.origin))
        };
        maps.iter().map(make).collect::<Result<_>>().map(Self)
    }

    /// Maps the ids of a detached mount. The errno of a failure says why: EINVAL is about the file system, EPERM about
    /// the caller or a mount that is id-mapped already (mount_setattr(2)).
    pub(super) fn apply(&self, mount: &OwnedFd, idmap: IdMapping) -> Result<()> {
        let namespace = self.0.get(idmap.lines);
        let namespace = namespace.ok_or_else(|| Error::new("there is no user namespace to map ids with"))?;
        set_idmap(mount.as_fd(), namespace.as_fd(), if idmap.recursive { AT_RECURSIVE } else { 0 })
    }
}

/// A user namespace with these maps.
fn user_namespace(proc: &Proc, lines: &IdLines) -> Result<OwnedFd> {
    let holder = NamespaceHolder::start()?;
    let made = map(proc, holder.pid(), lines);
    let stopped = holder.stop();
    let made = made?;
    stopped.map(|()| made)
}

fn map(proc: &Proc, pid: i32, lines: &IdLines) -> Result<OwnedFd> {
    let hint =
        "id-mapped mounts with maps of their own need a runtime with CAP_SETUID and CAP_SETGID on the host";
    let process = proc.process(pid)?;
    proc.write(&format!("{process}/uid_map"), lines.uids.as_bytes()).hint(hint)?;
    proc.write(&format!("{process}/gid_map"), lines.gids.as_bytes()).hint(hint)?;
    // ns/user is a magic link, below the verified handle and of a process of ours.
    let path = format!("{process}/ns/user");
    openat(proc, path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .with_context(|| format!("open /proc/{path}"))
}

/// The error of a refused id map of a new file system.
pub(super) fn refused(error: Error, fstype: &str, destination: &Path) -> Error {
    let mount = Refused { path: destination, fstype, idmapped: false };
    explain(error, &mount, &kernel())
}

/// The error of a refused id map of something of the host's, after a look at which of its mounts the kernel refuses.
pub(super) fn source_refused(error: Error, path: &Path, idmap: IdMapping, idmaps: &Idmaps) -> Error {
    match culprit(path, idmap, idmaps) {
        Ok(mount) => {
            let idmapped = mount.is_idmapped();
            // The source itself is known by the name it has in config.json.
            let path = if path.starts_with(&mount.point) { path } else { &mount.point };
            explain(error, &Refused { path, fstype: &mount.fstype, idmapped }, &kernel())
        }
        // What cannot be looked up is not worth another error.
        Err(_) => explain(error, &Refused { path, fstype: "unknown", idmapped: false }, &kernel()),
    }
}

/// The mount that holds `path`, or the one below it that the kernel refuses to map.
fn culprit(path: &Path, idmap: IdMapping, idmaps: &Idmaps) -> Result<Mount> {
    let top = mount_at(path)?;
    if !idmap.recursive || is_refused(path, idmap, idmaps)? {
        return Ok(top);
    }
    let proc = Proc::open()?;
    let path = proc.descriptor(open(path)?.as_fd()).context("find the real name of the source")?;
    let below = |mount: &Mount| mount.point != path && mount.point.starts_with(&path);
    for mount in Mount::own_table(&proc)?.into_iter().filter(below) {
        if is_refused(&mount.point, idmap, idmaps)? {
            return Ok(mount);
        }
    }
    Ok(top)
}

fn is_refused(path: &Path, idmap: IdMapping, idmaps: &Idmaps) -> Result<bool> {
    Ok(idmaps.apply(&clone_path(path, 0)?, IdMapping { recursive: false, ..idmap }).is_err())
}

/// What the file system at a path is called.
pub fn filesystem_name(path: &Path) -> Result<String> {
    mount_at(path).map(|mount| mount.fstype).with_context(|| format!("look at {}", path.display()))
}

/// The line of the caller's mount table about the mount that holds `path`.
pub(super) fn mount_at(path: &Path) -> Result<Mount> {
    let (id, _) = mount_of(open(path)?.as_fd())?;
    let found = Mount::own_table(&Proc::open()?)?.into_iter().find(|mount| mount.id == id);
    found.ok_or_else(|| Error::new("its mount is not in the mount table"))
}

fn open(path: &Path) -> Result<OwnedFd> {
    nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).context("open")
}

/// `uname -r`, or nothing where it cannot be read.
fn kernel() -> String {
    let name = nix::sys::utsname::uname();
    name.map_or_else(|_| String::new(), |name| name.release().to_string_lossy().into_owned())
}

//! Id-mapped mounts: the user namespaces whose maps they use, and the words for their failures.

use super::op::IdLines;
use crate::{
    error::{Context, Error, Result},
    sys::{fork::NamespaceHolder, proc::Proc},
};
use nix::{
    fcntl::{OFlag, openat},
    sys::{stat::Mode, statfs::fstatfs},
};
use std::os::fd::OwnedFd;

/// A user namespace with these maps, which nobody lives in.
pub(super) fn user_namespace(lines: &IdLines, proc: &Proc) -> Result<OwnedFd> {
    let holder = NamespaceHolder::start()?;
    let made = map(proc, holder.pid().as_raw(), lines);
    let stopped = holder.stop();
    let made = made.context("make a user namespace for an id-mapped mount")?;
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

/// The error of a refused id map; users know its first words from the documentation of Kubernetes.
pub(super) fn refused(error: Error, mount: &OwnedFd, what: &str) -> Error {
    let (cause, hint) = match error.errno() {
        Some(libc::EINVAL) => (
            "invalid argument (maybe the source filesystem doesn't support idmap mounts on this kernel?)",
            "the file system has to support it, and its mount must not be id-mapped already",
        ),
        Some(libc::EPERM) => (
            "operation not permitted",
            "id-mapped mounts need CAP_SYS_ADMIN in the user namespace that mounted the file system: real root, mostly",
        ),
        _ => return error.context(format_args!("failed to set MOUNT_ATTR_IDMAP on {what}")),
    };
    let fstype = fstatfs(mount).map_or("unknown", |fs| name(fs.filesystem_type().0));
    error
        .context(format_args!("failed to set MOUNT_ATTR_IDMAP on {what}: {cause}, file system {fstype}"))
        .hint(hint)
}

/// What the file system at a path is called.
pub fn filesystem_name(path: &std::path::Path) -> Result<&'static str> {
    let found = nix::sys::statfs::statfs(path).with_context(|| format!("statfs {}", path.display()))?;
    Ok(name(found.filesystem_type().0))
}

/// The usual file systems by their magic number, statfs(2).
fn name(magic: nix::libc::__fsword_t) -> &'static str {
    match magic {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlay",
        0x6969 => "nfs",
        0x6573_5546 => "fuse",
        0xff53_4d42 | 0xfe53_4d42 => "cifs",
        0x2fc1_2fc1 => "zfs",
        0x0102_1997 => "9p",
        0x00c3_6400 => "ceph",
        _ => "of another type",
    }
}

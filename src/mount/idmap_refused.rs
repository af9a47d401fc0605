//! The words for an id map that the kernel refused. Pure.

use crate::error::Error;
use nix::libc::{EINVAL, EPERM};
use std::path::Path;

/// The mount that could not be id-mapped.
#[derive(Debug)]
pub(super) struct Refused<'a> {
    /// Its name for the user.
    pub(super) path: &'a Path,
    /// The type of its file system.
    pub(super) fstype: &'a str,
    /// The original has a map already.
    pub(super) idmapped: bool,
}

/// Since which Linux a file system can be id-mapped (mount_setattr(2), and the kernel's history for the last ones).
const SINCE: [(&str, (u32, u32)); 16] = [
    ("ext2", (5, 12)),
    ("ext3", (5, 12)),
    ("ext4", (5, 12)),
    ("vfat", (5, 12)),
    ("xfs", (5, 12)),
    ("btrfs", (5, 15)),
    ("ntfs3", (5, 15)),
    ("f2fs", (5, 18)),
    ("erofs", (5, 19)),
    ("squashfs", (6, 2)),
    ("tmpfs", (6, 3)),
    ("ceph", (6, 7)),
    ("hugetlbfs", (6, 9)),
    ("fuse", (6, 12)),
    ("virtiofs", (6, 12)),
    ("overlay", (7, 3)),
];

/// Adds to the error of mount_setattr(2) which mount it is about, its file system, the kernel and what would work. Users know
/// the first words from the documentation of Kubernetes.
pub(super) fn explain(error: Error, mount: &Refused<'_>, kernel: &str) -> Error {
    let Refused { path, fstype, idmapped } = mount;
    let (cause, hint) = match error.errno() {
        Some(EINVAL) => (
            "invalid argument (maybe the source filesystem doesn't support idmap mounts on this kernel?)",
            unsupported(fstype, kernel),
        ),
        Some(EPERM) if *idmapped => (
            "operation not permitted, it is id-mapped already",
            "the kernel maps a mount once: name the directory by a path through a mount that is not id-mapped, with the map \
             that it is to have in the end"
                .to_owned(),
        ),
        Some(EPERM) => (
            "operation not permitted",
            "id-mapped mounts need CAP_SYS_ADMIN in the user namespace that mounted the file system, real root mostly: \
             without it, leave the mappings out and give the files to the ids that the container has on the host"
                .to_owned(),
        ),
        _ => ("the kernel refused", String::new()),
    };
    let step = format!(
        "failed to set MOUNT_ATTR_IDMAP on {}: {cause}, file system {fstype}, Linux {kernel}",
        path.display()
    );
    match hint.is_empty() {
        true => error.context(step),
        false => error.context(step).hint(hint),
    }
}

/// What would work instead of an id map of this file system.
fn unsupported(fstype: &str, kernel: &str) -> String {
    // The part behind the dot is the name of a daemon.
    let kind = fstype.split('.').next().unwrap_or_default();
    let since = SINCE.iter().find(|(name, _)| *name == kind).map(|(_, since)| *since);
    match (kind, since) {
        (_, Some((major, minor))) if release(kernel).is_some_and(|running| running < (major, minor)) => {
            match kind {
                "overlay" => format!(
                    "an overlay can be id-mapped since Linux {major}.{minor}; until then map its layers: bind the directory \
                     of a layer, or mount type overlay with lowerdir and these mappings"
                ),
                _ => format!("{kind} can be id-mapped since Linux {major}.{minor}"),
            }
        }
        ("fuse", _) => "the daemon of a FUSE file system has to allow id maps (FUSE_ALLOW_IDMAP) and to leave permissions \
                        to the kernel (default_permissions)"
            .to_owned(),
        ("virtiofs", _) => "virtiofsd has to allow id maps: --translate-uid, or a newer one".to_owned(),
        (_, Some(_)) => format!(
            "this {kind} belongs to another user namespace, or is mounted in a way that the kernel does not id-map"
        ),
        (_, None) => format!(
            "{kind} cannot be id-mapped; ext4, xfs, btrfs and tmpfs can: keep the data there, or leave the mappings out and \
             give the files to the ids that the container has on the host"
        ),
    }
}

/// The first two numbers of `uname -r`.
fn release(kernel: &str) -> Option<(u32, u32)> {
    let mut numbers = kernel.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(errno: i32, fstype: &str, idmapped: bool, kernel: &str) -> (String, String) {
        let mount = Refused { path: Path::new("/volume"), fstype, idmapped };
        let error = explain(Error::syscall("mount_setattr()", errno), &mount, kernel);
        (error.to_string(), error.remedy().unwrap_or_default().to_owned())
    }

    #[test]
    fn the_first_words_are_those_of_kubernetes_and_the_rest_names_file_system_and_kernel() {
        let (words, _) = told(EINVAL, "nfs4", false, "6.1.0-40-amd64");
        let expected = "failed to set MOUNT_ATTR_IDMAP on /volume: invalid argument (maybe the source filesystem doesn't \
                        support idmap mounts on this kernel?), file system nfs4, Linux 6.1.0-40-amd64: mount_setattr(): \
                        Invalid argument (EINVAL)";
        assert_eq!(words, expected);
    }

    #[test]
    fn the_remedy_depends_on_file_system_and_kernel() {
        for (errno, fstype, idmapped, kernel, remedy) in [
            (EINVAL, "tmpfs", false, "6.1.0-40-amd64", "tmpfs can be id-mapped since Linux 6.3"),
            (EINVAL, "btrfs", false, "5.14.0", "btrfs can be id-mapped since Linux 5.15"),
            (EINVAL, "fuse.sshfs", false, "6.8", "fuse can be id-mapped since Linux 6.12"),
            (EINVAL, "fuse.sshfs", false, "6.12.1", "the daemon of a FUSE file system has to allow id maps"),
            (
                EINVAL,
                "overlay",
                false,
                "7.2",
                "an overlay can be id-mapped since Linux 7.3; until then map its layers: bind",
            ),
            (EINVAL, "overlay", false, "7.3", "this overlay belongs to another user namespace"),
            (EINVAL, "nfs4", false, "7.2", "nfs4 cannot be id-mapped; ext4, xfs, btrfs and tmpfs can: "),
            (EINVAL, "ext4", false, "7.2", "this ext4 belongs to another user namespace"),
            (EPERM, "ext4", true, "7.2", "the kernel maps a mount once"),
            (EPERM, "ext4", false, "7.2", "id-mapped mounts need CAP_SYS_ADMIN"),
            (nix::libc::EBUSY, "ext4", false, "7.2", ""),
        ] {
            let (_, hint) = told(errno, fstype, idmapped, kernel);
            assert!(
                hint.starts_with(remedy) && hint.is_empty() == remedy.is_empty(),
                "{fstype} {kernel}: {hint}"
            );
        }
    }
}

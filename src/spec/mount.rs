//! `mounts[]`: what each entry asks of the kernel, its option words already sorted by meaning.

use super::linux::IdMap;
use std::path::PathBuf;

/// One entry of `mounts`.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Its place in the list, for errors: `mounts[3]`.
    pub index: usize,
    /// `destination`, absolute (a relative one was taken as relative to `/`) and lexically clean: no `.`, no `..`, no
    /// doubled or trailing slash.
    pub destination: PathBuf,
    /// What is mounted.
    pub kind: MountKind,
    /// Per-mount attributes (`MOUNT_ATTR_*`, mount_setattr(2)) of the mount itself. To be applied after
    /// `recursive_attrs`: what stands here was said later.
    pub attrs: Attrs,
    /// The same, of the mount and everything below it (`rro`, `rnosuid`, …).
    pub recursive_attrs: Attrs,
    /// Propagation changes, in order.
    pub propagation: Vec<Propagation>,
    /// Superblock flags and parameters in fsconfig(2) terms, in order. Not for binds. `ro` and `rw` are never here but
    /// in `attrs`, see [`crate::spec::option`].
    pub parameters: Vec<Parameter>,
    /// Id-mapped mount asked for by option or by mappings.
    pub idmap: Option<MountIdMap>,
    /// `tmpcopyup`: copy what the image has at the destination into the new tmpfs.
    pub copy_up: bool,
    /// `copy-symlink`: a destination that is a symlink in the image is recreated, not followed (crun).
    pub copy_symlink: bool,
    /// `dest-nofollow`: mount on the symlink itself (crun).
    pub dest_nofollow: bool,
    /// `src-nofollow`: bind the symlink itself (crun).
    pub source_nofollow: bool,
    /// `remount`: change the mount that is already there.
    pub remount: bool,
}

impl Mount {
    /// An entry without any option.
    pub fn plain(index: usize, destination: impl Into<PathBuf>, kind: MountKind) -> Self {
        Self {
            index,
            destination: destination.into(),
            kind,
            attrs: Attrs::default(),
            recursive_attrs: Attrs::default(),
            propagation: Vec::new(),
            parameters: Vec::new(),
            idmap: None,
            copy_up: false,
            copy_symlink: false,
            dest_nofollow: false,
            source_nofollow: false,
            remount: false,
        }
    }
}

/// What a mount entry brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// A bind: `bind` or `rbind` among the options, or type `bind`.
    Bind {
        /// `source`; relative to the bundle when it is not absolute.
        source: PathBuf,
        /// `rbind` was given (it wins over `bind`).
        recursive: bool,
    },
    /// The cgroup hierarchy (type `cgroup` or `cgroup2`); which version is the host's matter.
    Cgroup,
    /// Any other file system.
    Filesystem {
        /// `type`.
        fstype: String,
        /// `source`, a name for most file systems and a device for some.
        source: Option<String>,
    },
}

/// Bits to set and bits to clear, each from `MOUNT_ATTR_*`. An access time mode is in `set`, with the whole
/// `MOUNT_ATTR__ATIME` mask in `clear`, as mount_setattr(2) wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear.
    pub clear: u64,
}

/// A propagation word, mount_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// Which one.
    pub kind: PropagationKind,
    /// The `r` form.
    pub recursive: bool,
}

/// The four propagation types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropagationKind {
    /// `shared`
    Shared,
    /// `slave`
    Slave,
    /// `private`
    Private,
    /// `unbindable`
    Unbindable,
}

/// One fsconfig(2) call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// `FSCONFIG_SET_FLAG`.
    Flag(String),
    /// `FSCONFIG_SET_STRING`.
    Text(String, String),
}

impl Parameter {
    /// The name that the file system knows it by.
    pub fn key(&self) -> &str {
        match self {
            Self::Flag(key) | Self::Text(key, _) => key,
        }
    }
}

/// An id-mapped mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountIdMap {
    /// Which ids.
    pub ids: MountIds,
    /// `ridmap`: the whole tree instead of its top.
    pub recursive: bool,
}

/// Whose mapping an id-mapped mount uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountIds {
    /// The container's own user namespace (`idmap` without mappings).
    Container,
    /// The entry's `uidMappings` and `gidMappings`: container id = the id on disk, host id = the id it appears as.
    Own {
        /// `uidMappings`
        uids: Vec<IdMap>,
        /// `gidMappings`
        gids: Vec<IdMap>,
    },
}

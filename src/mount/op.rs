//! What the assembler is told to do, as data: no OCI type, no decision left.

mod text;

pub use crate::spec::mount::{Attrs, Parameter, Propagation, PropagationKind};
use nix::libc;
use std::path::PathBuf;

/// The whole work of the assembler, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The root file system's directory on the host.
    pub rootfs: PathBuf,
    /// The root file system is seen with the container's ids: those on disk are those inside. Its top alone, because what is
    /// mounted below has owners of its own.
    pub root_idmap: Option<IdMapping>,
    /// `rootfsPropagation`; absent means private.
    pub propagation: Option<Propagation>,
    /// The container's root as the assembler sees it.
    pub owner: Owner,
    /// What is opened on the host before anything is entered; [`SourceId`] counts into it.
    pub sources: Vec<Source>,
    /// Maps of the throw-away user namespaces that id-mapped mounts need, each once; [`IdMapping::lines`] counts into it.
    pub idmaps: Vec<IdLines>,
    /// The steps.
    pub ops: Vec<Op>,
}

impl Plan {
    /// Whether something may be looked up by a path of the host's, or shown as far as it is visible there, after everything was opened.
    pub fn looks_at_the_host(&self) -> bool {
        self.ops.iter().any(|op| matches!(op, Op::Attach(attach) if attach.what.looks_at_the_host()))
    }
}

/// An outside uid and gid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// uid
    pub uid: u32,
    /// gid
    pub gid: u32,
}

/// What two files of a user namespace are to hold, `uid_map` and `gid_map` as the kernel reads them (user_namespaces(7)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdLines {
    /// Where config.json asks for it first: `mounts[3]`.
    pub origin: String,
    /// `uid_map`
    pub uids: String,
    /// `gid_map`
    pub gids: String,
}

/// Place in [`Plan::sources`].
pub type SourceId = usize;

/// Something of the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where config.json asks for it: `mounts[3]`.
    pub origin: String,
    /// Where it goes.
    pub destination: PathBuf,
    /// Absolute path on the host.
    pub path: PathBuf,
    /// What is expected there.
    pub kind: SourceKind,
    /// Its ids are mapped as soon as it is open: what the kernel refuses is known before there is a container.
    pub idmap: Option<IdMapping>,
}

/// What a source is opened as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A file or directory, cloned with or without what is mounted below.
    Tree {
        /// Submounts come along.
        recursive: bool,
        /// What a symlink as last component means.
        link: SourceLink,
    },
    /// A device node that must be exactly this device.
    Device(Node),
    /// A new overlay, whose layers are id-mapped because it cannot be itself.
    Overlay(Overlay),
}

/// An overlay file system over layers of the host's, overlayfs.rst.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// `lowerdir`, the uppermost first.
    pub lower: Vec<PathBuf>,
    /// `upperdir` and `workdir`.
    pub upper: Option<Upper>,
    /// The other parameters.
    pub parameters: Vec<Parameter>,
}

/// The writable layer. The kernel wants both directories on one mount, so the one that holds them is cloned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upper {
    /// The directory that both are below.
    pub parent: PathBuf,
    /// `upperdir`, relative to it.
    pub upper: PathBuf,
    /// `workdir`, relative to it.
    pub work: PathBuf,
}

/// A symlink as last component of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceLink {
    /// It is followed.
    Follow,
    /// It is the source (`src-nofollow`).
    Bind,
    /// It is read, and made again at the destination (`copy-symlink`).
    Copy,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Something is mounted.
    Attach(Box<Attach>),
    /// The mount that is there already is changed.
    Remount {
        /// Where config.json asks for it.
        origin: String,
        /// Where.
        destination: PathBuf,
        /// Attributes of the mount.
        change: Change,
        /// Superblock parameters; empty leaves the superblock alone.
        parameters: Vec<Parameter>,
    },
    /// A device node exists.
    Device(Device),
    /// A symlink exists.
    Symlink {
        /// What it says.
        target: PathBuf,
        /// Where it is.
        path: PathBuf,
        /// What happens to something else of that name.
        existing: Existing,
        /// It is made only where there is something for it to lead to.
        needs_target: bool,
    },
    /// A pseudo-terminal of the container's own devpts, its peer bound on /dev/console.
    Console {
        /// Outside uid of the process that gets it.
        uid: u32,
    },
    /// The working directory of the process, made where it is missing.
    WorkingDirectory(PathBuf),
    /// A path is hidden.
    Mask(PathBuf),
    /// A link in a procfs is mounted on itself, which hides nothing: but the kernel counts a procfs with a locked mount on it as
    /// partly hidden, and then lets nobody inside mount one that shows everything (mount_too_revealing in
    /// fs/namespace.c). Masks are such mounts, but a procfs with `subset=pid` has nothing to mask, and before Linux 7.2 the
    /// kernel takes it for one that shows everything.
    Cover(PathBuf),
    /// A path and everything mounted below is made read-only.
    ReadOnly(PathBuf),
    /// File systems that had to stay writable until now become read-only.
    ReadOnlyDelayed,
    /// The root itself becomes read-only.
    ReadOnlyRoot,
}

impl Op {
    /// The step as the table of reasons calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Attach(_) => "mount",
            Self::Remount { .. } => "remount",
            Self::Device(_) => "device",
            Self::Symlink { .. } => "symlink",
            Self::Console { .. } => "console",
            Self::WorkingDirectory(_) => "working directory",
            Self::Mask(_) => "mask",
            Self::Cover(_) => "cover",
            Self::ReadOnly(_) => "read-only path",
            Self::ReadOnlyDelayed => "read-only file systems",
            Self::ReadOnlyRoot => "read-only root",
        }
    }
}

/// A mount to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// Where config.json asks for it, `mounts[3]`.
    pub origin: String,
    /// What it is called in errors: the type of a file system, the source of a bind.
    pub name: String,
    /// Where in the container.
    pub destination: PathBuf,
    /// What a symlink at the destination means.
    pub link: Link,
    /// What is mounted.
    pub what: What,
    /// Id map of a new file system; a source has its own already.
    pub idmap: Option<IdMapping>,
    /// What is changed before it is attached.
    pub change: Change,
    /// It stays writable until [`Op::ReadOnlyDelayed`].
    pub delay_read_only: bool,
    /// The image's content is copied in first (`tmpcopyup`).
    pub copy_up: bool,
}

/// Changes of a mount: attributes and propagation, applied in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Attributes of the top mount.
    pub attrs: Attrs,
    /// Attributes of the whole tree.
    pub recursive_attrs: Attrs,
    /// Propagation.
    pub propagation: Vec<Propagation>,
}

/// An id-mapped mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMapping {
    /// The map, place in [`Plan::idmaps`].
    pub lines: usize,
    /// The whole tree instead of its top.
    pub recursive: bool,
}

/// What a symlink on the way to a destination means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It is followed inside the root.
    Follow,
    /// As last component it is mounted on (`dest-nofollow`).
    Last,
    /// It is an attack on a place that the container's safety rests on (CVE-2019-19921).
    Refuse,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A tree of the host's, opened before.
    Bind(SourceId),
    /// A directory of the host's that comes into being late: the container's own cgroup.
    Late {
        /// The group.
        group: PathBuf,
        /// The group that the container is in when the kernel did not let the caller make `group`.
        otherwise: Option<PathBuf>,
    },
    /// A new file system.
    Filesystem(Filesystem),
}

/// File systems of which no parameter is a path: what is their `source` is shown and never looked for.
const WITHOUT_PATHS: [&str; 7] = ["cgroup", "cgroup2", "devpts", "mqueue", "proc", "sysfs", "tmpfs"];

impl What {
    fn looks_at_the_host(&self) -> bool {
        match self {
            Self::Bind(_) => false,
            Self::Late { .. } => true,
            Self::Filesystem(wanted) => {
                !WITHOUT_PATHS.contains(&wanted.fstype.as_str())
                    || matches!(wanted.otherwise, Otherwise::Proc { outer: true, .. })
            }
        }
    }
}

/// A new file system, in fsconfig(2) terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// Type.
    pub fstype: String,
    /// Parameters, `source` among them, ids translated.
    pub parameters: Vec<Parameter>,
    /// Whose namespaces it shows.
    pub opener: Opener,
    /// Where it has no mode of its own it takes that of the directory it hides.
    pub adopt_mode: bool,
    /// The nodes the kernel gives to id 0 are given to this owner.
    pub owner: Option<Owner>,
    /// What takes its place when the kernel refuses it to a user namespace (EPERM).
    pub otherwise: Otherwise,
}

/// What takes the place of a file system that the kernel refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// Nothing: it is an error.
    Nothing,
    /// The host's view of it, read-only all the way down.
    Bind(SourceId),
    /// For a procfs: a smaller one, then somebody else's.
    Proc {
        /// `subset=pid` serves as well.
        subset: bool,
        /// So does the /proc that the runtime has, with everything that is mounted over it.
        outer: bool,
    },
}

/// What a container has as its /proc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcView {
    /// A procfs of its own, as config.json asks for it.
    Fresh,
    /// One of its own with the processes alone (`subset=pid`).
    Subset,
    /// The one of the runtime, which shows the runtime's pid namespace, under the masks of whoever made that.
    Outer,
}

impl ProcView {
    /// The word for it in `state` and in what is stored.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Subset => "subset=pid",
            Self::Outer => "outer",
        }
    }

    /// The one of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Fresh, Self::Subset, Self::Outer].into_iter().find(|view| view.word() == word)
    }
}

/// Who opens a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    /// The assembler.
    Assembler,
    /// One in the pid namespace that is set for children: a child of the assembler, where the kernel cannot be told which one
    /// is to be shown (`pidns`, Linux 6.18).
    Child,
}

/// Type and number of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// Character device
    Char(u32, u32),
    /// Block device
    Block(u32, u32),
    /// FIFO
    Fifo,
}

/// A device node to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where config.json asks for it; empty for the defaults.
    pub origin: String,
    /// Where.
    pub path: PathBuf,
    /// What.
    pub node: Node,
    /// How it gets there.
    pub from: DeviceFrom,
}

/// How a device gets to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceFrom {
    /// mknod(2), with permission bits and, where not the container's root, an outside owner.
    Make {
        /// Permission bits.
        mode: u32,
        /// uid, where asked for and mapped.
        uid: Option<u32>,
        /// gid, where asked for and mapped.
        gid: Option<u32>,
    },
    /// The host's node.
    Bind(SourceId),
}

/// What happens when a name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays.
    Keep,
    /// It is unlinked first.
    Replace,
    /// It has to be the same.
    Same,
}

/// The kernel's word for a propagation type, mount(2).
pub fn propagation_flag(kind: PropagationKind) -> u64 {
    match kind {
        PropagationKind::Shared => libc::MS_SHARED,
        PropagationKind::Slave => libc::MS_SLAVE,
        PropagationKind::Private => libc::MS_PRIVATE,
        PropagationKind::Unbindable => libc::MS_UNBINDABLE,
    }
}

/// What may be mounted over below /proc: files that show numbers (lxcfs), nothing that the runtime writes to or that a
/// security decision rests on (CVE-2019-16884).
pub const OVER_PROC: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

//! What the host gives, opened with the caller's privileges before anything is entered.

use super::{
    idmap::{self, Idmaps},
    op::{Node, Op, Plan, PropagationKind, Source, SourceKind, SourceLink},
    overlay,
    root::kind_of,
};
use crate::{
    error::{Context, Error, Result},
    sys::{
        mount::{Attributes, clone_path, namespace_of, set_attributes},
        ns::setns,
        openat::own_root,
        proc::Proc,
    },
};
use nix::{
    fcntl::readlinkat,
    libc::{self, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW},
    sys::stat::{SFlag, fstat, major, minor},
};
use std::{
    ffi::OsString,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// What [`open_sources`] opened.
#[derive(Debug)]
pub struct Sources {
    /// The root directory and everything mounted below.
    pub(super) rootfs: OwnedFd,
    /// It is the root of the mount namespace; otherwise it is detached.
    pub(super) entered: bool,
    /// A mount namespace that has nothing but a copy of it, as its root.
    alone: Option<OwnedFd>,
    /// In the order of [`Plan::sources`].
    pub(super) opened: Vec<Opened>,
    /// For the file systems that are still to be made.
    pub(super) idmaps: Idmaps,
    /// What files are masked with: the host's null device, detached.
    pub(super) null: Option<OwnedFd>,
    /// The one that a procfs of the container's shows, where it is known by descriptor.
    pub(super) pid_namespace: Option<OwnedFd>,
}

impl Sources {
    /// Enters the mount namespace of the root file system alone. False where there is none, or nobody can enter it (EPERM: without
    /// CAP_SYS_CHROOT).
    pub fn enter_alone(&mut self) -> Result<bool> {
        let Some(namespace) = self.alone.take() else { return Ok(false) };
        match setns(namespace.as_fd(), libc::CLONE_NEWNS) {
            Err(error) if error.errno() == Some(libc::EPERM) => return Ok(false),
            entered => entered.context("enter the mount namespace of the root file system")?,
        }
        self.rootfs = own_root()?;
        self.entered = true;
        Ok(true)
    }

    /// Says which pid namespace a procfs shows that is to show the one set for children.
    #[must_use]
    pub fn with_pid_namespace(self, namespace: Option<OwnedFd>) -> Self {
        Self { pid_namespace: namespace, ..self }
    }
}

/// One opened source.
#[derive(Debug)]
pub(super) enum Opened {
    /// A detached tree.
    Tree(OwnedFd),
    /// What a symlink says that is to be copied.
    Link(OsString),
    /// It has been attached.
    Used,
}

/// Opens everything the plan takes from the host, in the caller's mount namespace, so that mount propagation keeps its peers,
/// and maps the ids of what is to be id-mapped. With `alone` the root file system gets a mount namespace of its own, where the kernel
/// makes such a one. The caller has one thread.
pub fn open_sources(plan: &Plan, proc: &Proc, alone: bool) -> Result<Sources> {
    let step = || format!("open root file system {}", plan.rootfs.display());
    let rootfs = clone_path(&plan.rootfs, AT_RECURSIVE).with_context(step)?;
    if fstat(&rootfs).with_context(step)?.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFDIR.bits() {
        return Err(Error::new("not a directory").context(step()));
    }
    let propagation = match plan.propagation.map(|propagation| propagation.kind) {
        Some(PropagationKind::Slave) => libc::MS_SLAVE,
        // pivot_root refuses a shared root: what is to be shared is so at the end.
        _ => libc::MS_PRIVATE,
    };
    set_propagation(&rootfs, propagation, AT_RECURSIVE).with_context(step)?;
    let idmaps = Idmaps::make(&plan.idmaps, proc)?;
    if let Some(idmap) = plan.root_idmap {
        let refused = |error| idmap::source_refused(error, &plan.rootfs, idmap, &idmaps);
        idmaps.apply(&rootfs, idmap).map_err(refused).with_context(step)?;
    }
    // Now, because a table of mounts is in the order in which they were made, and the root is expected to be its first.
    let alone = match alone {
        true => namespace_of(rootfs.as_fd()).context("make a mount namespace of the root file system")?,
        false => None,
    };
    let open = |source: &Source| {
        open(source, &idmaps).with_context(|| {
            let Source { origin, destination, path, .. } = source;
            format!("{origin}: open source {} for {}", path.display(), destination.display())
        })
    };
    let opened = plan.sources.iter().map(open).collect::<Result<_>>()?;
    let masks = plan.ops.iter().any(|op| matches!(op, Op::Mask(_)));
    let null = masks.then(null_device).transpose()?;
    Ok(Sources { rootfs, entered: false, alone, opened, idmaps, null, pid_namespace: None })
}

/// The host's null device, proven to be it (CVE-2025-31133): what the container calls /dev/null is never a source.
fn null_device() -> Result<OwnedFd> {
    let null = clone_path(Path::new("/dev/null"), AT_SYMLINK_NOFOLLOW)?;
    if node_of(&null)? != Some(Node::Char(1, 3)) {
        return Err(Error::new("the host's /dev/null is not the null device (c 1:3)"));
    }
    set_propagation(&null, libc::MS_PRIVATE, 0)?;
    Ok(null)
}

fn set_propagation(mount: &OwnedFd, propagation: u64, depth: i32) -> Result<()> {
    set_attributes(mount.as_fd(), Attributes { propagation, ..Attributes::default() }, depth)
}

fn open(source: &Source, idmaps: &Idmaps) -> Result<Opened> {
    match &source.kind {
        &SourceKind::Tree { recursive, link } => {
            if link == SourceLink::Copy
                && let Some(target) = read_link(source)?
            {
                return Ok(Opened::Link(target));
            }
            let depth = if recursive { AT_RECURSIVE } else { 0 };
            let last = if link == SourceLink::Bind { AT_SYMLINK_NOFOLLOW } else { 0 };
            let tree = clone_path(&source.path, depth | last).map_err(|error| match error.errno() {
                Some(libc::EINVAL) if !recursive => {
                    error.hint("mounts below the source may be locked in this user namespace: use rbind")
                }
                _ => error,
            })?;
            if let Some(idmap) = source.idmap {
                idmaps
                    .apply(&tree, idmap)
                    .map_err(|error| idmap::source_refused(error, &source.path, idmap, idmaps))?;
            }
            Ok(Opened::Tree(tree))
        }
        &SourceKind::Device(node) => {
            let device = clone_path(&source.path, 0)?;
            let found = node_of(&device)?;
            if found != Some(node) {
                return Err(Error::new(format_args!("it is not the device {node}"))
                    .hint("a device can only be bound here, and the host must have it under the same name"));
            }
            Ok(Opened::Tree(device))
        }
        SourceKind::Overlay(wanted) => overlay::mount(wanted, source.idmap, idmaps).map(Opened::Tree),
    }
}

/// What the source says if it is a symlink.
fn read_link(source: &Source) -> Result<Option<OsString>> {
    match readlinkat(nix::fcntl::AT_FDCWD, &source.path) {
        Ok(target) => Ok(Some(target)),
        Err(nix::errno::Errno::EINVAL) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Type and number of the node behind a descriptor; none where it is no node.
pub(super) fn node_of(fd: &OwnedFd) -> Result<Option<Node>> {
    let stat = fstat(fd).context("fstat")?;
    let number =
        || Some((u32::try_from(major(stat.st_rdev)).ok()?, u32::try_from(minor(stat.st_rdev)).ok()?));
    Ok(match kind_of(&stat) {
        SFlag::S_IFCHR => number().map(|(major, minor)| Node::Char(major, minor)),
        SFlag::S_IFBLK => number().map(|(major, minor)| Node::Block(major, minor)),
        SFlag::S_IFIFO => Some(Node::Fifo),
        _ => None,
    })
}

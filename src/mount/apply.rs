//! The assembler: runs the plan's steps, then enters the result.

use super::{
    idmap::Idmaps,
    op::{Link, Op, Plan, ProcView, Propagation, PropagationKind},
    proc,
    root::{Lookup, Missing, Rootfs, kind, kind_of},
    source::{Opened, Sources},
};
use crate::{
    error::{Context, Error, Result},
    sys::{
        cstring,
        mount::{self, Attributes, Configuration},
        openat::own_root,
        proc::Proc,
        tty::Pty,
    },
};
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag},
    libc::{self, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW},
    sys::stat::{Mode, SFlag, fstat, fstatat, umask},
};
use std::{
    collections::BTreeSet,
    ffi::CString,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    rc::Rc,
};

/// A finished root file system.
#[derive(Debug)]
pub struct Assembled {
    /// Its root: the attached mount, O_PATH.
    pub root: OwnedFd,
    /// The terminal, where the plan asked for one.
    pub terminal: Option<Pty>,
    /// What became /proc, where the plan asked for a procfs there.
    pub proc: Option<ProcView>,
    /// It is the root of the mount namespace already.
    entered: bool,
    /// What the root becomes once it is entered.
    propagation: Option<Propagation>,
}

/// How the root is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// pivot_root(2).
    Pivot,
    /// `--no-pivot`: the root is moved over `/` and the caller changes root (initramfs).
    MoveMount,
}

/// A mount that an entry of `mounts` made and that changes later.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) destination: PathBuf,
    pub(super) mount: OwnedFd,
    /// It becomes read-only later.
    pub(super) delay_read_only: bool,
}

/// Something that paths are masked with.
#[derive(Debug)]
struct Mask {
    mount: OwnedFd,
    attached: bool,
}

impl Mask {
    fn new(mount: OwnedFd) -> Self {
        Self { mount, attached: false }
    }

    /// Lays it over `place`: itself first, then clones, because before Linux 6.15 nothing detached can be cloned.
    fn attach(&mut self, place: &Place) -> Result<()> {
        if self.attached {
            return place.attach(&mount::clone_fd(self.mount.as_fd(), 0)?);
        }
        place.attach(&self.mount)?;
        self.attached = true;
        Ok(())
    }
}

/// Something in the container that is no symlink: a name in the root directory of a procfs, where nobody can put anything else in its
/// place, or the object behind `directory` itself, with an empty name.
struct Place {
    directory: Rc<OwnedFd>,
    name: CString,
    kind: SFlag,
}

impl Place {
    fn attach(&self, mount: &OwnedFd) -> Result<()> {
        mount::attach_at(mount.as_fd(), self.directory.as_fd(), &self.name)
    }
}

/// The state of an assembly.
#[derive(Debug)]
pub(super) struct Assembler<'a> {
    /// The runtime's procfs.
    pub(super) procfs: &'a Proc,
    pub(super) root: Rootfs,
    pub(super) opened: Vec<Opened>,
    pub(super) idmaps: Idmaps,
    pub(super) pid_namespace: Option<OwnedFd>,
    /// The directory that devices and symlinks were made in last.
    pub(super) directory: Option<(PathBuf, Rc<OwnedFd>)>,
    /// The root directory of the procfs at /proc, from the first thing there that is masked until something is mounted.
    pub(super) proc_root: Option<Rc<OwnedFd>>,
    /// Destinations of remounts.
    pub(super) remounted: BTreeSet<PathBuf>,
    /// What entries of `mounts` made and what changes later, in their order: it is found here and not by its path, which may
    /// lead somewhere else by then. Other mounts are not kept open: a limit of descriptors may be low.
    pub(super) attached: Vec<Attached>,
    /// The host's null device.
    null: Option<Mask>,
    /// An empty read-only directory.
    empty: Option<Mask>,
    pub(super) terminal: Option<Pty>,
    /// What became /proc.
    pub(super) proc: Option<ProcView>,
}

/// Assembles the root file system in the current mount namespace, which the runtime's user namespace owns and whose tree is
/// private. Nothing is looked up by a path of the host's here, but for the directory of a root that is not entered yet and for what
/// [`Plan::looks_at_the_host`] tells of. The caller has one thread; its file system ids are those of the container's root outside,
/// with all capabilities kept, so that whatever is created belongs to the container's root. `proc` is the runtime's, and `lookup`
/// says how paths in the container are resolved as long as the kernel lets them be.
pub fn assemble(plan: &Plan, sources: Sources, proc: &Proc, lookup: Lookup) -> Result<Assembled> {
    let before = umask(Mode::empty());
    let assembled = run(plan, sources, proc, lookup);
    umask(before);
    assembled
}

fn run(plan: &Plan, sources: Sources, proc: &Proc, lookup: Lookup) -> Result<Assembled> {
    if !sources.entered {
        attach_root(plan, &sources.rootfs)
            .with_context(|| format!("mount root file system {}", plan.rootfs.display()))?;
    }
    let entered = sources.entered;
    let mut assembler = Assembler::new(sources, proc, lookup);
    let remounted = plan.ops.iter().filter_map(|op| match op {
        Op::Remount { destination, .. } => Some(destination.clone()),
        _ => None,
    });
    assembler.remounted = remounted.collect();
    for op in &plan.ops {
        assembler.apply(op).with_context(|| op.to_string())?;
    }
    let Assembler { root, terminal, proc, .. } = assembler;
    Ok(Assembled { root: root.into(), terminal, proc, entered, propagation: plan.propagation })
}

/// Attaches the detached root to its own directory, where createContainer hooks look for it.
fn attach_root(plan: &Plan, root: &OwnedFd) -> Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = nix::fcntl::open(&plan.rootfs, flags, Mode::empty()).context("open")?;
    let (here, opened) = (fstat(&directory).context("stat")?, fstat(root).context("stat")?);
    if (here.st_dev, here.st_ino) != (opened.st_dev, opened.st_ino) {
        return Err(Error::new("the directory has been replaced since it was opened"));
    }
    mount::attach(root.as_fd(), directory.as_fd())
}

impl<'a> Assembler<'a> {
    pub(super) fn new(sources: Sources, procfs: &'a Proc, lookup: Lookup) -> Self {
        Self {
            procfs,
            root: Rootfs::new(sources.rootfs, lookup),
            opened: sources.opened,
            idmaps: sources.idmaps,
            pid_namespace: sources.pid_namespace,
            directory: None,
            proc_root: None,
            remounted: BTreeSet::new(),
            attached: Vec::new(),
            null: sources.null.map(Mask::new),
            empty: None,
            terminal: None,
            proc: None,
        }
    }

    fn apply(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::Attach(attach) => self.attach(attach),
            Op::Remount { destination, change, parameters, .. } => {
                self.remount(destination, change, parameters)
            }
            Op::Device(device) => self.device(device),
            Op::Symlink { target, path, existing, needs_target } => {
                if *needs_target && self.root.find_existing(target, Link::Follow)?.is_none() {
                    return Ok(());
                }
                self.link(target, path, *existing)
            }
            Op::Console { uid } => self.console(*uid),
            Op::WorkingDirectory(path) => self.working_directory(path),
            Op::Mask(path) => self.mask(path),
            Op::Cover(path) => self.cover(path),
            Op::ReadOnly(path) => self.read_only(path),
            Op::ReadOnlyDelayed => self.attached.iter().filter(|it| it.delay_read_only).try_for_each(|it| {
                set_read_only(it.mount.as_fd(), 0).with_context(|| it.destination.display().to_string())
            }),
            Op::ReadOnlyRoot => set_read_only(self.root.as_fd(), 0),
        }
    }

    /// What is there is left to the process to enter or not; a file system that cannot have it is left alone as well, so
    /// that the process tells that its directory is missing.
    fn working_directory(&self, path: &Path) -> Result<()> {
        if self.root.find_existing(path, Link::Follow)?.is_some() {
            return Ok(());
        }
        match self.root.create(path, Link::Follow, Missing::Directory) {
            Err(error) if error.errno() == Some(libc::EROFS) => Ok(()),
            other => other.map(drop),
        }
    }

    fn mask(&mut self, path: &Path) -> Result<()> {
        let Some(place) = self.place(path)? else { return Ok(()) };
        let mask = match place.kind {
            SFlag::S_IFDIR => match &mut self.empty {
                Some(empty) => empty,
                none => none.insert(Mask::new(empty_directory()?)),
            },
            _ => self.null.as_mut().ok_or_else(|| Error::new("the null device was not opened"))?,
        };
        mask.attach(&place)
    }

    fn cover(&self, path: &Path) -> Result<()> {
        let link = self.root.find_existing(path, Link::Last)?;
        let link = link.ok_or_else(|| Error::new("it is not there"))?;
        mount::attach(mount::clone_fd(link.as_fd(), 0)?.as_fd(), link.as_fd())
    }

    fn read_only(&mut self, path: &Path) -> Result<()> {
        let Some(place) = self.place(path)? else { return Ok(()) };
        let tree = mount::clone_at(place.directory.as_fd(), &place.name, AT_RECURSIVE | AT_SYMLINK_NOFOLLOW)?;
        // First attached: below a volume that is shared with the host a copy comes to lie there, and what the host writes to
        // stays writable.
        place.attach(&tree)?;
        set_read_only(tree.as_fd(), AT_RECURSIVE)
    }

    /// What is at `path`, symlinks followed; none where there is nothing.
    fn place(&mut self, path: &Path) -> Result<Option<Place>> {
        if let (Some(above), Some(name)) = (path.parent(), path.file_name())
            && above == Path::new("/proc")
            && let Some(directory) = self.proc_root()?
        {
            match fstatat(&*directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).map(|stat| kind_of(&stat)) {
                Err(Errno::ENOENT) => return Ok(None),
                // A link such as /proc/net is followed inside the root, as anywhere else.
                Ok(SFlag::S_IFLNK) => {}
                kind => {
                    let kind = kind.context("stat")?;
                    return Ok(Some(Place { directory, name: cstring(name.as_bytes())?, kind }));
                }
            }
        }
        let Some(found) = self.root.find_existing(path, Link::Follow)? else { return Ok(None) };
        let kind = kind(&found)?;
        Ok(Some(Place { directory: Rc::new(found), name: CString::default(), kind }))
    }

    /// The root directory of the procfs at /proc; none where there is something else.
    fn proc_root(&mut self) -> Result<Option<Rc<OwnedFd>>> {
        if self.proc_root.is_none()
            && let Some(found) = self.root.find_existing(Path::new("/proc"), Link::Last)?
            && proc::is_root(&found)?
        {
            self.proc_root = Some(Rc::new(found));
        }
        Ok(self.proc_root.clone())
    }
}

fn set_read_only(mount: BorrowedFd<'_>, flags: i32) -> Result<()> {
    let attributes = Attributes { set: libc::MOUNT_ATTR_RDONLY, ..Attributes::default() };
    mount::set_attributes(mount, attributes, flags)
}

/// An empty directory that nobody can write to, detached.
pub(super) fn empty_directory() -> Result<OwnedFd> {
    let tmpfs = Configuration::open("tmpfs")?;
    tmpfs.flag("ro")?;
    let locked = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    tmpfs.mount(libc::MOUNT_ATTR_RDONLY | locked)
}

/// Makes the assembled root the root of the mount namespace where it is not that from the start. With [`Root::Pivot`] the root and working directory of every
/// process that had the old ones (init) change too; with [`Root::MoveMount`] init needs [`change_root`].
pub fn enter_root(assembled: &Assembled, how: Root) -> Result<()> {
    let root = assembled.root.as_fd();
    match how {
        _ if assembled.entered => {}
        Root::Pivot => {
            nix::unistd::fchdir(root).context("enter the root file system")?;
            mount::pivot_here().context("pivot to the root file system")?;
        }
        Root::MoveMount => move_over(root).context("move the root file system over /")?,
    }
    let Some(propagation) = assembled.propagation else { return Ok(()) };
    let kind = match propagation.kind {
        PropagationKind::Shared => libc::MS_SHARED,
        PropagationKind::Unbindable => libc::MS_UNBINDABLE,
        PropagationKind::Slave | PropagationKind::Private => return Ok(()),
    };
    let depth = if propagation.recursive { AT_RECURSIVE } else { 0 };
    mount::set_attributes(root, Attributes { propagation: kind, ..Attributes::default() }, depth)
        .context("set rootfsPropagation")
}

/// What pivot_root(2) cannot do on an initramfs.
fn move_over(root: BorrowedFd<'_>) -> Result<()> {
    let old = own_root()?;
    mount::attach(root, old.as_fd())?;
    super::old_root::hide_kernel_views(root)?;
    change_root(root)
}

/// Changes the root directory of the calling process, which every one has to do by itself after [`Root::MoveMount`].
pub fn change_root(root: BorrowedFd<'_>) -> Result<()> {
    nix::unistd::fchdir(root).context("enter the root file system")?;
    nix::unistd::chroot(".").context("chroot(\".\")")?;
    nix::unistd::chdir("/").context("chdir(\"/\")")
}

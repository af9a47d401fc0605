//! Mounts: made detached, changed while nobody sees them, then moved onto a descriptor.

use super::{
    apply::{Assembler, Attached},
    copy, idmap,
    op::{
        Attach, Attrs, Change, Existing, Filesystem, Link, Opener, Otherwise, Owner, Parameter, ProcView,
        SourceId, What, propagation_flag,
    },
    proc,
    root::{Missing, kind},
    source::Opened,
};
use crate::{
    error::{Context, Error, Result},
    sys::{
        fork::shared_child,
        mount::{self, Attributes, Configuration},
    },
};
use nix::{
    fcntl::AtFlags,
    libc::{self, AT_RECURSIVE, MOUNT_ATTR_RDONLY},
    sys::stat::{SFlag, fstat},
    unistd::{Gid, Uid, fchownat},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

impl Assembler<'_> {
    pub(super) fn attach(&mut self, attach: &Attach) -> Result<()> {
        (self.directory, self.proc_root) = (None, None);
        let destination = attach.destination.as_path();
        let there = self.root.find_existing(destination, attach.link).map_err(explain_link(attach))?;
        let mount = match &attach.what {
            What::Filesystem(filesystem) => self.filesystem(filesystem, attach, there.as_ref())?,
            What::Bind(id) => match std::mem::replace(self.source(*id)?, Opened::Used) {
                Opened::Tree(tree) => tree,
                Opened::Link(target) => {
                    return self.link(Path::new(&target), destination, Existing::Same);
                }
                Opened::Used => crate::bail!("source {id} was used before"),
            },
            What::Late { group, otherwise } => match (mount::clone_path(group, AT_RECURSIVE), otherwise) {
                (Err(error), Some(path)) if error.errno() == Some(libc::ENOENT) => {
                    mount::clone_path(path, AT_RECURSIVE)?
                }
                (tree, _) => tree?,
            },
        };
        let is_new = matches!(attach.what, What::Filesystem(_));
        let is_directory = is_new || kind(&mount)? == SFlag::S_IFDIR;
        let missing = if is_directory { Missing::Directory } else { Missing::File };
        let target = match there {
            Some(there) => same_kind(there, missing)?,
            None => self.root.create(destination, attach.link, missing)?,
        };
        proc::guard(&self.root, &target, &mount, destination)?;
        if let Some(idmap) = attach.idmap {
            self.idmaps
                .apply(&mount, idmap)
                .map_err(|error| idmap::refused(error, &attach.name, destination))?;
        }
        change(&mount, &attach.change, is_new)?;
        mount::attach(mount.as_fd(), target.as_fd())?;
        let delay_read_only = attach.delay_read_only;
        if delay_read_only || self.remounted.contains(destination) {
            self.attached.push(Attached { destination: destination.to_owned(), mount, delay_read_only });
        }
        Ok(())
    }

    fn source(&mut self, id: usize) -> Result<&mut Opened> {
        self.opened.get_mut(id).ok_or_else(|| Error::new(format_args!("source {id} was not opened")))
    }

    /// A new file system, with attributes set and content copied; `there` is what the image has at the destination.
    fn filesystem(
        &mut self,
        wanted: &Filesystem,
        attach: &Attach,
        there: Option<&OwnedFd>,
    ) -> Result<OwnedFd> {
        let mut attrs = attach.change.attrs;
        if let (true, Some(there)) = (attach.copy_up, there) {
            // Devices of our own are made in /dev.
            let wanted = if attach.destination == Path::new("/dev") { libc::MOUNT_ATTR_NODEV } else { 0 };
            attrs.set |= copy::powers_withheld(there)? & !(attrs.clear | wanted);
        }
        let attrs = &attrs;
        let is_proc = wanted.fstype == "proc" && attach.destination == Path::new("/proc");
        let pids = self.pid_namespace.as_ref();
        let (mount, view) = match (create(wanted, attrs, there, pids), wanted.otherwise) {
            (Ok(mount), _) => (mount, ProcView::Fresh),
            (Err(error), Otherwise::Bind(id)) if error.errno() == Some(libc::EPERM) => {
                return self.instead(id, attrs).map_err(|second| second.context(error));
            }
            (Err(error), Otherwise::Proc { subset, outer }) if error.errno() == Some(libc::EPERM) => {
                proc::instead(wanted, attrs, pids, (subset, outer))?
                    .ok_or_else(|| explain_refusal(error, &wanted.fstype))?
            }
            (Err(error), _) => return Err(explain_refusal(error, &wanted.fstype)),
        };
        if is_proc {
            self.proc = Some(view);
        }
        if let Some(owner) = wanted.owner {
            give(&mount, "", owner)?;
            if wanted.fstype == "devpts" {
                give(&mount, "ptmx", owner)?;
            }
        }
        if let (true, Some(there)) = (attach.copy_up, there) {
            copy::copy_tree(there.as_fd(), mount.as_fd(), self.procfs)
                .context("copy what the image has there")?;
        }
        Ok(mount)
    }

    /// The host's view of what the kernel does not show anew, read-only all the way down (CVE-2023-25809).
    fn instead(&mut self, id: SourceId, attrs: &Attrs) -> Result<OwnedFd> {
        let Opened::Tree(tree) = std::mem::replace(self.source(id)?, Opened::Used) else {
            crate::bail!("source {id} was used before");
        };
        let attributes =
            Attributes { set: attrs.set | MOUNT_ATTR_RDONLY, clear: 0, propagation: libc::MS_PRIVATE };
        mount::set_attributes(tree.as_fd(), attributes, AT_RECURSIVE)?;
        Ok(tree)
    }

    pub(super) fn remount(
        &self,
        destination: &Path,
        change: &Change,
        parameters: &[Parameter],
    ) -> Result<()> {
        let brought;
        let earlier = self.attached.iter().rev().find(|it| it.destination == destination);
        let mount = if let Some(earlier) = earlier {
            &earlier.mount
        } else {
            brought = self.brought(destination)?;
            &brought
        };
        if !parameters.is_empty() {
            let superblock = Configuration::pick(mount.as_fd())?;
            configure(&superblock, parameters)?;
            superblock.reconfigure()?;
        }
        self::change(mount, change, false)
    }

    /// A mount that came with the root file system or with a volume. A symlink could turn the change on any other one, with
    /// parameters on the file system of the host that holds the image.
    fn brought(&self, destination: &Path) -> Result<OwnedFd> {
        let hint = "remount changes a mount of an earlier entry, by the same destination";
        let refused = |error: Error| {
            if error.errno() != Some(libc::ELOOP) {
                return error;
            }
            error.context("a part of it is a symlink in the root file system").hint(hint)
        };
        let mount = self.root.find(destination, Link::Refuse).map_err(refused)?;
        match mount::mount_of(mount.as_fd())? {
            (_, true) => Ok(mount),
            (_, false) => Err(Error::new("nothing is mounted there").hint(hint)),
        }
    }
}

/// Applies attributes and propagation, with as few calls as their order allows.
fn change(mount: &OwnedFd, change: &Change, top_is_set: bool) -> Result<()> {
    let mut deep = attributes(change.recursive_attrs);
    let mut top = if top_is_set { Attributes::default() } else { attributes(change.attrs) };
    let mut rest = change.propagation.as_slice();
    if let [only] = rest {
        let level = if only.recursive { &mut deep } else { &mut top };
        level.propagation = propagation_flag(only.kind);
        rest = &[];
    }
    set(mount, deep, AT_RECURSIVE)?;
    set(mount, top, 0)?;
    rest.iter().try_for_each(|word| {
        let depth = if word.recursive { AT_RECURSIVE } else { 0 };
        set(mount, Attributes { propagation: propagation_flag(word.kind), ..Attributes::default() }, depth)
    })
}

/// A mount point of the kind that the mount's root is of.
fn same_kind(there: OwnedFd, wanted: Missing) -> Result<OwnedFd> {
    if (kind(&there)? == SFlag::S_IFDIR) == (wanted == Missing::Directory) {
        return Ok(there);
    }
    let error = Error::from(nix::errno::Errno::ENOTDIR).hint("one is a directory, the other is a file");
    Err(error.context("source and destination differ"))
}

/// A detached file system with its attributes; where it has no mode of its own it gets that of the directory it will hide,
/// as engines expect of a tmpfs. A procfs of the pid namespace that is set for children shows `pids`, which is the same.
pub(super) fn create(
    wanted: &Filesystem,
    attrs: &Attrs,
    there: Option<&OwnedFd>,
    pids: Option<&OwnedFd>,
) -> Result<OwnedFd> {
    let configuration = match wanted.opener {
        Opener::Assembler => Configuration::open(&wanted.fstype)?,
        Opener::Child => open_procfs(pids)?,
    };
    configure(&configuration, &wanted.parameters)?;
    if wanted.adopt_mode
        && let Some(there) = there
    {
        let mode = fstat(there).context("fstat")?.st_mode & 0o7777;
        configuration.text("mode", &format!("{mode:o}"))?;
    }
    configuration.mount(attrs.set)
}

/// A procfs shows the pid namespace of the process that opens it, or since Linux 6.18 the one that it is told.
fn open_procfs(pids: Option<&OwnedFd>) -> Result<Configuration> {
    if let Some(pids) = pids {
        let procfs = Configuration::open("proc")?;
        // Whatever else speaks against it is told where there is no other way.
        if procfs.descriptor("pidns", pids.as_fd()).is_ok() {
            return Ok(procfs);
        }
    }
    shared_child(|| Configuration::open("proc"))
}

pub(super) fn configure(configuration: &Configuration, parameters: &[Parameter]) -> Result<()> {
    parameters.iter().try_for_each(|parameter| match parameter {
        Parameter::Flag(key) => configuration.flag(key),
        Parameter::Text(key, value) => configuration.text(key, value),
    })
}

fn give(mount: &OwnedFd, name: &str, owner: Owner) -> Result<()> {
    let flags = AtFlags::AT_EMPTY_PATH | AtFlags::AT_SYMLINK_NOFOLLOW;
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    fchownat(mount, name, Some(uid), Some(gid), flags).context("give it to the container's root")
}

fn attributes(attrs: Attrs) -> Attributes {
    Attributes { set: attrs.set, clear: attrs.clear, propagation: 0 }
}

fn set(mount: &OwnedFd, attributes: Attributes, depth: i32) -> Result<()> {
    if attributes == Attributes::default() {
        return Ok(());
    }
    mount::set_attributes(mount.as_fd(), attributes, depth).map_err(|error| match error.errno() {
        Some(libc::EPERM) if attributes.clear != 0 => error
            .context(format_args!("cannot clear locked flags {:#x}", attributes.clear))
            .hint("the source is mounted with flags that a user namespace cannot take away: ask for the same ones"),
        _ => error,
    })
}

/// Says why a symlink is not followed where it is not.
fn explain_link(attach: &Attach) -> impl Fn(Error) -> Error {
    let (link, path): (Link, PathBuf) = (attach.link, attach.destination.clone());
    move |error| match (error.errno(), link) {
        (Some(libc::ELOOP), Link::Refuse) => error
            .context(format_args!("{} or a part of it is a symlink in the root file system", path.display()))
            .hint("an image may not redirect this mount (CVE-2019-19921)"),
        _ => error,
    }
}

fn explain_refusal(error: Error, fstype: &str) -> Error {
    // The kernel refuses a file system to a user namespace when it is made or mounted; before, only a filter says EPERM.
    let made = ["fsconfig(create)", "fsmount("].iter().any(|call| error.to_string().contains(call));
    if error.errno() != Some(libc::EPERM) || !made {
        return error;
    }
    match fstype {
        "proc" => error.hint(
            "in a user namespace, a procfs needs a pid namespace of the container's own and a visible /proc without masks: \
             give the outer container an unmasked /proc (procMount: Unmasked), or bind /proc",
        ),
        "sysfs" => error.hint(
            "the network namespace belongs to another user namespace: use a network of the container's own, or mount \
             sysfs read-only",
        ),
        "cgroup2" | "cgroup" => error.hint("give the container a cgroup namespace of its own"),
        _ => error,
    }
}

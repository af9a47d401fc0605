//! Device nodes, symlinks and the console.

use super::{
    apply::Assembler,
    op::{Device, DeviceFrom, Existing, Link, Node},
    root::{Missing, kind},
    source::{Opened, node_of},
};
use crate::{
    error::{Context, Error, Result},
    sys::{
        mount::{self, Attributes},
        tty::Pty,
    },
};
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, readlinkat},
    sys::stat::{Mode, SFlag, makedev, mknodat},
    unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, symlinkat, unlinkat},
};
use std::{
    ffi::OsStr,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    rc::Rc,
};

const FIND: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

impl Assembler<'_> {
    pub(super) fn device(&mut self, device: &Device) -> Result<()> {
        let (directory, name) = self.parent(&device.path)?;
        match device.from {
            DeviceFrom::Make { mode, uid, gid } => {
                make_node(&directory, name, device.node, mode)?;
                if uid.is_some() || gid.is_some() {
                    let node = openat(&*directory, name, FIND, Mode::empty()).context("open")?;
                    // In a shared volume somebody may have put another file in its place by now, to be given it.
                    same_node(&node, device.node)?;
                    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
                    fchownat(&node, "", uid, gid, AtFlags::AT_EMPTY_PATH).context("chown")?;
                }
                Ok(())
            }
            DeviceFrom::Bind(id) => {
                let target = mount_point(&directory, name)?;
                let source = self.opened.get_mut(id).map(|source| std::mem::replace(source, Opened::Used));
                let Some(Opened::Tree(source)) = source else { crate::bail!("source {id} was not opened") };
                // For an ordinary user the clone is a slave of the host's mount, where that is shared.
                let private = Attributes { propagation: libc::MS_PRIVATE, ..Attributes::default() };
                mount::set_attributes(source.as_fd(), private, 0)?;
                mount::attach(source.as_fd(), target.as_fd())
            }
        }
    }

    /// The directory that holds `path`, made where it is missing, and the last component. Neighbours come one after the
    /// other, so the directory is kept until something is mounted.
    fn parent<'p>(&mut self, path: &'p Path) -> Result<(Rc<OwnedFd>, &'p OsStr)> {
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            crate::bail!("{} names nothing", path.display());
        };
        if let Some((known, directory)) = &self.directory
            && known == above
        {
            return Ok((Rc::clone(directory), name));
        }
        let found = self.root.find_existing(above, Link::Follow)?;
        let directory =
            found.map_or_else(|| self.root.create(above, Link::Follow, Missing::Directory), Ok)?;
        let directory = Rc::new(directory);
        self.directory = Some((above.to_owned(), Rc::clone(&directory)));
        Ok((directory, name))
    }

    pub(super) fn link(&mut self, target: &Path, path: &Path, existing: Existing) -> Result<()> {
        let (directory, name) = self.parent(path)?;
        let made = symlinkat(target, &*directory, name);
        let same = || readlinkat(&*directory, name).is_ok_and(|text| text == target.as_os_str());
        match (made, existing) {
            (Ok(()), _) | (Err(Errno::EEXIST), Existing::Keep) => Ok(()),
            (Err(Errno::EEXIST), _) if same() => Ok(()),
            (Err(Errno::EEXIST), Existing::Replace) => {
                unlinkat(&*directory, name, UnlinkatFlags::NoRemoveDir).context("remove what is there")?;
                symlinkat(target, &*directory, name).context("symlink")
            }
            (Err(Errno::EEXIST), Existing::Same) => Err(Error::new("something else is there already")),
            (Err(errno), _) => Err(errno).context("symlink"),
        }
    }

    /// Makes a terminal of the container's own devpts and binds its peer, without a path in between (CVE-2025-52565).
    pub(super) fn console(&mut self, uid: u32) -> Result<()> {
        let hint = "a terminal needs a devpts on /dev/pts among the mounts";
        let devpts = self.root.find(Path::new("/dev/pts"), Link::Refuse).hint(hint)?;
        let pty = Pty::open(devpts.as_fd())?;
        fchown(&pty.slave, Some(Uid::from_raw(uid)), None).context("chown the terminal")?;
        let (directory, name) = self.parent(Path::new("/dev/console"))?;
        let target = mount_point(&directory, name)?;
        mount::attach(mount::clone_fd(pty.slave.as_fd(), 0)?.as_fd(), target.as_fd())?;
        self.terminal = Some(pty);
        Ok(())
    }
}

/// Makes a node; the same one may be there already, anything else may not.
fn make_node(directory: &OwnedFd, name: &OsStr, node: Node, mode: u32) -> Result<()> {
    let (kind, number) = match node {
        Node::Char(major, minor) => (SFlag::S_IFCHR, makedev(major.into(), minor.into())),
        Node::Block(major, minor) => (SFlag::S_IFBLK, makedev(major.into(), minor.into())),
        Node::Fifo => (SFlag::S_IFIFO, 0),
    };
    match mknodat(directory, name, kind, Mode::from_bits_truncate(mode), number) {
        Ok(()) => Ok(()),
        Err(Errno::EEXIST) => same_node(&openat(directory, name, FIND, Mode::empty()).context("open")?, node),
        Err(errno) => Err(errno).context("mknod"),
    }
}

fn same_node(found: &OwnedFd, node: Node) -> Result<()> {
    if node_of(found)? == Some(node) {
        return Ok(());
    }
    Err(Error::new(format_args!("something that is not {node} is there already")))
}

/// Something to bind a device on: a new empty file, or what has the name already, which is never opened and never followed
/// (CVE-2026-88264).
fn mount_point(directory: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
    match mknodat(directory, name, SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno).context("create"),
    }
    let target = openat(directory, name, FIND, Mode::empty()).context("open")?;
    match kind(&target)? {
        SFlag::S_IFLNK => Err(Error::new("a symlink of that name is in the root file system")),
        SFlag::S_IFDIR => Err(Error::new("a directory of that name is in the root file system")),
        _ => Ok(target),
    }
}

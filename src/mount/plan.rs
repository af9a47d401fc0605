//! Config and facts become steps. Pure.

mod cgroup;
mod device;
mod filesystem;
mod idmap;
mod overlay;

pub(super) use overlay::layers;

use super::op::{
    Attach, Attrs, Change, IdLines, Link, OVER_PROC, Op, Owner, Plan, Propagation, PropagationKind, Source,
    SourceId, SourceKind, SourceLink, What,
};
use crate::{
    error::{Context, Error, Result},
    host::cgroups::Cgroups,
    ns::idmap::Outside,
    spec::{Config, Mount, MountKind, mount::Parameter},
};
use nix::libc::MOUNT_ATTR_RDONLY;
use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

/// What the caller asks for beyond config.json.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The process gets a terminal.
    pub terminal: bool,
    /// The SELinux label of new file systems; absent where SELinux is off.
    pub label: Option<Label>,
}

/// A SELinux mount label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// `context`, `fscontext`, `defcontext` or `rootcontext` (`run.oci.mount_context_type`).
    pub kind: String,
    /// `linux.mountLabel`.
    pub value: String,
}

/// What is so, whether anybody asks for it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// How the container's ids appear to the assembler. A rootless runtime whose user namespace is the container's gives
    /// identity maps of the ids that exist there, so that others (the tty group) are known to be missing.
    pub outside: Outside,
    /// mknod(2) makes devices that work: initial user namespace and CAP_MKNOD.
    pub can_mknod: bool,
    /// The assembler is in the initial user namespace.
    pub initial_userns: bool,
    /// The caller is in another user namespace than the initial one and the assembly happens under the caller's mounts, so
    /// that /proc is that of an outer container.
    pub nested: bool,
    /// The container has a user namespace of its own, new or joined.
    pub container_userns: bool,
    /// The assembler's privileges reach the user namespace that owns the container's network namespace.
    pub own_network: bool,
    /// The host's cgroup hierarchies.
    pub cgroups: Cgroups,
    /// The container's cgroup namespace is new.
    pub new_cgroup_namespace: bool,
    /// The container's group in each hierarchy, by mount point.
    pub groups: BTreeMap<PathBuf, Group>,
}

/// Where the container's cgroup in a hierarchy will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Path from the mount point, starting with `/`.
    pub path: String,
    /// The kernel may not let the caller make it; the container is in the caller's group then.
    pub optional: bool,
}

/// Where a symlink in the image would move what the container's safety rests on (CVE-2019-19921, CVE-2023-27561).
const NO_SYMLINKS: [&str; 6] = ["/proc", "/sys", "/dev", "/dev/pts", "/dev/mqueue", "/sys/fs/cgroup"];

/// Decides how the root file system is assembled. An error names its JSON path.
pub fn plan(config: &Config, request: &Request, facts: &Facts) -> Result<Plan> {
    let unmapped = |ids| Error::new(format_args!("linux.{ids}: the container's root (id 0) is not mapped"));
    let owner = Owner {
        uid: facts.outside.uid(0).ok_or_else(|| unmapped("uidMappings"))?,
        gid: facts.outside.gid(0).ok_or_else(|| unmapped("gidMappings"))?,
    };
    let mut planner =
        Planner { config, request, facts, owner, sources: Vec::new(), idmaps: Vec::new(), ops: Vec::new() };
    let root_idmap = config.root.idmap.then(|| planner.root_idmap()).transpose()?;
    for mount in &config.mounts {
        planner.mount(mount).with_context(|| format!("mounts[{}]", mount.index))?;
    }
    planner.devices()?;
    planner.protection()?;
    let Planner { sources, idmaps, ops, .. } = planner;
    let rootfs = facts.bundle.join(&config.root.path);
    let propagation = config.linux.rootfs_propagation;
    Ok(Plan { rootfs, root_idmap, propagation, owner, sources, idmaps, ops })
}

struct Planner<'a> {
    config: &'a Config,
    request: &'a Request,
    facts: &'a Facts,
    owner: Owner,
    sources: Vec<Source>,
    idmaps: Vec<IdLines>,
    ops: Vec<Op>,
}

impl Planner<'_> {
    fn mount(&mut self, mount: &Mount) -> Result<()> {
        let destination = clean(&mount.destination);
        if destination == Path::new("/") && !mount.remount {
            return Err(Error::new("destination: / is the root file system").hint("name it in root.path"));
        }
        check_proc(mount, &destination)?;
        if mount.remount {
            if mount.idmap.is_some() {
                return Err(Error::new("uidMappings: a mount that is there already cannot be id-mapped")
                    .hint("give the mappings to the entry that mounts it"));
            }
            let parameters = self.parameters("", &mount.parameters)?;
            let change = self.change(mount);
            self.ops.push(Op::Remount { origin: origin(mount), destination, change, parameters });
            return Ok(());
        }
        match &mount.kind {
            MountKind::Bind { source, recursive } => {
                let path = self.facts.bundle.join(source);
                let link = match (mount.copy_symlink, mount.source_nofollow) {
                    (true, _) => SourceLink::Copy,
                    (_, true) => SourceLink::Bind,
                    _ => SourceLink::Follow,
                };
                let kind = SourceKind::Tree { recursive: *recursive, link };
                let name = path.display().to_string();
                let id = self.source(mount, path, kind)?;
                self.attach(mount, name, What::Bind(id))
            }
            MountKind::Cgroup => self.cgroup(mount),
            MountKind::Filesystem { fstype, source } if fstype == "overlay" && mount.idmap.is_some() => {
                let id = self.overlay(mount, source.as_deref())?;
                self.attach(mount, fstype.clone(), What::Bind(id))
            }
            MountKind::Filesystem { fstype, source } => {
                let what = self.filesystem(mount, fstype, source.as_deref())?;
                let mut mount = mount.clone();
                if fstype == "sysfs" && matches!(what, What::Bind(_)) {
                    // The host's cgroups and debug views come along, so nothing of it may be writable (CVE-2023-25809).
                    mount.recursive_attrs.set |= mount.attrs.set;
                    // Nobody asked for it, so it is never the host's peer: what is mounted below it would come to lie there.
                    let slave = Propagation { kind: PropagationKind::Slave, recursive: true };
                    mount.propagation = vec![self.default_propagation(&[]).unwrap_or(slave)];
                }
                self.attach(&mount, fstype.clone(), what)?;
                let shows_processes = Parameter::Text("subset".to_owned(), "pid".to_owned());
                if fstype == "proc"
                    && self.facts.container_userns
                    && mount.parameters.contains(&shows_processes)
                {
                    self.ops.push(Op::Cover(destination.join("thread-self")));
                }
                Ok(())
            }
        }
    }

    fn attach(&mut self, mount: &Mount, name: String, what: What) -> Result<()> {
        let destination = clean(&mount.destination);
        let kernel_view =
            matches!(&what, What::Filesystem(fs) if matches!(fs.fstype.as_str(), "proc" | "sysfs"));
        let link = if kernel_view || NO_SYMLINKS.iter().any(|path| destination == Path::new(path)) {
            Link::Refuse
        } else if mount.dest_nofollow {
            Link::Last
        } else {
            Link::Follow
        };
        let mut change = self.change(mount);
        let idmap = if matches!(what, What::Bind(_)) { None } else { self.idmap(mount)? };
        let tmpfs = matches!(&what, What::Filesystem(fs) if fs.fstype == "tmpfs");
        // Devices and mount points are still to be made there.
        let delay_read_only = (tmpfs || destination == Path::new("/dev")) && make_writable(&mut change);
        let copy_up = mount.copy_up && tmpfs;
        let origin = origin(mount);
        let attach =
            Attach { origin, name, destination, link, what, idmap, change, delay_read_only, copy_up };
        self.ops.push(Op::Attach(Box::new(attach)));
        Ok(())
    }

    fn change(&self, mount: &Mount) -> Change {
        let mut words = mount.propagation.clone();
        if self.facts.container_userns {
            // The container's own copy is a slave, whatever the word (mount_namespaces(7)): as the host's peer the mount would
            // show it nothing but the assembly, for ever.
            let shared = words.iter_mut().filter(|word| word.kind == PropagationKind::Shared);
            shared.for_each(|word| word.kind = PropagationKind::Slave);
        }
        if let MountKind::Bind { recursive, .. } = mount.kind
            && !mount.remount
            && (words.is_empty() || recursive)
        {
            words.splice(0..0, self.default_propagation(&words));
        }
        Change { attrs: mount.attrs, recursive_attrs: mount.recursive_attrs, propagation: words }
    }

    /// How far a bind takes part in the host's mounts where `words` do not tell, of all its mounts or of those below: as far as
    /// the whole root does.
    fn default_propagation(&self, words: &[Propagation]) -> Option<Propagation> {
        let has = |kind| words.iter().any(|word| word.kind == kind);
        let kind = match self.config.linux.rootfs_propagation.map(|propagation| propagation.kind) {
            _ if words.iter().any(|word| word.recursive) || has(PropagationKind::Shared) => return None,
            // A private mount can become nobody's slave.
            _ if has(PropagationKind::Slave) => PropagationKind::Slave,
            Some(PropagationKind::Shared) if !self.facts.container_userns => return None,
            Some(PropagationKind::Shared | PropagationKind::Slave) => PropagationKind::Slave,
            Some(PropagationKind::Private | PropagationKind::Unbindable) | None => PropagationKind::Private,
        };
        Some(Propagation { kind, recursive: true })
    }

    /// Something of the host's that a mount takes, its ids mapped as the mount asks.
    fn source(&mut self, mount: &Mount, path: PathBuf, kind: SourceKind) -> Result<SourceId> {
        let idmap = self.idmap(mount)?;
        let destination = clean(&mount.destination);
        Ok(self.open(Source { origin: origin(mount), destination, path, kind, idmap }))
    }

    fn open(&mut self, source: Source) -> SourceId {
        self.sources.push(source);
        self.sources.len() - 1
    }

    /// What comes after everything is in place. A read-only path is cloned, so masks follow it.
    fn protection(&mut self) -> Result<()> {
        let linux = &self.config.linux;
        for (list, paths) in [("maskedPaths", &linux.masked_paths), ("readonlyPaths", &linux.readonly_paths)]
        {
            if paths.iter().any(|path| clean(path) == Path::new("/")) {
                return Err(Error::new(format_args!("linux.{list}: / is the whole root file system"))
                    .hint("root.readonly makes the root file system read-only"));
            }
        }
        // Before anything becomes read-only, as in runc and crun; `/` is always there.
        let cwd = self.config.process.as_ref().map(|process| clean(&process.cwd));
        self.ops.extend(cwd.filter(|cwd| cwd != Path::new("/")).map(Op::WorkingDirectory));
        self.ops.extend(linux.readonly_paths.iter().map(|path| Op::ReadOnly(clean(path))));
        self.ops.extend(linux.masked_paths.iter().map(|path| Op::Mask(clean(path))));
        let delayed = |op: &Op| matches!(op, Op::Attach(attach) if attach.delay_read_only);
        if self.ops.iter().any(delayed) {
            self.ops.push(Op::ReadOnlyDelayed);
        }
        if self.config.root.readonly {
            self.ops.push(Op::ReadOnlyRoot);
        }
        Ok(())
    }
}

fn origin(mount: &Mount) -> String {
    format!("mounts[{}]", mount.index)
}

/// Takes `ro` and `rro` away; says whether one was there.
fn make_writable(change: &mut Change) -> bool {
    let read_only = (change.attrs.set | change.recursive_attrs.set) & MOUNT_ATTR_RDONLY != 0;
    let strip = |attrs: Attrs| Attrs { set: attrs.set & !MOUNT_ATTR_RDONLY, ..attrs };
    (change.attrs, change.recursive_attrs) = (strip(change.attrs), strip(change.recursive_attrs));
    read_only
}

/// The path below `/` without `.`, `..` and doubled slashes, as engines write it.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// What can be said about a mount over /proc before it is made; the assembler looks at the descriptor too.
fn check_proc(mount: &Mount, destination: &Path) -> Result<()> {
    if destination == Path::new("/proc") {
        return match &mount.kind {
            MountKind::Filesystem { fstype, .. } if fstype != "proc" => {
                Err(Error::new(format_args!("{fstype} over /proc: only a procfs can be mounted there")))
            }
            MountKind::Cgroup => Err(Error::new("cgroup over /proc: only a procfs can be mounted there")),
            MountKind::Filesystem { .. } | MountKind::Bind { .. } => Ok(()),
        };
    }
    if destination.starts_with("/proc") && !OVER_PROC.iter().any(|path| destination == Path::new(path)) {
        let allowed = OVER_PROC.join(", ");
        crate::bail!("{}: nothing can be mounted inside /proc, except on {allowed}", destination.display());
    }
    Ok(())
}

//! An overlay over id-mapped layers: what stands for an id-mapped overlay, which the kernel has since Linux 7.3.
//!
//! overlayfs takes layers by descriptor since Linux 6.13, and detached ones since 6.15. Before that a layer is a path, and has
//! to be attached in the mount namespace of the process that makes the overlay. So a child makes it, in a mount namespace
//! that ends with it: each layer is attached there and is called by its number in /proc/self/fd.

use super::{
    idmap::{Idmaps, mount_at, source_refused},
    op::{IdMapping, Overlay, Parameter, Upper},
};
use crate::{
    error::{Context, Error, Result},
    sys::{
        fork::shared_child,
        mount::{self, Attributes, Configuration, clone_path, mount_of},
        ns,
        openat::{beneath, own_root},
        prctl,
        proc::Proc,
    },
};
use nix::{
    fcntl::OFlag,
    libc::{CLONE_NEWNS, EINVAL, MS_PRIVATE, O_DIRECTORY, O_PATH},
    sys::{
        stat::{FileStat, Mode, fstat, stat},
        statfs::fstatfs,
        statvfs::FsFlags,
    },
    unistd::fchdir,
};
use std::{
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

/// The longest value that fsconfig(2) takes in one call.
const MAX_VALUE: usize = 255;

/// The overlay, detached. The caller has one thread.
pub(super) fn mount(wanted: &Overlay, idmap: Option<IdMapping>, idmaps: &Idmaps) -> Result<OwnedFd> {
    let idmap = idmap.ok_or_else(|| Error::new("an overlay without id maps is no source"))?;
    let lower = wanted
        .lower
        .iter()
        .map(|path| lower(path, idmap, idmaps).with_context(|| format!("lowerdir {}", path.display())));
    let lower: Vec<OwnedFd> = lower.collect::<Result<_>>()?;
    let upper = wanted.upper.as_ref().map(|upper| Writable::open(upper, idmap, idmaps)).transpose()?;
    make(&lower, upper.as_ref(), &wanted.parameters)
}

/// A layer with its ids mapped.
fn layer(path: &Path, idmap: IdMapping, idmaps: &Idmaps) -> Result<OwnedFd> {
    let layer = clone_path(path, 0)?;
    let top = IdMapping { recursive: false, ..idmap };
    idmaps.apply(&layer, top).map_err(|error| source_refused(error, path, top, idmaps))?;
    Ok(layer)
}

/// A lower layer. One that is an overlay itself, as the mounted images of container engines are, is made anew over its own
/// layers where it cannot be id-mapped.
fn lower(path: &Path, idmap: IdMapping, idmaps: &Idmaps) -> Result<OwnedFd> {
    let refused = match layer(path, idmap, idmaps) {
        Err(error) if error.errno() == Some(EINVAL) => error,
        other => return other,
    };
    match layers_of(path) {
        Ok(Some(layers)) => {
            let wanted = Overlay { lower: layers, upper: None, parameters: Vec::new() };
            mount(&wanted, Some(idmap), idmaps).with_context(|| format!("overlay {}", path.display()))
        }
        Ok(None) => Err(refused),
        Err(error) => Err(error.context(format_args!("the layers of overlay {}", path.display()))),
    }
}

/// The layers of the overlay that `path` is the root of; none where it is the root of no overlay.
fn layers_of(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    let root = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).context("open")?;
    let (_, is_root) = mount_of(root.as_fd())?;
    let mount = mount_at(path)?;
    if mount.fstype != "overlay" || !is_root {
        return Ok(None);
    }
    parse(&mount.parameters).map(Some)
}

/// The lower layers in an overlay's line of mountinfo.
fn parse(parameters: &str) -> Result<Vec<PathBuf>> {
    let mut layers = Vec::new();
    for parameter in parameters.split(',') {
        match parameter.split_once('=') {
            Some(("lowerdir", list)) => layers.extend(super::plan::layers(list)?),
            Some(("lowerdir+", layer)) => layers.push(layer.into()),
            Some((key @ ("upperdir" | "datadir+"), _)) => {
                crate::bail!("{key}: only an overlay of plain lower layers can be made anew with mapped ids")
            }
            _ => {}
        }
    }
    if let Some(relative) = layers.iter().find(|layer| layer.is_relative()) {
        crate::bail!("{} is relative to a directory that is not known", relative.display());
    }
    Ok(layers)
}

/// The writable layer: both directories below one id-mapped mount.
struct Writable {
    parent: OwnedFd,
    upper: OwnedFd,
    work: OwnedFd,
    /// Who owns the work directory, seen through the map.
    owner: (u32, u32),
}

impl Writable {
    fn open(wanted: &Upper, idmap: IdMapping, idmaps: &Idmaps) -> Result<Self> {
        let parent = layer(&wanted.parent, idmap, idmaps)
            .with_context(|| format!("upperdir and workdir in {}", wanted.parent.display()))?;
        let (upper, _) = below(&parent, wanted, &wanted.upper).context("upperdir")?;
        let (work, stat) = below(&parent, wanted, &wanted.work).context("workdir")?;
        Ok(Self { parent, upper, work, owner: (stat.st_uid, stat.st_gid) })
    }
}

/// A directory below the cloned parent, which has to be the one that its path leads to on the host.
fn below(parent: &OwnedFd, wanted: &Upper, name: &Path) -> Result<(OwnedFd, FileStat)> {
    let path = wanted.parent.join(name);
    let directory = beneath(parent.as_fd(), name.as_os_str().as_bytes(), O_PATH | O_DIRECTORY).hint(
        "upperdir and workdir have to be on one mount, without symlinks below the directory that holds both",
    )?;
    let (found, meant) = (fstat(&directory).context("stat")?, stat(&path).context("stat")?);
    if (found.st_dev, found.st_ino) != (meant.st_dev, meant.st_ino) {
        return Err(Error::new(format_args!(
            "{} is on another mount than {}",
            path.display(),
            wanted.parent.display()
        ))
        .hint("upperdir and workdir have to be on the mount of the directory that holds both"));
    }
    Ok((directory, found))
}

fn make(lower: &[OwnedFd], upper: Option<&Writable>, parameters: &[Parameter]) -> Result<OwnedFd> {
    let dumpable = prctl::is_dumpable()?;
    let made = shared_child(|| in_child(lower, upper, parameters));
    // The child's change of ids has taken it from the memory they share.
    prctl::set_dumpable(dumpable)?;
    made
}

fn in_child(lower: &[OwnedFd], upper: Option<&Writable>, parameters: &[Parameter]) -> Result<OwnedFd> {
    ns::unshare(CLONE_NEWNS)?;
    mount::make_all_private()?;
    let root = own_root()?;
    for layer in lower.iter().chain(upper.map(|upper| &upper.parent)) {
        // A clone is a peer of a shared original, which would get what is attached on top of the clone.
        let private = Attributes { propagation: MS_PRIVATE, ..Attributes::default() };
        mount::set_attributes(layer.as_fd(), private, 0)?;
        mount::attach(layer.as_fd(), root.as_fd()).context("attach a layer")?;
    }
    fchdir(Proc::open()?.descriptors()?).context("fchdir")?;
    if let Some(Writable { owner: (uid, gid), .. }) = upper {
        // overlayfs makes directories in the work directory as the one who mounted it, and the map has to know that one.
        prctl::create_as(*uid, *gid)?;
    }
    let overlay = Configuration::open("overlay")?;
    configure(&overlay, lower, upper, parameters)?;
    let mount = overlay.mount(0)?;
    let asked = parameters.contains(&Parameter::Flag("ro".into()));
    if upper.is_some() && !asked && fstatfs(&mount).context("statfs")?.flags().contains(FsFlags::ST_RDONLY) {
        return Err(Error::new("the kernel cannot write to workdir and would make the overlay read-only")
            .hint("the owner of workdir has to be among the ids of uidMappings and gidMappings"));
    }
    Ok(mount)
}

fn configure(
    overlay: &Configuration,
    lower: &[OwnedFd],
    upper: Option<&Writable>,
    parameters: &[Parameter],
) -> Result<()> {
    let name = |fd: &OwnedFd| fd.as_raw_fd().to_string();
    let names: Vec<String> = lower.iter().map(name).collect();
    let list = names.join(":");
    match list.len() <= MAX_VALUE {
        true => overlay.text("lowerdir", &list)?,
        false => names.iter().try_for_each(|name| overlay.text("lowerdir+", name))?,
    }
    if let Some(Writable { upper, work, .. }) = upper {
        overlay.text("upperdir", &name(upper))?;
        overlay.text("workdir", &name(work))?;
    }
    super::attach::configure(overlay, parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_of_an_overlay_are_read_from_its_line_in_the_mount_table() {
        let parsed = |text: &str| match parse(text) {
            Ok(layers) => {
                layers.iter().map(|layer| layer.display().to_string()).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(parsed("rw,lowerdir=/a:/b\\:c,index=off"), "/a /b:c");
        assert_eq!(parsed("ro,lowerdir+=/a,lowerdir+=/b:c"), "/a /b:c");
        assert_eq!(parsed("ro,lowerdir=l/A:l/B"), "l/A is relative to a directory that is not known");
        let upper = "upperdir: only an overlay of plain lower layers can be made anew with mapped ids";
        assert_eq!(parsed("rw,lowerdir=/a,upperdir=/u,workdir=/w"), upper);
    }
}

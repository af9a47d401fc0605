//! Operations as text: one line for errors, the alternate form (`{:#}`) with every detail for golden tests and `explain`.

use super::{
    Attach, Attrs, Change, Device, DeviceFrom, Filesystem, IdMapping, Link, Node, Op, Opener, Otherwise,
    Overlay, Parameter, Plan, PropagationKind, Source, SourceKind, Upper, What,
};
use std::fmt::{self, Formatter};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "root {} owned by {}:{}", self.rootfs.display(), self.owner.uid, self.owner.gid)?;
        self.root_idmap.map_or(Ok(()), |idmap| idmap.fmt(f))?;
        writeln!(f)?;
        for (id, source) in self.sources.iter().enumerate() {
            writeln!(f, "source {id}: {source}")?;
        }
        for (id, lines) in self.idmaps.iter().enumerate() {
            writeln!(f, "idmap {id}: {:?} {:?}", lines.uids, lines.gids)?;
        }
        self.ops.iter().try_for_each(|op| writeln!(f, "{op:#}"))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.path.display())?;
        match &self.kind {
            SourceKind::Tree { recursive, link } => {
                write!(f, "{} {link:?}", if *recursive { "recursive" } else { "top" })?;
            }
            SourceKind::Device(node) => write!(f, "device {node}")?,
            SourceKind::Overlay(overlay) => overlay.fmt(f)?,
        }
        self.idmap.map_or(Ok(()), |idmap| idmap.fmt(f))
    }
}

impl fmt::Display for Overlay {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("layers")?;
        self.lower.iter().try_for_each(|layer| write!(f, " lower={}", layer.display()))?;
        if let Some(Upper { parent, upper, work }) = &self.upper {
            write!(f, " upper={}+{} work=+{}", parent.display(), upper.display(), work.display())?;
        }
        Parameters(&self.parameters).fmt(f)
    }
}

impl fmt::Display for IdMapping {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, " {}idmap={}", if self.recursive { "r" } else { "" }, self.lines)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attach(attach) => attach.fmt(f),
            Self::Remount { origin, destination, change, parameters } => {
                write!(f, "{origin}: remount {}", destination.display())?;
                if f.alternate() {
                    write!(f, "{}{change}", Parameters(parameters))?;
                }
                Ok(())
            }
            Self::Device(device) => device.fmt(f),
            Self::Symlink { target, path, existing, needs_target } => {
                write!(f, "make symlink {} to {}", path.display(), target.display())?;
                if !f.alternate() {
                    return Ok(());
                }
                write!(f, " {existing:?}{}", if *needs_target { " if-target" } else { "" })
            }
            Self::Console { uid } if f.alternate() => write!(f, "set up /dev/console for {uid}"),
            Self::Console { .. } => f.write_str("set up /dev/console"),
            Self::WorkingDirectory(path) => write!(f, "make the working directory {}", path.display()),
            Self::Mask(path) => write!(f, "mask {}", path.display()),
            Self::Cover(path) => write!(f, "mount {} on itself", path.display()),
            Self::ReadOnly(path) => write!(f, "make {} read-only", path.display()),
            Self::ReadOnlyDelayed => f.write_str("make file systems read-only"),
            Self::ReadOnlyRoot => f.write_str("make the root file system read-only"),
        }
    }
}

impl fmt::Display for Attach {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: mount {} on {}", self.origin, self.name, self.destination.display())?;
        if !f.alternate() {
            return Ok(());
        }
        match &self.what {
            What::Bind(id) => write!(f, " source={id}")?,
            What::Late { group, otherwise } => {
                write!(f, " late={}", group.display())?;
                otherwise.iter().try_for_each(|path| write!(f, " or {}", path.display()))?;
            }
            What::Filesystem(filesystem) => filesystem.fmt(f)?,
        }
        match self.link {
            Link::Follow => {}
            Link::Last => f.write_str(" on-symlink")?,
            Link::Refuse => f.write_str(" no-symlinks")?,
        }
        for (on, word) in [(self.copy_up, " copy-up"), (self.delay_read_only, " read-only-later")] {
            f.write_str(if on { word } else { "" })?;
        }
        self.idmap.map_or(Ok(()), |idmap| idmap.fmt(f))?;
        self.change.fmt(f)
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Parameters(&self.parameters).fmt(f)?;
        if self.opener == Opener::Child {
            f.write_str(" by-child")?;
        }
        if self.adopt_mode {
            f.write_str(" adopt-mode")?;
        }
        if let Some(owner) = self.owner {
            write!(f, " chown={}:{}", owner.uid, owner.gid)?;
        }
        match self.otherwise {
            Otherwise::Nothing => Ok(()),
            Otherwise::Bind(id) => write!(f, " otherwise={id}"),
            Otherwise::Proc { subset, outer } => {
                f.write_str(if subset { " otherwise=subset" } else { "" })?;
                f.write_str(if outer { " otherwise=outer" } else { "" })
            }
        }
    }
}

struct Parameters<'a>(&'a [Parameter]);

impl fmt::Display for Parameters<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|parameter| match parameter {
            Parameter::Flag(key) => write!(f, " {key}"),
            Parameter::Text(key, value) => write!(f, " {key}={value}"),
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, Attrs { set, clear }) in [("attrs", self.attrs), ("rattrs", self.recursive_attrs)] {
            if (set, clear) != (0, 0) {
                write!(f, " {name}=+{set:#x}-{clear:#x}")?;
            }
        }
        self.propagation.iter().try_for_each(|word| {
            let name = match word.kind {
                PropagationKind::Shared => "shared",
                PropagationKind::Slave => "slave",
                PropagationKind::Private => "private",
                PropagationKind::Unbindable => "unbindable",
            };
            write!(f, " {}{name}", if word.recursive { "r" } else { "" })
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.origin.is_empty() {
            write!(f, "{}: ", self.origin)?;
        }
        let verb = if matches!(self.from, DeviceFrom::Make { .. }) { "make" } else { "bind" };
        write!(f, "{verb} device {} ({})", self.path.display(), self.node)?;
        match self.from {
            _ if !f.alternate() => Ok(()),
            DeviceFrom::Bind(id) => write!(f, " source={id}"),
            DeviceFrom::Make { mode, uid, gid } => {
                write!(f, " mode={mode:o}")?;
                uid.map_or(Ok(()), |uid| write!(f, " uid={uid}"))?;
                gid.map_or(Ok(()), |gid| write!(f, " gid={gid}"))
            }
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Char(major, minor) => write!(f, "c {major}:{minor}"),
            Self::Block(major, minor) => write!(f, "b {major}:{minor}"),
            Self::Fifo => f.write_str("fifo"),
        }
    }
}

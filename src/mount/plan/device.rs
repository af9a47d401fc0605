//! What has to be in /dev.

use super::{Planner, clean};
use crate::{
    error::{Error, Result},
    mount::op::{Device, DeviceFrom, Existing, Node, Op, Source, SourceKind},
    spec::{MountKind, linux},
};
use std::path::{Path, PathBuf};

/// Default devices, config-linux.md "Default Devices".
const DEVICES: [(&str, Node); 6] = [
    ("/dev/null", Node::Char(1, 3)),
    ("/dev/zero", Node::Char(1, 5)),
    ("/dev/full", Node::Char(1, 7)),
    ("/dev/random", Node::Char(1, 8)),
    ("/dev/urandom", Node::Char(1, 9)),
    ("/dev/tty", Node::Char(5, 0)),
];

/// runtime-linux.md "Dev symbolic links", and where a new pty comes from.
const SYMLINKS: [(&str, &str, Existing); 5] = [
    ("/dev/fd", "/proc/self/fd", Existing::Keep),
    ("/dev/stdin", "/proc/self/fd/0", Existing::Keep),
    ("/dev/stdout", "/proc/self/fd/1", Existing::Keep),
    ("/dev/stderr", "/proc/self/fd/2", Existing::Keep),
    ("/dev/ptmx", "pts/ptmx", Existing::Replace),
];

impl Planner<'_> {
    /// Devices, symlinks and the console. A /dev that is the caller's own is left alone.
    pub(super) fn devices(&mut self) -> Result<()> {
        let dev = |path: &Path| clean(path) == Path::new("/dev");
        let bound = |mount: &crate::spec::Mount| {
            matches!(mount.kind, MountKind::Bind { .. }) && dev(&mount.destination)
        };
        if !self.config.mounts.iter().any(bound) {
            self.default_devices();
            for device in &self.config.linux.devices {
                self.device(device);
            }
        }
        if self.request.terminal {
            let user = self.config.process.as_ref().map_or(0, |process| process.user.uid);
            let uid = self.facts.outside.uid(user);
            let uid =
                uid.ok_or_else(|| Error::new(format_args!("process.user.uid: {user} is not mapped")))?;
            self.ops.push(Op::Console { uid });
        }
        Ok(())
    }

    fn default_devices(&mut self) {
        for (path, node) in DEVICES {
            let path = PathBuf::from(path);
            if self.config.linux.devices.iter().all(|device| clean(&device.path) != path) {
                self.place(String::new(), path, node, DeviceFrom::Make { mode: 0o666, uid: None, gid: None });
            }
        }
        self.ops.extend(SYMLINKS.iter().map(|(path, target, existing)| Op::Symlink {
            target: target.into(),
            path: path.into(),
            existing: *existing,
            needs_target: false,
        }));
        let (target, path) = ("/proc/kcore".into(), "/dev/core".into());
        self.ops.push(Op::Symlink { target, path, existing: Existing::Keep, needs_target: true });
    }

    /// One of `linux.devices`. Ids that the container does not have stay out: engines list the host's devices with the
    /// host's ids.
    fn device(&mut self, device: &linux::Device) {
        let path = clean(&device.path);
        if path == Path::new("/dev/ptmx") {
            return;
        }
        let node = match device.kind {
            linux::DeviceKind::Char { major, minor } => Node::Char(major, minor),
            linux::DeviceKind::Block { major, minor } => Node::Block(major, minor),
            linux::DeviceKind::Fifo => Node::Fifo,
        };
        let uid = device.uid.and_then(|uid| self.facts.outside.uid(uid));
        let gid = device.gid.and_then(|gid| self.facts.outside.gid(gid));
        self.place(device.json_path.clone(), path, node, DeviceFrom::Make { mode: device.mode, uid, gid });
    }

    fn place(&mut self, origin: String, path: PathBuf, node: Node, made: DeviceFrom) {
        let from = if self.facts.can_mknod || node == Node::Fifo {
            made
        } else {
            let asked = if origin.is_empty() { "default device".into() } else { origin.clone() };
            let (destination, kind) = (path.clone(), SourceKind::Device(node));
            DeviceFrom::Bind(self.open(Source {
                origin: asked,
                destination,
                path: path.clone(),
                kind,
                idmap: None,
            }))
        };
        self.ops.push(Op::Device(Device { origin, path, node, from }));
    }
}

//! New file systems: their parameters, whose ids are the container's, and who opens them.

use super::{Planner, clean};
use crate::{
    error::{Error, Result},
    mount::op::{Filesystem, Opener, Otherwise, Owner, Parameter, SourceId, SourceKind, SourceLink, What},
    spec::{Mount, NamespaceKind},
};
use nix::libc::MOUNT_ATTR_RDONLY;
use std::path::PathBuf;

/// The longest value that fsconfig(2) takes in one call.
const MAX_VALUE: usize = 255;
/// File systems that get their SELinux label in another way, or none.
const WITHOUT_LABEL: [&str; 5] = ["proc", "sysfs", "mqueue", "cgroup", "cgroup2"];

impl Planner<'_> {
    pub(super) fn filesystem(&mut self, mount: &Mount, fstype: &str, source: Option<&str>) -> Result<What> {
        let read_only = is_read_only(mount);
        if fstype == "sysfs" && read_only && !self.facts.own_network {
            return Ok(What::Bind(self.host_sysfs(mount)?));
        }
        let parameters = self.parameters_of(mount, fstype, source)?;
        let otherwise = match fstype {
            _ if self.facts.initial_userns => Otherwise::Nothing,
            "sysfs" if read_only => Otherwise::Bind(self.host_sysfs(mount)?),
            "proc" => self.other_proc(mount),
            _ => Otherwise::Nothing,
        };
        let own_pids = self.config.linux.namespace(NamespaceKind::Pid).is_some();
        let has_mode =
            parameters.iter().any(|parameter| matches!(parameter, Parameter::Text(key, _) if key == "mode"));
        let nobodys = matches!(fstype, "devpts" | "mqueue") && self.owner != Owner { uid: 0, gid: 0 };
        Ok(What::Filesystem(Filesystem {
            fstype: fstype.into(),
            parameters,
            opener: if fstype == "proc" && own_pids { Opener::Child } else { Opener::Assembler },
            adopt_mode: fstype == "tmpfs" && !has_mode,
            owner: nobodys.then_some(self.owner),
            otherwise,
        }))
    }

    /// What may stand for a procfs that the kernel refuses because a part of the present /proc is covered
    /// (user_namespaces(7); `mount_too_revealing` of the kernel). Nothing that config.json asks for is dropped: its
    /// options cannot be given to a procfs that is there already, and its mounts below need the files that they cover.
    fn other_proc(&self, mount: &Mount) -> Otherwise {
        let destination = clean(&mount.destination);
        let below = |other: &Mount| {
            let path = clean(&other.destination);
            path != destination && path.starts_with(&destination)
        };
        let has_subset = mount.parameters.iter().any(|parameter| parameter.key() == "subset");
        Otherwise::Proc {
            subset: !has_subset && !self.config.mounts.iter().any(below),
            outer: self.facts.nested && mount.parameters.is_empty(),
        }
    }

    /// The host's /sys: what a user namespace without a network of its own can have.
    fn host_sysfs(&mut self, mount: &Mount) -> Result<SourceId> {
        let kind = SourceKind::Tree { recursive: true, link: SourceLink::Follow };
        self.source(mount, PathBuf::from("/sys"), kind)
    }

    /// Source, parameters and label of a new file system.
    pub(super) fn parameters_of(
        &self,
        mount: &Mount,
        fstype: &str,
        source: Option<&str>,
    ) -> Result<Vec<Parameter>> {
        let mut parameters: Vec<Parameter> =
            source.into_iter().map(|source| text("source", source)).collect();
        parameters.extend(self.parameters(fstype, &mount.parameters)?);
        if is_read_only(mount) && source.is_some_and(|source| source.starts_with("/dev/")) {
            // A disk that is to be read only is not written to for its journal's sake either.
            parameters.push(Parameter::Flag("ro".into()));
        }
        if let Some(label) = self.request.label.as_ref().filter(|_| !WITHOUT_LABEL.contains(&fstype)) {
            parameters.push(text(&label.kind, &label.value));
        }
        Ok(parameters)
    }

    /// Parameters as the assembler has to give them: it is outside, so ids are translated.
    pub(super) fn parameters(&self, fstype: &str, parameters: &[Parameter]) -> Result<Vec<Parameter>> {
        let mut translated = Vec::new();
        for parameter in parameters {
            match parameter {
                Parameter::Text(key, value) => translated.extend(self.parameter(fstype, key, value)?),
                Parameter::Flag(_) => translated.push(parameter.clone()),
            }
        }
        Ok(translated)
    }

    fn parameter(&self, fstype: &str, key: &str, value: &str) -> Result<Vec<Parameter>> {
        let outside = match key {
            "uid" | "user_id" => value.parse().ok().map(|id| self.facts.outside.uid(id)),
            "gid" | "group_id" => value.parse().ok().map(|id| self.facts.outside.gid(id)),
            _ => None,
        };
        match outside {
            Some(Some(id)) => Ok(vec![text(key, &id.to_string())]),
            // Engines ask for the tty group 5 without looking at the maps.
            Some(None) if fstype == "devpts" && key == "gid" => Ok(Vec::new()),
            Some(None) => {
                Err(Error::new(format_args!("options: {key}={value} is not mapped in the user namespace")))
            }
            None if fstype == "overlay" && key == "lowerdir" && value.len() > MAX_VALUE => Ok(layers(value)),
            None => Ok(vec![text(key, value)]),
        }
    }
}

fn is_read_only(mount: &Mount) -> bool {
    (mount.attrs.set | mount.recursive_attrs.set) & MOUNT_ATTR_RDONLY != 0
}

/// A list of layers that is too long for one value, one by one (Linux 6.7). Escapes and data-only layers stay as they are.
fn layers(list: &str) -> Vec<Parameter> {
    if list.contains("::") || list.contains('\\') {
        return vec![text("lowerdir", list)];
    }
    list.split(':').map(|layer| text("lowerdir+", layer)).collect()
}

fn text(key: &str, value: &str) -> Parameter {
    Parameter::Text(key.into(), value.into())
}

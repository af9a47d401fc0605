//! The cgroup hierarchy as the container sees it.

use super::{Group, Planner, clean};
use crate::{
    error::Result,
    host::cgroups::Hierarchy,
    mount::op::{Existing, Filesystem, Op, Opener, Otherwise, Parameter, What},
    spec::Mount,
};
use std::path::{Path, PathBuf};

impl Planner<'_> {
    /// Version 2: one file system, or the container's own group where it has no cgroup namespace of its own. Otherwise what
    /// the host has: a tmpfs with a mount for each hierarchy, and a symlink for each controller that shares one.
    pub(super) fn cgroup(&mut self, mount: &Mount) -> Result<()> {
        let facts = self.facts;
        match &facts.cgroups.unified {
            Some(unified) if facts.cgroups.legacy.is_empty() => {
                let what = self.hierarchy(unified, "cgroup2", &mount.parameters);
                self.attach(mount, "cgroup2".into(), what)
            }
            None if facts.cgroups.legacy.is_empty() => {
                crate::bail!("the host has no cgroup hierarchy mounted")
            }
            unified => self.legacy(mount, unified.as_ref()),
        }
    }

    fn legacy(&mut self, mount: &Mount, unified: Option<&Hierarchy>) -> Result<()> {
        let facts = self.facts;
        let mode = Parameter::Text("mode".into(), "755".into());
        self.attach(mount, "tmpfs".into(), filesystem("tmpfs", vec![mode]))?;
        let top = clean(&mount.destination);
        let v1 = facts.cgroups.legacy.iter().map(|hierarchy| (hierarchy, "cgroup"));
        for (hierarchy, fstype) in v1.chain(unified.map(|hierarchy| (hierarchy, "cgroup2"))) {
            let Some(name) = hierarchy.mount.file_name() else { continue };
            let parameters = if fstype == "cgroup" { controllers(hierarchy) } else { Vec::new() };
            let what = self.hierarchy(hierarchy, fstype, &parameters);
            let mount = Mount { destination: top.join(name), ..mount.clone() };
            self.attach(&mount, fstype.into(), what)?;
            if fstype == "cgroup" && hierarchy.controllers.len() > 1 {
                let links = hierarchy
                    .controllers
                    .iter()
                    .filter(|controller| Path::new(controller) != Path::new(name));
                self.ops.extend(links.map(|controller| Op::Symlink {
                    target: PathBuf::from(name),
                    path: top.join(controller),
                    existing: Existing::Keep,
                    needs_target: false,
                }));
            }
        }
        Ok(())
    }

    fn hierarchy(&self, hierarchy: &Hierarchy, fstype: &str, parameters: &[Parameter]) -> What {
        if self.facts.new_cgroup_namespace {
            return filesystem(fstype, parameters.to_vec());
        }
        let below = |path: &str| hierarchy.mount.join(path.trim_start_matches('/'));
        match self.facts.groups.get(&hierarchy.mount) {
            Some(Group { path, optional }) => {
                What::Late { group: below(path), otherwise: optional.then(|| below(&hierarchy.own)) }
            }
            None => What::Late { group: below(&hierarchy.own), otherwise: None },
        }
    }
}

/// How an existing version 1 hierarchy is named, cgroups(7).
fn controllers(hierarchy: &Hierarchy) -> Vec<Parameter> {
    let parameter = |controller: &String| match controller.split_once('=') {
        Some((key, value)) => Parameter::Text(key.into(), value.into()),
        None => Parameter::Flag(controller.clone()),
    };
    hierarchy.controllers.iter().map(parameter).collect()
}

fn filesystem(fstype: &str, mut parameters: Vec<Parameter>) -> What {
    parameters.insert(0, Parameter::Text("source".into(), fstype.into()));
    What::Filesystem(Filesystem {
        fstype: fstype.into(),
        parameters,
        opener: Opener::Assembler,
        adopt_mode: false,
        owner: None,
        otherwise: Otherwise::Nothing,
    })
}

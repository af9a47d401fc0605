//! Groups below the container's own, for processes that join it later.

use super::{
    group::{Cgroup, Member},
    record::Record,
};
use crate::error::{Context, Error, Result};
use std::path::{Path, PathBuf};

impl Cgroup {
    /// The groups that `exec --cgroup [CONTROLLER,…:]PATH` chooses below these: a path without controllers in every hierarchy,
    /// one with controllers in those of version 1 that have them. `/` is the container's own group.
    ///
    /// # Errors
    /// A path leads elsewhere, a group does not exist, no hierarchy has the controllers.
    pub fn chosen(&self, choices: &[String]) -> Result<Self> {
        let mut record = self.record.clone();
        for choice in choices {
            let (controllers, path) = choice.split_once(':').unwrap_or(("", choice));
            let path = match path.bytes().all(|byte| byte == b'/') {
                true => String::new(),
                false => super::path::from_config(path)?,
            };
            let mut meant = 0;
            for ((mount, place), (_, own)) in record.hierarchies.iter_mut().zip(&self.record.hierarchies) {
                if controllers.is_empty() || has_controllers(mount, controllers) {
                    *place = format!("{own}{path}");
                    meant += 1;
                }
            }
            if meant == 0 {
                return Err(Error::new(format_args!("--cgroup {choice}: no hierarchy has {controllers}"))
                    .hint("controllers are named on cgroup version 1 alone: --cgroup PATH"));
            }
        }
        let open = |(mount, path): &(PathBuf, String)| Member::open(mount, path, None);
        let members = record.hierarchies.iter().map(open).collect::<Result<_>>().context("--cgroup")?;
        Ok(Self { record, members })
    }

    /// The groups of a member that may have moved to a version 2 group below; `membership` is its /proc/PID/cgroup.
    ///
    /// # Errors
    /// It is in a group elsewhere.
    pub fn of_member(&self, membership: &str) -> Result<Self> {
        let Some(own) = self.unified() else { return Self::open(self.record.clone()) };
        let place = membership.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
        let below = place.strip_prefix(&own.path).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let Some(below) = below else {
            return Err(Error::new(format_args!(
                "the container's first process is in control group {place}, not below {}",
                own.path
            ))
            .hint("name a group below the container's own: --cgroup PATH"));
        };
        let mut record = Record { home: None, ..self.record.clone() };
        for (mount, path) in &mut record.hierarchies {
            if *mount == own.mount {
                path.push_str(below);
            }
        }
        Self::open(record)
    }
}

/// Whether a version 1 hierarchy, which is mounted under their names, has these controllers.
fn has_controllers(mount: &Path, controllers: &str) -> bool {
    let name = mount.file_name().unwrap_or_default().to_string_lossy();
    controllers.split(',').all(|wanted| name.split(',').any(|controller| controller == wanted))
}

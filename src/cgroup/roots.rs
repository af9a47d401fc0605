//! A look at the groups of many containers.

use super::{apply::is_frozen, dir::Dir, record::Record, tree::found, write::Version};
use crate::error::Result;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::{Path, PathBuf},
};

/// The roots of the hierarchies that were looked at, each opened once.
#[derive(Debug, Default)]
pub struct Roots(BTreeMap<PathBuf, (Dir, Version)>);

impl Roots {
    /// Whether the groups of a container are frozen, by whom ever.
    pub fn is_frozen(&mut self, record: &Record) -> Result<bool> {
        for (mount, path) in &record.hierarchies {
            let Some((root, version)) = found(self.open(mount))? else { continue };
            let Some(group) = found(root.open(path.trim_start_matches('/')))? else { continue };
            if is_frozen(&group, *version)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn open(&mut self, mount: &Path) -> Result<&(Dir, Version)> {
        Ok(match self.0.entry(mount.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Dir::hierarchy(mount)?),
        })
    }
}

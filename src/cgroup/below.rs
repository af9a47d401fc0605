//! The groups below a container's own, that annotations ask for or that keep its limits out of its reach. Pure.
//!
//! ```text
//! scope                    limits
//! └─ run.oci.systemd.subgroup      init is born here: the root of the container's cgroup namespace
//!    └─ run.oci.delegate-cgroup    init moves here; the container may do with it what it likes
//! ```

use super::{path, plan::Owner};
use crate::{
    error::{Context, Result},
    ns::idmap::Outside,
};
use std::{collections::BTreeMap, fmt};

/// Annotation: the group of a scope's processes, as in crun; empty is none. crun has `container` where nothing is said, this
/// program none.
const SUBGROUP: &str = "run.oci.systemd.subgroup";
/// The group of a delegated container's processes where nobody names one, as in crun.
const PAYLOAD: &str = "container";
/// Annotation: a group that is handed to the container, as in crun.
const DELEGATED: &str = "run.oci.delegate-cgroup";

/// Where processes are below the container's group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Below {
    /// The group that the first process is born in, its name.
    pub born: Option<String>,
    /// The group below that one into which it is moved.
    pub handed: Option<Handed>,
}

/// A group that a container does with as it likes; the limits are those of the groups above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// Its name.
    pub name: String,
    /// Who gets it: the container's root, where that has an id outside.
    pub owner: Option<Owner>,
}

impl Below {
    /// What `annotations` ask for; a subgroup only of a unit.
    ///
    /// # Errors
    /// A name that leads elsewhere.
    pub fn plan(annotations: &BTreeMap<String, String>, is_unit: bool, outside: &Outside) -> Result<Self> {
        let name = |annotation: &str| -> Result<Option<String>> {
            let Some(name) = annotations.get(annotation).filter(|name| !name.is_empty()) else {
                return Ok(None);
            };
            path::check_name(name).with_context(|| format!("annotations[{annotation:?}]"))?;
            Ok(Some(name.clone()))
        };
        let owner = outside.uid(0).zip(outside.gid(0)).map(|(uid, gid)| Owner { uid, gid });
        Ok(Self {
            born: if is_unit { name(SUBGROUP)? } else { None },
            handed: name(DELEGATED)?.map(|name| Handed { name, owner }),
        })
    }

    /// Puts the processes of a delegated container below the group that has its limits, unless the annotation wants no
    /// such group. For a caller who is the container's root himself: he owns all that he makes, limits included, and where the
    /// hierarchy is mounted without `nsdelegate` the owner may write to every file in the root of his namespace.
    pub fn keep_limits_above(&mut self, annotations: &BTreeMap<String, String>) {
        if annotations.get(SUBGROUP).is_none_or(|name| !name.is_empty()) {
            self.born.get_or_insert_with(|| PAYLOAD.to_owned());
        }
    }

    /// Where the first process is in the end, as seen from the container's group; starts with `/`.
    pub fn home(&self) -> Option<String> {
        let names = self.born.iter().chain(self.handed.iter().map(|handed| &handed.name));
        let path = names.fold(String::new(), |path, name| path + "/" + name);
        (!path.is_empty()).then_some(path)
    }
}

impl fmt::Display for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.born {
            writeln!(f, "  birth in {name}")?;
        }
        if let Some(Handed { name, owner }) = &self.handed {
            write!(f, "  move to {name}")?;
            if let Some(owner) = owner {
                write!(f, ", owner {}:{}", owner.uid, owner.gid)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

//! The control groups of a container that is found again.

use crate::{
    cgroup::{self, Cgroup, Freezer},
    error::Result,
    state::Record,
};

/// The container's groups; none where it has none.
pub fn open(record: &Record) -> Result<Option<Cgroup>> {
    match record.cgroup.is_null() {
        true => Ok(None),
        false => Cgroup::open(cgroup::Record::from_json(&record.cgroup)?).map(Some),
    }
}

/// Whether the container's groups are frozen.
pub fn is_frozen(record: &Record) -> Result<bool> {
    open(record)?.map_or(Ok(false), |group| Ok(group.frozen()? == Freezer::Frozen))
}

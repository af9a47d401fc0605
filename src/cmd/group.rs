//! The control groups of a container that is found again.

use crate::{
    cgroup::{self, Cgroup, Freezer},
    error::Result,
    rdt,
    state::Record,
    sys::proc::Proc,
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

/// Removes the Intel RDT groups that end with the container.
pub fn remove_rdt(record: &Record) -> Result<()> {
    match record.rdt.is_empty() {
        true => Ok(()),
        false => rdt::undo(&record.rdt, &rdt::root(&Proc::open()?)?),
    }
}

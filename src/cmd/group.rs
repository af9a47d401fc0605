//! The control groups of a container that is found again.

use crate::{
    cgroup::{self, Cgroup, Freezer},
    error::Result,
    rdt,
    state::Record,
    sys::proc::Proc,
};

/// The container's groups, those that are left.
pub fn open(record: &Record) -> Result<Cgroup> {
    match record.cgroup.is_null() {
        true => Ok(Cgroup::default()),
        false => Cgroup::open(cgroup::Record::from_json(&record.cgroup)?),
    }
}

/// Whether the container's groups are frozen.
pub fn is_frozen(record: &Record) -> Result<bool> {
    Ok(open(record)?.frozen()? == Freezer::Frozen)
}

/// Removes the Intel RDT groups that end with the container.
pub fn remove_rdt(record: &Record) -> Result<()> {
    match record.rdt.is_empty() {
        true => Ok(()),
        false => rdt::undo(&record.rdt, &rdt::root(&Proc::open()?)?),
    }
}

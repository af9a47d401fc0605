//! The control groups of a container that is found again.

use crate::{
    cgroup::{self, Cgroup, Roots},
    error::Result,
    rdt,
    state::{Entry, Record, Status},
    sys::proc::Proc,
};

/// The container's groups, those that are left.
pub fn open(record: &Record) -> Result<Cgroup> {
    match record.cgroup.is_null() {
        true => Ok(Cgroup::default()),
        false => Cgroup::open(cgroup::Record::from_json(&record.cgroup)?),
    }
}

/// What one container does.
pub fn status(entry: &Entry, record: &Record, proc: &Proc) -> Result<Status> {
    Status::of(entry, record, proc, || is_frozen(record, &mut Roots::default()))
}

/// Whether the container's groups are frozen; `roots` keeps the hierarchies open for the next container.
pub fn is_frozen(record: &Record, roots: &mut Roots) -> Result<bool> {
    match record.cgroup.is_null() {
        true => Ok(false),
        false => roots.is_frozen(&cgroup::Record::from_json(&record.cgroup)?),
    }
}

/// Removes the Intel RDT groups that end with the container.
pub fn remove_rdt(record: &Record) -> Result<()> {
    match record.rdt.is_empty() {
        true => Ok(()),
        false => rdt::undo(&record.rdt, &rdt::root(&Proc::open()?)?),
    }
}

//! What the verbs ask of a container's cgroup.

use crate::{bail, error::Result, state::Record};

/// The cgroup of one container.
pub trait Group {
    /// Whether it is frozen.
    fn is_frozen(&self) -> Result<bool>;
    /// Lets frozen processes go on.
    fn thaw(&self) -> Result<()>;
    /// Sends a signal to every process in it and below; an empty or vanished one is no error.
    fn signal(&self, signal: i32) -> Result<()>;
    /// Removes it with all below; a vanished one is no error.
    fn destroy(&self) -> Result<()>;
}

/// The container's cgroup; none where it has none.
pub fn open(record: &Record) -> Result<Option<Box<dyn Group>>> {
    if record.cgroup.is_null() {
        return Ok(None);
    }
    bail!("container \"{}\": its cgroup record is not understood", record.id)
}

/// Whether the container's cgroup is frozen.
pub fn is_frozen(record: &Record) -> Result<bool> {
    open(record)?.map_or(Ok(false), |group| group.is_frozen())
}

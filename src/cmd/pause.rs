//! `urun pause`

use super::group;
use crate::{
    cgroup::Freezer,
    error::{Context, Error, Result},
    state::{ContainerId, PATIENCE, Status, Store, not_running},
    sys::proc::Proc,
};

/// Freezes every process of a container, which runs or waits for its start, and returns when they stand still.
pub fn pause(store: &Store, id: &ContainerId) -> Result<()> {
    let step = || format!("pause container {id}");
    let mut entry = store.find(id)?;
    // What is being deleted must not freeze on the way.
    entry.lock(PATIENCE)?;
    let record = entry.record()?.ok_or_else(not_running).with_context(step)?;
    match group::status(&entry, &record, &Proc::open()?)? {
        Status::Created | Status::Running => group::open(&record)?.freeze(Freezer::Frozen),
        Status::Paused => Err(Error::new("container paused").hint(format_args!("urun resume {id}"))),
        Status::Creating | Status::Stopped => Err(not_running()),
    }
    .with_context(step)
}

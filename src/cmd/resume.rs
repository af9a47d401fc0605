//! `urun resume`

use super::group;
use crate::{
    cgroup::Freezer,
    error::{Context, Error, Result},
    state::{ContainerId, Status, Store},
    sys::proc::Proc,
};

/// Lets a paused container run again. It waits for nobody: a command that is stuck because the container stands still must
/// not keep it from running.
pub fn resume(store: &Store, id: &ContainerId) -> Result<()> {
    let entry = store.find(id)?;
    let not_paused = || Error::new("container not paused").context(format_args!("resume container {id}"));
    let record = entry.record()?.ok_or_else(not_paused)?;
    match group::status(&entry, &record, &Proc::open()?)? {
        Status::Paused => {
            group::open(&record)?.freeze(Freezer::Thawed).with_context(|| format!("resume container {id}"))
        }
        _ => Err(not_paused()),
    }
}

//! `urun gc`

use super::{delete, ranges};
use crate::{
    error::Result,
    log::Log,
    state::{Stage, Store},
};
use std::fmt::Write;

/// Removes what crashes have left: containers whose making was cut short, and claims of ids that belong to nobody. Returns a
/// line for each.
pub fn gc(store: &Store, log: &Log) -> Result<String> {
    let mut told = String::new();
    for id in store.list()? {
        let entry = store.find(&id)?;
        // An unreadable record is told by `list`; to remove it is for `delete --force`.
        let unfinished =
            entry.record().is_ok_and(|record| record.is_none_or(|record| record.stage == Stage::Creating));
        if unfinished && !entry.is_busy()? {
            delete::remove(entry, true, log)?;
            let _ = writeln!(told, "removed container {id}, which was never made");
        }
    }
    for (range, holder) in ranges::release_stale(store.path())? {
        let _ =
            writeln!(told, "released host ids {} to {}, which were for {holder}", range.start, range.last());
    }
    Ok(told)
}

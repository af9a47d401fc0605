//! Which containers a verb is about.

use crate::{
    cli::Selection,
    error::{Error, Result},
    state::{ContainerId, Store},
    sys::regex::Regex,
};

/// Does `action` for each container of the selection; with an expression also after one has failed, and none matching is
/// no error, as in crun.
pub fn each(
    store: &Store,
    selection: &Selection,
    mut action: impl FnMut(&ContainerId) -> Result<()>,
) -> Result<()> {
    let pattern = match selection {
        Selection::One(id) => return action(id),
        Selection::Matching(pattern) => Regex::new(pattern)?,
    };
    let mut failure: Option<Error> = None;
    for id in store.list()? {
        if !pattern.matches(id.as_str())? {
            continue;
        }
        if let Err(error) = action(&id) {
            failure = Some(match failure {
                None => error,
                Some(first) => first.also(&error),
            });
        }
    }
    failure.map_or(Ok(()), Err)
}

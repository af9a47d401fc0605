//! `urun list`

use super::{
    table::align,
    view::{Onlooker, View},
};
use crate::{
    cli::ListForm,
    error::{Error, Kind, Result},
    log::Log,
    state::{ContainerId, Store},
};

/// The list of containers in the form that was asked for. A container that cannot be shown is told to the log, and
/// appears where it can be named without its record.
pub fn list(store: &Store, form: ListForm, log: &Log) -> Result<String> {
    let ids = store.list()?;
    if form == ListForm::Quiet {
        let lines = ids.iter().flat_map(|id| [id.as_str(), "\n"]);
        return Ok(lines.collect());
    }
    let mut onlooker = Onlooker::default();
    let mut views = Vec::new();
    for id in ids {
        match store.find(&id).and_then(|entry| onlooker.look(&entry)) {
            // Deleted since the directory was read.
            Err(error) if error.is(Kind::NoContainer) => {}
            Err(error) => {
                log.warning(&error);
                views.push((id, None));
            }
            Ok(view) => views.push((id, Some(view))),
        }
    }
    match form {
        ListForm::Json => json(&views),
        _ => Ok(table(&views)),
    }
}

fn json(views: &[(ContainerId, Option<View>)]) -> Result<String> {
    let whole: Vec<&View> = views.iter().filter_map(|(_, view)| view.as_ref()).collect();
    let mut text = serde_json::to_string(&whole).map_err(Error::new)?;
    text.push('\n');
    Ok(text)
}

fn table(views: &[(ContainerId, Option<View>)]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    for (id, view) in views {
        let name = id.to_string();
        rows.push(match view {
            Some(view) => [
                name,
                view.pid().to_string(),
                view.status.to_string(),
                view.record.bundle.display().to_string(),
                view.record.created.clone(),
                view.owner.clone(),
            ],
            None => [name, "0".into(), "unknown".into(), "-".into(), "-".into(), "-".into()],
        });
    }
    align(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Record, store::tests::Scratch};
    use std::path::Path;

    #[test]
    fn each_form_shows_what_it_can() {
        let scratch = Scratch::new();
        let mut store = scratch.store();
        let log = Log::default();
        let show = |store: &Store, form| list(store, form, &log).unwrap();
        assert_eq!(show(&store, ListForm::Table), "ID  PID  STATUS  BUNDLE  CREATED  OWNER\n");
        assert_eq!(show(&store, ListForm::Json), "[]\n");
        assert_eq!(show(&store, ListForm::Quiet), "");
        let mut entry = store.create(&"web-1".parse().unwrap()).unwrap();
        let mut record = Record::new(entry.id().clone(), Path::new("/srv/web"), Path::new("/srv/web/rootfs"));
        record.created = "2026-11-21T22:03:29.000000001Z".to_owned();
        record.owner = u32::MAX - 7;
        entry.save(&record).unwrap();
        entry.unlock();
        store.create(&"half".parse().unwrap()).unwrap();
        assert_eq!(
            show(&store, ListForm::Table),
            "ID     PID  STATUS   BUNDLE    CREATED                         OWNER\n\
             half   0    unknown  -         -                               -\n\
             web-1  0    stopped  /srv/web  2026-11-21T22:03:29.000000001Z  4294967288\n"
        );
        assert_eq!(show(&store, ListForm::Quiet), "half\nweb-1\n");
        let value: serde_json::Value = serde_json::from_str(&show(&store, ListForm::Json)).unwrap();
        assert_eq!(value.as_array().unwrap().len(), 1);
        assert_eq!(value[0]["pid"], 0);
    }
}

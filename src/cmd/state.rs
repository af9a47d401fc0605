//! `urun state`

use super::view::Onlooker;
use crate::{
    error::{Error, Result},
    state::{ContainerId, Store},
};

/// The state of a container as indented JSON.
pub fn state(store: &Store, id: &ContainerId) -> Result<String> {
    let view = Onlooker::default().look(&store.find(id)?)?;
    let mut text = serde_json::to_string_pretty(&view).map_err(Error::new)?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Init, Record, Stage, store::tests::Scratch};
    use crate::sys::proc::Proc;
    use std::path::Path;

    #[test]
    fn engines_read_every_key_in_every_status() {
        let scratch = Scratch::new();
        let mut store = scratch.store();
        let id: ContainerId = "c1".parse().unwrap();
        let entry = store.create(&id).unwrap();
        let mut record = Record::new(id.clone(), Path::new("/b"), Path::new("/b/rootfs"));
        record.oci_version = "1.3.0".to_owned();
        record.owner = 0;
        record.created = "2026-11-21T22:03:29.000000001Z".to_owned();
        record.annotations.insert("k".to_owned(), "v".to_owned());
        record.stage = Stage::Created;
        record.mounts = Some("locked".to_owned());
        let own = Init::identify(&Proc::open().unwrap(), std::process::id().cast_signed()).unwrap();
        for (init, pid, status) in [(own, own.pid, "running"), (Init { start_time: 1, ..own }, 0, "stopped")]
        {
            record.init = Some(init);
            entry.save(&record).unwrap();
            let expected = format!(
                r#"{{
  "ociVersion": "1.3.0",
  "id": "c1",
  "pid": {pid},
  "status": "{status}",
  "bundle": "/b",
  "rootfs": "/b/rootfs",
  "created": "2026-11-21T22:03:29.000000001Z",
  "owner": "root",
  "annotations": {{
    "k": "v"
  }},
  "mounts": "locked"
}}
"#
            );
            assert_eq!(state(&store, &id).unwrap(), expected);
        }
    }

    #[test]
    fn a_container_without_a_record_is_explained() {
        let scratch = Scratch::new();
        let mut store = scratch.store();
        let id: ContainerId = "c1".parse().unwrap();
        assert_eq!(state(&store, &id).unwrap_err().to_string(), "container \"c1\" does not exist");
        let mut entry = store.create(&id).unwrap();
        assert!(state(&store, &id).unwrap_err().to_string().contains("does not exist"));
        entry.unlock();
        assert!(state(&store, &id).unwrap_err().remedy().unwrap().contains("delete --force"));
    }
}

//! How the limits of a container change: documents of `update`, kept as one document that says what differs from config.json.
//!
//! They stay JSON, in the form of the specification, so that what is stored can be read by every later version.

use super::{
    linux::Resources,
    parse::{is_zero_no_limit_of_pids, load_resources},
};
use crate::error::{Context, Error, Result};
use serde_json::{Map, Value};

/// What one call of `update` asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// What changes; everything absent stays.
    pub resources: Resources,
    /// The same as a `linux.resources` document without what changes nothing.
    pub document: Value,
}

/// Numbers whose zero, and texts whose emptiness, is how engines leave a value alone.
const NOTHING: &[(&str, &[&str])] = &[
    ("memory", &["limit", "reservation", "swap", "kernel", "kernelTCP"]),
    ("cpu", &["shares", "quota", "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems"]),
    ("blockIO", &["weight", "leafWeight"]),
];

/// Members by which an entry of a list is the same one: page size, device number, network interface.
const IDENTITY: &[&str] = &["pageSize", "major", "minor", "name"];

impl Update {
    /// Reads a `linux.resources` document for a container whose config.json has this `ociVersion`. Device rules are no part of
    /// an update, as in runc and crun.
    ///
    /// # Errors
    /// As [`load_resources`]: everything that is wrong, each with its JSON path below `linux.resources`.
    pub fn load(bytes: &[u8], oci_version: &str) -> Result<Self> {
        load_resources(bytes)?;
        let mut document: Value = serde_json::from_slice(bytes).map_err(Error::new)?;
        if let Value::Object(members) = &mut document {
            members.remove("devices");
            if is_zero_no_limit_of_pids(oci_version)
                && members.get("pids").is_some_and(|pids| pids["limit"] == 0)
            {
                members.remove("pids");
            }
            for (object, keys) in NOTHING {
                if let Some(Value::Object(values)) = members.get_mut(*object) {
                    values
                        .retain(|key, value| !keys.contains(&key.as_str()) || (*value != 0 && *value != ""));
                }
            }
        }
        Ok(Self { resources: load_resources(document.to_string().as_bytes())?, document })
    }

    /// What all updates together ask for, where `before` is what those before this one did.
    pub fn after(&self, before: &Value) -> Value {
        let mut all = before.clone();
        lay_over(&mut all, &self.document);
        all
    }
}

/// The resources that a container has after all its updates, from its config.json and the document of [`Update::after`].
pub fn effective(config: &[u8], updates: &Value) -> Result<Resources> {
    let mut config: Value =
        serde_json::from_slice(config).map_err(Error::new).context("parse config.json")?;
    let mut all = config.pointer_mut("/linux/resources").map(Value::take).unwrap_or_default();
    lay_over(&mut all, updates);
    match all {
        Value::Null => Ok(Resources::default()),
        all => load_resources(all.to_string().as_bytes()),
    }
}

/// Puts what `change` has in the place of what `base` has; what it does not have stays.
fn lay_over(base: &mut Value, change: &Value) {
    if base.is_null() && change.is_object() {
        // So that what is null in it is left out.
        *base = Value::Object(Map::new());
    }
    match (base, change) {
        (_, Value::Null) => {}
        (Value::Object(base), Value::Object(change)) => {
            for (key, value) in change {
                lay_over(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(base), Value::Array(change)) => {
            for entry in change {
                match base.iter_mut().find(|other| IDENTITY.iter().all(|key| other[*key] == entry[*key])) {
                    Some(other) => lay_over(other, entry),
                    None => base.push(entry.clone()),
                }
            }
        }
        (base, change) => *base = change.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn load(document: &Value) -> Update {
        Update::load(document.to_string().as_bytes(), "1.3.0").unwrap()
    }

    #[test]
    fn what_changes_nothing_is_left_out() {
        let update = load(&json!({
            "devices": [{"allow": false, "access": "rwm"}],
            "memory": {"limit": 0, "swap": 0, "reservation": 5, "swappiness": 0},
            "cpu": {"shares": 0, "quota": -1, "period": 0, "burst": 0, "cpus": "", "mems": "0", "idle": 0},
            "pids": {"limit": 0},
            "blockIO": {"weight": 0},
        }));
        let expected = json!({
            "memory": {"reservation": 5, "swappiness": 0},
            "cpu": {"quota": -1, "burst": 0, "mems": "0", "idle": 0},
            "pids": {"limit": 0},
            "blockIO": {},
        });
        assert_eq!(update.document, expected);
        assert_eq!(update.resources.cpu.cpus, None);
        assert_eq!(update.resources.pids_limit, Some(0));
        let older = Update::load(b"{\"pids\":{\"limit\":0}}", "1.0.2").unwrap();
        assert_eq!((older.resources.pids_limit, older.document), (None, json!({})));
    }

    #[test]
    fn later_updates_win_and_keep_the_rest() {
        let mut all = Value::Null;
        for document in [
            json!({"memory": {"limit": 1, "swap": 3}, "cpu": {"quota": 7, "period": 9}, "hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}),
            json!({"memory": {"limit": 2, "swap": null}, "unified": {"memory.high": "5"}}),
            json!({"hugepageLimits": [{"pageSize": "1GB", "limit": 4}, {"pageSize": "2MB", "limit": 8}], "cpu": {"quota": 6}}),
            json!({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}, {"major": 8, "minor": 16, "rate": 2}]}}),
            json!({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 3}]}, "unified": {"memory.high": "6"}}),
        ] {
            all = load(&document).after(&all);
        }
        let expected = json!({
            "memory": {"limit": 2, "swap": 3},
            "cpu": {"quota": 6, "period": 9},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 8}, {"pageSize": "1GB", "limit": 4}],
            "unified": {"memory.high": "6"},
            "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 3}, {"major": 8, "minor": 16, "rate": 2}]},
        });
        assert_eq!(all, expected);
    }

    #[test]
    fn updates_stand_over_the_configuration() {
        let config = json!({"linux": {"resources": {"memory": {"limit": 5, "checkBeforeUpdate": true}, "pids": {"limit": 6}}}});
        let all = effective(config.to_string().as_bytes(), &json!({"memory": {"limit": 7}})).unwrap();
        assert_eq!(
            (all.memory.limit, all.memory.check_before_update, all.pids_limit),
            (Some(7), Some(true), Some(6))
        );
        assert_eq!(effective(b"{}", &Value::Null).unwrap(), Resources::default());
    }
}

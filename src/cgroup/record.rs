//! What the state file keeps about a container's groups.

use super::scope::UnitRecord;
use crate::{bail, error::Result, systemd::Instance};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Enough to find the groups again, whatever the host's layout is by then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Who made them: `cgroupfs` or `systemd`, or empty where there are none.
    pub driver: String,
    /// Mount point of each hierarchy and the group's place in it.
    pub hierarchies: Vec<(PathBuf, String)>,
    /// The unit of systemd whose group it is.
    pub unit: Option<UnitRecord>,
    /// The group below it that processes enter, starts with `/`; none where they enter it itself.
    pub home: Option<String>,
}

impl Record {
    /// As a value for the state file.
    pub fn to_json(&self) -> Value {
        let pair = |(mount, path): &(PathBuf, String)| json!([mount.to_string_lossy(), path]);
        let unit = |it: &UnitRecord| json!([it.name, it.instance.to_string(), it.address]);
        json!({
            "driver": self.driver,
            "hierarchies": self.hierarchies.iter().map(pair).collect::<Vec<_>>(),
            "unit": self.unit.as_ref().map(unit),
            "home": self.home,
        })
    }

    /// Reads what [`Record::to_json`] gave.
    pub fn from_json(value: &Value) -> Result<Self> {
        let (Some(driver), Some(pairs)) = (value["driver"].as_str(), value["hierarchies"].as_array()) else {
            bail!("cgroup record {value} has no driver or no hierarchies");
        };
        let mut hierarchies = Vec::new();
        for pair in pairs {
            let (Some(mount), Some(path)) = (pair[0].as_str(), pair[1].as_str()) else {
                bail!("cgroup record {value}: {pair} is no pair of mount point and path");
            };
            hierarchies.push((PathBuf::from(mount), path.to_owned()));
        }
        Ok(Self {
            driver: driver.to_owned(),
            hierarchies,
            unit: unit(&value["unit"])?,
            home: value["home"].as_str().map(str::to_owned),
        })
    }
}

/// The unit; a record of a program that knew none has none.
fn unit(value: &Value) -> Result<Option<UnitRecord>> {
    if value.is_null() {
        return Ok(None);
    }
    let (Some(name), Some(address)) = (value[0].as_str(), value[2].as_str()) else {
        bail!("cgroup record: {value} is no unit");
    };
    let instance = match value[1].as_str() {
        Some("system") => Instance::System,
        Some("user") => Instance::User,
        _ => bail!("cgroup record: {value} has no manager"),
    };
    Ok(Some(UnitRecord { name: name.to_owned(), instance, address: address.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_the_state_file() {
        let record = Record {
            driver: "cgroupfs".into(),
            hierarchies: vec![("/sys/fs/cgroup/pids".into(), "/a/b".into()), ("/x y".into(), "/\"".into())],
            unit: Some(UnitRecord {
                name: "a-b.scope".into(),
                instance: Instance::User,
                address: "unix:path=/run/user/1/bus".into(),
            }),
            home: Some("/container".into()),
        };
        let text = record.to_json().to_string();
        assert_eq!(Record::from_json(&serde_json::from_str(&text).unwrap()).unwrap(), record);
        assert_eq!(Record::from_json(&Record::default().to_json()).unwrap(), Record::default());
    }

    #[test]
    fn a_broken_record_is_an_error() {
        for value in [
            json!(null),
            json!({"driver": "x"}),
            json!({"driver": "x", "hierarchies": [["/a"]]}),
            json!({"driver": "x", "hierarchies": [], "unit": ["a.scope", "other", "x"]}),
            json!({"driver": "x", "hierarchies": [], "unit": {}}),
        ] {
            Record::from_json(&value).unwrap_err();
        }
    }
}

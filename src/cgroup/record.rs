//! What the state file keeps about a container's groups.

use crate::{bail, error::Result};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Enough to find the groups again, whatever the host's layout is by then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Who made them: `cgroupfs`, or empty where there are none.
    pub driver: String,
    /// Mount point of each hierarchy and the group's place in it.
    pub hierarchies: Vec<(PathBuf, String)>,
}

impl Record {
    /// As a value for the state file.
    pub fn to_json(&self) -> Value {
        let pair = |(mount, path): &(PathBuf, String)| json!([mount.to_string_lossy(), path]);
        json!({ "driver": self.driver, "hierarchies": self.hierarchies.iter().map(pair).collect::<Vec<_>>() })
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
        Ok(Self { driver: driver.to_owned(), hierarchies })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_the_state_file() {
        let record = Record {
            driver: "cgroupfs".into(),
            hierarchies: vec![("/sys/fs/cgroup/pids".into(), "/a/b".into()), ("/x y".into(), "/\"".into())],
        };
        let text = record.to_json().to_string();
        assert_eq!(Record::from_json(&serde_json::from_str(&text).unwrap()).unwrap(), record);
        assert_eq!(Record::from_json(&Record::default().to_json()).unwrap(), Record::default());
    }

    #[test]
    fn a_broken_record_is_an_error() {
        for value in [json!(null), json!({"driver": "x"}), json!({"driver": "x", "hierarchies": [["/a"]]})] {
            Record::from_json(&value).unwrap_err();
        }
    }
}

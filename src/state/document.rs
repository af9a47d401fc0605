//! The state document of the OCI runtime-spec (runtime.md, State), as hooks and seccomp agents get it.

use super::{record::Record, status::Status};
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// The state of a container for a reader that knows only the specification: `ociVersion id status pid bundle
/// annotations`, in that order. `pid` is as the reader's pid namespace counts, 0 for none.
pub fn document(record: &Record, status: Status, pid: i32) -> Vec<u8> {
    // Text, numbers and a map of texts cannot fail to become JSON.
    serde_json::to_vec(&Document { record, status, pid }).unwrap_or_default()
}

struct Document<'a> {
    record: &'a Record,
    status: Status,
    pid: i32,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("State", 6)?;
        object.serialize_field("ociVersion", &self.record.oci_version)?;
        object.serialize_field("id", self.record.id.as_str())?;
        object.serialize_field("status", &self.status.to_string())?;
        object.serialize_field("pid", &self.pid)?;
        object.serialize_field("bundle", &self.record.bundle.to_string_lossy())?;
        object.serialize_field("annotations", &self.record.annotations)?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_hook_reads_what_the_specification_promises() {
        let mut record = Record::new("c1".parse().unwrap(), Path::new("/b"), Path::new("/b/rootfs"));
        record.oci_version = "1.3.0".to_owned();
        record.annotations.insert("k".to_owned(), "\"v\"".to_owned());
        assert_eq!(
            String::from_utf8(document(&record, Status::Creating, 7)).unwrap(),
            r#"{"ociVersion":"1.3.0","id":"c1","status":"creating","pid":7,"bundle":"/b","annotations":{"k":"\"v\""}}"#
        );
    }
}

//! What is stored about a container, as `state.json`.

use super::id::ContainerId;
use crate::{
    bail,
    error::{Context, Error, Result},
    host::ids::Range,
};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The form of `state.json` that this program writes. A program reads every form up to its own; within a form fields are
/// only ever added, and fields it does not know are kept as they are.
const SCHEMA: u64 = 1;

/// Everything that a later command needs to know about a container and cannot ask the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The container's name.
    pub id: ContainerId,
    /// `ociVersion` of config.json.
    pub oci_version: String,
    /// The bundle directory, absolute.
    pub bundle: PathBuf,
    /// The root file system on the host, absolute.
    pub rootfs: PathBuf,
    /// When `create` began: RFC 3339 with nanoseconds.
    pub created: String,
    /// The uid that called `create`, in the caller's user namespace.
    pub owner: u32,
    /// `annotations` of config.json.
    pub annotations: BTreeMap<String, String>,
    /// How far `create` came.
    pub stage: Stage,
    /// The container's first process, once there is one.
    pub init: Option<Init>,
    /// Whose pid namespace the container uses: without one of its own, the end of init does not end the others.
    pub pid_namespace: PidNamespace,
    /// The word for what it has as its /proc, once it stands; none where config.json asks for no procfs there.
    pub proc: Option<String>,
    /// The word for whether root inside can undo the mounts that the container starts with; none in the record of a program
    /// that did not tell.
    pub mounts: Option<String>,
    /// Whether the container is hardened, so that what is executed in it later is so too.
    pub hardened: bool,
    /// What manages the container's cgroup.
    pub driver: Driver,
    /// What the cgroup module needs to find the container's cgroup again; null when it has none.
    pub cgroup: Value,
    /// What `update` has changed since `create`, as one `linux.resources` document; null when nothing was.
    /// [`crate::spec::update::effective`] lays it over config.json.
    pub resources: Value,
    /// Intel RDT groups that end with the container, relative to the resctrl file system, in the order of their removal.
    pub rdt: Vec<PathBuf>,
    /// The ids of the host that only this container has ([`super::claims`]).
    pub id_range: Option<Range>,
    /// Fields of a newer program.
    pub unknown: Map<String, Value>,
}

/// How far `create` came; what happened since is asked from the kernel ([`super::status`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `create` is at work.
    Creating,
    /// `create` has done its part.
    Created,
}

/// A process that no recycled pid can be mistaken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Init {
    /// As the runtime's pid namespace counts.
    pub pid: i32,
    /// As the runtime's /proc counts, which may show an outer pid namespace.
    pub number: i32,
    /// Field 22 of `/proc/PID/stat`, clock ticks since boot.
    pub start_time: u64,
}

/// Whose pid namespace a container uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PidNamespace {
    /// Its own: the kernel ends every process of it together with init.
    Own,
    /// The host's or another container's.
    Shared,
}

/// What manages the cgroup of a container, chosen at `create` for its whole life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Driver {
    /// Directories made by urun.
    #[default]
    Cgroupfs,
    /// A transient unit of systemd.
    Systemd,
    /// No cgroup is touched.
    Disabled,
}

/// The words that an enum is stored as.
trait Word: Copy + PartialEq + 'static {
    const WORDS: &'static [(Self, &'static str)];

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(value, _)| *value == self).map_or("", |(_, word)| word)
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(value, _)| *value)
    }
}

impl Word for Stage {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Creating, "creating"), (Self::Created, "created")];
}

impl Word for PidNamespace {
    const WORDS: &'static [(Self, &'static str)] = &[(Self::Own, "own"), (Self::Shared, "shared")];
}

impl Word for Driver {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Cgroupfs, "cgroupfs"), (Self::Systemd, "systemd"), (Self::Disabled, "disabled")];
}

impl Record {
    /// The record of a container that is about to be created by the caller, now.
    pub fn new(id: ContainerId, bundle: &Path, rootfs: &Path) -> Self {
        Self {
            id,
            oci_version: String::new(),
            bundle: bundle.to_owned(),
            rootfs: rootfs.to_owned(),
            created: crate::clock::now(crate::clock::Precision::Nanoseconds),
            owner: nix::unistd::getuid().as_raw(),
            annotations: BTreeMap::new(),
            stage: Stage::Creating,
            init: None,
            pid_namespace: PidNamespace::Own,
            proc: None,
            mounts: None,
            hardened: false,
            driver: Driver::default(),
            cgroup: Value::Null,
            resources: Value::Null,
            rdt: Vec::new(),
            id_range: None,
            unknown: Map::new(),
        }
    }

    /// The bytes of `state.json`. A path that is not UTF-8 is an error: the state document could not name it either.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let init = self.init.map(|init| {
            let mut value = json!({ "pid": init.pid, "startTime": init.start_time });
            if init.number != init.pid {
                value["procPid"] = init.number.into();
            }
            value
        });
        let mut fields = self.unknown.clone();
        for (name, value) in [
            ("schema", SCHEMA.into()),
            ("id", self.id.as_str().into()),
            ("ociVersion", self.oci_version.as_str().into()),
            ("bundle", text(&self.bundle)?.into()),
            ("rootfs", text(&self.rootfs)?.into()),
            ("created", self.created.as_str().into()),
            ("owner", self.owner.into()),
            ("annotations", json!(self.annotations)),
            ("stage", self.stage.word().into()),
            ("init", init.unwrap_or_default()),
            ("pidNamespace", self.pid_namespace.word().into()),
            ("proc", self.proc.as_deref().into()),
            ("mounts", self.mounts.as_deref().into()),
            ("hardened", self.hardened.into()),
            ("driver", self.driver.word().into()),
            ("cgroup", self.cgroup.clone()),
            ("resources", self.resources.clone()),
            ("rdt", self.rdt.iter().map(|path| text(path)).collect::<Result<Vec<_>>>()?.into()),
            ("idRange", self.id_range.map(|range| range.to_string()).into()),
        ] {
            fields.insert(name.to_owned(), value);
        }
        Ok(Value::Object(fields).to_string().into_bytes())
    }

    /// Reads what [`Record::encode`] of this or a newer program wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(bytes).map_err(Error::new).context("parse state.json")?;
        let Value::Object(map) = value else { bail!("parse state.json: not an object") };
        let mut fields = Fields(map);
        let schema = fields.number::<u64>("schema")?;
        if schema > SCHEMA {
            return Err(Error::new(format_args!("state.json has form {schema}, this urun knows {SCHEMA}"))
                .hint("the container was created by a newer urun: use that one"));
        }
        let record = Self {
            id: fields.text("id")?.parse()?,
            oci_version: fields.text("ociVersion")?,
            bundle: fields.text("bundle")?.into(),
            rootfs: fields.text("rootfs")?.into(),
            created: fields.text("created")?,
            owner: fields.number("owner")?,
            annotations: fields.annotations()?,
            stage: fields.word("stage")?,
            init: fields.init()?,
            pid_namespace: fields.word("pidNamespace")?,
            proc: fields.told("proc")?,
            mounts: fields.told("mounts")?,
            hardened: fields.flag("hardened")?,
            driver: fields.word("driver")?,
            cgroup: fields.take("cgroup"),
            resources: fields.take("resources"),
            rdt: fields.paths("rdt")?,
            id_range: fields.id_range()?,
            unknown: fields.0,
        };
        Ok(record)
    }
}

/// A path as JSON text.
fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::new(format_args!("the path {} is not UTF-8", path.display())))
}

/// The fields of state.json that have not been read yet.
struct Fields(Map<String, Value>);

impl Fields {
    fn take(&mut self, name: &str) -> Value {
        self.0.remove(name).unwrap_or_default()
    }

    fn text(&mut self, name: &str) -> Result<String> {
        match self.take(name) {
            Value::String(text) => Ok(text),
            other => Err(wrong(name, &other)),
        }
    }

    fn paths(&mut self, name: &str) -> Result<Vec<PathBuf>> {
        let value = self.take(name);
        let texts =
            value.as_array().map(|list| list.iter().map(|text| text.as_str().map(PathBuf::from)).collect());
        texts.flatten().ok_or_else(|| wrong(name, &value))
    }

    fn number<N: TryFrom<i64>>(&mut self, name: &str) -> Result<N> {
        let value = self.take(name);
        value.as_i64().and_then(|n| N::try_from(n).ok()).ok_or_else(|| wrong(name, &value))
    }

    fn pid(&mut self, name: &str) -> Result<i32> {
        match self.number(name)? {
            pid @ 1.. => Ok(pid),
            other => Err(wrong(name, &other.into())),
        }
    }

    fn word<W: Word>(&mut self, name: &str) -> Result<W> {
        let word = self.text(name)?;
        W::from_word(&word).ok_or_else(|| wrong(name, &word.into()))
    }

    fn told(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            Value::Null => Ok(None),
            Value::String(word) => Ok(Some(word)),
            other => Err(wrong(name, &other)),
        }
    }

    /// One that an older program did not write is false.
    fn flag(&mut self, name: &str) -> Result<bool> {
        match self.take(name) {
            Value::Null => Ok(false),
            Value::Bool(value) => Ok(value),
            other => Err(wrong(name, &other)),
        }
    }

    fn annotations(&mut self) -> Result<BTreeMap<String, String>> {
        let Value::Object(map) = self.take("annotations") else {
            return Err(wrong("annotations", &Value::Null));
        };
        let pairs = map.into_iter().map(|(name, value)| match value {
            Value::String(text) => Ok((name, text)),
            other => Err(wrong(&name, &other)),
        });
        pairs.collect()
    }

    fn id_range(&mut self) -> Result<Option<Range>> {
        match self.take("idRange") {
            Value::Null => Ok(None),
            value => match value.as_str().and_then(Range::from_text) {
                None => Err(wrong("idRange", &value)),
                range => Ok(range),
            },
        }
    }

    fn init(&mut self) -> Result<Option<Init>> {
        match self.take("init") {
            Value::Null => Ok(None),
            Value::Object(map) => {
                let mut fields = Self(map);
                let pid = fields.pid("pid")?;
                let number = if fields.0.contains_key("procPid") { fields.pid("procPid")? } else { pid };
                Ok(Some(Init { pid, number, start_time: fields.number("startTime")? }))
            }
            other => Err(wrong("init", &other)),
        }
    }
}

fn wrong(name: &str, value: &Value) -> Error {
    Error::new(format_args!("parse state.json: {name} is {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut record = Record::new("c1".parse().unwrap(), Path::new("/b"), Path::new("/b/rootfs"));
        record.oci_version = "1.3.0".to_owned();
        record.annotations.insert("a".to_owned(), "b".to_owned());
        record.init = Some(Init { pid: 42, number: 42, start_time: 99 });
        record.cgroup = json!({"path": "/x"});
        record
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut record = record();
        assert_eq!(Record::decode(&record.encode().unwrap()).unwrap(), record);
        record.init = Some(Init { pid: 4, number: 42, start_time: 99 });
        assert_eq!(Record::decode(&record.encode().unwrap()).unwrap(), record);
        record.init = None;
        record.stage = Stage::Created;
        record.driver = Driver::Disabled;
        record.proc = Some("outer".to_owned());
        record.mounts = Some("locked".to_owned());
        record.pid_namespace = PidNamespace::Shared;
        record.hardened = true;
        assert_eq!(Record::decode(&record.encode().unwrap()).unwrap(), record);
    }

    #[test]
    fn fields_of_a_newer_program_survive_a_rewrite() {
        let mut value: Value = serde_json::from_slice(&record().encode().unwrap()).unwrap();
        value["fromTheFuture"] = json!([1, 2]);
        let read = Record::decode(value.to_string().as_bytes()).unwrap();
        let again: Value = serde_json::from_slice(&read.encode().unwrap()).unwrap();
        assert_eq!(again, value);
    }

    #[test]
    fn a_newer_form_is_refused_with_a_remedy() {
        let mut value: Value = serde_json::from_slice(&record().encode().unwrap()).unwrap();
        value["schema"] = json!(2);
        let error = Record::decode(value.to_string().as_bytes()).unwrap_err();
        assert!(error.remedy().unwrap().contains("newer urun"), "{error}");
    }

    #[test]
    fn every_missing_or_wrong_field_is_named() {
        let whole: Value = serde_json::from_slice(&record().encode().unwrap()).unwrap();
        for name in whole
            .as_object()
            .unwrap()
            .keys()
            .filter(|name| !["init", "cgroup", "resources"].contains(&name.as_str()))
        {
            let mut broken = whole.clone();
            broken[name] = json!({"no": -1});
            if name == "annotations" {
                broken[name] = json!("text");
            }
            let error = Record::decode(broken.to_string().as_bytes()).unwrap_err().to_string();
            assert!(error.contains(name.as_str()), "{name}: {error}");
        }
        for pid in [json!(0), json!(-1), json!("1"), json!(1u64 << 40)] {
            let mut broken = whole.clone();
            broken["init"]["pid"] = pid;
            assert!(Record::decode(broken.to_string().as_bytes()).is_err());
        }
        assert!(Record::decode(b"{\"schema\":1").is_err());
    }
}

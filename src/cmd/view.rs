//! How `state` and `list` show a container.

use super::group;
use crate::{
    cgroup::Roots,
    error::{Error, Kind, Result},
    host::passwd,
    state::{Entry, FIRST_LOCK, Record, Status},
    sys::proc::Proc,
};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::time::{Duration, Instant};

/// What a container is and does.
#[derive(Debug)]
pub struct View {
    /// What is stored.
    pub record: Record,
    /// What the kernel says.
    pub status: Status,
    /// The name of the uid that created it.
    pub owner: String,
}

/// Who looks at containers, with what is the same for the next one.
#[derive(Debug, Default)]
pub struct Onlooker {
    proc: Option<Proc>,
    roots: Roots,
    owner: Option<(u32, String)>,
}

impl Onlooker {
    /// Looks at a container.
    pub fn look(&mut self, entry: &Entry) -> Result<View> {
        let record = entry.record()?.ok_or_else(|| unfinished(entry))?;
        let proc = match &self.proc {
            Some(proc) => proc,
            None => self.proc.insert(Proc::open()?),
        };
        let status = Status::of(entry, &record, proc, || group::is_frozen(&record, &mut self.roots))?;
        let owner = self.name_of(record.owner);
        Ok(View { record, status, owner })
    }

    fn name_of(&mut self, uid: u32) -> String {
        match &self.owner {
            Some((known, name)) if *known == uid => name.clone(),
            _ => {
                // A container is there whether its owner's name can be read or not.
                let name = passwd::name_of(uid).unwrap_or_else(|_| uid.to_string());
                self.owner.insert((uid, name)).1.clone()
            }
        }
    }
}

impl View {
    /// The pid of the container's first process; 0 when it has ended. Engines decode into an object that they have
    /// already, so that an absent pid would leave the old one in it.
    pub fn pid(&self) -> i32 {
        match self.status {
            Status::Stopped => 0,
            _ => self.record.init.map_or(0, |init| init.pid),
        }
    }
}

/// Between two looks at an unfinished container.
const PAUSE: Duration = Duration::from_millis(10);

/// The error about a container without a record.
pub fn unfinished(entry: &Entry) -> Error {
    let id = entry.id();
    // Not yet, or no more: whoever holds the lock is at the first or the last step. Between making a directory and locking it
    // there is a while without either, in which readers keep its maker from the lock as well.
    let deadline = Instant::now() + FIRST_LOCK;
    while Instant::now() < deadline {
        if matches!(entry.is_busy(), Ok(true)) || matches!(entry.is_linked(), Ok(false)) {
            return Error::new(format_args!("container \"{id}\" does not exist")).kind(Kind::NoContainer);
        }
        std::thread::sleep(PAUSE);
    }
    Error::new(format_args!("container \"{id}\" has no stored state: its creation or deletion was cut short"))
        .hint(format_args!("urun delete --force {id} clears what is left of it"))
}

impl Serialize for View {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let record = &self.record;
        let mut object = serializer.serialize_struct("State", 11)?;
        object.serialize_field("ociVersion", &record.oci_version)?;
        object.serialize_field("id", record.id.as_str())?;
        object.serialize_field("pid", &self.pid())?;
        object.serialize_field("status", &self.status.to_string())?;
        object.serialize_field("bundle", &record.bundle.to_string_lossy())?;
        object.serialize_field("rootfs", &record.rootfs.to_string_lossy())?;
        object.serialize_field("created", &record.created)?;
        object.serialize_field("owner", &self.owner)?;
        object.serialize_field("annotations", &record.annotations)?;
        // Not an annotation, which would look like one of config.json: "The state MAY include additional properties"
        // (runtime.md, State), as crun's `systemd-scope` is one.
        for (name, word) in [("proc", &record.proc), ("mounts", &record.mounts)] {
            match word {
                Some(word) => object.serialize_field(name, word)?,
                None => object.skip_field(name)?,
            }
        }
        object.end()
    }
}

//! `urun ids`

use super::{table::align, view::unfinished};
use crate::{
    error::{Context, Error, Result},
    host::mountinfo::Mount,
    ns::{
        self,
        owners::{self, EVERY_ID},
        plan::Maps,
    },
    spec::{self, Config, IdMap, NamespaceKind, mount::MountIds},
    state::{ContainerId, Store, not_running},
    sys::{
        proc::Proc,
        statmount::{self, MountMaps},
    },
};
use serde_json::{Value, json};
use std::{os::fd::AsFd, path::Path};

/// Which owners of files on the host are which ones in a container, for the container as a whole and for each of its mounts, as
/// a table or as JSON. What the kernel enforces is told; config.json is asked only for what the kernel does not tell.
pub fn ids(store: &Store, id: &ContainerId, as_json: bool) -> Result<String> {
    let step = || format!("show the ids of container {id}");
    let entry = store.find(id)?;
    let record = entry.record()?.ok_or_else(|| unfinished(&entry))?;
    let init = record.init.ok_or_else(not_running).with_context(step)?;
    init.open().with_context(step)?;
    let config = spec::load(&entry.config()?).context("read the container's copy of config.json")?;
    let asked = Asked { config: &config, has_range: record.id_range.is_some() };
    let proc = Proc::open()?;
    let read = read(&proc, init.number, &asked);
    if !init.is_alive(&proc)? {
        return Err(not_running()).with_context(step);
    }
    let report = read.with_context(step).map_err(|error| match error.errno() {
        Some(libc::EACCES) => error.hint("a rootless container can be looked into once it is started"),
        _ => error,
    })?;
    match as_json {
        true => report.json(id, init.pid),
        false => Ok(report.text(id, init.pid)),
    }
}

/// What was asked for, where the kernel does not tell what became of it.
#[derive(Debug)]
struct Asked<'a> {
    config: &'a Config,
    /// The container has ids that were chosen for it, and its root file system follows them by an id-mapped mount.
    has_range: bool,
}

/// What is told.
#[derive(Debug)]
struct Report {
    /// The map of the container's user namespace; none where it is the caller's own.
    container: Option<Maps>,
    /// `overflowuid` and `overflowgid`, proc_sys_kernel(5).
    nobody: [u32; 2],
    rows: Vec<Row>,
}

/// A mount.
#[derive(Debug)]
struct Row {
    destination: String,
    fstype: String,
    map: Map,
    /// None where the mount is mapped in a way that nobody tells.
    owners: Option<Maps>,
}

/// What maps ids besides the container's user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Map {
    Nothing,
    Mount,
    Layers,
}

fn read(proc: &Proc, pid: i32, asked: &Asked<'_>) -> Result<Report> {
    let own = match ns::apply::apart(proc, pid) {
        // A created container of an ordinary user is closed until it starts.
        Err(error) if error.errno() == Some(libc::EACCES) => {
            asked.has_range || asked.config.linux.namespace(NamespaceKind::User).is_some()
        }
        apart => apart?.contains(&NamespaceKind::User),
    };
    let container = if own { Some(ns::apply::maps_of(proc, pid)?) } else { None };
    let mounts = Mount::table(&proc.read_text(&format!("{pid}/mountinfo"))?);
    let told = match mounts.iter().any(Mount::is_idmapped) {
        // An older kernel does not tell; config.json is asked then.
        true => statmount::maps(proc.namespace(&pid.to_string(), "mnt")?.as_fd()).unwrap_or_default(),
        false => Vec::new(),
    };
    let nobody = |name| -> Result<u32> {
        let text = proc.read_text(&format!("sys/kernel/{name}"))?;
        text.trim().parse().map_err(Error::new).with_context(|| format!("read /proc/sys/kernel/{name}"))
    };
    let nobody = [nobody("overflowuid")?, nobody("overflowgid")?];
    let all = Maps { uids: vec![EVERY_ID], gids: vec![EVERY_ID] };
    let rows = rows(&mounts, &told, container.as_ref().unwrap_or(&all), asked)?;
    Ok(Report { container, nobody, rows })
}

fn rows(mounts: &[Mount], told: &[MountMaps], container: &Maps, asked: &Asked<'_>) -> Result<Vec<Row>> {
    let row = |mount: &Mount| {
        let map = match mount.is_idmapped() {
            true => Map::Mount,
            false if has_numbered_layers(mount) => Map::Layers,
            false => Map::Nothing,
        };
        let maps = match told.iter().find(|maps| maps.id == mount.id) {
            Some(maps) => {
                Some(Maps { uids: ns::apply::parse(&maps.uids)?, gids: ns::apply::parse(&maps.gids)? })
            }
            None if map == Map::Nothing => None,
            None => configured(mount, container, asked),
        };
        let owners = match (map, maps) {
            (Map::Nothing, _) => Some(owners::inside(None, container)),
            (_, maps) => maps.map(|maps| owners::inside(Some(&maps), container)),
        };
        let destination = printable(&mount.point.to_string_lossy());
        Ok(Row { destination, fstype: printable(&mount.fstype), map, owners })
    };
    mounts.iter().map(row).collect()
}

/// Whether an overlay is one that was made over id-mapped layers: they are called by the numbers of descriptors.
fn has_numbered_layers(mount: &Mount) -> bool {
    let is_number = |layer: &str| layer.bytes().all(|byte| byte.is_ascii_digit());
    mount.fstype == "overlay"
        && mount.parameters.split(',').any(|parameter| match parameter.split_once('=') {
            Some(("lowerdir", layers)) => layers.split(':').all(is_number),
            Some(("lowerdir+", layer)) => is_number(layer),
            _ => false,
        })
}

/// The map that was asked for where this mount is.
fn configured(mount: &Mount, container: &Maps, asked: &Asked<'_>) -> Option<Maps> {
    if asked.has_range && mount.point == Path::new("/") {
        return Some(container.clone());
    }
    let asked = asked.config.mounts.iter().rev().find_map(|entry| {
        let idmap = entry.idmap.as_ref()?;
        let below = idmap.recursive && mount.point.starts_with(&entry.destination);
        (below || mount.point == entry.destination).then_some(idmap)
    })?;
    Some(match &asked.ids {
        MountIds::Container => container.clone(),
        MountIds::Own { uids, gids } => Maps { uids: uids.clone(), gids: gids.clone() },
    })
}

/// A name that the container may have chosen, without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c.is_control() {
            true => c.escape_default().collect::<Vec<_>>(),
            false => vec![c],
        })
        .collect()
}

impl Report {
    fn text(&self, id: &ContainerId, pid: i32) -> String {
        let mut out = format!("container {id}, process {pid}\n\n");
        match &self.container {
            None => {
                out.push_str("no user namespace of its own: every id is the same on the host and inside\n");
            }
            Some(container) => {
                let mut lines = vec![["", "ON THE HOST", "INSIDE"].map(str::to_owned)];
                for (kind, map) in [("uid", &container.uids), ("gid", &container.gids)] {
                    lines.extend(map.iter().map(|line| {
                        [kind.to_owned(), range(line.host, line.size), range(line.container, line.size)]
                    }));
                }
                out.push_str(&align(&lines));
            }
        }
        out.push('\n');
        let head = ["DESTINATION", "FILE SYSTEM", "ID-MAPPED", "OWNER ON THE HOST", "OWNER INSIDE"];
        let mut lines = vec![head.map(str::to_owned)];
        self.rows.iter().for_each(|row| lines.extend(row.lines()));
        out.push_str(&align(&lines));
        if self.rows.iter().any(|row| row.owners.is_none()) {
            out.push_str("\n?: id-mapped, and the kernel does not tell how (Linux 6.15 does)\n");
        }
        if self.container.is_some() || self.rows.iter().any(|row| row.map != Map::Nothing) {
            let [uid, gid] = self.nobody;
            let _ = std::fmt::Write::write_fmt(
                &mut out,
                format_args!("\nInside, all other owners look like nobody (uid {uid}, gid {gid}).\n"),
            );
        }
        out
    }

    fn json(&self, id: &ContainerId, pid: i32) -> Result<String> {
        let all = Maps { uids: vec![EVERY_ID], gids: vec![EVERY_ID] };
        let container = self.container.as_ref().unwrap_or(&all);
        let mount = |row: &Row| {
            json!({
                "destination": row.destination,
                "type": row.fstype,
                "idMapped": row.map.word(),
                "uidMappings": row.owners.as_ref().map(|owners| mappings(&owners.uids)),
                "gidMappings": row.owners.as_ref().map(|owners| mappings(&owners.gids)),
            })
        };
        let document = json!({
            "id": id.as_str(),
            "pid": pid,
            "userNamespace": self.container.is_some(),
            "uidMappings": mappings(&container.uids),
            "gidMappings": mappings(&container.gids),
            "nobody": {"uid": self.nobody[0], "gid": self.nobody[1]},
            "mounts": self.rows.iter().map(mount).collect::<Vec<_>>(),
        });
        Ok(serde_json::to_string_pretty(&document).map_err(Error::new)? + "\n")
    }
}

impl Map {
    fn word(self) -> &'static str {
        match self {
            Self::Nothing => "no",
            Self::Mount => "mount",
            Self::Layers => "layers",
        }
    }
}

impl Row {
    /// The lines of the table: one for each range of ids, and uids apart from gids where they differ.
    fn lines(&self) -> Vec<[String; 5]> {
        let mut pairs: Vec<[String; 2]> = Vec::new();
        match &self.owners {
            None => pairs.push(["?", "?"].map(str::to_owned)),
            Some(Maps { uids, gids }) if uids == gids => {
                pairs.extend(uids.iter().map(|line| owner("", line)));
            }
            Some(Maps { uids, gids }) => {
                pairs.extend(uids.iter().map(|line| owner("uid ", line)));
                pairs.extend(gids.iter().map(|line| owner("gid ", line)));
            }
        }
        if pairs.is_empty() {
            pairs.push(["all", "nobody"].map(str::to_owned));
        }
        let mut first = Some([self.destination.clone(), self.fstype.clone(), self.map.word().to_owned()]);
        let line = |[outside, inside]: [String; 2]| {
            let [destination, fstype, map] = first.take().unwrap_or_default();
            [destination, fstype, map, outside, inside]
        };
        pairs.into_iter().map(line).collect()
    }
}

fn owner(kind: &str, line: &IdMap) -> [String; 2] {
    match *line == EVERY_ID {
        true => ["all", "the same"].map(str::to_owned),
        false => [line.host, line.container].map(|first| format!("{kind}{}", range(first, line.size))),
    }
}

fn range(first: u32, size: u32) -> String {
    match size {
        1 => first.to_string(),
        _ => format!("{first}-{}", first.saturating_add(size.saturating_sub(1))),
    }
}

/// In the words of config.json.
fn mappings(lines: &[IdMap]) -> Value {
    let line = |line: &IdMap| json!({"containerID": line.container, "hostID": line.host, "size": line.size});
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
20 1 8:1 / / rw - ext4 /dev/sda rw
21 20 0:5 / /proc rw - proc proc rw
22 20 8:1 /v /data rw,idmapped - ext4 /dev/sda rw
23 22 8:1 /w /data/below rw,idmapped - ext4 /dev/sda rw
24 20 8:1 /x /found rw,idmapped - ext4 /dev/sda rw
25 20 0:6 / /img rw - overlay overlay rw,lowerdir=12:13
26 20 0:7 / /merged rw - overlay overlay rw,lowerdir=/a:/b,upperdir=/c,workdir=/d
27 20 0:8 / /kernel rw,idmapped - xfs /dev/sdb rw
28 20 0:9 / /esc\u{1b}[2J rw - fuse.\u{7} x rw
";

    fn report(container: Option<Maps>) -> Report {
        let config = br#"{"ociVersion": "1.3.0", "root": {"path": "r"}, "process": {"cwd": "/", "args": ["x"],
            "user": {"uid": 0, "gid": 0}}, "linux": {"namespaces": [{"type": "mount"}, {"type": "user"}],
            "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 1000}],
            "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 1000}]},
            "mounts": [
              {"destination": "/data", "source": "/v", "options": ["rbind", "ridmap"]},
              {"destination": "/img", "type": "overlay", "options": ["lowerdir=/1:/2"],
               "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 5}, {"containerID": 9, "hostID": 100009, "size": 1}],
               "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 5}]}]}"#;
        let config = spec::load(config).unwrap();
        let asked = Asked { config: &config, has_range: false };
        let told = [MountMaps { id: 27, uids: "0 100000 10".into(), gids: "0 300000 10".into() }];
        let all = Maps { uids: vec![EVERY_ID], gids: vec![EVERY_ID] };
        let rows = rows(&Mount::table(TABLE), &told, container.as_ref().unwrap_or(&all), &asked).unwrap();
        Report { container, nobody: [65_534, 65_533], rows }
    }

    #[test]
    fn the_table_tells_what_the_kernel_tells_and_else_what_was_asked_for() {
        let map = vec![IdMap { container: 0, host: 100_000, size: 1000 }];
        let report = report(Some(Maps { uids: map.clone(), gids: map }));
        let expected = "\
container web, process 77

     ON THE HOST    INSIDE
uid  100000-100999  0-999
gid  100000-100999  0-999

DESTINATION    FILE SYSTEM  ID-MAPPED  OWNER ON THE HOST  OWNER INSIDE
/              ext4         no         100000-100999      0-999
/proc          proc         no         100000-100999      0-999
/data          ext4         mount      0-999              0-999
/data/below    ext4         mount      0-999              0-999
/found         ext4         mount      ?                  ?
/img           overlay      layers     uid 0-4            uid 0-4
                                       uid 9              uid 9
                                       gid 0-4            gid 0-4
/merged        overlay      no         100000-100999      0-999
/kernel        xfs          mount      uid 0-9            uid 0-9
/esc\\u{1b}[2J  fuse.\\u{7}   no         100000-100999      0-999

?: id-mapped, and the kernel does not tell how (Linux 6.15 does)

Inside, all other owners look like nobody (uid 65534, gid 65533).
";
        assert_eq!(report.text(&"web".parse().unwrap(), 77), expected);
        let document: Value =
            serde_json::from_str(&report.json(&"web".parse().unwrap(), 77).unwrap()).unwrap();
        assert_eq!(document["mounts"][4]["uidMappings"], Value::Null);
        assert_eq!(document["mounts"][7]["gidMappings"], json!([]));
        assert_eq!(document["nobody"], json!({"uid": 65_534, "gid": 65_533}));
    }

    #[test]
    fn without_a_user_namespace_ids_are_the_same() {
        let text = report(None).text(&"web".parse().unwrap(), 77);
        assert!(text.contains("\nno user namespace of its own: "), "{text}");
        assert!(
            text.contains("\n/              ext4         no         all                the same\n"),
            "{text}"
        );
    }
}

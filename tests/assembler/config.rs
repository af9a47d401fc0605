//! Configurations that lead a runtime through a hostile tree.

use crate::{random::Random, tree};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Options for whatever is mounted. `shared` is there to show mounts to the host, so it is not among them.
const OPTIONS: [&str; 20] = [
    "ro",
    "rw",
    "rro",
    "nosuid",
    "nodev",
    "dev",
    "noexec",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "unbindable",
    "src-nofollow",
    "dest-nofollow",
    "copy-symlink",
    "remount",
    "nosymfollow",
    "rnoexec",
    "noatime",
    "rnosuid",
];
/// Options of a tmpfs.
const TMPFS: [&str; 5] = ["tmpcopyup", "tmpcopyup", "mode=700", "mode=1777", "size=64k"];

/// Adds to a plain configuration. `volume` is a directory that may be bound.
pub fn randomise(config: &mut Value, volume: &Path, random: &mut Random) {
    let mut mounts = config["mounts"].as_array().unwrap().clone();
    // An engine's mounts cover much of the tree.
    match random.below(4) {
        0 => mounts.clear(),
        1 | 2 => mounts.retain(|mount| mount["destination"] != "/dev"),
        _ => {}
    }
    for _ in 0..random.below(6) {
        let at = if random.once_in(6) { random.below(mounts.len() + 1) } else { mounts.len() };
        mounts.insert(at, mount(volume, random));
    }
    let new_userns = config["linux"]["namespaces"].as_array().unwrap().contains(&json!({ "type": "user" }));
    let linux = &mut config["linux"];
    for list in ["maskedPaths", "readonlyPaths"] {
        let paths = linux[list].as_array_mut().unwrap();
        paths.extend((0..random.below(4)).map(|_| json!(destination(random))));
    }
    if random.once_in(3) {
        linux["devices"] = (0..=random.below(3)).map(|_| device(random)).collect();
    }
    if random.once_in(4) {
        linux["rootfsPropagation"] =
            json!(random.pick(&["private", "slave", "shared", "unbindable", "rslave"]));
    }
    if linux["rootfsPropagation"] == "shared" && !new_userns {
        // A bind without such a word is there to show mounts to the host, too.
        let binds = mounts.iter_mut().filter(|mount| mount["type"] == "bind");
        binds.for_each(|mount| mount["options"].as_array_mut().unwrap().insert(0, json!("rprivate")));
    }
    config["mounts"] = json!(mounts);
    if random.once_in(3) {
        config["process"]["cwd"] = json!(destination(random));
    }
    config["root"]["readonly"] = json!(random.once_in(3));
}

/// The paths that the runtime will look up in the root file system.
pub fn paths(config: &Value) -> Vec<PathBuf> {
    let lists = [
        ("/mounts", "destination"),
        ("/linux/devices", "path"),
        ("/linux/maskedPaths", ""),
        ("/linux/readonlyPaths", ""),
    ];
    let entries = lists.iter().flat_map(|(list, key)| {
        config
            .pointer(list)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(move |entry| entry.get(key).unwrap_or(entry))
    });
    let usual = [
        "/dev/null",
        "/dev/tty",
        "/dev/console",
        "/dev/ptmx",
        "/dev/fd",
        "/dev",
        "/etc/passwd",
        "/etc/group",
    ];
    let usual = usual.iter().copied().chain(config["process"]["cwd"].as_str());
    // What is covered again is no place for a trap.
    let covered = |path: &PathBuf| path.starts_with("proc") || path.starts_with("sys");
    entries
        .filter_map(Value::as_str)
        .chain(usual)
        .map(clean)
        .filter(|path| !covered(path) && path.file_name().is_some())
        .collect()
}

/// Relative to the root, without `.` and `..`, as text alone tells.
fn clean(path: &str) -> PathBuf {
    let mut clean = PathBuf::new();
    for name in path.split('/').filter(|name| !matches!(*name, "" | ".")) {
        match name {
            ".." => {
                clean.pop();
            }
            name => clean.push(name),
        }
    }
    clean
}

fn destination(random: &mut Random) -> String {
    let path = tree::path(random).display().to_string();
    match random.below(8) {
        0 => format!("//{path}/"),
        1 => format!("/a/../{path}"),
        2 => format!("/../../{path}/./b"),
        _ => format!("/{path}"),
    }
}

fn mount(volume: &Path, random: &mut Random) -> Value {
    let mut options: Vec<&str> = (0..random.below(4)).map(|_| random.pick(&OPTIONS)).collect();
    let (kind, source) = match random.below(9) {
        0..=3 => {
            options.extend((0..random.below(3)).map(|_| random.pick(&TMPFS)));
            ("tmpfs", "tmpfs".to_owned())
        }
        4..=6 => {
            options.push(random.pick(&["bind", "rbind"]));
            (
                "bind",
                volume.join(random.pick(&["", "file", "link", "directory", "trap"])).display().to_string(),
            )
        }
        7 => ("mqueue", "mqueue".to_owned()),
        _ => (random.pick(&["proc", "sysfs", "devpts", "cgroup"]), "none".to_owned()),
    };
    json!({ "destination": destination(random), "type": kind, "source": source, "options": options })
}

fn device(random: &mut Random) -> Value {
    let kind = random.pick(&["c", "b", "p"]);
    let (major, minor) = if kind == "b" { (7, 0) } else { (1, 5) };
    let path = if random.once_in(3) {
        destination(random)
    } else {
        format!("/dev/{}", random.pick(&["a", "pts", "null", "fd"]))
    };
    let mut device = json!({ "path": path, "type": kind, "fileMode": 0o660, "uid": 5, "gid": 5 });
    if kind != "p" {
        (device["major"], device["minor"]) = (json!(major), json!(minor));
    }
    device
}

//! What is varied: the shapes of containers and of the host, and the config.json of each.

use serde_json::{Value, json};
use std::{fmt, fs, path::Path};
use urun::{
    error::{Error, Result},
    spec::{
        IdMap,
        example::{ExampleOptions, Users, document},
    },
};

/// What Docker sent for a plain container: its default profile, resolved.
const DOCKER: &str = include_str!("../../tests/golden/configs/docker-volumes-01.json");
/// What CRI-O sent for a container of a pod with a user namespace.
const CRIO: &str = include_str!("../../tests/golden/configs/crio-b-userns-01.json");
/// The first id of containers.
pub const FIRST_ID: u32 = 100_000;
/// How many ids a container has.
const IDS: u32 = 65_536;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    New,
    /// One that was there before.
    Joined,
    Host,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    None,
    /// Of every controller that the hierarchy has.
    Some,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Config {
    /// What `urun spec` writes.
    Example,
    /// CRI-O's, with its own copy of the default profile.
    Crio,
    /// The example with so many binds more.
    Mounts(usize),
    /// The example with so many variables of 64 bytes more.
    Environment(usize),
}

/// A point of the space that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub userns: bool,
    pub network: Network,
    /// Docker's default profile.
    pub seccomp: bool,
    pub limits: Limits,
    /// 2,000 mounts on the host instead of those that it has.
    pub many_mounts: bool,
    pub at_a_time: usize,
    pub config: Config,
}

/// What the others vary one thing of.
pub const BASE: Shape = Shape {
    userns: true,
    network: Network::New,
    seccomp: true,
    limits: Limits::None,
    many_mounts: false,
    at_a_time: 1,
    config: Config::Example,
};

/// Sets one thing.
type Choice = fn(Shape) -> Shape;

impl Shape {
    /// The base and every shape that differs from it in one thing.
    pub fn one_away() -> Vec<Self> {
        vec![
            BASE,
            Self { userns: false, ..BASE },
            Self { network: Network::Joined, ..BASE },
            Self { network: Network::Host, ..BASE },
            Self { seccomp: false, ..BASE },
            Self { limits: Limits::Some, ..BASE },
            Self { config: Config::Crio, ..BASE },
            Self { config: Config::Mounts(500), ..BASE },
            Self { at_a_time: 16, ..BASE },
            Self { many_mounts: true, ..BASE },
        ]
    }

    /// Every combination; several at a time, which take longest, come last.
    pub fn all() -> Vec<Self> {
        let choices: [&[Choice]; 7] = [
            &[|s| Self { at_a_time: 1, ..s }, |s| Self { at_a_time: 16, ..s }],
            &[|s| Self { many_mounts: false, ..s }, |s| Self { many_mounts: true, ..s }],
            &[
                |s| Self { config: Config::Example, ..s },
                |s| Self { config: Config::Crio, ..s },
                |s| Self { config: Config::Mounts(500), ..s },
            ],
            &[|s| Self { limits: Limits::None, ..s }, |s| Self { limits: Limits::Some, ..s }],
            &[|s| Self { seccomp: false, ..s }, |s| Self { seccomp: true, ..s }],
            &[
                |s| Self { network: Network::New, ..s },
                |s| Self { network: Network::Joined, ..s },
                |s| Self { network: Network::Host, ..s },
            ],
            &[|s| Self { userns: false, ..s }, |s| Self { userns: true, ..s }],
        ];
        choices.iter().fold(vec![BASE], |all, choices| {
            all.iter().flat_map(|shape| choices.iter().map(|choose| choose(*shape))).collect()
        })
    }

    /// Whether the floor (benches/floor.c) does the same work.
    pub fn has_floor(&self) -> bool {
        self.config == Config::Example && self.limits == Limits::None
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = match self.network {
            Network::New => "new net",
            Network::Joined => "joined net",
            Network::Host => "host net",
        };
        let words = [
            if self.userns { "userns" } else { "no userns" },
            network,
            if self.seccomp { "Docker's profile" } else { "no profile" },
            if self.limits == Limits::Some { "limits" } else { "no limits" },
            if self.many_mounts { "2,000 host mounts" } else { "30 host mounts" },
        ];
        write!(f, "{}, {} at a time, ", words.join(", "), self.at_a_time)?;
        match self.config {
            Config::Example => write!(f, "spec's config"),
            Config::Crio => write!(f, "CRI-O's config"),
            Config::Mounts(count) => write!(f, "{count} mounts"),
            Config::Environment(count) => write!(f, "{count} variables"),
        }
    }
}

/// Where the things are that a config.json names, and what limits there can be.
pub struct Place<'a> {
    pub rootfs: &'a Path,
    /// What volumes are bound from.
    pub volumes: &'a Path,
    /// A network namespace to join.
    pub network: &'a Path,
    pub cgroups_path: String,
    /// `linux.resources` for a shape with limits.
    pub resources: Value,
}

/// The config.json of a container that runs `args`.
pub fn config(shape: &Shape, place: &Place, args: &[&str]) -> Result<Value> {
    let mut config = match shape.config {
        Config::Crio => crio(place)?,
        _ => example()?,
    };
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(args);
    // What the oldest of the others reads.
    config["ociVersion"] = json!("1.0.2");
    config["root"]["path"] = json!(place.rootfs);
    config["linux"]["cgroupsPath"] = json!(place.cgroups_path);
    config["linux"]["resources"] =
        if shape.limits == Limits::Some { place.resources.clone() } else { json!({}) };
    match shape.config {
        Config::Mounts(count) => push(&mut config["mounts"], (0..count).map(|index| volume(place, index))),
        Config::Environment(count) => {
            push(
                &mut config["process"]["env"],
                (0..count).map(|index| json!(format!("V{index:04}={:x<57}", ""))),
            );
        }
        _ => {}
    }
    if !shape.seccomp {
        remove(&mut config["linux"], "seccomp");
    } else if shape.config != Config::Crio {
        let docker: Value = serde_json::from_str(DOCKER).map_err(Error::new)?;
        config["linux"]["seccomp"] = docker["linux"]["seccomp"].clone();
    }
    namespaces(&mut config, shape, place);
    Ok(config)
}

/// Docker's default profile.
pub fn docker_profile() -> Result<Value> {
    let docker: Value = serde_json::from_str(DOCKER).map_err(Error::new)?;
    Ok(docker["linux"]["seccomp"].clone())
}

fn example() -> Result<Value> {
    let line = vec![IdMap { container: 0, host: FIRST_ID, size: IDS }];
    let options = ExampleOptions {
        users: Users::Mapped { uids: line.clone(), gids: line },
        rootless: false,
        unmasked: false,
    };
    serde_json::from_str(&document(&options)).map_err(Error::new)
}

/// CRI-O's, with sources and ids of here.
fn crio(place: &Place) -> Result<Value> {
    let mut config: Value = serde_json::from_str(CRIO).map_err(Error::new)?;
    let line = json!([{ "containerID": 0, "hostID": FIRST_ID, "size": IDS }]);
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        if mount["type"] == "bind" {
            let destination = mount["destination"].as_str().unwrap_or_default().to_owned();
            let inside = place.rootfs.join(destination.trim_start_matches('/'));
            let is_directory = destination == "/dev/shm" || fs::metadata(inside).is_ok_and(|m| m.is_dir());
            mount["source"] = json!(place.volumes.join(if is_directory { "directory" } else { "file" }));
        }
        for key in ["uidMappings", "gidMappings"] {
            if mount.get(key).is_some() {
                mount[key] = line.clone();
            }
        }
    }
    config["linux"]["uidMappings"] = line.clone();
    config["linux"]["gidMappings"] = line;
    // Sysctls of a joined network namespace are not this container's, and what the machine lacks is not measured.
    for key in ["sysctl", "mountLabel"] {
        remove(&mut config["linux"], key);
    }
    for key in ["apparmorProfile", "selinuxLabel"] {
        remove(&mut config["process"], key);
    }
    remove(&mut config, "hooks");
    Ok(config)
}

fn namespaces(config: &mut Value, shape: &Shape, place: &Place) {
    let kinds = ["user", "pid", "network", "ipc", "uts", "mount", "cgroup"];
    let wanted = |kind: &&&str| {
        (**kind != "user" || shape.userns) && (**kind != "network" || shape.network != Network::Host)
    };
    config["linux"]["namespaces"] = kinds
        .iter()
        .filter(wanted)
        .map(|kind| {
            if *kind == "network" && shape.network == Network::Joined {
                json!({ "type": kind, "path": place.network })
            } else {
                json!({ "type": kind })
            }
        })
        .collect();
    if !shape.userns {
        for key in ["uidMappings", "gidMappings"] {
            remove(&mut config["linux"], key);
        }
        for mount in config["mounts"].as_array_mut().into_iter().flatten() {
            remove(mount, "uidMappings");
            remove(mount, "gidMappings");
        }
    }
    // Only who owns a network namespace may mount a sysfs that shows it; engines bind the host's then.
    if shape.network != Network::New {
        retain(&mut config["mounts"], |mount| mount["type"] != "cgroup");
        for mount in config["mounts"].as_array_mut().into_iter().flatten() {
            if mount["type"] == "sysfs" {
                *mount = json!({ "destination": "/sys", "type": "bind", "source": "/sys",
                    "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] });
            }
        }
    }
}

fn volume(place: &Place, index: usize) -> Value {
    json!({ "destination": format!("/volumes/{index}"), "type": "bind",
        "source": place.volumes.join("directory"), "options": ["bind", "nosuid", "nodev"] })
}

fn push(list: &mut Value, items: impl Iterator<Item = Value>) {
    if let Some(list) = list.as_array_mut() {
        list.extend(items);
    }
}

fn retain(list: &mut Value, keep: impl Fn(&Value) -> bool) {
    if let Some(list) = list.as_array_mut() {
        list.retain(|item| keep(item));
    }
}

fn remove(object: &mut Value, key: &str) {
    if let Some(object) = object.as_object_mut() {
        object.remove(key);
    }
}

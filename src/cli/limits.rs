//! The flags of `update`: each stands for one value of `linux.resources`.

use serde_json::{Value, json};

/// One flag.
#[derive(Debug)]
pub struct Limit {
    /// Its name.
    pub flag: &'static str,
    /// The JSON pointer of its value.
    pub pointer: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// For the help text.
    pub help: &'static str,
}

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number, by this name in the help text.
    Number(&'static str),
    /// Bytes, with a unit where the user likes.
    Bytes,
    /// Text, by this name in the help text.
    Text(&'static str),
}

impl Kind {
    /// Its name in the help text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Number(name) | Self::Text(name) => name,
            Self::Bytes => "BYTES",
        }
    }
}

const fn limit(flag: &'static str, pointer: &'static str, kind: Kind, help: &'static str) -> Limit {
    Limit { flag, pointer, kind, help }
}

/// All of them; the names are runc's.
pub const FLAGS: &[Limit] = &[
    limit("memory", "/memory/limit", Kind::Bytes, "limit of memory"),
    limit("memory-swap", "/memory/swap", Kind::Bytes, "limit of memory and swap together"),
    limit(
        "memory-reservation",
        "/memory/reservation",
        Kind::Bytes,
        "memory that is kept when the host runs short",
    ),
    limit("pids-limit", "/pids/limit", Kind::Number("N"), "limit of processes"),
    limit("cpu-share", "/cpu/shares", Kind::Number("N"), "weight among its neighbours, 1024 is usual"),
    limit("cpu-quota", "/cpu/quota", Kind::Number("US"), "processor time in a period, in microseconds"),
    limit("cpu-period", "/cpu/period", Kind::Number("US"), "length of a period, in microseconds"),
    limit("cpu-burst", "/cpu/burst", Kind::Number("US"), "time that may be saved up, in microseconds"),
    limit("cpu-idle", "/cpu/idle", Kind::Number("0|1"), "1: run when nobody else wants to"),
    limit("cpu-rt-period", "/cpu/realtimePeriod", Kind::Number("US"), "real-time period (cgroup version 1)"),
    limit(
        "cpu-rt-runtime",
        "/cpu/realtimeRuntime",
        Kind::Number("US"),
        "real-time runtime (cgroup version 1)",
    ),
    limit("cpuset-cpus", "/cpu/cpus", Kind::Text("LIST"), "processors to run on: 0-2,7"),
    limit("cpuset-mems", "/cpu/mems", Kind::Text("LIST"), "memory nodes to use"),
    limit("blkio-weight", "/blockIO/weight", Kind::Number("N"), "weight of block I/O, 10 to 1000"),
];

/// Puts a value at the place in `document` that a flag stands for.
pub fn put(document: &mut Value, pointer: &str, value: Value) {
    if let [_, object, key] = pointer.split('/').collect::<Vec<_>>()[..] {
        if document[object].is_null() {
            document[object] = json!({});
        }
        document[object][key] = value;
    }
}

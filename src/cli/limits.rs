//! The flags of `update`: each stands for one value of `linux.resources`.

use super::flag::{Flag, Takes, flag};
use serde_json::{Value, json};

/// One flag.
#[derive(Debug)]
pub struct Limit {
    /// Its name, what it takes, and its line of the help text.
    pub flag: Flag,
    /// The JSON pointer of its value.
    pub pointer: &'static str,
}

const fn limit(name: &'static str, pointer: &'static str, takes: Takes, help: &'static str) -> Limit {
    Limit { flag: flag(name, "", takes, help), pointer }
}

/// All of them; the names are runc's.
pub const FLAGS: &[Limit] = &[
    limit("memory", "/memory/limit", Takes::Size("BYTES"), "limit of memory"),
    limit("memory-swap", "/memory/swap", Takes::Size("BYTES"), "limit of memory and swap together"),
    limit(
        "memory-reservation",
        "/memory/reservation",
        Takes::Size("BYTES"),
        "memory that is kept when the host runs short",
    ),
    limit("pids-limit", "/pids/limit", Takes::Integer("N"), "limit of processes"),
    limit("cpu-share", "/cpu/shares", Takes::Integer("N"), "weight among its neighbours, 1024 is usual"),
    limit("cpu-quota", "/cpu/quota", Takes::Integer("US"), "processor time in a period, in microseconds"),
    limit("cpu-period", "/cpu/period", Takes::Integer("US"), "length of a period, in microseconds"),
    limit("cpu-burst", "/cpu/burst", Takes::Integer("US"), "time that may be saved up, in microseconds"),
    limit("cpu-idle", "/cpu/idle", Takes::Integer("0|1"), "1: run when nobody else wants to"),
    limit(
        "cpu-rt-period",
        "/cpu/realtimePeriod",
        Takes::Integer("US"),
        "real-time period (cgroup version 1)",
    ),
    limit(
        "cpu-rt-runtime",
        "/cpu/realtimeRuntime",
        Takes::Integer("US"),
        "real-time runtime (cgroup version 1)",
    ),
    limit("cpuset-cpus", "/cpu/cpus", Takes::Text("LIST"), "processors to run on: 0-2,7"),
    limit("cpuset-mems", "/cpu/mems", Takes::Text("LIST"), "memory nodes to use"),
    limit("blkio-weight", "/blockIO/weight", Takes::Integer("N"), "weight of block I/O, 10 to 1000"),
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

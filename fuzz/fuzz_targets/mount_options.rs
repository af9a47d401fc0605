//! Any list of mount options, with any source and destination, gives a plan or an error. One word a line: destination,
//! source, type, options.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use urun::spec;

#[path = "../facts.rs"]
mod facts;

fuzz_target!(|text: &str| {
    let mut words = text.split('\n');
    let mut next = || words.next().unwrap_or_default();
    let (destination, source, kind) = (next(), next(), next());
    let mount = json!({
        "destination": format!("/{destination}"),
        "source": source,
        "type": kind,
        "options": words.collect::<Vec<_>>(),
    });
    let line = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let config = json!({
        "ociVersion": "1.3.0",
        "root": { "path": "rootfs" },
        "process": { "cwd": "/", "args": ["true"], "user": { "uid": 0, "gid": 0 } },
        "mounts": [mount],
        "linux": {
            "uidMappings": line,
            "gidMappings": line,
            "namespaces": [{ "type": "user" }, { "type": "mount" }, { "type": "cgroup" }],
        },
    });
    if let Ok(config) = spec::load(config.to_string().as_bytes()) {
        for facts in [facts::root(), facts::managed(), facts::ordinary()] {
            facts::plan(&config, &facts);
        }
    }
});

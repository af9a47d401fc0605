//! What `features` prints (runtime-spec features.md): the tables that the parser reads by, and nothing of the host.

use super::{
    capability, option,
    parse::{ACTIONS, ARCHS, FILTER_FLAGS, HOOKS, MEMORY_FLAGS, MEMORY_MODES, NAMESPACES, OPERATORS},
};
use serde_json::{Value, json};

/// The oldest version of the specification whose documents are understood.
pub const OCI_VERSION_MIN: &str = "1.0.0";
/// The newest one.
pub const OCI_VERSION_MAX: &str = "1.3.0";

/// Annotations that change what the runtime does, so that engines can keep users from setting them. A name that ends
/// with a dot stands for all that begin with it.
const UNSAFE_ANNOTATIONS: &[&str] = &["io.urun.", "org.systemd.property.", "run.oci."];

/// The document, the same on every host.
pub fn document() -> String {
    let document = json!({
        "ociVersionMin": OCI_VERSION_MIN,
        "ociVersionMax": OCI_VERSION_MAX,
        "hooks": HOOKS,
        "mountOptions": words(option::OPTIONS),
        "linux": linux(),
        "annotations": {
            "io.urun.version": env!("CARGO_PKG_VERSION"),
            "org.opencontainers.runc.checkpoint.enabled": "false",
        },
        "potentiallyUnsafeConfigAnnotations": UNSAFE_ANNOTATIONS,
    });
    format!("{document:#}")
}

fn linux() -> Value {
    json!({
        "namespaces": words(NAMESPACES),
        "capabilities": capability::NAMES.to_vec(),
        "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
        "seccomp": {
            "enabled": true,
            "actions": words(ACTIONS),
            "operators": words(OPERATORS),
            "archs": words(ARCHS),
            "knownFlags": words(FILTER_FLAGS),
            "supportedFlags": words(FILTER_FLAGS),
        },
        "apparmor": { "enabled": true },
        "selinux": { "enabled": true },
        "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
        "memoryPolicy": { "modes": words(MEMORY_MODES), "flags": words(MEMORY_FLAGS) },
        "mountExtensions": { "idmap": { "enabled": true } },
        "netDevices": { "enabled": true },
    })
}

fn words<T>(table: &[(&'static str, T)]) -> Vec<&'static str> {
    table.iter().map(|(word, _)| *word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_find_what_they_look_for() {
        let document: Value = serde_json::from_str(&document()).unwrap();
        assert_eq!(document["linux"]["mountExtensions"]["idmap"]["enabled"], true);
        assert!(document["mountOptions"].as_array().unwrap().contains(&"rro".into()));
        assert!(document["linux"]["namespaces"].as_array().unwrap().contains(&"user".into()));
        assert_eq!(document["ociVersionMax"], "1.3.0");
    }

    #[test]
    fn the_document_is_one_of_the_specification() {
        let features: oci_spec::runtime::Features = serde_json::from_str(&document()).unwrap();
        assert_eq!(features.hooks().as_ref().map(Vec::len), Some(6));
        let linux = features.linux().as_ref().unwrap();
        assert_eq!(linux.capabilities().as_ref().map(Vec::len), Some(41));
        assert_eq!(linux.namespaces().as_ref().map(Vec::len), Some(8));
    }
}

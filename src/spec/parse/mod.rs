//! The JSON tree becomes the types of [`crate::spec`]: one object of the specification a file.
//!
//! Every function here takes a [`Node`], reports what is wrong with it and goes on with a harmless value; whether a
//! document is accepted is decided once, when all of it has been read.

mod device;
mod hook;
mod idmap;
mod intel_rdt;
mod interface;
mod linux;
mod list;
mod memory_policy;
mod mount;
mod namespace;
mod process;
mod resources;
mod scheduler;
mod seccomp;
mod sysctl;
mod version;
mod words;

pub use list::number_list;
pub use words::*;

use super::{
    config::{Config, Process, Root},
    linux::{Linux, NamespaceKind, Resources},
    node::{Node, Report},
    tree::Tree,
};
use crate::error::Result;
use std::{collections::BTreeMap, path::PathBuf};

/// The longest host and domain name, uts_namespaces(7): `__NEW_UTS_LEN`.
const NAME_MAX: usize = 64;

/// Reads a config.json (runtime-spec config.md and config-linux.md).
///
/// # Errors
/// One sentence with everything that is wrong, each with its JSON path: of a malformed document the first place, of a
/// well-formed one all types and values that the specification forbids, cut at 6 KiB.
pub fn load(bytes: &[u8]) -> Result<Config> {
    let tree = Tree::parse(bytes)?;
    let report = Report::default();
    let config = config(Node::root(&tree, &report));
    report.check()?;
    Ok(Config { warnings: report.warnings(), ..config })
}

/// Reads the process.json of `exec`: the `process` object alone. Capabilities that do not exist are left out. What the
/// document is silent about is as in `container`, the process of config.json.
///
/// # Errors
/// As [`load`].
pub fn load_process(bytes: &[u8], container: Option<&Process>) -> Result<Process> {
    let tree = Tree::parse(bytes)?;
    let report = Report::default();
    let process = process::later(Node::root(&tree, &report).required(), container);
    report.check()?;
    Ok(process)
}

/// Reads the document of `update`: the `linux.resources` object alone.
///
/// # Errors
/// As [`load`].
pub fn load_resources(bytes: &[u8]) -> Result<Resources> {
    let tree = Tree::parse(bytes)?;
    let report = Report::default();
    let resources = resources::resources(Node::root(&tree, &report).required());
    report.check()?;
    Ok(resources)
}

/// `pids.limit` of zero is a limit since 1.3.0. Before, it was what engines sent for none: Podman 4.3 does, for
/// `--pids-limit -1`.
pub fn is_zero_no_limit_of_pids(oci_version: &str) -> bool {
    version::is_older(oci_version, 3)
}

fn config(node: Node<'_>) -> Config {
    if node.required().object().is_none() {
        return empty();
    }
    let mut linux = linux::linux(node.get("linux"));
    let oci_version = version::version(node.get("ociVersion").required());
    if linux.resources.pids_limit == Some(0) && is_zero_no_limit_of_pids(&oci_version) {
        linux.resources.pids_limit = None;
    }
    let process = node.get("process");
    Config {
        oci_version,
        root: root(node.get("root").required()),
        process: process.is_given().then(|| process::process(process)),
        hostname: uts_name(node.get("hostname"), &linux),
        domainname: uts_name(node.get("domainname"), &linux),
        mounts: mount::mounts(node.get("mounts"), linux.namespace(NamespaceKind::User).is_some()),
        hooks: hook::hooks(node.get("hooks")),
        annotations: annotations(node.get("annotations")),
        linux,
        warnings: Vec::new(),
    }
}

fn empty() -> Config {
    Config {
        oci_version: String::new(),
        root: Root { path: PathBuf::new(), readonly: false, idmap: false },
        process: None,
        hostname: None,
        domainname: None,
        mounts: Vec::new(),
        hooks: super::Hooks::default(),
        annotations: BTreeMap::new(),
        linux: Linux::default(),
        warnings: Vec::new(),
    }
}

fn root(node: Node<'_>) -> Root {
    let path = match node.object() {
        Some(_) => node.get("path").required().text().map(PathBuf::from),
        None => None,
    };
    if path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
        node.get("path").error("is empty");
    }
    Root { path: path.unwrap_or_default(), readonly: node.get("readonly").is_true(), idmap: false }
}

/// A name of the uts namespace, which needs one: a new one or one to join (runc; the host's name is not ours to set).
fn uts_name(node: Node<'_>, linux: &Linux) -> Option<String> {
    let name = node.owned()?;
    if name.len() > NAME_MAX {
        node.error(format_args!("{} bytes are longer than the {NAME_MAX} that Linux allows", name.len()));
    }
    if linux.namespace(NamespaceKind::Uts).is_none() {
        node.error("cannot be set without a uts namespace among linux.namespaces");
    }
    Some(name)
}

fn annotations(node: Node<'_>) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::new();
    for (key, value) in node.entries() {
        if key.is_empty() {
            node.error("holds an empty key");
        }
        if let Some(text) = value.text() {
            annotations.insert(key.to_owned(), text.to_owned());
        }
    }
    annotations
}

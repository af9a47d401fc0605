//! `linux.sysctl`.

use crate::spec::{
    linux::Linux,
    node::{Node, quoted},
    sysctl::Sysctl,
};
use std::collections::BTreeMap;

/// Only parameters of a namespace that the container has: any other would change the host.
pub(super) fn sysctl(node: Node<'_>, linux: &Linux) -> BTreeMap<Sysctl, String> {
    let mut sysctl = BTreeMap::new();
    for (written, value) in node.entries() {
        let text = value.text();
        let name = match Sysctl::parse(written) {
            Ok(name) => name,
            Err(why) => {
                value.error(why);
                continue;
            }
        };
        if linux.namespace(name.namespace()).is_none() {
            let namespace = name.namespace();
            value.error(format_args!("needs a {namespace} namespace among linux.namespaces"));
        }
        let Some(text) = text else { continue };
        if text.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n'))
            || text.trim_end().contains('\n')
        {
            value.error(format_args!("{} holds a control character", quoted(text)));
        }
        if sysctl.insert(name, text.to_owned()).is_some() {
            value.error(format_args!("{} is given twice", quoted(written)));
        }
    }
    sysctl
}

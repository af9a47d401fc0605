//! `hooks`.

use super::words::HOOKS;
use crate::spec::{
    config::{Hook, Hooks},
    node::Node,
};
use std::time::Duration;

pub(super) fn hooks(node: Node<'_>) -> Hooks {
    let Some(node) = node.object() else { return Hooks::default() };
    let [prestart, create_runtime, create_container, start_container, poststart, poststop] =
        HOOKS.map(|stage| node.get(stage).list().filter_map(|item| hook(item.required())).collect());
    Hooks { prestart, create_runtime, create_container, start_container, poststart, poststop }
}

fn hook(node: Node<'_>) -> Option<Hook> {
    let node = node.object()?;
    let path = node.get("path").required();
    if path.text() == Some("") {
        path.error("is empty");
    }
    Some(Hook {
        json_path: node.path(),
        path: path.absolute().unwrap_or_default(),
        args: node.get("args").texts(),
        env: node.get("env").texts(),
        timeout: node
            .get("timeout")
            .number(1..=i64::from(i32::MAX))
            .map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
    })
}

//! `linux.devices` and `linux.resources.devices`.

use super::process::ID_MAX;
use crate::spec::{
    linux::{Device, DeviceKind, DeviceRule, DeviceRuleKind},
    node::{Node, quoted},
};

/// The highest major number, twelve bits (linux/kdev_t.h).
const MAJOR_MAX: i64 = 0xfff;
/// The highest minor number, twenty bits.
const MINOR_MAX: i64 = 0xf_ffff;
/// The bits of `fileMode` that are permissions; Podman sends the file type too.
const PERMISSIONS: u32 = 0o7777;

pub(super) fn devices(node: Node<'_>) -> Vec<Device> {
    node.list().filter_map(|item| device(item.required())).collect()
}

fn device(node: Node<'_>) -> Option<Device> {
    let node = node.object()?;
    let path = node.get("path").required();
    if path.text() == Some("") {
        path.error("is empty");
    }
    let kind = kind(&node);
    Some(Device {
        json_path: node.path(),
        path: path.absolute().unwrap_or_default(),
        mode: node.get("fileMode").number(0..=u32::MAX).unwrap_or(0o666) & PERMISSIONS,
        uid: node.get("uid").number(0..=ID_MAX),
        gid: node.get("gid").number(0..=ID_MAX),
        kind: kind?,
    })
}

fn kind(node: &Node<'_>) -> Option<DeviceKind> {
    let number =
        |key, max| node.get(key).required().number(0..=max).and_then(|number| u32::try_from(number).ok());
    let letter = node.get("type").required();
    match letter.text()? {
        "p" => Some(DeviceKind::Fifo),
        "c" | "u" => {
            let (major, minor) = (number("major", MAJOR_MAX), number("minor", MINOR_MAX));
            Some(DeviceKind::Char { major: major?, minor: minor? })
        }
        "b" => {
            let (major, minor) = (number("major", MAJOR_MAX), number("minor", MINOR_MAX));
            Some(DeviceKind::Block { major: major?, minor: minor? })
        }
        other => {
            letter.error(format_args!("unknown device type {}, expected one of c b u p", quoted(other)));
            None
        }
    }
}

pub(super) fn rules(node: Node<'_>) -> Vec<DeviceRule> {
    node.list().filter_map(|item| rule(item.required())).collect()
}

fn rule(node: Node<'_>) -> Option<DeviceRule> {
    const KINDS: &[(&str, DeviceRuleKind)] =
        &[("a", DeviceRuleKind::All), ("b", DeviceRuleKind::Block), ("c", DeviceRuleKind::Char)];
    let node = node.object()?;
    let kind = node.get("type");
    let kind = kind.filled().map_or(Some(DeviceRuleKind::All), |_| kind.word("device type", KINDS));
    let allow = node.get("allow").required().boolean();
    let access = access(node.get("access").required());
    let rule = DeviceRule {
        allow: allow.unwrap_or(false),
        kind: kind.unwrap_or(DeviceRuleKind::All),
        major: any_or(node.get("major"), MAJOR_MAX),
        minor: any_or(node.get("minor"), MINOR_MAX),
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
    };
    Some(rule)
}

fn access(node: Node<'_>) -> &str {
    let access = node.text().unwrap_or_default();
    let is_known = access.len() <= 3 && access.bytes().all(|letter| b"rwm".contains(&letter));
    if node.is_given() && (access.is_empty() || !is_known) {
        node.error(format_args!("expected letters out of rwm, found {}", quoted(access)));
    }
    access
}

/// A device number; −1 is the word for any, as absence is.
fn any_or(node: Node<'_>, max: i64) -> Option<u32> {
    node.number(-1..=max).and_then(|number| u32::try_from(number).ok())
}

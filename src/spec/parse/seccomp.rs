//! `linux.seccomp`.

use super::words::{ACTIONS, ARCHS, FILTER_FLAGS, OPERATORS};
use crate::spec::{
    node::Node,
    seccomp::{Action, Arg, Operator, Rule, Seccomp},
    syscall::Finder,
};

/// The highest errno that a system call can return (linux/err.h, `MAX_ERRNO`).
const ERRNO_MAX: u16 = 4095;

pub(super) fn seccomp(node: Node<'_>) -> Option<Seccomp> {
    let node = node.object()?;
    let default_action = action(node.get("defaultAction").required(), node.get("defaultErrnoRet"));
    if default_action == Some(Action::Notify) {
        node.get("defaultAction")
            .error("SCMP_ACT_NOTIFY cannot be the default: the process could not be started");
    }
    let flags = node.get("flags");
    let seccomp = Seccomp {
        default_action: default_action.unwrap_or(Action::KillProcess),
        architectures: node
            .get("architectures")
            .list()
            .filter_map(|item| item.required().word("architecture", ARCHS))
            .collect(),
        flags: flags
            .list()
            .filter_map(|item| item.required().word("flag", FILTER_FLAGS))
            .fold(0, |flags, flag| flags | flag),
        listener_path: node.get("listenerPath").absolute(),
        listener_metadata: node.get("listenerMetadata").owned(),
        syscalls: node.get("syscalls").list().filter_map(|item| rule(item.required())).collect(),
    };
    let listens = node.get("listenerPath").is_filled();
    if seccomp.listener_metadata.is_some() && !listens {
        node.get("listenerMetadata").error("is given without listenerPath");
    }
    if !listens && seccomp.syscalls.iter().any(|rule| rule.action == Action::Notify) {
        node.get("listenerPath").error("is required by SCMP_ACT_NOTIFY");
    }
    Some(seccomp)
}

fn rule(node: Node<'_>) -> Option<Rule> {
    let node = node.object()?;
    let names = node.get("names").required();
    if names.is_empty_list() {
        names.error("expected at least one name");
    }
    let action = action(node.get("action").required(), node.get("errnoRet"));
    let mut finder = Finder::default();
    Some(Rule {
        names: names.list().filter_map(|item| finder.find(item.required().text()?)).collect(),
        args: node.get("args").list().filter_map(|item| arg(item.required())).collect(),
        action: action?,
    })
}

/// An action with its number; a number where the action carries none is an error (config-linux.md).
fn action(word: Node<'_>, number: Node<'_>) -> Option<Action> {
    let action = word.word("action", ACTIONS)?;
    match action {
        Action::Errno(default) => Some(Action::Errno(number.number(0..=ERRNO_MAX).unwrap_or(default))),
        Action::Trace(default) => Some(Action::Trace(number.number(0..=u16::MAX).unwrap_or(default))),
        other => {
            if number.is_given() {
                number.error("is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE alone");
            }
            Some(other)
        }
    }
}

fn arg(node: Node<'_>) -> Option<Arg> {
    let node = node.object()?;
    let index = node.get("index").required().number(0..=5_u8);
    let value = node.get("value").required().number(0..=u64::MAX);
    let value_two = node.get("valueTwo").number(0..=u64::MAX);
    let op: Option<Operator> = node.get("op").required().word("operator", OPERATORS);
    Some(Arg { index: index?, value: value?, value_two: value_two.unwrap_or(0), op: op? })
}

//! `process`.

use super::{number_list, scheduler, words::RLIMITS};
use crate::spec::{
    capability,
    config::{Capabilities, ExecCpuAffinity, Process, Rlimit, User},
    node::{Node, quoted},
};
use std::path::PathBuf;

/// The highest id: −1 means "leave alone" to the kernel.
pub(super) const ID_MAX: u32 = u32::MAX - 1;
/// The first processor number that no kernel has (`NR_CPUS` of the largest configuration).
const CPUS: u32 = 8192;

pub(super) fn process(node: Node<'_>) -> Process {
    let Some(node) = node.object() else { return nothing() };
    Process {
        terminal: node.get("terminal").is_true(),
        console_size: console_size(node.get("consoleSize")),
        cwd: node.get("cwd").required_path(),
        env: env(node.get("env")),
        args: args(node.get("args").required()),
        user: user(node.get("user")),
        capabilities: capabilities(node.get("capabilities")),
        no_new_privileges: node.get("noNewPrivileges").is_true(),
        rlimits: rlimits(node.get("rlimits")),
        oom_score_adj: node.get("oomScoreAdj").number(-1000..=1000),
        apparmor_profile: node.get("apparmorProfile").owned(),
        selinux_label: node.get("selinuxLabel").owned(),
        scheduler: scheduler::scheduler(node.get("scheduler")),
        io_priority: scheduler::io_priority(node.get("ioPriority")),
        exec_cpu_affinity: node.get("execCPUAffinity").object().map(|node| ExecCpuAffinity {
            initial: cpus(node.get("initial")),
            last: cpus(node.get("final")),
        }),
    }
}

/// A later process of a container. Identity and limits that it does not name are those of the first one, as in runc; an
/// object of capabilities, even an empty one, names all five sets.
pub(super) fn later(node: Node<'_>, container: Option<&Process>) -> Process {
    let process = process(node);
    let Some(container) = container else { return process };
    let names = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let label = |own: Option<String>, other: &Option<String>| if names(&own) { own } else { other.clone() };
    Process {
        capabilities: match node.get("capabilities").is_given() {
            true => process.capabilities,
            false => container.capabilities,
        },
        rlimits: match process.rlimits.is_empty() {
            true => container.rlimits.clone(),
            false => process.rlimits,
        },
        oom_score_adj: process.oom_score_adj.or(container.oom_score_adj),
        apparmor_profile: label(process.apparmor_profile, &container.apparmor_profile),
        selinux_label: label(process.selinux_label, &container.selinux_label),
        scheduler: process.scheduler.or(container.scheduler),
        io_priority: process.io_priority.or(container.io_priority),
        user: User { umask: process.user.umask.or(container.user.umask), ..process.user },
        ..process
    }
}

/// What stands for a process that could not be read.
fn nothing() -> Process {
    Process {
        terminal: false,
        console_size: None,
        cwd: PathBuf::new(),
        env: Vec::new(),
        args: Vec::new(),
        user: User::default(),
        capabilities: Capabilities::default(),
        no_new_privileges: false,
        rlimits: Vec::new(),
        oom_score_adj: None,
        apparmor_profile: None,
        selinux_label: None,
        scheduler: None,
        io_priority: None,
        exec_cpu_affinity: None,
    }
}

fn args(node: Node<'_>) -> Vec<String> {
    if node.is_empty_list() {
        node.error("expected at least one argument");
    }
    node.texts()
}

/// Entries without a name or a value are refused, as in runc: no environ(7) of a real process holds them.
fn env(node: Node<'_>) -> Vec<String> {
    let mut env = Vec::new();
    for item in node.list() {
        let Some(entry) = item.required().text() else { continue };
        if entry.find('=').is_none_or(|at| at == 0) {
            item.error(format_args!("expected NAME=value, found {}", quoted(entry)));
        }
        env.push(entry.to_owned());
    }
    env
}

fn console_size(node: Node<'_>) -> Option<(u16, u16)> {
    let node = node.object()?;
    let size = |key| node.get(key).required().number(0..=u16::MAX).filter(|size| *size > 0);
    Option::zip(size("height"), size("width"))
}

/// An absent user is root, as in runc and crun, though the specification demands one.
fn user(node: Node<'_>) -> User {
    if node.object().is_none() {
        return User::default();
    }
    let id = |node: Node<'_>| node.number(0..=ID_MAX);
    User {
        uid: id(node.get("uid")).unwrap_or(0),
        gid: id(node.get("gid")).unwrap_or(0),
        umask: node.get("umask").number(0..=0o777),
        additional_gids: node.get("additionalGids").list().filter_map(|item| id(item.required())).collect(),
    }
}

/// Unknown names are warned about and left out (config.md: they MUST NOT be an error).
fn capabilities(node: Node<'_>) -> Capabilities {
    if node.object().is_none() {
        return Capabilities::default();
    }
    let set = |key| {
        let mut mask = 0;
        for item in node.get(key).list() {
            let Some(name) = item.required().text() else { continue };
            match capability::bit(name) {
                Some(bit) => mask |= bit,
                None => item.warn(format_args!("unknown capability {}", quoted(name))),
            }
        }
        mask
    };
    let sets = Capabilities {
        bounding: set("bounding"),
        effective: set("effective"),
        permitted: set("permitted"),
        inheritable: set("inheritable"),
        ambient: set("ambient"),
    };
    for (key, mask) in [
        ("ambient", sets.ambient & !(sets.permitted & sets.inheritable)),
        ("effective", sets.effective & !sets.permitted),
    ] {
        if mask != 0 {
            let names: Vec<&str> = capability::names(mask).collect();
            node.get(key).warn(format_args!("no effect without the sets it draws on: {}", names.join(" ")));
        }
    }
    sets
}

fn rlimits(node: Node<'_>) -> Vec<Rlimit> {
    let mut seen = 0_u32;
    let mut rlimits = Vec::new();
    for item in node.list() {
        let Some(item) = item.required().object() else { continue };
        let Some(resource) = item.get("type").required().word("rlimit", RLIMITS) else { continue };
        if seen >> resource & 1 == 1 {
            item.get("type").error("is given twice");
        }
        seen |= 1 << resource;
        let soft = item.get("soft").required().number(0..=u64::MAX);
        let hard = item.get("hard").required().number(0..=u64::MAX);
        let (Some(soft), Some(hard)) = (soft, hard) else { continue };
        if soft > hard {
            item.get("soft").error(format_args!("{soft} is above the hard limit {hard}"));
        }
        rlimits.push(Rlimit { resource, soft, hard });
    }
    rlimits
}

fn cpus(node: Node<'_>) -> Option<Vec<u32>> {
    let text = node.filled()?;
    number_list(text, CPUS).map_err(|error| node.error(format_args!("{error}, found {}", quoted(text)))).ok()
}

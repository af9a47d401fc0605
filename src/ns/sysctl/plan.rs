//! Which sysctls are written where.

use crate::{
    error::{Error, Result},
    ns::idmap,
    spec::NamespaceKind,
};
use std::{collections::BTreeMap, fmt};

/// What the planner knows besides the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Namespaces that are not the runtime's own: new ones, and joined ones that differ from it.
    pub private: &'a [NamespaceKind],
    /// The container's ids as the assembler sees them.
    pub maps: &'a idmap::Outside,
}

/// One sysctl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SysctlOp {
    /// A value for a file below /proc.
    Write {
        /// `sys/net/ipv4/ip_forward`
        path: String,
        /// as written in one write(2)
        value: String,
        /// The container's root as the writer sees it. Since 6.10 files of an ipc namespace belong to the root of its
        /// user namespace alone, and capabilities do not help.
        owner: Option<u32>,
    },
    /// `kernel.domainname`, by setdomainname(2): its file obeys nobody but the root of the host.
    DomainName(String),
}

impl fmt::Display for SysctlOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, value, .. } => {
                // As in config.json: a dot between parts, a slash for a dot inside one.
                let swap = |c| {
                    if c == '/' {
                        '.'
                    } else if c == '.' {
                        '/'
                    } else {
                        c
                    }
                };
                let name: String = path.trim_start_matches("sys/").chars().map(swap).collect();
                write!(f, "set sysctl {name} to {value:?}")
            }
            Self::DomainName(name) => write!(f, "set domain name {name:?}"),
        }
    }
}

/// All of them, by writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// By the assembler, in init's net, ipc and uts namespaces.
    pub outside: Vec<SysctlOp>,
    /// By init, in its user namespace, while it has every capability there.
    pub inside: Vec<SysctlOp>,
    /// What is left out, for the log.
    pub notes: Vec<String>,
}

/// Sorts `linux.sysctl`.
///
/// # Errors
/// A name that is malformed, given twice, or not confined by a namespace of the container's own.
pub fn plan(sysctl: &BTreeMap<String, String>, input: &Input<'_>) -> Result<Writes> {
    let mut writes = Writes::default();
    let mut seen: BTreeMap<Vec<String>, &str> = BTreeMap::new();
    for (name, value) in sysctl {
        let parts = parse(name)?;
        if value.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n'))
            || value.trim_end().contains('\n')
        {
            crate::bail!("linux.sysctl {name}: the value {value:?} contains a control character");
        }
        let kind = confining(name, &parts)?;
        if !input.private.contains(&kind) {
            let word = word(kind);
            return Err(Error::new(format_args!(
                "linux.sysctl {name}: not allowed in the host's {word} namespace"
            ))
            .hint(format_args!("give the container a {word} namespace of its own or leave the sysctl out")));
        }
        if let Some(other) = seen.get(&parts) {
            crate::bail!("linux.sysctl {name}: given twice, also as {other}");
        }
        place(&mut writes, kind, &parts, value, input);
        seen.insert(parts, name);
    }
    Ok(writes)
}

fn place(writes: &mut Writes, kind: NamespaceKind, parts: &[String], value: &str, input: &Input<'_>) {
    let path = format!("sys/{}", parts.join("/"));
    let mut value = value.to_owned();
    if kind == NamespaceKind::Uts {
        writes.outside.push(SysctlOp::DomainName(value.trim_end().to_owned()));
        return;
    }
    if kind == NamespaceKind::User {
        writes.inside.push(SysctlOp::Write { path, value, owner: None });
        return;
    }
    if path == PING {
        match translate(&value, input.maps) {
            Translated::Ids(ids) => value = ids,
            Translated::Unmapped => {
                writes.notes.push(format!(
                    "linux.sysctl net.ipv4.ping_group_range {value:?} is left alone: a gid in it has no mapping in the \
                     container's user namespace"
                ));
                return;
            }
            Translated::Malformed => {} // the kernel's answer is the error
        }
    }
    let owner = if kind == NamespaceKind::Ipc { input.maps.uid(0) } else { None };
    writes.outside.push(SysctlOp::Write { path, value, owner });
}

/// The one sysctl whose value is ids of the writer's user namespace. Its ends are translated as the kernel would do
/// for a writer inside; where one of them is unmapped the kernel says EINVAL, which crun takes for no error.
const PING: &str = "sys/net/ipv4/ping_group_range";

enum Translated {
    Ids(String),
    Unmapped,
    Malformed,
}

fn translate(value: &str, maps: &idmap::Outside) -> Translated {
    let mut ends = value.split_ascii_whitespace().map(str::parse::<u32>);
    let (Some(Ok(low)), Some(Ok(high)), None) = (ends.next(), ends.next(), ends.next()) else {
        return Translated::Malformed;
    };
    if low > high {
        return Translated::Malformed; // "1 0" is the kernel's way to say nobody
    }
    match (maps.gid(low), maps.gid(high)) {
        (Some(low), Some(high)) => Translated::Ids(format!("{low} {high}")),
        _ => Translated::Unmapped,
    }
}

/// The components of a name, sysctl(8): where the first separator is a slash, slashes separate and dots are literal,
/// otherwise the other way round.
fn parse(name: &str) -> Result<Vec<String>> {
    let slashes = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'/');
    let parts: Vec<String> = if slashes {
        name.split('/').map(str::to_owned).collect()
    } else {
        name.split('.').map(|part| part.replace('/', ".")).collect()
    };
    let bad = |part: &String| {
        part.is_empty()
            || part == "."
            || part == ".."
            || part.contains(|c: char| c.is_control() || " =+".contains(c))
    };
    if parts.len() < 2 || parts.iter().any(bad) {
        crate::bail!("linux.sysctl {name:?}: not the name of a sysctl");
    }
    Ok(parts)
}

/// System V IPC, the `ipc_sysctls` of the kernel.
const IPC: &[&str] = &[
    "auto_msgmni",
    "msg_next_id",
    "msgmax",
    "msgmnb",
    "msgmni",
    "sem",
    "sem_next_id",
    "shm_next_id",
    "shm_rmid_forced",
    "shmall",
    "shmmax",
    "shmmni",
];

/// The namespace type that confines a sysctl.
fn confining(name: &str, parts: &[String]) -> Result<NamespaceKind> {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts[..] {
        ["net", ..] => Ok(NamespaceKind::Network),
        ["fs", "mqueue", ..] => Ok(NamespaceKind::Ipc),
        ["kernel", key] if IPC.contains(&key) => Ok(NamespaceKind::Ipc),
        ["kernel", "domainname"] => Ok(NamespaceKind::Uts),
        ["kernel", "hostname"] => {
            Err(Error::new(format_args!("linux.sysctl {name}: conflicts with hostname"))
                .hint("set the hostname field of config.json instead"))
        }
        ["user", ..] => Ok(NamespaceKind::User),
        _ => Err(Error::new(format_args!("linux.sysctl {name}: is not confined by any namespace"))
            .hint("it would change the host: set it there if that is wanted")),
    }
}

fn word(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::User => "user",
        NamespaceKind::Pid => "pid",
        NamespaceKind::Network => "network",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Uts => "uts",
        NamespaceKind::Cgroup => "cgroup",
        NamespaceKind::Time => "time",
        NamespaceKind::Mount => "mount",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::IdMap;
    use NamespaceKind::{Ipc, Network, User, Uts};

    fn one(name: &str, value: &str, private: &[NamespaceKind], maps: &idmap::Outside) -> String {
        let sysctl = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        match plan(&sysctl, &Input { private, maps }) {
            Ok(writes) => {
                let outside = writes.outside.iter().map(|op| format!("outside: {op}"));
                let inside = writes.inside.iter().map(|op| format!("inside: {op}"));
                let notes = writes.notes.iter().map(|note| format!("note: {note}"));
                outside.chain(inside).chain(notes).collect::<Vec<_>>().join("; ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_sysctl_goes_where_its_namespace_is_or_is_an_error() {
        let all = &[Ipc, Network, User, Uts][..];
        for (name, private, expected) in [
            ("net.ipv4.ip_forward", all, "outside: set sysctl net.ipv4.ip_forward to \"1\""),
            (
                "net/ipv4/conf/eno2.100/rp_filter",
                all,
                "outside: set sysctl net.ipv4.conf.eno2/100.rp_filter to \"1\"",
            ),
            (
                "net.ipv4.conf.eno2/100.rp_filter",
                all,
                "outside: set sysctl net.ipv4.conf.eno2/100.rp_filter to \"1\"",
            ),
            ("kernel.shmmax", all, "outside: set sysctl kernel.shmmax to \"1\""),
            ("fs.mqueue.msg_max", all, "outside: set sysctl fs.mqueue.msg_max to \"1\""),
            ("kernel.domainname", all, "outside: set domain name \"1\""),
            ("user.max_user_namespaces", all, "inside: set sysctl user.max_user_namespaces to \"1\""),
            (
                "net.ipv4.ip_forward",
                &[Ipc],
                "linux.sysctl net.ipv4.ip_forward: not allowed in the host's network namespace",
            ),
            ("kernel.sem", &[Network], "linux.sysctl kernel.sem: not allowed in the host's ipc namespace"),
            (
                "user.max_user_namespaces",
                &[Ipc],
                "linux.sysctl user.max_user_namespaces: not allowed in the host's user namespace",
            ),
            (
                "kernel.domainname",
                &[Ipc],
                "linux.sysctl kernel.domainname: not allowed in the host's uts namespace",
            ),
            ("kernel.hostname", all, "linux.sysctl kernel.hostname: conflicts with hostname"),
            (
                "kernel.core_pattern",
                all,
                "linux.sysctl kernel.core_pattern: is not confined by any namespace",
            ),
            ("kernel.shmmax.x", all, "linux.sysctl kernel.shmmax.x: is not confined by any namespace"),
            ("vm.swappiness", all, "linux.sysctl vm.swappiness: is not confined by any namespace"),
        ] {
            assert_eq!(one(name, "1", private, &idmap::Outside::Same), expected, "{name}");
        }
    }

    #[test]
    fn names_that_smuggle_are_refused() {
        for name in [
            "",
            "net",
            "net.",
            ".net",
            "net..x",
            "net/../kernel/core_pattern",
            "net/./x",
            "/net/x",
            "net./",
            "net.//",
            "net.a=b",
            "net.a+kernel.core_pattern",
            "net.a b",
            "net.a\nb",
            "net.a\0b",
        ] {
            let answer = one(name, "1", &[Network], &idmap::Outside::Same);
            assert!(answer.ends_with("not the name of a sysctl"), "{name:?}: {answer}");
        }
        for value in ["1\n2", "\0", "a\x1bb"] {
            let answer = one("net.x", value, &[Network], &idmap::Outside::Same);
            assert!(answer.contains("control character"), "{value:?}: {answer}");
        }
    }

    #[test]
    fn one_sysctl_under_two_names_is_refused() {
        let sysctl = ["net.ipv4.x", "net/ipv4/x"].map(|name| (name.to_owned(), "1".to_owned()));
        let input = Input { private: &[Network], maps: &idmap::Outside::Same };
        assert!(plan(&BTreeMap::from(sysctl), &input).unwrap_err().to_string().contains("given twice"));
    }

    #[test]
    fn ping_groups_are_translated_as_the_kernel_would() {
        let lines = vec![IdMap { container: 0, host: 100_000, size: 65_536 }];
        let maps = idmap::Outside::Mapped { uids: lines.clone(), gids: lines };
        let name = "net.ipv4.ping_group_range";
        let set = |value: &str| format!("outside: set sysctl {name} to {value:?}");
        assert_eq!(one(name, "0 0", &[Network], &maps), set("100000 100000"));
        assert_eq!(one(name, "0\t65535", &[Network], &maps), set("100000 165535"));
        assert_eq!(one(name, "1 0", &[Network], &maps), set("1 0"));
        assert!(one(name, "0 2147483647", &[Network], &maps).starts_with("note: "));
        assert_eq!(one(name, "0 2147483647", &[Network], &idmap::Outside::Same), set("0 2147483647"));
    }
}

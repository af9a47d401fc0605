//! Which sysctls are written where.

use crate::{
    error::{Error, Result},
    ns::idmap,
    spec::{NamespaceKind, Sysctl},
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
    /// A value for a file below /proc/sys.
    Write {
        /// Which one.
        name: Sysctl,
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
            Self::Write { name, value, .. } => write!(f, "set sysctl {name} to {value:?}"),
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
/// A namespace that the container has lost since its configuration was read (`--userns host`).
pub fn plan(sysctl: &BTreeMap<Sysctl, String>, input: &Input<'_>) -> Result<Writes> {
    let mut writes = Writes::default();
    for (name, value) in sysctl {
        let kind = name.namespace();
        if !input.private.contains(&kind) {
            return Err(Error::new(format_args!(
                "linux.sysctl {name}: not allowed in the host's {kind} namespace"
            ))
            .hint(format_args!("give the container a {kind} namespace of its own or leave the sysctl out")));
        }
        place(&mut writes, name, value, input);
    }
    Ok(writes)
}

fn place(writes: &mut Writes, name: &Sysctl, value: &str, input: &Input<'_>) {
    let write = |value: &str, owner| SysctlOp::Write { name: name.clone(), value: value.to_owned(), owner };
    match name.namespace() {
        NamespaceKind::User => writes.inside.push(write(value, None)),
        // The domain name is the only one.
        NamespaceKind::Uts => writes.outside.push(SysctlOp::DomainName(value.trim_end().to_owned())),
        NamespaceKind::Ipc => writes.outside.push(write(value, input.maps.uid(0))),
        _ if name.path() == PING => match translate(value, input.maps) {
            Translated::Ids(ids) => writes.outside.push(write(&ids, None)),
            Translated::Unmapped => writes.notes.push(format!(
                "linux.sysctl {name} {value:?} is left alone: a gid in it has no mapping in the container's user namespace"
            )),
            // The kernel's answer is the error.
            Translated::Malformed => writes.outside.push(write(value, None)),
        },
        _ => writes.outside.push(write(value, None)),
    }
}

/// The one sysctl whose value is ids of the writer's user namespace. Its ends are translated as the kernel would do
/// for a writer inside; where one of them is unmapped the kernel says EINVAL, which crun takes for no error.
const PING: &str = "net/ipv4/ping_group_range";

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::IdMap;
    use NamespaceKind::{Ipc, Network, User, Uts};

    fn one(name: &str, value: &str, private: &[NamespaceKind], maps: &idmap::Outside) -> String {
        let sysctl = BTreeMap::from([(Sysctl::parse(name).unwrap(), value.to_owned())]);
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
        ] {
            assert_eq!(one(name, "1", private, &idmap::Outside::Same), expected, "{name}");
        }
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

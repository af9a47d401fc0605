//! Names of kernel parameters: the one place that says which of them a container may set (CVE-2022-0811).

use super::NamespaceKind;
use std::fmt;

/// The kernel parameters of System V IPC in `kernel` (ipc_namespaces(7)).
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

/// The name of a kernel parameter that a namespace confines. Equal names name the same parameter, however they were written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sysctl {
    path: String,
    namespace: NamespaceKind,
}

impl Sysctl {
    /// Reads a name in either form of sysctl(8): where the first separator is a slash, slashes separate and dots are parts
    /// of names, else the other way round (`net.ipv4.conf.eth0/1.forwarding`).
    ///
    /// # Errors
    /// What is wrong with a name that is malformed, leads elsewhere, or belongs to the host.
    pub fn parse(name: &str) -> Result<Self, &'static str> {
        let has_slashes = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'/');
        let path = if has_slashes { name.to_owned() } else { swapped(name) };
        let parts: Vec<&str> = path.split('/').collect();
        let is_bad = |part: &&str| {
            matches!(*part, "" | "." | "..")
                || part.contains(|c: char| c.is_control() || c.is_ascii_whitespace() || "=+".contains(c))
        };
        if parts.len() < 2 || parts.iter().any(is_bad) {
            return Err("is not the name of a kernel parameter");
        }
        let namespace = match parts[..] {
            ["net", ..] => NamespaceKind::Network,
            ["fs", "mqueue", ..] => NamespaceKind::Ipc,
            ["kernel", key] if IPC.contains(&key) => NamespaceKind::Ipc,
            ["kernel", "domainname"] => NamespaceKind::Uts,
            ["kernel", "hostname"] => return Err("conflicts with hostname, which is the field to set"),
            ["user", ..] => NamespaceKind::User,
            _ => return Err("is not in a namespace: setting it would change the host"),
        };
        Ok(Self { path, namespace })
    }

    /// `user.max_user_namespaces`, the limit of user namespaces below the container's own.
    pub fn max_user_namespaces() -> Self {
        Self { path: "user/max_user_namespaces".to_owned(), namespace: NamespaceKind::User }
    }

    /// Its file below /proc/sys.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The namespace that confines it.
    pub fn namespace(&self) -> NamespaceKind {
        self.namespace
    }
}

impl fmt::Display for Sysctl {
    /// The form with dots between the parts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&swapped(&self.path))
    }
}

/// Dots for slashes and slashes for dots.
fn swapped(name: &str) -> String {
    let swap = |c| match c {
        '/' => '.',
        '.' => '/',
        other => other,
    };
    name.chars().map(swap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_name_are_the_same_parameter() {
        for (written, path, dotted) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward", "net.ipv4.ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward", "net.ipv4.ip_forward"),
            ("net/ipv4/conf/eth0.1/x", "net/ipv4/conf/eth0.1/x", "net.ipv4.conf.eth0/1.x"),
            ("net.ipv4.conf.eth0/1.x", "net/ipv4/conf/eth0.1/x", "net.ipv4.conf.eth0/1.x"),
        ] {
            let name = Sysctl::parse(written).unwrap();
            assert_eq!((name.path(), name.to_string().as_str()), (path, dotted));
        }
        assert_eq!(Sysctl::parse("user.max_user_namespaces"), Ok(Sysctl::max_user_namespaces()));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "",
            "net",
            ".",
            "net.",
            ".net",
            "net..x",
            "net.//.x",
            "net././x",
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
            assert_eq!(Sysctl::parse(name), Err("is not the name of a kernel parameter"), "{name:?}");
        }
    }

    #[test]
    fn a_name_belongs_to_a_namespace_or_to_the_host() {
        use NamespaceKind::{Ipc, Network, User, Uts};
        for (name, namespace) in [
            ("net.ipv4.ip_forward", Ok(Network)),
            ("kernel.shmmax", Ok(Ipc)),
            ("fs.mqueue.msg_max", Ok(Ipc)),
            ("kernel.domainname", Ok(Uts)),
            ("user.max_user_namespaces", Ok(User)),
            ("kernel.hostname", Err("conflicts with hostname, which is the field to set")),
            ("kernel.core_pattern", Err("is not in a namespace: setting it would change the host")),
            ("kernel.shmmax.x", Err("is not in a namespace: setting it would change the host")),
            ("vm.swappiness", Err("is not in a namespace: setting it would change the host")),
            ("fs.mqueue", Ok(Ipc)),
        ] {
            assert_eq!(Sysctl::parse(name).map(|name| name.namespace()), namespace, "{name}");
        }
    }
}

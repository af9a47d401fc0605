//! Which devices move into the container.

use crate::error::{Error, Result};
use std::{collections::BTreeMap, fmt};

/// Moves one device of the host into the container's network namespace, with its permanent global addresses, and sets
/// it up there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetOp {
    /// name on the host
    pub host: String,
    /// name in the container; a `%d` in it is a number of the kernel's choice
    pub container: String,
}

impl fmt::Display for NetOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "move network device {} into the container as {}", self.host, self.container)
    }
}

/// Whose network namespace the container has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// one of its own, new or joined
    Own,
    /// the runtime's
    Host,
}

/// `linux.netDevices` (runtime-spec 1.3).
pub fn plan(devices: &BTreeMap<String, String>, network: Network) -> Result<Vec<NetOp>> {
    if !devices.is_empty() && network == Network::Host {
        return Err(Error::new("linux.netDevices: the container has no network namespace of its own")
            .hint("add a network entry to linux.namespaces"));
    }
    let op = |(host, container): (&String, &String)| {
        let container = if container.is_empty() { host } else { container };
        check(host, host)?;
        check(host, &container.replacen("%d", "0", 1))?;
        Ok(NetOp { host: host.clone(), container: container.clone() })
    };
    devices.iter().map(op).collect()
}

/// `IFNAMSIZ` without the NUL.
const LONGEST: usize = 15;

/// The rules of `dev_valid_name` in the kernel, and no pattern beyond the one `%d`.
fn check(device: &str, name: &str) -> Result<()> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || "/:%".contains(c);
    if name.is_empty() || name.len() > LONGEST || name == "." || name == ".." || name.contains(bad) {
        crate::bail!("linux.netDevices.{device}: {name:?} is not the name of a network device");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(host: &str, container: &str, network: Network) -> Result<Vec<NetOp>> {
        plan(&BTreeMap::from([(host.to_owned(), container.to_owned())]), network)
    }

    #[test]
    fn names_follow_the_rules_of_the_kernel() {
        for (host, container, good) in [
            ("eth1", "net0", true),
            ("eth1", "", true),
            ("eth1", "net%d", true),
            ("eth1", "fifteen-letters", true),
            ("eth1", "sixteen--letters", false),
            ("eth1", "a%d%d", false),
            ("eth1", "a%s", false),
            ("eth1", "..", false),
            ("eth1", "a/b", false),
            ("eth1", "a b", false),
            ("eth%d", "net0", false),
            ("a:1", "net0", false),
        ] {
            assert_eq!(one(host, container, Network::Own).is_ok(), good, "{host} → {container}");
        }
        assert_eq!(one("eth1", "", Network::Own).unwrap()[0].container, "eth1");
    }

    #[test]
    fn devices_need_a_network_namespace() {
        assert!(one("eth1", "", Network::Host).unwrap_err().to_string().contains("no network namespace"));
        assert!(plan(&BTreeMap::new(), Network::Host).unwrap().is_empty());
    }
}

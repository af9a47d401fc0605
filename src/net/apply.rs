//! The requests that bring loopback up and move a device.

use super::{
    message::{Address, Link, Request, link_fixed},
    plan::NetOp,
    route::Route,
};
use crate::error::{Context, Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Loopback's number in every network namespace, `LOOPBACK_IFINDEX` in the kernel.
const LOOPBACK: i32 = 1;

/// `IFF_UP`
const UP: u32 = libc::IFF_UP.unsigned_abs();

/// Brings `lo` up in the namespace of `route`.
pub fn loopback_up(route: &Route) -> Result<()> {
    set_up(route, LOOPBACK).context("bring lo up")
}

/// Moves the devices from the namespace of `host` to that of `inside`, which `netns` refers to.
pub fn apply(ops: &[NetOp], host: &Route, inside: &Route, netns: BorrowedFd<'_>) -> Result<()> {
    ops.iter().try_for_each(|op| one(op, host, inside, netns).context(op))
}

fn one(op: &NetOp, host: &Route, inside: &Route, netns: BorrowedFd<'_>) -> Result<()> {
    let link = find(host, &op.host)?;
    let pattern = op.container.contains('%');
    let before = if pattern { links(inside)? } else { Vec::new() };
    if !pattern {
        require_free(inside, &op.container)?;
    }
    // The move takes them away.
    let addresses = addresses(host, link.index)?;
    send(host, &link, op, netns)?;
    let index = if pattern {
        newcomer(&before, &links(inside)?, &op.container)?
    } else {
        find(inside, &op.container)?.index
    };
    for address in addresses {
        let call = format!("RTM_NEWADDR({})", address.text());
        inside.acknowledge(address.add_to(index), &call)?;
    }
    set_up(inside, index)
}

/// The flags of a request for one thing.
const REQUEST: i32 = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
/// The flags of a request for a whole list.
const DUMP: i32 = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;

fn set_up(route: &Route, index: i32) -> Result<()> {
    let request = Request::new(libc::RTM_NEWLINK, REQUEST, &link_fixed(index, UP, UP));
    route.acknowledge(request, &format!("RTM_NEWLINK({index}, up)"))
}

fn find(route: &Route, name: &str) -> Result<Link> {
    let request = Request::new(libc::RTM_GETLINK, REQUEST, &link_fixed(0, 0, 0))
        .attribute(libc::IFLA_IFNAME, &terminated(name));
    let found = route.collect(request, &format!("RTM_GETLINK({name})"), Link::parse);
    found?.pop().ok_or_else(|| Error::new(format_args!("RTM_GETLINK({name}): the kernel names no device")))
}

fn links(route: &Route) -> Result<Vec<Link>> {
    route.collect(Request::new(libc::RTM_GETLINK, DUMP, &link_fixed(0, 0, 0)), "RTM_GETLINK", Link::parse)
}

fn addresses(route: &Route, index: i32) -> Result<Vec<Address>> {
    let request = Request::new(libc::RTM_GETADDR, DUMP, &[0; 8]);
    let mut addresses = route.collect(request, "RTM_GETADDR", Address::parse)?;
    addresses.retain(|address| address.index == index && address.is_permanent_and_global());
    Ok(addresses)
}

/// The kernel moves first and renames then: a name that is taken would leave the device in the container under its old
/// one.
fn require_free(route: &Route, name: &str) -> Result<()> {
    match find(route, name) {
        Ok(_) => Err(Error::new(format_args!("the container has a network device {name} already"))
            .hint("choose another name in linux.netDevices, or a pattern such as net%d")),
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Move and rename in one request. The kernel takes a device that is up down on the way, when nothing stands in the way any more
/// (`__dev_change_net_namespace`): at no moment, not even for who is killed, is it down on the host.
fn send(host: &Route, link: &Link, op: &NetOp, netns: BorrowedFd<'_>) -> Result<()> {
    let request = Request::new(libc::RTM_NEWLINK, REQUEST, &link_fixed(link.index, 0, 0))
        .attribute(libc::IFLA_NET_NS_FD, &netns.as_raw_fd().to_ne_bytes())
        .attribute(libc::IFLA_IFNAME, &terminated(&op.container));
    let call =
        format!("RTM_NEWLINK({}, netns={}, name={})", link.name, crate::sys::show(netns), op.container);
    host.acknowledge(request, &call).map_err(|error| match error.errno() {
        Some(libc::EPERM) => error
            .hint("this takes CAP_NET_ADMIN over the host's network namespace and does not work rootless"),
        Some(libc::EINVAL | libc::EOPNOTSUPP) => {
            error.hint("devices such as lo, bridges and tunnels are tied to their network namespace")
        }
        _ => error,
    })
}

/// The device that was not there before and has a name of this pattern.
fn newcomer(before: &[Link], after: &[Link], pattern: &str) -> Result<i32> {
    let (head, tail) = pattern.split_once("%d").unwrap_or((pattern, ""));
    let fits = |link: &&Link| {
        let number = link.name.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut new = after.iter().filter(|link| before.iter().all(|old| old.index != link.index)).filter(fits);
    match (new.next(), new.next()) {
        (Some(link), None) => Ok(link.index),
        _ => Err(Error::new(format_args!("cannot tell which device became {pattern}"))
            .hint("give it a whole name instead of a pattern")),
    }
}

fn terminated(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::plan::{Network, plan};
    use nix::sched::{CloneFlags, setns, unshare};
    use std::{collections::BTreeMap, fs::File, os::fd::AsFd, process::Command};

    /// Two fresh network namespaces; the calling thread is in the first one.
    struct Scratch {
        host: File,
        container: File,
        inside: Route,
        outside: Route,
    }

    fn here() -> File {
        File::open("/proc/thread-self/ns/net").unwrap()
    }

    fn scratch() -> Scratch {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let (host, outside) = (here(), Route::open().unwrap());
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let (container, inside) = (here(), Route::open().unwrap());
        setns(&host, CloneFlags::CLONE_NEWNET).unwrap();
        Scratch { host, container, inside, outside }
    }

    /// What ip(8) says in a namespace.
    fn ip(netns: &File, arguments: &str) -> String {
        let back = here();
        setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
        let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
        setns(back, CloneFlags::CLONE_NEWNET).unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn on_a_thread(test: impl FnOnce(&Scratch) + Send + 'static) {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        std::thread::spawn(move || test(&scratch())).join().unwrap();
    }

    fn move_device(scratch: &Scratch, host: &str, container: &str) -> Result<()> {
        let ops = plan(&BTreeMap::from([(host.to_owned(), container.to_owned())]), Network::Own).unwrap();
        apply(&ops, &scratch.outside, &scratch.inside, scratch.container.as_fd())
    }

    #[test]
    fn loopback_comes_up() {
        on_a_thread(|scratch| {
            assert!(!ip(&scratch.container, "-o link show lo").contains("LOOPBACK,UP"));
            loopback_up(&scratch.inside).unwrap();
            assert!(ip(&scratch.container, "-o link show lo").contains("LOOPBACK,UP"));
            assert!(ip(&scratch.container, "-o addr show lo").contains("127.0.0.1/8"));
        });
    }

    #[test]
    fn a_device_moves_with_its_permanent_global_addresses() {
        on_a_thread(|scratch| {
            ip(&scratch.host, "link add dev0 type veth peer name peer0");
            ip(&scratch.host, "link set dev0 up");
            ip(&scratch.host, "addr add 10.1.2.3/24 brd 10.1.2.255 dev dev0");
            ip(&scratch.host, "addr add 10.9.0.1 peer 10.9.0.2/32 dev dev0");
            ip(&scratch.host, "addr add 10.1.3.3/24 dev dev0 noprefixroute");
            ip(&scratch.host, "addr add 10.5.5.5/24 dev dev0 scope link");
            ip(&scratch.host, "addr add 2001:db8::7/64 dev dev0 nodad");
            ip(&scratch.host, "addr add 2001:db8:1::7/64 dev dev0 valid_lft 100 preferred_lft 100");
            move_device(scratch, "dev0", "net7").unwrap();
            let seen = ip(&scratch.container, "-o addr show dev net7");
            assert!(seen.contains("inet 10.1.2.3/24 brd 10.1.2.255"), "{seen}");
            assert!(seen.contains("inet 10.9.0.1 peer 10.9.0.2/32"), "{seen}");
            assert!(seen.contains("inet 10.1.3.3/24 scope global noprefixroute"), "{seen}");
            assert!(seen.contains("inet6 2001:db8::7/64"), "{seen}");
            assert!(!seen.contains("10.5.5.5") && !seen.contains("2001:db8:1::7"), "{seen}");
            assert!(ip(&scratch.container, "-o link show net7").contains("UP"));
            assert!(!ip(&scratch.host, "-o link").contains("dev0:"));
        });
    }

    #[test]
    fn a_device_that_cannot_move_stays_as_it_was() {
        on_a_thread(|scratch| {
            ip(&scratch.host, "link add a0 type veth peer name b0");
            ip(&scratch.host, "link set a0 up");
            ip(&scratch.host, "addr add 2001:db8::1/64 dev a0 nodad");
            ip(&scratch.container, "link add eth0 type bridge");
            let error = move_device(scratch, "a0", "eth0").unwrap_err();
            assert!(
                error.to_string().ends_with("the container has a network device eth0 already"),
                "{error}"
            );
            ip(&scratch.host, "link add c0 type bridge");
            ip(&scratch.host, "link set c0 up");
            ip(&scratch.host, "addr add 2001:db8:1::1/64 dev c0 nodad");
            let error = move_device(scratch, "c0", "eth7").unwrap_err();
            assert!(error.errno() == Some(libc::EINVAL) && error.remedy().is_some(), "{error}");
            for (device, address) in [("a0", "2001:db8::1/64"), ("c0", "2001:db8:1::1/64")] {
                let seen = ip(&scratch.host, &format!("-o addr show dev {device} up"));
                assert!(seen.contains(address), "{seen}");
            }
            let error = move_device(scratch, "none", "eth0").unwrap_err();
            assert!(error.to_string().contains("RTM_GETLINK(none): No such device"), "{error}");
        });
    }

    #[test]
    fn a_pattern_finds_a_free_name() {
        on_a_thread(|scratch| {
            ip(&scratch.host, "link add a1 type veth peer name b1");
            ip(&scratch.host, "addr add 10.2.0.1/24 dev a1");
            ip(&scratch.container, "link add eth0 type bridge");
            move_device(scratch, "a1", "eth%d").unwrap();
            let seen = ip(&scratch.container, "-o addr show dev eth1");
            assert!(seen.contains("10.2.0.1/24"), "{seen}");
        });
    }
}

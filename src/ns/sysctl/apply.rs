//! The writes.

use super::plan::SysctlOp;
use crate::{
    error::{Context, Error, Result},
    sys::{prctl, proc::Proc},
};

/// Writes the sysctls. `proc` has to show all of procfs (no `subset=pid`); the namespaces are the caller's.
pub fn apply(ops: &[SysctlOp], proc: &Proc) -> Result<()> {
    ops.iter().try_for_each(|op| one(op, proc).context(op))
}

fn one(op: &SysctlOp, proc: &Proc) -> Result<()> {
    let (path, value, owner) = match op {
        SysctlOp::DomainName(name) => return crate::sys::ns::set_domainname(name),
        SysctlOp::Write { name, value, owner } => (format!("sys/{}", name.path()), value.as_bytes(), owner),
    };
    let Err(error) = proc.write(&path, value) else { return Ok(()) };
    match (error.errno(), owner) {
        (Some(libc::EACCES | libc::EPERM), Some(owner)) => write_as(*owner, proc, &path, value),
        _ => Err(explained(error)),
    }
}

fn write_as(owner: u32, proc: &Proc, path: &str, value: &[u8]) -> Result<()> {
    let own = nix::unistd::geteuid().as_raw();
    prctl::set_effective_uid(owner)?;
    let written = proc.write(path, value);
    prctl::set_effective_uid(own)?;
    // The change resets it to fs.suid_dumpable (CVE-2016-9962).
    prctl::set_dumpable(false)?;
    written.map_err(explained)
}

fn explained(error: Error) -> Error {
    match error.errno() {
        Some(libc::ENOENT) => error
            .hint("this kernel, a namespace of this type, or a /proc with `subset=pid` has no such sysctl"),
        Some(libc::EACCES | libc::EPERM) => error.hint("the namespace belongs to another user namespace"),
        Some(libc::EINVAL | libc::ERANGE) => error.hint("the kernel does not take this value"),
        Some(libc::EROFS | libc::EXDEV) => error.hint(
            "/proc/sys is read-only or masked where the runtime was started (an outer container's procMount)",
        ),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cred::plan::tests::mapped,
        ns::sysctl::{Input, plan},
        spec::{NamespaceKind, Sysctl},
        sys::scratch::{Child, child},
    };
    use nix::{
        sched::{CloneFlags, setns},
        unistd::{setresgid, setresuid},
    };
    use std::{collections::BTreeMap, fs::File};

    const JOINED: CloneFlags =
        CloneFlags::CLONE_NEWIPC.union(CloneFlags::CLONE_NEWNET).union(CloneFlags::CLONE_NEWUTS);

    fn planned(entries: &[(&str, &str)]) -> crate::ns::sysctl::Writes {
        use NamespaceKind::{Ipc, Network, User, Uts};
        let sysctl: BTreeMap<_, _> =
            entries.iter().map(|(k, v)| (Sysctl::parse(k).unwrap(), (*v).to_owned())).collect();
        plan(&sysctl, &Input { private: &[Ipc, Network, User, Uts], maps: &mapped() }).unwrap()
    }

    fn init(ops: Vec<SysctlOp>) -> Child {
        let mut init = child(JOINED | CloneFlags::CLONE_NEWUSER, move || {
            setresgid(0.into(), 0.into(), 0.into())?;
            setresuid(0.into(), 0.into(), 0.into())?;
            let proc = Proc::open()?;
            apply(&ops, &proc)?;
            ops.iter().map(|op| value(op, &proc)).collect()
        });
        // Wait for it: a report is complete when the work is done.
        let report = init.report();
        assert!(!report.starts_with("failed"), "{report}");
        init
    }

    fn value(op: &SysctlOp, proc: &Proc) -> Result<String> {
        let path = match op {
            SysctlOp::Write { name, .. } => format!("sys/{}", name.path()),
            SysctlOp::DomainName(_) => "sys/kernel/domainname".to_owned(),
        };
        Ok(format!("{path}={}", proc.read_text(&path)?))
    }

    fn join(init: &Child) -> Result<Proc> {
        for name in ["ipc", "net", "uts"] {
            setns(File::open(format!("/proc/{}/ns/{name}", init.pid))?, CloneFlags::empty())?;
        }
        Proc::open()
    }

    #[test]
    fn an_assembler_reaches_the_namespaces_of_another_user_namespace() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let writes = planned(&[
            ("kernel.shmmax", "123456"),
            ("fs.mqueue.msg_max", "12"),
            ("net.ipv4.ip_default_ttl", "33"),
            ("net.ipv4.ping_group_range", "0 65535"),
            ("kernel.domainname", "example.net"),
        ]);
        let init = init(writes.inside);
        let mut assembler = child(CloneFlags::empty(), || {
            let proc = join(&init)?;
            apply(&writes.outside, &proc)?;
            writes.outside.iter().map(|op| value(op, &proc)).collect()
        });
        assert_eq!(
            assembler.report(),
            "sys/fs/mqueue/msg_max=12\nsys/kernel/domainname=example.net\nsys/kernel/shmmax=123456\n\
             sys/net/ipv4/ip_default_ttl=33\nsys/net/ipv4/ping_group_range=100000\t165535\n"
        );
        assert_eq!(assembler.status("Uid"), "0\t0\t0\t0");
    }

    #[test]
    fn init_limits_its_own_user_namespace() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let writes = planned(&[("user.max_user_namespaces", "0")]);
        assert!(writes.outside.is_empty());
        let before = std::fs::read("/proc/sys/user/max_user_namespaces").unwrap();
        let mut child = child(CloneFlags::CLONE_NEWUSER, || {
            setresuid(0.into(), 0.into(), 0.into())?;
            apply(&writes.inside, &Proc::open()?)?;
            Ok(format!("{:?}", nix::sched::unshare(CloneFlags::CLONE_NEWUSER)))
        });
        assert_eq!(child.report(), "Err(ENOSPC)");
        assert_eq!(std::fs::read("/proc/sys/user/max_user_namespaces").unwrap(), before);
    }

    #[test]
    fn a_refused_value_names_the_sysctl() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let bad = planned(&[("net.ipv4.ip_default_ttl", "never")]).outside;
        let gone = planned(&[("net.ipv4.no_such_thing", "1")]).outside;
        let mut child = child(CloneFlags::CLONE_NEWNET, || {
            let proc = Proc::open()?;
            Ok([bad, gone].map(|ops| apply(&ops, &proc).unwrap_err().to_string()).join("|"))
        });
        let report = child.report();
        assert!(report.starts_with("set sysctl net.ipv4.ip_default_ttl to \"never\": write"), "{report}");
        assert!(
            report.contains("EINVAL") && report.contains("no_such_thing") && report.contains("ENOENT"),
            "{report}"
        );
    }
}

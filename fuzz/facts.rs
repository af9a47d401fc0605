//! Two hosts to plan for.

use urun::{
    cgroup, cred,
    host::{
        caller::Caller,
        cgroups::{Cgroups, Hierarchy},
    },
    lsm, mount, ns,
    plan::{
        Descriptors,
        create::{Facts, Request, plan as decide},
    },
    spec::Config,
    systemd::{Address, Instance, manager::About},
};

/// Root of a host with version 2 control groups and AppArmor.
pub fn root() -> Facts {
    facts(0, u64::MAX)
}

/// Nobody in particular, without subordinate ids.
pub fn ordinary() -> Facts {
    facts(1000, 0)
}

/// Root where systemd keeps the groups.
pub fn managed() -> Facts {
    let keeper = cgroup::Systemd {
        instance: Instance::System,
        address: Address::bus("/run/dbus/system_bus_socket"),
        about: About { version: 257, control_group: String::new() },
        placing: cgroup::unit::Placing::Birth,
    };
    Facts { systemd: Some(Ok(keeper)), ..root() }
}

fn facts(uid: u32, capabilities: u64) -> Facts {
    let unified = Hierarchy {
        mount: "/sys/fs/cgroup".into(),
        controllers: ["cpu", "cpuset", "io", "memory", "pids"].map(str::to_owned).into(),
        own: "/user.slice".to_owned(),
    };
    Facts {
        caller: Caller {
            euid: uid,
            egid: uid,
            capabilities,
            permitted: capabilities,
            bounding: u64::MAX,
            ignored: 0,
            initial: true,
        },
        namespaces: ns::plan::Facts {
            euid: uid,
            egid: uid,
            privileged: capabilities != 0,
            subordinate: None,
            lent: None,
            joined: None,
            setgroups_denied: false,
            late_cgroup: false,
        },
        cgroups: Cgroups { unified: Some(unified), legacy: Vec::new() },
        systemd: None,
        lsm: lsm::Facts { apparmor: Some(lsm::AppArmor::Unconfined), selinux: false },
    }
}

/// Plans; an error is as good as a plan, and says something.
pub fn plan(config: &Config, facts: &Facts) {
    let request = Request {
        id: "fuzz".to_owned(),
        bundle: "/bundle".into(),
        root: mount::Root::Pivot,
        keyring: cred::Keyring::Callers,
        descriptors: Descriptors::default(),
        hardened: facts.caller.euid != 0,
        driver: match facts.systemd {
            Some(_) => cgroup::plan::Driver::Systemd,
            None => cgroup::plan::Driver::Cgroupfs,
        },
    };
    if let Err(error) = decide(config, &request, facts) {
        assert!(!error.to_string().is_empty());
    }
}

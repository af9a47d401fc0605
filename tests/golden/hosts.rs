//! Recorded hosts: what a plan asks about each.

use urun::{
    host::{
        caller::Caller,
        cgroups::{self, Cgroups, Hierarchy},
    },
    lsm,
    ns::{self, plan::Maps},
    plan::create::Facts,
    spec::{Config, IdMap, NamespaceKind},
};

/// A host with the caller on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Root, version 2 control groups alone, AppArmor: Debian 13 and later, Ubuntu.
    Root,
    /// Root, version 2 control groups alone, SELinux: Fedora, RHEL.
    Selinux,
    /// Root, version 1 control groups with an empty version 2 beside them.
    Hybrid,
    /// Root of a user namespace that Podman has made for an ordinary user.
    Podman,
    /// An ordinary user with a subordinate range, with a delegated group of systemd's.
    Range,
    /// An ordinary user without subordinate ids, whom nobody has delegated a group.
    Single,
}

impl Host {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Root, Self::Selinux, Self::Hybrid, Self::Podman, Self::Range, Self::Single];

    /// What the host says about `config`.
    pub fn facts(self, config: &Config) -> Facts {
        let caller = self.caller();
        let privileged = caller.is_privileged();
        let cgroups = self.cgroups();
        let is_joined =
            config.linux.namespace(NamespaceKind::User).is_some_and(|namespace| namespace.path.is_some());
        Facts {
            namespaces: ns::plan::Facts {
                euid: caller.euid,
                egid: caller.egid,
                privileged,
                subordinate: (self == Self::Range).then(range),
                lent: None,
                joined: is_joined.then(|| joined(config)),
                setgroups_denied: false,
                late_cgroup: !cgroups.legacy.is_empty(),
            },
            caller,
            cgroups,
            systemd: None,
            lsm: match self {
                Self::Selinux => lsm::Facts { apparmor: None, selinux: true },
                Self::Root => lsm::Facts { apparmor: Some(lsm::AppArmor::Unconfined), selinux: false },
                _ => lsm::Facts::default(),
            },
        }
    }

    fn caller(self) -> Caller {
        let all = (1 << 41) - 1;
        match self {
            Self::Root | Self::Selinux | Self::Hybrid => Caller {
                euid: 0,
                egid: 0,
                capabilities: all,
                permitted: all,
                bounding: all,
                ignored: 0,
                initial: true,
            },
            Self::Podman => Caller { initial: false, ..Self::Root.caller() },
            Self::Range | Self::Single => Caller {
                euid: 1000,
                egid: 1000,
                capabilities: 0,
                permitted: 0,
                bounding: all,
                ignored: 0,
                initial: true,
            },
        }
    }

    fn cgroups(self) -> Cgroups {
        let user = "/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope";
        match self {
            Self::Root | Self::Selinux => unified("/system.slice/crio.service"),
            Self::Hybrid => cgroups::parse(HYBRID_MOUNTS, HYBRID_GROUPS),
            Self::Podman | Self::Range => unified(user),
            Self::Single => unified("/user.slice/user-1000.slice/session-3.scope"),
        }
    }
}

fn unified(own: &str) -> Cgroups {
    let controllers = "cpuset cpu io memory hugetlb pids rdma misc";
    let controllers = controllers.split(' ').map(str::to_owned).collect();
    let hierarchy = Hierarchy { mount: "/sys/fs/cgroup".into(), controllers, own: own.to_owned() };
    Cgroups { unified: Some(hierarchy), legacy: Vec::new() }
}

/// The caller first, then 65536 ids as useradd(8) gives them.
fn range() -> Maps {
    let lines = vec![
        IdMap { container: 0, host: 1000, size: 1 },
        IdMap { container: 1, host: 100_000, size: 65_536 },
    ];
    Maps { uids: lines.clone(), gids: lines }
}

/// What the namespace that config.json names by path really has: what CRI-O says, and what Podman does not say.
fn joined(config: &Config) -> Maps {
    let linux = &config.linux;
    match linux.uid_mappings.iter().map(|line| u64::from(line.size)).sum::<u64>() {
        0 | 1 => Maps {
            uids: vec![IdMap { container: 0, host: 200_000, size: 65_536 }],
            gids: vec![IdMap { container: 0, host: 200_000, size: 65_536 }],
        },
        _ => Maps { uids: linux.uid_mappings.clone(), gids: linux.gid_mappings.clone() },
    }
}

/// systemd with `systemd.unified_cgroup_hierarchy=0`.
const HYBRID_MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,nosuid,nodev,noexec - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw,nsdelegate
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,nodev,noexec,relatime - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,nosuid,nodev,noexec,relatime - cgroup cgroup rw,cpuset
41 31 0:38 / /sys/fs/cgroup/blkio rw,nosuid,nodev,noexec,relatime - cgroup cgroup rw,blkio
35 31 0:32 / /sys/fs/cgroup/devices rw,nosuid,nodev,noexec,relatime - cgroup cgroup rw,devices
36 31 0:33 / /sys/fs/cgroup/freezer rw,nosuid,nodev,noexec,relatime - cgroup cgroup rw,freezer
37 31 0:34 / /sys/fs/cgroup/hugetlb rw,nosuid,nodev,noexec,relatime - cgroup cgroup rw,hugetlb
38 31 0:35 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,nosuid,nodev,noexec,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime - cgroup cgroup rw,xattr,name=systemd
";
const HYBRID_GROUPS: &str = "\
9:blkio:/
8:pids:/
7:memory:/
6:hugetlb:/
5:freezer:/
4:devices:/
3:cpuset:/
2:cpu,cpuacct:/
1:name=systemd:/system.slice/crio.service
0::/system.slice/crio.service
";

//! Plans as text: resources × layouts of the host.

use super::{
    Caller, Current, Driver, Input, Systemd,
    plan::{plan, update},
};
use crate::{
    host::cgroups::{Cgroups, Hierarchy},
    ns::idmap::Outside,
    spec::{
        config::User,
        linux::{Cpu, DeviceRule, DeviceRuleKind, IdMap, Linux, Memory, Namespace, NamespaceKind, Resources},
        mount::{Attrs, Mount, MountKind},
    },
};
use std::collections::BTreeMap;

fn hierarchy(mount: &str, controllers: &str, own: &str) -> Hierarchy {
    let controllers = controllers.split_whitespace().map(str::to_owned).collect();
    Hierarchy { mount: mount.into(), controllers, own: own.to_owned() }
}

fn pure_v2(controllers: &str, own: &str) -> Cgroups {
    Cgroups { unified: Some(hierarchy("/sys/fs/cgroup", controllers, own)), legacy: Vec::new() }
}

fn v1() -> Cgroups {
    let mounts = [
        ("blkio", "blkio"),
        ("cpu,cpuacct", "cpu cpuacct"),
        ("cpuset", "cpuset"),
        ("devices", "devices"),
        ("freezer", "freezer"),
        ("memory", "memory"),
        ("pids", "pids"),
        ("systemd", "name=systemd"),
    ];
    let legacy =
        mounts.map(|(dir, controllers)| hierarchy(&format!("/sys/fs/cgroup/{dir}"), controllers, "/user/me"));
    Cgroups { unified: None, legacy: legacy.to_vec() }
}

fn hybrid() -> Cgroups {
    Cgroups { unified: Some(hierarchy("/sys/fs/cgroup/unified", "hugetlb", "/user/me")), ..v1() }
}

/// As an engine would ask.
fn usual() -> Resources {
    let deny = DeviceRule {
        allow: false,
        kind: DeviceRuleKind::All,
        major: None,
        minor: None,
        read: true,
        write: true,
        mknod: true,
    };
    Resources {
        devices: vec![deny],
        memory: Memory {
            limit: Some(1 << 20),
            swap: Some(1 << 21),
            swappiness: Some(60),
            ..Memory::default()
        },
        cpu: Cpu {
            shares: Some(512),
            quota: Some(50_000),
            period: Some(100_000),
            cpus: Some("0-1".into()),
            ..Cpu::default()
        },
        pids_limit: Some(100),
        hugepages: vec![("2MB".into(), 4096)],
        ..Resources::default()
    }
}

struct Case {
    linux: Linux,
    mounts: Vec<Mount>,
    outside: Outside,
    user: User,
    host: Cgroups,
    driver: Driver,
    systemd: Option<crate::error::Result<Systemd>>,
    annotations: BTreeMap<String, String>,
    caller: Caller,
}

impl Case {
    fn new(host: Cgroups, path: Option<&str>, resources: Resources) -> Self {
        let linux = Linux { cgroups_path: path.map(str::to_owned), resources, ..Linux::default() };
        Self {
            linux,
            mounts: Vec::new(),
            outside: Outside::Same,
            user: User::default(),
            host,
            driver: Driver::Cgroupfs,
            systemd: None,
            annotations: BTreeMap::new(),
            caller: Caller::Privileged,
        }
    }

    fn unprivileged(mut self) -> Self {
        self.caller = Caller::Unprivileged;
        self
    }

    fn text(&self) -> String {
        let input = Input {
            linux: &self.linux,
            mounts: &self.mounts,
            user: Some(&self.user),
            outside: &self.outside,
            id: "c1",
            host: &self.host,
            driver: self.driver,
            systemd: self.systemd.as_ref(),
            annotations: &self.annotations,
            caller: self.caller,
        };
        match plan(&input) {
            Ok(plan) => plan.to_string(),
            Err(error) => format!("error: {error}; {}\n", error.remedy().unwrap_or("no hint")),
        }
    }
}

const ALL: &str = "cpuset cpu io memory hugetlb pids rdma";

#[test]
fn pure_version_two() {
    let case = Case::new(pure_v2(ALL, "/"), Some("/kubepods/pod1/crio-1"), usual());
    let expected = "\
/sys/fs/cgroup:/kubepods/pod1/crio-1
  enable cpuset cpu io memory hugetlb pids rdma
  memory.max = 1048576
  memory.swap.max = 1048576
  pids.max = 100
  cpu.weight = 59
  cpu.max = 50000 100000
  cpuset.cpus = 0-1
  hugetlb.2MB.rsvd.max = 4096 (if there)
  hugetlb.2MB.max = 4096
  device program of 89 instructions
ignored: memory.swappiness
";
    assert_eq!(case.text(), expected);
}

#[test]
fn version_two_without_controllers() {
    let bare = || pure_v2("", "/");
    assert_eq!(Case::new(bare(), None, Resources::default()).text(), "/sys/fs/cgroup:/c1\n");
    let lifted = Resources { pids_limit: Some(-1), ..Resources::default() };
    assert_eq!(Case::new(bare(), None, lifted).text(), "/sys/fs/cgroup:/c1\n");
    let limited = Resources { pids_limit: Some(5), ..Resources::default() };
    let text = Case::new(bare(), None, limited).text();
    assert!(
        text.starts_with(
            "error: plan control groups: limit pids.max=5: cgroup controller pids is not available; `cat"
        ),
        "{text}"
    );
}

#[test]
fn hybrid_gives_each_limit_to_the_version_that_has_its_controller() {
    let expected = "\
/sys/fs/cgroup/blkio:/a/b
/sys/fs/cgroup/cpu,cpuacct:/a/b
  cpu.shares = 512
  cpu.cfs_period_us = 100000 + cpu.cfs_quota_us = 50000
/sys/fs/cgroup/cpuset:/a/b
  cpuset.cpus = 0-1
/sys/fs/cgroup/devices:/a/b
  devices.deny = a
  devices.allow = c *:* m
  devices.allow = b *:* m
  devices.allow = c 1:3 rwm
  devices.allow = c 1:5 rwm
  devices.allow = c 1:7 rwm
  devices.allow = c 1:8 rwm
  devices.allow = c 1:9 rwm
  devices.allow = c 5:0 rwm
  devices.allow = c 5:1 rwm
  devices.allow = c 5:2 rwm
  devices.allow = c 136:* rwm
  devices.allow = c 10:200 rwm
/sys/fs/cgroup/freezer:/a/b
/sys/fs/cgroup/memory:/a/b
  memory.limit_in_bytes = 1048576 + memory.memsw.limit_in_bytes = 2097152
  memory.swappiness = 60
/sys/fs/cgroup/pids:/a/b
  pids.max = 100
/sys/fs/cgroup/systemd:/a/b
/sys/fs/cgroup/unified:/a/b
  enable hugetlb
  hugetlb.2MB.rsvd.max = 4096 (if there)
  hugetlb.2MB.max = 4096
";
    assert_eq!(Case::new(hybrid(), Some("a/b"), usual()).text(), expected);
}

#[test]
fn version_one_alone_lacks_what_is_not_mounted() {
    let text = Case::new(v1(), None, usual()).text();
    let expected = "error: plan control groups: limit hugetlb.2MB.limit_in_bytes=4096: cgroup controller hugetlb is not available";
    assert!(text.starts_with(expected), "{text}");
    let mut without = usual();
    without.hugepages.clear();
    let text = Case::new(v1(), None, without).text();
    assert!(text.contains("/sys/fs/cgroup/systemd:/c1\n") && !text.contains("unified"), "{text}");
    let unified = Resources { unified: [("pids.max".into(), "5".into())].into(), ..Resources::default() };
    let text = Case::new(v1(), None, unified).text();
    assert!(text.contains("no version 2 hierarchy"), "{text}");
}

#[test]
fn a_rootless_caller_goes_without_unless_it_asks_for_limits() {
    let own = "/user.slice/user@1000.service/app.slice/term.scope";
    let mut resources = Resources { devices: usual().devices, ..Resources::default() };
    let without = Case::new(pure_v2("memory pids", own), None, resources.clone()).unprivileged();
    let expected = "\
/sys/fs/cgroup:/user.slice/user@1000.service/app.slice/c1 or none
  through /sys/fs/cgroup/user.slice/user@1000.service/app.slice
  enable memory pids
ignored: devices
";
    assert_eq!(without.text(), expected);
    resources.pids_limit = Some(0);
    let limited = Case::new(pure_v2("memory pids", own), Some("/x"), resources).unprivileged();
    let expected = "\
/sys/fs/cgroup:/x
  through /sys/fs/cgroup
  enable memory pids
  late pids.max = 0
ignored: devices
";
    assert_eq!(limited.text(), expected);
    // Nor where there is a service manager, and asking it has failed.
    let answer = |errno| {
        let case = Case::new(pure_v2("memory pids", "/"), None, Resources::default()).unprivileged();
        let systemd = Err(crate::error::Error::syscall("connect", errno));
        Case { driver: Driver::Systemd, systemd: Some(systemd), ..case }.text()
    };
    let nobody = [libc::ENOENT, libc::ECONNREFUSED, libc::EACCES, libc::EPERM].map(answer);
    assert!(nobody.iter().all(|text| text.starts_with("no cgroup: no systemd")));
    assert_eq!(answer(libc::ENOMEM), "error: connect: Out of memory (ENOMEM); no hint\n");
}

#[test]
fn unified_comes_last_and_wins() {
    let unified = [
        ("memory.max".to_owned(), "5".to_owned()),
        ("cgroup.max.depth".to_owned(), "3".to_owned()),
        ("io.max".to_owned(), "8:0 rbps=1\n8:16 wbps=2".to_owned()),
    ];
    let memory = Memory { limit: Some(7), ..Memory::default() };
    let resources = Resources { memory, unified: unified.into(), ..Resources::default() };
    let expected = "\
/sys/fs/cgroup:/c1
  enable memory io
  memory.max = 7
  cgroup.max.depth = 3
  io.max = 8:0 rbps=1
8:16 wbps=2
  memory.max = 5
";
    assert_eq!(Case::new(pure_v2("memory io", "/"), None, resources).text(), expected);
    let both = |converted: i64, unified: &str| Resources {
        pids_limit: Some(converted),
        unified: [("pids.max".into(), unified.into())].into(),
        ..Resources::default()
    };
    for (converted, unified, expected) in
        [(0, "5", "  pids.max = 5\n"), (5, "0", "  pids.max = 5\n  late pids.max = 0\n")]
    {
        let text = Case::new(pure_v2("pids", "/"), None, both(converted, unified)).text();
        assert_eq!(text, format!("/sys/fs/cgroup:/c1\n  enable pids\n{expected}"));
    }
    for (file, complaint) in
        [("misc.max", "controller misc is not available"), ("nonsense", "no CONTROLLER.PARAMETER")]
    {
        let resources = Resources { unified: [(file.into(), "1".into())].into(), ..Resources::default() };
        let text = Case::new(pure_v2("memory io", "/"), None, resources).text();
        assert!(text.contains(complaint), "{text}");
    }
}

/// What `update` writes on a pure version 2 host whose group has a quota of 30000 in 60000 µs and a limit of 1000 bytes.
fn updated(resources: &Resources) -> String {
    let current = Current { cpu_max: Some(("30000", 60_000)), memory_max: Some(1000) };
    match update(resources, &pure_v2(ALL, "/"), current) {
        Ok(update) => update.to_string(),
        Err(error) => format!("error: {error}\n"),
    }
}

#[test]
fn an_update_writes_what_is_named_and_no_more() {
    let memory = |memory: Memory| Resources { memory, ..Resources::default() };
    let cpu = |cpu: Cpu| Resources { cpu, ..Resources::default() };
    for (resources, expected) in [
        (Resources::default(), ""),
        (memory(Memory { limit: Some(2000), ..Memory::default() }), "  memory.max = 2000\n"),
        (
            memory(Memory { limit: Some(2000), swap: Some(2000), ..Memory::default() }),
            "  memory.max = 2000\n  memory.swap.max = 0 (if there)\n",
        ),
        (memory(Memory { swap: Some(2500), ..Memory::default() }), "  memory.swap.max = 1500\n"),
        (memory(Memory { swap: Some(-1), ..Memory::default() }), "  memory.swap.max = max (if there)\n"),
        (
            memory(Memory { limit: Some(-1), ..Memory::default() }),
            "  memory.max = max (if there)\n  memory.swap.max = max (if there)\n",
        ),
        (
            memory(Memory { swap: Some(999), ..Memory::default() }),
            "error: plan control groups: resources.memory.swap 999 is below resources.memory.limit 1000, which it includes\n",
        ),
        (memory(Memory { reservation: Some(0), limit: Some(0), swap: Some(0), ..Memory::default() }), ""),
        (cpu(Cpu { quota: Some(50_000), ..Cpu::default() }), "  cpu.max = 50000 60000\n"),
        (cpu(Cpu { period: Some(20_000), ..Cpu::default() }), "  cpu.max = 30000 20000\n"),
        (cpu(Cpu { quota: Some(-1), ..Cpu::default() }), "  cpu.max = max 60000 (if there)\n"),
        (
            cpu(Cpu { quota: Some(90_000), burst: Some(10_000), ..Cpu::default() }),
            "  cpu.max = 90000 60000 + cpu.max.burst = 10000\n",
        ),
        (cpu(Cpu { burst: Some(0), ..Cpu::default() }), "  cpu.max.burst = 0 (if there)\n"),
        (
            cpu(Cpu { shares: Some(1024), idle: Some(0), ..Cpu::default() }),
            "  cpu.weight = 100 + cpu.idle = 0\n",
        ),
        (cpu(Cpu { shares: Some(1024), idle: Some(1), ..Cpu::default() }), "  cpu.idle = 1\n"),
        (Resources { pids_limit: Some(0), ..Resources::default() }, "  pids.max = 0\n"),
        (Resources { devices: usual().devices, ..Resources::default() }, ""),
    ] {
        let expected = match expected {
            "" => String::new(),
            error if error.starts_with("error") => error.to_owned(),
            writes => format!("/sys/fs/cgroup\n{writes}"),
        };
        assert_eq!(updated(&resources), expected, "{resources:?}");
    }
}

#[test]
fn an_update_finds_the_version_that_has_the_controller() {
    let mut resources = usual();
    resources.cpu.quota = None;
    let expected = "\
/sys/fs/cgroup/cpu,cpuacct
  cpu.shares = 512
  cpu.cfs_period_us = 100000
/sys/fs/cgroup/cpuset
  cpuset.cpus = 0-1
/sys/fs/cgroup/memory
  memory.limit_in_bytes = 1048576 + memory.memsw.limit_in_bytes = 2097152
  memory.swappiness = 60
/sys/fs/cgroup/pids
  pids.max = 100
/sys/fs/cgroup/unified
  hugetlb.2MB.rsvd.max = 4096 (if there)
  hugetlb.2MB.max = 4096
";
    assert_eq!(update(&resources, &hybrid(), Current::default()).unwrap().to_string(), expected);
}

#[test]
fn nothing_is_planned_where_nothing_can_be() {
    let mut case = Case::new(hybrid(), Some("/a"), Resources::default());
    case.driver = Driver::Disabled;
    assert_eq!(case.text(), "no cgroup: control groups are disabled\n");
    case.linux.resources = usual();
    assert!(case.text().starts_with("error: linux.resources has limits, but control groups are disabled"));
    let none = Case::new(Cgroups::default(), None, Resources::default());
    assert_eq!(none.text(), "no cgroup: no cgroup hierarchy is mounted\n");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for path in ["/../x", "a/../../b", "/a\nb", "/a\0b", "/"] {
        let text = Case::new(pure_v2("", "/"), Some(path), Resources::default()).text();
        assert!(text.starts_with("error: linux.cgroupsPath"), "{text}");
    }
    let hostile = Resources { hugepages: vec![("../../x".into(), 1)], ..Resources::default() };
    let text = Case::new(pure_v2("hugetlb", "/"), None, hostile).text();
    assert!(text.contains("contains a slash"), "{text}");
}

#[test]
fn the_group_belongs_to_the_process_where_it_is_meant_to() {
    let mount = |read_only: bool| Mount {
        attrs: Attrs { set: if read_only { libc::MOUNT_ATTR_RDONLY } else { 0 }, clear: 0 },
        ..Mount::plain(0, "/sys/fs/cgroup", MountKind::Cgroup)
    };
    let lines = vec![IdMap { container: 0, host: 100_000, size: 65_536 }];
    let mut case = Case::new(pure_v2("", "/"), None, Resources::default());
    case.linux.namespaces = vec![Namespace { kind: NamespaceKind::Cgroup, path: None }];
    case.outside = Outside::Mapped { uids: lines.clone(), gids: lines };
    case.user = User { uid: 5, gid: 6, ..User::default() };
    case.mounts = vec![mount(false)];
    let owned = "/sys/fs/cgroup:/c1\n  delegated\n  owner 100005:100006\n";
    assert_eq!(case.text(), owned);
    case.mounts = vec![mount(true), mount(false)];
    assert_eq!(case.text(), owned, "the last mount counts");
    case.user.uid = 70_000;
    assert!(
        case.text().contains("hand the cgroup to user 70000:6: the ids are not mapped"),
        "{}",
        case.text()
    );
    case.user.uid = 0;

    case.mounts = vec![mount(true)];
    assert_eq!(case.text(), "/sys/fs/cgroup:/c1\n", "a read-only mount");
    case.mounts = vec![mount(false)];
    case.linux.namespaces[0].path = Some("/proc/1/ns/cgroup".into());
    assert_eq!(case.text(), "/sys/fs/cgroup:/c1\n", "somebody else's namespace");
    case.linux.namespaces[0].path = None;
    case.host = hybrid();
    assert!(!case.text().contains("owner"), "version 1 is never handed over");
}

#[test]
fn the_limits_of_an_ordinary_users_container_are_above_what_it_writes_to() {
    let own = "/user.slice/user@1000.service/app.slice/term.scope";
    let mut case = Case::new(pure_v2("memory pids", own), None, Resources::default()).unprivileged();
    case.linux.namespaces = vec![Namespace { kind: NamespaceKind::Cgroup, path: None }];
    case.mounts = vec![Mount::plain(0, "/sys/fs/cgroup", MountKind::Cgroup)];
    let expected = "\
/sys/fs/cgroup:/user.slice/user@1000.service/app.slice/c1 or none
  through /sys/fs/cgroup/user.slice/user@1000.service/app.slice
  enable memory pids
  delegated
  owner 0:0
  birth in container
";
    assert_eq!(case.text(), expected);
    case.annotations.insert("run.oci.systemd.subgroup".into(), String::new());
    assert!(!case.text().contains("birth in"), "the annotation wants none");
    case.annotations.insert("run.oci.delegate-cgroup".into(), "payload".into());
    case.annotations.remove("run.oci.systemd.subgroup");
    assert!(case.text().contains("  birth in container\n  move to payload"), "{}", case.text());
}

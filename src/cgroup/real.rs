//! Against the kernel, as root: whatever hierarchies this machine has. Without root, or without cgroup file systems, there is
//! nothing to see and the tests end at once.

use super::{
    Caller, Cgroup, Current, Freezer, Owner, Plan, Record, Refused, apply, create, plan,
    scratch::{Scratch, as_nobody, decide, deny_all, host, in_pure_v2, name, pid, read, unified},
};
use crate::{
    host::cgroups::Cgroups,
    spec::linux::{Cpu, Memory, Resources},
};
use nix::mount::MsFlags;
use std::{io::Write, os::unix::fs::MetadataExt, path::Path};

#[test]
fn limits_arrive_in_the_files_of_version_one() {
    let Some(host) = host().filter(|host| !host.legacy.is_empty()) else { return };
    let dir_of = |controller: &str| host.legacy.iter().find(|h| h.has(controller)).map(|h| h.mount.clone());
    let mut scratch = Scratch::default();
    let wanted = Resources {
        devices: deny_all(),
        memory: Memory { limit: Some(64 << 20), swap: Some(128 << 20), ..Memory::default() },
        cpu: Cpu {
            shares: Some(512),
            quota: Some(50_000),
            period: Some(200_000),
            burst: Some(10_000),
            cpus: Some("0".into()),
            ..Cpu::default()
        },
        pids_limit: Some(32),
        ..Resources::default()
    };
    let path = format!("/{}/inner", name("v1"));
    let cgroup = scratch.create(&decide(&host, &path, wanted, Caller::Privileged).unwrap()).unwrap();
    let expected = [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.memsw.limit_in_bytes", "134217728"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("cpu", "cpu.cfs_period_us", "200000"),
        ("cpu", "cpu.cfs_burst_us", "10000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.mems", "0"),
        ("pids", "pids.max", "32"),
    ];
    for (controller, file, value) in expected {
        let dir = dir_of(controller).unwrap().join(&path[1..]);
        assert_eq!(read(&dir, file), value, "{file}");
    }
    let devices = read(&dir_of("devices").unwrap().join(&path[1..]), "devices.list");
    assert!(
        devices.contains("c 1:3 rwm") && devices.contains("b *:* m") && !devices.contains("a *:*"),
        "{devices}"
    );

    let shell = scratch.shell(": < /dev/null && echo null; : < /dev/kmsg && echo kmsg");
    let number = pid(shell);
    cgroup.attach(number).unwrap();
    assert_eq!(cgroup.processes().unwrap(), [number]);
    shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let shell = scratch.children.pop().unwrap();
    let output = shell.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "null\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Operation not permitted"));

    let paths = cgroup.paths();
    Cgroup::open(Record::from_json(&cgroup.record().to_json()).unwrap()).unwrap().destroy().unwrap();
    assert!(paths.iter().all(|path| !path.exists()), "{paths:?}");
    cgroup.destroy().unwrap();
}

#[test]
fn limits_change_in_either_direction() {
    let Some(host) =
        host().filter(|host| ["memory", "cpu"].iter().all(|name| host.legacy.iter().any(|h| h.has(name))))
    else {
        return;
    };
    let mut scratch = Scratch::default();
    let path = format!("/{}", name("update"));
    let plan = decide(&host, &path, Resources::default(), Caller::Privileged).unwrap();
    let cgroup = scratch.create(&plan).unwrap();
    for (mebibytes, quota) in [(64, 50_000), (256, 90_000), (32, 20_000), (32, 20_000)] {
        let limit = mebibytes << 20;
        let memory = Memory { limit: Some(limit), swap: Some(2 * limit), ..Memory::default() };
        let cpu = Cpu { quota: Some(quota), burst: Some(quota.cast_unsigned()), ..Cpu::default() };
        let resources = Resources { memory, cpu, ..Resources::default() };
        let update = plan::update(&resources, &host, Current::default()).unwrap();
        apply::update(&cgroup, &update).unwrap();
        let read = |controller: &str, file: &str| {
            let hierarchy = host.legacy.iter().find(|hierarchy| hierarchy.has(controller)).unwrap();
            read(&hierarchy.mount.join(&path[1..]), file)
        };
        assert_eq!(read("memory", "memory.limit_in_bytes"), limit.to_string());
        assert_eq!(read("memory", "memory.memsw.limit_in_bytes"), (2 * limit).to_string());
        assert_eq!(read("cpu", "cpu.cfs_quota_us"), quota.to_string());
        assert_eq!(read("cpu", "cpu.cfs_burst_us"), quota.to_string());
    }
    let beyond = Memory { limit: Some(64 << 20), swap: Some(1 << 20), ..Memory::default() };
    let resources = Resources { memory: beyond, ..Resources::default() };
    let error = plan::update(&resources, &host, Current::default()).unwrap_err().to_string();
    assert!(error.contains("linux.resources.memory.swap 1048576 is below"), "{error}");
    assert!(cgroup.read("cgroup.controllers").unwrap().is_some() == host.unified.is_some());
    cgroup.read("../cgroup.procs").unwrap_err();
    cgroup.destroy().unwrap();
}

#[test]
fn a_failure_leaves_nothing_behind() {
    let Some(host) = host().filter(|host| host.legacy.iter().any(|hierarchy| hierarchy.has("cpuset"))) else {
        return;
    };
    let mut scratch = Scratch::default();
    let cpu = Cpu { cpus: Some("4000".into()), ..Cpu::default() };
    let top = name("undo");
    let plan =
        decide(&host, &format!("/{top}/a/b"), Resources { cpu, ..Resources::default() }, Caller::Privileged);
    let error = scratch.create(&plan.unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("write \"4000\" to /sys/fs/cgroup/cpuset/"), "{error}");
    assert!(error.remedy().unwrap().contains("CPUs"), "{error}");
    for hierarchy in host.legacy.iter().chain(&host.unified) {
        assert!(!hierarchy.mount.join(&top).exists(), "{hierarchy:?}");
    }
}

#[test]
fn a_group_in_use_is_refused_and_left_alone() {
    let Some(host) = host() else { return };
    let mut scratch = Scratch::default();
    let plan =
        decide(&host, &format!("/{}", name("used")), Resources::default(), Caller::Privileged).unwrap();
    let first = scratch.create(&plan).unwrap();
    let number = pid(scratch.shell("true"));
    first.attach(number).unwrap();
    let error = create(&plan).unwrap_err().to_string();
    assert!(error.ends_with("container's cgroup is not empty: 1 process(es) found"), "{error}");
    assert_eq!(first.processes().unwrap(), [number]);
    first.kill(libc::SIGKILL).unwrap();
    scratch.all_killed();
    // An empty one may be taken over, a frozen one may not.
    create(&plan).unwrap();
    first.freeze(Freezer::Frozen).unwrap();
    let error = create(&plan).unwrap_err().to_string();
    assert!(error.ends_with("container's cgroup unexpectedly frozen"), "{error}");
    first.destroy().unwrap();
}

#[test]
fn a_group_below_a_frozen_one_is_refused() {
    let Some(host) = unified() else { return };
    let mut scratch = Scratch::default();
    let plan = |path: &str| decide(&host, path, Resources::default(), Caller::Privileged).unwrap();
    let above = scratch.create(&plan(&format!("/{}", name("above")))).unwrap();
    above.freeze(Freezer::Frozen).unwrap();
    let error = create(&plan(&format!("/{}/below", name("above")))).unwrap_err();
    assert!(error.to_string().ends_with("container's cgroup unexpectedly frozen"), "{error}");
    assert!(!above.paths()[0].join("below").exists());
}

fn freezes_and_dies(host: &Cgroups, test: &str) {
    let mut scratch = Scratch::default();
    let plan = decide(host, &format!("/{}", name(test)), Resources::default(), Caller::Privileged).unwrap();
    let cgroup = scratch.create(&plan).unwrap();
    assert_eq!(cgroup.directory_fd().is_some(), host.unified.is_some());
    for _ in 0..2 {
        let number = pid(scratch.shell("true"));
        cgroup.attach(number).unwrap();
    }
    assert_eq!(cgroup.processes().unwrap().len(), 2);
    cgroup.freeze(Freezer::Frozen).unwrap();
    assert_eq!(cgroup.frozen().unwrap(), Freezer::Frozen);
    cgroup.freeze(Freezer::Thawed).unwrap();
    assert_eq!(cgroup.frozen().unwrap(), Freezer::Thawed);
    // Signal 0 only asks whether a signal could be sent; the groups run again afterwards.
    cgroup.kill(0).unwrap();
    assert_eq!(cgroup.frozen().unwrap(), Freezer::Thawed);
    cgroup.freeze(Freezer::Frozen).unwrap();
    cgroup.kill(libc::SIGKILL).unwrap();
    scratch.all_killed();
    cgroup.destroy().unwrap();
    assert!(cgroup.paths().iter().all(|path| !path.exists()));
}

#[test]
fn every_process_freezes_thaws_and_dies() {
    let Some(host) = host() else { return };
    freezes_and_dies(&host, "all");
    if let Some(unified) = unified() {
        freezes_and_dies(&unified, "v2");
    }
    if !host.legacy.is_empty() {
        freezes_and_dies(&Cgroups { unified: None, legacy: host.legacy }, "v1-only");
    }
}

/// Where the container's version 2 group is in its hierarchy.
fn plan_path(cgroup: &Cgroup) -> &str {
    &cgroup.record().hierarchies[0].1
}

#[test]
fn groups_of_the_payload_go_with_the_container() {
    let Some(host) = unified() else { return };
    let mut scratch = Scratch::default();
    let plan =
        decide(&host, &format!("/{}", name("deep")), Resources::default(), Caller::Privileged).unwrap();
    let cgroup = scratch.create(&plan).unwrap();
    let top = cgroup.paths()[0].clone();
    std::fs::create_dir(top.join("side")).unwrap();
    let mut deep = top.clone();
    for _ in 0..300 {
        deep.push("d");
        std::fs::create_dir(&deep).unwrap();
    }
    let number = pid(scratch.shell("true"));
    cgroup.chosen(&["side".to_owned()]).unwrap().attach(number).unwrap();
    assert_eq!(read(&top.join("side"), "cgroup.procs"), number.to_string());
    std::fs::write(deep.join("cgroup.procs"), number.to_string()).unwrap();
    assert_eq!(cgroup.processes().unwrap(), [number]);
    for elsewhere in ["..", "side/../..", "nowhere", "nothing:side"] {
        cgroup.chosen(&[elsewhere.to_owned()]).unwrap_err();
    }
    let place = |below: &str| format!("1:name=x:/other\n0::{}{below}\n", plan_path(&cgroup));
    assert_eq!(cgroup.of_member(&place("/side")).unwrap().paths(), [top.join("side")]);
    assert_eq!(cgroup.of_member(&place("")).unwrap().paths(), std::slice::from_ref(&top));
    assert!(cgroup.of_member(&place("side")).unwrap_err().to_string().contains("not below"));
    cgroup.kill(libc::SIGKILL).unwrap();
    scratch.all_killed();
    cgroup.destroy().unwrap();
    assert!(!top.exists());
}

#[test]
fn the_device_program_is_enforced() {
    let Some(host) = unified() else { return };
    let mut scratch = Scratch::default();
    let resources = Resources { devices: deny_all(), ..Resources::default() };
    let plan = decide(&host, &format!("/{}", name("bpf")), resources, Caller::Privileged).unwrap();
    let cgroup = scratch.create(&plan).unwrap();
    // Taken over, the group has one program again and not two.
    let again = create(&plan).unwrap();
    assert_eq!(crate::sys::bpf::device_programs(again.directory_fd().unwrap()).unwrap().len(), 1);
    let shell = scratch.shell(": < /dev/null && echo null; : < /dev/kmsg && echo kmsg");
    cgroup.attach(pid(shell)).unwrap();
    shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let output = scratch.children.pop().unwrap().wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "null\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Operation not permitted"));
    cgroup.destroy().unwrap();
}

#[test]
fn limits_arrive_in_the_files_of_version_two() {
    in_pure_v2(MsFlags::empty(), |host| {
        if !host.unified.as_ref().unwrap().has("hugetlb") {
            return;
        }
        let mut scratch = Scratch::default();
        let path = format!("/{}/a/b", name("huge"));
        let resources = Resources {
            hugepages: vec![("2MB".into(), 4 << 20)],
            unified: [("cgroup.max.depth".into(), "7".into())].into(),
            ..Resources::default()
        };
        let mut plan = decide(host, &path, resources, Caller::Privileged).unwrap();
        let Plan::Groups { groups, .. } = &mut plan else { panic!() };
        groups[0].owner = Some(Owner { uid: 1234, gid: 4321 });
        let cgroup = scratch.create(&plan).unwrap();
        let dir = cgroup.paths()[0].clone();
        assert_eq!(read(&dir, "hugetlb.2MB.max"), "4194304");
        assert_eq!(read(&dir, "hugetlb.2MB.rsvd.max"), "4194304");
        assert_eq!(read(&dir, "cgroup.max.depth"), "7");
        let owner =
            |file: &str| std::fs::metadata(dir.join(file)).map(|meta| (meta.uid(), meta.gid())).unwrap();
        assert_eq!(owner("."), (1234, 4321));
        assert_eq!(owner("cgroup.procs"), (1234, 4321));
        assert_eq!(owner("hugetlb.2MB.max"), (0, 0));
        assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o7777, 0o755);
        cgroup.destroy().unwrap();
        assert!(!dir.exists() && dir.parent().unwrap().exists());
    });
}

#[test]
fn a_missing_controller_and_a_missing_file_are_told_apart() {
    in_pure_v2(MsFlags::empty(), |host| {
        let mut scratch = Scratch::default();
        let try_file = |scratch: &mut Scratch, file: &str| {
            // As if the root had offered it to the planner.
            let mut host = host.clone();
            host.unified.as_mut().unwrap().controllers.push("pids".into());
            let unified = [(file.to_owned(), "1".to_owned())].into();
            let resources = Resources { unified, ..Resources::default() };
            let path = format!("/{}/leaf", name("missing"));
            let plan = decide(&host, &path, resources, Caller::Privileged).unwrap();
            scratch.create(&plan).unwrap_err()
        };
        if !host.unified.as_ref().unwrap().has("pids") {
            let error = try_file(&mut scratch, "pids.max");
            assert!(error.to_string().starts_with("cgroup controller pids is not enabled: write"), "{error}");
            assert!(error.to_string().contains("+pids"), "the step that failed: {error}");
            assert!(error.remedy().unwrap().contains("delegated"), "{:?}", error.remedy());
        }
        let error = try_file(&mut scratch, "cgroup.nonsense");
        assert!(error.to_string().starts_with("write \"1\" to /sys/fs/cgroup/"), "{error}");
        assert!(!Path::new("/sys/fs/cgroup").join(name("missing")).exists());
    });
}

#[test]
fn without_permission_only_a_limit_is_an_error() {
    in_pure_v2(MsFlags::MS_RDONLY, |host| {
        let path = format!("/{}", name("ro"));
        let plan = decide(host, &path, Resources::default(), Caller::Unprivileged).unwrap();
        let cgroup = create(&plan).unwrap();
        assert!(cgroup.paths().is_empty() && cgroup.directory_fd().is_none());
        assert_eq!(Cgroup::open(cgroup.record().clone()).unwrap().processes().unwrap(), [0i32; 0]);
        let limited =
            Resources { unified: [("cgroup.max.depth".into(), "1".into())].into(), ..Resources::default() };
        let plan = decide(host, &path, limited, Caller::Unprivileged).unwrap();
        let error = create(&plan).unwrap_err();
        assert!(
            error.to_string().contains("EROFS") && error.remedy().unwrap().contains("Delegate=yes"),
            "{error}"
        );
    });
}

#[test]
fn a_group_that_its_caller_cannot_reach_is_not_made() {
    let Some(host) = unified() else { return };
    let mut scratch = Scratch::default();
    let path = format!("/{}/delegated", name("reach"));
    let Plan::Groups { groups, .. } =
        decide(&host, &path, Resources::default(), Caller::Unprivileged).unwrap()
    else {
        panic!()
    };
    assert_eq!(groups[0].crossing.as_deref(), Some(""));
    let with = |crossing: Option<&str>, refused| {
        let crossing = crossing.map(str::to_owned);
        let group = super::plan::Group { crossing, refused, ..groups[0].clone() };
        Plan::Groups { unit: None, groups: vec![group], ignored: Vec::new() }
    };
    // The directory belongs to an ordinary user, the way there does not.
    let top = host.unified.as_ref().unwrap().mount.join(name("reach"));
    scratch.directories.push(top.clone());
    std::fs::create_dir(&top).unwrap();
    std::os::unix::fs::chown(&top, Some(65_534), Some(65_534)).unwrap();
    let try_as_nobody = |plan: Plan| as_nobody(move || create(&plan).map(|cgroup| cgroup.paths()));
    assert!(try_as_nobody(with(Some(""), Refused::Without)).unwrap().is_empty());
    let error = try_as_nobody(with(Some(""), Refused::Fail)).unwrap_err();
    assert!(error.to_string().contains("cgroup.procs: Permission denied (EACCES)"), "{error}");
    assert_eq!(try_as_nobody(with(None, Refused::Fail)).unwrap(), [top.join("delegated")]);
}

//! What systemd is told, as text.

use super::*;
use crate::spec::linux::{BlockIo, Cpu, Memory, Resources};

fn told(writes: &[(&str, &str)], version: u32) -> Vec<String> {
    let ops: Vec<Op> = writes.iter().map(|(file, value)| Write::new(*file, value).into()).collect();
    properties(&ops, version).iter().map(|it| format!("{} {:?}", it.name, it.value)).collect()
}

#[test]
fn every_limit_that_systemd_knows_is_told_to_it() {
    let max = u64::MAX;
    let table: &[(&str, &str, &[String])] = &[
        ("memory.max", "67108864", &["MemoryMax U64(67108864)".into()]),
        ("memory.max", "max", &[format!("MemoryMax U64({max})")]),
        ("memory.high", "64M", &["MemoryHigh U64(67108864)".into()]),
        ("memory.low", "0", &["MemoryLow U64(0)".into()]),
        ("memory.min", "5", &["MemoryMin U64(5)".into()]),
        ("memory.swap.max", "max", &[format!("MemorySwapMax U64({max})")]),
        ("memory.zswap.max", "1", &["MemoryZSwapMax U64(1)".into()]),
        ("memory.oom.group", "1", &["OOMPolicy Text(\"kill\")".into()]),
        ("pids.max", "17", &["TasksMax U64(17)".into()]),
        ("pids.max", "0", &["TasksMax U64(1)".into()]),
        ("pids.max", "max", &[format!("TasksMax U64({max})")]),
        ("cpu.weight", "59", &["CPUWeight U64(59)".into()]),
        ("cpu.idle", "1", &["CPUWeight U64(0)".into()]),
        ("cpu.idle", "0", &[]),
        (
            "cpu.max",
            "50000 100000",
            &["CPUQuotaPerSecUSec U64(500000)".into(), "CPUQuotaPeriodUSec U64(100000)".into()],
        ),
        (
            "cpu.max",
            "25500 50000",
            &["CPUQuotaPerSecUSec U64(510000)".into(), "CPUQuotaPeriodUSec U64(50000)".into()],
        ),
        (
            "cpu.max",
            "max 100000",
            &[format!("CPUQuotaPerSecUSec U64({max})"), "CPUQuotaPeriodUSec U64(100000)".into()],
        ),
        (
            "cpu.max",
            "1000",
            &["CPUQuotaPerSecUSec U64(10000)".into(), "CPUQuotaPeriodUSec U64(100000)".into()],
        ),
        ("cpuset.cpus", "0-2,9", &["AllowedCPUs Array(\"y\", [Byte(7), Byte(2)])".into()]),
        ("cpuset.mems", "0", &["AllowedMemoryNodes Array(\"y\", [Byte(1)])".into()]),
        ("io.weight", "default 200", &["IOWeight U64(200)".into()]),
        ("hugetlb.2MB.max", "1", &[]),
    ];
    for (file, value, expected) in table {
        assert_eq!(told(&[(file, value)], 257), *expected, "{file} = {value}");
    }
}

#[test]
fn what_systemd_could_not_read_is_left_to_the_kernel() {
    for (file, value) in [
        ("memory.max", "lots"),
        ("memory.max", "99999999999999999999"),
        ("memory.max", "20000000000T"),
        ("cpu.max", ""),
        ("cpu.max", "5 0"),
        ("cpu.max", "5 x"),
        ("cpuset.cpus", "3-1"),
        ("cpuset.cpus", "x"),
        ("cpuset.cpus", "99999999999"),
        ("io.weight", "8:0 100"),
    ] {
        assert!(told(&[(file, value)], 257).is_empty(), "{file} = {value}");
    }
}

#[test]
fn an_older_systemd_is_not_asked_for_what_it_does_not_know() {
    let writes = [("cpu.max", "5 10"), ("cpuset.cpus", "0"), ("cpu.idle", "1"), ("memory.oom.group", "1")];
    assert_eq!(told(&writes, 239), ["CPUQuotaPerSecUSec U64(500000)"]);
    assert_eq!(told(&writes, 244).len(), 3);
    assert_eq!(told(&writes, 253).len(), 5);
}

#[test]
fn the_last_value_counts() {
    assert_eq!(told(&[("memory.max", "1"), ("memory.max", "2")], 257), ["MemoryMax U64(2)"]);
    assert_eq!(told(&[("cpu.weight", "5"), ("cpu.idle", "1")], 257), ["CPUWeight U64(0)"]);
}

fn keeper(instance: Instance) -> Systemd {
    let group = if instance == Instance::User { "/user.slice/user@7.service" } else { "" };
    Systemd {
        instance,
        address: Address::bus("/bus"),
        about: About { control_group: group.into(), version: 257 },
        placing: Placing::Birth,
    }
}

fn unit(annotations: &[(&str, &str)], writes: &[Op]) -> Result<Unit> {
    let annotations =
        annotations.iter().map(|(key, value)| (format!("{PROPERTY}{key}"), (*value).to_owned()));
    Unit::plan(Some("a-b.slice:x:1"), "c1", &keeper(Instance::System), writes, &annotations.collect())
}

#[test]
fn a_scope_is_told_whole() {
    let text = unit(&[], &[Write::new("memory.max", 5).into()]).unwrap().to_string();
    let expected = "\
unit x-1.scope of the system manager
  Description = Text(\"urun container c1\")
  DefaultDependencies = Bool(false)
  CollectMode = Text(\"inactive-or-failed\")
  MemoryAccounting = Bool(true)
  CPUAccounting = Bool(true)
  IOAccounting = Bool(true)
  TasksAccounting = Bool(true)
  Slice = Text(\"a-b.slice\")
  Delegate = Bool(true)
  MemoryMax = U64(5)
";
    assert_eq!(text, expected);
}

#[test]
fn defaults_follow_the_manager() {
    let none = BTreeMap::new();
    let path = |instance| Unit::plan(None, "c1", &keeper(instance), &[], &none).unwrap().path().unwrap();
    assert_eq!(path(Instance::System), "/system.slice/urun-c1.scope");
    assert_eq!(path(Instance::User), "/user.slice/user@7.service/user.slice/urun-c1.scope");
}

#[test]
fn a_slice_is_neither_delegated_nor_in_another() {
    let plan =
        Unit::plan(Some("::a-b.slice"), "c1", &keeper(Instance::System), &[], &BTreeMap::new()).unwrap();
    assert_eq!(plan.path().unwrap(), "/a.slice/a-b.slice");
    assert!(plan.properties.iter().all(|it| it.name != "Slice" && it.name != "Delegate"));
}

#[test]
fn annotations_are_properties() {
    let found = |annotations: &[(&str, &str)], name: &str| {
        let unit = unit(annotations, &[Write::new("memory.max", 5).into()]).unwrap();
        unit.properties.into_iter().find(|it| it.name == name).map(|it| it.value)
    };
    assert_eq!(found(&[("TimeoutStopUSec", "uint64 90")], "TimeoutStopUSec"), Some(Value::U64(90)));
    assert_eq!(found(&[("TimeoutStopSec", "90")], "TimeoutStopUSec"), Some(Value::U64(90_000_000)));
    assert_eq!(found(&[("RuntimeMaxSec", "1.5")], "RuntimeMaxUSec"), Some(Value::U64(1_500_000)));
    assert_eq!(found(&[("KillSignal", "37")], "KillSignal"), Some(Value::I32(37)));
    assert_eq!(found(&[("DefaultDependencies", "true")], "DefaultDependencies"), Some(Value::Bool(true)));
    // What is written through cgroupfs in any case is not contradicted.
    assert_eq!(found(&[("MemoryMax", "uint64 9")], "MemoryMax"), Some(Value::U64(5)));
}

#[test]
fn annotations_that_systemd_would_not_take_are_named() {
    for (key, value, word) in [
        ("Slice", "'a.slice'", "decides Slice itself"),
        ("PIDs", "@au []", "decides PIDs itself"),
        ("DelegateSubgroup", "'a'", "decides DelegateSubgroup itself"),
        ("A.B", "1", "letters alone"),
        ("", "1", "letters alone"),
        ("TimeoutStopSec", "'a'", "number of seconds"),
        ("TimeoutStopSec", "-1", "is no time"),
        ("After", "nope", "is no value"),
    ] {
        let error = unit(&[(key, value)], &[]).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("annotations[\"{PROPERTY}{key}\"]")) && error.contains(word),
            "{error}"
        );
    }
}

/// CVE-2024-3154: annotations may be a user's words.
#[test]
fn sec_60_an_annotation_sets_no_property_that_acts_on_the_host() {
    for name in [
        "FailureAction",
        "SuccessAction",
        "JobTimeoutAction",
        "RebootArgument",
        "OnFailure",
        "OnSuccess",
        "Wants",
        "Requires",
        "Conflicts",
        "BindsTo",
        "PropagatesStopTo",
        "Upholds",
        "ExecStopPost",
        "User",
        "RootDirectory",
        "DeviceAllow",
        "DevicePolicy",
        "BPFProgram",
        "IPIngressFilterPath",
        "PIDs",
        "Controller",
    ] {
        let error = unit(&[(name, "'poweroff-force'")], &[]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("annotations[\"{PROPERTY}{name}\"]")), "{error}");
    }
    for name in ["CPUWeight", "MemorySwapMax", "AllowedCPUs", "TasksMax", "IOWeight", "After"] {
        unit(&[(name, "uint64 7")], &[]).unwrap();
    }
}

#[test]
fn whole_resources_are_told_as_they_are_written() {
    let resources = Resources {
        memory: Memory { limit: Some(100), swap: Some(300), reservation: Some(50), ..Memory::default() },
        cpu: Cpu { shares: Some(512), quota: Some(5000), cpus: Some("1".into()), ..Cpu::default() },
        block_io: BlockIo { weight: Some(500), ..BlockIo::default() },
        pids_limit: Some(-1),
        unified: [("memory.high".to_owned(), "90".to_owned())].into(),
        ..Resources::default()
    };
    let controllers = ["cpuset", "cpu", "io", "memory", "pids"].map(str::to_owned).to_vec();
    let unified = crate::host::cgroups::Hierarchy { mount: "/x".into(), controllers, own: "/".into() };
    let host = crate::host::cgroups::Cgroups { unified: Some(unified), legacy: Vec::new() };
    let limits = super::super::limits(&resources, &host, super::super::Current::default()).unwrap();
    let names: Vec<String> = properties(&limits.unified, 257).into_iter().map(|it| it.name).collect();
    let expected = [
        "MemoryMax",
        "MemorySwapMax",
        "MemoryLow",
        "TasksMax",
        "CPUWeight",
        "CPUQuotaPerSecUSec",
        "CPUQuotaPeriodUSec",
        "AllowedCPUs",
        "IOWeight",
        "MemoryHigh",
    ];
    assert_eq!(names, expected);
}

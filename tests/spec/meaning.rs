//! What documents mean once they are read.

use crate::broken::{base, put, with};
use serde_json::{Value, json};
use urun::spec::{
    self, Config, IdMap, MountKind, NamespaceKind, Process,
    linux::{DeviceKind, DeviceRule, DeviceRuleKind, TimeOffsets},
    mount::{Attrs, Mount, MountIdMap, MountIds, Parameter, Propagation, PropagationKind},
    seccomp::Action,
};

const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
const ATIME: u64 = libc::MOUNT_ATTR__ATIME;

fn load(pointer: &str, value: Value) -> Config {
    spec::load(&with(pointer, value)).unwrap()
}

fn mount_of(entry: Value) -> (Mount, Vec<String>) {
    let mut document = base();
    put(&mut document, "/linux/namespaces", json!([{ "type": "user" }]));
    put(&mut document, "/mounts", json!([entry]));
    let config = spec::load(document.to_string().as_bytes()).unwrap();
    (config.mounts[0].clone(), config.warnings)
}

fn tmpfs(options: &[&str]) -> Mount {
    mount_of(json!({ "destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": options })).0
}

fn bind(options: &[&str]) -> (Mount, Vec<String>) {
    mount_of(json!({ "destination": "/x", "type": "bind", "source": "/s", "options": options }))
}

fn text(key: &str, value: &str) -> Parameter {
    Parameter::Text(key.to_owned(), value.to_owned())
}

fn flag(word: &str) -> Parameter {
    Parameter::Flag(word.to_owned())
}

#[test]
fn a_later_attribute_wins_over_an_earlier_one() {
    let strict = libc::MOUNT_ATTR_STRICTATIME;
    for (options, set, clear) in [
        (&["ro"][..], RDONLY, 0),
        (&["rw"], 0, RDONLY),
        (&["ro", "rw"], 0, RDONLY),
        (&["rw", "ro"], RDONLY, 0),
        (&["nosuid", "ro", "suid"], RDONLY, NOSUID),
        (&["defaults"], 0, 0),
        (&["strictatime"], strict, ATIME),
        (&["relatime"], 0, ATIME),
        (&["noatime", "strictatime"], strict, ATIME),
        (&["strictatime", "norelatime"], 0, ATIME),
        (&["rro", "rw"], 0, RDONLY),
        (&["rw", "rro"], 0, 0),
        (&["noatime", "rstrictatime"], 0, 0),
    ] {
        assert_eq!(tmpfs(options).attrs, Attrs { set, clear }, "{options:?}");
    }
    assert_eq!(tmpfs(&["rro", "rrw"]).recursive_attrs, Attrs { set: 0, clear: RDONLY });
    assert_eq!(tmpfs(&["rstrictatime"]).recursive_attrs, Attrs { set: strict, clear: ATIME });
}

#[test]
fn words_of_the_file_system_become_parameters_in_order() {
    let mount =
        tmpfs(&["nosuid", "mode=755", "sync", "inode64", "size=1m,nr_inodes=2", "async", "tmpcopyup"]);
    let expected = vec![
        text("mode", "755"),
        flag("sync"),
        flag("inode64"),
        text("size", "1m"),
        text("nr_inodes", "2"),
        flag("async"),
    ];
    assert_eq!(mount.parameters, expected);
    assert!(mount.copy_up);
    let overlay = tmpfs(&[r"lowerdir=/a\,b:/c,upperdir=/d", r#"context="s0:c1,c2",x"#]);
    let expected = vec![
        text("lowerdir", r"/a\,b:/c"),
        text("upperdir", "/d"),
        text("context", r#""s0:c1,c2""#),
        flag("x"),
    ];
    assert_eq!(overlay.parameters, expected);
}

#[test]
fn a_bind_is_what_the_options_or_the_type_call_so() {
    let is_bind = |recursive| MountKind::Bind { source: "/s".into(), recursive };
    for (fstype, options, expected) in [
        ("bind", &[][..], is_bind(false)),
        ("bind", &["rbind", "bind"], is_bind(true)),
        ("none", &["bind"], is_bind(false)),
        ("", &["bind", "rbind"], is_bind(true)),
        ("cgroup", &["rbind"], is_bind(true)),
        ("cgroup", &["private", "ro"], MountKind::Cgroup),
        ("cgroup2", &[], MountKind::Cgroup),
        ("proc", &[], MountKind::Filesystem { fstype: "proc".to_owned(), source: Some("/s".to_owned()) }),
    ] {
        let entry = json!({ "destination": "/x", "type": fstype, "source": "/s", "options": options });
        assert_eq!(mount_of(entry).0.kind, expected, "{fstype} {options:?}");
    }
}

#[test]
fn what_a_bind_has_no_use_for_is_dropped_with_a_warning() {
    let (mount, warnings) = bind(&["rbind", "ro", "size=1", "rslave", "sync"]);
    assert!(mount.parameters.is_empty());
    assert_eq!(mount.propagation, [Propagation { kind: PropagationKind::Slave, recursive: true }]);
    assert_eq!(
        warnings,
        [
            r#"mounts[0].options[2]: "size" has no effect on a bind mount"#,
            r#"mounts[0].options[4]: "sync" has no effect on a bind mount"#
        ]
    );
}

#[test]
fn destinations_are_cleaned() {
    for (written, expected, warnings) in [
        ("/proc", "/proc", 0),
        ("//a/./b/", "/a/b", 0),
        ("/a/../../b", "/b", 0),
        ("/..", "/", 0),
        ("run", "/run", 1),
    ] {
        let (mount, warned) = mount_of(json!({ "destination": written, "type": "tmpfs" }));
        assert_eq!(mount.destination.to_str(), Some(expected), "{written}");
        assert_eq!(warned.len(), warnings, "{written}: {warned:?}");
    }
}

#[test]
fn id_mapped_mounts_are_recursive_only_where_the_option_says_so() {
    let own = || MountIds::Own {
        uids: vec![IdMap { container: 0, host: 5, size: 2 }],
        gids: vec![IdMap { container: 0, host: 6, size: 2 }],
    };
    let lines = json!({ "uids": [{ "containerID": 0, "hostID": 5, "size": 2 }], "gids": [{ "containerID": 0, "hostID": 6, "size": 2 }] });
    for (options, has_lines, expected) in [
        (&["rbind"][..], false, None),
        (&["rbind"], true, Some(MountIdMap { ids: own(), recursive: false })),
        (&["rbind", "ridmap"], true, Some(MountIdMap { ids: own(), recursive: true })),
        (&["bind", "idmap"], false, Some(MountIdMap { ids: MountIds::Container, recursive: false })),
        (&["bind", "ridmap"], false, Some(MountIdMap { ids: MountIds::Container, recursive: true })),
        (&["bind", "idmap=uids=0-5-2;gids=0-6-2"], false, Some(MountIdMap { ids: own(), recursive: false })),
        (&["bind", "ridmap=gids=0-6-2;uids=0-5-2"], false, Some(MountIdMap { ids: own(), recursive: true })),
    ] {
        let mut entry = json!({ "destination": "/x", "source": "/s", "options": options });
        if has_lines {
            entry["uidMappings"] = lines["uids"].clone();
            entry["gidMappings"] = lines["gids"].clone();
        }
        assert_eq!(mount_of(entry).0.idmap, expected, "{options:?}");
    }
}

#[test]
fn absent_null_and_empty_mean_the_same() {
    let process = |extra: Value| -> Process {
        let mut process = json!({ "cwd": "/", "args": ["sh"] });
        for (key, value) in extra.as_object().unwrap() {
            process[key] = value.clone();
        }
        spec::load_process(process.to_string().as_bytes(), None).unwrap()
    };
    let plain = format!("{:?}", process(json!({})));
    for extra in [
        json!({ "user": null, "env": null, "capabilities": null, "rlimits": null, "scheduler": null }),
        json!({ "user": {}, "env": [], "capabilities": {}, "rlimits": [] }),
        json!({ "apparmorProfile": "", "selinuxLabel": "", "consoleSize": { "height": 0, "width": 0 } }),
        json!({ "somethingNew": { "user": "x" } }),
    ] {
        assert_eq!(format!("{:?}", process(extra.clone())), plain, "{extra}");
    }
}

#[test]
fn values_become_those_of_the_kernel() {
    let process =
        load("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 4 })).process.unwrap();
    assert_eq!(process.io_priority, Some(2 << 13 | 4));
    let process = load(
        "/process/scheduler",
        json!({ "policy": "SCHED_FIFO", "priority": 9, "flags": ["SCHED_FLAG_RESET_ON_FORK"] }),
    );
    let scheduler = process.process.unwrap().scheduler.unwrap();
    assert_eq!((scheduler.policy, scheduler.priority, scheduler.flags), (1, 9, 1));
    let process =
        load("/process/execCPUAffinity", json!({ "initial": "0-1,5", "final": "" })).process.unwrap();
    let affinity = process.exec_cpu_affinity.unwrap();
    assert_eq!((affinity.initial, affinity.last), (Some(vec![0, 1, 5]), None));
    let limits = json!([{ "type": "RLIMIT_NOFILE", "soft": 1024, "hard": u64::MAX }]);
    let rlimit = load("/process/rlimits", limits).process.unwrap().rlimits[0];
    assert_eq!((rlimit.resource, rlimit.soft, rlimit.hard), (libc::RLIMIT_NOFILE, 1024, u64::MAX));
    assert_eq!(load("/linux/personality", json!({ "domain": "LINUX32" })).linux.personality, Some(8));
    let policy = json!({ "mode": "MPOL_BIND", "nodes": "1,0", "flags": ["MPOL_F_STATIC_NODES"] });
    let policy = load("/linux/memoryPolicy", policy).linux.memory_policy.unwrap();
    assert_eq!((policy.mode, policy.flags, policy.nodes), (2, 1 << 15, vec![0, 1]));
    let sysctl = load("/linux/sysctl", json!({ "net/ipv4/conf/eth0.1/forwarding": "1" })).linux.sysctl;
    let name = sysctl.keys().next().unwrap();
    assert_eq!((name.path(), sysctl[name].as_str()), ("net/ipv4/conf/eth0.1/forwarding", "1"));
}

#[test]
fn devices_and_their_rules_become_numbers() {
    let devices = json!([
        { "path": "/dev/a", "type": "u", "major": 1, "minor": 3, "fileMode": 0o20_600, "uid": 7 },
        { "path": "/dev/b", "type": "p" },
    ]);
    let devices = load("/linux/devices", devices).linux.devices;
    assert_eq!(
        (devices[0].kind, devices[0].mode, devices[0].uid),
        (DeviceKind::Char { major: 1, minor: 3 }, 0o600, Some(7))
    );
    assert_eq!(
        (devices[1].kind, devices[1].mode, devices[1].json_path.as_str()),
        (DeviceKind::Fifo, 0o666, "linux.devices[1]")
    );
    let rules = br#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":-1,"access":"mr"}]}"#;
    let resources = spec::load_resources(rules).unwrap();
    let all = DeviceRule {
        allow: false,
        kind: DeviceRuleKind::All,
        major: None,
        minor: None,
        read: true,
        write: true,
        mknod: true,
    };
    let some = DeviceRule { allow: true, kind: DeviceRuleKind::Char, major: Some(1), write: false, ..all };
    assert_eq!(resources.devices, [all, some]);
    assert!(!resources.has_limits());
}

#[test]
fn a_rejected_call_returns_eperm_unless_the_profile_says_otherwise() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            { "names": ["a"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 },
            { "names": ["b"], "action": "SCMP_ACT_TRACE" },
            { "names": ["c"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0 },
        ],
    });
    let seccomp = load("/linux/seccomp", profile).linux.seccomp.unwrap();
    assert_eq!(seccomp.default_action, Action::Errno(1));
    let actions: Vec<Action> = seccomp.syscalls.iter().map(|rule| rule.action).collect();
    assert_eq!(actions, [Action::Errno(38), Action::Trace(1), Action::Errno(0)]);
}

#[test]
fn a_system_call_that_no_architecture_has_is_left_out() {
    let names = ["write", "no_such_call", "read", "exit_group", "_llseek", ""];
    let rule = json!({ "names": names, "action": "SCMP_ACT_KILL" });
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    let seccomp = load("/linux/seccomp", profile).linux.seccomp.unwrap();
    let found: Vec<&str> = seccomp.syscalls[0].names.iter().map(|call| call.name()).collect();
    assert_eq!(found, ["write", "read", "exit_group", "_llseek"]);
}

#[test]
fn what_deserves_a_word_is_no_error() {
    assert_eq!(load("/ociVersion", json!("1.9.0")).warnings, ["ociVersion: 1.9.0 is newer than 1.3"]);
    let config = load("/process/capabilities", json!({ "bounding": ["CAP_NEW", "CAP_KILL"] }));
    assert_eq!(config.warnings, [r#"process.capabilities.bounding[0]: unknown capability "CAP_NEW""#]);
    assert_eq!(config.process.unwrap().capabilities.bounding, 1 << 5);
}

#[test]
fn time_offsets_belong_to_a_new_time_namespace() {
    let linux = json!({ "namespaces": [{ "type": "time", "path": "" }], "timeOffsets": { "boottime": { "secs": -3, "nanosecs": 4 } } });
    let linux = load("/linux", linux).linux;
    assert_eq!(linux.time_offsets, TimeOffsets { monotonic: None, boottime: Some((-3, 4)) });
    assert!(linux.namespace(NamespaceKind::Time).is_some_and(|time| time.path.is_none()));
}

#[test]
fn of_a_repeated_property_only_the_last_is_read() {
    let document =
        br#"{"ociVersion":7,"ociVersion":"1.0.0","root":{"path":"r"},"annotations":{"a":1,"a":"2"}}"#;
    let config = spec::load(document).unwrap();
    assert_eq!((config.oci_version.as_str(), config.annotations["a"].as_str()), ("1.0.0", "2"));
    assert!(config.process.is_none());
}

#[test]
fn no_processes_at_all_is_a_limit_since_the_release_that_says_so() {
    for (version, limit) in [("1.0.2-dev", None), ("1.2.1", None), ("1.3.0", Some(0))] {
        let mut document = base();
        put(&mut document, "/ociVersion", json!(version));
        put(&mut document, "/linux/resources", json!({ "pids": { "limit": 0 } }));
        let config = spec::load(document.to_string().as_bytes()).unwrap();
        assert_eq!(config.linux.resources.pids_limit, limit, "{version}");
    }
}

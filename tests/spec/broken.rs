//! Documents that are wrong, and the whole sentence that says so.

use serde_json::{Value, json};
use urun::spec;

/// The smallest document that loads, with all kinds of namespaces but the user namespace.
pub fn base() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs" },
        "process": { "cwd": "/", "args": ["sh"], "user": { "uid": 0, "gid": 0 } },
        "mounts": [],
        "linux": { "namespaces": [
            { "type": "pid" }, { "type": "mount" }, { "type": "uts" }, { "type": "ipc" }, { "type": "network" },
        ] },
    })
}

/// The base with one value put at a JSON pointer; null takes the property away.
pub fn with(pointer: &str, value: Value) -> Vec<u8> {
    let mut document = base();
    put(&mut document, pointer, value);
    document.to_string().into_bytes()
}

pub fn put(document: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let mut place = document;
    for step in parent.split('/').skip(1) {
        place = &mut place[step];
    }
    place[key] = value;
}

fn check(cases: Vec<(&str, Value, &str)>) {
    assert!(spec::load(base().to_string().as_bytes()).is_ok());
    for (pointer, value, expected) in cases {
        let document = with(pointer, value);
        match spec::load(&document) {
            Ok(_) => panic!("loaded: {}", String::from_utf8_lossy(&document)),
            Err(error) => assert_eq!(error.to_string(), expected),
        }
    }
}

#[test]
fn the_top_level_says_what_is_wrong() {
    check(vec![
        ("/ociVersion", json!(null), "ociVersion: is required"),
        ("/ociVersion", json!(1), "ociVersion: expected a string, found 1"),
        (
            "/ociVersion",
            json!("1.0"),
            r#"ociVersion: expected a semantic version such as 1.2.0, found "1.0""#,
        ),
        ("/ociVersion", json!("2.0.0"), r#"ociVersion: unsupported version "2.0.0", expected 1.x.y"#),
        ("/root", json!(null), "root: is required"),
        ("/root", json!("x"), r#"root: expected an object, found "x""#),
        ("/root/path", json!(null), "root.path: is required"),
        ("/root/path", json!(""), "root.path: is empty"),
        ("/root/path", json!("a\u{0}b"), r#"root.path: "a\0b" holds a NUL"#),
        ("/root/readonly", json!("no"), r#"root.readonly: expected true or false, found "no""#),
        ("/hostname", json!("h".repeat(65)), "hostname: 65 bytes are longer than the 64 that Linux allows"),
        ("/annotations", json!({ "": "x" }), "annotations: holds an empty key"),
        ("/annotations", json!({ "a.b": 1 }), r#"annotations["a.b"]: expected a string, found 1"#),
        ("/mounts", json!({}), "mounts: expected a list, found an object"),
        ("/hooks", json!([]), "hooks: expected an object, found a list"),
        ("/hooks", json!({ "prestart": [{}] }), "hooks.prestart[0].path: is required"),
        (
            "/hooks",
            json!({ "poststop": [{ "path": "x" }] }),
            r#"hooks.poststop[0].path: expected an absolute path, found "x""#,
        ),
        (
            "/hooks",
            json!({ "createRuntime": [{ "path": "/x", "timeout": 0 }] }),
            "hooks.createRuntime[0].timeout: expected a number from 1 to 2147483647, found 0",
        ),
    ]);
}

#[test]
fn the_process_says_what_is_wrong() {
    check(vec![
        ("/process/args", json!(null), "process.args: is required"),
        ("/process/args", json!([]), "process.args: expected at least one argument"),
        ("/process/args", json!(["a", null]), "process.args[1]: is required"),
        ("/process/cwd", json!(null), "process.cwd: is required"),
        ("/process/cwd", json!(""), "process.cwd: is empty"),
        ("/process/cwd", json!("tmp"), r#"process.cwd: expected an absolute path, found "tmp""#),
        ("/process/env", json!(["A=1", "B"]), r#"process.env[1]: expected NAME=value, found "B""#),
        ("/process/env", json!(["=1"]), r#"process.env[0]: expected NAME=value, found "=1""#),
        (
            "/process/user/uid",
            json!("abc"),
            r#"process.user.uid: expected a number from 0 to 4294967294, found "abc""#,
        ),
        (
            "/process/user/uid",
            json!(-1),
            "process.user.uid: expected a number from 0 to 4294967294, found -1",
        ),
        (
            "/process/user/gid",
            json!(4_294_967_295_u32),
            "process.user.gid: expected a number from 0 to 4294967294, found 4294967295",
        ),
        ("/process/user/umask", json!(512), "process.user.umask: expected a number from 0 to 511, found 512"),
        (
            "/process/user/additionalGids",
            json!([1.5]),
            "process.user.additionalGids[0]: expected a number from 0 to 4294967294, found 1.5",
        ),
        ("/process/terminal", json!(1), "process.terminal: expected true or false, found 1"),
        ("/process/consoleSize", json!({ "height": 1 }), "process.consoleSize.width: is required"),
        (
            "/process/oomScoreAdj",
            json!(1001),
            "process.oomScoreAdj: expected a number from -1000 to 1000, found 1001",
        ),
        (
            "/process/capabilities",
            json!({ "bounding": "x" }),
            r#"process.capabilities.bounding: expected a list, found "x""#,
        ),
        (
            "/process/rlimits",
            json!([{ "type": "RLIMIT_X", "soft": 1, "hard": 1 }]),
            r#"process.rlimits[0].type: unknown rlimit "RLIMIT_X", expected one of RLIMIT_AS RLIMIT_CORE RLIMIT_CPU RLIMIT_DATA RLIMIT_FSIZE RLIMIT_LOCKS RLIMIT_MEMLOCK RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_NOFILE RLIMIT_NPROC RLIMIT_RSS RLIMIT_RTPRIO RLIMIT_RTTIME RLIMIT_SIGPENDING RLIMIT_STACK"#,
        ),
        (
            "/process/rlimits",
            json!([{ "type": "RLIMIT_CPU", "soft": 1, "hard": 1 }, { "type": "RLIMIT_CPU", "soft": 1, "hard": 1 }]),
            "process.rlimits[1].type: is given twice",
        ),
        (
            "/process/rlimits",
            json!([{ "type": "RLIMIT_CPU", "soft": 2, "hard": 1 }]),
            "process.rlimits[0].soft: 2 is above the hard limit 1",
        ),
        (
            "/process/rlimits",
            json!([{ "type": "RLIMIT_CPU", "soft": 2 }]),
            "process.rlimits[0].hard: is required",
        ),
        (
            "/process/execCPUAffinity",
            json!({ "initial": "3-1" }),
            r#"process.execCPUAffinity.initial: range 3-1 runs backwards, found "3-1""#,
        ),
        (
            "/process/execCPUAffinity",
            json!({ "final": "8192" }),
            r#"process.execCPUAffinity.final: 8192 is beyond 8191, found "8192""#,
        ),
        (
            "/process/execCPUAffinity",
            json!({ "final": "all" }),
            r#"process.execCPUAffinity.final: expected a list of numbers and ranges such as 0-3,7, found "all""#,
        ),
    ]);
}

#[test]
fn scheduling_says_what_is_wrong() {
    check(vec![
        ("/process/scheduler", json!({}), "process.scheduler.policy: is required"),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_ISO" }),
            r#"process.scheduler.policy: unknown policy "SCHED_ISO", expected one of SCHED_OTHER SCHED_FIFO SCHED_RR SCHED_BATCH SCHED_IDLE SCHED_DEADLINE"#,
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_FIFO", "priority": 1, "nice": 1 }),
            "process.scheduler.nice: is for SCHED_OTHER and SCHED_BATCH alone",
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_OTHER", "nice": 20 }),
            "process.scheduler.nice: expected a number from -20 to 19, found 20",
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_OTHER", "priority": 1 }),
            "process.scheduler.priority: is for SCHED_FIFO and SCHED_RR alone",
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_RR" }),
            "process.scheduler.priority: SCHED_FIFO and SCHED_RR need a priority from 1 to 99",
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_IDLE", "period": 9 }),
            "process.scheduler.period: is for SCHED_DEADLINE alone",
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_DEADLINE", "runtime": 9, "deadline": 8 }),
            "process.scheduler: SCHED_DEADLINE needs 0 < runtime <= deadline <= period",
        ),
        (
            "/process/ioPriority",
            json!({ "class": "RT" }),
            r#"process.ioPriority.class: unknown class "RT", expected one of IOPRIO_CLASS_RT IOPRIO_CLASS_BE IOPRIO_CLASS_IDLE"#,
        ),
        (
            "/process/ioPriority",
            json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }),
            "process.ioPriority.priority: expected a number from 0 to 7, found 8",
        ),
    ]);
}

#[test]
fn mounts_say_what_is_wrong() {
    let line = |size: u32| json!([{ "containerID": 0, "hostID": 1, "size": size }]);
    let mount = |extra: Value| {
        let mut mount = json!({ "destination": "/x", "type": "tmpfs" });
        for (key, value) in extra.as_object().unwrap() {
            mount[key] = value.clone();
        }
        json!([mount])
    };
    check(vec![
        ("/mounts", json!([1]), "mounts[0]: expected an object, found 1"),
        ("/mounts", mount(json!({ "destination": null })), "mounts[0].destination: is required"),
        ("/mounts", mount(json!({ "destination": "" })), "mounts[0].destination: is empty"),
        (
            "/mounts",
            mount(json!({ "type": "" })),
            "mounts[0].type: is required unless bind or rbind is among the options",
        ),
        ("/mounts", mount(json!({ "options": ["rbind"] })), "mounts[0].source: is required by a bind mount"),
        (
            "/mounts",
            mount(json!({ "type": "bind", "source": "" })),
            "mounts[0].source: is required by a bind mount",
        ),
        ("/mounts", mount(json!({ "options": [7] })), "mounts[0].options[0]: expected a string, found 7"),
        (
            "/mounts",
            mount(json!({ "uidMappings": line(1) })),
            "mounts[0].gidMappings: is required where uidMappings are given",
        ),
        (
            "/mounts",
            mount(json!({ "uidMappings": line(0), "gidMappings": line(1) })),
            "mounts[0].uidMappings[0].size: expected a number from 1 to 4294967295, found 0",
        ),
        (
            "/mounts",
            mount(json!({ "options": ["idmap"] })),
            "mounts[0].options: idmap without uidMappings needs a user namespace among linux.namespaces",
        ),
        (
            "/mounts",
            mount(json!({ "options": ["idmap=uids=@0-1-2;gids=0-1-2"] })),
            r#"mounts[0].options[0]: "@0-1-2": ids relative to the container's are not supported"#,
        ),
        (
            "/mounts",
            mount(json!({ "options": ["idmap=uids=0-1-2"] })),
            "mounts[0].options[0]: idmap needs both uids and gids",
        ),
        (
            "/mounts",
            mount(json!({ "options": ["ridmap=uids=0-1;gids=0-1-2"] })),
            r#"mounts[0].options[0]: expected CONTAINER-HOST-SIZE, found "0-1""#,
        ),
        (
            "/mounts",
            mount(json!({ "options": ["idmap=x"] })),
            r#"mounts[0].options[0]: expected uids=… or gids=…, found "x""#,
        ),
        (
            "/mounts",
            mount(json!({ "options": ["idmap=uids=0-0-9#5-20-1;gids=0-1-2"] })),
            "mounts[0].options[0]: container id 5 is mapped twice",
        ),
    ]);
}

#[test]
fn namespaces_and_id_maps_say_what_is_wrong() {
    let user = |uids: Value, gids: Value| json!({ "namespaces": [{ "type": "user" }], "uidMappings": uids, "gidMappings": gids });
    let line = |container: u32, host: u32, size: u32| json!({ "containerID": container, "hostID": host, "size": size });
    let one = json!([line(0, 0, 1)]);
    let many: Vec<Value> = (0..341).map(|id| line(id, id, 1)).collect();
    check(vec![
        ("/linux/namespaces", json!([{}]), "linux.namespaces[0].type: is required"),
        (
            "/linux/namespaces",
            json!([{ "type": "net" }]),
            r#"linux.namespaces[0].type: unknown namespace type "net", expected one of cgroup ipc mount network pid time user uts"#,
        ),
        (
            "/linux/namespaces",
            json!([{ "type": "pid" }, { "type": "pid" }]),
            "linux.namespaces[1].type: is given twice",
        ),
        (
            "/linux/namespaces",
            json!([{ "type": "pid", "path": "x" }]),
            r#"linux.namespaces[0].path: expected an absolute path, found "x""#,
        ),
        (
            "/linux/uidMappings",
            one.clone(),
            "linux.gidMappings: is required where uidMappings are given; linux.uidMappings: needs a user namespace among linux.namespaces",
        ),
        (
            "/linux",
            user(json!([]), one.clone()),
            "linux.uidMappings: is required where gidMappings are given",
        ),
        (
            "/linux",
            user(json!([{ "containerID": 0, "size": 1 }]), one.clone()),
            "linux.uidMappings[0].hostID: is required",
        ),
        (
            "/linux",
            user(json!([line(u32::MAX, 0, 1)]), one.clone()),
            "linux.uidMappings[0]: 1 ids from container id 4294967295 on go beyond the last id 4294967294",
        ),
        (
            "/linux",
            user(one.clone(), json!([line(0, 2, u32::MAX)])),
            "linux.gidMappings[0]: 4294967295 ids from host id 2 on go beyond the last id 4294967294",
        ),
        (
            "/linux",
            user(json!([line(10, 100, 5), line(14, 200, 1)]), one.clone()),
            "linux.uidMappings: container id 14 is mapped twice",
        ),
        (
            "/linux",
            user(json!([line(0, 100, 5), line(10, 98, 3)]), one.clone()),
            "linux.uidMappings: host id 100 is mapped twice",
        ),
        (
            "/linux",
            user(json!(many), one.clone()),
            "linux.uidMappings: 341 lines are more than the 340 that Linux allows",
        ),
        (
            "/linux/timeOffsets",
            json!({ "boottime": { "secs": 1 } }),
            "linux.timeOffsets: needs a new time namespace among linux.namespaces",
        ),
        (
            "/linux",
            json!({ "namespaces": [{ "type": "time", "path": "/x" }], "timeOffsets": { "monotonic": {} } }),
            "linux.timeOffsets: needs a new time namespace among linux.namespaces",
        ),
        (
            "/linux",
            json!({ "namespaces": [{ "type": "time" }], "timeOffsets": { "monotonic": { "nanosecs": 1_000_000_000 } } }),
            "linux.timeOffsets.monotonic.nanosecs: expected a number from 0 to 999999999, found 1000000000",
        ),
        (
            "/linux/timeOffsets",
            json!({ "wall": {} }),
            r#"linux.timeOffsets: unknown clock "wall", expected monotonic or boottime"#,
        ),
    ]);
    let mut document = base();
    put(&mut document, "/linux/namespaces", json!([]));
    put(&mut document, "/hostname", json!("a"));
    put(&mut document, "/domainname", json!("b"));
    assert_eq!(
        spec::load(document.to_string().as_bytes()).unwrap_err().to_string(),
        "hostname: cannot be set without a uts namespace among linux.namespaces; \
         domainname: cannot be set without a uts namespace among linux.namespaces"
    );
}

#[test]
fn the_rest_of_linux_says_what_is_wrong() {
    check(vec![
        (
            "/linux/devices",
            json!([{ "path": "/dev/x", "type": "x" }]),
            r#"linux.devices[0].type: unknown device type "x", expected one of c b u p"#,
        ),
        (
            "/linux/devices",
            json!([{ "path": "x", "type": "p" }]),
            r#"linux.devices[0].path: expected an absolute path, found "x""#,
        ),
        (
            "/linux/devices",
            json!([{ "path": "/x", "type": "c", "major": 1 }]),
            "linux.devices[0].minor: is required",
        ),
        (
            "/linux/devices",
            json!([{ "path": "/x", "type": "b", "major": 4096, "minor": 0 }]),
            "linux.devices[0].major: expected a number from 0 to 4095, found 4096",
        ),
        (
            "/linux/netDevices",
            json!({ "a/b": {} }),
            "linux.netDevices[\"a/b\"]: \"a/b\" is not a name of a network device; linux.netDevices[\"a/b\"].name: \"a/b\" is not a name of a network device",
        ),
        (
            "/linux/netDevices",
            json!({ "a": { "name": "x" }, "b": { "name": "x" } }),
            r#"linux.netDevices.b: another device is to be named "x" too"#,
        ),
        (
            "/linux",
            json!({ "netDevices": { "a": {} } }),
            "linux.netDevices: needs a network namespace among linux.namespaces",
        ),
        (
            "/linux/rootfsPropagation",
            json!("public"),
            r#"linux.rootfsPropagation: unknown propagation "public", expected one of shared slave private unbindable rshared rslave rprivate runbindable"#,
        ),
        (
            "/linux/maskedPaths",
            json!(["proc"]),
            r#"linux.maskedPaths[0]: expected an absolute path, found "proc""#,
        ),
        ("/linux/readonlyPaths", json!([""]), "linux.readonlyPaths[0]: is empty"),
        (
            "/linux/personality",
            json!({ "domain": "BSD" }),
            r#"linux.personality.domain: unknown domain "BSD", expected one of LINUX LINUX32"#,
        ),
        (
            "/linux/personality",
            json!({ "domain": "LINUX", "flags": ["X"] }),
            "linux.personality.flags[0]: no personality flag is defined",
        ),
        (
            "/linux/sysctl",
            json!({ "vm.swappiness": "1" }),
            r#"linux.sysctl["vm.swappiness"]: is not in a namespace: setting it would change the host"#,
        ),
        (
            "/linux/sysctl",
            json!({ "net/../x": "1" }),
            r#"linux.sysctl["net/../x"]: is not the name of a kernel parameter"#,
        ),
        (
            "/linux/sysctl",
            json!({ "user.max_pid_namespaces": "1" }),
            r#"linux.sysctl["user.max_pid_namespaces"]: needs a user namespace among linux.namespaces"#,
        ),
        (
            "/linux/sysctl",
            json!({ "net/a/b": "1", "net.a.b": "2" }),
            r#"linux.sysctl["net/a/b"]: "net/a/b" is given twice"#,
        ),
        (
            "/linux/memoryPolicy",
            json!({ "mode": "MPOL_BIND" }),
            "linux.memoryPolicy.nodes: is required by this mode",
        ),
        (
            "/linux/memoryPolicy",
            json!({ "mode": "MPOL_LOCAL", "nodes": "0" }),
            "linux.memoryPolicy.nodes: MPOL_DEFAULT and MPOL_LOCAL take no nodes",
        ),
        (
            "/linux/memoryPolicy",
            json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"] }),
            "linux.memoryPolicy.flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other",
        ),
        (
            "/linux/memoryPolicy",
            json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"] }),
            "linux.memoryPolicy.flags: MPOL_F_NUMA_BALANCING is for MPOL_BIND and MPOL_PREFERRED_MANY alone",
        ),
        (
            "/linux/memoryPolicy",
            json!({ "mode": "MPOL_BIND", "nodes": "1024" }),
            r#"linux.memoryPolicy.nodes: 1024 is beyond 1023, found "1024""#,
        ),
        (
            "/linux/intelRdt",
            json!({ "closID": "a/b" }),
            r#"linux.intelRdt.closID: expected / or a name without slashes, found "a/b""#,
        ),
        (
            "/linux/intelRdt",
            json!({ "closID": ".." }),
            r#"linux.intelRdt.closID: expected / or a name without slashes, found "..""#,
        ),
    ]);
}

#[test]
fn resources_say_what_is_wrong() {
    for (resources, expected) in [
        (json!([]), "the document: expected an object, found a list"),
        (json!(null), "the document: is required"),
        (json!({ "devices": [{ "allow": true }] }), "devices[0].access: is required"),
        (json!({ "devices": [{ "access": "r" }] }), "devices[0].allow: is required"),
        (
            json!({ "devices": [{ "allow": true, "access": "rx" }] }),
            r#"devices[0].access: expected letters out of rwm, found "rx""#,
        ),
        (
            json!({ "devices": [{ "allow": true, "access": "r", "type": "u" }] }),
            r#"devices[0].type: unknown device type "u", expected one of a b c"#,
        ),
        (
            json!({ "devices": [{ "allow": true, "access": "r", "major": -2 }] }),
            "devices[0].major: expected a number from -1 to 4095, found -2",
        ),
        (
            json!({ "memory": { "limit": -2 } }),
            "memory.limit: expected a number from -1 to 9223372036854775807, found -2",
        ),
        (
            json!({ "memory": { "swappiness": 101 } }),
            "memory.swappiness: expected a number from 0 to 100, found 101",
        ),
        (json!({ "cpu": { "burst": 2, "quota": 1 } }), "cpu.burst: 2 is above the quota 1"),
        (json!({ "cpu": { "idle": 2 } }), "cpu.idle: expected a number from 0 to 1, found 2"),
        (
            json!({ "cpu": { "shares": "1" } }),
            r#"cpu.shares: expected a number from 0 to 18446744073709551615, found "1""#,
        ),
        (
            json!({ "pids": { "limit": 1e30 } }),
            "pids.limit: expected a number from -1 to 9223372036854775807, found 1e30",
        ),
        (json!({ "blockIO": { "weight": 9 } }), "blockIO.weight: expected a number from 10 to 1000, found 9"),
        (
            json!({ "blockIO": { "throttleReadBpsDevice": [{ "major": 1, "minor": 2 }] } }),
            "blockIO.throttleReadBpsDevice[0].rate: is required",
        ),
        (
            json!({ "hugepageLimits": [{ "pageSize": "2MB/../x", "limit": 1 }] }),
            r#"hugepageLimits[0].pageSize: expected a page size such as 2MB, found "2MB/../x""#,
        ),
        (
            json!({ "network": { "priorities": [{ "name": "a b", "priority": 1 }] } }),
            r#"network.priorities[0].name: "a b" is not a name of a network device"#,
        ),
        (json!({ "rdma": { "a\nb": {} } }), r#"rdma["a\nb"]: is not a name of a device"#),
        (json!({ "unified": { "../x": "1" } }), r#"unified["../x"]: is not the name of a control file"#),
        (json!({ "unified": { "..": "1" } }), r#"unified[".."]: is not the name of a control file"#),
        (json!({ "unified": { "memory.high": 1 } }), r#"unified["memory.high"]: expected a string, found 1"#),
    ] {
        let error = spec::load_resources(resources.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn seccomp_says_what_is_wrong() {
    let profile = |extra: Value| {
        let mut profile = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
        for (key, value) in extra.as_object().unwrap() {
            profile[key] = value.clone();
        }
        profile
    };
    let rule = |rule: Value| profile(json!({ "syscalls": [rule] }));
    let arg = |arg: Value| rule(json!({ "names": ["read"], "action": "SCMP_ACT_KILL", "args": [arg] }));
    check(vec![
        ("/linux/seccomp", json!({}), "linux.seccomp.defaultAction: is required"),
        (
            "/linux/seccomp",
            profile(json!({ "defaultAction": "DENY" })),
            r#"linux.seccomp.defaultAction: unknown action "DENY", expected one of SCMP_ACT_ALLOW SCMP_ACT_ERRNO SCMP_ACT_KILL SCMP_ACT_KILL_PROCESS SCMP_ACT_KILL_THREAD SCMP_ACT_LOG SCMP_ACT_NOTIFY SCMP_ACT_TRACE SCMP_ACT_TRAP"#,
        ),
        (
            "/linux/seccomp",
            profile(json!({ "defaultErrnoRet": 1 })),
            "linux.seccomp.defaultErrnoRet: is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE alone",
        ),
        (
            "/linux/seccomp",
            profile(json!({ "defaultAction": "SCMP_ACT_NOTIFY" })),
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default: the process could not be started",
        ),
        (
            "/linux/seccomp",
            profile(json!({ "flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"] })),
            r#"linux.seccomp.flags[0]: unknown flag "SECCOMP_FILTER_FLAG_NEW_LISTENER", expected one of SECCOMP_FILTER_FLAG_TSYNC SECCOMP_FILTER_FLAG_LOG SECCOMP_FILTER_FLAG_SPEC_ALLOW SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"#,
        ),
        (
            "/linux/seccomp",
            profile(json!({ "listenerMetadata": "x" })),
            "linux.seccomp.listenerMetadata: is given without listenerPath",
        ),
        (
            "/linux/seccomp",
            profile(json!({ "listenerPath": "x" })),
            r#"linux.seccomp.listenerPath: expected an absolute path, found "x""#,
        ),
        (
            "/linux/seccomp",
            rule(json!({ "names": ["read"], "action": "SCMP_ACT_NOTIFY" })),
            "linux.seccomp.listenerPath: is required by SCMP_ACT_NOTIFY",
        ),
        (
            "/linux/seccomp",
            rule(json!({ "names": [], "action": "SCMP_ACT_KILL" })),
            "linux.seccomp.syscalls[0].names: expected at least one name",
        ),
        (
            "/linux/seccomp",
            rule(json!({ "names": ["read"] })),
            "linux.seccomp.syscalls[0].action: is required",
        ),
        (
            "/linux/seccomp",
            rule(json!({ "names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 2 })),
            "linux.seccomp.syscalls[0].errnoRet: is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE alone",
        ),
        (
            "/linux/seccomp",
            rule(json!({ "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096 })),
            "linux.seccomp.syscalls[0].errnoRet: expected a number from 0 to 4095, found 4096",
        ),
        (
            "/linux/seccomp",
            arg(json!({ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" })),
            "linux.seccomp.syscalls[0].args[0].index: expected a number from 0 to 5, found 6",
        ),
        (
            "/linux/seccomp",
            arg(json!({ "index": 0, "value": 1, "op": "EQ" })),
            r#"linux.seccomp.syscalls[0].args[0].op: unknown operator "EQ", expected one of SCMP_CMP_EQ SCMP_CMP_GE SCMP_CMP_GT SCMP_CMP_LE SCMP_CMP_LT SCMP_CMP_MASKED_EQ SCMP_CMP_NE"#,
        ),
    ]);
}

#[test]
fn all_errors_come_at_once() {
    let document = json!({ "ociVersion": 1, "process": { "user": { "uid": "abc" }, "cwd": 1 } });
    assert_eq!(
        spec::load(document.to_string().as_bytes()).unwrap_err().to_string(),
        "ociVersion: expected a string, found 1; root: is required; process.cwd: expected a string, found 1; \
         process.args: is required; process.user.uid: expected a number from 0 to 4294967294, found \"abc\""
    );
}

/// Every JSON pointer of a document.
fn pointers(tree: &Value, pointer: &str, all: &mut Vec<String>) {
    let escape = |key: &str| key.replace('~', "~0").replace('/', "~1");
    let children: Vec<(String, &Value)> = match tree {
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
        }
        Value::Object(members) => members.iter().map(|(key, member)| (escape(key), member)).collect(),
        _ => Vec::new(),
    };
    for (step, child) in children {
        all.push(format!("{pointer}/{step}"));
        pointers(child, &format!("{pointer}/{step}"), all);
    }
}

/// A document that uses every property that is read.
fn everything() -> Value {
    serde_json::from_str(include_str!("everything.json")).unwrap()
}

#[test]
fn a_value_of_the_wrong_type_is_reported_once_wherever_it_is() {
    let good = everything();
    spec::load(good.to_string().as_bytes()).unwrap();
    let mut all = Vec::new();
    pointers(&good, "", &mut all);
    assert!(all.len() > 250, "{}", all.len());
    for pointer in all {
        let mut bad = good.clone();
        let place = bad.pointer_mut(&pointer).unwrap();
        *place = if place.is_boolean() { json!("true") } else { json!(true) };
        let error = spec::load(bad.to_string().as_bytes()).expect_err(&pointer).to_string();
        let found =
            if bad.pointer(&pointer) == Some(&json!(true)) { "found true" } else { r#"found "true""# };
        assert_eq!(error.matches(found).count(), 1, "{pointer}: {error}");
        let text = json!(null);
        *bad.pointer_mut(&pointer).unwrap() = text;
        if let Err(error) = spec::load(bad.to_string().as_bytes()) {
            let error = error.to_string();
            let mut lines: Vec<&str> = error.split("; ").collect();
            let count = lines.len();
            lines.sort_unstable();
            lines.dedup();
            assert_eq!(lines.len(), count, "{pointer}: {error}");
        }
    }
}

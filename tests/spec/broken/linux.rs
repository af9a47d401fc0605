//! `linux` that is wrong.

use super::{base, check, put};
use serde_json::{Value, json};
use urun::spec;

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
            "linux.namespaces[1].type: pid is given twice",
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
            json!({ "kernel.hostname": "x" }),
            r#"linux.sysctl["kernel.hostname"]: conflicts with hostname, which is the field to set"#,
        ),
        (
            "/linux/sysctl",
            json!({ "net.a": "1\n2" }),
            r#"linux.sysctl["net.a"]: "1\n2" holds a control character"#,
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

//! update: limits as the kernel has them afterwards. Controllers that the host has in neither version are left out.

use crate::common::*;
use serde_json::{Value, json};

const MIB: i64 = 1 << 20;

fn has(controller: &str) -> bool {
    cgroup_dir(controller, "/").is_some()
}

/// `update FLAGS ID`.
#[track_caller]
fn update(container: &Container, flags: &[&str]) -> Output {
    container.bundle().call(&[&["update"], flags, &[container.id()]].concat())
}

/// `update --resources - ID` with the document on standard input.
#[track_caller]
fn pipe(container: &Container, document: &Value) -> Output {
    let bundle = container.bundle();
    let file =
        bundle.scratch().file("run/document.json", &document.to_string(), bundle.mode().caller(), 0o600);
    let mut command = bundle.command(&["update", "--resources", "-", container.id()]);
    command.stdin(std::fs::File::open(file).unwrap());
    bundle.call_command(command)
}

/// A running container whose limits are those of `resources`, without what the host cannot limit.
fn limited(mut resources: Value) -> Container {
    only_possible(&mut resources);
    Bundle::new(Mode::RootUserns)
        .with(|config| {
            for (key, value) in resources.as_object().unwrap() {
                set(config, &format!("/linux/resources/{key}"), value.clone());
            }
        })
        .start()
}

fn only_possible(resources: &mut Value) {
    resources.as_object_mut().unwrap().retain(|key, _| has(key));
}

/// What is stored about updates.
fn stored(container: &Container) -> Value {
    let path = container.bundle().state_root().join(container.id()).join("state.json");
    serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap()["resources"].clone()
}

/// The flags for one controller, where the host has it.
fn flags_for(controllers: &[(&str, &[&'static str])]) -> Vec<&'static str> {
    let there = controllers.iter().filter(|(controller, _)| has(controller));
    there.flat_map(|(_, flags)| flags.iter().copied()).collect()
}

const EVERYTHING: &[(&str, &[&str])] = &[
    ("memory", &["--memory", "64M", "--memory-swap=134217728", "--memory-reservation", "32m"]),
    ("pids", &["--pids-limit", "50"]),
    (
        "cpu",
        &["--cpu-share", "512", "--cpu-quota", "50000", "--cpu-period", "200000", "--cpu-burst", "10000"],
    ),
    ("cpuset", &["--cpuset-cpus", "0", "--cpuset-mems", "0"]),
];

const AS_ASKED: &[(&str, i64)] = &[
    ("memory.limit", 64 * MIB),
    ("memory.swap", 128 * MIB),
    ("memory.reservation", 32 * MIB),
    ("pids.limit", 50),
    ("cpu.shares", 512),
    ("cpu.quota", 50_000),
    ("cpu.period", 200_000),
    ("cpu.burst", 10_000),
];

in_modes! {
    [root root_userns]
    fn every_flag_changes_its_limit_and_may_be_given_again(mode) {
        let container = Bundle::new(mode).start();
        for _ in 0..2 {
            let output = update(&container, &flags_for(EVERYTHING)).ok();
            assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
            limits_are(container.proc(), AS_ASKED);
            if has("cpuset") {
                assert_eq!(container.proc().status("Cpus_allowed_list"), "0");
            }
        }
        update(&container, &["--kernel-memory", "5M", "--kernel-memory-tcp=-1"]).ok();
        limits_are(container.proc(), AS_ASKED);
        assert_eq!(container.status(), "running");
    }
}

#[test]
fn what_is_not_named_keeps_its_value() {
    let container = limited(json!({
        "memory": {"limit": 64 * MIB, "swap": 128 * MIB, "reservation": 32 * MIB},
        "pids": {"limit": 50},
        "cpu": {"shares": 512, "quota": 50_000, "period": 200_000, "burst": 10_000},
    }));
    let mut expected: Vec<(&str, i64)> = AS_ASKED.to_vec();
    limits_are(container.proc(), &expected);
    let steps: &[(&str, &str, &str, i64)] = &[
        ("pids", "--pids-limit=60", "pids.limit", 60),
        ("cpu", "--cpu-quota=60000", "cpu.quota", 60_000),
        ("cpu", "--cpu-period=100000", "cpu.period", 100_000),
        ("cpu", "--cpu-burst=0", "cpu.burst", 0),
        ("cpu", "--cpu-share=1024", "cpu.shares", 1024),
        ("memory", "--memory-swap=200M", "memory.swap", 200 * MIB),
        ("memory", "--memory-reservation=16M", "memory.reservation", 16 * MIB),
        ("pids", "--pids-limit=-1", "pids.limit", -1),
        ("cpu", "--cpu-quota=-1", "cpu.quota", -1),
        ("memory", "--memory-swap=-1", "memory.swap", -1),
    ];
    for (_, flag, path, value) in steps.iter().filter(|(controller, ..)| has(controller)) {
        update(&container, &[flag]).ok();
        expected.iter_mut().find(|(known, _)| known == path).unwrap().1 = *value;
        limits_are(container.proc(), &expected);
    }
    let mut nothing = json!({
        "memory": {"limit": 0, "swap": 0, "reservation": 0},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""},
        "blockIO": {"weight": 0},
    });
    nothing["devices"] = json!([{"allow": false, "access": "rwm"}]);
    for document in [&nothing, &json!({}), &json!({"memory": null, "cpu": {}})] {
        pipe(&container, document).ok();
        limits_are(container.proc(), &expected);
    }
}

#[test]
fn memory_and_swap_move_together_in_either_direction() {
    if !has("memory") {
        return;
    }
    let container = Bundle::new(Mode::RootUserns).start();
    for (memory, swap) in [(64, 128), (256, 300), (32, 32), (500, 500), (100, 200)] {
        let (limit, both) = (format!("{memory}M"), format!("{swap}M"));
        update(&container, &["--memory", &limit, "--memory-swap", &both]).ok();
        limits_are(container.proc(), &[("memory.limit", memory * MIB), ("memory.swap", swap * MIB)]);
    }
    update(&container, &["--memory", "-1"]).ok();
    limits_are(container.proc(), &[("memory.limit", -1), ("memory.swap", -1)]);
}

#[test]
fn quota_and_burst_move_together_in_either_direction() {
    if !has("cpu") {
        return;
    }
    let container = Bundle::new(Mode::RootUserns).start();
    for (quota, burst) in [(20_000, 20_000), (90_000, 80_000), (10_000, 5_000), (50_000, 50_000)] {
        pipe(&container, &json!({"cpu": {"quota": quota, "burst": burst}})).ok();
        limits_are(container.proc(), &[("cpu.quota", quota), ("cpu.burst", burst), ("cpu.period", 100_000)]);
    }
}

#[test]
fn an_idle_group_gets_its_weight_back_with_its_diligence() {
    if !has("cpu") || only_ours("the others leave the order to the kernel") {
        return;
    }
    let container = Bundle::new(Mode::RootUserns).start();
    for _ in 0..2 {
        update(&container, &["--cpu-idle", "1", "--cpu-share", "512"]).ok();
        limits_are(container.proc(), &[("cpu.idle", 1)]);
    }
    update(&container, &["--cpu-share", "1024"]).refused_naming(&["EINVAL", "cpu.idle"]);
    update(&container, &["--cpu-idle", "0", "--cpu-share", "512"]).ok();
    limits_are(container.proc(), &[("cpu.idle", 0), ("cpu.shares", 512)]);
}

#[test]
fn what_only_version_one_knows_is_changed_there() {
    let container = Bundle::new(Mode::RootUserns).start();
    if is_v1("blkio") && cgroup_file(container.proc(), "blkio", "blkio.bfq.weight").is_some() {
        update(&container, &["--blkio-weight", "200"]).ok();
        assert_eq!(cgroup_file(container.proc(), "blkio", "blkio.bfq.weight").unwrap(), "200");
    }
    if is_v1("cpu") && cgroup_file(container.proc(), "cpu", "cpu.rt_period_us").is_some() {
        update(&container, &["--cpu-rt-period", "500000", "--cpu-rt-runtime", "1000"]).ok();
        assert_eq!(cgroup_file(container.proc(), "cpu", "cpu.rt_period_us").unwrap(), "500000");
        assert_eq!(cgroup_file(container.proc(), "cpu", "cpu.rt_runtime_us").unwrap(), "1000");
    }
}

#[test]
fn files_of_version_two_and_huge_pages_are_changed() {
    let container = Bundle::new(Mode::RootUserns).start();
    let read = |file: &str| cgroup_file(container.proc(), "", file);
    if read("cgroup.max.depth").is_none() || only_ours("runc takes unified on pure version 2 alone") {
        return;
    }
    pipe(&container, &json!({"unified": {"cgroup.max.depth": "7"}})).ok();
    pipe(&container, &json!({"unified": {"cgroup.max.descendants": "9"}})).ok();
    assert_eq!(
        (read("cgroup.max.depth").unwrap(), read("cgroup.max.descendants").unwrap()),
        ("7".into(), "9".into())
    );
    // systemd hands no hugetlb down.
    if read("cgroup.controllers").unwrap().split(' ').any(|name| name == "hugetlb") {
        pipe(&container, &json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]})).ok();
        assert_eq!(read("hugetlb.2MB.max").unwrap(), (4 * MIB).to_string());
        pipe(&container, &json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]})).ok();
        assert_eq!(read("hugetlb.2MB.max").unwrap(), "0");
    }
}

in_modes! {
    [root root_userns]
    fn limits_change_whatever_the_container_does_and_its_process_notices_nothing(mode) {
        if !has("pids") {
            return;
        }
        let container = Bundle::new(mode).create();
        let before = container.proc().read("stat");
        let start_time = |stat: &str| stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().to_owned();
        update(&container, &["--pids-limit", "51"]).ok();
        limits_are(container.proc(), &[("pids.limit", 51)]);
        assert_eq!(container.status(), "created");
        container.start();
        update(&container, &["--pids-limit", "52"]).ok();
        limits_are(container.proc(), &[("pids.limit", 52)]);
        container.call("pause", &[]).ok();
        update(&container, &["--pids-limit", "53"]).ok();
        limits_are(container.proc(), &[("pids.limit", 53)]);
        assert_eq!(container.status(), "paused");
        container.call("resume", &[]).ok();
        assert_eq!(start_time(&container.proc().read("stat")), start_time(&before));
        container.kill("KILL").ok();
        container.wait_stopped();
        update(&container, &["--pids-limit", "54"]).refused("container not running");
        container.bundle().call(&["update", "--pids-limit", "5", "nobody"]).refused("does not exist");
    }
}

#[test]
fn a_document_comes_from_a_file_or_from_standard_input() {
    let mut document =
        json!({"memory": {"limit": 128 * MIB}, "cpu": {"shares": 204, "quota": 75_000, "period": 100_000}});
    only_possible(&mut document);
    let expected =
        [("memory.limit", 128 * MIB), ("cpu.shares", 204), ("cpu.quota", 75_000), ("cpu.period", 100_000)];
    let from_file = Bundle::new(Mode::RootUserns).start();
    let bundle = from_file.bundle();
    let file = bundle.scratch().file("run/limits.json", &document.to_string(), bundle.mode().caller(), 0o600);
    update(&from_file, &[&format!("--resources={}", file.display())]).ok();
    limits_are(from_file.proc(), &expected);
    let piped = Bundle::new(Mode::RootUserns).start();
    pipe(&piped, &document).ok();
    limits_are(piped.proc(), &expected);
    update(&piped, &["-r", "/nowhere/x.json"]).refused_naming(&["/nowhere/x.json", "ENOENT"]);
}

#[test]
fn a_bad_document_is_refused_with_its_path_and_changes_nothing() {
    if only_ours("the words are ours") {
        return;
    }
    let container =
        limited(json!({"memory": {"limit": 64 * MIB}, "pids": {"limit": 50}, "cpu": {"shares": 512}}));
    let expected = [("memory.limit", 64 * MIB), ("pids.limit", 50), ("cpu.shares", 512)];
    for (mut document, words) in [
        (json!({"pids": {"limit": 60}, "memory": {"limit": "1G"}}), ["memory.limit", "standard input"]),
        (json!({"pids": {"limit": 60}, "cpu": {"shares": -5}}), ["cpu.shares", "-5"]),
        (
            json!({"pids": {"limit": 60}, "memory": {"limit": 10 * MIB, "swap": MIB}}),
            ["memory.swap", "below"],
        ),
        (json!({"pids": {"limit": 60}, "unified": {"../x": "1"}}), ["unified", "../x"]),
        (json!({"pids": {"limit": 60}, "unified": {"nosuch.max": "1"}}), ["nosuch", "not available"]),
        (json!([]), ["an object", "a list"]),
    ] {
        if let (Some(members), false) = (document.as_object_mut(), has("pids")) {
            members.remove("pids");
        }
        let output = pipe(&container, &document).refused_naming(&words);
        assert_eq!(output.code, 1);
        limits_are(container.proc(), &expected);
        assert_eq!(stored(&container), Value::Null, "{document}");
    }
    let mut command = container.bundle().command(&["update", "--resources=-", container.id()]);
    command.stdin(std::process::Stdio::null());
    container.bundle().call_command(command).refused_naming(&["malformed JSON"]);
}

#[test]
fn what_the_kernel_refuses_is_told_with_what_is_in_force() {
    if !is_v1("cpu") || !is_v1("cpuset") || only_ours("the words are ours") {
        return;
    }
    let container = limited(json!({"cpu": {"shares": 512}}));
    let document = json!({"cpu": {"shares": 300, "cpus": "4000"}});
    pipe(&container, &document).refused_naming(&[
        "in force already: cpu.shares = 300",
        "write \"4000\" to /sys/fs/cgroup/cpuset/",
        "cpuset.cpus",
        "(E",
    ]);
    limits_are(container.proc(), &[("cpu.shares", 300)]);
    assert_eq!(stored(&container), Value::Null);
    // Version 1 refuses by itself what is in use already.
    if is_v1("memory") {
        let output = update(&container, &["--memory", "1k"]);
        output.refused_naming(&["memory.limit_in_bytes", "1024", "EBUSY"]);
    }
}

#[test]
fn updates_are_remembered_together() {
    if only_ours("how it is stored is ours") {
        return;
    }
    let container = Bundle::new(Mode::RootUserns).start();
    assert_eq!(stored(&container), Value::Null);
    let depth = |depth: &str| json!({"unified": {"cgroup.max.depth": depth}, "memory": {"limit": 0}});
    pipe(&container, &depth("8")).ok();
    pipe(&container, &json!({"unified": {"cgroup.max.descendants": "9"}})).ok();
    pipe(&container, &depth("7")).ok();
    let expected = json!({"unified": {"cgroup.max.depth": "7", "cgroup.max.descendants": "9"}, "memory": {}});
    assert_eq!(stored(&container), expected);
}

in_modes! {
    [rootless_one rootless_range root_in_userns]
    fn without_a_cgroup_a_limit_is_refused(mode) {
        if mode.cgroups() {
            return; // systemd makes one for the user
        }
        let container = Bundle::new(mode).start();
        update(&container, &["--pids-limit", "5"]).refused_naming(&["cgroup"]);
        if subject().0 == Subject::Urun {
            pipe(&container, &json!({"memory": {}, "cpu": {"shares": 0}})).ok();
        }
        assert_eq!(container.status(), "running");
    }
}

#[test]
fn schemata_of_a_container_without_a_group_are_refused() {
    let container = Bundle::new(Mode::RootUserns).start();
    update(&container, &["--l3-cache-schema", "L3:0=f"]).refused_naming(&["resctrl", "intelRdt"]);
}

#[test]
fn many_updates_at_once_leave_one_of_them_in_force() {
    if !has("pids") {
        return;
    }
    let container = Bundle::new(Mode::RootUserns).start();
    std::thread::scope(|scope| {
        for limit in 60..68 {
            let container = &container;
            scope.spawn(move || {
                update(container, &["--pids-limit", &limit.to_string()]).ok();
                assert_eq!(container.status(), "running");
            });
        }
    });
    let limit = limit_of(container.proc(), "pids.limit").unwrap();
    assert!((60..68).contains(&limit), "{limit}");
    if subject().0 == Subject::Urun {
        assert_eq!(stored(&container)["pids"]["limit"], limit, "what is stored is what is in force");
    }
}

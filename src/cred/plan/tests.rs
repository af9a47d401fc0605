//! Tests of the module above.

use super::*;
use crate::spec::{
    Capabilities, IdMap,
    config::{ExecCpuAffinity, Rlimit},
    linux::MemoryPolicy,
};

pub(crate) fn process() -> Process {
    Process {
        terminal: false,
        console_size: None,
        cwd: "/".into(),
        env: Vec::new(),
        args: vec!["sh".into()],
        user: User::default(),
        capabilities: Capabilities::default(),
        no_new_privileges: false,
        rlimits: Vec::new(),
        oom_score_adj: None,
        apparmor_profile: None,
        selinux_label: None,
        scheduler: None,
        io_priority: None,
        exec_cpu_affinity: None,
    }
}

pub(crate) fn mapped() -> idmap::Outside {
    let lines = vec![IdMap { container: 0, host: 100_000, size: 65_536 }];
    idmap::Outside::Mapped { uids: lines.clone(), gids: lines }
}

pub(crate) fn input(maps: &idmap::Outside) -> Input<'_> {
    Input {
        id: "box",
        authority: Authority::Host,
        user_namespace: true,
        verb: Verb::Create,
        keyring: Keyring::Containers,
        groups: Groups::Additional,
        setgroups: Setgroups::Allowed,
        maps,
        held: Held::ALL,
        keep_for_filter: false,
        lsm: lsm::Facts::default(),
    }
}

fn show(ops: &[impl std::fmt::Display]) -> Vec<String> {
    ops.iter().map(ToString::to_string).collect()
}

fn steps(process: &Process, linux: &Linux, input: &Input<'_>) -> Vec<String> {
    let ops = inside(process, linux, input).unwrap();
    show(&ops)
}

#[test]
fn a_plain_root_process_gets_the_short_list() {
    assert_eq!(
        steps(&process(), &Linux::default(), &input(&mapped())),
        [
            "make session keyring _ses.box",
            "set umask 0022",
            "change to the working directory / as root",
            "set supplementary groups []",
            "reduce the bounding set to 0x0",
            "become gid 0",
            "become uid 0",
            "stay undumpable",
            "change to the working directory /",
            "set capabilities effective=0x0 permitted=0x0 inheritable=0x0",
            "set ambient capabilities 0x0",
        ]
    );
}

#[test]
fn everything_at_once_comes_in_an_order_with_reasons() {
    let process = Process {
        cwd: "/srv".into(),
        user: User { uid: 1000, gid: 2000, umask: Some(0o27), additional_gids: vec![5, 6] },
        capabilities: Capabilities { bounding: 7, effective: 3, permitted: 7, inheritable: 15, ambient: 12 },
        no_new_privileges: true,
        apparmor_profile: Some("web".into()),
        selinux_label: Some("u:r:t:s0".into()),
        ..process()
    };
    let policy = MemoryPolicy { mode: 2, flags: 1 << 15, nodes: vec![0, 64] };
    let linux = Linux { personality: Some(8), memory_policy: Some(policy), ..Linux::default() };
    let lsm = lsm::Facts { apparmor: Some(lsm::AppArmor::Unconfined), selinux: true };
    let maps = mapped();
    let input = Input { lsm, verb: Verb::Exec, keep_for_filter: true, ..input(&maps) };
    assert_eq!(
        steps(&process, &linux, &input),
        [
            "set SELinux label u:r:t:s0 of the session keyring",
            "join session keyring _ses.box",
            "set personality 0x8",
            "set memory policy 0x8002 on nodes [1, 1]",
            "set umask 0027",
            "set AppArmor profile: exec web",
            "set SELinux label u:r:t:s0",
            "set no new privileges",
            "change to the working directory /srv as root",
            "set supplementary groups [5, 6]",
            "reduce the bounding set to 0x7",
            "keep capabilities over the change of uid",
            "become gid 2000",
            "become uid 1000",
            "stay undumpable",
            "change to the working directory /srv",
            "keep capabilities no longer",
            "set capabilities effective=0x3 permitted=0x7 inheritable=0x7",
            "set ambient capabilities 0x4",
        ]
    );
    assert_eq!(withheld(&process, &input), 8);
}

#[test]
fn a_filter_without_no_new_privileges_keeps_what_loading_it_takes() {
    let maps = mapped();
    let sets = |process: &Process, input: &Input<'_>| {
        steps(process, &Linux::default(), input).into_iter().rev().nth(1)
    };
    let kept = Some("set capabilities effective=0x200000 permitted=0x200000 inheritable=0x0".to_owned());
    let none = Some("set capabilities effective=0x0 permitted=0x0 inheritable=0x0".to_owned());
    let filter = Input { keep_for_filter: true, ..input(&maps) };
    assert_eq!(sets(&process(), &filter), kept);
    assert_eq!(sets(&Process { no_new_privileges: true, ..process() }, &filter), none);
    assert_eq!(sets(&process(), &input(&maps)), none);
    let held = Held { permitted: 0, bounding: 0 };
    assert_eq!(sets(&process(), &Input { held, ..filter }), none);
}

#[test]
fn groups_follow_setgroups_and_the_annotation() {
    let maps = mapped();
    let lists = |gids: &[u32], groups, setgroups| {
        let user = User { additional_gids: gids.to_vec(), ..User::default() };
        let input = Input { groups, setgroups, ..input(&maps) };
        let steps = inside(&Process { user, ..process() }, &Linux::default(), &input);
        steps
            .map(|steps| show(&steps).into_iter().find(|step| step.contains("groups")))
            .map_err(|e| e.to_string())
    };
    let set = |text: &str| Ok(Some(format!("set supplementary groups {text}")));
    assert_eq!(lists(&[], Groups::Additional, Setgroups::Allowed), set("[]"));
    assert_eq!(lists(&[7], Groups::Additional, Setgroups::Allowed), set("[7]"));
    assert_eq!(lists(&[], Groups::Additional, Setgroups::Denied), Ok(None));
    assert_eq!(lists(&[7], Groups::Callers, Setgroups::Allowed), Ok(None));
    assert_eq!(lists(&[0], Groups::Additional, Setgroups::Denied), Ok(None), "the primary group");
    assert!(lists(&[7], Groups::Additional, Setgroups::Denied).unwrap_err().contains("denies setgroups"));
    assert!(
        lists(&[70_000], Groups::Additional, Setgroups::Allowed)
            .unwrap_err()
            .contains("70000 has no mapping")
    );
}

#[test]
fn an_unmapped_user_is_an_error_that_names_the_field() {
    for (uid, gid, field) in [(65_536, 0, "process.user.uid 65536"), (0, 65_536, "process.user.gid 65536")] {
        let process = Process { user: User { uid, gid, ..User::default() }, ..process() };
        for error in [
            outside(&process, &input(&mapped())).unwrap_err(),
            inside(&process, &Linux::default(), &input(&mapped())).unwrap_err(),
        ] {
            assert_eq!(
                error.to_string(),
                format!("{field} has no mapping in the container's user namespace")
            );
        }
    }
}

#[test]
fn what_is_done_from_outside_uses_outside_ids() {
    let process = Process {
        rlimits: vec![Rlimit { resource: 7, soft: 10, hard: u64::MAX }],
        oom_score_adj: Some(-5),
        io_priority: Some(2 << 13 | 3),
        user: User { uid: 1000, gid: 5, ..User::default() },
        ..process()
    };
    let all = outside(&process, &input(&mapped())).unwrap();
    assert_eq!(
        show(&all),
        [
            "allow every processor of the cpuset",
            "set RLIMIT_NOFILE to 10:unlimited",
            "set the OOM score to -5",
            "set I/O class 2, priority 3",
            "give the standard streams to 101000:100005",
        ]
    );
    let terminal = outside(&Process { terminal: true, ..process }, &input(&mapped())).unwrap();
    assert_eq!(show(&terminal), show(&all)[..4]);
}

#[test]
fn processors_are_all_or_those_that_exec_asks_for() {
    let wanted = |initial: Option<&[u32]>, last: Option<&[u32]>| Process {
        exec_cpu_affinity: Some(ExecCpuAffinity {
            initial: initial.map(<[u32]>::to_vec),
            last: last.map(<[u32]>::to_vec),
        }),
        ..process()
    };
    let cpus = |list: &[u32]| Some(OutsideOp::Cpus(list.to_vec()));
    let all = Affinity { before: None, in_cgroup: Some(OutsideOp::AllCpus) };
    assert_eq!(affinity(&process(), Verb::Exec), all);
    assert_eq!(affinity(&wanted(Some(&[1]), Some(&[2])), Verb::Create), all);
    let both = Affinity { before: cpus(&[1]), in_cgroup: cpus(&[2]) };
    assert_eq!(affinity(&wanted(Some(&[1]), Some(&[2])), Verb::Exec), both);
    let first = Affinity { before: cpus(&[1]), in_cgroup: None };
    assert_eq!(affinity(&wanted(Some(&[1]), None), Verb::Exec), first);
}

#[test]
fn a_node_that_no_kernel_has_is_refused() {
    assert_eq!(node_mask(&[]).unwrap(), [0_u64; 0]);
    assert_eq!(node_mask(&[1, 65]).unwrap(), [2, 2]);
    assert!(node_mask(&[u32::MAX]).is_err());
}

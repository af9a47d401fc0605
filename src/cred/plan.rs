//! Which identity a process gets, from what its configuration asks and what its place allows.

use super::op::{Denial, InsideOp, KeyringAccess, OutsideOp, Scheduling};
use crate::{
    error::{Error, Result},
    lsm,
    ns::idmap,
    spec::{Linux, Process, User},
};
use std::ffi::CString;

/// What the planner knows besides the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The container's id.
    pub id: &'a str,
    /// How far the runtime's word goes on this host.
    pub authority: Authority,
    /// Whether the process lives in a user namespace of the container's own, made or joined.
    pub user_namespace: bool,
    /// What becomes of the session keyring.
    pub keyring: Keyring,
    /// What becomes of the supplementary groups.
    pub groups: Groups,
    /// `/proc/self/setgroups` of the process's user namespace.
    pub setgroups: Setgroups,
    /// The container's ids as the assembler sees them.
    pub maps: &'a idmap::Outside,
    /// What the process holds before it gives anything up.
    pub held: Held,
    /// A seccomp filter will be loaded directly before execve. Unless `noNewPrivileges` stands in for it, that takes
    /// CAP_SYS_ADMIN, which therefore stays until then; execve computes all sets anew and does not pass it on.
    pub keep_for_filter: bool,
    /// Which security modules there are.
    pub lsm: lsm::Facts,
}

/// How far the runtime's word goes on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Root in the initial user namespace: what is asked for is done or is an error.
    Host,
    /// Rootless, or root in a user namespace of somebody else's: the kernel refuses some things always.
    Limited,
}

/// What becomes of the session keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyring {
    /// A new one is made (create).
    New,
    /// The container's is joined (exec).
    Found,
    /// The caller's stays (`--no-new-keyring`).
    Callers,
}

/// What becomes of the supplementary groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// `additionalGids` and nothing else.
    Additional,
    /// Those of the caller (`run.oci.keep_original_groups`).
    Callers,
}

/// `/proc/self/setgroups`, user_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setgroups {
    /// `allow`
    Allowed,
    /// `deny`
    Denied,
}

/// Capabilities at hand, bit n = capability n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// permitted set
    pub permitted: u64,
    /// bounding set
    pub bounding: u64,
}

impl Held {
    /// All of them, as whoever enters a user namespace has.
    pub const ALL: Self = Self { permitted: u64::MAX, bounding: u64::MAX };

    /// Reads `CapPrm` and `CapBnd` of a /proc/PID/status.
    pub fn parse(status: &str) -> Result<Self> {
        let mask = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let mask = line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
            mask.ok_or_else(|| Error::new(format_args!("no {name} in /proc/PID/status")))
        };
        Ok(Self { permitted: mask("CapPrm")?, bounding: mask("CapBnd")? })
    }
}

/// `CAP_SYS_ADMIN` as a mask.
const SYS_ADMIN: u64 = 1 << 21;

/// umask of a process whose configuration has none, as in runc and crun.
const UMASK: u32 = 0o022;

/// What is done to the process by pid.
pub fn outside(process: &Process, input: &Input<'_>) -> Result<Vec<OutsideOp>> {
    let denial = match input.authority {
        Authority::Host => Denial::Fails,
        Authority::Limited => Denial::Noted,
    };
    let mut ops = vec![OutsideOp::AllCpus];
    ops.extend(process.rlimits.iter().map(|limit| OutsideOp::Limit {
        resource: limit.resource,
        soft: limit.soft,
        hard: limit.hard,
        denial,
    }));
    ops.extend(process.oom_score_adj.map(|score| OutsideOp::OomScore { score, denial }));
    ops.extend(process.scheduler.map(|wanted| {
        OutsideOp::Scheduler(Scheduling {
            policy: wanted.policy,
            flags: wanted.flags,
            nice: wanted.nice,
            priority: wanted.priority,
            runtime: wanted.runtime,
            deadline: wanted.deadline,
            period: wanted.period,
        })
    }));
    ops.extend(process.io_priority.map(OutsideOp::IoPriority));
    if !process.terminal {
        let (uid, gid) = outside_ids(&process.user, input.maps)?;
        ops.push(OutsideOp::Stdio { uid, gid });
    }
    Ok(ops)
}

/// What the process does to itself, in order; [`super::order::INSIDE`] holds the reasons.
pub fn inside(process: &Process, linux: &Linux, input: &Input<'_>) -> Result<Vec<InsideOp>> {
    let user = &process.user;
    outside_ids(user, input.maps)?;
    let cwd = CString::new(process.cwd.as_os_str().as_encoded_bytes())
        .map_err(|_| Error::new("process.cwd contains a NUL byte"))?;
    let labels = lsm::plan(process, input.lsm)?;
    let caps = grant(process, input);

    let mut ops = keyring(process, input)?;
    ops.extend(linux.personality.map(InsideOp::Personality));
    if let Some(policy) = &linux.memory_policy {
        ops.push(InsideOp::MemoryPolicy {
            mode: policy.mode | policy.flags,
            nodes: node_mask(&policy.nodes)?,
        });
    }
    ops.push(InsideOp::Umask(user.umask.unwrap_or(UMASK)));
    ops.extend(labels.into_iter().map(InsideOp::Label));
    if process.no_new_privileges {
        ops.push(InsideOp::NoNewPrivileges);
    }
    ops.push(InsideOp::DirectoryAsRoot(cwd.clone()));
    ops.extend(groups(user, input)?);
    ops.push(InsideOp::Bounding(caps.bounding));
    let leaves_root = user.uid != 0;
    if leaves_root {
        ops.push(InsideOp::KeepCapabilities);
    }
    ops.extend([InsideOp::Group(user.gid), InsideOp::User(user.uid), InsideOp::Undumpable]);
    ops.push(InsideOp::DirectoryAsUser(cwd));
    if leaves_root {
        ops.push(InsideOp::ForgetCapabilities);
    }
    let kept = if input.keep_for_filter && !process.no_new_privileges {
        SYS_ADMIN & input.held.permitted
    } else {
        0
    };
    ops.push(InsideOp::Capabilities {
        effective: caps.effective | kept,
        permitted: caps.permitted | kept,
        inheritable: caps.inheritable,
    });
    ops.push(InsideOp::Ambient(caps.ambient));
    Ok(ops)
}

/// Capabilities that are asked for and cannot be had, for a warning (runtime-spec 1.1, config.md: a capability that
/// cannot be granted is not an error).
pub fn withheld(process: &Process, input: &Input<'_>) -> u64 {
    let asked = process.capabilities;
    let granted = grant(process, input);
    (asked.bounding & !granted.bounding)
        | (asked.effective & !granted.effective)
        | (asked.permitted & !granted.permitted)
        | (asked.inheritable & !granted.inheritable)
        | (asked.ambient & !granted.ambient)
}

/// The five sets as far as the kernel grants them, capabilities(7).
fn grant(process: &Process, input: &Input<'_>) -> crate::spec::Capabilities {
    let mut caps = process.capabilities;
    caps.bounding &= input.held.bounding;
    caps.permitted &= input.held.permitted;
    caps.effective &= caps.permitted;
    // capset(2) adds nothing to this set that is not in the bounding set, which has been reduced by then.
    caps.inheritable &= caps.bounding;
    caps.ambient &= caps.permitted & caps.inheritable;
    caps
}

fn keyring(process: &Process, input: &Input<'_>) -> Result<Vec<InsideOp>> {
    let access = match input.keyring {
        Keyring::New => KeyringAccess::New,
        Keyring::Found => KeyringAccess::Found,
        Keyring::Callers => return Ok(Vec::new()),
    };
    let name = CString::new(format!("_ses.{}", input.id))
        .map_err(|_| Error::new("the container's id contains a NUL byte"))?;
    let denial = if input.user_namespace { Denial::Noted } else { Denial::Fails };
    let mut ops: Vec<_> = lsm::plan_key(process, input.lsm)?.map(InsideOp::KeyLabel).into_iter().collect();
    ops.push(InsideOp::SessionKeyring { name, access, denial });
    Ok(ops)
}

fn groups(user: &User, input: &Input<'_>) -> Result<Option<InsideOp>> {
    if input.groups == Groups::Callers {
        return Ok(None);
    }
    if let Some(gid) = user.additional_gids.iter().find(|gid| input.maps.gid(**gid).is_none()) {
        return Err(unmapped("process.user.additionalGids", *gid, "gidMappings"));
    }
    match input.setgroups {
        Setgroups::Allowed => Ok(Some(InsideOp::Groups(user.additional_gids.clone()))),
        Setgroups::Denied if user.additional_gids.is_empty() => Ok(None),
        Setgroups::Denied => Err(Error::new(format_args!(
            "process.user.additionalGids {:?}: the user namespace denies setgroups",
            user.additional_gids
        ))
        .hint(
            "map the ids through newgidmap with ranges in /etc/subgid, or keep the caller's groups with the annotation run.oci.keep_original_groups=1",
        )),
    }
}

fn outside_ids(user: &User, maps: &idmap::Outside) -> Result<(u32, u32)> {
    let uid = maps.uid(user.uid).ok_or_else(|| unmapped("process.user.uid", user.uid, "uidMappings"))?;
    let gid = maps.gid(user.gid).ok_or_else(|| unmapped("process.user.gid", user.gid, "gidMappings"))?;
    Ok((uid, gid))
}

fn unmapped(path: &str, id: u32, list: &str) -> Error {
    Error::new(format_args!("{path} {id} has no mapping in the container's user namespace"))
        .hint(format_args!("add a range that holds it to linux.{list}, or use a mapped id"))
}

/// `MAX_NUMNODES` of the largest kernels.
const MOST_NODES: u32 = 1024;

fn node_mask(nodes: &[u32]) -> Result<Vec<u64>> {
    let last = nodes.iter().max().copied();
    if let Some(node) = last.filter(|node| *node >= MOST_NODES) {
        crate::bail!("linux.memoryPolicy.nodes: there is no node {node}");
    }
    let mut mask = vec![0; last.map_or(0, |last| last as usize / 64 + 1)];
    for &node in nodes {
        mask[node as usize / 64] |= 1_u64 << (node % 64);
    }
    Ok(mask)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        cred::order,
        spec::{Capabilities, IdMap, config::Rlimit, linux::MemoryPolicy},
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
            keyring: Keyring::New,
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
        let names: Vec<_> = ops.iter().map(InsideOp::name).collect();
        order::check(&names, order::INSIDE).unwrap();
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
            capabilities: Capabilities {
                bounding: 7,
                effective: 3,
                permitted: 7,
                inheritable: 15,
                ambient: 12,
            },
            no_new_privileges: true,
            apparmor_profile: Some("web".into()),
            selinux_label: Some("u:r:t:s0".into()),
            ..process()
        };
        let policy = MemoryPolicy { mode: 2, flags: 1 << 15, nodes: vec![0, 64] };
        let linux = Linux { personality: Some(8), memory_policy: Some(policy), ..Linux::default() };
        let lsm = lsm::Facts { apparmor: Some(lsm::AppArmor::Unconfined), selinux: true };
        let maps = mapped();
        let input = Input { lsm, keyring: Keyring::Found, keep_for_filter: true, ..input(&maps) };
        assert_eq!(
            steps(&process, &linux, &input),
            [
                "set SELinux label u:r:t:s0 of the session keyring",
                "join session keyring _ses.box",
                "set personality 0x8",
                "set memory policy 0x8002 on nodes [\n    0x1,\n    0x1,\n]",
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
        assert!(lists(&[7], Groups::Additional, Setgroups::Denied).unwrap_err().contains("denies setgroups"));
        assert!(
            lists(&[70_000], Groups::Additional, Setgroups::Allowed)
                .unwrap_err()
                .contains("70000 has no mapping")
        );
    }

    #[test]
    fn an_unmapped_user_is_an_error_that_names_the_field() {
        for (uid, gid, field) in
            [(65_536, 0, "process.user.uid 65536"), (0, 65_536, "process.user.gid 65536")]
        {
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
    fn a_node_that_no_kernel_has_is_refused() {
        assert_eq!(node_mask(&[]).unwrap(), [0_u64; 0]);
        assert_eq!(node_mask(&[1, 65]).unwrap(), [2, 2]);
        assert!(node_mask(&[u32::MAX]).is_err());
    }

    #[test]
    fn held_capabilities_are_read_from_status() {
        let held =
            Held::parse("CapInh:\t0000000000000000\nCapPrm:\t00000000000000ff\nCapBnd:\t0f\n").unwrap();
        assert_eq!(held, Held { permitted: 0xff, bounding: 0xf });
        assert!(Held::parse("CapPrm:\tzz\n").is_err());
    }
}

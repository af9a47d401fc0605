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
    /// Whether the process makes the container or joins it.
    pub verb: Verb,
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

/// Whether the process makes the container or joins it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `create`, `run`
    Create,
    /// `exec`
    Exec,
}

/// What becomes of the session keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyring {
    /// The container's, which create makes and exec joins.
    Containers,
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
}

/// `CAP_SYS_ADMIN` as a mask.
const SYS_ADMIN: u64 = 1 << 21;

/// umask of a process whose configuration has none, as in runc and crun.
const UMASK: u32 = 0o022;

/// What the process that gives birth to one of `exec` does to itself, before it joins the container: the child inherits
/// it. For the processors that is the order of the runtime-spec; the file of the OOM score is out of a rootless
/// runtime's reach once the child is in there.
pub fn before(process: &Process, input: &Input<'_>) -> Vec<OutsideOp> {
    match input.verb {
        Verb::Create => Vec::new(),
        Verb::Exec => {
            affinity(process, input.verb).before.into_iter().chain(oom_score(process, input)).collect()
        }
    }
}

fn denial(input: &Input<'_>) -> Denial {
    match input.authority {
        Authority::Host => Denial::Fails,
        Authority::Limited => Denial::Noted,
    }
}

fn oom_score(process: &Process, input: &Input<'_>) -> Option<OutsideOp> {
    process.oom_score_adj.map(|score| OutsideOp::OomScore { score, denial: denial(input) })
}

/// What is done to the process by pid.
pub fn outside(process: &Process, input: &Input<'_>) -> Result<Vec<OutsideOp>> {
    let denial = denial(input);
    let mut ops: Vec<_> = affinity(process, input.verb).in_cgroup.into_iter().collect();
    ops.extend(process.rlimits.iter().map(|limit| OutsideOp::Limit {
        resource: limit.resource,
        soft: limit.soft,
        hard: limit.hard,
        denial,
    }));
    if input.verb == Verb::Create {
        ops.extend(oom_score(process, input));
    }
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

/// Processors at the two moments that `execCPUAffinity` tells apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// For the runtime itself (pid 0), before the process is born into its cgroup.
    pub before: Option<OutsideOp>,
    /// Once the process is there; [`outside`] has it.
    pub in_cgroup: Option<OutsideOp>,
}

/// Which processors the process may use (runtime-spec 1.2.1). Without a word about it, all that its cpuset allows: the
/// caller's own affinity (CRI-O starts runtimes under taskset) is not the container's.
pub fn affinity(process: &Process, verb: Verb) -> Affinity {
    match (&process.exec_cpu_affinity, verb) {
        (Some(wanted), Verb::Exec) => Affinity {
            before: wanted.initial.clone().map(OutsideOp::Cpus),
            in_cgroup: wanted.last.clone().map(OutsideOp::Cpus),
        },
        _ => Affinity { before: None, in_cgroup: Some(OutsideOp::AllCpus) },
    }
}

/// What the process does to itself, in order; `plan::order` holds the reasons.
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
    let access = match (input.keyring, input.verb) {
        (Keyring::Callers, _) => return Ok(Vec::new()),
        (Keyring::Containers, Verb::Create) => KeyringAccess::New,
        (Keyring::Containers, Verb::Exec) => KeyringAccess::Found,
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
        return Err(unmapped_gid("process.user.additionalGids", *gid, input.maps));
    }
    match input.setgroups {
        Setgroups::Allowed => Ok(Some(InsideOp::Groups(user.additional_gids.clone()))),
        // Engines name the primary group among the others (Docker: [0]), and that one the process has.
        Setgroups::Denied if user.additional_gids.iter().all(|gid| *gid == user.gid) => Ok(None),
        Setgroups::Denied => Err(Error::new(format_args!(
            "process.user.additionalGids {:?}: the user namespace denies setgroups",
            user.additional_gids
        ))
        .hint(
            "map the ids through newgidmap with ranges in /etc/subgid, or keep the caller's groups with the annotation \
             run.oci.keep_original_groups=1",
        )),
    }
}

fn outside_ids(user: &User, maps: &idmap::Outside) -> Result<(u32, u32)> {
    let uid = maps.uid(user.uid).ok_or_else(|| unmapped_uid("process.user.uid", user.uid, maps))?;
    let gid = maps.gid(user.gid).ok_or_else(|| unmapped_gid("process.user.gid", user.gid, maps))?;
    Ok((uid, gid))
}

fn unmapped_uid(path: &str, uid: u32, maps: &idmap::Outside) -> Error {
    unmapped(path, uid, "uid", &maps.uids())
}

fn unmapped_gid(path: &str, gid: u32, maps: &idmap::Outside) -> Error {
    unmapped(path, gid, "gid", &maps.gids())
}

/// An id that the user namespace lacks, and those it has. With `userns-remap` of Docker nobody edits config.json.
fn unmapped(path: &str, id: u32, kind: &str, has: &str) -> Error {
    Error::new(format_args!("{path} {id} has no mapping in the container's user namespace")).hint(format_args!(
        "use one of the {kind}s that the container has ({has}), or add a range to linux.{kind}Mappings, which engines take from \
         /etc/sub{kind}"
    ))
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
pub(crate) mod tests;

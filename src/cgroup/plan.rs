//! Decides where a container's groups are and what is written into them. Pure.

use super::{
    below::Below,
    bpf::{self, Insn},
    device::Rules,
    limit::{Current, Limits, limits},
    path,
    record::Record,
    scope::UnitRecord,
    unit::{Placing, Systemd, Unit},
    write::{Op, Version},
};
use crate::{
    bail,
    error::{Context, Error, Result},
    host::cgroups::{Cgroups, Hierarchy},
    ns::idmap::Outside,
    spec::{
        config::User,
        linux::{Linux, NamespaceKind, Resources},
        mount::{Mount, MountKind, Parameter},
    },
};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// Who looks after the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// urun itself, through cgroupfs.
    Cgroupfs,
    /// systemd, of whose units they are.
    Systemd,
    /// Nobody: the container stays in the caller's group.
    Disabled,
}

/// What the caller may do to the hierarchies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Root of the initial user namespace.
    Privileged,
    /// Anybody else, root of a user namespace included: only delegated groups can be made, and no device program attached.
    Unprivileged,
}

/// Everything that the decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// `linux`
    pub linux: &'a Linux,
    /// `mounts`, for the ownership rule.
    pub mounts: &'a [Mount],
    /// `process.user`, for the ownership rule.
    pub user: Option<&'a User>,
    /// How the container's ids appear to the process that writes the groups.
    pub outside: &'a Outside,
    /// The container's id.
    pub id: &'a str,
    /// The host's hierarchies.
    pub host: &'a Cgroups,
    /// Who looks after the groups.
    pub driver: Driver,
    /// The service manager that the systemd driver asks, or why none can be asked; none for another driver.
    pub systemd: Option<&'a Result<Systemd>>,
    /// `annotations`
    pub annotations: &'a BTreeMap<String, String>,
    /// What the caller may do.
    pub caller: Caller,
}

/// What is done about control groups.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Nothing, and why.
    None {
        /// In words, for whoever asks.
        reason: String,
    },
    /// A group in each hierarchy.
    Groups {
        /// The unit that the group belongs to, started before everything else.
        unit: Option<Box<Unit>>,
        /// In the order in which they are made.
        groups: Vec<Group>,
        /// What is asked for and has no meaning here, in the words of `resources`.
        ignored: Vec<String>,
    },
}

/// The container's group in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Where the hierarchy is mounted.
    pub mount: PathBuf,
    /// Place of the group in it, starting with `/`.
    pub path: String,
    /// Version 2: processes are born in it (CLONE_INTO_CGROUP). Version 1: they are moved into it.
    pub version: Version,
    /// A group above both the caller's and this one, into whose `cgroup.procs` the caller must be able to write to bring a process
    /// here; none for a caller who may anyway.
    pub crossing: Option<String>,
    /// Controllers to enable from the root down to the group (version 2).
    pub controllers: Vec<String>,
    /// Whether empty `cpuset.cpus` and `cpuset.mems` are filled from the parent, without which version 1 takes no process.
    pub fill_cpuset: bool,
    /// Writes, in order.
    pub writes: Vec<Op>,
    /// Writes that have to wait for the first process.
    pub late: Vec<Op>,
    /// Device program to attach (version 2).
    pub devices: Option<Vec<Insn>>,
    /// Whether the container arranges groups of its own below it, and so wants every controller.
    pub delegated: bool,
    /// Who gets the group.
    pub owner: Option<Owner>,
    /// The groups below it that its processes are in.
    pub below: Below,
    /// What to do when the kernel does not let the caller make the group.
    pub refused: Refused,
}

/// New values for the groups of a container that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// By mount point of the hierarchy.
    pub writes: Vec<(PathBuf, Vec<Op>)>,
    /// What is asked for and has no meaning here, in the words of `resources`.
    pub ignored: Vec<String>,
}

/// Ids as the process that writes the groups sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User
    pub uid: u32,
    /// Group
    pub gid: u32,
}

/// What a refusal (EACCES, EPERM, EROFS) means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The container cannot be had.
    Fail,
    /// The container goes without a group in this hierarchy: nothing depends on it.
    Without,
}

/// Where a container sees its hierarchy.
const IN_CONTAINER: &str = "/sys/fs/cgroup";

/// Decides. `cgroupsPath` counts from the root of each hierarchy; without one the group is `/ID`, or beside the caller's own
/// where the caller has no privileges. An unprivileged caller that asks for no limit goes without groups wherever it may not make any.
///
/// # Errors
/// Names that lead elsewhere (SEC-16), limits that no hierarchy of the host can enforce, contradictory values, an owner
/// that has no id outside.
pub fn plan(input: &Input<'_>) -> Result<Plan> {
    let resources = &input.linux.resources;
    if input.driver == Driver::Disabled {
        if resources.has_limits() {
            return Err(Error::new("linux.resources has limits, but control groups are disabled")
                .hint("choose a cgroup driver or remove linux.resources"));
        }
        return Ok(Plan::None { reason: "control groups are disabled".to_owned() });
    }
    let keeper = match (input.driver, input.systemd) {
        (Driver::Systemd, Some(Err(error)))
            if input.caller == Caller::Unprivileged && !resources.has_limits() && is_nobody(error) =>
        {
            return Ok(Plan::None {
                reason: "no systemd can be asked for one, and no limit needs one".to_owned(),
            });
        }
        (Driver::Systemd, Some(found)) => Some(found.as_ref().map_err(Clone::clone)?),
        _ => None,
    };
    let memory = &resources.memory;
    if memory.swap.is_some_and(|swap| swap > 0) && memory.limit.is_none_or(|limit| limit <= 0) {
        bail!("linux.resources.memory.swap needs linux.resources.memory.limit, which it includes");
    }
    let mut limits = limits(resources, input.host, Current::default()).context("plan control groups")?;
    let rules = Rules::new(&resources.devices);
    let named = input.linux.cgroups_path.as_deref().filter(|path| !path.is_empty());
    let (unit, place) = match keeper {
        Some(keeper) => {
            let writes: Vec<Op> = limits.unified.iter().chain(&limits.late).cloned().collect();
            let unit = Unit::plan(named, input.id, keeper, &writes, input.annotations)?;
            limits.make_room();
            let place = unit.path()?;
            (Some(Box::new(unit)), Some(place))
        }
        None => (None, named.map(path::from_config).transpose().context("linux.cgroupsPath")?),
    };
    let mut groups = Vec::new();
    for (version, hierarchy) in hierarchies(input.host) {
        groups.push(group(input, version, hierarchy, place.as_deref(), &mut limits)?);
    }
    if groups.is_empty() {
        return Ok(Plan::None { reason: "no cgroup hierarchy is mounted".to_owned() });
    }
    if let Some(rules) = rules {
        if input.caller == Caller::Privileged {
            add_devices(&mut groups, input.host, &rules)?;
        } else {
            // bpf(2) and the version 1 controller want privileges over the host, and without those the kernel makes no nodes.
            limits.ignored.push("devices".to_owned());
        }
    }
    Ok(Plan::Groups { unit, groups, ignored: limits.ignored })
}

/// Whether there is no service manager to ask, or none that would hear this caller; anything else that has gone wrong with it is told.
fn is_nobody(error: &Error) -> bool {
    matches!(error.errno(), None | Some(libc::ENOENT | libc::ECONNREFUSED | libc::EACCES | libc::EPERM))
}

/// What `update` writes: the values of `resources` alone, device rules left as they are.
///
/// # Errors
/// As [`plan`] for limits.
pub fn update(resources: &Resources, host: &Cgroups, current: Current<'_>) -> Result<Update> {
    let mut limits = limits(resources, host, current).context("plan control groups")?;
    let mut writes: Vec<(PathBuf, Vec<Op>)> = Vec::new();
    for hierarchy in &host.legacy {
        let of = |controller: &String| limits.legacy.remove(controller.as_str());
        writes
            .push((hierarchy.mount.clone(), hierarchy.controllers.iter().filter_map(of).flatten().collect()));
    }
    if let Some(hierarchy) = &host.unified {
        limits.unified.append(&mut limits.late);
        writes.push((hierarchy.mount.clone(), limits.unified));
    }
    writes.retain(|(_, ops)| !ops.is_empty());
    Ok(Update { writes, ignored: limits.ignored })
}

/// The hierarchies in the order in which groups are made.
fn hierarchies(host: &Cgroups) -> impl Iterator<Item = (Version, &Hierarchy)> {
    let unified = host.unified.iter().map(|hierarchy| (Version::V2, hierarchy));
    host.legacy.iter().map(|hierarchy| (Version::V1, hierarchy)).chain(unified)
}

fn group(
    input: &Input<'_>,
    version: Version,
    hierarchy: &Hierarchy,
    place: Option<&str>,
    limits: &mut Limits,
) -> Result<Group> {
    let path = match (place, input.caller) {
        (Some(place), _) => place.to_owned(),
        (None, Caller::Privileged) => path::at_root(input.id)?,
        (None, Caller::Unprivileged) => path::beside(&hierarchy.own, input.id)?,
    };
    let (writes, late, controllers) = match version {
        Version::V1 => {
            let of = |controller: &String| limits.legacy.remove(controller.as_str());
            (hierarchy.controllers.iter().filter_map(of).flatten().collect(), Vec::new(), Vec::new())
        }
        Version::V2 => (
            std::mem::take(&mut limits.unified),
            std::mem::take(&mut limits.late),
            hierarchy.controllers.clone(),
        ),
    };
    let is_unit = input.driver == Driver::Systemd;
    let is_alone = version == Version::V2 && input.host.is_pure_v2();
    let mut below = match is_alone {
        true => Below::plan(input.annotations, is_unit, input.outside)?,
        false => Below::default(),
    };
    let own_root = is_alone && below.handed.is_none() && is_own_root(input);
    let delegated = own_root || below.handed.is_some();
    if delegated && input.caller == Caller::Unprivileged {
        below.keep_limits_above(input.annotations);
    }
    let owner = if own_root { owner(input)? } else { None };
    // systemd enables what it knows itself; a container that hands controllers on gets the others as well.
    let controllers: Vec<String> = match is_unit && !delegated {
        true => controllers
            .into_iter()
            .filter(|name| writes.iter().chain(&late).any(|op| needs(op, name)))
            .collect(),
        false => controllers,
    };
    let limited = writes.iter().chain(&late).flat_map(Op::writes).any(super::Write::is_needed);
    let refused = match input.caller {
        Caller::Unprivileged if !limited && !is_unit => Refused::Without,
        _ => Refused::Fail,
    };
    let crosses = input.caller == Caller::Unprivileged && version == Version::V2 && !is_unit;
    let crossing = crosses.then(|| path::common(&hierarchy.own, &path));
    Ok(Group {
        mount: hierarchy.mount.clone(),
        path,
        version,
        crossing,
        controllers,
        fill_cpuset: version == Version::V1 && hierarchy.has("cpuset"),
        writes,
        late,
        devices: None,
        delegated,
        owner,
        below,
        refused,
    })
}

fn needs(op: &Op, controller: &str) -> bool {
    op.writes().iter().any(|write| write.file.split('.').next() == Some(controller))
}

/// Gives the device rules to the version 1 controller where there is one, else to a program on the unified group.
fn add_devices(groups: &mut [Group], host: &Cgroups, rules: &Rules) -> Result<()> {
    let legacy = host.legacy.iter().find(|hierarchy| hierarchy.has("devices"));
    let wanted = legacy.or(host.unified.as_ref()).map(|hierarchy| &hierarchy.mount);
    let Some(group) = groups.iter_mut().find(|group| Some(&group.mount) == wanted) else {
        bail!("linux.resources.devices: neither the devices controller nor a version 2 hierarchy is there");
    };
    match group.version {
        Version::V1 => group.writes.extend(rules.to_v1().context("plan linux.resources.devices")?),
        Version::V2 => group.devices = Some(bpf::program(rules)),
    }
    Ok(())
}

/// Whether the container has a hierarchy of its own to write to: a new cgroup namespace and a writable cgroup mount.
fn is_own_root(input: &Input<'_>) -> bool {
    let namespace = input.linux.namespace(NamespaceKind::Cgroup);
    let mount = input.mounts.iter().rfind(|mount| mount.destination == Path::new(IN_CONTAINER));
    namespace.is_some_and(|namespace| namespace.path.is_none()) && mount.is_some_and(is_writable_cgroup)
}

/// "Cgroup ownership" of config-linux.md: the root of a hierarchy of its own belongs to the process. A version 1 group is
/// never handed over: that is not safe.
fn owner(input: &Input<'_>) -> Result<Option<Owner>> {
    let Some(user) = input.user else { return Ok(None) };
    let (Some(uid), Some(gid)) = (input.outside.uid(user.uid), input.outside.gid(user.gid)) else {
        bail!("hand the cgroup to user {}:{}: the ids are not mapped", user.uid, user.gid);
    };
    let already_root = input.caller == Caller::Privileged && (uid, gid) == (0, 0);
    Ok((!already_root).then_some(Owner { uid, gid }))
}

fn is_writable_cgroup(mount: &Mount) -> bool {
    let read_only = mount.attrs.set | mount.recursive_attrs.set;
    mount.kind == MountKind::Cgroup
        && read_only & libc::MOUNT_ATTR_RDONLY == 0
        && !mount.parameters.iter().any(|parameter| *parameter == Parameter::Flag("ro".to_owned()))
}

impl Plan {
    /// What the state file keeps, known before the first group is made.
    pub fn record(&self) -> Record {
        match self {
            Self::None { .. } => Record::default(),
            Self::Groups { unit, groups, .. } => Record {
                driver: if unit.is_some() { "systemd" } else { "cgroupfs" }.to_owned(),
                hierarchies: groups.iter().map(|group| (group.mount.clone(), group.path.clone())).collect(),
                unit: unit.as_ref().map(|unit| UnitRecord {
                    name: unit.unit.name.clone(),
                    instance: unit.keeper.instance,
                    address: unit.keeper.address.to_string(),
                }),
                home: groups.iter().find_map(|group| group.below.home()),
            },
        }
    }

    /// The groups.
    pub fn groups(&self) -> &[Group] {
        match self {
            Self::None { .. } => &[],
            Self::Groups { groups, .. } => groups,
        }
    }

    /// Whether the caller may give birth to a process in the version 2 group.
    pub fn takes_births(&self) -> bool {
        !matches!(self, Self::Groups { unit: Some(unit), .. } if unit.keeper.placing == Placing::Manager)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None { reason } => writeln!(f, "no cgroup: {reason}"),
            Self::Groups { unit, groups, ignored } => {
                unit.iter().try_for_each(|unit| unit.fmt(f))?;
                groups.iter().try_for_each(|group| group.fmt(f))?;
                if ignored.is_empty() { Ok(()) } else { writeln!(f, "ignored: {}", ignored.join(", ")) }
            }
        }
    }
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (mount, ops) in &self.writes {
            writeln!(f, "{}", mount.display())?;
            ops.iter().try_for_each(|op| writeln!(f, "  {op}"))?;
        }
        if self.ignored.is_empty() { Ok(()) } else { writeln!(f, "ignored: {}", self.ignored.join(", ")) }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = if self.refused == Refused::Fail { "" } else { " or none" };
        writeln!(f, "{}:{}{refused}", self.mount.display(), self.path)?;
        if let Some(above) = &self.crossing {
            writeln!(f, "  through {}{above}", self.mount.display())?;
        }
        if !self.controllers.is_empty() {
            writeln!(f, "  enable {}", self.controllers.join(" "))?;
        }
        self.writes.iter().try_for_each(|op| writeln!(f, "  {op}"))?;
        if let Some(program) = &self.devices {
            writeln!(f, "  device program of {} instructions", program.len())?;
        }
        if self.delegated {
            writeln!(f, "  delegated")?;
        }
        if let Some(owner) = self.owner {
            writeln!(f, "  owner {}:{}", owner.uid, owner.gid)?;
        }
        self.below.fmt(f)?;
        self.late.iter().try_for_each(|op| writeln!(f, "  late {op}"))
    }
}

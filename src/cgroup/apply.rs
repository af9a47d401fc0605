//! Makes the groups of a plan.

use super::{
    below::Below,
    controllers::{Refusals, enable, enable_available, hands_on_all, lacking, not_enabled},
    dir::{Dir, Made},
    group::{Cgroup, Member},
    plan::{Group, Owner, Plan, Refused, Update},
    record::Record,
    tree::found,
    write::{Missing, Op, Version, Write},
};
use crate::{
    bail,
    error::{Context, Error, Kind, Result},
    sys::bpf,
};
use std::{fmt, os::fd::AsFd, path::Path, rc::Rc};

/// The remedy for a refusal.
pub const DELEGATE: &str = "the caller needs a delegated cgroup: run it in a systemd user session or scope with Delegate=yes \
                            (all controllers: `systemctl edit user@.service`, Delegate=cpu cpuset io memory pids), or choose a \
                            linux.cgroupsPath that it may write to";

/// What the kernel hands over with a group when /sys/kernel/cgroup/delegate does not say (Linux before 4.15).
const DELEGATED: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// Makes the groups: directories, controllers, writes, owner, device program. When a step fails, everything it made is
/// removed again, parents included.
///
/// # Errors
/// Any refusal by the kernel that the plan does not put up with; a group that is in use already.
pub fn create(plan: &Plan) -> Result<Cgroup> {
    let Plan::Groups { unit, groups, .. } = plan else { return Ok(Cgroup::default()) };
    let mut made = Undo::default();
    let mut members = Vec::new();
    for group in groups {
        let before = made.0.len();
        let result = match create_group(group, unit.is_some(), &mut made) {
            Err(error) if group.refused == Refused::Without && is_refusal(&error) => made.rewind(before),
            result => result.map(|member| members.push(member)),
        };
        if let Err(error) = result {
            return Err(match made.rewind(0) {
                Ok(()) => error,
                Err(left) => error.context(format_args!("(left behind: {left})")),
            });
        }
    }
    let hierarchies = members.iter().map(|member| (member.mount.clone(), member.path.clone())).collect();
    Ok(Cgroup { record: Record { hierarchies, ..plan.record() }, members })
}

/// Refuses a plan whose groups somebody uses: to be called before they are recorded as the container's, for whoever deletes
/// a container kills what is in its groups.
pub fn refuse_in_use(plan: &Plan) -> Result<()> {
    let Plan::Groups { groups, .. } = plan else { return Ok(()) };
    for group in groups {
        match Dir::hierarchy(&group.mount)?.0.find(group.path.trim_start_matches('/')) {
            Ok(Some(dir)) => refuse_used(&dir, group.version)?,
            Ok(None) => {}
            // What cannot be looked at cannot be made either; create says it with more reason.
            Err(error) if group.refused == Refused::Without && is_refusal(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes what had to wait until the container's first process was born in the group.
pub fn settle(plan: &Plan, cgroup: &Cgroup) -> Result<()> {
    let Plan::Groups { groups, .. } = plan else { return Ok(()) };
    for group in groups.iter().filter(|group| !group.late.is_empty()) {
        let member = cgroup.members.iter().find(|member| member.mount == group.mount);
        let Some(member) = member else { bail!("the cgroup in {} is gone", group.mount.display()) };
        write_all(&member.dir, &group.late, &Refusals::new())?;
    }
    Ok(())
}

/// Writes new values into the groups of a container that exists.
///
/// # Errors
/// The container has no group where one is needed, and nothing is written; a value that the kernel refuses, told with those
/// that were written before it and are in force.
pub fn update(cgroup: &Cgroup, update: &Update) -> Result<()> {
    let member = |mount: &Path| {
        cgroup.members.iter().find(|member| member.mount == mount).ok_or_else(|| {
            Error::new(format_args!("the container has no cgroup in {}", mount.display()))
                .hint("it was made by a caller who could not make one: limits cannot be added later")
        })
    };
    update.writes.iter().try_for_each(|(mount, _)| member(mount).map(drop))?;
    // systemd first: what it rounds or does not know is put right by the writes.
    update.writes.iter().try_for_each(|(_, ops)| super::scope::update(cgroup.record(), ops))?;
    let mut done = Vec::new();
    for (mount, op) in update.writes.iter().flat_map(|(mount, ops)| ops.iter().map(move |op| (mount, op))) {
        write_all(&member(mount)?.dir, std::slice::from_ref(op), &Refusals::new()).map_err(
            |error| match done.is_empty() {
                true => error,
                false => error.context(format_args!("(in force already: {})", Listed(&done))),
            },
        )?;
        done.push(op);
    }
    Ok(())
}

/// Steps of writing in one line.
struct Listed<'a>(&'a [&'a Op]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(", "))
    }
}

/// The directories that were made, in order.
#[derive(Default)]
struct Undo(Vec<(Rc<Dir>, String)>);

impl Undo {
    /// Removes all directories but the first `keep`, the last one first; the first failure is told when all were tried.
    fn rewind(&mut self, keep: usize) -> Result<()> {
        let remove = |(parent, name): (Rc<Dir>, String)| parent.remove(&name);
        self.0.split_off(keep).into_iter().rev().map(remove).fold(Ok(()), Result::and)
    }
}

/// Whether the kernel does not let this caller.
pub fn is_refusal(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::EACCES | libc::EPERM | libc::EROFS))
}

fn create_group(group: &Group, is_unit: bool, made: &mut Undo) -> Result<Member> {
    let (root, version) = Dir::hierarchy(&group.mount)?;
    let root = Rc::new(root);
    if version != group.version {
        bail!("{} has changed its cgroup version meanwhile", group.mount.display());
    }
    if let Some(above) = &group.crossing {
        root.open(above.trim_start_matches('/'))?.check_writable("cgroup.procs").hint(DELEGATE)?;
    }
    let (parents, leaf) = group.path.rsplit_once('/').unwrap_or(("", &group.path));
    let mut refusals = Refusals::new();
    let parent = make_parents(&root, parents.trim_start_matches('/'), group, made, &mut refusals)?;
    let (dir, state) = parent.make(leaf)?;
    match state {
        // Started by us, with nobody in it but its holder; it ends by its own means.
        Made::Existed if is_unit => {}
        Made::New => made.0.push((Rc::clone(&parent), leaf.to_owned())),
        Made::Existed => refuse_used(&dir, version)?,
    }
    if version == Version::V2 && !parents.is_empty() && state == Made::New && is_frozen(&dir, version)? {
        // A process born here would never run, and nobody would know why.
        return Err(Error::new("container's cgroup unexpectedly frozen")
            .context(format_args!("cgroup {}", dir.name().display()))
            .hint("a group above it is frozen: thaw it first"));
    }
    if group.fill_cpuset {
        fill_cpuset(&parent, &dir)?;
    }
    write_all(&dir, &group.writes, &refusals)?;
    let home = group.below.born.as_ref().map(|name| make_below(&dir, name)).transpose()?;
    if let Some(name) = group.below.born.as_ref().filter(|_| !is_unit) {
        made.0.push((Rc::new(dir.open("")?), name.clone()));
    }
    let mut notes = Vec::new();
    if let Some(owner) = group.owner {
        match give(home.as_ref().unwrap_or(&dir), owner) {
            // An ordinary user cannot give to another of his ids what he makes: it stays with the container's root.
            Err(error) if error.errno() == Some(libc::EPERM) => notes.push(error.to_string()),
            result => result?,
        }
    }
    if let Some(program) = &group.devices {
        attach(&dir, program, state).context("restrict devices by an eBPF program").hint(
            "the kernel needs CONFIG_CGROUP_BPF and CONFIG_BPF_SYSCALL, and the caller CAP_BPF and CAP_NET_ADMIN, or \
             CAP_SYS_ADMIN",
        )?;
    }
    if group.delegated {
        notes.extend(lacking(&dir, &group.controllers, refusals)?);
    }
    Ok(Member { version, mount: group.mount.clone(), path: group.path.clone(), parent, dir, home, notes })
}

fn make_below(dir: &Dir, name: &str) -> Result<Dir> {
    dir.make(name).map(|(below, _)| below)
}

/// Arranges the groups below the container's own, once its first process is the only one in them: controllers as far down as
/// that is, so that engines find its figures there, and the last step into the group that it was promised. Until then
/// the kernel would not enable any, for groups that have processes hand on none.
pub fn arrange_below(plan: &Plan, cgroup: &Cgroup, init: i32) -> Result<()> {
    let Plan::Groups { groups, .. } = plan else { return Ok(()) };
    for (group, member) in groups.iter().zip(&cgroup.members) {
        let Below { born, handed } = &group.below;
        if born.is_some() {
            enable_available(&member.dir)?;
        }
        let Some(handed) = handed else { continue };
        let below = make_below(member.home(), &handed.name)?;
        below.write("cgroup.procs", &init.to_string())?;
        enable_available(member.home())?;
        if let Some(owner) = handed.owner {
            give(&below, owner)?;
        }
    }
    Ok(())
}

/// The parent of the group, made where it is missing, with the controllers enabled on the way.
fn make_parents(
    root: &Rc<Dir>,
    path: &str,
    group: &Group,
    made: &mut Undo,
    refusals: &mut Refusals,
) -> Result<Rc<Dir>> {
    let mut current = Rc::clone(root);
    if let Some(parent) = existing_parent(root, path, group)? {
        return Ok(parent);
    }
    for name in path.split('/').filter(|name| !name.is_empty()) {
        enable(&current, &group.controllers, refusals);
        let (next, state) = current.make(name)?;
        if state == Made::New {
            made.0.push((Rc::clone(&current), name.to_owned()));
        }
        if group.fill_cpuset {
            fill_cpuset(&current, &next)?;
        }
        current = Rc::new(next);
    }
    enable(&current, &group.controllers, refusals);
    Ok(current)
}

/// The usual case after the first container: the parent is there and hands on everything.
fn existing_parent(root: &Rc<Dir>, path: &str, group: &Group) -> Result<Option<Rc<Dir>>> {
    let parent = match path {
        "" => Rc::clone(root),
        _ => match root.find(path)? {
            Some(parent) => Rc::new(parent),
            None => return Ok(None),
        },
    };
    let ready = if group.fill_cpuset {
        !parent.read("cpuset.cpus")?.trim().is_empty() && !parent.read("cpuset.mems")?.trim().is_empty()
    } else {
        group.controllers.is_empty() || hands_on_all(&parent, &group.controllers)?
    };
    Ok(ready.then_some(parent))
}

/// Refuses a group that somebody uses, in the words of runc.
fn refuse_used(dir: &Dir, version: Version) -> Result<()> {
    let pids = super::tree::processes(dir)?;
    let name = || format!("cgroup {}", dir.name().display());
    if !pids.is_empty() {
        return Err(Error::new(format_args!(
            "container's cgroup is not empty: {} process(es) found",
            pids.len()
        ))
        .context(name())
        .kind(Kind::GroupInUse)
        .hint("another container or service has the same linux.cgroupsPath"));
    }
    if is_frozen(dir, version)? {
        return Err(Error::new("container's cgroup unexpectedly frozen")
            .context(name())
            .kind(Kind::GroupInUse)
            .hint("thaw or remove it"));
    }
    Ok(())
}

/// Whether a group is frozen, of itself or through one above; false in a hierarchy without a freezer, and of a group that has vanished.
pub fn is_frozen(dir: &Dir, version: Version) -> Result<bool> {
    let (file, sign) = match version {
        Version::V1 => ("freezer.state", "FR"),
        Version::V2 => ("cgroup.events", "frozen 1"),
    };
    let text = found(dir.read(file))?;
    Ok(text.is_some_and(|text| text.lines().any(|line| line.starts_with(sign))))
}

/// Copies CPUs and memory nodes from the parent where a group has none yet: until then no process can enter it.
fn fill_cpuset(parent: &Dir, dir: &Dir) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if dir.read(file)?.trim().is_empty() {
            dir.write(file, parent.read(file)?.trim())?;
        }
    }
    Ok(())
}

/// Writes in order.
fn write_all(dir: &Dir, ops: &[Op], refusals: &Refusals) -> Result<()> {
    for op in ops {
        let mut pending: Vec<&Write> = op.writes().iter().collect();
        while !pending.is_empty() {
            let before = pending.len();
            let mut last = None;
            let mut refused = Vec::new();
            for write in pending {
                match write_one(dir, write, refusals) {
                    Ok(()) => {}
                    // Another value of the step may have to change first.
                    Err(error) if error.errno() == Some(libc::EINVAL) => {
                        refused.push(write);
                        last.get_or_insert(error);
                    }
                    Err(error) => return Err(error),
                }
            }
            if let Some(error) = last.filter(|_| refused.len() == before) {
                return Err(error);
            }
            pending = refused;
        }
    }
    Ok(())
}

fn write_one(dir: &Dir, write: &Write, refusals: &Refusals) -> Result<()> {
    let (mut file, mut value) = (&write.file, &write.value);
    let mut result = dir.write(file, value);
    if is_missing(&result) {
        match &write.missing {
            Missing::Fine => return Ok(()),
            Missing::Error => {}
            Missing::Instead(other, instead) => {
                (file, value) = (other, instead);
                result = dir.write(file, value);
            }
        }
    }
    let missing = is_missing(&result);
    result.map_err(
        |error| if missing { not_enabled(dir, file, error, refusals) } else { hint_write(file, error) },
    )
}

fn is_missing(result: &Result<()>) -> bool {
    result.as_ref().is_err_and(|error| error.errno() == Some(libc::ENOENT))
}

fn hint_write(file: &str, error: Error) -> Error {
    let hint = match (error.errno(), file.split('.').next()) {
        (Some(libc::EBUSY), Some("memory")) => "the group uses more than that already: choose a higher limit",
        (Some(libc::EBUSY), _) => "the kernel cannot change this while the group has processes or children",
        (Some(libc::EACCES | libc::EPERM | libc::EROFS), Some("devices")) => "a group above allows less",
        (Some(libc::EACCES | libc::EPERM | libc::EROFS), _) => DELEGATE,
        (Some(libc::EINVAL | libc::ERANGE), Some("cpuset")) => {
            "the group above has to have these CPUs and memory nodes"
        }
        (Some(libc::EINVAL), Some("cpu")) if matches!(file, "cpu.weight" | "cpu.shares") => {
            "an idle group takes no weight: set cpu.idle to 0 as well"
        }
        (Some(libc::EINVAL), Some("cpu")) => {
            "period is 1000…1000000 µs, quota at least 1000 µs, burst at most quota, and no more than the group above has"
        }
        (Some(libc::EINVAL), Some("memory")) => "memory+swap includes memory and cannot be below it",
        (Some(libc::ENODEV), _) => "there is no such block device (the whole disk is meant, not a partition)",
        (Some(libc::EOPNOTSUPP), _) => "this kernel does not support it, or the group is in threaded mode",
        _ => return error,
    };
    error.hint(hint)
}

/// Gives the group away, but not its limits: the directory and the files that the kernel calls delegatable.
fn give(dir: &Dir, owner: Owner) -> Result<()> {
    let list = match std::fs::read_to_string("/sys/kernel/cgroup/delegate") {
        Ok(list) => list,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => DELEGATED.to_owned(),
        Err(error) => return Err(error).context("read /sys/kernel/cgroup/delegate"),
    };
    for file in std::iter::once("").chain(list.lines()) {
        match dir.give(file, owner.uid, owner.gid) {
            // The list names files of controllers that need not be enabled here.
            Err(error) if error.errno() == Some(libc::ENOENT) && !file.is_empty() => {}
            result => result.hint(DELEGATE)?,
        }
    }
    Ok(())
}

/// Attaches a device program as the only one of the group.
fn attach(dir: &Dir, program: &[bpf::Insn], state: Made) -> Result<()> {
    let program = bpf::load_device_program(program)?;
    let before = if state == Made::New { Vec::new() } else { bpf::device_programs(dir.as_fd())? };
    if let [single] = before.as_slice() {
        return bpf::attach_device_program(dir.as_fd(), program.as_fd(), Some(single.as_fd()));
    }
    bpf::attach_device_program(dir.as_fd(), program.as_fd(), None)?;
    before.iter().try_for_each(|old| bpf::detach_device_program(dir.as_fd(), old.as_fd()))
}

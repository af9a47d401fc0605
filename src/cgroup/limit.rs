//! Which hierarchy gets which part of `linux.resources`.

use super::{
    v1, v2,
    write::{Op, Write},
};
use crate::{
    bail,
    error::{Error, Result},
    host::cgroups::Cgroups,
    spec::linux::{Memory, Resources},
};
use std::collections::BTreeMap;

/// What the group holds already, where a value depends on it. A new group holds nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Current<'a> {
    /// The two fields of `cpu.max`.
    pub cpu_max: Option<(&'a str, u64)>,
    /// `memory.max`, where it is a limit.
    pub memory_max: Option<i64>,
}

/// The writes of each hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// By version 1 controller.
    pub legacy: BTreeMap<&'static str, Vec<Op>>,
    /// For the unified hierarchy; `unified` comes last and so wins over converted values.
    pub unified: Vec<Op>,
    /// What must wait until the first process is in the unified group: a limit of no process at all would refuse it.
    pub late: Vec<Op>,
    /// What is asked for and has no meaning here, in the words of `resources`.
    pub ignored: Vec<String>,
}

impl Limits {
    /// Makes room for one process beside the first one while that is born: a limit of fewer than two has to wait.
    pub fn make_room(&mut self) {
        let is_tight = |write: &Write| write.file == "pids.max" && matches!(write.value.as_str(), "0" | "1");
        let tight = |op: &mut Op| op.writes().iter().any(is_tight);
        self.late.extend(self.unified.extract_if(.., tight));
        if self.late.iter_mut().any(tight) {
            self.unified.push(Write::new("pids.max", "max").into());
        }
    }
}

/// A part of `resources` that one controller of either version enforces.
struct Part {
    legacy: &'static str,
    unified: &'static str,
    legacy_ops: Vec<Op>,
    unified_ops: Vec<Op>,
}

/// Memory and swap together cannot be less than memory; in neither version.
fn check_swap(memory: &Memory) -> Result<()> {
    match (memory.limit, memory.swap) {
        (Some(limit), Some(swap)) if swap > 0 && limit > swap => bail!(
            "linux.resources.memory.swap {swap} is below linux.resources.memory.limit {limit}, which it includes"
        ),
        _ => Ok(()),
    }
}

/// Gives every part to the hierarchy that has its controller: version 1 where it is mounted, else version 2. This serves
/// `create` and, with what the group holds in `current`, `update`: only what is present in `resources` is written.
///
/// # Errors
/// A limit whose controller no hierarchy of the host has; memory and swap that contradict each other; names in `unified`
/// that lead elsewhere.
pub fn limits(resources: &Resources, host: &Cgroups, current: Current<'_>) -> Result<Limits> {
    let mut out = Limits::default();
    let is_legacy = |controller: &str| host.legacy.iter().any(|hierarchy| hierarchy.has(controller));
    check_swap(&resources.memory)?;
    let memory =
        if is_legacy("memory") { Vec::new() } else { v2::memory(&resources.memory, current.memory_max)? };
    for part in parts(resources, memory, current) {
        let unified = host.unified.as_ref();
        if is_legacy(part.legacy) {
            if !part.legacy_ops.is_empty() {
                out.legacy.insert(part.legacy, part.legacy_ops);
            }
        } else if unified.is_some_and(|hierarchy| hierarchy.has(part.unified)) {
            out.unified.extend(part.unified_ops);
        } else {
            let ops = if unified.is_some() { &part.unified_ops } else { &part.legacy_ops };
            if let Some(write) = ops.iter().flat_map(Op::writes).find(|write| write.is_needed()) {
                return Err(missing(if unified.is_some() { part.unified } else { part.legacy }, write));
            }
        }
    }
    if host.is_pure_v2() {
        out.ignored = v2::ignored(resources);
    }
    let (late, now) = out.unified.drain(..).partition(|op| op.writes().iter().any(forbids_every_process));
    (out.late, out.unified) = (late, now);
    unified(resources, host, &mut out)?;
    for write in out.legacy.values().flatten().chain(&out.unified).chain(&out.late).flat_map(Op::writes) {
        super::path::check_name(&write.file)?;
    }
    Ok(out)
}

fn parts(resources: &Resources, unified_memory: Vec<Op>, current: Current<'_>) -> Vec<Part> {
    let Resources { memory, cpu, pids_limit, block_io, hugepages, network, rdma, .. } = resources;
    let part = |legacy, unified, legacy_ops, unified_ops| Part { legacy, unified, legacy_ops, unified_ops };
    let count =
        |name: &str, value: Option<u32>| value.map(|value| format!(" {name}={value}")).unwrap_or_default();
    let rdma: Vec<Op> = rdma
        .iter()
        .map(|(device, (handles, objects))| {
            let limits = count("hca_handle", *handles) + &count("hca_object", *objects);
            Write::new("rdma.max", format_args!("{device}{limits}")).into()
        })
        .collect();
    vec![
        part("memory", "memory", v1::memory(memory), unified_memory),
        part("pids", "pids", v1::pids(*pids_limit), v2::pids(*pids_limit)),
        part("cpu", "cpu", v1::cpu(cpu), v2::cpu(cpu, current.cpu_max)),
        part("cpuset", "cpuset", v1::cpuset(cpu), v2::cpuset(cpu)),
        part("blkio", "io", v1::blkio(block_io), v2::io(block_io)),
        part("hugetlb", "hugetlb", v1::hugetlb(hugepages), v2::hugetlb(hugepages)),
        part("rdma", "rdma", rdma.clone(), rdma),
        part("net_cls", "", v1::net_cls(network), Vec::new()),
        part("net_prio", "", v1::net_prio(network), Vec::new()),
    ]
}

/// Adds `resources.unified`. A file of the group itself (`cgroup.*`) needs no controller.
fn unified(resources: &Resources, host: &Cgroups, out: &mut Limits) -> Result<()> {
    for (file, value) in &resources.unified {
        let hierarchy = host.unified.as_ref().ok_or_else(|| {
            Error::new(format_args!("resources.unified {file:?}: this host has no version 2 hierarchy"))
        })?;
        let write = Write::new(file, value);
        let Some((controller, _)) = file.split_once('.') else {
            crate::bail!("resources.unified {file:?} is no CONTROLLER.PARAMETER");
        };
        if controller != "cgroup" && !hierarchy.has(controller) {
            return Err(missing(controller, &write));
        }
        out.late.retain(|op| op.writes().iter().all(|other| other.file != write.file));
        let late = forbids_every_process(&write);
        if late { &mut out.late } else { &mut out.unified }.push(write.into());
    }
    Ok(())
}

fn forbids_every_process(write: &Write) -> bool {
    write.file == "pids.max" && write.value == "0"
}

/// No hierarchy has the controller that a write needs.
fn missing(controller: &str, write: &Write) -> Error {
    Error::new(format_args!("limit {}={}: cgroup controller {controller} is not available", write.file, write.value))
        .hint(format_args!(
            "`cat /sys/fs/cgroup/cgroup.controllers` has to list {controller}; inside a container or a user session it \
             must be delegated (systemd: Delegate=yes)"
        ))
}

//! New limits for a container that exists: the one way in for `update`, whoever made the groups.

use super::{Cgroup, apply, limit::Current, plan};
use crate::{
    bail,
    error::{Error, Result},
    host::cgroups::Cgroups,
    spec::linux::Resources,
};

/// What changes, and what the container has when it has changed.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What is asked for; everything absent stays as the kernel has it.
    pub asked: &'a Resources,
    /// What config.json and every update up to this one have asked for.
    pub whole: &'a Resources,
}

/// Changes the limits of the container's groups; its processes are not touched, whatever they do. Returns what has no meaning
/// on this host, in the words of `resources`. Everything that can be refused without the kernel is refused before anything
/// is written.
///
/// # Errors
/// A limit that no hierarchy of the host can enforce or that contradicts another; memory in use beyond the new limit, where
/// `memory.checkBeforeUpdate` is set; what the kernel refuses, told with what is in force already.
pub fn update(cgroup: &Cgroup, change: &Change<'_>, host: &Cgroups) -> Result<Vec<String>> {
    let (cpu, memory) = (cgroup.read("cpu.max")?, cgroup.read("memory.max")?);
    let update = plan::update(change.asked, host, current(cpu.as_deref(), memory.as_deref()))?;
    if change.whole.memory.check_before_update == Some(true)
        && let (Some(limit), Some(usage)) = (change.asked.memory.limit, cgroup.read("memory.current")?)
    {
        check_usage(limit, &usage, cgroup.read("memory.peak")?.as_deref())?;
    }
    refuse_weight_of_idle(cgroup, change.asked)?;
    apply::update(cgroup, &update)?;
    Ok(update.ignored)
}

/// An idle group takes no weight. The kernel says so itself, but systemd, which is told first, makes the group diligent instead.
fn refuse_weight_of_idle(cgroup: &Cgroup, asked: &Resources) -> Result<()> {
    if asked.cpu.shares.is_none() || asked.cpu.idle.is_some() {
        return Ok(());
    }
    match cgroup.read("cpu.idle")? {
        Some(idle) if idle.trim() == "1" => Err(Error::new(
            "cpu.shares: cpu.idle of the container is 1, and an idle group takes no weight (EINVAL)",
        )
        .hint("change both: cpu.idle 0 (--cpu-idle 0) and the shares")),
        _ => Ok(()),
    }
}

/// What `cpu.max` and `memory.max` hold.
fn current<'a>(cpu: Option<&'a str>, memory: Option<&str>) -> Current<'a> {
    Current { cpu_max: cpu.and_then(cpu_max), memory_max: memory.and_then(|text| text.trim().parse().ok()) }
}

/// The quota and the period of `cpu.max`: `max 100000`.
fn cpu_max(text: &str) -> Option<(&str, u64)> {
    let (quota, period) = text.trim().split_once(' ')?;
    Some((quota, period.parse().ok()?))
}

/// Version 2 kills where a new limit is below what is in use; version 1 refuses it by itself. The sentence is runc's.
fn check_usage(limit: i64, usage: &str, peak: Option<&str>) -> Result<()> {
    let (usage, peak) = (usage.trim(), peak.map_or("unknown", str::trim));
    if limit > 0 && usage.parse::<i64>().is_ok_and(|usage| usage > limit) {
        bail!("unable to set memory limit to {limit} (current usage: {usage}, peak usage: {peak})");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_below_what_is_in_use_is_refused_when_asked_for() {
        let error = check_usage(100, "101\n", Some("200\n")).unwrap_err().to_string();
        assert_eq!(error, "unable to set memory limit to 100 (current usage: 101, peak usage: 200)");
        assert!(check_usage(100, "101", None).unwrap_err().to_string().ends_with("peak usage: unknown)"));
        check_usage(101, "101\n", None).unwrap();
        check_usage(-1, "101\n", None).unwrap();
    }

    #[test]
    fn what_the_files_hold_is_understood() {
        let held = current(Some("max 5\n"), Some("4096\n"));
        assert_eq!((held.cpu_max, held.memory_max), (Some(("max", 5)), Some(4096)));
        assert_eq!(current(None, Some("max\n")).memory_max, None);
        assert_eq!(cpu_max("max 100000\n"), Some(("max", 100_000)));
        assert_eq!(cpu_max("50000 20000\n"), Some(("50000", 20_000)));
        assert_eq!(cpu_max("x"), None);
    }
}

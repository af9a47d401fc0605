//! `process.scheduler` and `process.ioPriority`.

use super::words::{IO_CLASSES, POLICIES, SCHEDULER_FLAGS};
use crate::spec::{config::Scheduler, node::Node};

const OTHER: u32 = 0;
const FIFO: u32 = 1;
const RR: u32 = 2;
const BATCH: u32 = 3;
const DEADLINE: u32 = 6;

/// A scheduling policy with the parameters that belong to it and no others (sched_setattr(2)).
pub(super) fn scheduler(node: Node<'_>) -> Option<Scheduler> {
    let node = node.object()?;
    let policy = node.get("policy").required().word("policy", POLICIES)?;
    let flags = node.get("flags");
    let scheduler = Scheduler {
        policy,
        flags: flags
            .list()
            .filter_map(|item| item.required().word("flag", SCHEDULER_FLAGS))
            .fold(0, |flags, flag| flags | flag),
        nice: node.get("nice").number(-20..=19).unwrap_or(0),
        priority: node.get("priority").number(0..=99).unwrap_or(0),
        runtime: node.get("runtime").number(0..=u64::MAX).unwrap_or(0),
        deadline: node.get("deadline").number(0..=u64::MAX).unwrap_or(0),
        period: node.get("period").number(0..=u64::MAX).unwrap_or(0),
    };
    if scheduler.nice != 0 && !matches!(policy, OTHER | BATCH) {
        node.get("nice").error("is for SCHED_OTHER and SCHED_BATCH alone");
    }
    check_priority(node, &scheduler);
    check_deadline(node, &scheduler);
    Some(scheduler)
}

fn check_priority(node: Node<'_>, scheduler: &Scheduler) {
    let is_realtime = matches!(scheduler.policy, FIFO | RR);
    if is_realtime && scheduler.priority == 0 {
        node.get("priority").error("SCHED_FIFO and SCHED_RR need a priority from 1 to 99");
    } else if !is_realtime && scheduler.priority != 0 {
        node.get("priority").error("is for SCHED_FIFO and SCHED_RR alone");
    }
}

/// The kernel demands runtime ≤ deadline ≤ period, where a period of 0 is the deadline (sched(7)).
fn check_deadline(node: Node<'_>, scheduler: &Scheduler) {
    let Scheduler { policy, runtime, deadline, period, .. } = *scheduler;
    if policy != DEADLINE {
        for (key, value) in [("runtime", runtime), ("deadline", deadline), ("period", period)] {
            if value != 0 {
                node.get(key).error("is for SCHED_DEADLINE alone");
            }
        }
    } else if runtime == 0 || runtime > deadline || (period != 0 && deadline > period) {
        node.error("SCHED_DEADLINE needs 0 < runtime <= deadline <= period");
    }
}

/// The value of ioprio_set(2): the class in the upper three bits of sixteen.
pub(super) fn io_priority(node: Node<'_>) -> Option<u16> {
    let node = node.object()?;
    let class = node.get("class").required().word("class", IO_CLASSES);
    let priority = node.get("priority").number(0..=7_u16);
    Some(class? << 13 | priority.unwrap_or(0))
}

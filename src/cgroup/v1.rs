//! `linux.resources` in the terms of the version 1 controllers.

use super::{
    v2::{or_nothing, set, shares},
    write::{Missing, Op, Write},
};
use crate::spec::linux::{BlockIo, Cpu, Memory, Network};

/// `memory.*`. Memory and memory+swap are checked against each other.
pub fn memory(memory: &Memory) -> Vec<Op> {
    let limit = set(memory.limit);
    // Memory without a limit is none while memory+swap keeps one.
    let swap = set(memory.swap).or(limit.filter(|limit| *limit < 0));
    let mut pair: Vec<Write> = Vec::new();
    pair.extend(limit.map(|bytes| lifted_or("memory.limit_in_bytes", bytes)));
    pair.extend(swap.map(|bytes| lifted_or("memory.memsw.limit_in_bytes", bytes)));
    let mut ops: Vec<Op> = Op::together(pair).into_iter().collect();
    let more = [
        (set(memory.reservation), "memory.soft_limit_in_bytes"),
        (set(memory.kernel), "memory.kmem.limit_in_bytes"),
        (set(memory.kernel_tcp), "memory.kmem.tcp.limit_in_bytes"),
    ];
    ops.extend(more.into_iter().filter_map(|(value, file)| Some(lifted_or(file, value?).into())));
    ops.extend(memory.swappiness.map(|value| Write::new("memory.swappiness", value).into()));
    let flag = |value: bool| if value { "1" } else { "0" };
    ops.extend(memory.use_hierarchy.map(|value| Write::new("memory.use_hierarchy", flag(value)).into()));
    let oom = |disable: bool| or_nothing("memory.oom_control", disable.into());
    ops.extend(memory.disable_oom_killer.map(|disable| oom(disable).into()));
    ops
}

/// `cpu.*`
pub fn cpu(cpu: &Cpu) -> Vec<Op> {
    let mut weight: Vec<Write> = Vec::new();
    weight.extend(shares(cpu).map(|shares| Write::new("cpu.shares", shares)));
    weight.extend(cpu.idle.map(|idle| Write::new("cpu.idle", idle)));
    let mut bandwidth: Vec<Write> = Vec::new();
    bandwidth.extend(set(cpu.period).map(|period| Write::new("cpu.cfs_period_us", period)));
    bandwidth.extend(set(cpu.quota).map(|quota| lifted_or("cpu.cfs_quota_us", quota.max(-1))));
    bandwidth.extend(cpu.burst.map(|burst| or_nothing("cpu.cfs_burst_us", burst)));
    let mut realtime: Vec<Write> = Vec::new();
    realtime.extend(set(cpu.realtime_period).map(|period| Write::new("cpu.rt_period_us", period)));
    realtime.extend(set(cpu.realtime_runtime).map(|runtime| Write::new("cpu.rt_runtime_us", runtime)));
    [weight, bandwidth, realtime].into_iter().filter_map(Op::together).collect()
}

/// `cpuset.*`, the same in both versions.
pub fn cpuset(cpu: &Cpu) -> Vec<Op> {
    let files = [(&cpu.cpus, "cpuset.cpus"), (&cpu.mems, "cpuset.mems")];
    let given = files.into_iter().filter_map(|(value, file)| Some((value.as_deref()?, file)));
    given.filter(|(value, _)| !value.is_empty()).map(|(value, file)| Write::new(file, value).into()).collect()
}

/// `pids.max`
pub fn pids(limit: Option<i64>) -> Vec<Op> {
    super::v2::pids(limit)
}

/// `blkio.*`; the BFQ scheduler has files of its own.
pub fn blkio(io: &BlockIo) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    let scheduled = |name: &str, value: String| {
        Write::new(format!("blkio.{name}"), &value).or(format!("blkio.bfq.{name}"), &value).into()
    };
    ops.extend(set(io.weight).map(|weight| scheduled("weight", weight.to_string())));
    ops.extend(set(io.leaf_weight).map(|weight| Write::new("blkio.leaf_weight", weight).into()));
    for (major, minor, weight, leaf) in &io.weight_device {
        ops.extend(
            set(*weight).map(|weight| scheduled("weight_device", format!("{major}:{minor} {weight}"))),
        );
        let leaf = set(*leaf).map(|leaf| format!("{major}:{minor} {leaf}"));
        ops.extend(leaf.map(|value| Write::new("blkio.leaf_weight_device", value).into()));
    }
    let limits = [
        ("read_bps", &io.throttle_read_bps),
        ("write_bps", &io.throttle_write_bps),
        ("read_iops", &io.throttle_read_iops),
        ("write_iops", &io.throttle_write_iops),
    ];
    for (key, devices) in limits {
        let file = format!("blkio.throttle.{key}_device");
        let line = |(major, minor, rate): &(u32, u32, u64)| {
            Write::new(&file, format_args!("{major}:{minor} {rate}")).into()
        };
        ops.extend(devices.iter().map(line));
    }
    ops
}

/// `hugetlb.SIZE.rsvd.limit_in_bytes` (Linux 5.7) before `hugetlb.SIZE.limit_in_bytes`.
pub fn hugetlb(limits: &[(String, u64)]) -> Vec<Op> {
    let both = |(size, bytes): &(String, u64)| {
        [
            Write::optional(format!("hugetlb.{size}.rsvd.limit_in_bytes"), bytes).into(),
            Write::new(format!("hugetlb.{size}.limit_in_bytes"), bytes).into(),
        ]
    };
    limits.iter().flat_map(both).collect()
}

/// `net_cls.classid`
pub fn net_cls(network: &Network) -> Vec<Op> {
    network.class_id.map(|id| or_nothing("net_cls.classid", id.into()).into()).into_iter().collect()
}

/// `net_prio.ifpriomap`
pub fn net_prio(network: &Network) -> Vec<Op> {
    let line = |(name, priority): &(String, u32)| {
        Write::new("net_prio.ifpriomap", format_args!("{name} {priority}")).into()
    };
    network.priorities.iter().map(line).collect()
}

/// A limit, of which −1 means none.
fn lifted_or(file: &str, value: i64) -> Write {
    let missing = if value < 0 { Missing::Fine } else { Missing::Error };
    Write { missing, ..Write::new(file, value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(ops: &[Op]) -> Vec<String> {
        ops.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn memory_is_written_with_memory_and_swap_together() {
        let config = Memory {
            limit: Some(100),
            swap: Some(200),
            reservation: Some(50),
            swappiness: Some(0),
            disable_oom_killer: Some(true),
            ..Memory::default()
        };
        let expected = [
            "memory.limit_in_bytes = 100 + memory.memsw.limit_in_bytes = 200",
            "memory.soft_limit_in_bytes = 50",
            "memory.swappiness = 0",
            "memory.oom_control = 1",
        ];
        assert_eq!(text(&memory(&config)), expected);
        let lifted = memory(&Memory { limit: Some(-1), ..Memory::default() });
        assert_eq!(
            text(&lifted),
            ["memory.limit_in_bytes = -1 (if there) + memory.memsw.limit_in_bytes = -1 (if there)"]
        );
    }

    #[test]
    fn bandwidth_is_written_as_one_step() {
        let config = Cpu {
            shares: Some(512),
            quota: Some(-7),
            period: Some(50_000),
            burst: Some(0),
            realtime_runtime: Some(950),
            ..Cpu::default()
        };
        let expected = [
            "cpu.shares = 512",
            "cpu.cfs_period_us = 50000 + cpu.cfs_quota_us = -1 (if there) + cpu.cfs_burst_us = 0 (if there)",
            "cpu.rt_runtime_us = 950",
        ];
        assert_eq!(text(&cpu(&config)), expected);
    }

    #[test]
    fn block_io_and_network_have_one_write_a_line() {
        let io = BlockIo {
            weight: Some(500),
            throttle_read_bps: vec![(8, 0, 1), (8, 16, 0)],
            weight_device: vec![(8, 0, Some(20), Some(30))],
            ..BlockIo::default()
        };
        let expected = [
            "blkio.weight = 500 (else blkio.bfq.weight = 500)",
            "blkio.weight_device = 8:0 20 (else blkio.bfq.weight_device = 8:0 20)",
            "blkio.leaf_weight_device = 8:0 30",
            "blkio.throttle.read_bps_device = 8:0 1",
            "blkio.throttle.read_bps_device = 8:16 0",
        ];
        assert_eq!(text(&blkio(&io)), expected);
        let network = Network { class_id: Some(7), priorities: vec![("lo".into(), 3), ("eth0".into(), 4)] };
        assert_eq!(text(&net_cls(&network)), ["net_cls.classid = 7"]);
        assert_eq!(text(&net_prio(&network)), ["net_prio.ifpriomap = lo 3", "net_prio.ifpriomap = eth0 4"]);
    }
}

//! `linux.resources` in the terms of the unified hierarchy.

use super::write::{Missing, Op, Write};
use crate::{
    bail,
    error::Result,
    spec::linux::{BlockIo, Cpu, Memory, Resources},
};

/// The value that lifts a limit.
const MAX: &str = "max";

/// `memory.max`, `memory.swap.max` and `memory.low`. Zero counts as absent, as in runc and crun. `current` is the limit that
/// `memory.max` holds.
pub fn memory(memory: &Memory, current: Option<i64>) -> Result<Vec<Op>> {
    let mut ops = Vec::new();
    let limit = set(memory.limit);
    ops.extend(limit.map(|bytes| max_or("memory.max", bytes).into()));
    ops.extend(swap_max(memory, current)?.map(Op::One));
    ops.extend(set(memory.reservation).map(|bytes| max_or("memory.low", bytes).into()));
    Ok(ops)
}

/// `memory.swap`, which counts memory and swap together, as `memory.swap.max`, which counts swap alone.
fn swap_max(memory: &Memory, current: Option<i64>) -> Result<Option<Write>> {
    let limit = set(memory.limit).or(current).unwrap_or(0);
    let bytes = match memory.swap.unwrap_or(0) {
        0 if memory.limit.is_some_and(|limit| limit < 0) => {
            return Ok(Some(Write::optional("memory.swap.max", MAX)));
        }
        0 => return Ok(None),
        swap if swap < 0 => return Ok(Some(Write::optional("memory.swap.max", MAX))),
        swap if limit <= 0 => bail!("resources.memory.swap {swap} without a memory limit below it"),
        swap if swap < limit => {
            bail!("resources.memory.swap {swap} is below resources.memory.limit {limit}, which it includes")
        }
        swap => swap - limit,
    };
    // A kernel without swap has no such file, and "no swap" is what it gives.
    let missing = if bytes == 0 { Missing::Fine } else { Missing::Error };
    Ok(Some(Write { missing, ..Write::new("memory.swap.max", bytes) }))
}

/// `cpu.weight`, `cpu.idle`, `cpu.max` and `cpu.max.burst`. `current` is what `cpu.max` holds: cpu.max has two numbers
/// and the one that is not asked for stays.
pub fn cpu(cpu: &Cpu, current: Option<(&str, u64)>) -> Vec<Op> {
    let mut weight: Vec<Write> = Vec::new();
    weight.extend(shares(cpu).map(|shares| Write::new("cpu.weight", weight_of_shares(shares))));
    // A group that is still idle takes no weight (EINVAL), so the two belong together.
    weight.extend(cpu.idle.map(|idle| Write::new("cpu.idle", idle)));
    let mut bandwidth: Vec<Write> = Vec::new();
    let (old_quota, old_period) = current.unwrap_or((MAX, 100_000));
    let (quota, period) = (set(cpu.quota), set(cpu.period));
    if quota.is_some() || period.is_some() {
        let quota = quota.map_or(old_quota.to_owned(), unlimited_or);
        let value = format!("{quota} {}", period.unwrap_or(old_period));
        let missing = if quota == MAX { Missing::Fine } else { Missing::Error };
        bandwidth.push(Write { missing, ..Write::new("cpu.max", value) });
    }
    bandwidth.extend(cpu.burst.map(|burst| or_nothing("cpu.max.burst", burst)));
    Op::together(weight).into_iter().chain(Op::together(bandwidth)).collect()
}

/// The weight that is asked for: an idle group has none and refuses to be given one (EINVAL), Linux 5.15.
pub fn shares(cpu: &Cpu) -> Option<u64> {
    set(cpu.shares).filter(|_| cpu.idle != Some(1))
}

/// `cpuset.cpus` and `cpuset.mems`.
pub fn cpuset(cpu: &Cpu) -> Vec<Op> {
    super::v1::cpuset(cpu)
}

/// `pids.max`.
pub fn pids(limit: Option<i64>) -> Vec<Op> {
    limit.map(|limit| max_or("pids.max", limit).into()).into_iter().collect()
}

/// `io.bfq.weight` or `io.weight`, and `io.max`.
pub fn io(io: &BlockIo) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    let weight = |prefix: &str, weight: u16| {
        let proportional = format!("{prefix}{}", io_weight(weight));
        Write::new("io.bfq.weight", format_args!("{prefix}{weight}")).or("io.weight", proportional).into()
    };
    ops.extend(set(io.weight).map(|value| weight("", value)));
    for (major, minor, value, _) in &io.weight_device {
        ops.extend(set(*value).map(|value| weight(&format!("{major}:{minor} "), value)));
    }
    let limits = [
        ("rbps", &io.throttle_read_bps),
        ("wbps", &io.throttle_write_bps),
        ("riops", &io.throttle_read_iops),
        ("wiops", &io.throttle_write_iops),
    ];
    for (key, devices) in limits {
        for (major, minor, rate) in devices {
            // Version 1, whose terms these are, takes 0 for "no limit".
            let rate = if *rate == 0 { MAX.to_owned() } else { rate.to_string() };
            ops.push(Write::new("io.max", format_args!("{major}:{minor} {key}={rate}")).into());
        }
    }
    ops
}

/// `hugetlb.SIZE.rsvd.max` (Linux 5.7) before `hugetlb.SIZE.max`.
pub fn hugetlb(limits: &[(String, u64)]) -> Vec<Op> {
    let both = |(size, bytes): &(String, u64)| {
        [
            Write::optional(format!("hugetlb.{size}.rsvd.max"), bytes).into(),
            Write::new(format!("hugetlb.{size}.max"), bytes).into(),
        ]
    };
    limits.iter().flat_map(both).collect()
}

/// What is asked for and has no file here, in words.
pub fn ignored(resources: &Resources) -> Vec<String> {
    let memory = &resources.memory;
    let leaf = resources.block_io.weight_device.iter().any(|(_, _, _, leaf)| set(*leaf).is_some());
    let asked = [
        ("memory.kernel", set(memory.kernel).is_some()),
        ("memory.kernelTCP", set(memory.kernel_tcp).is_some()),
        ("memory.swappiness", memory.swappiness.is_some()),
        ("memory.disableOOMKiller", memory.disable_oom_killer == Some(true)),
        ("memory.useHierarchy", memory.use_hierarchy == Some(false)),
        ("cpu.realtimeRuntime", set(resources.cpu.realtime_runtime).is_some()),
        ("cpu.realtimePeriod", set(resources.cpu.realtime_period).is_some()),
        ("blockIO.leafWeight", set(resources.block_io.leaf_weight).is_some() || leaf),
        ("network", resources.network != crate::spec::linux::Network::default()),
    ];
    asked.iter().filter(|(_, asked)| *asked).map(|(name, _)| (*name).to_owned()).collect()
}

/// CPU shares (2…262144) as a weight (1…10000) such that the defaults 1024 and 100 meet; the formula on which runc and crun
/// agree.
fn weight_of_shares(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    #[allow(clippy::cast_precision_loss)] // below 2^18
    let l = (shares as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 1 and 10000
    let weight = 10f64.powf(exponent).ceil() as u64;
    weight
}

/// A block I/O weight (10…1000) on the scale of `io.weight` (1…10000).
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).saturating_sub(10)) * 9999 / 990
}

/// Zero counts as absent.
pub fn set<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

fn unlimited_or(value: i64) -> String {
    if value < 0 { MAX.to_owned() } else { value.to_string() }
}

fn max_or(file: &str, value: i64) -> Write {
    if value < 0 { Write::optional(file, MAX) } else { Write::new(file, value) }
}

/// A value of which zero is what the kernel does anyway.
pub fn or_nothing(file: &str, value: u64) -> Write {
    if value == 0 { Write::optional(file, 0) } else { Write::new(file, value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(ops: &[Op]) -> Vec<String> {
        ops.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn shares_become_weights() {
        let table =
            [(1, 1), (2, 1), (3, 2), (4, 2), (10, 4), (100, 17), (1024, 100), (2048, 174), (262_143, 10_000)];
        for (shares, weight) in table {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
        assert_eq!(weight_of_shares(u64::MAX), 10_000);
    }

    #[test]
    fn memory_and_swap_are_separate_here() {
        let table: [(Option<i64>, Option<i64>, &[&str]); 8] = [
            (Some(100), None, &["memory.max = 100"]),
            (Some(100), Some(0), &["memory.max = 100"]),
            (Some(100), Some(300), &["memory.max = 100", "memory.swap.max = 200"]),
            (Some(100), Some(100), &["memory.max = 100", "memory.swap.max = 0 (if there)"]),
            (Some(100), Some(-1), &["memory.max = 100", "memory.swap.max = max (if there)"]),
            (Some(-1), Some(0), &["memory.max = max (if there)", "memory.swap.max = max (if there)"]),
            (None, Some(-1), &["memory.swap.max = max (if there)"]),
            (Some(0), Some(0), &[]),
        ];
        for (limit, swap, expected) in table {
            let ops = memory(&Memory { limit, swap, ..Memory::default() }, None).unwrap();
            assert_eq!(text(&ops), expected, "{limit:?} {swap:?}");
        }
        for (limit, swap) in [(None, 5), (Some(10), 5), (Some(-1), 5)] {
            memory(&Memory { limit, swap: Some(swap), ..Memory::default() }, None).unwrap_err();
        }
    }

    #[test]
    fn quota_and_period_are_one_line() {
        type Row<'a> = (Option<i64>, Option<u64>, Option<(&'a str, u64)>, &'a [&'a str]);
        let table: [Row<'_>; 7] = [
            (Some(5000), None, None, &["cpu.max = 5000 100000"]),
            (Some(5000), Some(20_000), None, &["cpu.max = 5000 20000"]),
            (None, Some(20_000), None, &["cpu.max = max 20000 (if there)"]),
            (Some(-1), None, None, &["cpu.max = max 100000 (if there)"]),
            (Some(0), Some(0), None, &[]),
            (None, Some(20_000), Some(("700", 1000)), &["cpu.max = 700 20000"]),
            (Some(9), None, Some(("700", 1000)), &["cpu.max = 9 1000"]),
        ];
        for (quota, period, current, expected) in table {
            let ops = cpu(&Cpu { quota, period, ..Cpu::default() }, current);
            assert_eq!(text(&ops), expected, "{quota:?} {period:?} {current:?}");
        }
        let ops = cpu(
            &Cpu { quota: Some(5), burst: Some(3), idle: Some(1), shares: Some(2), ..Cpu::default() },
            None,
        );
        assert_eq!(text(&ops), ["cpu.idle = 1", "cpu.max = 5 100000 + cpu.max.burst = 3"]);
    }

    #[test]
    fn block_io_has_new_names_and_scales() {
        let config = BlockIo {
            weight: Some(1000),
            weight_device: vec![(8, 0, Some(10), None)],
            throttle_read_bps: vec![(8, 0, 7)],
            throttle_write_iops: vec![(8, 16, 0)],
            ..BlockIo::default()
        };
        let expected = [
            "io.bfq.weight = 1000 (else io.weight = 10000)",
            "io.bfq.weight = 8:0 10 (else io.weight = 8:0 1)",
            "io.max = 8:0 rbps=7",
            "io.max = 8:16 wiops=max",
        ];
        assert_eq!(text(&io(&config)), expected);
    }

    #[test]
    fn zero_processes_is_a_limit_and_minus_one_is_none() {
        assert_eq!(text(&pids(Some(0))), ["pids.max = 0"]);
        assert_eq!(text(&pids(Some(-1))), ["pids.max = max (if there)"]);
    }
}

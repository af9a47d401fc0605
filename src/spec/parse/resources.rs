//! `linux.resources`.

use super::{device, interface};
use crate::spec::{
    linux::{BlockIo, Cpu, Memory, Network, Resources},
    node::{Node, quoted},
};
use std::collections::BTreeMap;

const ANY_I64: std::ops::RangeInclusive<i64> = i64::MIN..=i64::MAX;
const ANY_U64: std::ops::RangeInclusive<u64> = 0..=u64::MAX;
const ANY_U32: std::ops::RangeInclusive<u32> = 0..=u32::MAX;

pub(super) fn resources(node: Node<'_>) -> Resources {
    let Some(node) = node.object() else { return Resources::default() };
    let hugepages = node.get("hugepageLimits");
    Resources {
        devices: device::rules(node.get("devices")),
        memory: memory(node.get("memory")),
        cpu: cpu(node.get("cpu")),
        pids_limit: node.get("pids").object().and_then(|pids| pids.get("limit").number(-1..=i64::MAX)),
        block_io: block_io(node.get("blockIO")),
        hugepages: hugepages.list().filter_map(|item| hugepage(item.required())).collect(),
        network: network(node.get("network")),
        rdma: rdma(node.get("rdma")),
        unified: unified(node.get("unified")),
    }
}

fn memory(node: Node<'_>) -> Memory {
    let Some(node) = node.object() else { return Memory::default() };
    let bytes = |key| node.get(key).number(-1..=i64::MAX);
    Memory {
        limit: bytes("limit"),
        reservation: bytes("reservation"),
        swap: bytes("swap"),
        kernel: bytes("kernel"),
        kernel_tcp: bytes("kernelTCP"),
        swappiness: node.get("swappiness").number(0..=100),
        disable_oom_killer: node.get("disableOOMKiller").boolean(),
        use_hierarchy: node.get("useHierarchy").boolean(),
        check_before_update: node.get("checkBeforeUpdate").boolean(),
    }
}

fn cpu(node: Node<'_>) -> Cpu {
    let Some(node) = node.object() else { return Cpu::default() };
    let cpu = Cpu {
        shares: node.get("shares").number(ANY_U64),
        quota: node.get("quota").number(ANY_I64),
        burst: node.get("burst").number(ANY_U64),
        period: node.get("period").number(ANY_U64),
        realtime_runtime: node.get("realtimeRuntime").number(ANY_I64),
        realtime_period: node.get("realtimePeriod").number(ANY_U64),
        cpus: node.get("cpus").owned(),
        mems: node.get("mems").owned(),
        idle: node.get("idle").number(0..=1),
    };
    if let (Some(burst), Some(quota @ 1..)) = (cpu.burst, cpu.quota)
        && burst > quota.unsigned_abs()
    {
        node.get("burst").error(format_args!("{burst} is above the quota {quota}"));
    }
    cpu
}

fn block_io(node: Node<'_>) -> BlockIo {
    let Some(node) = node.object() else { return BlockIo::default() };
    let throttle = |key| node.get(key).list().filter_map(|item| rate(item.required())).collect();
    BlockIo {
        weight: weight(node.get("weight")),
        leaf_weight: weight(node.get("leafWeight")),
        weight_device: node
            .get("weightDevice")
            .list()
            .filter_map(|item| weight_device(item.required()))
            .collect(),
        throttle_read_bps: throttle("throttleReadBpsDevice"),
        throttle_write_bps: throttle("throttleWriteBpsDevice"),
        throttle_read_iops: throttle("throttleReadIOPSDevice"),
        throttle_write_iops: throttle("throttleWriteIOPSDevice"),
    }
}

/// A weight from 10 to 1000; engines send 0 for "not set".
fn weight(node: Node<'_>) -> Option<u16> {
    match node.number(0..=1000)? {
        0 => None,
        weight @ 10.. => Some(weight),
        _ => node.wrong("a number from 10 to 1000"),
    }
}

fn weight_device(node: Node<'_>) -> Option<(u32, u32, Option<u16>, Option<u16>)> {
    let node = node.object()?;
    let (major, minor) = device_number(&node);
    let weights = (weight(node.get("weight")), weight(node.get("leafWeight")));
    Some((major?, minor?, weights.0, weights.1))
}

fn rate(node: Node<'_>) -> Option<(u32, u32, u64)> {
    let node = node.object()?;
    let (major, minor) = device_number(&node);
    let rate = node.get("rate").required().number(ANY_U64);
    Some((major?, minor?, rate?))
}

fn device_number(node: &Node<'_>) -> (Option<u32>, Option<u32>) {
    let number = |key| node.get(key).required().number(ANY_U32);
    (number("major"), number("minor"))
}

fn hugepage(node: Node<'_>) -> Option<(String, u64)> {
    let node = node.object()?;
    let size = node.get("pageSize").required();
    let limit = node.get("limit").required().number(ANY_U64);
    let text = size.text()?;
    if !is_page_size(text) {
        size.error(format_args!("expected a page size such as 2MB, found {}", quoted(text)));
    }
    Some((text.to_owned(), limit?))
}

/// `64KB`, `2MB`, `1GB`: what the control files of hugetlb are named after.
fn is_page_size(text: &str) -> bool {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| text.strip_suffix(unit)).unwrap_or_default();
    !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn network(node: Node<'_>) -> Network {
    let Some(node) = node.object() else { return Network::default() };
    let mut priorities = Vec::new();
    for item in node.get("priorities").list() {
        let Some(item) = item.required().object() else { continue };
        let name = item.get("name").required();
        let priority = item.get("priority").required().number(ANY_U32);
        let Some(text) = name.text() else { continue };
        interface::check_name(&name, text);
        priorities.extend(priority.map(|priority| (text.to_owned(), priority)));
    }
    Network { class_id: node.get("classID").number(ANY_U32), priorities }
}

fn rdma(node: Node<'_>) -> BTreeMap<String, (Option<u32>, Option<u32>)> {
    let mut limits = BTreeMap::new();
    for (device, entry) in node.entries() {
        if device.is_empty() || device.contains(char::is_whitespace) {
            entry.error("is not a name of a device");
        }
        let Some(entry) = entry.object() else { continue };
        let limit = (entry.get("hcaHandles").number(ANY_U32), entry.get("hcaObjects").number(ANY_U32));
        limits.insert(device.to_owned(), limit);
    }
    limits
}

fn unified(node: Node<'_>) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (name, value) in node.entries() {
        if name.contains('/') || matches!(name, "" | "." | "..") {
            value.error("is not the name of a control file");
        }
        if let Some(text) = value.text() {
            files.insert(name.to_owned(), text.to_owned());
        }
    }
    files
}

//! `linux`: namespaces, ids, devices, cgroups and the rest.

use super::{mount::Propagation, seccomp::Seccomp, sysctl::Sysctl};
use std::{collections::BTreeMap, path::PathBuf};

/// The `linux` object.
#[derive(Clone, Debug, Default)]
pub struct Linux {
    /// `namespaces`, at most one of a kind.
    pub namespaces: Vec<Namespace>,
    /// `uidMappings`; both lists are empty or both are not.
    pub uid_mappings: Vec<IdMap>,
    /// `gidMappings`.
    pub gid_mappings: Vec<IdMap>,
    /// `timeOffsets`.
    pub time_offsets: TimeOffsets,
    /// `devices`.
    pub devices: Vec<Device>,
    /// `netDevices`: name on the host → name in the container.
    pub net_devices: BTreeMap<String, String>,
    /// `cgroupsPath`, as written.
    pub cgroups_path: Option<String>,
    /// `resources`.
    pub resources: Resources,
    /// `rootfsPropagation`.
    pub rootfs_propagation: Option<Propagation>,
    /// `maskedPaths`.
    pub masked_paths: Vec<PathBuf>,
    /// `readonlyPaths`.
    pub readonly_paths: Vec<PathBuf>,
    /// `mountLabel`; an empty string counts as absent.
    pub mount_label: Option<String>,
    /// `sysctl`, of namespaces that the container has.
    pub sysctl: BTreeMap<Sysctl, String>,
    /// `personality` as the kernel's value, personality(2).
    pub personality: Option<u64>,
    /// `memoryPolicy`.
    pub memory_policy: Option<MemoryPolicy>,
    /// `seccomp`.
    pub seccomp: Option<Seccomp>,
    /// `intelRdt`.
    pub intel_rdt: Option<IntelRdt>,
}

impl Linux {
    /// The entry of this kind, where there is one.
    pub fn namespace(&self, kind: NamespaceKind) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.kind == kind)
    }
}

/// One of `linux.namespaces`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// `type`.
    pub kind: NamespaceKind,
    /// `path` of an existing one to join; absent means a new one.
    pub path: Option<PathBuf>,
}

/// The eight namespace types, namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceKind {
    /// `user`
    User,
    /// `pid`
    Pid,
    /// `network`
    Network,
    /// `ipc`
    Ipc,
    /// `uts`
    Uts,
    /// `cgroup`
    Cgroup,
    /// `time`
    Time,
    /// `mount`
    Mount,
}

impl NamespaceKind {
    /// As config.json calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Pid => "pid",
            Self::Network => "network",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
            Self::Mount => "mount",
        }
    }
}

impl std::fmt::Display for NamespaceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// One line of an id map (user_namespaces(7)): `size` > 0, neither end overflows, no line overlaps another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// `containerID`
    pub container: u32,
    /// `hostID`
    pub host: u32,
    /// `size`
    pub size: u32,
}

/// `timeOffsets`, (seconds, nanoseconds), time_namespaces(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeOffsets {
    /// `monotonic`
    pub monotonic: Option<(i64, u32)>,
    /// `boottime`
    pub boottime: Option<(i64, u32)>,
}

/// One of `linux.devices`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where config.json says it: `linux.devices[0]`.
    pub json_path: String,
    /// `path` inside the container, absolute.
    pub path: PathBuf,
    /// `type`.
    pub kind: DeviceKind,
    /// `fileMode`, permission bits alone; absent means 0666.
    pub mode: u32,
    /// `uid`; absent means the container's root.
    pub uid: Option<u32>,
    /// `gid`; absent means the container's root group.
    pub gid: Option<u32>,
}

/// What kind of node, with its number where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// `c` and `u`
    Char {
        /// `major`
        major: u32,
        /// `minor`
        minor: u32,
    },
    /// `b`
    Block {
        /// `major`
        major: u32,
        /// `minor`
        minor: u32,
    },
    /// `p`
    Fifo,
}

/// `resources`. Everything absent is "leave alone".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// `devices`, in order, the last match wins.
    pub devices: Vec<DeviceRule>,
    /// `memory`
    pub memory: Memory,
    /// `cpu`
    pub cpu: Cpu,
    /// `pids.limit`: −1 is unlimited, 0 is a real limit.
    pub pids_limit: Option<i64>,
    /// `blockIO`
    pub block_io: BlockIo,
    /// `hugepageLimits`: (page size such as `2MB`, bytes).
    pub hugepages: Vec<(String, u64)>,
    /// `network`
    pub network: Network,
    /// `rdma`: device → (hcaHandles, hcaObjects).
    pub rdma: BTreeMap<String, (Option<u32>, Option<u32>)>,
    /// `unified`: file name → value; names are free of `/` and are not `.` or `..`.
    pub unified: BTreeMap<String, String>,
}

impl Resources {
    /// Whether anything but device rules is asked for.
    pub fn has_limits(&self) -> bool {
        *self != Self { devices: self.devices.clone(), ..Self::default() }
    }
}

/// One of `resources.devices`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// `allow`
    pub allow: bool,
    /// `type`: `c`, `b` or `a`
    pub kind: DeviceRuleKind,
    /// `major`; absent or −1 is any.
    pub major: Option<u32>,
    /// `minor`; absent or −1 is any.
    pub minor: Option<u32>,
    /// `access` contains `r`
    pub read: bool,
    /// `access` contains `w`
    pub write: bool,
    /// `access` contains `m`
    pub mknod: bool,
}

/// Device types of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRuleKind {
    /// `a`
    All,
    /// `c`
    Char,
    /// `b`
    Block,
}

/// `resources.memory`, bytes; −1 is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// `limit`
    pub limit: Option<i64>,
    /// `reservation`
    pub reservation: Option<i64>,
    /// `swap`: memory plus swap, as in cgroup v1.
    pub swap: Option<i64>,
    /// `kernel`
    pub kernel: Option<i64>,
    /// `kernelTCP`
    pub kernel_tcp: Option<i64>,
    /// `swappiness`, 0…100
    pub swappiness: Option<u64>,
    /// `disableOOMKiller`
    pub disable_oom_killer: Option<bool>,
    /// `useHierarchy`
    pub use_hierarchy: Option<bool>,
    /// `checkBeforeUpdate`
    pub check_before_update: Option<bool>,
}

/// `resources.cpu`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// `shares`
    pub shares: Option<u64>,
    /// `quota`, microseconds; ≤ 0 is unlimited
    pub quota: Option<i64>,
    /// `burst`, microseconds
    pub burst: Option<u64>,
    /// `period`, microseconds
    pub period: Option<u64>,
    /// `realtimeRuntime`, microseconds
    pub realtime_runtime: Option<i64>,
    /// `realtimePeriod`, microseconds
    pub realtime_period: Option<u64>,
    /// `cpus`
    pub cpus: Option<String>,
    /// `mems`
    pub mems: Option<String>,
    /// `idle`
    pub idle: Option<i64>,
}

/// `resources.blockIO`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockIo {
    /// `weight`, 10…1000
    pub weight: Option<u16>,
    /// `leafWeight`
    pub leaf_weight: Option<u16>,
    /// `weightDevice`: (major, minor, weight, leafWeight)
    pub weight_device: Vec<(u32, u32, Option<u16>, Option<u16>)>,
    /// `throttleReadBpsDevice`: (major, minor, rate)
    pub throttle_read_bps: Vec<(u32, u32, u64)>,
    /// `throttleWriteBpsDevice`
    pub throttle_write_bps: Vec<(u32, u32, u64)>,
    /// `throttleReadIOPSDevice`
    pub throttle_read_iops: Vec<(u32, u32, u64)>,
    /// `throttleWriteIOPSDevice`
    pub throttle_write_iops: Vec<(u32, u32, u64)>,
}

/// `resources.network` (cgroup v1 alone).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// `classID`
    pub class_id: Option<u32>,
    /// `priorities`: (interface, priority)
    pub priorities: Vec<(String, u32)>,
}

/// `memoryPolicy`, in the terms of set_mempolicy(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `mode` as the kernel's number (`MPOL_*`).
    pub mode: u32,
    /// `flags` as the kernel's bits (`MPOL_F_*`).
    pub flags: u32,
    /// `nodes`, sorted; empty where the mode allows it.
    pub nodes: Vec<u32>,
}

/// `intelRdt`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntelRdt {
    /// `closID`; `/` is the root group.
    pub clos_id: Option<String>,
    /// `l3CacheSchema`
    pub l3_cache_schema: Option<String>,
    /// `memBwSchema`
    pub mem_bw_schema: Option<String>,
    /// `schemata`
    pub schemata: Vec<String>,
    /// `enableMonitoring`
    pub enable_monitoring: bool,
}

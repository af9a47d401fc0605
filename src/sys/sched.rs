//! Scheduling, I/O priority, memory policy, resource limits: properties that one process may set on another by pid.
//! Pid 0 is the caller everywhere.

use super::check;
use crate::error::Result;
use std::{
    ffi::{c_int, c_long, c_ulong},
    ptr,
};

/// `struct sched_attr` of sched_setattr(2), in its first published size.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The size of this structure; [`set_attributes`] fills it in.
    pub size: u32,
    /// `SCHED_*`
    pub policy: u32,
    /// `SCHED_FLAG_*`
    pub flags: u64,
    /// nice value, −20…19
    pub nice: i32,
    /// static priority, 1…99
    pub priority: u32,
    /// nanoseconds
    pub runtime: u64,
    /// nanoseconds
    pub deadline: u64,
    /// nanoseconds
    pub period: u64,
}

/// sched_setattr(2).
pub fn set_attributes(pid: i32, attributes: Attributes) -> Result<()> {
    #[allow(clippy::cast_possible_truncation)] // 48 bytes
    let size = size_of::<Attributes>() as u32;
    let attributes = Attributes { size, ..attributes };
    // SAFETY: the structure is whole, tells its size, and outlives the call.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attributes, 0) };
    check(ret, || format!("sched_setattr({pid}, {attributes:?})")).map(drop)
}

/// As many processors as any kernel is built for.
const MOST_CPUS: usize = 8192;

/// sched_setaffinity(2) with every bit set: the kernel cuts it down to what the cpuset allows.
pub fn set_affinity_to_all(pid: i32) -> Result<()> {
    let mask = [u64::MAX; MOST_CPUS / 64];
    // SAFETY: the mask is as long as said and outlives the call.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid, size_of_val(&mask), mask.as_ptr()) };
    check(ret, || format!("sched_setaffinity({pid}, all)")).map(drop)
}

/// sched_setaffinity(2) to these processors; numbers beyond any kernel's are left to it to miss.
pub fn set_affinity(pid: i32, cpus: &[u32]) -> Result<()> {
    let mut mask = [0_u64; MOST_CPUS / 64];
    for &cpu in cpus {
        if let Some(word) = mask.get_mut(cpu as usize / 64) {
            *word |= 1 << (cpu % 64);
        }
    }
    // SAFETY: the mask is as long as said and outlives the call.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid, size_of_val(&mask), mask.as_ptr()) };
    check(ret, || format!("sched_setaffinity({pid}, {cpus:?})")).map(drop)
}

/// `IOPRIO_WHO_PROCESS`
const IOPRIO_WHO_PROCESS: c_int = 1;

/// ioprio_set(2) with class and priority in one value.
pub fn set_io_priority(pid: i32, value: u16) -> Result<()> {
    // SAFETY: the call takes plain integers.
    let ret = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, c_int::from(value)) };
    check(ret, || format!("ioprio_set({pid}, class {}, priority {})", value >> 13, value & 0x1fff)).map(drop)
}

/// set_mempolicy(2) of the caller: `mode` with its flags, and a bit for each node.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    let (mask, bits) = match nodes {
        [] => (ptr::null(), 0),
        // One more than there are: the kernel takes the last one as exclusive.
        nodes => (nodes.as_ptr(), nodes.len() * 64 + 1),
    };
    // SAFETY: the mask holds as many bits as said (none where it is null) and outlives the call.
    let ret = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits as c_ulong) };
    check(ret, || format!("set_mempolicy({mode:#x}, {nodes:#x?})")).map(drop)
}

/// A soft and a hard limit; `u64::MAX` is infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// what holds now
    pub soft: u64,
    /// how far it may be raised
    pub hard: u64,
}

/// prlimit(2): the limit as it was, after setting a new one where there is one.
pub fn limit(pid: i32, resource: u32, new: Option<Limit>) -> Result<Limit> {
    let set = new.map(|limit| libc::rlimit64 { rlim_cur: limit.soft, rlim_max: limit.hard });
    let set = set.as_ref().map_or(ptr::null(), ptr::from_ref);
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `set` is null or points to a whole rlimit64, `old` is one; both outlive the call.
    let ret = unsafe { libc::prlimit64(pid, resource, set, &raw mut old) };
    check(c_long::from(ret), || match new {
        Some(Limit { soft, hard }) => format!("prlimit({pid}, {resource}, soft={soft}, hard={hard})"),
        None => format!("prlimit({pid}, {resource})"),
    })?;
    Ok(Limit { soft: old.rlim_cur, hard: old.rlim_max })
}

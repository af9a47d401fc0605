//! bpf(2): load a device program and attach it to a cgroup.

use super::{check, check_fd, show};
use crate::error::Result;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_DETACH: i32 = 9;
const PROG_GET_FD_BY_ID: i32 = 13;
const PROG_QUERY: i32 = 16;
/// `BPF_PROG_TYPE_CGROUP_DEVICE`, Linux 4.15.
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
/// `BPF_CGROUP_DEVICE` among the attach types.
const ATTACH_CGROUP_DEVICE: u32 = 6;
const F_ALLOW_MULTI: u32 = 2;
const F_REPLACE: u32 = 4;
/// The kernel takes at most this many programs for one attach type of a cgroup (`BPF_CGROUP_MAX_PROGS`).
const MAX_PROGRAMS: u32 = 64;
/// What the verifier says is kept up to this length; it is enough for the line that matters.
const LOG_SIZE: u32 = 4096;

/// One eBPF instruction, `struct bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    /// Operation.
    pub code: u8,
    /// Destination register in the low half, source register in the high half (little endian bit fields).
    pub registers: u8,
    /// Jump distance or memory offset.
    pub offset: i16,
    /// Constant operand.
    pub immediate: i32,
}

impl Insn {
    /// An instruction from its parts, with the registers packed as this machine's `struct bpf_insn` has them.
    pub const fn new(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Self {
        let registers = if cfg!(target_endian = "little") {
            destination | source << 4
        } else {
            destination << 4 | source
        };
        Self { code, registers, offset, immediate }
    }

    /// The destination register.
    pub const fn destination(&self) -> u8 {
        if cfg!(target_endian = "little") { self.registers & 15 } else { self.registers >> 4 }
    }

    /// The source register.
    pub const fn source(&self) -> u8 {
        if cfg!(target_endian = "little") { self.registers >> 4 } else { self.registers & 15 }
    }
}

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` reads; the kernel takes what is missing for zero.
#[repr(C)]
struct Load {
    kind: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
}

/// `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
struct Attach {
    target_fd: u32,
    program_fd: u32,
    kind: u32,
    flags: u32,
    replaced_fd: u32,
}

/// `BPF_PROG_QUERY`.
#[repr(C)]
struct Query {
    target_fd: u32,
    kind: u32,
    how: u32,
    flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
}

fn bpf<T>(command: i32, attr: &mut T) -> libc::c_long {
    // SAFETY: `attr` is a plain repr(C) value of the size that is passed, and the kernel reads and writes only within it
    // and within the buffers that it points to, which the callers keep alive across the call.
    unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) }
}

/// Loads a device program. When the kernel refuses, it is asked again for the verifier's words, which go into the error.
pub fn load_device_program(program: &[Insn]) -> Result<OwnedFd> {
    let mut attr = Load {
        kind: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).unwrap_or(u32::MAX),
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
    };
    let call = || format!("bpf(BPF_PROG_LOAD, BPF_PROG_TYPE_CGROUP_DEVICE, {} instructions)", program.len());
    let first = check_fd(bpf(PROG_LOAD, &mut attr), call);
    let Err(error) = first else { return first };
    let mut log = vec![0u8; LOG_SIZE as usize];
    (attr.log_level, attr.log_size, attr.log_buf) = (1, LOG_SIZE, log.as_mut_ptr() as u64);
    if let Ok(fd) = check_fd(bpf(PROG_LOAD, &mut attr), call) {
        return Ok(fd);
    }
    let text: Vec<u8> = log.into_iter().take_while(|byte| *byte != 0).collect();
    match String::from_utf8_lossy(&text).trim().lines().next_back() {
        Some(line) => Err(error.context(format_args!("verifier: {line}"))),
        None => Err(error),
    }
}

/// Attaches a program beside those that are there already (every one of them has to allow an access). With `replace` it
/// takes the place of that program in one step (Linux 5.6).
pub fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replace: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let mut attr = Attach {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        program_fd: program.as_raw_fd().cast_unsigned(),
        kind: ATTACH_CGROUP_DEVICE,
        flags: F_ALLOW_MULTI | if replace.is_some() { F_REPLACE } else { 0 },
        replaced_fd: replace.map_or(0, |fd| fd.as_raw_fd().cast_unsigned()),
    };
    check(bpf(PROG_ATTACH, &mut attr), || {
        format!("bpf(BPF_PROG_ATTACH, BPF_CGROUP_DEVICE, {}, flags={})", show(cgroup), attr_flags(replace))
    })?;
    Ok(())
}

fn attr_flags(replace: Option<BorrowedFd<'_>>) -> &'static str {
    if replace.is_some() { "BPF_F_ALLOW_MULTI|BPF_F_REPLACE" } else { "BPF_F_ALLOW_MULTI" }
}

/// Detaches a program.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let mut attr = Attach {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        program_fd: program.as_raw_fd().cast_unsigned(),
        kind: ATTACH_CGROUP_DEVICE,
        flags: 0,
        replaced_fd: 0,
    };
    check(bpf(PROG_DETACH, &mut attr), || {
        format!("bpf(BPF_PROG_DETACH, BPF_CGROUP_DEVICE, {})", show(cgroup))
    })?;
    Ok(())
}

/// The device programs that are attached to this very cgroup. One that vanishes meanwhile is left out.
pub fn device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let mut ids = [0u32; MAX_PROGRAMS as usize];
    let mut attr = Query {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        kind: ATTACH_CGROUP_DEVICE,
        how: 0,
        flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MAX_PROGRAMS,
    };
    check(bpf(PROG_QUERY, &mut attr), || {
        format!("bpf(BPF_PROG_QUERY, BPF_CGROUP_DEVICE, {})", show(cgroup))
    })?;
    let mut programs = Vec::new();
    for id in ids.iter().take(attr.prog_cnt as usize) {
        // Only the first three words of the attributes belong to this command: id, next id, open flags.
        let mut attr = [*id, 0, 0];
        match check_fd(bpf(PROG_GET_FD_BY_ID, &mut attr), || format!("bpf(BPF_PROG_GET_FD_BY_ID, {id})")) {
            Ok(fd) => programs.push(fd),
            Err(error) if error.errno() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(programs)
}

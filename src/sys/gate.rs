//! A gate that a process waits at without a system call, and that another one opens by writing into its memory.

use super::check;
use crate::error::Result;
use std::{
    hint::spin_loop,
    sync::atomic::{AtomicU32, Ordering},
};

/// How often a waiting process looks before it gives up: minutes, for whoever should open has ended by then.
const LOOKS: u64 = 1 << 34;

/// The gate; in a static, so that its address means the same in every copy of the program's memory.
#[derive(Debug)]
pub struct Gate(AtomicU32);

impl Gate {
    /// A closed gate.
    pub const fn closed() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Where it is in this process.
    pub fn address(&'static self) -> u64 {
        self.0.as_ptr() as u64
    }

    /// Waits until it is open; false when nobody has opened it in all that time.
    pub fn wait(&self) -> bool {
        (0..LOOKS).any(|_| {
            spin_loop();
            self.0.load(Ordering::Acquire) != 0
        })
    }
}

/// Opens the gate at `address` of the process `pid`, which the caller may ptrace and knows to be alive.
pub fn open(pid: i32, address: u64) -> Result<()> {
    let mut word = 1_u32;
    let local = libc::iovec { iov_base: (&raw mut word).cast(), iov_len: size_of::<u32>() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: size_of::<u32>() };
    // SAFETY: `local` describes `word`; `remote` is memory of another process, which the kernel checks.
    let ret = unsafe { libc::process_vm_writev(pid, &raw const local, 1, &raw const remote, 1, 0) };
    check(ret as libc::c_long, || format!("process_vm_writev({pid}, {address:#x})")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opened_gate_lets_go() {
        static GATE: Gate = Gate::closed();
        let waiting = std::thread::spawn(|| GATE.wait());
        assert!(!waiting.is_finished());
        open(std::process::id().cast_signed(), GATE.address()).unwrap();
        assert!(waiting.join().unwrap());
        assert!(open(0, 0).is_err());
    }
}

//! A call of the runtime under ptrace(2), with every process that it makes up to execve(2), and one fault in it.

use crate::common::{Output, deadline};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Mutex, mpsc};
use std::time::Instant;

/// Only the calling thread's children and tracees: tests run side by side (wait4(2), `__WNOTHREAD`).
const WAIT: i32 = libc::__WALL | libc::__WNOTHREAD;

/// What happens at a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed before the call does anything.
    Kill,
    /// The call does nothing and gives this errno.
    Fail(i32),
}

/// One system call of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The process, in order of birth; 0 is the runtime itself.
    pub process: usize,
    /// Which system call.
    pub number: i64,
    /// The how many-eth of this kind in the process, from 1: a loop that waits shifts nothing but its own calls.
    pub count: usize,
    /// Whether the program's `main` had begun.
    pub in_main: bool,
}

/// What a traced call has done.
#[derive(Debug)]
pub struct Trace {
    /// Every system call seen.
    pub calls: Vec<Call>,
    /// Every process seen, the runtime first.
    pub pids: Vec<i32>,
    /// Whether the fault happened.
    pub struck: bool,
    /// Whether the runtime was killed because it did not end.
    pub hung: bool,
    /// Its result.
    pub output: Output,
}

struct Tracee {
    process: usize,
    counts: HashMap<i64, usize>,
    in_main: bool,
    failing: Option<i32>,
}

/// Runs the command under the tracer to the end of its first process; the others are let go then.
///
/// The tracer is a thread of its own, because the kernel detaches what a thread traces when the thread ends.
pub fn trace(mut command: Command, io: &Path, fault: Option<(Call, Fault)>) -> Trace {
    let files = [io.join("traced.out"), io.join("traced.err")];
    command.stdout(File::create(&files[0]).unwrap()).stderr(File::create(&files[1]).unwrap());
    // SAFETY: one system call, with numbers alone.
    unsafe {
        command.process_group(0).pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let (tracer, code, hung) = std::thread::scope(|scope| {
        scope.spawn(|| Tracer::new(fault).run(command.spawn().unwrap())).join().unwrap()
    });
    let output = Output { code, stdout: read(&files[0]), stderr: read(&files[1]), files };
    Trace { calls: tracer.calls, pids: tracer.pids, struck: tracer.struck, hung, output }
}

struct Tracer {
    fault: Option<(Call, Fault)>,
    tracees: HashMap<i32, Tracee>,
    /// Processes whose maker has told of them, and which have not stopped for the first time yet.
    unborn: HashSet<i32>,
    /// Those that were quicker than their maker.
    early: HashSet<i32>,
    calls: Vec<Call>,
    pids: Vec<i32>,
    struck: bool,
}

impl Tracer {
    fn new(fault: Option<(Call, Fault)>) -> Self {
        let (unborn, early) = (HashSet::new(), HashSet::new());
        let (calls, pids) = (Vec::new(), Vec::new());
        Self { fault, tracees: HashMap::new(), unborn, early, calls, pids, struck: false }
    }

    /// The tracer, the exit code of the process, and whether it had to be killed.
    fn run(mut self, child: Child) -> (Self, i32, bool) {
        let root = child.id().cast_signed();
        let hung = Mutex::new(false);
        let (done, end) = mpsc::channel::<()>();
        let code = std::thread::scope(|scope| {
            let hung = &hung;
            scope.spawn(move || {
                let patience = deadline(30) - Instant::now();
                if end.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
                    *hung.lock().unwrap() = true;
                    kill(root);
                }
            });
            take_over(root);
            let code = self.follow(root);
            drop(done);
            code
        });
        let hung = *hung.lock().unwrap();
        (self, code, hung)
    }

    fn follow(&mut self, root: i32) -> i32 {
        let mut code = None;
        loop {
            let mut status = 0;
            // SAFETY: the status outlives the call.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, WAIT) };
            assert!(pid > 0, "wait for a tracee: {}", std::io::Error::last_os_error());
            if libc::WIFSTOPPED(status) {
                self.stopped(pid, root, libc::WSTOPSIG(status), status >> 16);
            } else {
                self.tracees.remove(&pid);
                self.unborn.remove(&pid);
                if pid == root {
                    let exited = libc::WIFEXITED(status);
                    code =
                        Some(if exited { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) });
                }
            }
            if let (Some(code), true) = (code, self.unborn.is_empty()) {
                return code;
            }
        }
    }

    fn stopped(&mut self, pid: i32, root: i32, signal: i32, event: i32) {
        if !self.tracees.contains_key(&pid) {
            let process = self.pids.len();
            self.pids.push(pid);
            let tracee = Tracee { process, counts: HashMap::new(), in_main: pid != root, failing: None };
            self.tracees.insert(pid, tracee);
            if !self.unborn.remove(&pid) && pid != root {
                self.early.insert(pid);
            }
            return self.resume(pid, 0);
        }
        match (signal, event) {
            (
                libc::SIGTRAP,
                libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE,
            ) => {
                let mut child: libc::c_ulong = 0;
                ask(libc::PTRACE_GETEVENTMSG, pid, 0, (&raw mut child).addr());
                let child = i32::try_from(child).unwrap();
                if !self.early.remove(&child) {
                    self.unborn.insert(child);
                }
                self.resume(pid, 0);
            }
            (libc::SIGTRAP, libc::PTRACE_EVENT_EXEC) if pid == root => {
                // The sealed copy begins as the program began.
                self.tracees.get_mut(&pid).unwrap().in_main = false;
                self.resume(pid, 0);
            }
            // What it executes is somebody else's program.
            (libc::SIGTRAP, libc::PTRACE_EVENT_EXEC) => self.let_go(pid, 0),
            (signal, 0) if signal == libc::SIGTRAP | 0x80 => self.system_call(pid),
            (signal, 0) => self.resume(pid, signal),
            _ => self.resume(pid, 0),
        }
    }

    fn system_call(&mut self, pid: i32) {
        // SAFETY: plain data, filled by the kernel as far as it is told.
        let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
        ask(libc::PTRACE_GET_SYSCALL_INFO, pid, size_of_val(&info), (&raw mut info).addr());
        let Some(tracee) = self.tracees.get_mut(&pid) else { return };
        if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            if let Some(errno) = tracee.failing.take() {
                set_register(pid, |registers| registers.rax = i64::from(-errno).cast_unsigned());
            }
            return self.resume(pid, 0);
        }
        // SAFETY: the kernel says that it is an entry.
        let entry = unsafe { info.u.entry };
        let number = entry.nr.cast_signed();
        let counted = tracee.counts.entry(number).or_default();
        *counted += 1;
        let count = *counted;
        // The first thing that `main` does.
        tracee.in_main |= number == libc::SYS_prctl && entry.args[0] == libc::PR_SET_DUMPABLE as u64;
        let call = Call { process: tracee.process, number, count, in_main: tracee.in_main };
        if self.struck {
            return self.let_go(pid, 0);
        }
        self.calls.push(call);
        match self.fault {
            Some((point, fault)) if point == call => {
                self.struck = true;
                match fault {
                    Fault::Kill => return kill(pid),
                    Fault::Fail(errno) => {
                        tracee.failing = Some(errno);
                        set_register(pid, |registers| registers.orig_rax = u64::MAX);
                    }
                }
            }
            _ => {}
        }
        self.resume(pid, 0);
    }

    /// Goes on to the next stop; once the fault has happened there is nothing more to see.
    fn resume(&mut self, pid: i32, signal: i32) {
        let failing = self.tracees.get(&pid).is_some_and(|tracee| tracee.failing.is_some());
        match self.struck && !failing {
            true => self.let_go(pid, signal),
            false => ask(libc::PTRACE_SYSCALL, pid, 0, usize::try_from(signal).unwrap()),
        }
    }

    fn let_go(&mut self, pid: i32, signal: i32) {
        self.tracees.remove(&pid);
        ask(libc::PTRACE_DETACH, pid, 0, usize::try_from(signal).unwrap());
    }
}

/// Takes the process over from itself. It has asked to be traced with the rights of the user that it is, and with those it
/// would lose what newuidmap(1) gets by execve(2); by PTRACE_SEIZE the tracer's rights count (ptrace(2), execve(2)).
fn take_over(pid: i32) {
    let mut status = 0;
    // SAFETY: the status outlives the calls.
    let stopped =
        |status: &mut i32| unsafe { libc::waitpid(pid, status, WAIT) == pid && libc::WIFSTOPPED(*status) };
    assert!(stopped(&mut status), "the stop of the first execve: {status:#x}");
    ask(libc::PTRACE_DETACH, pid, 0, usize::try_from(libc::SIGSTOP).unwrap());
    let events = libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK | libc::PTRACE_O_TRACECLONE;
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACEEXEC | events;
    ask(libc::PTRACE_SEIZE, pid, 0, usize::try_from(options).unwrap());
    // SAFETY: numbers alone. What is stopped goes on by this, and stops once more for the tracer.
    unsafe { libc::kill(pid, libc::SIGCONT) };
}

/// One ptrace(2) request; a tracee that was killed meanwhile is no failure.
fn ask(request: libc::c_uint, pid: i32, address: usize, data: usize) {
    // SAFETY: where `data` is an address, it is that of a live value of the size that the request fills.
    let ret = unsafe { libc::ptrace(request, pid, address, data) };
    let error = std::io::Error::last_os_error();
    assert!(ret >= 0 || error.raw_os_error() == Some(libc::ESRCH), "ptrace({request:#x}, {pid}): {error}");
}

fn set_register(pid: i32, edit: impl FnOnce(&mut libc::user_regs_struct)) {
    // SAFETY: plain data, filled by the kernel.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    ask(libc::PTRACE_GETREGS, pid, 0, (&raw mut registers).addr());
    edit(&mut registers);
    ask(libc::PTRACE_SETREGS, pid, 0, (&raw const registers).addr());
}

/// SIGKILL.
pub fn kill(pid: i32) {
    // SAFETY: numbers alone. A process that is gone is what is wanted.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

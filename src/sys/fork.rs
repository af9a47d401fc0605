//! clone3(2) and what a new process must do first.

use super::{check, uninterrupted};
use crate::error::{Context, Error, Result};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{
    ffi::{c_int, c_long, c_void},
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

/// Bytes of stack for [`shared_child`]: a system call and the text of its error.
const STACK: usize = 256 * 1024;

struct Errand<F, T> {
    run: Option<F>,
    result: Option<T>,
}

/// Runs `errand` in a child that shares memory and the descriptor table with the caller, who waits, as vfork(2) does. It is
/// for what only a child can do: being in the namespaces set for children. The caller has one thread.
pub fn shared_child<F, T>(errand: F) -> Result<T>
where
    F: FnOnce() -> Result<T>,
{
    extern "C" fn enter<F: FnOnce() -> T, T>(argument: *mut c_void) -> c_int {
        // SAFETY: the argument is the caller's errand, which outlives the child because the caller waits for it.
        let errand = unsafe { &mut *argument.cast::<Errand<F, T>>() };
        errand.result = errand.run.take().map(|run| run());
        0
    }
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    let mut errand = Errand { run: Some(errand), result: None };
    // No exit signal, because a parent that ignores SIGCHLD could not wait for the child otherwise.
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;
    // SAFETY: the child runs on the aligned top of its own stack, downwards; stack and errand outlive it, and nothing else
    // runs in this memory meanwhile because CLONE_VFORK stops the only other thread.
    let pid = unsafe {
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        libc::clone(enter::<F, Result<T>>, top, flags, (&raw mut errand).cast())
    };
    let pid = check(c_long::from(pid), || "clone(CLONE_VM|CLONE_VFORK|CLONE_FILES)".into())?;
    let status = wait(pid)?;
    errand.result.unwrap_or_else(|| Err(Error::new(format_args!("a child ended early: {status:?}"))))
}

fn wait(pid: c_long) -> Result<WaitStatus> {
    let pid = Pid::from_raw(c_int::try_from(pid).map_err(Error::new)?);
    uninterrupted(|| waitpid(pid, Some(WaitPidFlag::__WALL))).context("wait for a child")
}

/// A child that sits in a new user namespace and does nothing, for as long as this value lives. It shares the caller's memory:
/// a copy of it would cost more than all the rest.
#[derive(Debug)]
pub struct NamespaceHolder {
    pid: Option<Pid>,
    /// Closed by the end of the parent too, which ends the child.
    _release: OwnedFd,
    /// The child's until it is gone.
    _memory: Box<Memory>,
}

#[derive(Debug)]
struct Memory {
    stack: [u128; 1024],
    ends: [RawFd; 2],
}

impl NamespaceHolder {
    /// Starts the child. The caller has one thread.
    pub fn start() -> Result<Self> {
        extern "C" fn hold(argument: *mut c_void) -> c_int {
            // SAFETY: the argument is the array below, which outlives the child and is not written to.
            let [wait_for, release] = unsafe { *argument.cast::<[RawFd; 2]>() };
            // SAFETY: the descriptor table is the child's own copy; one end is closed for good, one byte has room.
            unsafe {
                libc::close(release);
                let mut byte = 0_u8;
                libc::read(wait_for, (&raw mut byte).cast(), 1);
            }
            0
        }
        let (wait_for, release) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("make a pipe")?;
        let ends = [wait_for.as_raw_fd(), release.as_raw_fd()];
        let mut memory = Box::new(Memory { stack: [0; 1024], ends });
        // SAFETY: the child runs on the aligned top of its own stack, downwards, and makes two system calls there; `end` waits
        // for it before the memory goes.
        let pid = unsafe {
            let top = memory.stack.as_mut_ptr_range().end.cast::<c_void>();
            libc::clone(hold, top, libc::CLONE_NEWUSER | libc::CLONE_VM, (&raw mut memory.ends).cast())
        };
        let pid = check(c_long::from(pid), || "clone(CLONE_NEWUSER|CLONE_VM)".into())?;
        let pid = Some(Pid::from_raw(c_int::try_from(pid).map_err(Error::new)?));
        Ok(Self { pid, _release: release, _memory: memory })
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.map_or(0, Pid::as_raw)
    }

    /// Ends the child.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    /// Kills the child, because a process born meanwhile may hold the pipe open.
    fn end(&mut self) -> Result<()> {
        let Some(pid) = self.pid.take() else { return Ok(()) };
        kill(pid, Signal::SIGKILL).context("kill a child")?;
        wait(c_long::from(pid.as_raw())).map(drop)
    }
}

impl Drop for NamespaceHolder {
    fn drop(&mut self) {
        // Whoever wants to know of a failure calls `stop`.
        let _ = self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_shared_child_returns_values_descriptors_and_errors() {
        isolated::run(|| {
            let own = nix::unistd::getpid();
            let (pid, pipe) = shared_child(|| Ok((nix::unistd::getpid(), nix::unistd::pipe()?))).unwrap();
            assert_ne!(pid, own);
            nix::sys::stat::fstat(pipe.0.as_fd()).unwrap();
            let error = shared_child(|| Err::<(), _>(Error::new("no"))).unwrap_err();
            assert_eq!(error.to_string(), "no");
        });
    }

    #[test]
    fn a_holder_is_in_a_user_namespace_of_its_own_until_it_is_stopped() {
        isolated::run(|| {
            let (first, second) = (NamespaceHolder::start().unwrap(), NamespaceHolder::start().unwrap());
            let link = |pid: String| std::fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
            assert_ne!(link(first.pid().to_string()), link("self".into()));
            assert_ne!(link(first.pid().to_string()), link(second.pid().to_string()));
            first.stop().unwrap();
            second.stop().unwrap();
        });
    }
}

/// For tests that change what belongs to a whole process, or mount: a child with one thread.
#[cfg(test)]
pub(crate) mod isolated {
    use crate::sys::{
        check,
        pidfd::{self, Exit},
    };
    use nix::{
        fcntl::OFlag,
        mount::{MsFlags, mount},
        sched::{CloneFlags, unshare},
        unistd::{ForkResult, fork, pipe2, setfsgid, setfsuid},
    };
    use std::{
        ffi::c_long,
        fs::File,
        io::{Read, Write},
        os::fd::AsFd,
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{Mutex, PoisonError},
        time::Duration,
    };

    /// Held from before the fork until after the failure of a test has been told: a child that is born while another thread
    /// panics finds the locks of the standard library's panic handler taken for ever.
    static ALONE: Mutex<()> = Mutex::new(());
    /// After this a child is killed: by the caller, for a child may block every signal that it could send itself.
    const LIMIT: Duration = Duration::from_secs(60);

    /// Runs `test` in a child; its panic is the caller's. The child comes from fork(3), for that one gives the locks of the
    /// allocator back which other threads of the caller held; after clone3(2) a second thread of the child's would wait for them.
    pub(crate) fn alone(test: impl FnOnce()) {
        let _guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (read, write) = pipe2(OFlag::O_CLOEXEC).unwrap();
        // SAFETY: the child allocates, which the C library allows after fork, and ends without running exit handlers.
        let ForkResult::Parent { child } = (unsafe { fork().unwrap() }) else {
            let report = File::from(write);
            std::panic::set_hook(Box::new(move |panic| drop(write!(&report, "{panic}"))));
            let result = catch_unwind(AssertUnwindSafe(test));
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(i32::from(result.is_err())) }
        };
        drop(write);
        let child = pidfd::open(child.as_raw()).unwrap();
        if !pidfd::poll(child.as_fd(), Some(LIMIT)).unwrap() {
            pidfd::send_signal(child.as_fd(), libc::SIGKILL).unwrap();
        }
        let exit = pidfd::wait(child.as_fd()).unwrap();
        let mut report = String::new();
        File::from(read).read_to_string(&mut report).unwrap();
        assert!(report.is_empty() && exit == Exit::Code(0), "{report} ({exit})");
    }

    /// Runs `test` as [`alone`] does, in a private mount namespace.
    pub(crate) fn run(test: impl FnOnce()) {
        assert!(nix::unistd::geteuid().is_root(), "tests of mounts need root");
        alone(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
                .unwrap();
            test();
        });
    }

    /// File system ids as the assembler has them: of the container's root, with every capability kept.
    pub(crate) fn act_as(id: u32) {
        // SAFETY: takes numbers alone. 4 is SECBIT_NO_SETUID_FIXUP, capabilities(7).
        let ret = unsafe { libc::prctl(libc::PR_SET_SECUREBITS, 4, 0, 0, 0) };
        check(c_long::from(ret), || "prctl(PR_SET_SECUREBITS)".into()).unwrap();
        setfsuid(id.into());
        setfsgid(id.into());
    }
}

//! Every process of a container: those of its cgroup, or without one those of its pid namespace.

use crate::{
    cgroup::{self, Cgroup},
    error::{Error, Kind, Result},
    ns::members,
    state::{PidNamespace, Record},
    sys::proc::Proc,
};

/// The pids as the caller counts, sorted; none when nothing is left.
pub fn list(record: &Record, groups: &Cgroup) -> Result<Vec<i32>> {
    if !groups.is_empty() {
        return groups.processes();
    }
    let Some(init) = record.init else { return Ok(Vec::new()) };
    // As long as the handle is open, the pid is nobody else's.
    let _handle = match init.open() {
        Err(error) if error.is(Kind::NotRunning) => return Ok(Vec::new()),
        other => other?,
    };
    match record.pid_namespace {
        PidNamespace::Own => members::of_pid_namespace(&Proc::open()?, init.pid),
        PidNamespace::Shared => {
            Err(Error::new("the container has neither a cgroup nor a pid namespace of its own")
                .hint("its processes cannot be told from others; its first one is in `urun state`"))
        }
    }
}

/// Sends a signal to every process, of a container whose first process has ended as well: engines send `kill --all` then
/// and want it to succeed.
pub fn signal(record: &Record, groups: &Cgroup, number: i32) -> Result<()> {
    if !groups.is_empty() {
        return groups.kill(number);
    }
    // With its first process a pid namespace ends as a whole.
    if number == libc::SIGKILL || record.pid_namespace == PidNamespace::Shared {
        return match record.init.map(|init| init.signal(number)) {
            Some(Err(error)) if !error.is(Kind::NotRunning) => Err(error),
            _ => Ok(()),
        };
    }
    list(record, groups)?.into_iter().try_for_each(|pid| cgroup::send(pid, number))
}

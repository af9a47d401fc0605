//! `urun delete`

use super::{group, hooks::Programs, ranges, select, view::unfinished};
use crate::{
    bail,
    cgroup::Cgroup,
    cli::DeleteArgs,
    error::{Context, Error, Kind, Result},
    log::Log,
    spec,
    state::{Entry, Record, Status, Store, document},
    sys::{pidfd, proc::Proc},
};
use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

/// How long a killed process may take to end, and another urun to let go of the container; runc waits as long.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it is waited for before it is looked after again.
const REMINDER: Duration = Duration::from_millis(200);

/// Removes what a container has left: its processes, its cgroup, its directory. Every step can be repeated, so a
/// removal that was cut short is taken up by the next one.
pub fn delete(store: &Store, args: &DeleteArgs, log: &Log) -> Result<()> {
    select::each(store, &args.containers, |id| {
        match store.find(id).and_then(|entry| remove(entry, args.force, log)) {
            // It is gone, whoever removed it.
            Err(error) if args.force && error.is(Kind::NoContainer) => Ok(()),
            other => other,
        }
    })
}

/// Removes one container.
pub(super) fn remove(mut entry: Entry, force: bool, log: &Log) -> Result<()> {
    if let Some(record) = read(&entry, force, log)? {
        if !force {
            let status = group::status(&entry, &record, &Proc::open()?)?;
            check(&record, status)?;
        }
        // Before the lock: whoever holds it may be waiting for the very process.
        end(&record, &group::open(&record)?)?;
    }
    entry.lock(PATIENCE)?;
    match read(&entry, force, log)? {
        Some(record) => tear_down(entry, &record, log),
        None => entry.remove(),
    }
}

/// The record; none where there is none, or none that makes sense, and `force` goes on without. A file that could not be
/// read just now is another matter: without its record nobody would find the container's processes and groups again.
fn read(entry: &Entry, force: bool, log: &Log) -> Result<Option<Record>> {
    match entry.record() {
        Ok(None) if !force => Err(unfinished(entry)),
        Err(error) if force && error.errno().is_none() => {
            log.warning(&error);
            Ok(None)
        }
        other => other,
    }
}

/// Without force only a container that does not run is removed; one that was never started counts as such, as in runc.
fn check(record: &Record, status: Status) -> Result<()> {
    match status {
        Status::Stopped | Status::Created => Ok(()),
        Status::Creating | Status::Running | Status::Paused => {
            let id = &record.id;
            Err(Error::new(format_args!("cannot delete container {id} that is not stopped: {status}"))
                .hint(format_args!("urun delete --force {id} kills it first")))
        }
    }
}

/// Ends a container whose lock the caller holds, and removes everything of it: processes, then poststop hooks (which may
/// fail), then the cgroup, then the directory.
pub fn tear_down(entry: Entry, record: &Record, log: &Log) -> Result<()> {
    let group = group::open(record)?;
    // Another urun may have brought it to life before it let go of the lock.
    end(record, &group)?;
    if record.init.is_some() {
        match poststop(&entry, record, log) {
            Ok(()) => {}
            // What cannot be read just now names the hooks still: they are for the next `delete`.
            Err(error) if error.errno().is_some() => {
                return Err(error.context(format_args!("delete container {}", record.id)));
            }
            // A stored config.json that makes no sense, or is gone, must not keep the container from being removed.
            Err(error) => log.warning(&error),
        }
    }
    group::remove_rdt(record).with_context(|| format!("delete container {}", record.id))?;
    group.destroy().with_context(|| format!("delete container {}", record.id))?;
    ranges::release(record, &entry).with_context(|| format!("delete container {}", record.id))?;
    entry.remove().with_context(|| format!("delete container {}", record.id))
}

/// Kills every process of the container and waits for the end of the first one.
fn end(record: &Record, group: &Cgroup) -> Result<()> {
    group.kill(libc::SIGKILL)?;
    let Some(init) = record.init else { return Ok(()) };
    let process = match init.open() {
        Err(error) if error.is(Kind::NotRunning) => return Ok(()),
        other => other?,
    };
    let refused = match init.signal(libc::SIGKILL) {
        Err(error) if error.is(Kind::NotRunning) => return Ok(()),
        other => other.err(),
    };
    let deadline = Instant::now() + PATIENCE;
    while !pidfd::poll(process.as_fd(), Some(REMINDER))? {
        // The kernel may have killed it with its whole group, which needs no signal.
        if let Some(error) = refused {
            return Err(error.context(format_args!("kill container {}", record.id)));
        }
        if Instant::now() > deadline {
            bail!(
                "container still running: process {} of {} does not end after SIGKILL",
                init.pid,
                record.id
            );
        }
        // A `pause` that was under way may have frozen the dying; in version 1 that keeps them from it.
        group.thaw()?;
    }
    Ok(())
}

/// Runs the poststop hooks of the stored config.json.
fn poststop(entry: &Entry, record: &Record, log: &Log) -> Result<()> {
    let config = spec::load(&entry.config()?)?;
    let state = document(record, Status::Stopped, 0);
    Programs::new(&config.hooks.poststop, record)?.run_tolerant(&state, log);
    Ok(())
}

#[cfg(test)]
#[path = "delete_tests.rs"]
mod tests;

//! `urun start`

use super::{group, hooks::Programs, notify::Proxy};
use crate::{
    error::{Context, Error, Result},
    launch::{self, link::Link},
    log::Log,
    seccomp, spec,
    state::{ContainerId, Entry, PATIENCE, Record, Status, Store, document},
    sys::{clone::Child, proc::Proc, socket},
};
use std::os::fd::AsFd;

/// Tells the init of a created container to execute its program, and returns when it has: a program that cannot be
/// executed is reported here.
pub fn start(store: &Store, id: &ContainerId, log: &Log) -> Result<()> {
    let mut entry = store.find(id)?;
    entry.lock(PATIENCE)?;
    let record = entry.record()?.ok_or_else(|| Error::new("cannot start a container that has stopped"))?;
    require_created(&entry, &record)?;
    let config = spec::load(&entry.config()?).context("read the container's copy of config.json")?;
    let init = record.init.ok_or_else(|| Error::new("cannot start a container that has stopped"))?;
    let child = Child { pid: init.pid, pidfd: init.open()? };
    let notify = Proxy::listen(&entry)?;
    let mut link = Link::over(socket::connect(&entry.start_socket())?);
    // From here on the container counts as running: whoever asks must not find a socket that nobody listens to.
    entry.forget_start_socket()?;
    let state = document(&record, Status::Running, init.pid);
    let listener = config.linux.seccomp.as_ref().map(seccomp::plan::listener).transpose()?.flatten();
    let agent = launch::start::agent(listener.as_ref(), &state, init.pid)?;
    launch::start::start(&mut link, &child, agent.as_ref(), &mut |note| log.warning(note))?;
    let poststart = Programs::new(&config.hooks.poststart, &record)?;
    poststart.run(&state).map_err(|error| match stop(&child) {
        Ok(()) => error,
        Err(failure) => error.also(&failure),
    })?;
    // Whoever wants to stop a container that never gets ready has to be able to.
    entry.unlock();
    notify.map_or(Ok(()), |notify| notify.wait(&child))
}

fn require_created(entry: &Entry, record: &Record) -> Result<()> {
    match group::status(entry, record, &Proc::open()?)? {
        Status::Created => Ok(()),
        Status::Paused if entry.awaits_start()? => {
            let error = Error::new("cannot start a container that is paused");
            Err(error.hint(format_args!("urun resume {} first", record.id)))
        }
        Status::Stopped => Err(Error::new("cannot start a container that has stopped")),
        Status::Creating => Err(Error::new("cannot start a container that is still being created")),
        Status::Running | Status::Paused => Err(Error::new("cannot start an already running container")),
    }
}

/// A poststart hook that failed ends the container (runtime-spec 1.3, config.md).
fn stop(init: &Child) -> Result<()> {
    crate::sys::pidfd::send_signal(init.as_fd(), libc::SIGKILL)
}

//! `urun run`

use super::{
    make::{self, Waits},
    notify::Proxy,
};
use crate::{cli::CreateRequest, error::Result, log::Log, sys::prctl, tty::foreground};
use std::os::fd::AsFd;

/// Makes a container, starts it and, unless it is detached, stays with it; returns its exit status.
pub fn run(request: &CreateRequest, log: &Log) -> Result<u8> {
    if !request.detach {
        // From here on, so that a signal which comes while the container is made still reaches it.
        foreground::block()?;
        if !request.no_subreaper {
            prctl::become_subreaper()?;
        }
    }
    let mut made = make::make(request, Waits::ForCaller, log)?;
    let notify = match Proxy::listen(&made.entry).and_then(|notify| made.start(log).map(|()| notify)) {
        Ok(notify) => notify,
        Err(error) => return Err(made.destroy(error)),
    };
    if request.detach {
        made.print_name(request)?;
        notify.map_or(Ok(()), |notify| notify.wait(&made.launched.init))?;
        return Ok(0);
    }
    let terminal = made.master.take();
    let pid = made.launched.init.pid;
    let visitor = notify.as_ref().map(|notify| foreground::Visitor {
        fd: notify.as_fd(),
        call: Box::new(move || notify.pass(pid).map(|told| !told)),
    });
    let exit = foreground::watch(pid, made.launched.init.as_fd(), terminal, visitor)?;
    if !request.keep {
        made.clean_up(log)?;
    }
    // An exit status is a byte, and 128 plus a signal is one as well.
    Ok(u8::try_from(exit.status()).unwrap_or(u8::MAX))
}

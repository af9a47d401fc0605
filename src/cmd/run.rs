//! `urun run`

use super::make::{self, Made, Waits};
use crate::{
    cli::CreateRequest,
    error::Result,
    launch,
    log::Log,
    sys::prctl,
    tty::foreground,
};
use std::os::fd::AsFd;

/// Makes a container, starts it and, unless it is detached, stays with it; returns its exit status.
pub fn run(request: &CreateRequest, log: &Log) -> Result<i32> {
    if !request.no_subreaper && !request.detach {
        prctl::become_subreaper()?;
    }
    let mut made = make::make(request, Waits::ForCaller, log)?;
    if let Err(error) = start(&mut made, log) {
        return Err(made.destroy(error, log));
    }
    if request.detach {
        made.print_name(request);
        return Ok(0);
    }
    let terminal = made.master.take();
    let exit = foreground::watch(made.launched.init.as_fd(), terminal)?;
    if !request.keep {
        made.clean_up(log)?;
    }
    Ok(exit.status())
}

fn start(made: &mut Made, log: &Log) -> Result<()> {
    let agent = made.agent();
    launch::start::start(&mut made.launched, agent.as_ref(), log)?;
    made.poststart()
}

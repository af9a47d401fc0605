//! The start of a container that waits: said over init's line, answered by its end.

use super::link::{FromInit, Link, ToInit};
use crate::{
    error::{Context, Error, Result},
    seccomp::{self, plan::Listener},
    sys::clone::Child,
};
use std::{
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

/// How long the listener of a filter may take to appear after init has announced it.
const LISTENER_PATIENCE: Duration = Duration::from_secs(10);

/// What the caller of start has to hand to a seccomp agent.
#[derive(Debug)]
pub struct Agent<'a> {
    listener: &'a Listener,
    document: Vec<u8>,
}

/// The agent of a filter that asks somebody; `state` is the container's state document.
pub fn agent<'a>(listener: Option<&'a Listener>, state: &[u8], pid: i32) -> Result<Option<Agent<'a>>> {
    let Some(listener) = listener else { return Ok(None) };
    let state = serde_json::from_slice(state).map_err(Error::new).context("read the state document")?;
    let document = seccomp::notify::state_document(pid, listener.metadata.as_deref(), &state);
    Ok(Some(Agent { listener, document }))
}

/// Tells init to execute and waits until it has: the line ends when execve(2) worked. An execve that failed is
/// reported here, whole.
pub fn start(
    link: &mut Link<ToInit, FromInit>,
    init: &Child,
    agent: Option<&Agent<'_>>,
    note: &mut dyn FnMut(Error),
) -> Result<()> {
    link.tell(&ToInit::Start, &[])?;
    while let Some(heard) = link.hear()? {
        match heard.word {
            FromInit::Failed(error) => return Err(error),
            FromInit::Note(text) => note(text),
            FromInit::Ready => return Err(Error::new("init says that it is ready a second time")),
            FromInit::Listener(number) => {
                let agent =
                    agent.ok_or_else(|| Error::new("the filter notifies somebody whom nobody named"))?;
                hand_over(init.as_fd(), number, agent)?;
            }
        }
    }
    Ok(())
}

fn hand_over(init: BorrowedFd<'_>, number: i32, agent: &Agent<'_>) -> Result<()> {
    let fd = seccomp::notify::fetch(init, number, Instant::now() + LISTENER_PATIENCE)
        .context("fetch the seccomp listener of the container")?;
    seccomp::notify::hand_over(&agent.listener.path, &agent.document, fd.as_fd())
        .with_context(|| format!("send the seccomp listener to {}", agent.listener.path.display()))
}

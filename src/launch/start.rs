//! The start of a container that waits: said over init's line, answered by its end.

use super::{
    link::{FromInit, Heard, Link, ToInit},
    serve::died,
};
use crate::{
    error::{Context, Error, Result},
    seccomp::{self, plan::Listener},
    sys::{clone::Child, gate, pidfd},
};
use std::{
    os::fd::AsFd,
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
/// reported here, whole; so is the end of an init that never heard the word.
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
            FromInit::Listener { fd, gate } => {
                let agent =
                    agent.ok_or_else(|| Error::new("the filter notifies somebody whom nobody named"))?;
                hand_over(init, fd, gate, agent).map_err(|error| last_word(link, init, error))?;
            }
        }
    }
    match link.left_words_unheard() {
        true => Err(died("the container's init", Some(init))),
        false => Ok(()),
    }
}

/// Why an init has ended that could not be asked for its listener any more; `error` where it lives or did not say.
fn last_word(link: &mut Link<ToInit, FromInit>, init: &Child, error: Error) -> Error {
    let ended = pidfd::exited(init.as_fd()).unwrap_or(false);
    match if ended { link.hear() } else { Ok(None) } {
        Ok(Some(Heard { word: FromInit::Failed(cause), .. })) => cause,
        _ => error,
    }
}

/// Takes the listener out of init, gives it to the agent and lets init go on. init cannot be told to give up: on failure
/// the caller has to end it.
fn hand_over(init: &Child, fd: i32, gate: u64, agent: &Agent<'_>) -> Result<()> {
    let deadline = Instant::now() + LISTENER_PATIENCE;
    let listener = seccomp::notify::fetch(init.as_fd(), fd, deadline)?;
    seccomp::notify::hand_over(&agent.listener.path, &agent.document, listener.as_fd())?;
    gate::open(init.pid, gate).context("let the filtered process go on")
}

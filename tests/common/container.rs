//! A container that exists: its verbs, and its process as the host sees it.

use super::bundle::Bundle;
use super::host::Proc;
use super::scratch::wait_until;
use super::subject::{Output, Subject, subject};
use serde_json::Value;
use std::path::PathBuf;

/// A container that was created; deleted by force when dropped.
#[derive(Debug)]
pub struct Container {
    bundle: Bundle,
    pid: u32,
    files: [PathBuf; 2],
}

impl Container {
    #[track_caller]
    pub fn of(bundle: Bundle, files: [PathBuf; 2]) -> Self {
        let mut container = Self { bundle, pid: 0, files };
        container.pid = u32::try_from(container.state()["pid"].as_u64().unwrap()).unwrap();
        container
    }

    /// The bundle it was made from.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self.bundle.id()
    }

    /// Its process as it was at create.
    pub fn proc(&self) -> Proc {
        Proc(self.pid)
    }

    /// Calls `verb ID args…`.
    #[track_caller]
    pub fn call(&self, verb: &str, args: &[&str]) -> Output {
        self.bundle.call(&[&[verb, self.id()], args].concat())
    }

    /// `start`, and waits until init became the user's program.
    #[track_caller]
    pub fn start(&self) {
        self.call("start", &[]).ok();
        // Ours returns when the program runs; the others' init may still be on its way to execve.
        if subject().0 != Subject::Urun {
            let program = |link: PathBuf| link.ends_with("busybox");
            wait_until("the program runs", || {
                !self.proc().alive() || std::fs::read_link(self.proc().path("exe")).is_ok_and(program)
            });
        }
    }

    /// `start` of a program that may have ended already.
    #[track_caller]
    pub fn start_and_end(&self) {
        self.call("start", &[]).ok();
    }

    /// What `state` prints.
    #[track_caller]
    pub fn state(&self) -> Value {
        serde_json::from_str(&self.call("state", &[]).ok().stdout).unwrap()
    }

    /// The status that `state` prints.
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// `kill ID SIGNAL`.
    #[track_caller]
    pub fn kill(&self, signal: &str) -> Output {
        self.call("kill", &[signal])
    }

    /// `delete` with flags.
    #[track_caller]
    pub fn delete(&self, flags: &[&str]) -> Output {
        self.bundle.call(&[&["delete"], flags, &[self.id()]].concat())
    }

    /// Waits until the runtime says that it stopped.
    #[track_caller]
    pub fn wait_stopped(&self) {
        wait_until("the container has stopped", || self.status() == "stopped");
    }

    /// The value at a path of `state`, as text.
    #[track_caller]
    pub fn state_of(&self, pointer: &str) -> String {
        self.state().pointer(pointer).map(ToString::to_string).unwrap_or_default()
    }

    /// What the container wrote to its output and error so far.
    pub fn output(&self) -> String {
        self.files.iter().map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect()
    }

    /// Waits until the container wrote `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        wait_until(&format!("the container wrote {text}"), || self.output().contains(text));
    }
}

//! What create and exec plan alike: what becomes of a process that stands in the container.

use crate::{
    cred,
    error::Result,
    host::caller::Caller,
    seccomp,
    spec::{Config, Linux, Process},
};
use std::collections::HashSet;

/// What becomes of a process that stands in the container: create's init, and every later one of exec.
#[derive(Debug, Default)]
pub struct Execution {
    /// Done to the process by pid.
    pub outside: Vec<cred::OutsideOp>,
    /// Done by the process to itself.
    pub inside: Vec<cred::InsideOp>,
    /// What it executes; none where config.json has no process.
    pub program: Option<Program>,
    /// `process.consoleSize`: rows and columns of the terminal.
    pub console_size: Option<(u16, u16)>,
    /// A filter of the runtime's own, which the one of the configuration can only add to.
    pub guard: Option<seccomp::plan::Filter>,
    /// The seccomp filter of the configuration.
    pub filter: Option<seccomp::plan::Filter>,
    /// Signals that the caller ignores, bit n − 1 = signal n; the process is to have the default of each.
    pub ignored_signals: u64,
    /// What it keeps of the caller's descriptors.
    pub descriptors: Descriptors,
}

/// `process.args` and what is needed to find and run them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// `process.args`
    pub args: Vec<String>,
    /// `process.env`, with `LISTEN_*` where descriptors are passed
    pub env: Vec<String>,
    /// Whose home directory `HOME` is.
    pub uid: u32,
}

/// Descriptors of the caller's that the process keeps, beside the standard streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptors {
    /// How many from 3 up: `LISTEN_FDS` and `--preserve-fds`.
    pub kept: i32,
    /// How many of these are passed by `LISTEN_FDS`, sd_listen_fds(3).
    pub listen: i32,
}

/// Annotation: the process keeps the supplementary groups of the caller (crun(1)).
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

impl Execution {
    /// Fills in what `process` decides.
    pub(super) fn become_process(
        &mut self,
        process: &Process,
        linux: &Linux,
        input: &cred::Input<'_>,
    ) -> Result<()> {
        self.outside = cred::outside(process, input)?;
        self.inside = cred::inside(process, linux, input)?;
        self.program = Some(program(process, self.descriptors.listen));
        self.console_size = process.console_size;
        Ok(())
    }
}

fn program(process: &Process, listen_fds: i32) -> Program {
    let mut env = last_of_each(&process.env);
    if listen_fds > 0 {
        for (name, value) in [("LISTEN_FDS", listen_fds), ("LISTEN_PID", 1)] {
            if !env.iter().any(|entry| entry.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))) {
                env.push(format!("{name}={value}"));
            }
        }
    }
    Program { args: process.args.clone(), env, uid: process.user.uid }
}

/// Of entries with the same name the last one: getenv(3) would find the first.
fn last_of_each(env: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut kept: Vec<String> =
        env.iter().rev().filter(|entry| seen.insert(entry.split('=').next())).cloned().collect();
    kept.reverse();
    kept
}

/// The warning about capabilities that are asked for and cannot be had.
pub(super) fn withheld(process: &Process, input: &cred::Input<'_>) -> Option<String> {
    let withheld = cred::plan::withheld(process, input);
    (withheld != 0).then(|| format!("process.capabilities: the kernel cannot grant {withheld:#x}"))
}

pub(super) fn groups(config: &Config) -> cred::Groups {
    match config.annotations.get(KEEP_GROUPS).map(String::as_str) {
        Some("1") => cred::Groups::Callers,
        _ => cred::Groups::Additional,
    }
}

pub(super) fn authority(caller: &Caller) -> cred::Authority {
    if caller.is_host_root() { cred::Authority::Host } else { cred::Authority::Limited }
}

pub(super) fn held(caller: &Caller, user_namespace: bool) -> cred::Held {
    match user_namespace {
        true => cred::Held::ALL,
        false => cred::Held { permitted: caller.permitted, bounding: caller.bounding },
    }
}

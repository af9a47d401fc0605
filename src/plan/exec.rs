//! The plan of `exec`: the process of a container that stands already.

use super::{
    Descriptors, Execution, execution,
    explain::{self, Actor, Step},
};
use crate::{
    cred,
    error::Result,
    host::caller::Caller,
    lsm,
    ns::idmap::Outside,
    seccomp,
    spec::{Config, NamespaceKind, Process},
};
use std::fmt::{self, Display, Formatter};

/// What the caller asks for, beyond the process.
#[derive(Clone, Debug)]
pub struct Request {
    /// The container's id.
    pub id: String,
    /// What becomes of the session keyring.
    pub keyring: cred::Keyring,
    /// What the process keeps.
    pub descriptors: Descriptors,
    /// Whether the container is hardened.
    pub hardened: bool,
    /// Whether the caller waits for the process to end.
    pub foreground: bool,
}

/// What the host says.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Who calls.
    pub caller: Caller,
    /// The namespaces of the container's init that are not the caller's.
    pub apart: Vec<NamespaceKind>,
    /// The container's ids as the caller sees them.
    pub outside: Outside,
    /// `/proc/PID/setgroups` of init.
    pub setgroups: cred::Setgroups,
    /// The security modules.
    pub lsm: lsm::Facts,
}

/// Everything that is going to happen to make a process in a container, decided.
#[derive(Debug)]
pub struct Plan {
    /// What the stage does to itself while it still stands outside; the process inherits it.
    pub before: Vec<cred::OutsideOp>,
    /// The namespaces that the stage joins.
    pub joins: Vec<NamespaceKind>,
    /// Whether the stage shows itself to its own user while it is outside: without CAP_SYS_PTRACE it could not write to
    /// its own files in /proc.
    pub shows_itself: bool,
    /// Whether the process gets a terminal of the container's.
    pub terminal: bool,
    /// Whether the process ends when the caller is killed: whoever reads its output would wait for ever.
    pub dies_with_caller: bool,
    /// What becomes of the process.
    pub execution: Execution,
    /// For the log: what was asked for and is not going to happen.
    pub warnings: Vec<String>,
}

impl Plan {
    /// The steps from the first to execve(2).
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut add = |actor, name, text: String| steps.push(Step { actor, name, text });
        for op in &self.before {
            add(Actor::Stage, "inherited", op.to_string());
        }
        let kinds: Vec<_> = self.joins.iter().map(|kind| kind.word()).collect();
        add(Actor::Stage, "join", format!("join the container's namespaces: {}", kinds.join(" ")));
        add(Actor::Stage, "birth", "give birth to the process".to_owned());
        for op in &self.execution.outside {
            add(Actor::Runtime, op.name(), op.to_string());
        }
        if self.terminal {
            add(Actor::Process, "terminal", "make a terminal of the container's devpts".to_owned());
        }
        for op in &self.execution.inside {
            add(Actor::Process, op.name(), op.to_string());
        }
        if self.dies_with_caller {
            add(Actor::Process, "end with the caller", "end when the caller is killed".to_owned());
        }
        if let Some(program) = &self.execution.program {
            add(Actor::Process, "look-up", explain::look_up(program));
        }
        explain::execution(&self.execution, Actor::Process, &mut add);
        steps
    }
}

impl Display for Plan {
    /// One step a line, below the name of the process that does it; then the warnings.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        explain::write(f, &self.steps())?;
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}

/// Decides everything. `config` is the container's own.
pub fn plan(config: &Config, process: &Process, request: &Request, facts: &Facts) -> Result<Plan> {
    let caller = &facts.caller;
    let user_namespace = facts.apart.contains(&NamespaceKind::User);
    let filter = config.linux.seccomp.as_ref().map(seccomp::plan::plan).transpose()?;
    let input = cred::Input {
        id: &request.id,
        authority: execution::authority(caller),
        user_namespace,
        verb: cred::Verb::Exec,
        keyring: request.keyring,
        groups: execution::groups(config),
        setgroups: facts.setgroups,
        maps: &facts.outside,
        held: execution::held(caller, user_namespace),
        keep_for_filter: filter.is_some(),
        lsm: facts.lsm,
    };
    let mut execution = Execution {
        guard: request.hardened.then(seccomp::guard::plan).transpose()?,
        filter,
        ignored_signals: caller.ignored,
        descriptors: request.descriptors,
        ..Execution::default()
    };
    execution.become_process(process, &config.linux, &input)?;
    Ok(Plan {
        before: cred::before(process, &input),
        joins: facts.apart.clone(),
        shows_itself: !caller.can_ptrace(),
        terminal: process.terminal,
        dies_with_caller: request.foreground,
        execution,
        warnings: execution::withheld(process, &input).into_iter().collect(),
    })
}

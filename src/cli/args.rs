//! What the user typed, in types; nothing is looked up or made absolute yet.

use super::exec::ExecArgs;
use crate::{
    ns::choice::Choice,
    plan::proc_mount::ProcMount,
    state::{ContainerId, Driver},
};
use serde_json::Value;
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// The flags before the verb.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Globals {
    /// `--root`
    pub root: Option<PathBuf>,
    /// `--log`
    pub log: Option<OsString>,
    /// `--log-format`
    pub log_format: LogFormat,
    /// `--log-level`, or debug by `--debug`
    pub log_level: LogLevel,
    /// `--systemd-cgroup` and `--cgroup-manager`; "disabled" wins, then the flag for systemd.
    pub driver: Driver,
}

/// `--log-format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// A sentence a line.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// `--log-level`: the least level that is logged. Podman reads the whole log as one JSON object, so that without the flag
/// the error must be alone in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What made the command fail.
    #[default]
    Error,
    /// What the user should know and the command could do without.
    Warning,
    /// What the command did.
    Info,
    /// How it did it.
    Debug,
}

/// What urun is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `create`
    Create(CreateArgs),
    /// `run`
    Run(RunArgs),
    /// `start ID`
    Start(ContainerId),
    /// `exec`
    Exec(ExecArgs),
    /// `state ID`
    State(ContainerId),
    /// `kill`
    Kill(KillArgs),
    /// `delete`
    Delete(DeleteArgs),
    /// `list`
    List(ListForm),
    /// `ps`
    Ps(PsArgs),
    /// `ids ID`, as JSON or not
    Ids(ContainerId, bool),
    /// `pause ID`
    Pause(ContainerId),
    /// `resume ID`
    Resume(ContainerId),
    /// `update`
    Update(UpdateArgs),
    /// `events`
    Events(EventsArgs),
    /// `spec`
    Spec(SpecArgs),
    /// `gc`
    Gc,
    /// `features`
    Features,
    /// `--version`
    Version,
    /// `help`, `--help`: the text
    Help(String),
}

/// What `create` and `run` have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateArgs {
    /// The positional.
    pub target: Target,
    /// `--bundle`
    pub bundle: Option<PathBuf>,
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--console-socket`
    pub console_socket: Option<PathBuf>,
    /// `--pid-file`
    pub pid_file: Option<PathBuf>,
    /// `--pidfd-socket`
    pub pidfd_socket: Option<PathBuf>,
    /// `--preserve-fds`
    pub preserve_fds: u32,
    /// `--proc-mount`
    pub proc_mount: Option<ProcMount>,
    /// `--userns`
    pub userns: Option<Choice>,
    /// `--hardened`, where it was typed
    pub hardened: Option<bool>,
    /// `--no-pivot`
    pub no_pivot: bool,
    /// `--no-new-keyring`
    pub no_new_keyring: bool,
}

/// The positional of `create` and `run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The name of the container.
    Id(ContainerId),
    /// An argument with a slash, which no id has: the bundle.
    Bundle(PathBuf),
}

/// `run`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunArgs {
    /// What it has in common with `create`.
    pub create: CreateArgs,
    /// `--detach`
    pub detach: bool,
    /// `--keep`
    pub keep: bool,
    /// `--no-subreaper`
    pub no_subreaper: bool,
}

/// One container, or every one whose id matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// By id.
    One(ContainerId),
    /// `--regex`: by a POSIX extended regular expression.
    Matching(String),
}

/// `kill`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillArgs {
    /// Which ones.
    pub containers: Selection,
    /// As typed; TERM when nothing was.
    pub signal: String,
    /// `--all`
    pub all: bool,
}

/// `delete`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteArgs {
    /// Which ones.
    pub containers: Selection,
    /// `--force`
    pub force: bool,
}

/// How `list` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListForm {
    /// Columns for people.
    Table,
    /// An array of state objects.
    Json,
    /// Only ids.
    Quiet,
}

/// `ps`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PsArgs {
    /// Whose processes.
    pub id: ContainerId,
    /// `--format json`: only the pids. Otherwise what ps(1) prints about them.
    pub json: bool,
    /// For ps(1).
    pub args: Vec<OsString>,
}

/// `update`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateArgs {
    /// Whose limits.
    pub id: ContainerId,
    /// What the limits become.
    pub resources: ResourcesFrom,
    /// `--l3-cache-schema`
    pub l3_cache_schema: Option<String>,
    /// `--mem-bw-schema`
    pub mem_bw_schema: Option<String>,
}

/// Where `update` finds a `linux.resources` document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourcesFrom {
    /// `--resources -`
    Stdin,
    /// `--resources FILE`
    File(PathBuf),
    /// The flags for single values, as such a document.
    Flags(Value),
}

/// `events`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsArgs {
    /// Whose events.
    pub id: ContainerId,
    /// When.
    pub form: EventsForm,
}

/// When `events` prints what a container uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventsForm {
    /// `--stats`: now.
    Once,
    /// `--interval`: again and again, with a line for each kill for want of memory.
    Every(Duration),
}

/// `spec`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecArgs {
    /// `--bundle`
    pub bundle: Option<PathBuf>,
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--proc-mount`
    pub proc_mount: Option<ProcMount>,
    /// `--userns`
    pub userns: Option<Choice>,
    /// `--rootless`
    pub rootless: bool,
}

//! What the user typed, in types; nothing is looked up or made absolute yet.

use super::{
    exec::ExecArgs,
    limits::{self, FLAGS, Kind, Limit},
};
use crate::{
    bail,
    error::{Error, Result},
    plan::proc_mount::ProcMount,
    state::{ContainerId, Driver},
};
use clap::ArgMatches;
use serde_json::{Value, json};
use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    time::Duration,
};

/// `--interval` of `events` where it is not given, as in runc.
const INTERVAL: Duration = Duration::from_secs(5);

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
    /// `--rootless`
    pub rootless: bool,
}

/// Typed access to what clap found.
pub(super) struct Matches(pub(super) ArgMatches);

impl Matches {
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.0.get_one::<bool>(name).copied().unwrap_or(false)
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.get_one::<PathBuf>(name).filter(|path| !path.as_os_str().is_empty()).cloned()
    }

    fn word(&self, name: &str) -> &str {
        self.0.get_one::<String>(name).map_or("", String::as_str)
    }

    fn positional(&self, name: &str) -> Option<&OsStr> {
        self.0.get_one::<OsString>(name).map(OsString::as_os_str)
    }

    /// The words behind the other positionals, without a `--` that separates them.
    pub(super) fn trailing(&self, name: &str) -> Vec<OsString> {
        let mut words: Vec<OsString> = self.0.get_many(name).into_iter().flatten().cloned().collect();
        if words.first().is_some_and(|word| word == "--") {
            words.remove(0);
        }
        words
    }

    pub(super) fn id(&self) -> Result<ContainerId> {
        match self.positional("id") {
            Some(text) => text.to_string_lossy().parse(),
            None => Err(Error::new("a container ID is needed").hint("urun list shows the containers")),
        }
    }

    fn selection(&self) -> Result<Selection> {
        match self.positional("id") {
            Some(text) if self.is_set("regex") => {
                Ok(Selection::Matching(text.to_string_lossy().into_owned()))
            }
            _ => self.id().map(Selection::One),
        }
    }

    fn proc_mount(&self) -> Option<ProcMount> {
        self.word("proc-mount").parse().ok()
    }

    pub(super) fn globals(&self) -> Globals {
        let level = match self.word("log-level") {
            _ if self.is_set("debug") => LogLevel::Debug,
            "debug" => LogLevel::Debug,
            "info" => LogLevel::Info,
            "warning" => LogLevel::Warning,
            _ => LogLevel::Error,
        };
        let driver = match self.word("cgroup-manager") {
            // Podman's word for one container, beside the flag for all.
            "disabled" => Driver::Disabled,
            _ if self.is_set("systemd-cgroup") => Driver::Systemd,
            "systemd" => Driver::Systemd,
            _ => Driver::Cgroupfs,
        };
        Globals {
            root: self.path("root"),
            log: self.0.get_one::<OsString>("log").filter(|text| !text.is_empty()).cloned(),
            log_format: if self.word("log-format") == "json" { LogFormat::Json } else { LogFormat::Text },
            log_level: level,
            driver,
        }
    }

    /// The command of a verb that the flag tables know.
    pub(super) fn command(&self, verb: &str) -> Result<Command> {
        Ok(match verb {
            "create" => Command::Create(self.create()?),
            "run" => Command::Run(RunArgs {
                create: self.create()?,
                detach: self.is_set("detach"),
                keep: self.is_set("keep"),
                no_subreaper: self.is_set("no-subreaper"),
            }),
            "start" => Command::Start(self.id()?),
            "exec" => Command::Exec(self.exec()?),
            "state" => Command::State(self.id()?),
            "kill" => Command::Kill(self.kill()?),
            "delete" => {
                Command::Delete(DeleteArgs { containers: self.selection()?, force: self.is_set("force") })
            }
            "list" => Command::List(match self.word("format") {
                _ if self.is_set("quiet") => ListForm::Quiet,
                "json" => ListForm::Json,
                _ => ListForm::Table,
            }),
            "ps" => Command::Ps(PsArgs {
                id: self.id()?,
                json: self.word("format") == "json",
                args: self.trailing("args"),
            }),
            "update" => Command::Update(UpdateArgs {
                id: self.id()?,
                resources: self.resources()?,
                l3_cache_schema: self.0.get_one("l3-cache-schema").cloned(),
                mem_bw_schema: self.0.get_one("mem-bw-schema").cloned(),
            }),
            "events" => Command::Events(EventsArgs {
                id: self.id()?,
                form: match self.is_set("stats") {
                    true => EventsForm::Once,
                    false => EventsForm::Every(self.0.get_one("interval").copied().unwrap_or(INTERVAL)),
                },
            }),
            "pause" => Command::Pause(self.id()?),
            "resume" => Command::Resume(self.id()?),
            "spec" => Command::Spec(SpecArgs {
                bundle: self.path("bundle"),
                config: self.path("config"),
                proc_mount: self.proc_mount(),
                rootless: self.is_set("rootless"),
            }),
            "features" => Command::Features,
            other => bail!("unknown command {other:?}"),
        })
    }

    fn create(&self) -> Result<CreateArgs> {
        let bundle = self.path("bundle");
        let target = match self.positional("id") {
            Some(text) => Target::from_typed(text)?,
            None => {
                return Err(Error::new("a container ID or a bundle directory is needed")
                    .hint("urun run ./DIR runs the bundle in DIR"));
            }
        };
        if let (Some(bundle), Target::Bundle(other)) = (&bundle, &target) {
            bail!("two bundles: {} and --bundle {}", other.display(), bundle.display());
        }
        Ok(CreateArgs {
            target,
            bundle,
            config: self.path("config"),
            console_socket: self.path("console-socket"),
            pid_file: self.path("pid-file"),
            pidfd_socket: self.path("pidfd-socket"),
            preserve_fds: self.0.get_one("preserve-fds").copied().unwrap_or(0),
            proc_mount: self.proc_mount(),
            no_pivot: self.is_set("no-pivot"),
            no_new_keyring: self.is_set("no-new-keyring"),
        })
    }

    fn resources(&self) -> Result<ResourcesFrom> {
        let mut document = json!({});
        let mut first = None;
        for Limit { flag, pointer, kind, .. } in FLAGS {
            let value = match kind {
                Kind::Text(_) => self.0.get_one::<String>(flag).map(|text| json!(text)),
                Kind::Number(_) | Kind::Bytes => self.0.get_one::<i64>(flag).map(|number| json!(number)),
            };
            let Some(value) = value else { continue };
            first.get_or_insert(flag);
            limits::put(&mut document, pointer, value);
        }
        match (self.path("resources"), first) {
            (Some(file), Some(flag)) => {
                bail!("--{flag}: --resources {} gives the limits already", file.display())
            }
            (Some(file), None) if file.as_os_str() == "-" => Ok(ResourcesFrom::Stdin),
            (Some(file), None) => Ok(ResourcesFrom::File(file)),
            (None, _) => Ok(ResourcesFrom::Flags(document)),
        }
    }

    fn kill(&self) -> Result<KillArgs> {
        let signal = self.positional("signal").map_or("TERM".into(), OsStr::to_string_lossy);
        Ok(KillArgs { containers: self.selection()?, signal: signal.into_owned(), all: self.is_set("all") })
    }
}

impl Target {
    fn from_typed(text: &OsStr) -> Result<Self> {
        let is_path = text.as_encoded_bytes().contains(&b'/');
        Ok(if is_path { Self::Bundle(text.into()) } else { Self::Id(text.to_string_lossy().parse()?) })
    }
}

//! From what clap found to what the user typed.

use super::{
    args::{
        Command, CreateArgs, DeleteArgs, EventsArgs, EventsForm, Globals, KillArgs, ListForm, LogFormat,
        LogLevel, PsArgs, ResourcesFrom, RunArgs, Selection, SpecArgs, Target, UpdateArgs,
    },
    limits::{self, FLAGS, Kind, Limit},
};
use crate::{
    bail,
    error::{Context, Error, Result},
    ns::choice::Choice,
    plan::proc_mount::ProcMount,
    state::{ContainerId, Driver},
};
use clap::ArgMatches;
use serde_json::json;
use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    time::Duration,
};

/// `--interval` of `events` where it is not given, as in runc.
const INTERVAL: Duration = Duration::from_secs(5);

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

    fn userns(&self) -> Result<Option<Choice>> {
        let text = self.0.get_one::<String>("userns");
        text.map(|text| text.parse()).transpose().context("--userns")
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
            "ids" => Command::Ids(self.id()?, self.word("format") == "json"),
            "pause" => Command::Pause(self.id()?),
            "resume" => Command::Resume(self.id()?),
            "spec" => Command::Spec(SpecArgs {
                bundle: self.path("bundle"),
                config: self.path("config"),
                proc_mount: self.proc_mount(),
                userns: self.userns()?,
                rootless: self.is_set("rootless"),
            }),
            "gc" => Command::Gc,
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
            userns: self.userns()?,
            hardened: self.0.get_one("hardened").copied(),
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

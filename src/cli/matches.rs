//! From the words of a command line to what they ask for.

use super::{
    args::{
        Command, CreateArgs, DeleteArgs, EventsArgs, EventsForm, Globals, KillArgs, ListForm, LogFormat,
        LogLevel, PsArgs, ResourcesFrom, RunArgs, Selection, SpecArgs, Target, UpdateArgs,
    },
    flag::{Flag, Takes},
    limits::{self, FLAGS, Limit},
    parse::{self, Words},
    quantity,
};
use crate::{
    bail,
    error::{Context, Error, Result},
    ns::choice::Choice,
    plan::proc_mount::ProcMount,
    state::{ContainerId, Driver},
};
use serde_json::json;
use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

/// `--interval` of `events` where it is not given, as in runc.
const INTERVAL: Duration = Duration::from_secs(5);

/// Typed access to the words of a command line; of a flag that is given more than once the last one counts.
pub(super) struct Matches(pub(super) Words);

impl Matches {
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.switch(name).unwrap_or(false)
    }

    fn switch(&self, name: &str) -> Option<bool> {
        self.text(name).and_then(parse::switch)
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.last(name).map(PathBuf::from)
    }

    /// Every value of a flag.
    pub(super) fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &OsStr> {
        self.0.given.iter().filter(move |(flag, _)| *flag == name).map(|(_, value)| value.as_os_str())
    }

    fn last(&self, name: &str) -> Option<&OsStr> {
        self.all(name).next_back()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.last(name)?.to_str()
    }

    /// The last value of a flag that takes numbers.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    fn word(&self, name: &str) -> &str {
        self.text(name).unwrap_or_default()
    }

    fn operand(&self, index: usize) -> Option<&OsStr> {
        self.0.operands.get(index).map(OsString::as_os_str)
    }

    /// The words behind the id, without a `--` that separates them.
    pub(super) fn trailing(&self) -> &[OsString] {
        match self.0.operands.get(1..).unwrap_or_default() {
            [dashes, words @ ..] if dashes == "--" => words,
            words => words,
        }
    }

    pub(super) fn id(&self) -> Result<ContainerId> {
        match self.operand(0) {
            Some(text) => text.to_string_lossy().parse(),
            None => Err(Error::new("a container ID is needed").hint("urun list shows the containers")),
        }
    }

    fn selection(&self) -> Result<Selection> {
        match self.operand(0) {
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
        let text = self.text("userns");
        text.map(str::parse).transpose().context("--userns")
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
            log: self.last("log").filter(|text| !text.is_empty()).map(OsStr::to_owned),
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
                args: self.trailing().to_vec(),
            }),
            "update" => Command::Update(UpdateArgs {
                id: self.id()?,
                resources: self.resources()?,
                l3_cache_schema: self.text("l3-cache-schema").map(str::to_owned),
                mem_bw_schema: self.text("mem-bw-schema").map(str::to_owned),
            }),
            "events" => Command::Events(EventsArgs {
                id: self.id()?,
                form: match self.is_set("stats") {
                    true => EventsForm::Once,
                    false => EventsForm::Every(self.interval().unwrap_or(INTERVAL)),
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
        let target = match self.operand(0) {
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
            preserve_fds: self.number("preserve-fds").unwrap_or(0),
            proc_mount: self.proc_mount(),
            userns: self.userns()?,
            hardened: self.switch("hardened"),
            no_pivot: self.is_set("no-pivot"),
            no_new_keyring: self.is_set("no-new-keyring"),
        })
    }

    fn interval(&self) -> Option<Duration> {
        quantity::duration(self.text("interval")?).ok()
    }

    fn resources(&self) -> Result<ResourcesFrom> {
        let mut document = json!({});
        let mut first = None;
        for Limit { flag: Flag { name, takes, .. }, pointer } in FLAGS {
            let value = match takes {
                Takes::Integer(_) => self.number::<i64>(name).map(|number| json!(number)),
                Takes::Size(_) => {
                    self.text(name).and_then(|text| quantity::bytes(text).ok()).map(|size| json!(size))
                }
                _ => self.text(name).map(|text| json!(text)),
            };
            let Some(value) = value else { continue };
            first.get_or_insert(name);
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
        let signal = self.operand(1).map_or("TERM".into(), OsStr::to_string_lossy);
        Ok(KillArgs { containers: self.selection()?, signal: signal.into_owned(), all: self.is_set("all") })
    }
}

impl Target {
    fn from_typed(text: &OsStr) -> Result<Self> {
        let is_path = text.as_encoded_bytes().contains(&b'/');
        Ok(if is_path { Self::Bundle(text.into()) } else { Self::Id(text.to_string_lossy().parse()?) })
    }
}

//! The command line: the union of what runc and crun accept and engines send.
//!
//! Flags of urun itself come before the verb, in any order and as often as the caller likes (the last one counts);
//! `--flag=value`, `--flag value` and `-flag` are the same. The front part is parsed first, so that an error in the
//! rest already goes to the log that the caller asked for.

pub mod args;
mod exec;
mod flags;
mod help;
mod limits;
mod matches;
mod quantity;
pub mod request;
mod split;

pub use args::{
    Command, CreateArgs, DeleteArgs, EventsArgs, EventsForm, Globals, KillArgs, ListForm, LogFormat,
    LogLevel, PsArgs, ResourcesFrom, RunArgs, Selection, SpecArgs, Target, UpdateArgs,
};
pub use exec::{ExecArgs, ExecCommand, ExecProgram};
pub use request::{CreateRequest, ExecRequest, Name, state_root};

use crate::error::{Error, Result};
use clap::{
    Arg,
    error::{ContextKind, ContextValue, ErrorKind},
};
use matches::Matches;
use std::ffi::OsString;

/// An argument vector whose front part has been understood.
#[derive(Debug)]
pub struct Line {
    /// The flags before the verb.
    pub globals: Globals,
    wants: Wants,
    rest: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    Verb,
    Version,
    Help,
}

impl Line {
    /// Parses the flags before the verb; `argv` is without the program's name.
    pub fn parse(argv: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let args = flags::globals();
        let split = split::leading(&args, argv);
        let matches = matches("urun", args, split.flags)?;
        let wants = match () {
            () if matches.is_set("help") => Wants::Help,
            () if matches.is_set("version") => Wants::Version,
            () => Wants::Verb,
        };
        Ok(Self { globals: matches.globals(), wants, rest: split.rest })
    }

    /// Whether the verb is `exec`, whose failures have an exit code of their own.
    pub fn is_exec(&self) -> bool {
        self.rest.first().is_some_and(|verb| verb == "exec")
    }

    /// Parses the verb and what follows it.
    pub fn command(mut self) -> Result<Command> {
        match self.wants {
            Wants::Version => return Ok(Command::Version),
            Wants::Help => return Ok(Command::Help(help::overview())),
            Wants::Verb if self.rest.is_empty() => return Ok(Command::Help(help::overview())),
            Wants::Verb => {}
        }
        let name = self.rest.remove(0).to_string_lossy().into_owned();
        if name == "help" {
            return match self.rest.first() {
                None => Ok(Command::Help(help::overview())),
                Some(topic) => Ok(Command::Help(help::verb(find(&topic.to_string_lossy())?))),
            };
        }
        let verb = find(&name)?;
        let mut args = (verb.args)();
        args.push(Arg::new("help").short('h').long("help").num_args(0).action(clap::ArgAction::SetTrue));
        let argv = split::whole(&args, verb.flags_end, self.rest);
        let matches = matches(verb.name, args, argv)?;
        if matches.is_set("help") {
            return Ok(Command::Help(help::verb(verb)));
        }
        matches.command(verb.name).map_err(|error| error.context(format_args!("urun {}", verb.name)))
    }
}

fn find(name: &str) -> Result<&'static flags::Verb> {
    if let Some(verb) = flags::VERBS.iter().find(|verb| verb.name == name) {
        return Ok(verb);
    }
    if flags::LATER.contains(&name) {
        return Err(Error::new(format_args!(
            "the command {name} is not supported yet by this version of urun"
        )));
    }
    Err(Error::new(format_args!("unknown command {name:?}")).hint("urun --help lists the commands"))
}

/// Lets clap match `argv` against `args`.
fn matches(name: &'static str, args: Vec<Arg>, argv: Vec<OsString>) -> Result<Matches> {
    let switches: Vec<String> =
        args.iter().filter(|arg| arg.get_long().is_some()).map(|arg| arg.get_id().to_string()).collect();
    let command = clap::Command::new(name)
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .args(args);
    command.try_get_matches_from(argv).map(Matches).map_err(|error| one_line(name, &switches, &error))
}

/// clap explains on several lines; engines read one.
fn one_line(name: &str, known: &[String], error: &clap::Error) -> Error {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let program = if name == "urun" { name.to_owned() } else { format!("urun {name}") };
    // clap names a flag with its value: `--root <DIR>`.
    let flag = context(ContextKind::InvalidArg);
    let bare = flag.split([' ', '=', '[']).next().unwrap_or_default();
    let value = context(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument if flag.starts_with('-') => {
            let error = Error::new(format_args!("{program}: unknown flag {flag}"));
            let is_global = flags::globals().iter().any(|arg| arg.get_long() == flag.strip_prefix("--"));
            if is_global && !known.is_empty() {
                return error.hint(format_args!("{flag} goes before the command: urun {flag} … {name}"));
            }
            error.hint(format_args!("{program} --help lists the flags"))
        }
        ErrorKind::UnknownArgument => Error::new(format_args!("{program}: unexpected argument {flag:?}"))
            .hint(format_args!("{program} --help shows the usage")),
        ErrorKind::InvalidValue if value.is_empty() => {
            Error::new(format_args!("{program}: flag needs an argument: {bare}"))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            Error::new(format_args!("{program}: invalid value {value:?} for {bare}{}", expected(error)))
        }
        other => Error::new(format_args!("{program}: {other} {flag}")),
    }
}

/// What a flag would have taken.
fn expected(error: &clap::Error) -> String {
    if let Some(ContextValue::Strings(words)) = error.get(ContextKind::ValidValue) {
        return format!(" (one of {})", words.join(", "));
    }
    std::error::Error::source(error).map(|cause| format!(" ({cause})")).unwrap_or_default()
}

#[cfg(test)]
mod tests;

//! The command line: the union of what runc and crun accept and engines send.
//!
//! Flags of urun itself come before the verb, in any order and as often as the caller likes (the last one counts);
//! `--flag=value`, `--flag value` and `-flag` are the same. The front part is parsed first, so that an error in the
//! rest already goes to the log that the caller asked for.

pub mod args;
mod exec;
mod flag;
mod flags;
mod help;
mod limits;
mod matches;
mod parse;
mod quantity;
pub mod request;

pub use args::{
    Command, CreateArgs, DeleteArgs, EventsArgs, EventsForm, Globals, KillArgs, ListForm, LogFormat,
    LogLevel, PsArgs, ResourcesFrom, RunArgs, Selection, SpecArgs, Target, UpdateArgs,
};
pub use exec::{ExecArgs, ExecCommand, ExecProgram};
pub use request::{CreateRequest, ExecRequest, Name, state_root};

use crate::error::{Error, Result};
use matches::Matches;
use parse::Grammar;
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
        let flags = flags::GLOBALS.iter().collect();
        let words = Grammar { program: "urun", flags, end: flags::FlagsEnd::FirstPositional }.read(argv)?;
        let matches = Matches(words);
        let wants = match () {
            () if matches.is_set("help") => Wants::Help,
            () if matches.is_set("version") => Wants::Version,
            () => Wants::Verb,
        };
        Ok(Self { globals: matches.globals(), wants, rest: matches.0.operands })
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
        let program = format!("urun {}", verb.name);
        let mut flags = (verb.flags)();
        flags.push(&flags::HELP);
        let words = Grammar { program: &program, flags, end: verb.flags_end }.read(self.rest)?;
        let matches = Matches(words);
        if matches.is_set("help") {
            return Ok(Command::Help(help::verb(verb)));
        }
        if let Some(extra) = matches.0.operands.get(verb.operands) {
            let shown = extra.to_string_lossy();
            return Err(Error::new(format_args!("{program}: unexpected argument {shown:?}"))
                .hint(format_args!("{program} --help shows the usage")));
        }
        matches.command(verb.name).map_err(|error| error.context(program))
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

#[cfg(test)]
mod tests;

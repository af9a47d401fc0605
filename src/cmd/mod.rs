//! One verb a file, glue only.

pub mod create;
pub mod delete;
pub mod events;
pub mod exec;
mod facts;
pub mod gc;
mod group;
mod hooks;
pub mod host_state;
pub mod ids;
pub mod kill;
pub mod list;
pub mod make;
mod notify;
pub mod pause;
mod pid_file;
mod process;
mod processes;
pub mod ps;
mod ranges;
pub mod resume;
pub mod run;
mod select;
mod serving;
pub mod spec;
pub mod start;
pub mod state;
mod table;
pub mod update;
mod userns;
pub mod view;

use crate::{
    cli::{self, Command, CreateRequest, ExecRequest, Globals},
    error::{Context, Result},
    log::Log,
    state::Store,
};
use std::io::Write;

/// Does what the command line asks for and returns the exit code.
pub fn run(globals: &Globals, command: Command, log: &Log) -> Result<u8> {
    let store = || Store::open(&cli::state_root(globals)?);
    match command {
        Command::State(id) => print(&state::state(&store()?, &id)?)?,
        Command::List(form) => print(&list::list(&store()?, form, log)?)?,
        Command::Kill(args) => kill::kill(&store()?, &args)?,
        Command::Delete(args) => delete::delete(&store()?, &args, log)?,
        Command::Ids(id, json) => print(&ids::ids(&store()?, &id, json)?)?,
        Command::Ps(args) => print(&ps::ps(&store()?, &args)?)?,
        Command::Pause(id) => pause::pause(&store()?, &id)?,
        Command::Resume(id) => resume::resume(&store()?, &id)?,
        Command::Update(args) => update::update(&store()?, &args, log)?,
        Command::Events(args) => events::events(&store()?, &args)?,
        Command::Gc => print(&gc::gc(&store()?, log)?)?,
        Command::Spec(args) => spec::spec(&args, &cli::state_root(globals)?)?,
        Command::Features => print(&(crate::spec::features::document() + "\n"))?,
        Command::Version => print(&version())?,
        Command::Help(text) => print(&text)?,
        Command::Create(args) => create::create(&CreateRequest::from_create(globals, args)?, log)?,
        Command::Run(args) => return run::run(&CreateRequest::from_run(globals, args)?, log),
        Command::Exec(args) => return exec::exec(&ExecRequest::new(globals, args)?, log),
        Command::Start(id) => start::start(&store()?, &id, log)?,
    }
    Ok(0)
}

/// What `--version` prints. moby takes the last word of the line that holds `version` and fails on a second such line.
fn version() -> String {
    let number = env!("CARGO_PKG_VERSION");
    let commit = option_env!("URUN_COMMIT").unwrap_or("unknown");
    format!("urun version {number}\ncommit: {commit}\nspec: {}\n", crate::spec::features::OCI_VERSION_MAX)
}

/// Writes to stdout; a reader that is gone is an error, not a panic.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("write to standard output")
}

#[cfg(test)]
mod tests {
    #[test]
    fn moby_understands_the_version() {
        let text = super::version();
        assert!(text.starts_with("urun version 0."), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains("version")).count(), 1, "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("commit: "), "{text}");
        assert_eq!(text.lines().nth(2), Some("spec: 1.3.0"));
    }
}

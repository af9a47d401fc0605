//! Parse, dispatch, print one error, pick the exit code.

use std::process::ExitCode;
use urun::{
    cli::Line,
    cmd,
    error::{Error, Result},
    hint,
    log::Log,
};

fn main() -> ExitCode {
    // Until it is known where to log to, errors go to stderr alone.
    let mut log = Log::default();
    let mut failure = ExitCode::FAILURE;
    match run(&mut log, &mut failure) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            log.fail(&advise(error));
            failure
        }
    }
}

fn run(log: &mut Log, failure: &mut ExitCode) -> Result<u8> {
    let line = Line::parse(std::env::args_os().skip(1))?;
    if line.is_exec() {
        // Where its exit status is the program's, 1 could be one.
        *failure = ExitCode::from(255);
    }
    *log = Log::open(&line.globals)?;
    let globals = line.globals.clone();
    cmd::run(&globals, line.command()?, log)
}

fn advise(error: Error) -> Error {
    match error.remedy() {
        Some(_) => error,
        None => match hint::remedy(&error, cmd::host_state::facts) {
            Some(remedy) => error.hint(remedy),
            None => error,
        },
    }
}

//! Parse, dispatch, print one error, pick the exit code.
#![no_main]

use urun::{
    cli::Line,
    cmd,
    error::{Error, Result},
    hint,
    host::caller,
    log::Log,
    sys::{
        prctl,
        signal::{self, Set},
    },
};

urun::program!(start);

/// The exit status of whatever failed, where it is not the container's.
const FAILURE: u8 = 1;
/// That of exec: 1 could be the program's own.
const EXEC_FAILURE: u8 = 255;

fn start() -> u8 {
    // Before there is anything to see: no process of a container or of the same user may look into this one or into one
    // that it makes, take its descriptors, or reach the host through its links in /proc (CVE-2016-9962).
    let hidden = prctl::set_dumpable(false);
    // Until it is known where to log to, errors go to stderr alone.
    let mut log = Log::default();
    let mut failure = FAILURE;
    match hidden.and_then(|()| run(&mut log, &mut failure)) {
        Ok(code) => code,
        Err(error) => {
            log.fail(&advise(error));
            failure
        }
    }
}

fn run(log: &mut Log, failure: &mut u8) -> Result<u8> {
    caller::require_own_ids()?;
    // Where the caller ignored it, the kernel would reap our children before we have heard how they ended.
    signal::reset(Set::of(&[signal::CHILD]))?;
    let line = Line::parse(std::env::args_os().skip(1))?;
    if line.is_exec() {
        *failure = EXEC_FAILURE;
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

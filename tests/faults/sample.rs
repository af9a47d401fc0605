//! Which of all faults are tried, and what became of them.

use crate::common::Mode;
use crate::furniture::Shape;
use crate::tracer::{Call, Fault};
use crate::verb::{Stage, Verb};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

/// How long a test tries faults, without `URUN_TEST_FAULTS`.
const SECONDS: u64 = 3;
/// After so many failures a test has said enough.
const ENOUGH: usize = 40;

/// How long to go on; none for every fault.
fn budget() -> Option<Duration> {
    match std::env::var("URUN_TEST_FAULTS").as_deref() {
        Ok("all") => None,
        Ok(seconds) => {
            Some(Duration::from_secs(seconds.parse().expect("URUN_TEST_FAULTS is `all` or a number")))
        }
        Err(_) => Some(Duration::from_secs(SECONDS)),
    }
}

/// The numbers below `length`, each once, any few of them in a row spread over all; they begin elsewhere each second.
fn spread(length: usize) -> impl Iterator<Item = usize> {
    let golden = length * 618 / 1000;
    let step = (golden..length).find(|&step| divisor(step, length) == 1).unwrap_or(1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let first = usize::try_from(now).unwrap() % length.max(1);
    (0..length).map(move |index| (first + index * step) % length)
}

/// The greatest common one.
fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// Tries the faults that `faults` names for each system call of the verb, and fails the test with all that went wrong.
pub fn run(mode: Mode, verb: Verb, shape: Shape, faults: impl Fn(&Call) -> Vec<Fault>) {
    let mut stage = Stage::new(mode, verb, shape);
    let clean = stage.attempt(None).unwrap_or_else(|error| panic!("without a fault: {error}"));
    let all: Vec<(Call, Fault)> = clean
        .calls
        .iter()
        .flat_map(|call| faults(call).into_iter().map(move |fault| (*call, fault)))
        .collect();
    let begin = Instant::now();
    let budget = budget();
    let (mut tried, mut missed, mut tolerated) = (0, 0, 0);
    let mut errnos = BTreeSet::new();
    let mut failures = Vec::new();
    for index in spread(all.len()) {
        if budget.is_some_and(|budget| begin.elapsed() > budget) || failures.len() >= ENOUGH {
            break;
        }
        let (call, fault) = all[index];
        let outcome = catch_unwind(AssertUnwindSafe(|| stage.attempt(Some((call, fault)))));
        let outcome = outcome.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
        });
        tried += 1;
        if let Fault::Fail(errno) = fault {
            errnos.insert(errno);
        }
        match outcome {
            Ok(trace) => {
                missed += usize::from(!trace.struck);
                tolerated += usize::from(trace.struck && trace.output.code == 0);
            }
            Err(why) => {
                let what = match fault {
                    Fault::Kill => "killed".to_owned(),
                    Fault::Fail(errno) => format!("{:?}", nix::errno::Errno::from_raw(errno)),
                };
                let Call { process, count, number, .. } = call;
                failures.push(format!(
                    "{what} at number {count} of system call {number} in process {process}: {why}"
                ));
                stage.renew();
            }
        }
    }
    stage.finish();
    eprintln!(
        "{verb:?} {shape:?} as {mode:?}: {} system calls of {} processes; {tried} of {} faults tried in {:.1} s ({} errnos), \
         {missed} not reached, {tolerated} without effect, {} failures",
        clean.calls.len(),
        clean.pids.len(),
        all.len(),
        begin.elapsed().as_secs_f32(),
        errnos.len(),
        failures.len()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

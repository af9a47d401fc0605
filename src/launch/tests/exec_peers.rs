//! The runtime's side of exec against the same kinds of peers.

use super::{Act, Recorder, TURNS, failure, joined, play};
use crate::{
    error::{Error, Result},
    launch::{
        Launched, exec,
        link::{self, FromInit, FromStage, Go, ToInit},
        start::start,
    },
    plan::{Execution, exec::Plan},
    sys::{clone::Child, pidfd, proc::Proc, scratch},
};
use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use std::os::fd::{AsFd, OwnedFd};

impl exec::Host for Recorder {
    fn born(&mut self, _: &Child) -> Result<()> {
        self.call("born")
    }

    fn terminal(&mut self, _: OwnedFd) -> Result<()> {
        self.call("terminal")
    }

    fn note(&mut self, _: &Error) {
        self.calls.push("note");
    }
}

fn plan() -> Plan {
    Plan {
        before: Vec::new(),
        joins: Vec::new(),
        shows_itself: false,
        terminal: false,
        dies_with_caller: false,
        execution: Execution::default(),
        warnings: Vec::new(),
    }
}

/// A process of exec with these peers; on failure none of them is left.
fn entered(stage: Vec<Act<FromStage>>, process: Vec<Act<FromInit>>, host: &mut Recorder) -> Result<Launched> {
    let (proc, plan) = (Proc::open().unwrap(), plan());
    let (to_stage, stage_end) = link::pair::<Go, FromStage>().unwrap();
    let (to_process, process_end) = link::pair::<ToInit, FromInit>().unwrap();
    let exists = stage.iter().any(|act| matches!(act, Act::SayBorn));
    let process = exists.then(|| scratch::forked(|| play(process_end, process, 0)));
    let pid = process.as_ref().map_or(0, |process| process.pid);
    let stage = scratch::forked(|| play(stage_end, stage, pid));
    let mut pids = vec![stage.pid];
    pids.extend(process.map(|process| process.pid));
    let container = pidfd::open(std::process::id().cast_signed()).unwrap();
    let setting = exec::Setting { plan: &plan, proc: &proc, container: container.as_fd(), cgroup: None };
    let lines = exec::Lines { stage: to_stage, process: to_process };
    let result = exec::serve(&setting, host, stage, lines);
    if result.is_ok() {
        pids.truncate(1);
    }
    for pid in pids {
        assert_eq!(kill(Pid::from_raw(pid), None), Err(Errno::ESRCH), "process {pid} is left");
    }
    result
}

fn stage_until_birth() -> Vec<Act<FromStage>> {
    vec![Act::Say(FromStage::Note(Error::new("a note"))), Act::SayBorn]
}

#[test]
fn a_stage_and_a_process_that_keep_to_the_protocol_enter_a_container() {
    let mut host = Recorder::default();
    let acts = vec![Act::Hear, Act::Say(FromInit::Ready), Act::Hear];
    let mut launched = entered(stage_until_birth(), acts, &mut host).unwrap();
    assert_eq!(host.calls, ["note", "born"]);
    start(&mut launched.link, &launched.init, None, &mut |_| {}).unwrap();
    assert_eq!(pidfd::wait(launched.init.as_fd()).unwrap(), pidfd::Exit::Code(3));
}

#[test]
fn a_stage_that_does_not_go_on_ends_exec() {
    for turn in TURNS {
        let result = entered(turn.act(FromStage::Failed), Vec::new(), &mut Recorder::default());
        turn.check("the stage", &result.unwrap_err());
    }
    let result = entered(vec![Act::Say(FromStage::Maps), Act::Hear], Vec::new(), &mut Recorder::default());
    assert_eq!(result.unwrap_err().to_string(), "the stage of exec says Maps");
}

#[test]
fn a_process_that_does_not_go_on_ends_exec() {
    for turn in TURNS {
        for heard in [Vec::new(), vec![Act::Hear]] {
            let process = joined(heard, turn.act(FromInit::Failed));
            let result = entered(stage_until_birth(), process, &mut Recorder::default());
            turn.check("the process", &result.unwrap_err());
        }
    }
}

#[test]
fn what_fails_on_the_runtimes_side_of_exec_ends_both() {
    let mut host = Recorder { failing: Some("born"), ..Recorder::default() };
    let error = entered(stage_until_birth(), vec![Act::Hear, Act::Hear], &mut host).unwrap_err();
    assert_eq!((&error, host.calls.last()), (&failure(), Some(&"born")));
}

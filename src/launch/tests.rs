//! The runtime's side of a launch against peers that keep to the protocol, that fail, that die and that babble.

use super::{
    Host, Launched, Moment, Park, Setting,
    link::{self, FromAssembler, FromInit, Go, Link, ToInit, Word},
    serve::{Lines, serve},
    start::start,
};
use crate::{
    cgroup, cred,
    error::{Error, Result},
    host::{caller::Caller, cgroups::Cgroups},
    lsm,
    mount::{self, ProcView},
    ns,
    plan::{Descriptors, Plan, create},
    spec::{self, IdMap, example},
    sys::{self, clone::Child, fd, pidfd, proc::Proc, scratch, socket},
};
use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

mod exec_peers;

/// What a peer does next. A peer that is through with its list ends with status 3.
#[derive(Debug)]
enum Act<Says> {
    Say(Says),
    Hear,
    /// What no side ever says.
    Babble,
    /// The assembler's word for an init that really is there.
    SayBorn,
    UnshareUser,
    /// As the kernel does for want of memory.
    Die,
}

/// How a peer behaves when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Turn {
    Fails,
    Dies,
    Babbles,
}

const TURNS: [Turn; 3] = [Turn::Fails, Turn::Dies, Turn::Babbles];

fn failure() -> Error {
    Error::new("cause").context("step").hint("remedy")
}

impl Turn {
    fn act<Says>(self, failed: impl Fn(Error) -> Says) -> Vec<Act<Says>> {
        match self {
            Self::Fails => vec![Act::Say(failed(failure()))],
            Self::Dies => Vec::new(),
            Self::Babbles => vec![Act::Babble, Act::Hear],
        }
    }

    /// The error that the runtime ends with, whole.
    #[track_caller]
    fn check(self, who: &str, error: &Error) {
        match self {
            Self::Fails => {
                assert_eq!((error, error.remedy()), (&failure(), Some("remedy")));
            }
            Self::Dies => {
                assert_eq!(error.to_string(), format!("{who} ended without a word (exit status 3)"));
            }
            Self::Babbles => assert_eq!(error.to_string(), "unexpected word 'z'"),
        }
    }
}

fn play<Says: Word, Hears: Word>(mut link: Link<Says, Hears>, acts: Vec<Act<Says>>, init: i32) -> i32 {
    // A copy of the other side's end would keep the line from ever ending.
    fd::close_except(&mut [link.as_raw_fd()]).unwrap();
    for act in acts {
        match act {
            Act::Say(word) => link.say(&word).unwrap(),
            // The end of the line is the end of the launch.
            Act::Hear => drop(link.hear().unwrap()),
            Act::Babble => socket::send(link.as_fd(), b"z\0\0\0\0", &[]).unwrap(),
            Act::SayBorn => socket::send(link.as_fd(), &born(init), &[]).unwrap(),
            Act::UnshareUser => sys::ns::unshare(libc::CLONE_NEWUSER).unwrap(),
            Act::Die => nix::sys::signal::raise(nix::sys::signal::SIGKILL).unwrap(),
        }
    }
    3
}

fn born(pid: i32) -> Vec<u8> {
    let mut message = b"n\x04\0\0\0".to_vec();
    message.extend(pid.to_le_bytes());
    message
}

/// The runtime's work, recorded.
#[derive(Default)]
struct Recorder {
    calls: Vec<&'static str>,
    /// Hooks take until these have ended.
    hooks_outlive: Vec<OwnedFd>,
    failing: Option<&'static str>,
}

impl Recorder {
    fn call(&mut self, name: &'static str) -> Result<()> {
        self.calls.push(name);
        if self.failing == Some(name) { Err(failure()) } else { Ok(()) }
    }
}

impl Host for Recorder {
    fn born(&mut self, _: &Child) -> Result<()> {
        self.call("born")
    }

    fn hooks(&mut self, _: &Child) -> Result<()> {
        for process in &self.hooks_outlive {
            assert!(pidfd::poll(process.as_fd(), Some(Duration::from_secs(9)))?);
        }
        self.call("hooks")
    }

    fn terminal(&mut self, _: OwnedFd) -> Result<()> {
        self.call("terminal")
    }

    fn proc(&mut self, _: ProcView) {
        self.calls.push("proc");
    }

    fn settle(&mut self) -> Result<()> {
        self.call("settle")
    }

    fn note(&mut self, _: &Error) {
        self.calls.push("note");
    }
}

/// Of a caller without privileges, so that there is a base to map.
fn plan() -> Plan {
    let (euid, egid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let line = |host| vec![IdMap { container: 0, host, size: 1 }];
    let document = example::document(&example::ExampleOptions {
        users: example::Users::Mapped { uids: line(euid), gids: line(egid) },
        rootless: true,
        unmasked: false,
    });
    let request = create::Request {
        id: "box".to_owned(),
        bundle: "/bundle".into(),
        root: mount::Root::Pivot,
        keyring: cred::Keyring::Callers,
        descriptors: Descriptors::default(),
        hardened: false,
        driver: cgroup::plan::Driver::Disabled,
    };
    let facts = create::Facts {
        caller: Caller { euid, egid, initial: true, ..Caller::default() },
        namespaces: ns::plan::Facts { euid, egid, ..ns::plan::Facts::default() },
        cgroups: Cgroups::default(),
        systemd: None,
        lsm: lsm::Facts::default(),
    };
    create::plan(&spec::load(document.as_bytes()).unwrap(), &request, &facts).unwrap()
}

type Script = (Vec<Act<FromAssembler>>, Vec<Act<FromInit>>);

/// Which process's end the hooks wait for, so that the answer to it comes late.
#[derive(Clone, Copy, PartialEq)]
enum Late {
    Nobody,
    /// The runtime itself, which begins when the assembler has ended.
    Runtime,
    Assembler,
    Init,
}

/// A launch with these peers; on failure none of them is left.
fn launch((assembler, init): Script, late: Late, host: &mut Recorder) -> Result<Launched> {
    let (proc, plan) = (Proc::open().unwrap(), plan());
    let (to_assembler, assembler_end) = link::pair::<Go, FromAssembler>().unwrap();
    let (to_init, init_end) = link::pair::<ToInit, FromInit>().unwrap();
    // As in life, there is an init only if the assembler has made one.
    let exists = assembler.iter().any(|act| matches!(act, Act::SayBorn));
    let init = exists.then(|| scratch::forked(|| play(init_end, init, 0)));
    let init_pid = init.as_ref().map_or(0, |init| init.pid);
    let assembler = scratch::forked(|| play(assembler_end, assembler, init_pid));
    let mut pids = vec![assembler.pid];
    pids.extend(init.as_ref().map(|init| init.pid));
    match late {
        Late::Nobody => {}
        Late::Runtime => {
            assert!(pidfd::poll(assembler.pidfd.as_fd(), Some(Duration::from_secs(9))).unwrap());
        }
        Late::Assembler => host.hooks_outlive.push(assembler.pidfd.try_clone().unwrap()),
        Late::Init => host.hooks_outlive.extend(init.map(|init| init.pidfd)),
    }
    let state = |_: Moment, _: i32| Vec::new();
    let park = Park::Line;
    let setting = Setting {
        plan: &plan,
        proc: &proc,
        joins: Vec::new(),
        user: None,
        mount: None,
        cgroup: None,
        park,
        state: &state,
        sees_hidden: true,
    };
    let result = serve(&setting, host, assembler, Lines { assembler: to_assembler, init: to_init });
    if result.is_ok() {
        pids.truncate(1);
    }
    for pid in pids {
        assert_eq!(kill(Pid::from_raw(pid), None), Err(Errno::ESRCH), "process {pid} is left");
    }
    result
}

/// The assembler up to a gate: its words, each with the Go that it waits for.
fn assembler_until(gate: usize) -> Vec<Act<FromAssembler>> {
    let words: [Vec<Act<FromAssembler>>; 5] = [
        vec![Act::UnshareUser, Act::Say(FromAssembler::Base), Act::Hear],
        vec![Act::SayBorn],
        vec![Act::Say(FromAssembler::Place), Act::Hear],
        vec![Act::Say(FromAssembler::Hooks), Act::Hear],
        vec![
            Act::Say(FromAssembler::Note(Error::new("a note"))),
            Act::Say(FromAssembler::Assembled(Some(ProcView::Fresh))),
        ],
    ];
    words.into_iter().take(gate).flatten().collect()
}

const ALL_GATES: usize = 5;

/// init up to a gate: placed, released, started.
fn init_until(gate: usize) -> Vec<Act<FromInit>> {
    let words: [Vec<Act<FromInit>>; 3] = [
        vec![Act::Hear, Act::Say(FromInit::Ready)],
        vec![Act::Hear, Act::Say(FromInit::Note(Error::new("a note"))), Act::Say(FromInit::Ready)],
        vec![Act::Hear],
    ];
    words.into_iter().take(gate).flatten().collect()
}

fn joined<Says>(mut acts: Vec<Act<Says>>, more: Vec<Act<Says>>) -> Vec<Act<Says>> {
    acts.extend(more);
    acts
}

/// A container that waits for its start, whose init then does `acts`.
fn launched(acts: Vec<Act<FromInit>>) -> Launched {
    let init = joined(init_until(3), acts);
    launch((assembler_until(ALL_GATES), init), Late::Nobody, &mut Recorder::default()).unwrap()
}

#[track_caller]
fn start_fails(launched: &mut Launched) -> Error {
    start(&mut launched.link, &launched.init, None, &mut |_| {}).unwrap_err()
}

#[test]
fn peers_that_keep_to_the_protocol_make_a_container() {
    let mut host = Recorder::default();
    let init = joined(init_until(3), vec![Act::Say(FromInit::Note(Error::new("late")))]);
    let mut launched = launch((assembler_until(ALL_GATES), init), Late::Nobody, &mut host).unwrap();
    assert_eq!(host.calls, ["born", "hooks", "note", "proc", "settle", "note"]);
    let mut notes = Vec::new();
    start(&mut launched.link, &launched.init, None, &mut |note| notes.push(note.to_string())).unwrap();
    assert_eq!(notes, ["late"]);
    assert_eq!(pidfd::wait(launched.init.as_fd()).unwrap(), pidfd::Exit::Code(3));
}

#[test]
fn an_assembler_that_does_not_go_on_ends_the_launch_at_every_gate() {
    for gate in 0..ALL_GATES {
        for turn in TURNS {
            let assembler = joined(assembler_until(gate), turn.act(FromAssembler::Failed));
            let init = joined(init_until(1), vec![Act::Hear]);
            let result = launch((assembler, init), Late::Nobody, &mut Recorder::default());
            turn.check("the assembler", &result.unwrap_err());
        }
    }
}

#[test]
fn an_init_that_does_not_go_on_ends_the_launch_at_every_gate() {
    for gate in 0..2 {
        for turn in TURNS {
            let init = joined(init_until(gate), joined(vec![Act::Hear], turn.act(FromInit::Failed)));
            let result = launch((assembler_until(ALL_GATES), init), Late::Nobody, &mut Recorder::default());
            turn.check("the container's init", &result.unwrap_err());
        }
    }
}

#[test]
fn an_assembler_that_asks_and_is_gone_before_the_answer_is_missed() {
    let assembler = joined(assembler_until(3), vec![Act::Say(FromAssembler::Hooks)]);
    let init = joined(init_until(1), vec![Act::Hear]);
    let error = launch((assembler, init), Late::Assembler, &mut Recorder::default()).unwrap_err();
    Turn::Dies.check("the assembler", &error);
}

#[test]
fn an_assembler_that_fails_before_its_ids_are_mapped_is_missed_with_its_last_word() {
    // Without a user namespace of its own its maps are refused.
    let assembler = [FromAssembler::Base, FromAssembler::Failed(failure())].map(Act::Say);
    let error = launch((assembler.into(), Vec::new()), Late::Runtime, &mut Recorder::default()).unwrap_err();
    Turn::Fails.check("the assembler", &error);
}

#[test]
fn what_an_assembler_fails_with_after_init_was_killed_is_not_the_cause() {
    for (end, cause) in [
        (vec![Act::Die], "the container's init ended without a word (SIGKILL)".to_owned()),
        (Vec::new(), failure().to_string()),
    ] {
        let fails =
            vec![Act::Say(FromAssembler::Hooks), Act::Hear, Act::Say(FromAssembler::Failed(failure()))];
        let script = (joined(assembler_until(3), fails), joined(init_until(1), end));
        let error = launch(script, Late::Init, &mut Recorder::default()).unwrap_err();
        assert_eq!(error.to_string(), cause);
    }
}

#[test]
fn an_init_that_is_gone_before_it_is_told_anything_is_missed_with_its_last_word() {
    for turn in [Turn::Fails, Turn::Dies] {
        let init = joined(init_until(1), turn.act(FromInit::Failed));
        let error = launch((assembler_until(ALL_GATES), init), Late::Init, &mut Recorder::default());
        turn.check("the container's init", &error.unwrap_err());
    }
}

#[test]
fn what_init_says_too_early_is_refused() {
    let init =
        joined(init_until(1), vec![Act::Hear, Act::Say(FromInit::Listener { fd: 3, gate: 0 }), Act::Hear]);
    let error = launch((assembler_until(ALL_GATES), init), Late::Nobody, &mut Recorder::default());
    assert_eq!(error.unwrap_err().to_string(), "init loads its filter before it is told to start");
}

#[test]
fn questions_that_make_no_sense_end_the_launch() {
    let hooks = || vec![Act::Say(FromAssembler::Hooks), Act::Hear];
    let nobody = joined(assembler_until(1), vec![Act::Say(FromAssembler::Assembled(None))]);
    for (assembler, cause) in [
        (hooks(), "there is no init yet"),
        (nobody, "the container's init ended without a word (unknown cause)"),
    ] {
        let error = launch((assembler, Vec::new()), Late::Nobody, &mut Recorder::default()).unwrap_err();
        assert_eq!(error.to_string(), cause);
    }
}

#[test]
fn what_fails_on_the_runtimes_side_ends_both() {
    for failing in ["born", "hooks", "settle"] {
        let mut host = Recorder { failing: Some(failing), ..Recorder::default() };
        let error = launch((assembler_until(ALL_GATES), init_until(2)), Late::Nobody, &mut host).unwrap_err();
        assert_eq!((&error, host.calls.last()), (&failure(), Some(&failing)));
    }
}

#[test]
fn a_start_that_fails_is_told_whole() {
    for turn in [Turn::Fails, Turn::Babbles] {
        let mut launched = launched(turn.act(FromInit::Failed));
        turn.check("", &start_fails(&mut launched));
        launched.kill().unwrap();
    }
    let mut launched = launched(vec![Act::Say(FromInit::Ready)]);
    assert_eq!(start_fails(&mut launched).to_string(), "init says that it is ready a second time");
    launched.kill().unwrap();
}

#[test]
fn an_init_that_is_gone_before_its_start_is_missed() {
    let script = (assembler_until(ALL_GATES), init_until(2));
    let mut launched = launch(script, Late::Nobody, &mut Recorder::default()).unwrap();
    assert!(pidfd::poll(launched.init.as_fd(), Some(Duration::from_secs(9))).unwrap());
    Turn::Dies.check("the container's init", &start_fails(&mut launched));
}

#[test]
fn a_word_that_its_hearer_leaves_unread_is_known_at_the_end() {
    let (mut near, far) = link::pair::<ToInit, FromInit>().unwrap();
    far.say(&FromInit::Failed(failure())).unwrap();
    near.tell(&ToInit::Start, &[]).unwrap();
    drop(far);
    assert_eq!(near.hear().unwrap().unwrap().word, FromInit::Failed(failure()), "the last word is not lost");
    assert!(near.hear().unwrap().is_none() && near.left_words_unheard());
}

#[test]
fn a_listener_that_nobody_asked_for_or_that_never_comes_is_an_error() {
    let mut launched = launched(vec![Act::Say(FromInit::Listener { fd: 3, gate: 0 }), Act::Hear]);
    let error = start_fails(&mut launched).to_string();
    assert_eq!(error, "the filter notifies somebody whom nobody named");
    launched.kill().unwrap();

    let listener = crate::seccomp::plan::Listener { path: "/nowhere".into(), metadata: None };
    for turn in [Turn::Dies, Turn::Fails] {
        let mut launched = self::launched(joined(
            vec![Act::Say(FromInit::Listener { fd: 99, gate: 0 })],
            turn.act(FromInit::Failed),
        ));
        let agent = super::start::agent(Some(&listener), b"{}", launched.init.pid).unwrap();
        let error = start(&mut launched.link, &launched.init, agent.as_ref(), &mut |_| {}).unwrap_err();
        match turn {
            Turn::Fails => assert_eq!(error, failure()),
            _ => assert!(error.to_string().contains("ended before its filter was loaded"), "{error}"),
        }
        pidfd::wait(launched.init.as_fd()).unwrap();
    }
}

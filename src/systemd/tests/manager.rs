//! The client against a peer that answers, refuses, keeps silent or goes away.

use super::{
    super::{
        bus::{Address, Bus, Peer},
        manager::{Instance, Manager, Property},
        wire::Value,
    },
    HELLO, job_removed, refusal, reply,
};
use crate::error::Kind;
use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

#[test]
fn addresses_of_the_environment_are_understood() {
    let table = [
        ("unix:path=/run/user/1/bus", Some("/run/user/1/bus")),
        ("unix:guid=ab,path=/a", Some("/a")),
        ("unix:path=/a%20b%2fc,guid=1", Some("/a b/c")),
        ("tcp:host=x;unix:path=/second", Some("/second")),
        ("unix:abstract=/tmp/x", None),
        ("unix:path=/a%2", None),
        ("", None),
    ];
    for (text, path) in table {
        assert_eq!(Address::parse(text).ok().map(|it| it.path), path.map(PathBuf::from), "{text}");
    }
    for address in
        [Address::bus("/x/bus"), Address { path: "/run/systemd/private".into(), peer: Peer::Manager }]
    {
        assert_eq!(Address::parse(&address.to_string()).unwrap(), address);
    }
}

/// Answers in turn: what it waits for, then what it says.
enum Act {
    /// Waits until the client has named all these calls.
    Hear(&'static [&'static str]),
    Say(Vec<u8>),
    /// Waits for whatever the client says next, or for its end.
    Read,
}

/// A peer that ends with its script.
struct Script {
    path: PathBuf,
    thread: Option<JoinHandle<Vec<u8>>>,
}

impl Script {
    fn new(acts: Vec<Act>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("urun-test-bus-{}-{number}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let thread = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            play(socket, acts)
        });
        Self { path, thread: Some(thread) }
    }

    fn bus(&self, patience: u64) -> Bus {
        Bus::connect(Address::bus(&self.path), Duration::from_millis(patience)).unwrap()
    }

    fn manager(&self) -> Manager {
        Manager::of(self.bus(5000))
    }

    /// Everything that the client has said.
    fn heard(mut self) -> String {
        let heard = self.thread.take().unwrap().join().unwrap();
        String::from_utf8_lossy(&heard).into_owned()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn play(mut socket: UnixStream, acts: Vec<Act>) -> Vec<u8> {
    let mut heard: Vec<u8> = Vec::new();
    let mut chunk = [0; 4096];
    let has = |heard: &[u8], word: &str| heard.windows(word.len()).any(|window| window == word.as_bytes());
    for act in acts {
        match act {
            Act::Hear(words) => {
                while !words.iter().all(|word| has(&heard, word)) {
                    match socket.read(&mut chunk) {
                        Ok(0) | Err(_) => return heard,
                        Ok(length) => heard.extend(&chunk[..length]),
                    }
                }
            }
            Act::Say(bytes) => {
                // In pieces, as a socket may deliver them.
                for piece in bytes.chunks(7) {
                    if socket.write_all(piece).is_err() {
                        return heard;
                    }
                }
            }
            Act::Read => {
                let _ = socket.read(&mut chunk);
            }
        }
    }
    heard
}

/// The answers to the authentication and to Hello.
fn welcome() -> Act {
    let mut bytes = b"DATA\r\nOK 0123456789abcdef\r\n".to_vec();
    bytes.extend(reply(1, &[Value::text(":1.5")]));
    Act::Say(bytes)
}

const JOB: &str = "/org/freedesktop/systemd1/job/5";

#[test]
fn a_unit_is_started_when_its_job_is_done() {
    // 1 Hello, 2 AddMatch, 3 Subscribe, 4 StartTransientUnit
    let script = Script::new(vec![
        Act::Hear(&[
            "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n",
            "Hello",
            "AddMatch",
            "Subscribe",
            "StartTransientUnit",
        ]),
        welcome(),
        Act::Say(reply(2, &[])),
        Act::Say(reply(3, &[])),
        Act::Say(job_removed("/another", "failed")),
        Act::Say(job_removed(JOB, "done")),
        Act::Say(reply(4, &[Value::Path(JOB.into())])),
    ]);
    script.manager().start("a.scope", &[Property::new("Delegate", Value::Bool(true))]).unwrap();
    let heard = script.heard();
    for word in ["a.scope", "replace", "Delegate", "member='JobRemoved',arg2='a.scope'"] {
        assert!(heard.contains(word), "{word}");
    }
}

#[test]
fn a_failed_unit_of_the_same_name_is_forgotten_first() {
    let exists = "org.freedesktop.systemd1.UnitExists";
    let script = Script::new(vec![
        Act::Hear(&["StartTransientUnit"]),
        welcome(),
        Act::Say(refusal(4, exists, "Unit a.scope was already loaded.")),
        Act::Hear(&["ResetFailedUnit"]),
        Act::Say(reply(5, &[])),
        Act::Read,
        // 6 AddMatch, 7 Subscribe, 8 StartTransientUnit
        Act::Say(reply(8, &[Value::Path(JOB.into())])),
        Act::Say(job_removed(JOB, "done")),
    ]);
    script.manager().start("a.scope", &[]).unwrap();
}

#[test]
fn a_unit_of_somebody_else_is_told_as_such() {
    let exists = "org.freedesktop.systemd1.UnitExists";
    let script = Script::new(vec![
        Act::Hear(&["StartTransientUnit"]),
        welcome(),
        Act::Say(refusal(4, exists, "Unit a.scope was already loaded.")),
        Act::Hear(&["ResetFailedUnit"]),
        Act::Say(refusal(5, "org.freedesktop.systemd1.NoSuchUnit", "not failed")),
        Act::Read,
        Act::Say(refusal(8, exists, "Unit a.scope was already loaded.")),
    ]);
    let error = script.manager().start("a.scope", &[]).unwrap_err();
    assert!(error.is(Kind::GroupInUse));
    assert_eq!(error.to_string(), format!("start unit a.scope: Unit a.scope was already loaded. ({exists})"));
    assert!(error.remedy().unwrap().contains("systemctl status a.scope"));
}

#[test]
fn a_job_that_fails_is_an_error() {
    let script = Script::new(vec![
        Act::Hear(&["StartTransientUnit"]),
        welcome(),
        Act::Say(reply(4, &[Value::Path(JOB.into())])),
        Act::Say(job_removed(JOB, "failed")),
    ]);
    let error = script.manager().start("a.scope", &[]).unwrap_err();
    assert_eq!(error.to_string(), "start unit a.scope: systemd's job ended as \"failed\"");
    assert!(error.remedy().unwrap().contains("journalctl -b -u a.scope"));
}

#[test]
fn a_unit_that_is_gone_is_stopped() {
    let script = Script::new(vec![
        Act::Hear(&["StopUnit"]),
        welcome(),
        Act::Say(refusal(4, "org.freedesktop.systemd1.NoSuchUnit", "Unit a.scope not loaded.")),
    ]);
    script.manager().stop("a.scope").unwrap();
}

#[test]
fn a_manager_tells_its_group_and_version() {
    for (version, number) in [("257.7-1~deb13u1", 257), ("v258", 258), ("252", 252), ("nonsense", 0)] {
        let text = |text: &str| [Value::Variant(Box::new(Value::text(text)))];
        let script = Script::new(vec![
            Act::Hear(&["ControlGroup", "Version"]),
            welcome(),
            Act::Say(reply(2, &text("/user.slice/user@1.service"))),
            Act::Say(reply(3, &text(version))),
        ]);
        let about = script.manager().about().unwrap();
        assert_eq!((about.control_group.as_str(), about.version), ("/user.slice/user@1.service", number));
    }
}

#[test]
fn a_peer_that_says_nothing_is_given_up_in_time() {
    let script = Script::new(vec![Act::Hear(&["Hello"]), Act::Read]);
    let start = Instant::now();
    let error = script.bus(100).call(&HELLO).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5));
    let expected = format!("unix:path={}: no answer within 0.1 s", script.path.display());
    assert_eq!(error.to_string(), expected);
    assert!(error.remedy().unwrap().contains("systemctl status"));
}

#[test]
fn news_without_end_do_not_prolong_the_wait() {
    let news = (0..400).map(|_| Act::Say(job_removed("/another", "done")));
    let acts = [Act::Hear(&["Hello"]), welcome()].into_iter().chain(news).chain([Act::Read]);
    let script = Script::new(acts.collect());
    let mut bus = script.bus(200);
    let error = bus.signal(|signal| (signal.name == "Never").then_some(())).unwrap_err();
    assert!(error.to_string().ends_with("no answer within 0.2 s"), "{error}");
}

#[test]
fn a_peer_that_goes_away_is_told_as_such() {
    for acts in [vec![Act::Hear(&["Hello"])], vec![Act::Hear(&["Hello"]), welcome()]] {
        let script = Script::new(acts);
        let mut bus = script.bus(5000);
        let serial = bus.queue(&HELLO);
        let error = bus.answer(serial).unwrap_err().to_string();
        assert!(error.contains("closed by the other side") || error.contains("ECONNRESET"), "{error}");
    }
}

#[test]
fn a_refused_authentication_is_told_as_such() {
    let script = Script::new(vec![Act::Hear(&["BEGIN"]), Act::Say(b"REJECTED EXTERNAL\r\n".to_vec())]);
    let error = script.bus(5000).call(&HELLO).unwrap_err();
    assert!(error.to_string().ends_with("the authentication was refused: REJECTED EXTERNAL"), "{error}");
}

#[test]
fn a_peer_that_is_no_bus_is_told_as_such() {
    for garbage in [
        vec![b'x'; 10_000],
        b"HTTP/1.1 400 Bad Request\r\n".to_vec(),
        b"OK 1\r\nHTTP/1.1 400 Bad Request\r\n".to_vec(),
    ] {
        let script = Script::new(vec![Act::Hear(&["BEGIN"]), Act::Say(garbage)]);
        script.bus(5000).call(&HELLO).unwrap_err();
    }
}

#[test]
fn refusals_of_systemd_have_remedies() {
    for (name, word) in [
        ("org.freedesktop.DBus.Error.AccessDenied", "the user's own manager"),
        ("org.freedesktop.DBus.Error.ServiceUnknown", "no systemd is on this bus"),
        ("org.freedesktop.DBus.Error.PropertyReadOnly", "does not know the property"),
        ("System.Error.ENXIO", "uint64 5"),
    ] {
        let script =
            Script::new(vec![Act::Hear(&["SetUnitProperties"]), welcome(), Act::Say(refusal(2, name, "no"))]);
        let error = script.manager().set("a.scope", &[]).unwrap_err();
        assert_eq!(error.to_string(), format!("set properties of unit a.scope: no ({name})"));
        assert!(error.remedy().unwrap().contains(word), "{name}");
    }
}

#[test]
fn where_nobody_listens_every_place_is_named() {
    let nowhere = std::env::temp_dir().join("urun-test-bus-nowhere");
    if std::path::Path::new("/run/systemd/private").exists() {
        return;
    }
    let error = Manager::connect(Instance::System, Some(Address::bus(&nowhere))).unwrap_err();
    for word in [
        "reach the system manager of systemd",
        "urun-test-bus-nowhere",
        "system_bus_socket",
        "systemd/private",
    ] {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
}

#[test]
fn a_manager_without_a_bus_is_called_without_one() {
    let script = Script::new(vec![
        Act::Hear(&["SetUnitProperties"]),
        Act::Say(b"DATA\r\nOK 1\r\n".to_vec()),
        Act::Say(reply(1, &[])),
    ]);
    let address = Address { path: script.path.clone(), peer: Peer::Manager };
    Manager::of(Bus::connect(address, Duration::from_secs(5)).unwrap()).set("a.scope", &[]).unwrap();
    let heard = script.heard();
    assert!(
        !heard.contains("Hello") && !heard.contains("org.freedesktop.systemd1\0\0\0\0\0\x08"),
        "{heard:?}"
    );
}

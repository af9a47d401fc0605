//! The program as engines meet it: streams, log files, exit codes, and many callers at once.

#![allow(clippy::unwrap_used)] // a test may fail at any step

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};
use urun::{
    state::{ContainerId, Init, Record, Stage, Store},
    sys::proc::Proc,
};

/// A directory of one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("urun-cli-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    fn urun(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_urun"));
        command.arg("--root").arg(self.root()).args(args).current_dir(&self.0).output().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Stores a container whose first process is this one, or has ended.
fn store(scratch: &Scratch, id: &str, alive: bool) {
    let id: ContainerId = id.parse().unwrap();
    let mut store = Store::open(&scratch.root()).unwrap();
    let entry = store.create(&id).unwrap();
    let own = Init::identify(&Proc::open().unwrap(), std::process::id().cast_signed()).unwrap();
    let mut record = Record::new(id, Path::new("/b"), Path::new("/b/rootfs"));
    record.stage = Stage::Created;
    record.init = Some(if alive { own } else { Init { start_time: 1, ..own } });
    entry.save(&record).unwrap();
}

#[test]
fn success_leaves_stderr_empty() {
    let scratch = Scratch::new();
    store(&scratch, "c", true);
    for args in [
        &["state", "c"][..],
        &["list"],
        &["list", "-f", "json"],
        &["list", "-q"],
        &["kill", "c", "0"],
        &["features"],
        &["--version"],
        &["--help"],
        &["help", "run"],
        &["delete", "--force", "nobody"],
        &["--debug", "state", "c"],
    ] {
        let output = scratch.urun(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{args:?}");
    }
    serde_json::from_slice::<serde_json::Value>(&scratch.urun(&["features"]).stdout).unwrap();
}

#[test]
fn failure_is_a_sentence_and_a_remedy() {
    let scratch = Scratch::new();
    for (args, code, text) in [
        (&["state", "c"][..], 1, "container \"c\" does not exist\n"),
        (&["delete", "c"], 1, "container \"c\" does not exist\n"),
        (&["kill", "c", "KILL"], 1, "container \"c\" does not exist\n"),
        (&["frob"], 1, "unknown command \"frob\"\nhint: urun --help lists the commands\n"),
        (&["--frob"], 1, "urun: unknown flag --frob\nhint: urun --help lists the flags\n"),
        (&["exec", "c", "true"], 255, "container \"c\" does not exist\n"),
        (
            &["checkpoint", "--help"],
            1,
            "the command checkpoint is not supported yet by this version of urun\n",
        ),
    ] {
        let output = scratch.urun(args);
        assert_eq!((output.status.code(), stderr(&output)), (Some(code), text), "{args:?}");
        assert_eq!(output.stdout, b"", "{args:?}");
    }
}

/// conmon takes one read(2) of stderr for the whole message.
#[test]
fn stderr_is_written_at_once() {
    let scratch = Scratch::new();
    let trace = scratch.0.join("trace");
    let status = Command::new("strace")
        .args(["-f", "-e", "trace=write,writev", "-s", "9000", "-o"])
        .arg(&trace)
        .args([env!("CARGO_BIN_EXE_urun"), "frobnicate"])
        .stderr(Stdio::null())
        .status();
    let Ok(status) = status else { return eprintln!("no strace on this machine") };
    assert_eq!(status.code(), Some(1));
    let trace = fs::read_to_string(trace).unwrap();
    let writes: Vec<&str> = trace.lines().filter(|line| line.contains("write")).collect();
    assert_eq!(writes.len(), 1, "{trace}");
    assert!(writes[0].contains("unknown command") && writes[0].contains("hint: "), "{trace}");
}

#[test]
fn the_log_holds_the_error_and_nothing_else() {
    let scratch = Scratch::new();
    let log = scratch.0.join("log.json");
    let args = |rest: &[&'static str]| [&["--log", "log.json", "--log-format", "json"], rest].concat();
    assert!(scratch.urun(&args(&["list"])).status.success());
    assert_eq!(fs::read(&log).unwrap(), b"", "the file exists although nothing was logged");
    let output = scratch.urun(&args(&["frob"]));
    let value: serde_json::Value = serde_json::from_slice(&fs::read(&log).unwrap()).unwrap();
    assert_eq!(value["level"], "error");
    assert_eq!(value["msg"], "unknown command \"frob\"; hint: urun --help lists the commands");
    assert_eq!(stderr(&output), format!("{}\n", value["msg"].as_str().unwrap()));
    scratch.urun(&args(&["state", "x"]));
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2, "a log is appended to");
}

#[test]
fn a_reader_that_is_gone_is_an_error_and_no_crash() {
    let output = Command::new("sh")
        .args(["-c", "(\"$0\" features; echo $? >&2) | true", env!("CARGO_BIN_EXE_urun")])
        .output()
        .unwrap();
    let text = stderr(&output);
    // The pipe may take the whole text before its reader ends.
    assert!(text.ends_with("0\n") || (text.contains("EPIPE") && text.ends_with("1\n")), "{text}");
}

/// Engines ask for the state while another call starts, kills or deletes the same container.
#[test]
fn many_processes_at_once_never_see_half_a_container() {
    let scratch = Scratch::new();
    for round in 0..5 {
        store(&scratch, "c", false);
        thread::scope(|scope| {
            for caller in 0..6 {
                let scratch = &scratch;
                scope.spawn(move || {
                    let output = match caller {
                        0 | 1 => scratch.urun(&["delete", "--force", "c"]),
                        2 => scratch.urun(&["delete", "c"]),
                        _ => scratch.urun(&["state", "c"]),
                    };
                    let text = stderr(&output);
                    let forced = caller < 2;
                    assert!(output.status.success() || !forced, "round {round}: {text}");
                    let told = ["does not exist", "right now", "cut short"];
                    assert!(output.status.success() || told.iter().any(|part| text.contains(part)), "{text}");
                });
            }
        });
        assert_eq!(scratch.urun(&["list", "-q"]).stdout, b"");
    }
}

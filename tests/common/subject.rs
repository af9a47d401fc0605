//! The runtime under test, and how one call of it is made: with a limit on its time, its output in files.

use super::scratch::deadline;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Which runtime the tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The binary of this project.
    Urun,
    /// crun, as a second opinion on the tests.
    Crun,
    /// runc, as a third.
    Runc,
}

/// The runtime under test and its path.
pub fn subject() -> (Subject, PathBuf) {
    match std::env::var("RUNTIME_UNDER_TEST").as_deref() {
        Err(_) | Ok("" | "urun") => (Subject::Urun, env!("CARGO_BIN_EXE_urun").into()),
        Ok("crun") => (Subject::Crun, which("crun")),
        Ok("runc") => (Subject::Runc, which("runc")),
        Ok(path) if path.starts_with('/') => (kind(path), path.into()),
        Ok(other) => {
            panic!("RUNTIME_UNDER_TEST={other}: urun, crun, runc and a path of one of them are known")
        }
    }
}

/// Another release of a runtime is told by the name of its file.
fn kind(path: &str) -> Subject {
    match path.rsplit('/').next() {
        Some("crun") => Subject::Crun,
        Some("runc") => Subject::Runc,
        _ => Subject::Urun,
    }
}

fn which(name: &str) -> PathBuf {
    ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/bin", "/sbin"]
        .iter()
        .map(|dir| PathBuf::from(dir).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not installed"))
}

/// True when the test's expectation is ours alone and another runtime is the subject: the test then has nothing to say.
pub fn only_ours(because: &str) -> bool {
    let (subject, _) = subject();
    let skip = subject != Subject::Urun;
    if skip {
        eprintln!("not asked of {subject:?}: {because}");
    }
    skip
}

/// What one call of the runtime did.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit code, or 128 and the signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The files that both went to; a container that outlives the call goes on writing there.
    pub files: [PathBuf; 2],
}

impl Output {
    /// Fails the test unless the call succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless the call failed and said `phrase` on standard error.
    #[track_caller]
    pub fn refused(self, phrase: &str) -> Self {
        assert_ne!(self.code, 0, "should have failed; stdout: {}", self.stdout);
        let (low, phrase) = (self.stderr.to_lowercase(), phrase.to_lowercase());
        assert!(low.contains(&phrase), "`{phrase}` is not in: {}, exit {}", self.stderr, self.code);
        self
    }

    /// Fails the test unless the call failed with a sentence of ours that has all the `words`; other runtimes only have to fail.
    #[track_caller]
    pub fn refused_naming(self, words: &[&str]) -> Self {
        assert_ne!(self.code, 0, "should have failed; stdout: {}", self.stdout);
        if subject().0 == Subject::Urun {
            for word in words {
                assert!(self.stderr.contains(word), "`{word}` is not in: {}", self.stderr);
            }
            assert!(self.stderr.lines().count() <= 2, "more than a sentence and a hint: {}", self.stderr);
        }
        self
    }

    /// Standard output without white space around it.
    pub fn text(&self) -> &str {
        self.stdout.trim()
    }
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Runs `command` to its end, or kills it by its pid after 30 seconds of [`deadline`] and fails the test.
///
/// Output goes through files: a pipe would stay open in a container that outlives the call.
#[track_caller]
pub fn run_limited(mut command: Command, dir: &std::path::Path) -> Output {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let (out, err) = (dir.join(format!("{number}.out")), dir.join(format!("{number}.err")));
    command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    command.process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("spawn {command:?}: {error}"));
    let deadline = deadline(30);
    let mut pause = Duration::from_micros(500);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            // With the runtime's own processes: one that hangs would not notice that the others are gone.
            let _ = nix::sys::signal::killpg(
                nix::unistd::Pid::from_raw(child.id().cast_signed()),
                nix::sys::signal::SIGKILL,
            );
            child.wait().unwrap();
            let (stdout, stderr) = (std::fs::read_to_string(&out), std::fs::read_to_string(&err));
            panic!("still running at the deadline: {command:?}\nstdout: {stdout:?}\nstderr: {stderr:?}");
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    };
    let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Output { code, stdout: read(&out), stderr: read(&err), files: [out, err] }
}

/// Standard input with the given text.
pub fn stdin_of(text: Option<&str>, dir: &std::path::Path) -> Stdio {
    let Some(text) = text else { return Stdio::null() };
    let path = dir.join(format!("{}.in", NEXT.fetch_add(1, Ordering::Relaxed)));
    std::fs::write(&path, text).unwrap();
    File::open(path).unwrap().into()
}

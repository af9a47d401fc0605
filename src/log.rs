//! Where urun says what happened: the log that the caller asked for, and one write to stderr when a command fails.
//!
//! Engines read both, each in its own way: conmon takes a single read(2) of at most 8191 bytes of stderr as the whole
//! message, Podman parses the whole log file as one JSON object, containerd takes its last object of level `error` and
//! complains when the file is missing. Hence: on success stderr stays empty; a failure is one write; warnings go to the
//! log alone, and there only when `--log-level` or `--debug` asks for them.
//!
//! A remedy is a second line of text on stderr (`hint: …`) and in a text log; in JSON, which has one sentence a message,
//! it follows the sentence: `…; hint: …`.

use crate::{
    cli::{Globals, LogFormat, LogLevel},
    clock,
    error::{Context, Error, Result},
};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::Write,
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt, net::UnixDatagram},
    path::Path,
};

/// The log of one invocation.
#[derive(Debug, Default)]
pub struct Log {
    sink: Sink,
    format: LogFormat,
    level: LogLevel,
}

#[derive(Debug, Default)]
enum Sink {
    #[default]
    Nowhere,
    File(File),
    Journal(UnixDatagram, String),
    Syslog(UnixDatagram, String),
}

/// conmon reads 8191 bytes; the rest of a longer message would be lost with the hint in it.
const LONGEST_SENTENCE: usize = 6000;

impl Log {
    /// Opens what `--log` names, and makes the file even if nothing will be logged.
    pub fn open(globals: &Globals) -> Result<Self> {
        let sink = match &globals.log {
            None => Sink::Nowhere,
            Some(place) => {
                Sink::open(place).with_context(|| format!("open log {}", Path::new(place).display()))?
            }
        };
        Ok(Self { sink, format: globals.log_format, level: globals.log_level })
    }

    /// Says what the user should know and the command could do without.
    pub fn warning(&self, message: impl std::fmt::Display) {
        self.write(LogLevel::Warning, &one_line(&message.to_string()));
    }

    /// Says what the command did.
    pub fn debug(&self, message: impl std::fmt::Display) {
        self.write(LogLevel::Debug, &one_line(&message.to_string()));
    }

    /// Says why the command failed, in the log and on stderr.
    pub fn fail(&self, error: &Error) {
        let sentence = one_line(&error.to_string());
        let joined = match error.remedy() {
            Some(remedy) => format!("{sentence}; hint: {}", one_line(remedy)),
            None => sentence.clone(),
        };
        let lines = match error.remedy() {
            Some(remedy) => format!("{sentence}\nhint: {}", one_line(remedy)),
            None => sentence,
        };
        self.write(LogLevel::Error, if self.is_lines() { &lines } else { &joined });
        let text = match self.format {
            LogFormat::Text => lines + "\n",
            LogFormat::Json => joined + "\n",
        };
        // There is nobody left to tell that stderr is closed.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// Whether a message may have a second line.
    fn is_lines(&self) -> bool {
        matches!((&self.sink, self.format), (Sink::File(_), LogFormat::Text))
    }

    fn write(&self, level: LogLevel, message: &str) {
        if level > self.level {
            return;
        }
        let bytes = match (&self.sink, self.format) {
            (Sink::Nowhere, _) => return,
            (Sink::File(_), LogFormat::Text) => text_record(level, message),
            (Sink::File(_), LogFormat::Json) => json_record(level, message),
            (Sink::Journal(_, id), _) => journal_record(level, id, message),
            (Sink::Syslog(_, tag), _) => syslog_record(level, tag, message),
        };
        // A log that cannot be written (a full disk, a journal that is gone) must not fail the container.
        let _ = match &self.sink {
            Sink::Nowhere => Ok(()),
            Sink::File(file) => (&*file).write_all(&bytes),
            Sink::Journal(socket, _) | Sink::Syslog(socket, _) => socket.send(&bytes).map(|_| ()),
        };
    }
}

impl Sink {
    fn open(place: &OsStr) -> Result<Self> {
        let bytes = place.as_bytes();
        let id = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\n', " ");
        Ok(match () {
            () if bytes.starts_with(b"journald:") => {
                Self::Journal(connect("/run/systemd/journal/socket")?, id(&bytes[9..]))
            }
            () if bytes.starts_with(b"syslog:") => Self::Syslog(connect("/dev/log")?, id(&bytes[7..])),
            () => {
                let path = bytes.strip_prefix(b"file:").unwrap_or(bytes);
                let mut options = OpenOptions::new();
                Self::File(options.append(true).create(true).mode(0o644).open(OsStr::from_bytes(path))?)
            }
        })
    }
}

fn connect(path: &str) -> Result<UnixDatagram> {
    let socket = UnixDatagram::unbound().context("socket")?;
    socket.connect(path).with_context(|| format!("connect to {path}"))?;
    // A journal that does not read must not hold up a container.
    socket.set_nonblocking(true).context("make the socket non-blocking")?;
    Ok(socket)
}

/// A message without what would end its line or command the terminal that shows it, because the names in it are an image's; not
/// longer than engines read.
fn one_line(text: &str) -> String {
    let mut line = text.replace(char::is_control, " ");
    line.truncate(line.trim_end().len());
    if line.len() > LONGEST_SENTENCE {
        let end = (0..=LONGEST_SENTENCE).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    line
}

fn text_record(level: LogLevel, message: &str) -> Vec<u8> {
    format!("{} {}: {message}\n", clock::now(clock::Precision::Seconds), word(level)).into_bytes()
}

fn json_record(level: LogLevel, message: &str) -> Vec<u8> {
    let time = clock::now(clock::Precision::Nanoseconds);
    // Three texts cannot fail to become JSON.
    let mut line =
        serde_json::to_vec(&Object { level: word(level), message, time: &time }).unwrap_or_default();
    line.push(b'\n');
    line
}

/// The keys that logrus writes and engines read, in its order.
struct Object<'a> {
    level: &'a str,
    message: &'a str,
    time: &'a str,
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Record", 3)?;
        object.serialize_field("level", self.level)?;
        object.serialize_field("msg", self.message)?;
        object.serialize_field("time", self.time)?;
        object.end()
    }
}

/// The journal's native protocol (systemd, Native Journal Protocol): one `FIELD=value` a line.
fn journal_record(level: LogLevel, id: &str, message: &str) -> Vec<u8> {
    let message = one_line(message);
    let priority = severity(level);
    format!("MESSAGE={message}\nPRIORITY={priority}\nSYSLOG_IDENTIFIER=urun\nID={id}\n").into_bytes()
}

/// What syslog(3) sends to /dev/log, in facility daemon; the daemon adds the time.
fn syslog_record(level: LogLevel, tag: &str, message: &str) -> Vec<u8> {
    const DAEMON: u8 = 3;
    let tag = if tag.is_empty() { "urun" } else { tag };
    let priority = DAEMON * 8 + severity(level);
    format!("<{priority}>{tag}[{}]: {}", std::process::id(), one_line(message)).into_bytes()
}

fn word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warning => "warning",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    }
}

/// Severities of syslog(3).
fn severity(level: LogLevel) -> u8 {
    match level {
        LogLevel::Error => 3,
        LogLevel::Warning => 4,
        LogLevel::Info => 6,
        LogLevel::Debug => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::store::tests::Scratch;
    use std::fs;

    fn log(path: &Path, format: LogFormat, level: LogLevel) -> Log {
        let log = Some(path.as_os_str().to_owned());
        Log::open(&Globals { log, log_format: format, log_level: level, ..Globals::default() }).unwrap()
    }

    #[test]
    fn a_failure_is_the_only_object_of_a_json_log() {
        let scratch = Scratch::new();
        let path = scratch.0.join("log.json");
        let log = log(&path, LogFormat::Json, LogLevel::default());
        assert_eq!(fs::read(&path).unwrap(), b"", "it exists before anything is logged");
        log.warning("not asked for");
        log.write(LogLevel::Error, "a \"bad\"\nthing");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["msg"], "a \"bad\"\nthing");
        assert!(value["time"].as_str().unwrap().ends_with('Z'));
        assert!(text.starts_with(r#"{"level":"error","msg":"#), "{text}");
    }

    #[test]
    fn levels_choose_and_files_are_appended_to() {
        let scratch = Scratch::new();
        let path = scratch.0.join("log");
        for (level, lines) in
            [(LogLevel::Error, 1), (LogLevel::Warning, 2), (LogLevel::Info, 2), (LogLevel::Debug, 3)]
        {
            let before = fs::read_to_string(&path).unwrap_or_default().lines().count();
            let log = log(&path, LogFormat::Text, level);
            log.debug("d");
            log.warning("w");
            log.write(LogLevel::Error, "e");
            assert_eq!(fs::read_to_string(&path).unwrap().lines().count() - before, lines, "{level:?}");
        }
    }

    #[test]
    fn the_prefix_of_a_file_is_optional() {
        let scratch = Scratch::new();
        let path = scratch.0.join("log");
        let mut place = std::ffi::OsString::from("file:");
        place.push(&path);
        Log::open(&Globals { log: Some(place), ..Globals::default() }).unwrap();
        assert!(path.exists());
        let nowhere = scratch.0.join("none/log").into_os_string();
        let error = Log::open(&Globals { log: Some(nowhere), ..Globals::default() }).unwrap_err();
        assert!(error.to_string().starts_with("open log "), "{error}");
    }

    #[test]
    fn a_message_is_one_line_that_engines_read_whole() {
        assert_eq!(one_line("a\nb\r\n"), "a b");
        assert_eq!(one_line("a\u{1b}[31mb\u{9b}1mc\u{7f}"), "a [31mb 1mc");
        let long = one_line(&"é".repeat(8000));
        assert!(long.len() < LONGEST_SENTENCE + 4 && long.ends_with('…'));
    }

    #[test]
    fn the_journal_and_syslog_get_their_own_forms() {
        assert_eq!(
            String::from_utf8(journal_record(LogLevel::Error, "c1", "x\nPRIORITY=7")).unwrap(),
            "MESSAGE=x PRIORITY=7\nPRIORITY=3\nSYSLOG_IDENTIFIER=urun\nID=c1\n"
        );
        let record = String::from_utf8(syslog_record(LogLevel::Warning, "", "x")).unwrap();
        assert_eq!(record, format!("<28>urun[{}]: x", std::process::id()));
    }
}

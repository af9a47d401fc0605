//! What a container is doing: stored facts compared with what the kernel says now.

use super::{
    record::{Init, Record, Stage},
    store::Entry,
};
use crate::{
    error::{Context, Error, Kind, Result},
    sys::{pidfd, proc::Proc},
};
use std::{
    fmt,
    os::fd::{AsFd, OwnedFd},
};

/// `status` of the OCI runtime-spec (runtime.md, State), with `paused` as in runc and crun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `create` is at work.
    Creating,
    /// Waits for `start`.
    Created,
    /// The user's program runs.
    Running,
    /// Its cgroup is frozen.
    Paused,
    /// Its first process has ended, reaped or not.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

impl Status {
    /// The status of the container with this record. `is_frozen` tells whether its cgroup is frozen; it is asked only
    /// about a container that is created or runs. A created one that is frozen is paused, as in runc.
    pub fn of(
        entry: &Entry,
        record: &Record,
        proc: &Proc,
        is_frozen: impl FnOnce() -> Result<bool>,
    ) -> Result<Self> {
        let alive = match record.init {
            Some(init) => init.is_alive(proc)?,
            // A `create` that died on the way has left nothing that could run.
            None => return Ok(if entry.is_busy()? { Self::Creating } else { Self::Stopped }),
        };
        Ok(match record.stage {
            _ if !alive => Self::Stopped,
            Stage::Creating => Self::Creating,
            Stage::Created if is_frozen()? => Self::Paused,
            Stage::Created if entry.awaits_start()? => Self::Created,
            Stage::Created => Self::Running,
        })
    }
}

impl Init {
    /// Identifies a process that is known to exist, because the caller is its parent or holds a pidfd of it.
    pub fn identify(proc: &Proc, pid: i32) -> Result<Self> {
        let directory = proc.process(pid)?;
        let gone = || Error::new(format_args!("process {pid} does not exist"));
        let stat = stat(proc, &directory)?.ok_or_else(gone)?;
        Ok(Self { pid, number: directory.parse().map_err(Error::new)?, start_time: stat.start_time })
    }

    /// Whether this very process still runs; a zombie does not.
    pub fn is_alive(self, proc: &Proc) -> Result<bool> {
        let stat = stat(proc, &self.number.to_string())?;
        Ok(stat.is_some_and(|stat| stat.start_time == self.start_time && !stat.has_ended))
    }

    /// A handle on this very process; [`Kind::NotRunning`] when it has ended. The start time is compared after the handle is
    /// taken, so that the handle cannot belong to a later process of the same pid.
    pub fn open(self) -> Result<OwnedFd> {
        let fd = match pidfd::open(self.pid) {
            Err(error) if error.errno() == Some(libc::ESRCH) => return Err(not_running()),
            other => other.context("take hold of the container's first process")?,
        };
        if self.is_alive(&Proc::open()?)? { Ok(fd) } else { Err(not_running()) }
    }

    /// Sends a signal to this very process; [`Kind::NotRunning`] when it has ended.
    pub fn signal(self, signal: i32) -> Result<()> {
        match pidfd::send_signal(self.open()?.as_fd(), signal) {
            Err(error) if error.errno() == Some(libc::ESRCH) => Err(not_running()),
            other => other,
        }
    }
}

/// What engines look for when the container's first process has ended, or there was none yet.
pub fn not_running() -> Error {
    Error::new("container not running").kind(Kind::NotRunning)
}

/// The two facts of `/proc/PID/stat` that identify a process and tell whether it lives (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    has_ended: bool,
    start_time: u64,
}

fn stat(proc: &Proc, directory: &str) -> Result<Option<Stat>> {
    match proc.read_text(&format!("{directory}/stat")) {
        // ESRCH: the process ended between open and read.
        Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        Err(error) => Err(error),
        Ok(text) => match parse_stat(&text) {
            Some(stat) => Ok(Some(stat)),
            None => Err(Error::new(format_args!("parse /proc/{directory}/stat: {text:?}"))),
        },
    }
}

/// The name in field 2 may hold spaces and parentheses, so fields are counted from the last parenthesis.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let has_ended = matches!(fields.next()?, "Z" | "X" | "x");
    // Field 3 is gone; field 22 is the nineteenth after it.
    let start_time = fields.nth(18)?.parse().ok()?;
    Some(Stat { has_ended, start_time })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{ContainerId, START_SOCKET, store::tests::Scratch};
    use std::{
        path::Path,
        process::{Child, Command},
        time::Duration,
    };

    /// A process that ends with the test.
    struct Sleeper(Child);

    impl Sleeper {
        fn new() -> Self {
            Self(Command::new("sleep").arg("60").spawn().unwrap())
        }

        fn init(&self) -> Init {
            Init::identify(&Proc::open().unwrap(), self.0.id().cast_signed()).unwrap()
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn record(stage: Stage, init: Option<Init>) -> Record {
        let id: ContainerId = "c".parse().unwrap();
        Record { stage, init, ..Record::new(id, Path::new("/b"), Path::new("/b/rootfs")) }
    }

    #[test]
    fn the_name_of_a_process_cannot_forge_its_fields() {
        let tail = "S 1 5 5 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 777 4096 100";
        for name in ["sh", "a) Z 1 2", ") ", "x (y) z", "a b"] {
            let stat = parse_stat(&format!("42 ({name}) {tail}")).unwrap();
            assert_eq!(stat, Stat { has_ended: false, start_time: 777 }, "{name}");
        }
        assert!(parse_stat(&format!("42 (x) {}", tail.replacen('S', "Z", 1))).unwrap().has_ended);
        assert_eq!(parse_stat("42 (x) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn a_zombie_and_a_reaped_process_have_ended() {
        let mut sleeper = Sleeper::new();
        let init = sleeper.init();
        assert!(init.is_alive(&Proc::open().unwrap()).unwrap());
        let handle = init.open().unwrap();
        assert!(!pidfd::poll(handle.as_fd(), Some(Duration::from_millis(5))).unwrap());
        init.signal(libc::SIGKILL).unwrap();
        assert!(pidfd::poll(handle.as_fd(), Some(Duration::from_secs(10))).unwrap());
        assert!(!init.is_alive(&Proc::open().unwrap()).unwrap(), "a zombie");
        assert!(init.signal(libc::SIGKILL).unwrap_err().is(Kind::NotRunning));
        sleeper.0.wait().unwrap();
        assert!(!init.is_alive(&Proc::open().unwrap()).unwrap(), "reaped");
        assert_eq!(init.signal(0).unwrap_err().to_string(), "container not running");
    }

    #[test]
    fn a_recycled_pid_is_never_signalled() {
        // SEC-44. The pid is in use, but by a process that began at another time.
        let mut bystander = Sleeper::new();
        let recycled = Init { start_time: bystander.init().start_time - 1, ..bystander.init() };
        assert!(!recycled.is_alive(&Proc::open().unwrap()).unwrap());
        let error = recycled.signal(libc::SIGKILL).unwrap_err();
        assert!(error.is(Kind::NotRunning), "{error}");
        assert!(bystander.0.try_wait().unwrap().is_none(), "the bystander lives");
    }

    #[test]
    fn status_follows_the_stored_stage_and_the_kernel() {
        let scratch = Scratch::new();
        let mut store = scratch.store();
        let mut entry = store.create(&"c".parse().unwrap()).unwrap();
        let sleeper = Sleeper::new();
        let alive = Some(sleeper.init());
        let ended = Some(Init { start_time: 1, ..sleeper.init() });
        let status = |entry: &Entry, stage, init, frozen| {
            Status::of(entry, &record(stage, init), &Proc::open().unwrap(), || Ok(frozen)).unwrap()
        };
        assert_eq!(status(&entry, Stage::Creating, alive, false), Status::Creating);
        assert_eq!(status(&entry, Stage::Created, alive, false), Status::Running);
        assert_eq!(status(&entry, Stage::Created, alive, true), Status::Paused);
        assert_eq!(status(&entry, Stage::Created, ended, true), Status::Stopped);
        std::fs::write(entry.path().join(START_SOCKET), "").unwrap();
        assert_eq!(status(&entry, Stage::Created, alive, false), Status::Created);
        assert_eq!(status(&entry, Stage::Created, alive, true), Status::Paused);
        let seen = store.find(entry.id()).unwrap();
        assert_eq!(
            status(&seen, Stage::Creating, None, false),
            Status::Creating,
            "its creator holds the lock"
        );
        entry.unlock();
        assert_eq!(status(&seen, Stage::Creating, None, false), Status::Stopped, "its creator is gone");
    }
}

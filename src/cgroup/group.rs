//! The groups of a container that exists.

use super::{
    apply::is_frozen,
    dir::Dir,
    pause::Pause,
    record::Record,
    tree::{self, found, is_gone},
    write::Version,
};
use crate::{
    error::{Error, Result},
    sys::pidfd,
};
use std::{
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

/// The groups of one container, one in each hierarchy. Without any (the caller could make none, or nobody wanted one) everything
/// that has nothing to do succeeds.
#[derive(Debug, Default)]
pub struct Cgroup {
    pub(super) record: Record,
    pub(super) members: Vec<Member>,
}

/// The group in one hierarchy.
#[derive(Debug)]
pub(super) struct Member {
    pub version: Version,
    pub mount: PathBuf,
    pub path: String,
    pub parent: Rc<Dir>,
    pub dir: Dir,
    /// The group below it that processes enter.
    pub home: Option<Dir>,
    /// What could not be had and was done without when it was made.
    pub notes: Vec<String>,
}

/// Whether the processes of a group may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freezer {
    /// They stand still.
    Frozen,
    /// They run.
    Thawed,
}

impl Cgroup {
    /// Finds the groups again; those that are gone by now are left out.
    pub fn open(record: Record) -> Result<Self> {
        let mut members = Vec::new();
        for (mount, path) in &record.hierarchies {
            match Member::open(mount, path, record.home.as_deref()) {
                Ok(member) => members.push(member),
                Err(error) if error.errno() == Some(libc::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { record, members })
    }

    /// Whether there is no group at all.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// What its maker might miss, in words.
    pub fn notes(&self) -> impl Iterator<Item = &String> {
        self.members.iter().flat_map(|member| &member.notes)
    }

    /// What the state file keeps.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The groups' directories on the host.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.members.iter().map(|member| member.dir.name().to_owned()).collect()
    }

    /// The version 2 group for CLONE_INTO_CGROUP (Linux 5.7), where there is one.
    pub fn directory_fd(&self) -> Option<BorrowedFd<'_>> {
        self.unified().map(|member| member.home().as_fd())
    }

    /// Moves a process into the version 1 groups: what is left to do for one that was born in the version 2 group.
    pub fn attach_legacy(&self, pid: i32) -> Result<()> {
        self.members
            .iter()
            .filter(|member| member.version == Version::V1)
            .try_for_each(|member| member.attach(pid))
    }

    /// Moves a process into every group.
    pub fn attach(&self, pid: i32) -> Result<()> {
        self.members.iter().try_for_each(|member| member.attach(pid))
    }

    /// The contents of a file of the version 2 group (`cpu.max`, `memory.current`); none where there is no such group or file.
    pub fn read(&self, file: &str) -> Result<Option<String>> {
        super::path::check_name(file)?;
        self.unified().map_or(Ok(None), |member| found(member.dir.read(file)))
    }

    /// Every process in the groups and in groups below them, sorted. Processes of other pid namespaces have no number here and are
    /// left out.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let member = self.unified().or_else(|| self.freezer()).or(self.members.first());
        member.map_or(Ok(Vec::new()), |member| tree::processes(&member.dir))
    }

    /// Whether the groups are frozen, by whom ever.
    pub fn frozen(&self) -> Result<Freezer> {
        for member in self.freezers() {
            if member.is_frozen()? {
                return Ok(Freezer::Frozen);
            }
        }
        Ok(Freezer::Thawed)
    }

    /// Freezes or thaws every process and waits until it is so. One freezer is enough to freeze; to thaw, all have to.
    ///
    /// # Errors
    /// There is no freezer; a process does not stop in time (it is in an uninterruptible system call), in which case the
    /// groups are thawed again.
    pub fn freeze(&self, state: Freezer) -> Result<()> {
        let freezers: Vec<&Member> = self.freezers().collect();
        match (state, freezers.as_slice()) {
            (_, []) => Err(Error::new("the container has no cgroup with a freezer")
                .hint("cgroup version 2 (Linux 5.2) or the version 1 freezer controller is needed")),
            (Freezer::Frozen, [first, ..]) => first.freeze(state),
            (Freezer::Thawed, all) => all.iter().try_for_each(|member| member.freeze(state)),
        }
    }

    /// Sends a signal to every process in the groups and below. SIGKILL goes to all at once where the kernel can (`cgroup.kill`,
    /// Linux 5.14) and thaws; else the groups are frozen meanwhile so that no fork escapes.
    pub fn kill(&self, signal: i32) -> Result<()> {
        let killing = signal == libc::SIGKILL;
        if killing && self.kill_at_once()? {
            return self.thaw();
        }
        let before = self.frozen()?;
        if before == Freezer::Thawed && self.freezer().is_some() {
            match self.freeze(Freezer::Frozen) {
                // A process that cannot be frozen still gets its signal.
                Err(_) if killing => {}
                result => result?,
            }
        }
        let sent = self.processes().and_then(|pids| pids.into_iter().try_for_each(|pid| send(pid, signal)));
        if killing || before == Freezer::Thawed {
            self.thaw()?;
        }
        sent
    }

    /// Removes the groups with everything that the payload made below them, bottom up, waiting for processes to end. Groups
    /// that are gone already are fine. The engine's groups above stay.
    ///
    /// # Errors
    /// Processes that are still there after ten seconds.
    pub fn destroy(&self) -> Result<()> {
        if let (Some(unit), Some(member)) = (&self.record.unit, self.unified()) {
            // Where the group is gone, systemd has removed it and forgotten the unit.
            if found(member.parent.open(member.leaf()))?.is_some() {
                unit.stop()?;
            }
        }
        let mut pause = Pause::new();
        for member in &self.members {
            while !member.remove(&pause)? {
                if !pause.wait() {
                    let pids = self.processes()?;
                    let error =
                        Error::new(format_args!("Device or resource busy: processes {pids:?} are in it"));
                    return Err(error
                        .context(format_args!("remove cgroup {}", member.dir.name().display()))
                        .hint(
                            "kill the container first; a process in state D keeps its group until it returns",
                        ));
                }
            }
        }
        Ok(())
    }

    pub(super) fn unified(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.version == Version::V2)
    }

    /// The groups that may have a freezer, the version 1 controller first: it is where engines on such hosts look.
    fn freezers(&self) -> impl Iterator<Item = &Member> {
        let legacy = self.members.iter().filter(|member| member.version == Version::V1);
        legacy.filter(|member| member.dir.read("freezer.state").is_ok()).chain(self.unified())
    }

    fn freezer(&self) -> Option<&Member> {
        self.freezers().next()
    }

    fn kill_at_once(&self) -> Result<bool> {
        let Some(member) = self.unified() else { return Ok(false) };
        match member.dir.write("cgroup.kill", "1") {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::EOPNOTSUPP)) => Ok(false),
            // systemd has removed it since it was opened: nobody was in it any more.
            Err(error) if error.errno() == Some(libc::ENODEV) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Lets everything run that is frozen here or below, without waiting: a process in a frozen version 1 group does not even die.
    pub fn thaw(&self) -> Result<()> {
        self.freezers().try_for_each(Member::thaw)
    }
}

impl Member {
    pub(super) fn open(mount: &Path, path: &str, home: Option<&str>) -> Result<Self> {
        let (root, version) = Dir::hierarchy(mount)?;
        let (parents, leaf) = path.rsplit_once('/').unwrap_or(("", path));
        super::path::check_name(leaf)?;
        let parent = Rc::new(root.open(parents.trim_start_matches('/'))?);
        let dir = parent.open(leaf)?;
        // A payload may have taken it away.
        let home = home.map(|home| found(dir.open(home.trim_start_matches('/')))).transpose()?.flatten();
        let (mount, path) = (mount.to_owned(), path.to_owned());
        Ok(Self { version, mount, path, parent, dir, home, notes: Vec::new() })
    }

    /// The group that processes enter.
    pub(super) fn home(&self) -> &Dir {
        self.home.as_ref().unwrap_or(&self.dir)
    }

    fn leaf(&self) -> &str {
        self.path.rsplit_once('/').map_or(&self.path, |(_, leaf)| leaf)
    }

    fn attach(&self, pid: i32) -> Result<()> {
        let mut pause = Pause::new();
        loop {
            match self.home().write("cgroup.procs", &pid.to_string()) {
                // A task that the scheduler has not seen yet cannot be moved; it will be a moment later.
                Err(error)
                    if error.errno() == Some(libc::EINVAL)
                        && pause.elapsed() < Duration::from_millis(150) =>
                {
                    pause.wait();
                }
                result => return result.map_err(hint_attach),
            }
        }
    }

    fn set_frozen(&self, state: Freezer) -> Result<()> {
        match (self.version, state) {
            (Version::V1, Freezer::Frozen) => self.dir.write("freezer.state", "FROZEN"),
            (Version::V1, Freezer::Thawed) => self.dir.write("freezer.state", "THAWED"),
            (Version::V2, Freezer::Frozen) => self.dir.write("cgroup.freeze", "1"),
            (Version::V2, Freezer::Thawed) => self.dir.write("cgroup.freeze", "0"),
        }
    }

    fn is_frozen(&self) -> Result<bool> {
        is_frozen(&self.dir, self.version)
    }

    fn freeze(&self, state: Freezer) -> Result<()> {
        self.set_frozen(state)?;
        let mut pause = Pause::new();
        while self.is_frozen()? != (state == Freezer::Frozen) || self.is_freezing()? {
            if !pause.wait() {
                let error = Error::new(format_args!("{}: still not {state:?}", self.dir.name().display()));
                return match self.set_frozen(Freezer::Thawed) {
                    Ok(()) => Err(error
                        .hint("a process is in an uninterruptible system call, or a group above is frozen")),
                    Err(thaw) => Err(thaw.context(error)),
                };
            }
            if self.version == Version::V1 {
                // The version 1 freezer loses against forks and has to be asked again.
                self.set_frozen(state)?;
            }
        }
        Ok(())
    }

    /// A version 1 group that the payload froze below this one stays frozen when this one thaws; in version 2 that does not
    /// keep anybody from dying, so there it is the payload's affair. What was asked for counts there: cgroup.events says that a group
    /// is not frozen while a process of it dies, and that it is when the process is dead.
    fn thaw(&self) -> Result<()> {
        match self.version {
            Version::V2 => match found(self.dir.read("cgroup.freeze"))? {
                Some(state) if state.starts_with('1') => found(self.set_frozen(Freezer::Thawed)).map(|_| ()),
                _ => Ok(()),
            },
            Version::V1 => tree::walk(&self.dir, |dir| match dir.read("freezer.state") {
                Ok(state) if state.starts_with("FR") => {
                    found(dir.write("freezer.state", "THAWED")).map(|_| ())
                }
                state => found(state).map(|_| ()),
            }),
        }
    }

    /// Whether a version 1 freezer is under way.
    fn is_freezing(&self) -> Result<bool> {
        Ok(self.version == Version::V1 && self.dir.read("freezer.state")?.starts_with("FREEZING"))
    }

    /// Removes the group; false while something in it is busy.
    fn remove(&self, pause: &Pause) -> Result<bool> {
        if is_gone(self.parent.remove(self.leaf()))? {
            return Ok(true);
        }
        tree::remove_children(&self.dir, pause)?;
        is_gone(self.parent.remove(self.leaf()))
    }
}

/// Sends a signal to a process that may have ended meanwhile.
pub fn send(pid: i32, signal: i32) -> Result<()> {
    match pidfd::open(pid).and_then(|pidfd| pidfd::send_signal(pidfd.as_fd(), signal)) {
        Err(error) if error.errno() == Some(libc::ESRCH) => Ok(()),
        result => result,
    }
}

fn hint_attach(error: Error) -> Error {
    let hint = match error.errno() {
        Some(libc::EBUSY) => {
            "the group has children with controllers enabled, so processes belong in one of those"
        }
        Some(libc::EOPNOTSUPP) => "the group or one above it is in threaded mode",
        Some(libc::ENOSPC) => "cpuset.cpus or cpuset.mems of the group is empty",
        Some(libc::EACCES | libc::EPERM) => super::apply::DELEGATE,
        _ => return error,
    };
    error.hint(hint)
}

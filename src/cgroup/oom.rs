//! Being told when the kernel kills for want of memory.

use super::{dir::Dir, group::Cgroup, write::Version};
use crate::{
    error::{Context, Result},
    sys::event::EventFd,
};
use nix::poll::PollFlags;
use std::{
    fs::File,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::FileExt,
    },
};

/// What tells of it. Version 1 signals an eventfd(2) (kernel documentation "Memory Resource Controller", "OOM Control");
/// version 2 wakes whoever polls the file that counts.
#[derive(Debug)]
pub enum OomWatch<'a> {
    /// `memory.oom_control`
    Legacy {
        /// The group.
        dir: &'a Dir,
        /// What the kernel signals.
        event: EventFd,
    },
    /// `memory.events`
    Unified {
        /// The file.
        file: File,
        /// The counter in it.
        key: &'static str,
        /// Where it stood.
        count: u64,
    },
}

impl Cgroup {
    /// Watches the groups from now on; none where no group counts memory.
    pub fn watch_oom(&self) -> Result<Option<OomWatch<'_>>> {
        for member in &self.members {
            let watch = match member.version {
                Version::V1 => OomWatch::legacy(&member.dir),
                Version::V2 => OomWatch::unified(&member.dir, "memory.events", "oom_kill"),
            };
            match watch {
                Err(error) if error.errno() == Some(libc::ENOENT) => {}
                other => return other.map(Some),
            }
        }
        Ok(None)
    }
}

impl<'a> OomWatch<'a> {
    fn legacy(dir: &'a Dir) -> Result<Self> {
        let control = dir.open_file("memory.oom_control")?;
        let event = EventFd::new()?;
        let pair = format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd());
        dir.write("cgroup.event_control", &pair)?;
        Ok(Self::Legacy { dir, event })
    }

    fn unified(dir: &Dir, file: &str, key: &'static str) -> Result<Self> {
        let mut watch = Self::Unified { file: dir.open_file(file)?, key, count: 0 };
        watch.happened()?;
        Ok(watch)
    }

    /// What to poll(2) for.
    pub fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        match self {
            Self::Legacy { event, .. } => (event.as_fd(), PollFlags::POLLIN),
            Self::Unified { file, .. } => (file.as_fd(), PollFlags::POLLPRI),
        }
    }

    /// Whether it has happened since the last call. Never waits.
    ///
    /// # Errors
    /// ENODEV: the group is gone, and poll(2) would not wait any more.
    pub fn happened(&mut self) -> Result<bool> {
        match self {
            // The end of the group signals as well.
            Self::Legacy { dir, event } => Ok(event.take()? && dir.read("memory.oom_control").is_ok()),
            Self::Unified { file, key, count } => {
                // Through the same descriptor, which is what makes the next change one.
                let mut bytes = [0; 1024];
                let length = file.read_at(&mut bytes, 0).context("read memory.events")?;
                let text = String::from_utf8_lossy(&bytes[..length]);
                let value =
                    text.lines().find_map(|line| line.strip_prefix(*key)?.trim().parse().ok()).unwrap_or(0);
                Ok(std::mem::replace(count, value) < value)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cgroup::{
            Caller, Freezer,
            scratch::{Scratch, decide, name, unified},
        },
        spec::linux::Resources,
    };
    use nix::poll::{PollFd, PollTimeout, poll};

    /// Memory is not everywhere under version 2; being frozen is told the same way.
    #[test]
    fn a_counter_of_version_two_wakes_its_watcher_when_it_rises() {
        let Some(host) = unified() else { return };
        let mut scratch = Scratch::default();
        let plan = decide(&host, &format!("/{}", name("watch")), Resources::default(), Caller::Privileged);
        let cgroup = scratch.create(&plan.unwrap()).unwrap();
        let mut watch = OomWatch::unified(&cgroup.members[0].dir, "cgroup.events", "frozen").unwrap();
        let woken = |watch: &OomWatch<'_>| {
            let (fd, flags) = watch.interest();
            poll(&mut [PollFd::new(fd, flags)], PollTimeout::from(100_u8)).unwrap() > 0
        };
        assert!(!woken(&watch) && !watch.happened().unwrap());
        cgroup.freeze(Freezer::Frozen).unwrap();
        assert!(woken(&watch) && watch.happened().unwrap());
        assert!(!woken(&watch) && !watch.happened().unwrap());
        cgroup.freeze(Freezer::Thawed).unwrap();
        assert!(woken(&watch) && !watch.happened().unwrap(), "it fell");
        cgroup.destroy().unwrap();
        assert_eq!(watch.happened().unwrap_err().errno(), Some(libc::ENODEV));
    }
}

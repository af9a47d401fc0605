//! Who starts the measuring process and removes everything after it, however it ends.

use nix::{
    errno::Errno,
    sys::{
        prctl::set_child_subreaper,
        signal::{SigSet, Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::Duration,
};
use urun::{
    bail,
    error::{Context, Result},
};

/// Tells the measuring process its directory.
pub const DIRECTORY: &str = "URUN_BENCH_DIRECTORY";
/// How often a look at something that is on its way is repeated, every 20 ms.
const LOOKS: usize = 500;

/// Runs this program again with [`DIRECTORY`] set, as the parent of everything that loses its own.
pub fn supervise() -> Result<()> {
    let name = format!("urun-bench-{}", std::process::id());
    let directory = std::env::temp_dir().join(&name);
    let mut awaited = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD] {
        awaited.add(signal);
    }
    awaited.thread_block().context("block signals")?;
    set_child_subreaper(true).context("become the parent of orphans")?;
    fs::create_dir(&directory).with_context(|| format!("make {}", directory.display()))?;
    let enabled = Enabled::read();
    let result = measure(&directory, &awaited);
    end_descendants()?;
    for root in hierarchies()? {
        remove_groups(&root.join(&name))?;
    }
    enabled.restore()?;
    fs::remove_dir(&directory).with_context(|| format!("remove {}", directory.display()))?;
    result
}

fn measure(directory: &Path, awaited: &SigSet) -> Result<()> {
    let program = std::env::current_exe().context("find this program")?;
    let child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(DIRECTORY, directory)
        .spawn()
        .context("start the measuring process")?;
    let pid = Pid::from_raw(child.id().cast_signed());
    loop {
        let signal = awaited.wait().context("wait for a signal")?;
        if signal != Signal::SIGCHLD {
            bail!("ended by {signal}");
        }
        // Signals of several ends may be one; and orphans of the measured end here too.
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(ended, 0)) if ended == pid => return Ok(()),
                Ok(status) if status.pid() == Some(pid) => bail!("the measuring process: {status:?}"),
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) => {}
                Err(errno) => return Err(errno).context("wait for the measuring process"),
            }
        }
    }
}

/// Kills our children until there are none: those of the killed become ours.
fn end_descendants() -> Result<()> {
    for _ in 0..LOOKS {
        for pid in children()? {
            // It may have ended since.
            let _ = kill(pid, Signal::SIGKILL);
        }
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) => {}
                Err(Errno::ECHILD) => return Ok(()),
                Err(errno) => return Err(errno).context("wait for the killed"),
            }
        }
        sleep(Duration::from_millis(20));
    }
    bail!("processes of the benchmark do not end: {:?}", children()?);
}

fn children() -> Result<Vec<Pid>> {
    let own = std::process::id().to_string();
    let mut out = Vec::new();
    for entry in fs::read_dir("/proc").context("read /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name in brackets may hold spaces; state and parent follow.
        let after = stat.rsplit(") ").next().unwrap_or_default();
        if after.split(' ').nth(1) == Some(&own) {
            out.push(Pid::from_raw(pid));
        }
    }
    Ok(out)
}

/// The mount points of the host's control groups, of both versions.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("read mountinfo")?;
    let is_cgroup = |line: &&str| line.contains(" - cgroup");
    Ok(mounts
        .lines()
        .filter(is_cgroup)
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .collect())
}

/// Removes a group and those below.
fn remove_groups(group: &Path) -> Result<()> {
    if !group.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(group).with_context(|| format!("read {}", group.display()))?.flatten() {
        if entry.path().is_dir() {
            remove_groups(&entry.path())?;
        }
    }
    let mut last = fs::remove_dir(group);
    for _ in 0..LOOKS {
        if last.is_ok() {
            break;
        }
        sleep(Duration::from_millis(20));
        last = fs::remove_dir(group);
    }
    last.with_context(|| format!("remove {}", group.display()))
}

/// The controllers that the root of version 2 hands on, which runtimes add to.
struct Enabled(Vec<(PathBuf, String)>);

impl Enabled {
    fn read() -> Self {
        let files =
            hierarchies().unwrap_or_default().into_iter().map(|root| root.join("cgroup.subtree_control"));
        Self(files.filter_map(|file| fs::read_to_string(&file).ok().map(|text| (file, text))).collect())
    }

    fn restore(&self) -> Result<()> {
        for (file, before) in &self.0 {
            let now = fs::read_to_string(file).context("read cgroup.subtree_control")?;
            let added =
                now.split_whitespace().filter(|name| !before.split_whitespace().any(|old| old == *name));
            let text: Vec<String> = added.map(|name| format!("-{name}")).collect();
            if !text.is_empty() {
                match fs::write(file, text.join(" ")) {
                    // systemd hands it on to others by now.
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                    other => other.with_context(|| format!("restore {}", file.display()))?,
                }
            }
        }
        Ok(())
    }
}

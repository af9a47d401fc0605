//! Maps written, namespaces opened.

use super::plan::{IdMap, Join, Maps, NamespaceKind, TimeOffsets, Writer};
use crate::{
    error::{Context, Error, Result},
    sys::{self, proc::Proc},
};
use std::{
    fs::File,
    io::Read,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The `CLONE_NEW*` flag of a kind.
pub const fn flag(kind: NamespaceKind) -> i32 {
    match kind {
        NamespaceKind::User => libc::CLONE_NEWUSER,
        NamespaceKind::Pid => libc::CLONE_NEWPID,
        NamespaceKind::Network => libc::CLONE_NEWNET,
        NamespaceKind::Ipc => libc::CLONE_NEWIPC,
        NamespaceKind::Uts => libc::CLONE_NEWUTS,
        NamespaceKind::Cgroup => libc::CLONE_NEWCGROUP,
        NamespaceKind::Time => sys::ns::NEW_TIME,
        NamespaceKind::Mount => libc::CLONE_NEWNS,
    }
}

/// All flags of several kinds.
pub fn flags(kinds: &[NamespaceKind]) -> i32 {
    kinds.iter().fold(0, |flags, &kind| flags | flag(kind))
}

/// Opens the namespaces to join, before anything is entered: afterwards their paths may mean something else.
pub fn open(joins: &[Join]) -> Result<Vec<(i32, OwnedFd)>> {
    joins.iter().map(|join| Ok((flag(join.kind), open_one(&join.path)?))).collect()
}

/// Opens one namespace by path.
pub fn open_one(path: &Path) -> Result<OwnedFd> {
    let file = File::open(path).with_context(|| format!("open namespace {}", path.display()))?;
    Ok(file.into())
}

/// Writes the maps of the user namespace of `pid`; the caller has CAP_SETUID and CAP_SETGID in its parent.
pub fn write_maps(proc: &Proc, pid: i32, maps: &Maps) -> Result<()> {
    let process = proc.process(pid)?;
    proc.write(&format!("{process}/uid_map"), text(&maps.uids).as_bytes()).context("map user ids")?;
    proc.write(&format!("{process}/gid_map"), text(&maps.gids).as_bytes()).context("map group ids")
}

/// Writes the maps of a base user namespace from outside, by the one who has no privileges.
pub fn write_base_maps(proc: &Proc, pid: i32, maps: &Maps, writer: Writer) -> Result<()> {
    match writer {
        Writer::Caller => {
            deny_setgroups(proc, pid)?;
            write_maps(proc, pid, maps).map_err(|error| match error.errno() {
                Some(libc::EPERM) if nix::unistd::geteuid().is_root() => error.hint(
                    "root of a container needs CAP_SETFCAP to be root of another one (user_namespaces(7)): add it to \
                     process.capabilities of the outer container",
                ),
                _ => error,
            })
        }
        Writer::Tools => {
            // They look the process up in /proc.
            let process = proc.process(pid)?;
            let users = Tool::start("newuidmap", &process, &maps.uids)?;
            // Side by side: to start one takes longer than what it does.
            let groups = Tool::start("newgidmap", &process, &maps.gids);
            let users = users.wait();
            users.and(groups.and_then(Tool::wait))
        }
    }
}

/// Denies setgroups(2) in the user namespace of `pid`, which has no gid map yet, and in those below. CVE-2014-8989: without this
/// an unprivileged caller could drop a group that denies it access.
pub fn deny_setgroups(proc: &Proc, pid: i32) -> Result<()> {
    proc.write(&format!("{}/setgroups", proc.process(pid)?), b"deny").context("deny setgroups")
}

/// Writes the offsets of the time namespace that the children of `pid` will be in, time_namespaces(7).
pub fn write_time_offsets(proc: &Proc, pid: i32, offsets: TimeOffsets) -> Result<()> {
    let text: String = [("monotonic", offsets.monotonic), ("boottime", offsets.boottime)]
        .into_iter()
        .filter_map(|(clock, offset)| offset.map(|(seconds, rest)| format!("{clock} {seconds} {rest}\n")))
        .collect();
    if text.is_empty() {
        return Ok(());
    }
    let path = format!("{}/timens_offsets", proc.process(pid)?);
    proc.write(&path, text.as_bytes()).context("set the time offsets")
}

/// The maps of a user namespace in the ids of the caller's, and whether it denies setgroups(2): read beside a process that has
/// joined it.
pub fn look_into(proc: &Proc, namespace: BorrowedFd<'_>) -> Result<(Maps, bool)> {
    let (ours, theirs) = sys::socket::pair()?;
    let child = sys::clone::spawn(&sys::clone::Birth::default(), || {
        // With a copy of the other end this process would wait for itself.
        let closed = sys::fd::close_copy(ours.as_fd());
        let entered = closed.and_then(|()| sys::ns::setns(namespace, libc::CLONE_NEWUSER));
        let report = entered.err().map(|error| error.encode()).unwrap_or_default();
        let told = sys::socket::send(theirs.as_fd(), &[b"=", report.as_slice()].concat(), &[]);
        // The maps are read until the other end is closed, so this process has to stay.
        i32::from(told.and_then(|()| sys::socket::receive(theirs.as_fd(), 1)).is_err())
    })?;
    drop(theirs);
    let found = look_at_joined(proc, child.pid, ours.as_fd());
    drop(ours);
    let exit = sys::pidfd::wait(child.as_fd())?;
    found?.ok_or_else(|| sys::pidfd::without_a_word("the process that joins the user namespace", &exit))
}

/// None where the process has ended.
fn look_at_joined(proc: &Proc, pid: i32, link: BorrowedFd<'_>) -> Result<Option<(Maps, bool)>> {
    match sys::socket::receive(link, 4096)? {
        None => Ok(None),
        Some(report) if report.bytes.len() > 1 => Err(Error::decode(&report.bytes[1..])),
        Some(_) => Ok(Some((maps_of(proc, pid)?, denies_setgroups(proc, pid)?))),
    }
}

/// The namespaces of a process that are not the caller's, by what the kernel says: a path of config.json may have led to
/// one of the caller's own.
///
/// # Errors
/// The process has ended (ESRCH, ENOENT), or the caller may not look into it (EACCES).
pub fn apart(proc: &Proc, pid: i32) -> Result<Vec<NamespaceKind>> {
    let (own, theirs) = (proc.namespaces(&proc.own()?)?, proc.namespaces(&proc.process(pid)?)?);
    let inode = |directory: &OwnedFd, name: &str| {
        match nix::sys::stat::fstatat(directory, name, nix::fcntl::AtFlags::empty()) {
            Ok(stat) => Ok(Some(stat.st_ino)),
            // A kernel without this kind has one for everybody.
            Err(nix::errno::Errno::ENOENT) => Ok(None),
            Err(errno) => {
                Err(errno).with_context(|| format!("look at the {name} namespace of process {pid}"))
            }
        }
    };
    let mut apart = Vec::new();
    for (kind, name) in NAMES {
        if inode(&theirs, name)? != inode(&own, name)? {
            apart.push(kind);
        }
    }
    Ok(apart)
}

/// Every kind as /proc/PID/ns calls it, namespaces(7).
const NAMES: [(NamespaceKind, &str); 8] = [
    (NamespaceKind::User, "user"),
    (NamespaceKind::Mount, "mnt"),
    (NamespaceKind::Pid, "pid"),
    (NamespaceKind::Network, "net"),
    (NamespaceKind::Ipc, "ipc"),
    (NamespaceKind::Uts, "uts"),
    (NamespaceKind::Cgroup, "cgroup"),
    (NamespaceKind::Time, "time"),
];

/// The maps of a process's user namespace, which is not the caller's, in the caller's ids.
pub fn maps_of(proc: &Proc, pid: i32) -> Result<Maps> {
    let process = proc.process(pid)?;
    let uids = parse(&proc.read_text(&format!("{process}/uid_map"))?)?;
    let gids = parse(&proc.read_text(&format!("{process}/gid_map"))?)?;
    Ok(Maps { uids, gids })
}

/// Whether setgroups(2) is denied in the user namespace of a process.
pub fn denies_setgroups(proc: &Proc, pid: i32) -> Result<bool> {
    Ok(proc.read_text(&format!("{}/setgroups", proc.process(pid)?))?.starts_with("deny"))
}

/// The lines of a map file.
pub fn parse(text: &str) -> Result<Vec<IdMap>> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace().map(str::parse::<u32>);
        match (words.next(), words.next(), words.next()) {
            (Some(Ok(container)), Some(Ok(host)), Some(Ok(size))) => Ok(IdMap { container, host, size }),
            _ => Err(Error::new(format_args!("read an id map: {line:?} is not three numbers"))),
        }
    };
    text.lines().map(line).collect()
}

/// A map as the kernel takes it: in one write.
fn text(lines: &[IdMap]) -> String {
    let line = |line: &IdMap| format!("{} {} {}\n", line.container, line.host, line.size);
    lines.iter().map(line).collect::<Vec<_>>().concat()
}

/// newuidmap(1) or newgidmap(1) at work.
struct Tool {
    name: &'static str,
    program: PathBuf,
    child: Child,
}

impl Tool {
    fn start(name: &'static str, process: &str, lines: &[IdMap]) -> Result<Self> {
        let numbers = lines.iter().flat_map(|line| [line.container, line.host, line.size]);
        let program = find(name)?;
        let child = Command::new(&program)
            .arg(process)
            .args(numbers.map(|number| number.to_string()))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("map ids: run {}", program.display()))?;
        Ok(Self { name, program, child })
    }

    fn wait(mut self) -> Result<()> {
        let step = || format!("map ids: run {}", self.program.display());
        let mut said = Vec::new();
        let heard = self.child.stderr.take().map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut said));
        let status = self.child.wait().with_context(step)?;
        heard.with_context(step)?;
        if status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&said).trim().replace('\n', "; ");
        Err(Error::new(format_args!("map ids: {} refused the map ({status}): {said}", self.name)))
    }
}

/// Where a map tool is. A relative PATH entry is passed over: it would let the caller's directory choose the program.
fn find(name: &str) -> Result<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let standard = ["/usr/bin", "/usr/local/bin", "/bin"];
    path.split(':')
        .chain(standard)
        .filter(|directory| directory.starts_with('/'))
        .map(|directory| Path::new(directory).join(name))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            Error::new(format_args!(
                "map ids: {name} is not installed, and without it only the own id can be mapped"
            ))
            .hint("install the package uidmap (Debian) or shadow-utils (Fedora)")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_file_reads_as_lines() {
        let lines = parse("         0     100000      65536\n1 2 3\n").unwrap();
        assert_eq!(lines[0], IdMap { container: 0, host: 100_000, size: 65_536 });
        assert_eq!(text(&lines), "0 100000 65536\n1 2 3\n");
        assert!(parse("0 1").is_err());
    }
}

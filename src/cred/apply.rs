//! What is done to init by its pid, with the runtime's privileges.

use super::op::{Denial, OutsideOp, Scheduling, limit_name};
use crate::{
    error::{Context, Error, Result},
    sys::{fd::standard, proc::Proc, sched},
};
use nix::{errno::Errno, sys::stat::fstat};
use std::os::fd::BorrowedFd;

/// Applies the operations to `pid`, a number in the pid namespace of `proc` and of the caller; standard streams are the
/// caller's own, which init has inherited. What was refused and may be (see [`Denial::Noted`]) is returned for the log.
pub fn apply(ops: &[OutsideOp], pid: i32, proc: &Proc) -> Result<Vec<Error>> {
    let mut notes = Vec::new();
    for op in ops {
        notes.extend(one(op, pid, proc).with_context(|| op)?);
    }
    Ok(notes)
}

fn one(op: &OutsideOp, pid: i32, proc: &Proc) -> Result<Option<Error>> {
    match *op {
        OutsideOp::Cpus(ref cpus) => sched::set_affinity(pid, cpus)
            .hint("the processors have to be online and among those of the container's cpuset")?,
        OutsideOp::AllCpus => sched::set_affinity_to_all(pid)?,
        OutsideOp::Limit { resource, soft, hard, denial } => {
            return limit(pid, resource, sched::Limit { soft, hard }, denial);
        }
        OutsideOp::OomScore { score, denial } => return oom_score(pid, score, denial, proc),
        OutsideOp::Scheduler(wanted) => sched::set_attributes(pid, attributes(wanted)).hint(
            "real-time policies and negative nice values need CAP_SYS_NICE; see also cpu.rt_runtime_us",
        )?,
        OutsideOp::IoPriority(value) => {
            sched::set_io_priority(pid, value)
                .hint("the real-time class needs CAP_SYS_NICE or CAP_SYS_ADMIN")?;
        }
        OutsideOp::Stdio { uid, gid } => {
            for stream in standard() {
                give(stream, uid, gid)?;
            }
        }
    }
    Ok(None)
}

fn limit(pid: i32, resource: u32, wanted: sched::Limit, denial: Denial) -> Result<Option<Error>> {
    let Err(refused) = sched::limit(pid, resource, Some(wanted)) else { return Ok(None) };
    if !is_denied(&refused) {
        return Err(refused);
    }
    let hint = format!(
        "raising {} beyond the hard limit needs CAP_SYS_RESOURCE in the initial user namespace; raise the limit of the \
         caller (LimitNOFILE= and the like in its systemd unit, or ulimit -H)",
        limit_name(resource)
    );
    let refused = refused.hint(hint);
    if denial == Denial::Fails {
        return Err(refused);
    }
    let hard = sched::limit(pid, resource, None)?.hard.min(wanted.hard);
    sched::limit(pid, resource, Some(sched::Limit { soft: wanted.soft.min(hard), hard }))?;
    Ok(Some(refused.context(format_args!("{} stays at {hard}", limit_name(resource)))))
}

fn oom_score(pid: i32, score: i32, denial: Denial, proc: &Proc) -> Result<Option<Error>> {
    let path = format!("{}/oom_score_adj", proc.process(pid)?);
    let Err(refused) = proc.write(&path, score.to_string().as_bytes()) else { return Ok(None) };
    let refused = refused.hint("lowering the OOM score needs CAP_SYS_RESOURCE in the initial user namespace");
    if is_denied(&refused) && denial == Denial::Noted {
        return Ok(Some(refused.context(format_args!("the OOM score is not lowered to {score}"))));
    }
    Err(refused)
}

fn is_denied(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::EPERM | libc::EACCES))
}

fn attributes(wanted: Scheduling) -> sched::Attributes {
    sched::Attributes {
        size: 0,
        policy: wanted.policy,
        flags: wanted.flags,
        nice: wanted.nice,
        priority: wanted.priority,
        runtime: wanted.runtime,
        deadline: wanted.deadline,
        period: wanted.period,
    }
}

/// First and last major number of pseudo-terminals, `UNIX98_PTY_SLAVE_MAJOR` in the kernel.
const PTY_MAJORS: std::ops::RangeInclusive<u64> = 136..=143;

/// Changes the owner of a pipe, socket or pseudo-terminal. Never of anything else: /dev/null and files are shared with
/// the host (CVE-2026-88265). A file system that refuses is left as it is, the stream is usable or it is not.
fn give(stream: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<()> {
    let stat = match fstat(stream) {
        Ok(stat) => stat,
        Err(Errno::EBADF) => return Ok(()), // closed by the caller
        Err(errno) => return Err(errno.into()),
    };
    let is_pty = PTY_MAJORS.contains(&nix::sys::stat::major(stat.st_rdev));
    let gid = match stat.st_mode & libc::S_IFMT {
        libc::S_IFIFO | libc::S_IFSOCK => Some(gid),
        // Its group stays `tty`, which write(1) and wall(1) are members of.
        libc::S_IFCHR if is_pty => None,
        _ => return Ok(()),
    };
    if stat.st_uid == uid && gid.is_none_or(|gid| gid == stat.st_gid) {
        return Ok(());
    }
    let done = nix::unistd::fchown(stream, Some(uid.into()), gid.map(Into::into));
    match done {
        Err(Errno::EINVAL | Errno::EPERM | Errno::EROFS | Errno::ENOSYS) => Ok(()),
        done => done.with_context(|| format!("fchown({}, {uid})", crate::sys::show(stream))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host::caller::Caller,
        sys::scratch::{Child, Dir, child},
    };
    use nix::sched::CloneFlags;
    use std::os::fd::AsFd;
    use std::{fs::File, os::unix::net::UnixStream};

    /// `CAP_SYS_RESOURCE`
    const SYS_RESOURCE: u64 = 1 << 24;

    fn idle() -> Child {
        child(CloneFlags::empty(), || Ok(String::new()))
    }

    fn do_one(op: OutsideOp, pid: i32) -> Result<Vec<Error>> {
        apply(&[op], pid, &Proc::open().unwrap())
    }

    /// A pseudo-terminal's two ends.
    fn pty() -> (File, File) {
        let open = |path: String| File::options().read(true).write(true).open(path).unwrap();
        let master = open("/dev/ptmx".into());
        let number = crate::sys::scratch::unlock_pty(&master);
        (master, open(format!("/dev/pts/{number}")))
    }

    fn may_raise() -> bool {
        Caller::probe(&Proc::open().unwrap()).unwrap().permitted & SYS_RESOURCE != 0
    }

    #[test]
    fn limits_are_set_on_another_process_and_raising_beyond_the_hard_one_is_told() {
        let child = idle();
        let nofile = |soft, hard, denial| OutsideOp::Limit { resource: 7, soft, hard, denial };
        assert!(do_one(nofile(100, 200, Denial::Fails), child.pid).unwrap().is_empty());
        let seen = || std::fs::read_to_string(format!("/proc/{}/limits", child.pid)).unwrap();
        assert!(seen().contains("Max open files            100                  200"), "{}", seen());
        if may_raise() {
            return;
        }
        let error = do_one(nofile(300, 300, Denial::Fails), child.pid).unwrap_err();
        assert!(error.to_string().starts_with("set RLIMIT_NOFILE to 300:300: prlimit("), "{error}");
        assert!(error.remedy().unwrap().contains("CAP_SYS_RESOURCE"), "{error:?}");
        let notes = do_one(nofile(300, 300, Denial::Noted), child.pid).unwrap();
        assert!(notes[0].to_string().contains("RLIMIT_NOFILE stays at 200"), "{notes:?}");
        assert!(seen().contains("Max open files            200                  200"), "{}", seen());
        assert!(do_one(nofile(300, 200, Denial::Noted), child.pid).is_err(), "soft above hard is a mistake");
    }

    #[test]
    fn the_oom_score_rises_for_everybody_and_falls_for_the_privileged() {
        let child = idle();
        let score = |score, denial| OutsideOp::OomScore { score, denial };
        let seen = || std::fs::read_to_string(format!("/proc/{}/oom_score_adj", child.pid)).unwrap();
        assert!(do_one(score(321, Denial::Fails), child.pid).unwrap().is_empty());
        assert_eq!(seen(), "321\n");
        if may_raise() {
            return;
        }
        let error = do_one(score(-999, Denial::Fails), child.pid).unwrap_err();
        assert!(error.remedy().unwrap().contains("CAP_SYS_RESOURCE"), "{error:?}");
        assert_eq!(do_one(score(-999, Denial::Noted), child.pid).unwrap().len(), 1);
        assert!(do_one(score(2000, Denial::Noted), child.pid).is_err(), "out of range is a mistake");
        assert_eq!(seen(), "321\n");
    }

    #[test]
    fn scheduling_io_priority_and_affinity_are_set_by_pid() {
        let child = idle();
        sched::set_affinity(child.pid, &[0]).unwrap();
        assert_eq!(child.status("Cpus_allowed_list"), "0");
        do_one(OutsideOp::AllCpus, child.pid).unwrap();
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(own.contains(&format!("Cpus_allowed_list:\t{}\n", child.status("Cpus_allowed_list"))));
        let batch = Scheduling { policy: 3, nice: 7, ..Scheduling::default() };
        do_one(OutsideOp::Scheduler(batch), child.pid).unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.pid)).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        assert_eq!((fields[16], fields[38]), ("7", "3"), "nice, policy");
        do_one(OutsideOp::IoPriority(2 << 13 | 6), child.pid).unwrap();
        let class =
            std::process::Command::new("ionice").args(["-p", &child.pid.to_string()]).output().unwrap();
        assert_eq!(String::from_utf8(class.stdout).unwrap(), "best-effort: prio 6\n");
        let wrong = Scheduling { policy: 99, ..Scheduling::default() };
        let error = do_one(OutsideOp::Scheduler(wrong), child.pid).unwrap_err();
        assert!(error.to_string().contains("EINVAL"), "{error}");
    }

    #[test]
    fn pipes_and_sockets_change_hands_and_nothing_else_does() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let owner = |fd: BorrowedFd<'_>| fstat(fd).map(|stat| (stat.st_uid, stat.st_gid)).unwrap();
        let (read, _write) = std::io::pipe().unwrap();
        let (socket, _peer) = UnixStream::pair().unwrap();
        let (_master, pty) = pty();
        give(pty.as_fd(), 4321, 1234).unwrap();
        assert_eq!(owner(pty.as_fd()).0, 4321);
        assert_ne!(owner(pty.as_fd()).1, 1234, "a terminal keeps its group");
        for fd in [read.as_fd(), socket.as_fd()] {
            give(fd, 4321, 1234).unwrap();
            assert_eq!(owner(fd), (4321, 1234));
        }
        let null = File::open("/dev/null").unwrap();
        let dir = Dir::new("give");
        let file = File::create(dir.join("file")).unwrap();
        for fd in [null.as_fd(), file.as_fd()] {
            let before = owner(fd);
            give(fd, 4321, 1234).unwrap();
            assert_eq!(owner(fd), before);
        }
    }
}

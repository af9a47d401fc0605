//! What is done to init by its pid, with the runtime's privileges.

use super::op::{Denial, OutsideOp, Scheduling, limit_name};
use crate::{
    error::{Context, Error, Result},
    sys::{proc::Proc, sched},
};
use nix::{errno::Errno, sys::stat::fstat};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

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
            let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
            for stream in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
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
    let path = format!("{pid}/oom_score_adj");
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

//! What init does to itself, right before execve.

use super::op::{Denial, InsideOp, KeyringAccess};
use crate::{
    error::{Context, Error, Result},
    sys::{keyring, prctl, proc::Proc, sched},
};
use nix::{
    errno::Errno,
    sys::stat::{Mode, umask},
    unistd::{chdir, setgroups, setresgid, setresuid},
};
use std::ffi::CStr;

/// Applies the operations to the caller. `proc` shows the caller's pid namespace. What was refused and may be (see
/// [`Denial::Noted`]) is returned for the log.
pub fn apply(ops: &[InsideOp], proc: &Proc) -> Result<Vec<Error>> {
    let mut notes = Vec::new();
    let mut arrived = false;
    for op in ops {
        let done = match op {
            InsideOp::DirectoryAsRoot(path) => as_root(path).map(|there| {
                arrived = there;
                None
            }),
            InsideOp::DirectoryAsUser(path) => as_user(path, arrived).map(|()| None),
            InsideOp::SessionKeyring { name, access, denial } => session_keyring(name, *access, *denial),
            other => one(other, proc).map(|()| None),
        };
        notes.extend(done.with_context(|| op)?);
    }
    Ok(notes)
}

fn one(op: &InsideOp, proc: &Proc) -> Result<()> {
    match op {
        InsideOp::KeyLabel(label) => label.apply(proc),
        InsideOp::Label(label) => label.apply(proc),
        InsideOp::Personality(persona) => prctl::set_personality(*persona),
        InsideOp::MemoryPolicy { mode, nodes } => sched::set_memory_policy(*mode, nodes),
        InsideOp::Umask(mask) => {
            umask(Mode::from_bits_truncate(*mask));
            Ok(())
        }
        InsideOp::NoNewPrivileges => prctl::set_no_new_privs(),
        InsideOp::Groups(gids) => {
            let gids: Vec<_> = gids.iter().map(|gid| (*gid).into()).collect();
            setgroups(&gids).with_context(|| format!("setgroups({gids:?})"))
        }
        InsideOp::Bounding(keep) => drop_bounding(*keep),
        InsideOp::KeepCapabilities => prctl::set_keep_capabilities(true),
        InsideOp::Group(gid) => {
            let id = (*gid).into();
            setresgid(id, id, id).with_context(|| format!("setresgid({gid}, {gid}, {gid})"))
        }
        InsideOp::User(uid) => {
            let id = (*uid).into();
            setresuid(id, id, id).with_context(|| format!("setresuid({uid}, {uid}, {uid})"))
        }
        InsideOp::Undumpable => prctl::set_dumpable(false),
        InsideOp::ForgetCapabilities => prctl::set_keep_capabilities(false),
        InsideOp::Capabilities { effective, permitted, inheritable } => {
            prctl::set_capabilities(*effective, *permitted, *inheritable)
        }
        InsideOp::Ambient(mask) => {
            prctl::clear_ambient()?;
            numbers(*mask).try_for_each(prctl::raise_ambient)
        }
        InsideOp::DirectoryAsRoot(_) | InsideOp::DirectoryAsUser(_) | InsideOp::SessionKeyring { .. } => {
            Ok(())
        }
    }
}

/// The capabilities in a mask.
fn numbers(mask: u64) -> impl Iterator<Item = u32> {
    (0..u64::BITS).filter(move |bit| mask >> bit & 1 == 1)
}

fn drop_bounding(keep: u64) -> Result<()> {
    for capability in numbers(!keep) {
        match prctl::drop_bounding(capability) {
            Ok(()) => {}
            Err(error) if error.errno() == Some(libc::EINVAL) => return Ok(()), // beyond the kernel's last one
            // Without CAP_SETPCAP nothing can be dropped, which is no failure where there is nothing to drop.
            Err(error) if error.errno() == Some(libc::EPERM) => {
                if prctl::in_bounding(capability)? {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// keyctl(2), "Key permissions": everything for whoever possesses it, and for its owner to view, read, link, and (which is not the
/// default) search, so that exec finds it by name.
const OWN_KEYRING: u32 = 0x3f1b_0000;

fn session_keyring(name: &CStr, access: KeyringAccess, denial: Denial) -> Result<Option<Error>> {
    let joined = keyring::join_session(&name.to_string_lossy()).and_then(|key| match access {
        KeyringAccess::New => keyring::set_permissions(key, OWN_KEYRING),
        KeyringAccess::Found => Ok(()),
    });
    let Err(error) = joined else { return Ok(None) };
    let error = error.context("the caller's session keyring is still there");
    match error.errno() {
        Some(libc::ENOSYS) => Ok(Some(error)), // a kernel without keys has none to leak
        Some(libc::EACCES | libc::EDQUOT) if denial == Denial::Noted => Ok(Some(error)),
        Some(libc::EDQUOT) => Err(error.hint(
            "the user's keys are used up: raise /proc/sys/kernel/keys/maxkeys or pass --no-new-keyring",
        )),
        _ => Err(error.hint("pass --no-new-keyring to go without")),
    }
}

/// Whether it worked; a refusal is settled when the user has tried.
fn as_root(path: &CStr) -> Result<bool> {
    match chdir(path) {
        Ok(()) => Ok(true),
        Err(Errno::EACCES | Errno::EPERM) => Ok(false),
        Err(errno) => Err(refused(path, errno)),
    }
}

fn as_user(path: &CStr, arrived: bool) -> Result<()> {
    if !arrived {
        chdir(path).map_err(|errno| refused(path, errno))?;
    }
    let seen = prctl::working_directory()?;
    if !is_inside(&seen) {
        crate::bail!("the directory is outside of the container's root: {}", String::from_utf8_lossy(&seen));
    }
    Ok(())
}

/// getcwd(2) starts with `(unreachable)` where the directory is not below the root directory (CVE-2024-21626).
fn is_inside(cwd: &[u8]) -> bool {
    cwd.first() == Some(&b'/')
}

/// The error of chdir in the lower-case words that engines look for.
fn refused(path: &CStr, errno: Errno) -> Error {
    Error::new(format_args!("chdir({path:?}): {} ({errno:?})", errno.desc().to_lowercase()))
        .hint("process.cwd has to be a directory in the container that process.user may enter")
}

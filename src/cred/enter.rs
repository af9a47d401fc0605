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
            // Beyond the kernel's last one, or, without CAP_SETPCAP, no failure where there is nothing to drop: the set
            // itself says which.
            Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::EPERM)) => {
                match prctl::in_bounding(capability) {
                    Ok(false) => {}
                    Ok(true) => return Err(error),
                    Err(end) if end.errno() == Some(libc::EINVAL) => return Ok(()),
                    Err(other) => return Err(other),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// keyctl(2), "Key permissions": everything for whoever possesses it, and for its owner to view, read, link, and (which
/// is not the default) search, so that exec finds it by name.
const OWN_KEYRING: u32 = 0x3f1b_0000;

fn session_keyring(name: &CStr, access: KeyringAccess, denial: Denial) -> Result<Option<Error>> {
    let joined = keyring::join_session(&name.to_string_lossy()).and_then(|key| match access {
        KeyringAccess::New => keyring::set_permissions(key, OWN_KEYRING),
        KeyringAccess::Found => Ok(()),
    });
    let Err(error) = joined else { return Ok(None) };
    let error = error.context("the caller's session keyring is still there");
    match error.errno() {
        // No keys in this kernel, or keyctl(2) filtered away by an outer container: nothing that could leak.
        Some(libc::ENOSYS | libc::EPERM) => Ok(Some(error)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cred::plan::{
            Input, Setgroups, inside,
            tests::{input, mapped, process},
        },
        spec::{Capabilities, Linux, Process, User},
        sys::scratch::{Child, Dir, become_sleep, child, load_filter},
    };
    use nix::sched::CloneFlags;

    const SYS_ADMIN: u64 = 1 << 21;

    fn become_root() -> Result<()> {
        setresgid(0.into(), 0.into(), 0.into())?;
        setresuid(0.into(), 0.into(), 0.into())?;
        Ok(())
    }

    /// A process in a new user namespace that takes the planned identity and turns into a program.
    fn run(process: &Process, input: &Input<'_>) -> (Child, String) {
        let ops = inside(process, &Linux::default(), input).unwrap();
        let mut child = child(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS, || {
            become_root()?;
            let notes = apply(&ops, &Proc::open()?)?;
            assert!(notes.is_empty(), "{notes:?}");
            if input.keep_for_filter {
                load_filter()?;
            }
            become_sleep()
        });
        let report = child.report();
        (child, report)
    }

    fn sets(child: &Child) -> [u64; 5] {
        ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
            .map(|field| u64::from_str_radix(&child.status(field), 16).unwrap())
    }

    fn is_root() -> bool {
        nix::unistd::geteuid().is_root()
    }

    /// What is kept for the filter never reaches the program; capabilities(7), "Transformation during execve()".
    #[test]
    fn the_program_has_exactly_the_capabilities_it_was_given() {
        if !is_root() {
            return;
        }
        let maps = mapped();
        for uid in [0, 1000] {
            for bounding in [0x7, 0x7 | SYS_ADMIN] {
                for no_new_privileges in [false, true] {
                    let process = Process {
                        user: User { uid, gid: uid, ..User::default() },
                        capabilities: Capabilities {
                            bounding,
                            effective: 7,
                            permitted: 7,
                            ..Capabilities::default()
                        },
                        no_new_privileges,
                        ..process()
                    };
                    let (child, report) = run(&process, &Input { keep_for_filter: true, ..input(&maps) });
                    assert_eq!(report, "", "uid {uid}");
                    // The kernel gives root what the bounding set allows, but under no_new_privs no more than it had.
                    let expected = match (uid, no_new_privileges) {
                        (0, false) => bounding,
                        (0, true) => 7,
                        _ => 0,
                    };
                    assert_eq!(sets(&child), [0, expected, expected, bounding, 0], "{process:?}");
                    assert_eq!(child.status("NoNewPrivs"), u8::from(no_new_privileges).to_string());
                    assert_eq!(child.status("Seccomp"), "2");
                }
            }
        }
    }

    #[test]
    fn ambient_capabilities_reach_a_program_of_another_user() {
        if !is_root() {
            return;
        }
        let capabilities =
            Capabilities { bounding: 0xff, effective: 7, permitted: 7, inheritable: 6, ambient: 2 };
        let user = User { uid: 1000, gid: 2000, umask: Some(0o37), additional_gids: vec![5, 70] };
        let process = Process { user, capabilities, ..process() };
        let maps = mapped();
        let (child, report) = run(&process, &Input { keep_for_filter: true, ..input(&maps) });
        assert_eq!(report, "");
        assert_eq!(sets(&child), [6, 2, 2, 0xff, 2]);
        assert_eq!(child.status("Uid"), "101000\t101000\t101000\t101000");
        assert_eq!(child.status("Gid"), "102000\t102000\t102000\t102000");
        assert_eq!(child.status("Groups"), "100005 100070");
        assert_eq!(child.status("Umask"), "0037");
    }

    #[test]
    fn the_filter_cannot_be_loaded_without_what_is_kept_for_it() {
        if !is_root() {
            return;
        }
        let ops = inside(&process(), &Linux::default(), &input(&mapped())).unwrap();
        let mut child = child(CloneFlags::CLONE_NEWUSER, || {
            apply(&ops, &Proc::open()?)?;
            load_filter()?;
            become_sleep()
        });
        assert!(child.report().contains("EACCES"));
    }

    #[test]
    fn identity_is_taken_undumpable_and_with_a_keyring_of_its_own() {
        if !is_root() {
            return;
        }
        let process = Process { user: User { uid: 1000, gid: 1000, ..User::default() }, ..process() };
        let ops = inside(&process, &Linux::default(), &input(&mapped())).unwrap();
        let mut child = child(CloneFlags::CLONE_NEWUSER, || {
            become_root()?;
            let proc = Proc::open()?;
            apply(&ops, &proc)?;
            // Only its own keys are visible here, and of those the session keyring has the name.
            proc.read_text("keys")
        });
        let keys = child.report();
        assert!(keys.contains("_ses.box") && keys.contains("3f1b0000"), "{keys}");
        let owner = std::os::unix::fs::MetadataExt::uid(
            &std::fs::metadata(format!("/proc/{}/maps", child.pid)).unwrap(),
        );
        assert_eq!(owner, 0, "a dumpable process would own its files in /proc itself");
    }

    #[test]
    fn the_working_directory_is_reached_as_root_or_as_user_and_stays_inside() {
        if !is_root() {
            return;
        }
        let maps = mapped();
        let base = Dir::new("cwd");
        let private = base.join("private");
        std::fs::create_dir_all(&private).unwrap();
        std::os::unix::fs::chown(&private, Some(100_000), Some(100_000)).unwrap();
        std::fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let shared = base.join("shared");
        std::fs::create_dir_all(&shared).unwrap();
        std::os::unix::fs::chown(&shared, Some(5), Some(101_000)).unwrap();
        std::fs::set_permissions(&shared, std::os::unix::fs::PermissionsExt::from_mode(0o750)).unwrap();
        std::fs::write(base.join("file"), "").unwrap();
        let end = |cwd: &str| {
            let user = User { uid: 1000, gid: 1000, ..User::default() };
            let (child, report) = run(&Process { cwd: cwd.into(), user, ..process() }, &input(&maps));
            let cwd = std::fs::read_link(format!("/proc/{}/cwd", child.pid)).unwrap();
            if report.is_empty() { cwd.display().to_string() } else { report }
        };
        let at = |name: &str| base.join(name).display().to_string();
        assert_eq!(end(&at("private")), at("private"));
        assert_eq!(end(&at("shared")), at("shared"), "root is no owner here and the user is in the group");
        assert!(end(&at("none")).ends_with("no such file or directory (ENOENT)"));
        assert!(end(&at("file")).ends_with("not a directory (ENOTDIR)"));
    }

    #[test]
    fn personality_and_memory_policy_are_in_force() {
        let ops = [InsideOp::Personality(8), InsideOp::MemoryPolicy { mode: 2, nodes: vec![1] }];
        let mut child = child(CloneFlags::empty(), || {
            let proc = Proc::open()?;
            apply(&ops, &proc)?;
            let own = proc.own()?;
            let policy = proc.read_text(&format!("{own}/numa_maps")).unwrap_or("bind:0".to_owned());
            Ok(format!("{}{policy}", proc.read_text(&format!("{own}/personality"))?))
        });
        let report = child.report();
        assert!(report.starts_with("00000008\n") && report.contains("bind:0"), "{report}");
    }

    /// CVE-2024-21626: a directory that is reachable through a descriptor and not below the root.
    #[test]
    fn a_working_directory_outside_of_the_root_is_refused() {
        if !is_root() {
            return;
        }
        let base = Dir::new("root");
        let ops = [InsideOp::DirectoryAsRoot(c".".into()), InsideOp::DirectoryAsUser(c".".into())];
        let mut child = child(CloneFlags::CLONE_NEWNS, || {
            let proc = Proc::open()?;
            nix::unistd::chdir("/usr")?;
            nix::unistd::chroot(&*base)?;
            apply(&ops, &proc)?;
            Ok("inside".to_owned())
        });
        let report = child.report();
        assert!(report.contains("outside of the container's root: (unreachable)/usr"), "{report}");
    }

    #[test]
    fn denied_groups_are_left_alone() {
        let maps = mapped();
        let input = Input { setgroups: Setgroups::Denied, ..input(&maps) };
        let ops = inside(&process(), &Linux::default(), &input).unwrap();
        assert!(!ops.iter().any(|op| matches!(op, InsideOp::Groups(_))));
    }
}

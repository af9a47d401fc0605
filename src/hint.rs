//! Remedies for failures whose cause lies in the set-up of the host: pure, (sentence, errno, facts) → advice.
//!
//! A hint names the file to edit or the command to type. It avoids the phrases by which engines classify errors
//! (`permission denied`, `does not exist`, …), because it travels with the sentence.

use crate::error::Error;

/// What a hint may need to know about the host; asked only after something failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The caller is uid 0 in its user namespace.
    pub is_root: bool,
    /// The caller's name, or its uid as text.
    pub user: String,
    /// `kernel.apparmor_restrict_unprivileged_userns` (Ubuntu 23.10 and later).
    pub apparmor_restricts_userns: bool,
    /// `kernel.unprivileged_userns_clone` is 0 (Debian, Arch).
    pub userns_clone_is_off: bool,
    /// `user.max_user_namespaces` is 0.
    pub no_user_namespaces: bool,
    /// The caller has a line in /etc/subuid and in /etc/subgid.
    pub has_subordinate_ids: bool,
    /// Something is mounted over a part of /proc, as inside a container.
    pub proc_is_masked: bool,
    /// A seccomp filter is in force: of an outer container, or a service's `SystemCallFilter=`.
    pub is_filtered: bool,
}

/// One kind of failure.
struct Row {
    /// Words that must all occur in the sentence.
    words: &'static [&'static str],
    /// The errno it needs, of which one is enough; none: any.
    errnos: &'static [i32],
    /// The first remedy whose condition holds.
    remedies: &'static [Remedy],
}

type Remedy = (fn(&Facts) -> bool, &'static str);

const ALWAYS: fn(&Facts) -> bool = |_| true;

const USER_NAMESPACE: &[Remedy] = &[
    (
        |facts| facts.no_user_namespaces,
        "user namespaces are switched off: sysctl -w user.max_user_namespaces=15000 (and a line in /etc/sysctl.d)",
    ),
    (
        |facts| !facts.is_root && facts.userns_clone_is_off,
        "this kernel keeps user namespaces to root: sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    (
        |facts| !facts.is_root && facts.apparmor_restricts_userns,
        "AppArmor keeps user namespaces to programs with a profile: give urun one with the rule `userns,`, or sysctl -w \
         kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    (
        |facts| facts.proc_is_masked,
        "this is inside a container whose seccomp filter refuses user namespaces: start the outer one with a profile \
         that allows clone and unshare of CLONE_NEWUSER",
    ),
];

const SUBORDINATE_IDS: &[Remedy] = &[
    (
        |facts| !facts.is_root && !facts.has_subordinate_ids,
        "{user} has no subordinate ids: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user} (as root, \
         with a range that /etc/subuid gives to nobody else)",
    ),
    (
        |facts| !facts.is_root,
        "the ids must lie in the ranges that /etc/subuid and /etc/subgid give to {user}, and newuidmap and newgidmap \
         (package uidmap or shadow-utils) must be setuid root or have cap_setuid and cap_setgid",
    ),
    (
        |facts| facts.is_root && facts.proc_is_masked,
        "inside a user namespace only ids that it has itself can be mapped: see /proc/self/uid_map",
    ),
];

const TABLE: &[Row] = &[
    Row {
        words: &["CLONE_NEWUSER"],
        errnos: &[libc::EPERM, libc::ENOSPC, libc::EACCES, libc::EUSERS],
        remedies: USER_NAMESPACE,
    },
    Row {
        words: &["user namespace"],
        errnos: &[libc::EPERM, libc::ENOSPC, libc::EACCES],
        remedies: USER_NAMESPACE,
    },
    Row { words: &["give this user no range"], errnos: &[], remedies: SUBORDINATE_IDS },
    Row { words: &["newuidmap"], errnos: &[], remedies: SUBORDINATE_IDS },
    Row { words: &["newgidmap"], errnos: &[], remedies: SUBORDINATE_IDS },
    Row { words: &["uid_map"], errnos: &[libc::EPERM], remedies: SUBORDINATE_IDS },
    Row { words: &["gid_map"], errnos: &[libc::EPERM], remedies: SUBORDINATE_IDS },
    Row {
        words: &["proc", "mount"],
        errnos: &[libc::EPERM],
        remedies: &[(
            |facts| facts.proc_is_masked,
            "the kernel gives a new /proc only to who sees all of the present one: start the outer container with an unmasked \
             /proc (urun --proc-mount unmasked, Podman --security-opt unmask=ALL, Kubernetes procMount: Unmasked)",
        )],
    },
    Row {
        words: &["pivot_root("],
        errnos: &[libc::EINVAL],
        remedies: &[(ALWAYS, "the root of this mount namespace is a ramdisk, which only --no-pivot leaves")],
    },
    Row {
        words: &["mounts[", "open source"],
        errnos: &[libc::ENOENT],
        remedies: &[(ALWAYS, "the host has nothing there: make it, or correct the source of this mount")],
    },
    Row {
        words: &["MOUNT_ATTR_IDMAP"],
        errnos: &[libc::EINVAL],
        remedies: &[(
            ALWAYS,
            "the file system of the source has no id-mapped mounts on this kernel (tmpfs has them since 6.3; overlay, NFS \
             and FUSE mostly do not): use another file system, or chown the files and leave the mappings out",
        )],
    },
    Row {
        words: &["MOUNT_ATTR_IDMAP"],
        errnos: &[libc::EPERM],
        remedies: &[(
            ALWAYS,
            "only root of the first user namespace may map the ids of a host file system: leave the mappings out when \
             running rootless",
        )],
    },
    Row {
        words: &["cgroup"],
        errnos: &[libc::EACCES, libc::EPERM, libc::EROFS],
        remedies: &[(
            ALWAYS,
            "this cgroup is not delegated to the caller: run below a unit with Delegate=yes (systemd-run --user --scope -p \
             Delegate=yes …), or do without: urun --cgroup-manager disabled",
        )],
    },
];

/// The calls that urun cannot do without, and the first Linux that has all that is asked of them (their manual pages).
/// Older filters, which do not know them, refuse them with EPERM, newer ones with ENOSYS.
const CALLS: &[(&str, &str)] = &[
    ("clone3", "5.7"),
    ("close_range", "5.11"),
    ("fsconfig", "5.2"),
    ("fsmount", "5.2"),
    ("fsopen", "5.2"),
    ("fspick", "5.2"),
    ("mount_setattr", "5.12"),
    ("move_mount", "5.2"),
    ("open_tree", "5.2"),
    ("pidfd_getfd", "5.6"),
    ("pidfd_open", "5.3"),
    ("pidfd_send_signal", "5.1"),
    ("waitid", "5.4"),
];

/// The remedy where the kernel, or a filter in its place, may have refused a call itself.
fn turned_down(sentence: &str, errno: Option<i32>, facts: &Facts) -> Option<String> {
    const FILTER: &str = "the seccomp filter around urun (of an outer container or a service)";
    let call = CALLS.iter().find(|(call, _)| sentence.contains(&format!("{call}(")));
    match (errno, call) {
        (Some(libc::ENOSYS), Some((call, version))) if facts.is_filtered => {
            Some(format!("{FILTER} has to allow {call}, which needs Linux {version} or newer"))
        }
        (Some(libc::ENOSYS), Some((call, version))) => Some(format!("{call} needs Linux {version} or newer")),
        (Some(libc::EPERM), Some((call, _))) if facts.is_filtered => {
            Some(format!("{FILTER} has to allow {call}"))
        }
        (Some(libc::ENOSYS | libc::EPERM), None) if facts.is_filtered => {
            Some(format!("{FILTER} may be what refuses this"))
        }
        _ => None,
    }
}

/// The remedy for `error`, where one is known. `facts` is asked only when something may fit.
pub fn remedy(error: &Error, facts: impl FnOnce() -> Facts) -> Option<String> {
    let sentence = error.to_string();
    let fits = |row: &&Row| {
        row.words.iter().all(|word| sentence.contains(word))
            && (row.errnos.is_empty() || error.errno().is_some_and(|errno| row.errnos.contains(&errno)))
    };
    let row = TABLE.iter().find(fits);
    if row.is_none() && !matches!(error.errno(), Some(libc::ENOSYS | libc::EPERM)) {
        return None;
    }
    let facts = facts();
    let known = row.and_then(|row| row.remedies.iter().find(|(holds, _)| holds(&facts)));
    match known {
        Some((_, text)) => Some(text.replace("{user}", &facts.user)),
        None => turned_down(&sentence, error.errno(), &facts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rootless() -> Facts {
        Facts { user: "ann".to_owned(), has_subordinate_ids: true, ..Facts::default() }
    }

    fn filtered() -> Facts {
        Facts { is_filtered: true, ..root() }
    }

    fn root() -> Facts {
        Facts { is_root: true, user: "root".to_owned(), ..rootless() }
    }

    #[test]
    fn each_known_failure_gets_the_remedy_of_its_host() {
        let clone = || Error::syscall("clone3(CLONE_NEWUSER|CLONE_NEWPID)", libc::EPERM);
        let rows = [
            (clone(), Facts { apparmor_restricts_userns: true, ..rootless() }, Some("apparmor_restrict")),
            (clone(), Facts { userns_clone_is_off: true, ..rootless() }, Some("unprivileged_userns_clone=1")),
            (clone(), Facts { no_user_namespaces: true, ..root() }, Some("max_user_namespaces")),
            (clone(), Facts { proc_is_masked: true, ..root() }, Some("seccomp")),
            (clone(), root(), None),
            (clone(), rootless(), None),
            (Error::syscall("clone3(CLONE_NEWPID)", libc::EPERM), rootless(), None),
            (
                Error::new("newuidmap failed"),
                Facts { has_subordinate_ids: false, ..rootless() },
                Some("usermod --add-subuids"),
            ),
            (Error::new("newgidmap failed"), rootless(), Some("ranges that /etc/subuid")),
            (Error::syscall("write(/proc/7/uid_map)", libc::EPERM), rootless(), Some("given")),
            (
                Error::syscall("fsmount()", libc::EPERM).context("mount proc on /proc"),
                Facts { proc_is_masked: true, ..rootless() },
                Some("procMount: Unmasked"),
            ),
            (Error::syscall("fsmount()", libc::EPERM).context("mount proc on /proc"), rootless(), None),
            (
                Error::syscall("mount_setattr(MOUNT_ATTR_IDMAP)", libc::EINVAL),
                root(),
                Some("id-mapped mounts"),
            ),
            (Error::syscall("mount_setattr(MOUNT_ATTR_IDMAP)", libc::EPERM), rootless(), Some("rootless")),
            (Error::syscall("mkdir(/sys/fs/cgroup/x)", libc::EACCES), rootless(), Some("Delegate=yes")),
            (Error::syscall("mkdir(/x)", libc::EACCES), rootless(), None),
            (Error::syscall("pivot_root(\".\", \".\")", libc::EINVAL), root(), Some("--no-pivot")),
            (Error::syscall("fsopen(\"proc\")", libc::ENOSYS), root(), Some("needs Linux 5.2")),
            (
                Error::syscall("fsopen(\"proc\")", libc::ENOSYS),
                filtered(),
                Some("has to allow fsopen, which needs"),
            ),
            (Error::syscall("fsopen(\"proc\")", libc::EPERM), filtered(), Some("has to allow fsopen")),
            (Error::syscall("fsopen(\"proc\")", libc::EPERM), root(), None),
            (Error::syscall("mkdir(/x)", libc::EPERM), filtered(), Some("may be what refuses this")),
            (Error::syscall("mkdir(/x)", libc::EACCES), filtered(), None),
        ];
        for (error, facts, expected) in rows {
            let expected = expected.map(|word| if word == "given" { "give to ann" } else { word });
            let hint = remedy(&error, || facts);
            match (&hint, expected) {
                (None, None) => {}
                (Some(hint), Some(part)) => assert!(hint.contains(part), "{error}: {hint}"),
                _ => panic!("{error}: {hint:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn a_sentence_of_ours_is_known_by_its_words() {
        let none = Error::new("/etc/subuid and /etc/subgid give this user no range");
        let facts = || Facts { has_subordinate_ids: false, ..rootless() };
        assert!(remedy(&none, facts).unwrap().contains("--add-subgids 100000-165535 ann"));
    }

    #[test]
    fn a_hint_holds_no_phrase_that_engines_act_on() {
        for (_, text) in TABLE.iter().flat_map(|row| row.remedies) {
            let text = text.to_lowercase();
            for phrase in [
                "permission denied",
                "operation not permitted",
                "no such",
                "not found",
                "does not exist",
                "not running",
                "not a directory",
                "open executable",
                "already finished",
                "/attr/",
            ] {
                assert!(!text.contains(phrase), "{text}");
            }
            assert!(!text.contains('\n') && !text.contains("  "), "{text}");
        }
    }

    #[test]
    fn the_host_is_not_asked_about_an_unknown_failure() {
        assert_eq!(remedy(&Error::new("x"), || panic!("asked")), None);
    }
}

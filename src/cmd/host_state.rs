//! What hints need to know about the host, asked after a failure. What cannot be read is taken for absent: a hint must
//! not fail in its turn.

use crate::{hint::Facts, host::passwd, ns::subid};
use std::fs;

/// Reads the facts.
pub fn facts() -> Facts {
    let uid = nix::unistd::geteuid().as_raw();
    let user = passwd::name_of(uid).unwrap_or_else(|_| uid.to_string());
    let has_ids = |path| !subid::ranges_of(&read(path), &user, Some(uid)).is_empty();
    let sysctl = |name: &str| read(&format!("/proc/sys/{name}")).trim().to_owned();
    Facts {
        is_root: uid == 0,
        apparmor_restricts_userns: sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1",
        userns_clone_is_off: sysctl("kernel/unprivileged_userns_clone") == "0",
        no_user_namespaces: sysctl("user/max_user_namespaces") == "0",
        has_subordinate_ids: has_ids("/etc/subuid") && has_ids("/etc/subgid"),
        is_filtered: read("/proc/self/status").lines().any(|line| line == "Seccomp:\t2"),
        proc_is_masked: covers_proc(&read("/proc/self/mountinfo")),
        user,
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Whether a mount lies over a part of /proc; binfmt_misc lies over an empty directory, which hides nothing.
fn covers_proc(mountinfo: &str) -> bool {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| *point != "/proc/sys/fs/binfmt_misc").any(|point| point.starts_with("/proc/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_proc_is_recognised() {
        let bare =
            "24 1 0:22 / /proc rw - proc proc rw\n30 24 0:30 / /proc/sys/fs/binfmt_misc rw - autofs x rw\n";
        assert!(!covers_proc(bare));
        assert!(covers_proc(&format!("{bare}31 24 0:5 /null /proc/kcore rw - devtmpfs x rw\n")));
        assert!(!covers_proc("31 24 0:5 / /process rw - x x rw\n"));
    }
}

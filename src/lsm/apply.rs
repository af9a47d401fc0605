//! Which modules are in force, and the writes to `/proc/PID/attr`.

use super::plan::{AppArmor, ExecLabel, Facts, KeyLabel};
use crate::{
    error::{Context, Result},
    sys::proc::Proc,
};
use nix::sys::{
    statfs::{SELINUX_MAGIC, statfs},
    statvfs::FsFlags,
};
use std::fs;

/// Asks the host. To be called before any file system of a container is entered, and only when labels are asked for
/// ([`super::plan::is_asked`]).
pub fn probe(proc: &Proc) -> Result<Facts> {
    Ok(Facts { apparmor: probe_apparmor(proc)?, selinux: probe_selinux() })
}

fn probe_apparmor(proc: &Proc) -> Result<Option<AppArmor>> {
    if !fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.first() == Some(&b'Y')) {
        return Ok(None);
    }
    let own = proc.own()?;
    let current = proc
        .read_text(&format!("{own}/attr/apparmor/current"))
        .or_else(|_| proc.read_text(&format!("{own}/attr/current")))
        .context("read the runtime's own AppArmor profile")?;
    Ok(Some(confinement(&current)))
}

fn confinement(current: &str) -> AppArmor {
    if current.trim_end_matches(['\n', '\0']) == "unconfined" {
        AppArmor::Unconfined
    } else {
        AppArmor::Confined
    }
}

/// SELinux is enabled where its file system is mounted and writable, as libselinux decides it.
fn probe_selinux() -> bool {
    let filesystem = statfs("/sys/fs/selinux");
    filesystem
        .is_ok_and(|fs| fs.filesystem_type() == SELINUX_MAGIC && !fs.flags().contains(FsFlags::ST_RDONLY))
}

impl ExecLabel {
    /// Prepares the label for the caller's next execve, through the verified handle (CVE-2019-16884, CVE-2025-52881).
    pub fn apply(&self, proc: &Proc) -> Result<()> {
        let own = proc.own()?;
        let shared = format!("{own}/attr/exec");
        let (path, text) = match self {
            Self::AppArmor(command) => {
                // Its own directory (5.8) works beside other modules; the shared file belongs to the first one.
                let path = format!("{own}/attr/apparmor/exec");
                let path = if proc.open_file(&path, libc::O_PATH).is_ok() { path } else { shared };
                (path, command)
            }
            Self::SeLinux(label) => (shared, label),
        };
        // Back-quotes and path are what Podman recognises a refused label by.
        proc.write(&path, text.as_bytes()).with_context(|| format!("{self}: write to `/proc/{path}`")).hint(
            match self {
                Self::AppArmor(_) => "check that the profile is loaded: aa-status lists the loaded ones",
                Self::SeLinux(_) => {
                    "check that the policy knows the label and allows the transition: ausearch -m avc"
                }
            },
        )
    }
}

impl KeyLabel {
    /// Prepares the label of the next key that the caller makes.
    pub fn apply(&self, proc: &Proc) -> Result<()> {
        let path = format!("{}/attr/keycreate", proc.own()?);
        proc.write(&path, self.0.as_bytes()).with_context(|| format!("{self}: write to `/proc/{path}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_profile_tells_whether_profiles_stack() {
        assert_eq!(confinement("unconfined\n"), AppArmor::Unconfined);
        assert_eq!(confinement("crio-default (enforce)\n"), AppArmor::Confined);
        assert_eq!(confinement("unconfined//&web (enforce)\n"), AppArmor::Confined);
    }

    #[test]
    fn probing_agrees_with_this_kernel() {
        let facts = probe(&Proc::open().unwrap()).unwrap();
        let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
        if !modules.is_empty() {
            assert_eq!(facts.selinux, modules.split(',').any(|name| name == "selinux"));
        }
    }

    #[test]
    fn a_refused_label_names_the_attribute_in_back_quotes() {
        let proc = Proc::open().unwrap();
        let error = ExecLabel::AppArmor("exec no such profile".into()).apply(&proc).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`/proc/") && text.contains("/attr/") && text.contains("exec`"), "{text}");
    }
}

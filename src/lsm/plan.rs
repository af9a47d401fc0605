//! Which labels a process gets.

use crate::{
    error::{Error, Result},
    spec::Process,
};
use std::{collections::BTreeMap, fmt};

/// Which security modules are in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// AppArmor, where it is enabled.
    pub apparmor: Option<AppArmor>,
    /// SELinux is enabled.
    pub selinux: bool,
}

/// How AppArmor treats the runtime itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppArmor {
    /// No profile: it may switch to any.
    Unconfined,
    /// A profile: under `noNewPrivileges` it may only add another one to it.
    Confined,
}

/// The label that execve switches to, as the text that goes into an attribute file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecLabel {
    /// `exec PROFILE` or `stack PROFILE`
    AppArmor(String),
    /// a security context
    SeLinux(String),
}

/// The SELinux context of the next key, for `attr/keycreate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLabel(pub String);

impl fmt::Display for ExecLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AppArmor(command) => write!(f, "set AppArmor profile: {command}"),
            Self::SeLinux(label) => write!(f, "set SELinux label {label}"),
        }
    }
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "set SELinux label {} of the session keyring", self.0)
    }
}

/// Whether the process asks for any label, so that [`Facts`] matter.
pub fn is_asked(process: &Process) -> bool {
    [&process.apparmor_profile, &process.selinux_label].into_iter().flatten().any(|label| !label.is_empty())
}

/// AppArmor's name for no profile at all.
const UNCONFINED: &str = "unconfined";

/// The labels of the process.
///
/// # Errors
/// A label is asked for and its module is not in force, or the text could be taken for more than one label.
pub fn plan(process: &Process, facts: Facts) -> Result<Vec<ExecLabel>> {
    let mut labels = Vec::new();
    if let Some(profile) = process.apparmor_profile.as_deref().filter(|profile| !profile.is_empty()) {
        labels.extend(apparmor(profile, process.no_new_privileges, facts)?.map(ExecLabel::AppArmor));
    }
    labels.extend(selinux(process, facts)?.map(ExecLabel::SeLinux));
    Ok(labels)
}

/// The label of the session keyring: that of the process, which could not use it otherwise.
pub fn plan_key(process: &Process, facts: Facts) -> Result<Option<KeyLabel>> {
    Ok(selinux(process, facts)?.map(KeyLabel))
}

fn apparmor(profile: &str, no_new_privileges: bool, facts: Facts) -> Result<Option<String>> {
    clean("process.apparmorProfile", profile)?;
    match facts.apparmor {
        None if profile == UNCONFINED => Ok(None),
        None => Err(Error::new(format_args!(
            "process.apparmorProfile {profile:?}: AppArmor is not enabled on this host"
        ))
        .hint("enable AppArmor (apparmor=1 on the kernel's command line) or leave the profile out")),
        Some(AppArmor::Confined) if no_new_privileges => Ok(Some(format!("stack {profile}"))),
        Some(_) => Ok(Some(format!("exec {profile}"))),
    }
}

fn selinux(process: &Process, facts: Facts) -> Result<Option<String>> {
    let Some(label) = process.selinux_label.as_deref().filter(|label| !label.is_empty()) else {
        return Ok(None);
    };
    clean("process.selinuxLabel", label)?;
    if !facts.selinux {
        return Err(disabled("process.selinuxLabel", label));
    }
    Ok(Some(label.to_owned()))
}

fn disabled(path: &str, label: &str) -> Error {
    Error::new(format_args!("{path} {label:?}: SELinux is not enabled on this host"))
        .hint("enable SELinux or leave the label out (Podman: --security-opt label=disable)")
}

/// No control characters: a NUL or a newline would end the label early.
fn clean(path: &str, label: &str) -> Result<()> {
    if label.chars().any(char::is_control) {
        crate::bail!("{path} {label:?} contains a control character");
    }
    Ok(())
}

/// Annotation of crun that picks the SELinux option of new file systems.
const CONTEXT_TYPE: &str = "run.oci.mount_context_type";

/// The option that labels a new file system: name and value in fsconfig(2) terms, mount(8) "context=". The kernel takes
/// the value as a whole, so commas in MCS categories need no quotes.
pub fn mount_option(
    label: &str,
    facts: Facts,
    annotations: &BTreeMap<String, String>,
) -> Result<(&'static str, String)> {
    clean("linux.mountLabel", label)?;
    if !facts.selinux {
        return Err(disabled("linux.mountLabel", label));
    }
    let name = match annotations.get(CONTEXT_TYPE).map(String::as_str) {
        None | Some("context") => "context",
        Some("fscontext") => "fscontext",
        Some("defcontext") => "defcontext",
        Some("rootcontext") => "rootcontext",
        Some(other) => {
            return Err(Error::new(format_args!("annotation {CONTEXT_TYPE}: {other:?} is no mount context"))
                .hint("use context, fscontext, defcontext or rootcontext"));
        }
    };
    Ok((name, label.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(profile: &str, label: &str, no_new_privileges: bool) -> Process {
        Process {
            apparmor_profile: Some(profile.to_owned()),
            selinux_label: Some(label.to_owned()),
            no_new_privileges,
            ..crate::cred::plan::tests::process()
        }
    }

    fn command(profile: &str, frozen: bool, apparmor: Option<AppArmor>) -> String {
        match plan(&process(profile, "", frozen), Facts { apparmor, selinux: false }) {
            Ok(labels) => labels.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_profile_becomes_the_command_that_apparmor_allows() {
        let free = Some(AppArmor::Unconfined);
        let bound = Some(AppArmor::Confined);
        let missing = "process.apparmorProfile \"web\": AppArmor is not enabled on this host";
        for (profile, frozen, apparmor, expected) in [
            ("web", false, free, "set AppArmor profile: exec web"),
            ("web", true, free, "set AppArmor profile: exec web"),
            ("web", false, bound, "set AppArmor profile: exec web"),
            ("web", true, bound, "set AppArmor profile: stack web"),
            ("unconfined", false, free, "set AppArmor profile: exec unconfined"),
            ("unconfined", false, None, ""),
            ("", false, None, ""),
            ("web", false, None, missing),
            ("a\nb", false, free, "process.apparmorProfile \"a\\nb\" contains a control character"),
        ] {
            assert_eq!(command(profile, frozen, apparmor), expected, "{profile} {frozen} {apparmor:?}");
        }
    }

    #[test]
    fn an_selinux_label_covers_process_and_keyring_or_is_an_error() {
        let process = process("", "u:r:t:s0:c1,c2", false);
        let on = Facts { apparmor: None, selinux: true };
        assert_eq!(plan(&process, on).unwrap(), [ExecLabel::SeLinux("u:r:t:s0:c1,c2".into())]);
        assert_eq!(plan_key(&process, on).unwrap(), Some(KeyLabel("u:r:t:s0:c1,c2".into())));
        let error = plan(&process, Facts::default()).unwrap_err();
        assert!(error.to_string().contains("SELinux is not enabled"), "{error}");
        assert!(error.remedy().is_some());
    }

    #[test]
    fn the_annotation_picks_the_mount_option() {
        let on = Facts { apparmor: None, selinux: true };
        let with = |word: &str| {
            let annotations = BTreeMap::from([(CONTEXT_TYPE.to_owned(), word.to_owned())]);
            mount_option("l", on, &annotations).map_err(|error| error.to_string())
        };
        assert_eq!(mount_option("l", on, &BTreeMap::new()).unwrap().0, "context");
        assert_eq!(with("rootcontext"), Ok(("rootcontext", "l".to_owned())));
        assert!(with("seclabel").unwrap_err().contains("no mount context"));
        let error = mount_option("l", Facts::default(), &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("linux.mountLabel \"l\": SELinux is not enabled"), "{error}");
    }
}

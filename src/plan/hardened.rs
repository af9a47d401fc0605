//! One word for what a program without need of privileges can do without.

use super::proc_mount::{self, ProcMount};
use crate::{
    bail,
    error::{Error, Result},
    spec::{Config, Mount, MountKind, NamespaceKind, Process, Sysctl, mount::Parameter},
};
use std::path::Path;

/// Annotation that chooses like the flag `--hardened`.
pub const ANNOTATION: &str = "io.urun.hardened";

/// A user namespace whose limit is 0 lets nobody inside nest another one, with which an unprivileged process would get every
/// capability and with them the parts of the kernel that only root talks to otherwise (user_namespaces(7),
/// namespaces(7), "The /proc/sys/user directory").
const NO_NESTING: &str = "0";

/// Where the flag, else the annotation, asks for it, puts what a hardened container is in place of what config.json says. Whether
/// it was asked for. `proc_mount` is what was chosen about /proc.
///
/// # Errors
/// An annotation that is neither `true` nor `false`; a container without a user namespace; /proc asked for unmasked.
pub fn choose(config: &mut Config, flag: Option<bool>, proc_mount: Option<ProcMount>) -> Result<bool> {
    let chosen = match (flag, config.annotations.get(ANNOTATION).map(String::as_str)) {
        (Some(choice), _) => choice,
        (None, Some("true")) => true,
        (None, Some("false") | None) => false,
        (None, Some(other)) => {
            bail!("annotations[{ANNOTATION:?}]: expected \"true\" or \"false\", found {other:?}")
        }
    };
    if chosen {
        harden(config, proc_mount)?;
    }
    Ok(chosen)
}

/// What of it concerns one process: init, and every later one of `exec`.
pub fn process(process: &mut Process) {
    process.no_new_privileges = true;
    process.capabilities.ambient = 0;
}

fn harden(config: &mut Config, proc_mount: Option<ProcMount>) -> Result<()> {
    if config.linux.namespace(NamespaceKind::User).is_none() {
        return Err(Error::new(
            "hardened: the container shares the user namespace of the host, where user.max_user_namespaces=0 would be for \
             everybody",
        )
        .hint("--userns auto gives it one; so does a namespace of type user with uidMappings and gidMappings (Kubernetes: hostUsers: false)"));
    }
    if proc_mount == Some(ProcMount::Unmasked) {
        return Err(Error::new("hardened: proc-mount unmasked asks for the opposite").hint(format_args!(
            "leave out --proc-mount unmasked and the annotation {}, or what hardens",
            proc_mount::ANNOTATION
        )));
    }
    config.linux.sysctl.insert(Sysctl::max_user_namespaces(), NO_NESTING.to_owned());
    if let Some(own) = &mut config.process {
        process(own);
    }
    for place in 0..config.mounts.len() {
        match shown(&config.mounts, place) {
            Shows::NoProcfs => {}
            Shows::Processes => {
                let subset = Parameter::Text("subset".to_owned(), "pid".to_owned());
                config.mounts[place].parameters.push(subset);
            }
            Shows::All(reason) => config.warnings.push(format!(
                "mounts[{}]: hardened, and all of /proc is shown nevertheless: {reason}",
                config.mounts[place].index
            )),
        }
    }
    Ok(())
}

/// What a mount shows of procfs in a hardened container.
enum Shows {
    /// It is something else.
    NoProcfs,
    /// It can be one that shows processes alone (`subset=pid`, Linux 5.8).
    Processes,
    /// It has to be whole, and why.
    All(String),
}

/// What the mount at `place` can show.
fn shown(mounts: &[Mount], place: usize) -> Shows {
    let mount = &mounts[place];
    let is_below = |other: &Mount| {
        other.destination != mount.destination && other.destination.starts_with(&mount.destination)
    };
    match &mount.kind {
        MountKind::Bind { .. } if mount.destination == Path::new("/proc") => {
            Shows::All("it is a bind mount".to_owned())
        }
        MountKind::Filesystem { fstype, .. } if fstype == "proc" && !mount.remount => {
            match mounts[place + 1..].iter().find(|other| is_below(other)) {
                // The file would not be there to be mounted on, and whoever asked for it needs it.
                Some(other) => {
                    Shows::All(format!("mounts[{}] is on {} in it", other.index, other.destination.display()))
                }
                None => Shows::Processes,
            }
        }
        _ => Shows::NoProcfs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;
    use serde_json::{Value, json};

    fn hardened(mounts: &Value) -> Config {
        let lines = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        let document = json!({
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs"},
            "annotations": {ANNOTATION: "true"},
            "mounts": mounts,
            "linux": {
                "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "user"}],
                "uidMappings": lines,
                "gidMappings": lines,
                "sysctl": {"user/max_user_namespaces": "9"},
            },
        });
        let mut config = spec::load(document.to_string().as_bytes()).unwrap();
        assert!(choose(&mut config, None, None).unwrap());
        config
    }

    fn procfs(destination: &str) -> Value {
        json!({"destination": destination, "type": "proc", "source": "proc"})
    }

    fn cpuinfo(destination: &str) -> Value {
        json!({"destination": destination, "type": "bind", "source": "/var/lib/lxcfs/cpuinfo", "options": ["bind"]})
    }

    #[test]
    fn a_proc_shows_processes_alone_unless_something_is_mounted_in_it() {
        let is_less = |config: &Config, place: usize| !config.mounts[place].parameters.is_empty();
        let config = hardened(&json!([procfs("/proc"), procfs("/mnt/proc"), cpuinfo("/mnt/other")]));
        assert!(is_less(&config, 0) && is_less(&config, 1) && config.warnings.is_empty());
        let config = hardened(&json!([procfs("/proc"), procfs("/mnt/proc"), cpuinfo("/proc/cpuinfo")]));
        assert!(!is_less(&config, 0) && is_less(&config, 1));
        assert!(config.warnings[0].contains("mounts[2] is on /proc/cpuinfo"), "{:?}", config.warnings);
        let bind = json!({"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]});
        let config = hardened(&json!([bind]));
        assert!(config.warnings[0].contains("mounts[0]"), "{:?}", config.warnings);
    }

    #[test]
    fn the_limit_of_the_configuration_gives_way() {
        let limits: Vec<_> = hardened(&json!([])).linux.sysctl.into_iter().collect();
        assert_eq!(limits, [(Sysctl::max_user_namespaces(), NO_NESTING.to_owned())]);
    }

    #[test]
    fn the_flag_wins() {
        let mut config = hardened(&json!([]));
        assert!(!choose(&mut config, Some(false), None).unwrap());
        config.annotations.insert(ANNOTATION.to_owned(), "yes".to_owned());
        assert!(choose(&mut config, Some(true), None).unwrap());
        let error = choose(&mut config, None, None).unwrap_err().to_string();
        assert!(error.starts_with("annotations[\"io.urun.hardened\"]"), "{error}");
    }
}

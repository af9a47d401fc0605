//! Kubernetes' procMount for plain use: the lists of masked and read-only paths by one word.

use crate::{
    bail,
    error::{Error, Result},
    spec::{Config, NamespaceKind},
};
use std::{path::PathBuf, str::FromStr};

/// Annotation that chooses like the flag `--proc-mount`.
pub const ANNOTATION: &str = "io.urun.proc-mount";

/// `procMount` of a Kubernetes security context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcMount {
    /// The usual paths are masked and read-only.
    Default,
    /// None is. Only in a user namespace (Kubernetes KEP-4265).
    Unmasked,
}

/// Masked under `Default`, as the kubelet's container runtimes do.
pub const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Read-only under `Default`.
pub const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

impl FromStr for ProcMount {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "default" | "Default" => Ok(Self::Default),
            "unmasked" | "Unmasked" => Ok(Self::Unmasked),
            other => bail!("proc-mount: expected \"default\" or \"unmasked\", found {other:?}"),
        }
    }
}

/// Puts the choice of the flag, else of the annotation, in place of the lists of config.json, and tells which it was.
pub fn choose(config: &mut Config, flag: Option<ProcMount>) -> Result<Option<ProcMount>> {
    let annotation = || {
        let text = config.annotations.get(ANNOTATION)?;
        Some(text.parse().map_err(|error: Error| error.context(format_args!("annotations[{ANNOTATION:?}]"))))
    };
    let choice = match flag {
        Some(choice) => choice,
        None => match annotation().transpose()? {
            Some(choice) => choice,
            None => return Ok(None),
        },
    };
    let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect();
    let linux = &mut config.linux;
    (linux.masked_paths, linux.readonly_paths) = match choice {
        ProcMount::Default => (paths(&MASKED), paths(&READONLY)),
        ProcMount::Unmasked if linux.namespace(NamespaceKind::User).is_none() => {
            return Err(Error::new(
                "proc-mount unmasked: the container shares the user namespace of the host, whose /proc must stay \
                 masked",
            )
            .hint("add a namespace of type user with uidMappings and gidMappings (Kubernetes: hostUsers: false)"));
        }
        ProcMount::Unmasked => (Vec::new(), Vec::new()),
    };
    Ok(Some(choice))
}

//! Which resctrl group a container joins and who owns it.

use crate::{
    error::{Error, Result},
    spec::linux::IntelRdt,
};
use std::{fmt, path::PathBuf};

/// A step; groups are paths below the root of resctrl, the root group is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RdtOp {
    /// Somebody has made this group.
    Require(PathBuf),
    /// A group that containers share: made with this schemata, or there already with the same.
    Share {
        /// the group
        group: PathBuf,
        /// the lines of its schemata
        schemata: String,
    },
    /// A group of the container's own.
    Make {
        /// the group
        group: PathBuf,
        /// the lines of its schemata; empty leaves the kernel's
        schemata: String,
    },
    /// A group that is there gets other lines.
    Change {
        /// the group
        group: PathBuf,
        /// the lines that change
        schemata: String,
    },
    /// A monitoring group of the container's own.
    Monitor(PathBuf),
    /// The container's processes belong to this group.
    Join(PathBuf),
}

/// What create does, and what delete removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// in order
    pub ops: Vec<RdtOp>,
    /// groups that go with the container, in order
    pub owned: Vec<PathBuf>,
}

impl Plan {
    /// What a later process of the container does.
    pub fn joins(&self) -> Vec<RdtOp> {
        self.ops.iter().filter(|op| matches!(op, RdtOp::Join(_))).cloned().collect()
    }
}

impl fmt::Display for RdtOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Require(group) => write!(f, "use resctrl group {}", Name(group)),
            Self::Share { group, .. } => write!(f, "share resctrl group {}", Name(group)),
            Self::Make { group, .. } => write!(f, "make resctrl group {}", Name(group)),
            Self::Change { group, .. } => write!(f, "change resctrl group {}", Name(group)),
            Self::Monitor(group) => write!(f, "make resctrl monitoring group {}", Name(group)),
            Self::Join(group) => write!(f, "join resctrl group {}", Name(group)),
        }
    }
}

struct Name<'a>(&'a PathBuf);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0.display())
    }
}

/// The group of a container; nothing where `linux.intelRdt` is absent.
pub fn plan(rdt: Option<&IntelRdt>, id: &str) -> Result<Plan> {
    let Some(rdt) = rdt else { return Ok(Plan::default()) };
    let schemata = schemata(rdt)?;
    let mut plan = Plan::default();
    let group;
    if let Some(clos) = rdt.clos_id.as_deref().filter(|clos| !clos.is_empty()) {
        group = if clos == "/" { PathBuf::new() } else { name("linux.intelRdt.closID", clos)? };
        plan.ops.push(if schemata.is_empty() {
            RdtOp::Require(group.clone())
        } else {
            RdtOp::Share { group: group.clone(), schemata }
        });
    } else {
        group = name("the container's id", id)?;
        plan.ops.push(RdtOp::Make { group: group.clone(), schemata });
        plan.owned.push(group.clone());
    }
    plan.ops.push(RdtOp::Join(group.clone()));
    if rdt.enable_monitoring {
        let monitor = group.join("mon_groups").join(name("the container's id", id)?);
        // Last to join, because a process may only enter a monitoring group of the group it is in; first to go.
        plan.ops.extend([RdtOp::Monitor(monitor.clone()), RdtOp::Join(monitor.clone())]);
        plan.owned.insert(0, monitor);
    }
    Ok(plan)
}

/// New lines for the group of a container whose `linux.intelRdt` is `rdt`: those of `change`, which names no group.
///
/// # Errors
/// The container has no group; a line that is none.
pub fn update(rdt: Option<&IntelRdt>, change: &IntelRdt, id: &str) -> Result<Option<RdtOp>> {
    let schemata = schemata(change)?;
    if schemata.is_empty() {
        return Ok(None);
    }
    let Some(rdt) = rdt else {
        return Err(Error::new("the container has no resctrl group whose schemata could change")
            .hint("only a container that was created with linux.intelRdt has one"));
    };
    let group = match rdt.clos_id.as_deref().filter(|clos| !clos.is_empty()) {
        Some("/") => PathBuf::new(),
        Some(clos) => name("linux.intelRdt.closID", clos)?,
        None => name("the container's id", id)?,
    };
    Ok(Some(RdtOp::Change { group, schemata }))
}

/// Names that resctrl itself uses in a group.
const TAKEN: &[&str] = &["info", "mon_groups", "mon_data"];

fn name(what: &str, name: &str) -> Result<PathBuf> {
    let bad =
        name.is_empty() || name == "." || name == ".." || name.contains(|c: char| c == '/' || c.is_control());
    if bad || TAKEN.contains(&name) {
        return Err(Error::new(format_args!("{what} {name:?} cannot be the name of a resctrl group"))
            .hint("use a single name without a slash, or / for the root group"));
    }
    Ok(PathBuf::from(name))
}

/// L3 first, memory bandwidth next, `schemata` last. Bandwidth lines among the cache lines give way to `memBwSchema`.
fn schemata(rdt: &IntelRdt) -> Result<String> {
    let is_bandwidth = |line: &&str| line.trim_start().starts_with("MB:");
    let cache = rdt.l3_cache_schema.as_deref().unwrap_or_default().lines();
    let cache = cache.filter(|line| !(is_bandwidth(line) && rdt.mem_bw_schema.is_some()));
    let bandwidth = rdt.mem_bw_schema.as_deref().unwrap_or_default().lines();
    let rest = rdt.schemata.iter().flat_map(|entry| entry.lines());
    let mut text = String::new();
    for line in cache.chain(bandwidth).chain(rest).map(str::trim).filter(|line| !line.is_empty()) {
        if !line.contains(':') || line.contains(char::is_control) {
            crate::bail!("linux.intelRdt: {line:?} is not a line of a schemata");
        }
        text.push_str(line);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(rdt: &IntelRdt) -> String {
        match plan(Some(rdt), "box") {
            Ok(plan) => {
                let ops: Vec<_> = plan.ops.iter().map(ToString::to_string).collect();
                let owned: Vec<_> = plan.owned.iter().map(|group| group.display().to_string()).collect();
                format!("{} | {}", ops.join(", "), owned.join(", "))
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_group_follows_the_class_and_what_is_set() {
        let clos = |clos: &str| IntelRdt { clos_id: Some(clos.into()), ..IntelRdt::default() };
        let with = |rdt: IntelRdt| IntelRdt { l3_cache_schema: Some("L3:0=f".into()), ..rdt };
        for (rdt, expected) in [
            (IntelRdt::default(), "make resctrl group /box, join resctrl group /box | box"),
            (clos("gold"), "use resctrl group /gold, join resctrl group /gold | "),
            (clos("/"), "use resctrl group /, join resctrl group / | "),
            (with(clos("gold")), "share resctrl group /gold, join resctrl group /gold | "),
            (
                IntelRdt { enable_monitoring: true, ..clos("gold") },
                "use resctrl group /gold, join resctrl group /gold, make resctrl monitoring group /gold/mon_groups/box, \
                 join resctrl group /gold/mon_groups/box | gold/mon_groups/box",
            ),
            (
                IntelRdt { enable_monitoring: true, ..IntelRdt::default() },
                "make resctrl group /box, join resctrl group /box, make resctrl monitoring group /box/mon_groups/box, \
                 join resctrl group /box/mon_groups/box | box/mon_groups/box, box",
            ),
            (clos(".."), "linux.intelRdt.closID \"..\" cannot be the name of a resctrl group"),
            (clos("a/b"), "linux.intelRdt.closID \"a/b\" cannot be the name of a resctrl group"),
            (clos("info"), "linux.intelRdt.closID \"info\" cannot be the name of a resctrl group"),
        ] {
            assert_eq!(show(&rdt), expected, "{rdt:?}");
        }
        assert_eq!(plan(None, "box").unwrap(), Plan::default());
    }

    #[test]
    fn the_schemata_is_joined_in_the_order_of_the_specification() {
        let rdt = IntelRdt {
            l3_cache_schema: Some("L3:0=f\nMB:0=10".into()),
            mem_bw_schema: Some("MB:0=20".into()),
            schemata: vec!["L2:0=3".into(), "MB:0=30".into()],
            ..IntelRdt::default()
        };
        assert_eq!(schemata(&rdt).unwrap(), "L3:0=f\nMB:0=20\nL2:0=3\nMB:0=30\n");
        let alone = IntelRdt { mem_bw_schema: None, schemata: Vec::new(), ..rdt };
        assert_eq!(schemata(&alone).unwrap(), "L3:0=f\nMB:0=10\n");
        assert!(schemata(&IntelRdt { schemata: vec!["nonsense".into()], ..IntelRdt::default() }).is_err());
    }
}

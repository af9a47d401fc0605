//! Which namespaces are made, which are joined, and whose privileges assemble the container.

pub use crate::spec::{IdMap, NamespaceKind, linux::TimeOffsets};

use super::{idmap::Outside, owners};
use crate::{
    bail,
    error::{Error, Result},
    spec::Config,
};
use std::path::PathBuf;

/// Annotation with which a container keeps the right to change its mounts, as under other runtimes.
pub const MOUNTS_ANNOTATION: &str = "io.urun.mounts";

/// A pair of id maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maps {
    /// uid lines
    pub uids: Vec<IdMap>,
    /// gid lines
    pub gids: Vec<IdMap>,
}

impl Maps {
    /// Each id of the inside mapped to itself: the map of a namespace nested in one that has `self`.
    #[must_use]
    pub fn identity(&self) -> Self {
        let same =
            |lines: &[IdMap]| lines.iter().map(|line| IdMap { host: line.container, ..*line }).collect();
        Self { uids: same(&self.uids), gids: same(&self.gids) }
    }

    /// The way back: the ids outside as if they were those inside.
    fn inverted(&self) -> Self {
        let swap = |lines: &[IdMap]| {
            lines.iter().map(|line| IdMap { container: line.host, host: line.container, ..*line }).collect()
        };
        Self { uids: swap(&self.uids), gids: swap(&self.gids) }
    }

    /// How many uids and gids it maps.
    fn sizes(&self) -> [u64; 2] {
        [&self.uids, &self.gids].map(|lines| lines.iter().map(|line| u64::from(line.size)).sum())
    }

    /// Whether this outside uid has a place in the map.
    pub fn holds_uid(&self, uid: u32) -> bool {
        self.uids.iter().any(|line| uid >= line.host && uid - line.host < line.size)
    }

    /// The map of a caller who may map nothing but itself, user_namespaces(7).
    pub fn single(uid: u32, gid: u32) -> Self {
        let line = |host| vec![IdMap { container: 0, host, size: 1 }];
        Self { uids: line(uid), gids: line(gid) }
    }
}

/// What the host says about the caller's rights.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Effective uid.
    pub euid: u32,
    /// Effective gid.
    pub egid: u32,
    /// CAP_SYS_ADMIN in the caller's user namespace.
    pub privileged: bool,
    /// The maps that the caller may have without asking anybody: its subordinate ids, with itself as root. None
    /// where there are none.
    pub subordinate: Option<Maps>,
    /// A user namespace of the caller's with ids for the maps of config.json that it may not map itself.
    pub lent: Option<PathBuf>,
    /// The maps of the one that was lent, else of the user namespace that config.json names by path.
    pub joined: Option<Maps>,
    /// That user namespace denies setgroups(2).
    pub setgroups_denied: bool,
    /// init is brought into its control groups after its birth.
    pub late_cgroup: bool,
}

/// In which user namespace the container is assembled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// The caller's own.
    Caller,
    /// A first one of the caller's, who has no privileges; the container's own is nested in it.
    New {
        /// Its maps, in the caller's ids.
        maps: Maps,
        /// Who may write them.
        writer: Writer,
    },
    /// The one that config.json names by path, or one with ids that were lent, in which the container's own is nested; the caller
    /// owns it or it cannot be joined.
    Joined(PathBuf),
}

/// How the maps of the base are written, user_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// One line with the caller's own id, after setgroups is denied.
    Caller,
    /// newuidmap(1) and newgidmap(1), which know the subordinate ids.
    Tools,
}

/// The container's user namespace, seen from the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// None of its own.
    Base,
    /// A new one with these maps, in the base's ids.
    New(Maps),
    /// An existing one.
    Joined(PathBuf),
}

/// In which mount namespace the container is assembled and lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounts {
    /// Assembled outside; init's own copy, made inside its user namespace, is locked by the kernel.
    Locked,
    /// Assembled in one that the container's user namespace owns: root inside may undo what it likes.
    Unlocked,
    /// There is no user namespace between the assembler and the container; they share one mount namespace.
    Shared,
    /// An existing one: the root file system is assembled in it and becomes its root, as in runc.
    Joined,
}

impl Mounts {
    /// What `state` says: whether the kernel holds the mounts against root inside, whatever capabilities it has.
    pub fn word(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::Unlocked | Self::Shared | Self::Joined => "unlocked",
        }
    }
}

/// An existing namespace to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Which kind.
    pub kind: NamespaceKind,
    /// Where it is.
    pub path: PathBuf,
}

/// The namespaces of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces {
    /// In which user namespace the assembly runs.
    pub base: Base,
    /// The container's user namespace.
    pub user: User,
    /// Existing ones, all but user and mount.
    pub joins: Vec<Join>,
    /// New ones, all but user, mount and time, and cgroup where it has to wait.
    pub new: Vec<NamespaceKind>,
    /// A new time namespace with these offsets.
    pub time: Option<TimeOffsets>,
    /// init makes its cgroup namespace itself, after it was placed: with version 1, or where systemd alone may place it, that is
    /// not at its birth.
    pub late_cgroup: bool,
    /// The mount namespace.
    pub mounts: Mounts,
    /// Where the mount namespace is that is joined.
    pub mount_path: Option<PathBuf>,
}

impl Namespaces {
    /// How container ids appear to the assembler. A joined user namespace's real maps are `joined`.
    pub fn outside(&self, joined: Option<&Maps>) -> Outside {
        let maps = match (&self.user, &self.base) {
            (User::New(maps), Base::Caller | Base::Joined(_)) => Some(maps.clone()),
            (User::Joined(_), _) => joined.cloned(),
            // The assembler is root of the base, whose ids are the container's; those that are not mapped do not exist.
            (User::New(identity), Base::New { .. }) => Some(identity.clone()),
            (_, Base::Joined(_)) => joined.map(Maps::identity),
            _ => None,
        };
        mapped(maps)
    }

    /// How container ids appear to the runtime itself, which stays where the caller is.
    pub fn callers_view(&self, joined: Option<&Maps>) -> Outside {
        mapped(self.callers_maps(joined))
    }

    /// The maps of the container's user namespace in the caller's ids; none where it has the caller's own or unknown ones.
    pub fn callers_maps(&self, joined: Option<&Maps>) -> Option<Maps> {
        match (&self.user, &self.base) {
            (_, Base::New { maps, .. }) | (User::New(maps), Base::Caller) => Some(maps.clone()),
            (User::New(maps), Base::Joined(_)) => {
                joined.map(|base| owners::inside(Some(&base.inverted()), maps))
            }
            (User::Joined(_), _) | (_, Base::Joined(_)) => joined.cloned(),
            (User::Base, Base::Caller) => None,
        }
    }

    /// Whether a process has to join or unshare before init can be born: a clone3(2) can only make new namespaces,
    /// and time offsets can be written only before the first process is inside.
    pub fn needs_stage(&self) -> bool {
        !self.joins.is_empty() || self.time.is_some() || matches!(self.user, User::Joined(_))
    }

    /// Whether the caller may be in a chroot, that is, have another root than its mount namespace: the kernel makes no user
    /// namespace there (clone(2), EPERM), and who joins a mount namespace has its root.
    pub fn may_begin_in_a_chroot(&self) -> bool {
        !matches!(self.user, User::New(_)) && self.mounts != Mounts::Joined
    }

    /// Whether the container has this namespace apart from the runtime's.
    pub fn has(&self, kind: NamespaceKind) -> bool {
        match kind {
            NamespaceKind::User => self.user != User::Base || self.base != Base::Caller,
            NamespaceKind::Mount => true,
            NamespaceKind::Time => self.time.is_some() || self.joins.iter().any(|join| join.kind == kind),
            NamespaceKind::Cgroup if self.late_cgroup => true,
            _ => self.new.contains(&kind) || self.joins.iter().any(|join| join.kind == kind),
        }
    }

    /// Whether this namespace is a new one.
    pub fn makes(&self, kind: NamespaceKind) -> bool {
        self.new.contains(&kind) || (kind == NamespaceKind::Cgroup && self.late_cgroup)
    }
}

fn mapped(maps: Option<Maps>) -> Outside {
    maps.map_or(Outside::Same, |Maps { uids, gids }| Outside::Mapped { uids, gids })
}

/// Decides from config.json and the caller's rights.
pub fn plan(config: &Config, facts: &Facts) -> Result<Namespaces> {
    let linux = &config.linux;
    if linux.namespace(NamespaceKind::Mount).is_none() {
        bail!(
            "linux.namespaces: there is no entry of type mount, and urun does not change the mounts of the host"
        );
    }
    let (base, user) = user(config, facts)?;
    let mut out = Namespaces {
        mounts: mounts(config, &user)?,
        mount_path: linux.namespace(NamespaceKind::Mount).and_then(|entry| entry.path.clone()),
        base,
        user,
        joins: Vec::new(),
        new: Vec::new(),
        time: None,
        late_cgroup: false,
    };
    for entry in &linux.namespaces {
        match (entry.kind, &entry.path) {
            (NamespaceKind::User | NamespaceKind::Mount, _) => {}
            (kind, Some(path)) => out.joins.push(Join { kind, path: path.clone() }),
            (NamespaceKind::Time, None) => out.time = Some(linux.time_offsets),
            (NamespaceKind::Cgroup, None) if facts.late_cgroup => out.late_cgroup = true,
            (kind, None) => out.new.push(kind),
        }
    }
    Ok(out)
}

fn user(config: &Config, facts: &Facts) -> Result<(Base, User)> {
    let linux = &config.linux;
    let entry = linux.namespace(NamespaceKind::User);
    if let Some(path) = entry.and_then(|entry| entry.path.as_ref()) {
        // The real maps count, not those of config.json: Podman sends a dummy beside the path.
        return Ok(match facts.privileged {
            true => (Base::Caller, User::Joined(path.clone())),
            false => (Base::Joined(path.clone()), User::Base),
        });
    }
    let given = Maps { uids: linux.uid_mappings.clone(), gids: linux.gid_mappings.clone() };
    match (entry, facts.privileged) {
        (None, true) => Ok((Base::Caller, User::Base)),
        (Some(_), true) if given.uids.is_empty() => {
            Err(Error::new("linux.uidMappings: a new user namespace needs uidMappings and gidMappings")
                .hint("`urun spec` writes a config.json with a free range"))
        }
        (Some(_), true) => Ok((Base::Caller, User::New(given))),
        (_, false) if let Some(path) = &facts.lent => {
            let base = facts.joined.clone().unwrap_or_default();
            let maps = owners::inside(Some(&base), &given);
            if maps.sizes() != given.sizes() {
                bail!(
                    "linux.uidMappings, linux.gidMappings: an ordinary user can map its own ids and those that were lent to it, and no others"
                );
            }
            Ok((Base::Joined(path.clone()), User::New(maps)))
        }
        (_, false) => {
            let maps = match given.uids.is_empty() {
                false => given,
                true => facts.subordinate.clone().unwrap_or_else(|| Maps::single(facts.euid, facts.egid)),
            };
            let identity = maps.identity();
            let writer = if maps == own_ids(&maps, facts) { Writer::Caller } else { Writer::Tools };
            Ok((Base::New { maps, writer }, User::New(identity)))
        }
    }
}

/// The single-line map of the caller's own ids, with the inside ids of `maps`.
fn own_ids(maps: &Maps, facts: &Facts) -> Maps {
    let line = |lines: &[IdMap], host| match lines {
        [line] => vec![IdMap { container: line.container, host, size: 1 }],
        _ => Vec::new(),
    };
    Maps { uids: line(&maps.uids, facts.euid), gids: line(&maps.gids, facts.egid) }
}

fn mounts(config: &Config, user: &User) -> Result<Mounts> {
    let unlocked = match config.annotations.get(MOUNTS_ANNOTATION).map(String::as_str) {
        None | Some("locked") => false,
        Some("unlocked") => true,
        Some(other) => {
            bail!("annotations[{MOUNTS_ANNOTATION:?}]: expected \"locked\" or \"unlocked\", found {other:?}")
        }
    };
    let joined = config.linux.namespace(NamespaceKind::Mount).is_some_and(|entry| entry.path.is_some());
    Ok(match user {
        _ if joined => Mounts::Joined,
        User::Base => Mounts::Shared,
        _ if unlocked => Mounts::Unlocked,
        _ => Mounts::Locked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(lines: &[[u32; 3]]) -> Maps {
        let lines: Vec<IdMap> =
            lines.iter().map(|&[container, host, size]| IdMap { container, host, size }).collect();
        Maps { uids: lines.clone(), gids: lines }
    }

    /// Of an ordinary caller to whom a user namespace was lent that has its own id as root and a range as it is.
    fn planned(given: &[[u32; 3]]) -> Result<(Namespaces, Maps)> {
        let config = crate::spec::load(
            br#"{"ociVersion":"1.2.0","root":{"path":"r"},"linux":{"namespaces":[{"type":"mount"}]}}"#,
        );
        let mut config = config.unwrap();
        let Maps { uids, gids } = maps(given);
        config.set_user_namespace(uids, gids);
        let base = maps(&[[0, 1000, 1], [700_000, 700_000, 65_536]]);
        let facts = Facts {
            euid: 1000,
            egid: 1000,
            lent: Some("/proc/self/fd/9".into()),
            joined: Some(base.clone()),
            ..Facts::default()
        };
        Ok((plan(&config, &facts)?, base))
    }

    #[test]
    fn a_user_namespace_is_nested_in_the_one_that_was_lent() {
        let (spaces, base) = planned(&[[0, 1000, 1], [1, 700_001, 65_535]]).unwrap();
        assert_eq!(spaces.base, Base::Joined("/proc/self/fd/9".into()));
        assert_eq!(spaces.user, User::New(maps(&[[0, 0, 1], [1, 700_001, 65_535]])), "in the base's ids");
        assert_eq!(spaces.mounts, Mounts::Locked);
        let ids = |view: &Outside| [0, 1, 65_535].map(|id| (view.uid(id), view.gid(id)));
        let same = |id| (Some(id), Some(id));
        assert_eq!(ids(&spaces.outside(Some(&base))), [0, 700_001, 765_535].map(same));
        assert_eq!(ids(&spaces.callers_view(Some(&base))), [1000, 700_001, 765_535].map(same));
    }

    #[test]
    fn ids_that_were_not_lent_are_refused() {
        for given in [[[0, 1000, 1], [1, 1001, 1]], [[0, 1000, 1], [1, 700_001, 65_536]]] {
            let error = planned(&given).unwrap_err().to_string();
            assert!(error.contains("linux.uidMappings") && error.contains("that were lent"), "{error}");
        }
    }
}

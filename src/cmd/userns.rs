//! `--userns` and `io.urun.userns`: config.json as it is with the ids that were chosen.

use super::ranges::{self, Pool};
use crate::{
    cli::{CreateRequest, Name},
    error::{Context, Error, Result},
    host::{caller, passwd},
    log::Log,
    mount,
    ns::{
        self,
        choice::{ANNOTATION, Auto, Choice, KeepId},
        plan::Maps,
        subid::{self, Range},
    },
    spec::{Config, IdMap, NamespaceKind},
    sys::{fork::NamespaceHolder, prctl, proc::Proc},
    systemd::nsresource::{self, Ids},
};
use std::{
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::Path,
};

/// Who chooses.
#[allow(missing_debug_implementations)]
pub struct Chooser<'a> {
    /// The rights.
    pub caller: &'a caller::Caller,
    /// What is looked at.
    pub proc: &'a Proc,
    /// The flag, the bundle and the state root.
    pub request: &'a CreateRequest,
    /// Where it is told what was chosen.
    pub log: &'a Log,
}

/// What a container was lent.
#[derive(Debug)]
pub enum Lent {
    /// Nothing.
    Nothing,
    /// A claimed range.
    Range(Range),
    /// A user namespace that lasts as long as somebody is in it: this child, until the container is.
    Namespace(NamespaceHolder),
    /// A user namespace that lasts as long as it is open, or one is nested in it: the container's.
    Base(OwnedFd),
}

impl Lent {
    /// The range that the container's record has to name.
    pub fn range(&self) -> Option<Range> {
        match self {
            Self::Range(range) => Some(*range),
            Self::Nothing | Self::Namespace(_) | Self::Base(_) => None,
        }
    }

    /// The user namespace in which the container's is nested.
    pub fn base(&self) -> Result<Option<OwnedFd>> {
        match self {
            Self::Base(namespace) => Ok(Some(namespace.try_clone()?)),
            Self::Nothing | Self::Range(_) | Self::Namespace(_) => Ok(None),
        }
    }

    /// Takes back what the container that was `made` or not does not need.
    pub fn settle<T>(self, made: Result<T>, state_root: &Path) -> Result<T> {
        let back = match (self, &made) {
            (Self::Range(range), Err(_)) => ranges::abandon(range, state_root),
            (Self::Namespace(holder), _) => holder.stop(),
            (Self::Range(_) | Self::Base(_) | Self::Nothing, _) => Ok(()),
        };
        match (made, back) {
            (Err(error), Err(failure)) => Err(error.also(&failure)),
            (made, _) => made,
        }
    }
}

impl Chooser<'_> {
    /// Puts the choice of the flag, else of the annotation, in place of what config.json says of users. What is lent for it has
    /// to be settled when the container is made or not.
    pub fn choose(&self, config: &mut Config) -> Result<Lent> {
        let path = config.linux.namespace(NamespaceKind::User).and_then(|entry| entry.path.as_ref());
        let choice = match (&self.request.userns, path) {
            (Some(_), Some(path)) => {
                return Err(Error::new(format_args!(
                    "--userns: linux.namespaces joins the user namespace {}, whose ids are what they are",
                    path.display()
                ))
                .hint("leave --userns out, or take the path out of config.json"));
            }
            (Some(choice), None) => Some(choice.clone()),
            // An annotation of a pod stands in every container of it, and all but the first join.
            (None, Some(_)) => None,
            (None, None) => annotation(config)?,
        };
        match choice {
            None => {}
            Some(Choice::Host) => self.host(config)?,
            Some(Choice::Map(maps)) => config.set_user_namespace(maps.uids, maps.gids),
            Some(Choice::KeepId(keep)) => {
                let maps = keep_id(keep, self.caller)?;
                config.set_user_namespace(maps.uids, maps.gids);
            }
            Some(Choice::Auto(auto)) => return self.automatic(config, &auto).context("userns auto"),
        }
        Ok(Lent::Nothing)
    }

    fn host(&self, config: &mut Config) -> Result<()> {
        if !self.caller.is_privileged() {
            return Err(Error::new(
                "userns host: the caller has no CAP_SYS_ADMIN, and without it a container needs a user namespace",
            )
            .hint("leave it out: root inside is the caller then"));
        }
        config.remove_user_namespace();
        Ok(())
    }

    fn automatic(&self, config: &mut Config, auto: &Auto) -> Result<Lent> {
        let rootfs = self.request.bundle.join(&config.root.path);
        let pool = if self.caller.is_privileged() {
            if self.caller.is_host_root() && is_open_to_others(&rootfs) {
                self.log.warning(format_args!(
                    "{}: others on this host can reach it, and root of the container can leave set-user-ID files of \
                     real root there: chmod 0700 the bundle",
                    rootfs.display()
                ));
            }
            config.root.idmap = true;
            match Pool::subordinate(self.caller, self.proc)? {
                Some(pool) => pool,
                None => match self.allocated(auto)? {
                    Some(holder) => {
                        let namespace = format!("/proc/{}/ns/user", holder.pid());
                        config.join_user_namespace(Path::new(&namespace));
                        return Ok(Lent::Namespace(holder));
                    }
                    None => Pool::rest(self.caller, self.proc)?,
                },
            }
        } else {
            self.keeps_root(auto, &rootfs)?;
            let pool = Pool::own(self.caller)?;
            if pool.is_empty() {
                return self
                    .lent(config, auto)
                    .context("/etc/subuid and /etc/subgid give this user no range");
            }
            pool
        };
        let range = ranges::claim(&pool, auto.size, self.proc, &self.request.state_root)?;
        self.log.debug(format_args!("userns auto: host ids {} to {}", range.start, range.last()));
        match auto.maps(range) {
            Ok(maps) => {
                config.set_user_namespace(maps.uids, maps.gids);
                Ok(Lent::Range(range))
            }
            Err(error) => Lent::Range(range).settle(Err(error), &self.request.state_root),
        }
    }

    /// An ordinary caller's files can be nobody's but its own: the container's root has to be the caller.
    fn keeps_root(&self, auto: &Auto, rootfs: &Path) -> Result<()> {
        let (uid, gid) = (self.caller.euid, self.caller.egid);
        let maps = |lines: &[IdMap], id| lines.iter().any(|line| line.container == 0 && line.host == id);
        if maps(&auto.given.uids, uid) && maps(&auto.given.gids, gid) {
            return Ok(());
        }
        Err(Error::new(format_args!(
            "only root can let the ids of {} ({}) appear as others",
            rootfs.display(),
            mount::filesystem_name(rootfs)?
        ))
        .hint(format_args!(
            "auto:uidmapping=0:{uid}:1,gidmapping=0:{gid}:1 makes root inside the caller, whose files are root's then, and gives \
             the container the rest for itself"
        )))
    }

    /// A user namespace with ids of systemd-nsresourced, where that is there and gives what is asked for.
    fn allocated(&self, auto: &Auto) -> Result<Option<NamespaceHolder>> {
        let usual = Auto { size: nsresource::SIZE, ..Auto::default() };
        if !self.caller.is_host_root() || *auto != usual || !nsresource::is_there() {
            return Ok(None);
        }
        let holder = NamespaceHolder::start()?;
        match self.namespace(&holder).and_then(|namespace| self.allocate(&namespace, Ids::Range)) {
            Ok(()) => {
                self.log.debug("userns auto: host ids of systemd-nsresourced");
                Ok(Some(holder))
            }
            Err(error) => {
                self.log.debug(format_args!("userns auto: {error}"));
                holder.stop().map(|()| None)
            }
        }
    }

    fn namespace(&self, holder: &NamespaceHolder) -> Result<OwnedFd> {
        self.proc.namespace(&self.proc.process(holder.pid())?, "user")
    }

    fn allocate(&self, namespace: &OwnedFd, ids: Ids) -> Result<()> {
        let (Name::Exact(id) | Name::Like(id)) = &self.request.name;
        nsresource::allocate(namespace.as_fd(), id.as_str(), ids)
    }

    /// A user namespace with the caller's own id and a range of systemd-nsresourced, for a caller who may map its own id alone.
    fn lent(&self, config: &mut Config, auto: &Auto) -> Result<Lent> {
        if auto.size > nsresource::SIZE {
            return Err(Error::new(format_args!(
                "systemd-nsresourced gives {} ids at most, not {}",
                nsresource::SIZE,
                auto.size
            )));
        }
        let holder = NamespaceHolder::start()?;
        // Else the files of the holder in /proc are root's, because it shares this memory.
        prctl::set_dumpable(true)?;
        // It is refused anyway; where it is denied too, exec and programs inside can see it.
        let denied = ns::apply::deny_setgroups(self.proc, holder.pid());
        let namespace = denied.and_then(|()| self.namespace(&holder));
        prctl::set_dumpable(false)?;
        let namespace = namespace?;
        self.allocate(&namespace, Ids::OwnAndRange)?;
        let range = handed_on(&ns::apply::maps_of(self.proc, holder.pid())?)?;
        self.log.debug(format_args!(
            "userns auto: host ids {} to {} of systemd-nsresourced, which lets them own no files of the host's file systems",
            range.start,
            range.last()
        ));
        holder.stop()?;
        let maps = auto.maps(range)?;
        config.set_user_namespace(maps.uids, maps.gids);
        Ok(Lent::Base(namespace))
    }
}

fn annotation(config: &Config) -> Result<Option<Choice>> {
    let text = config.annotations.get(ANNOTATION);
    text.map(|text| text.parse()).transpose().with_context(|| format!("annotations[{ANNOTATION:?}]"))
}

/// The maps of a caller who keeps its id.
pub(super) fn keep_id(keep: KeepId, caller: &caller::Caller) -> Result<Maps> {
    if caller.is_privileged() {
        return Err(Error::new("userns keep-id: the caller is root, whose container would be root's own")
            .hint("use auto, or run it as the user whose id is to be kept"));
    }
    let user = passwd::name_of(caller.euid)?;
    let of = |path| Ok::<_, Error>(subid::ranges_of(&subid::read(path)?, &user, Some(caller.euid)));
    let (uids, gids) = (of("/etc/subuid")?, of("/etc/subgid")?);
    Ok(keep.maps((caller.euid, caller.egid), (&uids, &gids)))
}

/// The ids of a base user namespace that it hands on as they are.
fn handed_on(base: &Maps) -> Result<Range> {
    let is_range = |line: &&IdMap| line.size == nsresource::SIZE && line.container == line.host;
    match base.uids.iter().find(is_range).filter(|line| base.gids.contains(line)) {
        Some(line) => Ok(Range { start: line.host, count: line.size }),
        None => Err(Error::new(format_args!("systemd-nsresourced made no range of {base:?}"))),
    }
}

/// Whether every directory on the way lets everybody through.
fn is_open_to_others(path: &Path) -> bool {
    let lets_through = |dir: &Path| dir.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0);
    path.ancestors().all(lets_through)
}

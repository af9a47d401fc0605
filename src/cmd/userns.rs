//! `--userns` and `io.urun.userns`: config.json as it is with the ids that were chosen.

use super::ranges;
use crate::{
    cli::CreateRequest,
    error::{Context, Error, Result},
    host::{caller::Caller, passwd},
    log::Log,
    mount,
    ns::{
        choice::{ANNOTATION, Auto, Choice, KeepId},
        plan::Maps,
        subid::{self, Range},
    },
    spec::{Config, NamespaceKind},
    sys::proc::Proc,
};
use std::{os::unix::fs::PermissionsExt, path::Path};

/// Puts the choice of the flag, else of the annotation, in place of what config.json says of users. A range that was claimed for
/// it is returned; it has to be given back when there will be no container.
pub fn choose(
    config: &mut Config,
    request: &CreateRequest,
    caller: &Caller,
    proc: &Proc,
    log: &Log,
) -> Result<Option<Range>> {
    let path = config.linux.namespace(NamespaceKind::User).and_then(|entry| entry.path.clone());
    let annotation = || {
        let text = config.annotations.get(ANNOTATION)?;
        Some(text.parse::<Choice>().with_context(|| format!("annotations[{ANNOTATION:?}]")))
    };
    let choice = match (&request.userns, path) {
        (Some(_), Some(path)) => {
            return Err(Error::new(format_args!(
                "--userns: linux.namespaces joins the user namespace {}, whose ids are what they are",
                path.display()
            ))
            .hint("leave --userns out, or take the path out of config.json"));
        }
        (Some(choice), None) => choice.clone(),
        // An annotation of a pod stands in every container of it, and all but the first join.
        (None, Some(_)) => return Ok(None),
        (None, None) => match annotation().transpose()? {
            Some(choice) => choice,
            None => return Ok(None),
        },
    };
    let rootfs = request.bundle.join(&config.root.path);
    match choice {
        Choice::Host => host(config, caller).map(|()| None),
        Choice::Map(maps) => {
            config.set_user_namespace(maps.uids, maps.gids);
            Ok(None)
        }
        Choice::KeepId(keep) => {
            let maps = keep_id(keep, caller)?;
            config.set_user_namespace(maps.uids, maps.gids);
            Ok(None)
        }
        Choice::Auto(auto) => automatic(config, &auto, &rootfs, caller, proc, request).inspect(|range| {
            log.debug(format_args!("userns auto: host ids {} to {}", range.start, range.last()));
            if caller.is_host_root() && is_open_to_others(&rootfs) {
                log.warning(format_args!(
                    "{}: others on this host can reach it, and root of the container can leave set-user-ID files of real root \
                     there: chmod 0700 the bundle",
                    rootfs.display()
                ));
            }
        }).map(Some),
    }
}

fn host(config: &mut Config, caller: &Caller) -> Result<()> {
    if !caller.is_privileged() {
        return Err(Error::new(
            "userns host: the caller has no CAP_SYS_ADMIN, and without it a container needs a user namespace",
        )
        .hint("leave it out: root inside is the caller then"));
    }
    config.remove_user_namespace();
    Ok(())
}

/// The maps of a caller who keeps its id.
pub(super) fn keep_id(keep: KeepId, caller: &Caller) -> Result<Maps> {
    if caller.is_privileged() {
        return Err(Error::new("userns keep-id: the caller is root, whose container would be root's own")
            .hint("use auto, or run it as the user whose id is to be kept"));
    }
    let user = passwd::name_of(caller.euid);
    let of = |path| Ok::<_, Error>(subid::ranges_of(&subid::read(path)?, &user, Some(caller.euid)));
    let (uids, gids) = (of("/etc/subuid")?, of("/etc/subgid")?);
    Ok(keep.maps((caller.euid, caller.egid), (&uids, &gids)))
}

fn automatic(
    config: &mut Config,
    auto: &Auto,
    rootfs: &Path,
    caller: &Caller,
    proc: &Proc,
    request: &CreateRequest,
) -> Result<Range> {
    if !caller.is_privileged() {
        return Err(Error::new(format_args!(
            "userns auto: only root can let the ids of {} ({}) appear as others",
            rootfs.display(),
            mount::filesystem_name(rootfs)?
        ))
        .hint("leave it out: root inside is the caller then, and the caller's files are root's; keep-id keeps the caller's id"));
    }
    let range = ranges::claim(auto.size, caller, proc, &request.state_root).context("userns auto")?;
    match auto.maps(range) {
        Ok(maps) => {
            config.set_user_namespace(maps.uids, maps.gids);
            config.root.idmap = true;
            Ok(range)
        }
        Err(error) => {
            let error = error.context("userns auto");
            Err(match ranges::abandon(range, &request.state_root) {
                Ok(()) => error,
                Err(failure) => error.also(&failure),
            })
        }
    }
}

/// Whether every directory on the way lets everybody through.
fn is_open_to_others(path: &Path) -> bool {
    let lets_through = |dir: &Path| dir.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0);
    path.ancestors().all(lets_through)
}

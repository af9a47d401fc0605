//! `urun spec`

use crate::{
    cli::{
        SpecArgs,
        request::{absolute, is_real_root},
    },
    error::{Context, Error, Result},
    ns::{
        plan::Maps,
        subid::{self, RANGE, Range},
    },
    plan::proc_mount::ProcMount,
    spec::example::{ExampleOptions, document},
    state::Store,
};
use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Writes a config.json whose container has a user namespace; a file that is there already is an error.
pub fn spec(store: &Store, args: &SpecArgs) -> Result<()> {
    let real_root = is_real_root();
    if args.rootless && real_root {
        return Err(Error::new("--rootless: the caller is root, whose container would be root's own")
            .hint("run urun spec as the user who is to run the container; root leaves --rootless out"));
    }
    let maps = if real_root { free_range(store)? } else { own_maps()? };
    let text = document(&ExampleOptions {
        uid_mappings: maps.uids,
        gid_mappings: maps.gids,
        rootless: !real_root,
        unmasked: args.proc_mount == Some(ProcMount::Unmasked),
    });
    write(&path(args)?, &text)
}

fn path(args: &SpecArgs) -> Result<PathBuf> {
    let bundle = absolute(args.bundle.as_deref().unwrap_or(Path::new(".")))?;
    match &args.config {
        Some(config) => absolute(config),
        None => Ok(bundle.join("config.json")),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    let step = || format!("write {}", path.display());
    match file {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(Error::new(format_args!("{} exists already", path.display()))
                .hint("remove it first, or choose another directory with --bundle"))
        }
        other => other.and_then(|mut file| file.write_all(text.as_bytes())).with_context(step),
    }
}

/// For root: a range that nobody has, neither by /etc/subuid and /etc/subgid nor by a container that runs. Nothing
/// reserves it: two files written one after the other get the same range until a container of the first runs.
fn free_range(store: &Store) -> Result<Maps> {
    let mut taken = live_ranges(store)?;
    for path in ["/etc/subuid", "/etc/subgid"] {
        taken.extend(subid::all_ranges(&subid::read(path)?));
    }
    let line = subid::free_range(&taken)
        .ok_or_else(|| Error::new(format_args!("no free range of {RANGE} ids on this host")))?;
    Ok(Maps { uids: vec![line], gids: vec![line] })
}

/// The ids that the containers below this state root use.
fn live_ranges(store: &Store) -> Result<Vec<Range>> {
    let mut ranges = Vec::new();
    for id in store.list()? {
        // A container that is gone, half made or unreadable has no ids of its own.
        let Ok(Some(record)) = store.find(&id).and_then(|entry| entry.record()) else { continue };
        let Some(init) = record.init else { continue };
        if !init.is_alive()? {
            continue;
        }
        for file in ["uid_map", "gid_map"] {
            let map = fs::read_to_string(format!("/proc/{}/{file}", init.pid)).unwrap_or_default();
            ranges.extend(subid::used_by_map(&map));
        }
    }
    Ok(ranges)
}

/// For everybody else: root of a user namespace hands on what it has; a user becomes root and adds its subordinate ids.
fn own_maps() -> Result<Maps> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if uid.is_root() {
        let own = |file: &str| {
            let path = format!("/proc/self/{file}");
            fs::read_to_string(&path).with_context(|| format!("read {path}")).map(|map| subid::identity(&map))
        };
        return Ok(Maps { uids: own("uid_map")?, gids: own("gid_map")? });
    }
    let (uid, gid) = (uid.as_raw(), gid.as_raw());
    Ok(subid::maps_of(uid, gid)?.unwrap_or_else(|| Maps::single(uid, gid)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::store::tests::Scratch;

    fn args(bundle: &Path, proc_mount: Option<ProcMount>) -> SpecArgs {
        SpecArgs { bundle: Some(bundle.to_owned()), config: None, proc_mount, rootless: false }
    }

    #[test]
    fn what_is_written_loads_and_is_never_overwritten() {
        let scratch = Scratch::new();
        spec(&scratch.store(), &args(&scratch.0, None)).unwrap();
        let path = scratch.0.join("config.json");
        let config = crate::spec::load(&fs::read(&path).unwrap()).unwrap();
        assert!(!config.linux.uid_mappings.is_empty());
        assert!(!config.linux.masked_paths.is_empty());
        let error = spec(&scratch.store(), &args(&scratch.0, Some(ProcMount::Unmasked))).unwrap_err();
        assert_eq!(error.to_string(), format!("{} exists already", path.display()));
        fs::remove_file(&path).unwrap();
        spec(&scratch.store(), &args(&scratch.0, Some(ProcMount::Unmasked))).unwrap();
        let config = crate::spec::load(&fs::read(&path).unwrap()).unwrap();
        assert!(config.linux.masked_paths.is_empty() && config.linux.readonly_paths.is_empty());
    }
}

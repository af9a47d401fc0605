//! `urun spec`

use super::{ranges, userns};
use crate::{
    cli::{
        SpecArgs,
        request::{absolute, is_real_root},
    },
    error::{Context, Error, Result},
    host::caller::Caller,
    ns::{
        choice::{ANNOTATION, Choice},
        plan::Maps,
        subid,
    },
    plan::proc_mount::ProcMount,
    spec::example::{ExampleOptions, Users, document},
    sys::proc::Proc,
};
use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Writes a config.json whose container has a user namespace; a file that is there already is an error.
pub fn spec(args: &SpecArgs, state_root: &Path) -> Result<()> {
    let real_root = is_real_root();
    if args.rootless && real_root {
        return Err(Error::new("--rootless: the caller is root, whose container would be root's own")
            .hint("run urun spec as the user who is to run the container; root leaves --rootless out"));
    }
    let mapped = |maps: Maps| Users::Mapped { uids: maps.uids, gids: maps.gids };
    let users = match &args.userns {
        None if real_root => mapped(ranges::unclaimed(&Proc::open()?, state_root)?),
        None => mapped(own_maps()?),
        Some(Choice::Host) => Users::Hosts,
        Some(Choice::Map(maps)) => mapped(maps.clone()),
        Some(Choice::KeepId(keep)) => mapped(userns::keep_id(*keep, &Caller::probe(&Proc::open()?)?)?),
        Some(Choice::Auto(auto)) => Users::Annotated { name: ANNOTATION, choice: auto.to_string() },
    };
    let text = document(&ExampleOptions {
        users,
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

/// For everybody else: root of a user namespace hands on what it has; a user, or a root without the capabilities for that, as
/// containers have it, becomes root and adds its subordinate ids.
fn own_maps() -> Result<Maps> {
    let caller = Caller::probe(&Proc::open()?)?;
    if caller.euid == 0 && caller.is_privileged() {
        let own = |file: &str| {
            let path = format!("/proc/self/{file}");
            fs::read_to_string(&path).with_context(|| format!("read {path}")).map(|map| subid::identity(&map))
        };
        return Ok(Maps { uids: own("uid_map")?, gids: own("gid_map")? });
    }
    let (uid, gid) = (caller.euid, caller.egid);
    Ok(subid::maps_of(uid, gid)?.unwrap_or_else(|| Maps::single(uid, gid)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::store::tests::Scratch;

    fn args(bundle: &Path, proc_mount: Option<ProcMount>) -> SpecArgs {
        SpecArgs { bundle: Some(bundle.to_owned()), config: None, proc_mount, userns: None, rootless: false }
    }

    #[test]
    fn what_is_written_loads_and_is_never_overwritten() {
        let scratch = Scratch::new();
        spec(&args(&scratch.0, None), &scratch.0).unwrap();
        let path = scratch.0.join("config.json");
        let config = crate::spec::load(&fs::read(&path).unwrap()).unwrap();
        assert!(!config.linux.uid_mappings.is_empty());
        assert!(!config.linux.masked_paths.is_empty());
        let error = spec(&args(&scratch.0, Some(ProcMount::Unmasked)), &scratch.0).unwrap_err();
        assert_eq!(error.to_string(), format!("{} exists already", path.display()));
        fs::remove_file(&path).unwrap();
        spec(&args(&scratch.0, Some(ProcMount::Unmasked)), &scratch.0).unwrap();
        let config = crate::spec::load(&fs::read(&path).unwrap()).unwrap();
        assert!(config.linux.masked_paths.is_empty() && config.linux.readonly_paths.is_empty());
    }
}

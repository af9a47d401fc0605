//! What the user meant: paths made absolute, defaults filled in.

use super::{
    args::{CreateArgs, Globals, RunArgs, Target},
    exec::{ExecArgs, ExecProgram},
};
use crate::{
    bail,
    error::{Context, Result},
    host::caller::INITIAL_USER_NAMESPACE,
    ns::choice::Choice,
    plan::proc_mount::ProcMount,
    state::{ContainerId, Driver},
};
use std::{
    ffi::OsStr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What `create` and `run` are asked for. Every path is absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateRequest {
    /// Where the container's state is kept.
    pub state_root: PathBuf,
    /// What manages its cgroup.
    pub driver: Driver,
    /// Its name.
    pub name: Name,
    /// Its bundle.
    pub bundle: PathBuf,
    /// Its config.json.
    pub config: PathBuf,
    /// Where the terminal's master is sent.
    pub console_socket: Option<PathBuf>,
    /// Where the pid is written.
    pub pid_file: Option<PathBuf>,
    /// Where a pidfd is sent.
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors from 3 on are handed down beside `LISTEN_FDS`.
    pub preserve_fds: u32,
    /// What takes the place of the masks of config.json.
    pub proc_mount: Option<ProcMount>,
    /// Whose ids it gets, whatever config.json says.
    pub userns: Option<Choice>,
    /// Whether the container is hardened; what is not said here, the annotation says.
    pub hardened: Option<bool>,
    /// Whether pivot_root(2) must not be used.
    pub no_pivot: bool,
    /// Whether the caller's session keyring is kept.
    pub no_new_keyring: bool,
    /// Whether nobody waits for the container: always, but for `run` without `--detach`.
    pub detach: bool,
    /// Whether `run` leaves the ended container in place.
    pub keep: bool,
    /// Whether `run` adopts no orphans.
    pub no_subreaper: bool,
}

/// The name of a container to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// This one.
    Exact(ContainerId),
    /// This one or the first free one made from it; it is printed.
    Like(ContainerId),
}

impl CreateRequest {
    /// The request of `create`.
    pub fn from_create(globals: &Globals, args: CreateArgs) -> Result<Self> {
        let (name, bundle) = match args.target {
            Target::Id(id) => (Name::Exact(id), absolute(args.bundle.as_deref().unwrap_or(Path::new(".")))?),
            Target::Bundle(path) => {
                // `.` and `..` have no name of their own, so links are followed here.
                let bundle =
                    path.canonicalize().with_context(|| format!("open bundle {}", path.display()))?;
                (Name::Like(ContainerId::like(&bundle)), bundle)
            }
        };
        Ok(Self {
            state_root: state_root(globals)?,
            driver: globals.driver,
            name,
            config: args.config.map_or_else(|| Ok(bundle.join("config.json")), |path| absolute(&path))?,
            bundle,
            console_socket: args.console_socket.as_deref().map(absolute).transpose()?,
            pid_file: args.pid_file.as_deref().map(absolute).transpose()?,
            pidfd_socket: args.pidfd_socket.as_deref().map(absolute).transpose()?,
            preserve_fds: args.preserve_fds,
            proc_mount: args.proc_mount,
            userns: args.userns,
            hardened: args.hardened,
            no_pivot: args.no_pivot,
            no_new_keyring: args.no_new_keyring,
            detach: true,
            keep: true,
            no_subreaper: true,
        })
    }

    /// The request of `run`.
    pub fn from_run(globals: &Globals, args: RunArgs) -> Result<Self> {
        let RunArgs { create, detach, keep, no_subreaper } = args;
        Ok(Self { detach, keep, no_subreaper, ..Self::from_create(globals, create)? })
    }
}

/// What `exec` is asked for. Every path is absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecRequest {
    /// Where the container's state is kept.
    pub state_root: PathBuf,
    /// What was typed, with absolute paths.
    pub args: ExecArgs,
}

impl ExecRequest {
    /// The request of `exec`.
    pub fn new(globals: &Globals, args: ExecArgs) -> Result<Self> {
        let program = match args.program {
            ExecProgram::Document(path) => ExecProgram::Document(absolute(&path)?),
            command @ ExecProgram::Command(_) => command,
        };
        Ok(Self {
            state_root: state_root(globals)?,
            args: ExecArgs {
                program,
                console_socket: args.console_socket.as_deref().map(absolute).transpose()?,
                pid_file: args.pid_file.as_deref().map(absolute).transpose()?,
                pidfd_socket: args.pidfd_socket.as_deref().map(absolute).transpose()?,
                ..args
            },
        })
    }
}

/// `path` as seen from `/`; symbolic links are left alone.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("find the current directory for {}", path.display()))
}

/// The state root: `--root`, else `$XDG_RUNTIME_DIR/urun` for a caller who is not real root, else `/run/urun`.
/// Real root is uid 0 of the initial user namespace: root of a rootless engine's namespace keeps its containers with
/// the user's. An empty variable is an absent one (Podman sends it empty to root).
pub fn state_root(globals: &Globals) -> Result<PathBuf> {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR");
    match &globals.root {
        Some(root) => absolute(root),
        None => default_root(runtime_dir.as_deref(), is_real_root),
    }
}

/// Where real root keeps its containers.
pub const DEFAULT_ROOT: &str = "/run/urun";

fn default_root(runtime_dir: Option<&OsStr>, is_real_root: impl FnOnce() -> bool) -> Result<PathBuf> {
    match runtime_dir.filter(|dir| !dir.is_empty()) {
        Some(dir) if !is_real_root() => {
            let dir = Path::new(dir);
            if !dir.is_absolute() {
                bail!("XDG_RUNTIME_DIR is {}, which is not absolute", dir.display());
            }
            Ok(dir.join("urun"))
        }
        _ => Ok(DEFAULT_ROOT.into()),
    }
}

/// Whether the caller is uid 0 of the initial user namespace. Where that cannot be read (no /proc), uid 0 is taken for
/// the real one.
pub fn is_real_root() -> bool {
    let inode = || {
        std::fs::metadata("/proc/self/ns/user").map_or(INITIAL_USER_NAMESPACE, |namespace| namespace.ino())
    };
    nix::unistd::geteuid().is_root() && inode() == INITIAL_USER_NAMESPACE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_root_follows_the_caller() {
        let root = |dir: Option<&str>, real| {
            default_root(dir.map(OsStr::new), || real).map(|path| path.display().to_string()).ok()
        };
        assert_eq!(root(None, true).as_deref(), Some("/run/urun"));
        assert_eq!(root(None, false).as_deref(), Some("/run/urun"));
        assert_eq!(root(Some(""), false).as_deref(), Some("/run/urun"));
        assert_eq!(root(Some("/run/user/7"), false).as_deref(), Some("/run/user/7/urun"));
        assert_eq!(root(Some("/run/user/7"), true).as_deref(), Some("/run/urun"));
        assert_eq!(root(Some("relative"), false), None);
    }

    #[test]
    fn paths_of_a_creation_are_absolute() {
        let args = CreateArgs {
            target: Target::Id("c".parse().unwrap()),
            bundle: None,
            config: None,
            console_socket: None,
            pid_file: None,
            pidfd_socket: None,
            preserve_fds: 0,
            proc_mount: None,
            userns: None,
            hardened: None,
            no_pivot: false,
            no_new_keyring: false,
        };
        let globals = Globals { driver: Driver::Systemd, ..Globals::default() };
        let request = CreateRequest::from_create(&globals, args).unwrap();
        assert_eq!(request.bundle, std::env::current_dir().unwrap());
        assert_eq!(request.config, request.bundle.join("config.json"));
        assert_eq!(request.driver, Driver::Systemd);
        assert!(request.detach);
    }

    #[test]
    fn a_bundle_gives_its_name() {
        let args = super::super::Line::parse(["run", "/proc/self/../../usr/"].map(Into::into)).unwrap();
        let super::super::Command::Run(args) = args.command().unwrap() else { panic!() };
        let request = CreateRequest::from_run(&Globals::default(), args).unwrap();
        assert_eq!(request.bundle, Path::new("/usr"));
        assert_eq!(request.name, Name::Like("usr".parse().unwrap()));
        assert!(!request.detach);
    }
}

//! The command line of `exec`.

use super::matches::Matches;
use crate::{
    bail,
    error::{Error, Result},
    spec::capability,
    state::ContainerId,
};
use std::{ffi::OsStr, path::PathBuf};

/// `exec`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecArgs {
    /// In which container.
    pub id: ContainerId,
    /// What is run.
    pub program: ExecProgram,
    /// `--tty`
    pub tty: bool,
    /// `--detach`
    pub detach: bool,
    /// `--cgroup`
    pub cgroup: Vec<String>,
    /// `--ignore-paused`
    pub ignore_paused: bool,
    /// `--console-socket`
    pub console_socket: Option<PathBuf>,
    /// `--pid-file`
    pub pid_file: Option<PathBuf>,
    /// `--pidfd-socket`
    pub pidfd_socket: Option<PathBuf>,
    /// `--preserve-fds`
    pub preserve_fds: u32,
    /// `--no-new-keyring`
    pub no_new_keyring: bool,
    /// `--no-subreaper`
    pub no_subreaper: bool,
}

/// What `exec` runs: a document, or a command with the container's own process around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecProgram {
    /// `--process`
    Document(PathBuf),
    /// The words after the id.
    Command(ExecCommand),
}

/// The words after the id of `exec`, and the flags that replace or add to parts of the container's own process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecCommand {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `--cwd`
    pub cwd: Option<PathBuf>,
    /// `--env`
    pub env: Vec<String>,
    /// `--user`: uid and gid.
    pub user: Option<(u32, Option<u32>)>,
    /// `--additional-gids`
    pub additional_gids: Vec<u32>,
    /// `--cap`, bit n = capability n.
    pub capabilities: u64,
    /// `--process-label`
    pub selinux_label: Option<String>,
    /// `--apparmor`
    pub apparmor_profile: Option<String>,
    /// `--no-new-privs`
    pub no_new_privileges: bool,
}

impl Matches {
    pub(super) fn exec(&self) -> Result<ExecArgs> {
        let id = self.id()?;
        let command = self.command_words()?;
        let program = match (self.path("process"), command.args.is_empty()) {
            (Some(document), true) => ExecProgram::Document(document),
            (None, false) => ExecProgram::Command(command),
            (Some(_), false) => bail!("a command and --process: only one of them can say what to run"),
            (None, true) => {
                return Err(Error::new("a command is needed").hint(format_args!("urun exec {id} sh")));
            }
        };
        Ok(ExecArgs {
            id,
            program,
            tty: self.is_set("tty"),
            detach: self.is_set("detach"),
            cgroup: self.texts("cgroup")?,
            ignore_paused: self.is_set("ignore-paused"),
            console_socket: self.path("console-socket"),
            pid_file: self.path("pid-file"),
            pidfd_socket: self.path("pidfd-socket"),
            preserve_fds: self.number("preserve-fds").unwrap_or(0),
            no_new_keyring: self.is_set("no-new-keyring"),
            no_subreaper: self.is_set("no-subreaper"),
        })
    }

    fn command_words(&self) -> Result<ExecCommand> {
        let args = self.trailing().iter().map(|word| utf8("command", word)).collect::<Result<_>>()?;
        let env = self.texts("env")?;
        if let Some(entry) = env.iter().find(|entry| entry.find('=').is_none_or(|at| at == 0)) {
            bail!("--env: expected NAME=VALUE, found {entry:?}");
        }
        let cwd = self.texts("cwd")?.pop().map(PathBuf::from);
        if let Some(cwd) = cwd.as_ref().filter(|cwd| !cwd.is_absolute()) {
            bail!("--cwd: {} is not absolute", cwd.display());
        }
        let mut capabilities = 0;
        for name in self.texts("cap")? {
            let Some(bit) = capability::bit(&capability::full_name(&name)) else {
                return Err(Error::new(format_args!("--cap: unknown capability {name:?}"))
                    .hint("capabilities(7) lists them: CAP_NET_ADMIN, CAP_SYS_TIME, …"));
            };
            capabilities |= bit;
        }
        Ok(ExecCommand {
            args,
            cwd,
            env,
            user: self.texts("user")?.pop().as_deref().map(user).transpose()?,
            additional_gids: self
                .all("additional-gids")
                .filter_map(|gid| gid.to_str()?.parse().ok())
                .collect(),
            capabilities,
            selinux_label: self.texts("process-label")?.pop(),
            apparmor_profile: self.texts("apparmor")?.pop(),
            no_new_privileges: self.is_set("no-new-privs"),
        })
    }

    /// Every value of a flag.
    fn texts(&self, name: &str) -> Result<Vec<String>> {
        self.all(name).map(|word| utf8(name, word)).collect()
    }
}

fn utf8(name: &str, word: &OsStr) -> Result<String> {
    let text = word.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::new(format_args!("{name}: {} is not UTF-8", word.to_string_lossy())))
}

/// `UID[:GID]`. Names are not looked up: the file that could tell belongs to the image (CVE-2016-3697).
fn user(text: &str) -> Result<(u32, Option<u32>)> {
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (uid, Some(gid)),
        None => (text, None),
    };
    // Digits alone: from_str would take a sign. The highest number means "leave alone" to the kernel.
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let id = |text: &str| text.parse::<u32>().ok().filter(|&id| digits(text) && id != u32::MAX);
    match (id(uid), gid.map(id)) {
        (Some(uid), None) => Ok((uid, None)),
        (Some(uid), Some(Some(gid))) => Ok((uid, Some(gid))),
        _ => Err(Error::new(format_args!("--user: expected UID or UID:GID, found {text:?}"))
            .hint("ids are numbers as the container counts them; names are not looked up")),
    }
}

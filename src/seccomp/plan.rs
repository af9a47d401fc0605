//! Which program is loaded, with which flags, and who is told about it.

use super::compile::{Program, Unknown, compile};
use crate::{
    error::{Context, Error, Result},
    spec::seccomp::{Action, Arch, Seccomp},
};
use std::path::PathBuf;

/// A filter that is ready to be loaded.
#[derive(Clone, Debug)]
pub struct Filter {
    /// What the kernel runs.
    pub program: Program,
    /// `SECCOMP_FILTER_FLAG_*` for seccomp(2).
    pub flags: u64,
    /// Who decides about the calls with `SCMP_ACT_NOTIFY`; present exactly if the profile has that action.
    pub listener: Option<Listener>,
}

/// The agent that gets the listener descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `listenerPath`: the socket it listens on.
    pub path: PathBuf,
    /// `listenerMetadata`, passed on as it is.
    pub metadata: Option<String>,
}

/// Compiles a profile for this machine.
///
/// # Errors
/// `SCMP_ACT_NOTIFY` without `listenerPath` (the kernel would answer ENOSYS), `listenerMetadata` without
/// `listenerPath`, and what [`compile`] refuses.
pub fn plan(profile: &Seccomp) -> Result<Filter> {
    let native = Arch::native()
        .ok_or_else(|| Error::new("seccomp profiles have no name for this machine's architecture"))
        .hint("remove linux.seccomp from the configuration")?;
    let listener = listener(profile)?;
    let program = compile(profile, native, Unknown::Enosys).context("compile linux.seccomp")?;
    Ok(Filter { program, flags: flags(profile.flags, listener.is_some()), listener })
}

/// Who is asked about the calls that the profile leaves to somebody; none where it leaves none.
pub fn listener(profile: &Seccomp) -> Result<Option<Listener>> {
    let Some(path) = &profile.listener_path else {
        if profile.listener_metadata.is_some() {
            return Err(Error::new("linux.seccomp.listenerMetadata needs linux.seccomp.listenerPath"));
        }
        if notifies(profile) {
            return Err(Error::new("SCMP_ACT_NOTIFY needs linux.seccomp.listenerPath")
                .hint("name the socket of the seccomp agent in linux.seccomp.listenerPath"));
        }
        return Ok(None);
    };
    let listener = Listener { path: path.clone(), metadata: profile.listener_metadata.clone() };
    Ok(notifies(profile).then_some(listener))
}

fn notifies(profile: &Seccomp) -> bool {
    profile.default_action == Action::Notify
        || profile.syscalls.iter().any(|rule| rule.action == Action::Notify)
}

/// The flags of the profile, with what a listener needs and without what only a listener has a use for.
fn flags(profile: u64, listens: bool) -> u64 {
    if !listens {
        return profile & !libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    }
    let mut flags = profile | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    if flags & libc::SECCOMP_FILTER_FLAG_TSYNC != 0 {
        // The result would otherwise be a descriptor or a thread, and the kernel refuses the pair.
        flags |= libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{seccomp::Rule, syscall::Syscall};

    fn profile(action: Action, path: Option<&str>) -> Seccomp {
        Seccomp {
            default_action: Action::Allow,
            architectures: vec![],
            flags: 0,
            listener_path: path.map(PathBuf::from),
            listener_metadata: None,
            syscalls: vec![Rule {
                names: Syscall::find("mkdir").into_iter().collect(),
                action,
                args: vec![],
            }],
        }
    }

    #[test]
    fn notify_asks_for_a_listener() {
        let filter = plan(&profile(Action::Notify, Some("/run/agent"))).unwrap();
        assert_eq!(filter.flags, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
        assert_eq!(filter.listener.unwrap().path, PathBuf::from("/run/agent"));
    }

    #[test]
    fn a_listener_path_without_notify_is_not_used() {
        let filter = plan(&profile(Action::Errno(1), Some("/run/agent"))).unwrap();
        assert_eq!((filter.flags, filter.listener), (0, None));
    }

    #[test]
    fn notify_without_a_path_is_refused() {
        let error = plan(&profile(Action::Notify, None)).unwrap_err();
        assert!(error.to_string().contains("listenerPath"), "{error}");
    }

    #[test]
    fn metadata_without_a_path_is_refused() {
        let mut profile = profile(Action::Errno(1), None);
        profile.listener_metadata = Some("x".into());
        assert!(plan(&profile).unwrap_err().to_string().contains("listenerMetadata"));
    }

    #[test]
    fn flags_follow_the_listener() {
        use libc::{
            SECCOMP_FILTER_FLAG_LOG as LOG, SECCOMP_FILTER_FLAG_NEW_LISTENER as LISTENER,
            SECCOMP_FILTER_FLAG_TSYNC as TSYNC, SECCOMP_FILTER_FLAG_TSYNC_ESRCH as ESRCH,
            SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV as KILLABLE,
        };
        let cases = [
            (LOG, false, LOG),
            (TSYNC | KILLABLE, false, TSYNC),
            (KILLABLE, true, LISTENER | KILLABLE),
            (TSYNC, true, LISTENER | TSYNC | ESRCH),
        ];
        for (given, listens, expected) in cases {
            assert_eq!(flags(given, listens), expected, "{given:#x} with a listener: {listens}");
        }
    }
}

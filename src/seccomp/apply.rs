//! Loads a filter.

use super::plan::Filter;
use crate::{
    error::{Error, Result},
    sys,
};
use std::os::fd::OwnedFd;

/// Loads the filter for the calling thread and returns the listener, if there is one. On success nothing after the
/// load needs a system call, so a profile may refuse all but execve(2).
///
/// # Errors
/// EACCES without no_new_privs and without CAP_SYS_ADMIN; EINVAL for a flag or action newer than the kernel. A flag
/// that the kernel does not know is never left out in silence.
pub fn load(filter: &Filter) -> Result<Option<OwnedFd>> {
    sys::seccomp::set_filter(&filter.program.instructions, filter.flags)
        .map_err(|error| explain(error, filter.flags))
}

fn explain(error: Error, flags: u64) -> Error {
    let error = error.context("load the seccomp filter");
    match error.errno() {
        Some(libc::EACCES) => {
            error.hint("set process.noNewPrivileges, or load the filter while CAP_SYS_ADMIN is held")
        }
        Some(libc::EBUSY) => {
            error.hint("the runtime runs under a filter with a listener, and the kernel allows one")
        }
        Some(libc::EINVAL) if flags != 0 => error.hint(format_args!("linux.seccomp needs {}", newest(flags))),
        Some(libc::ENOSYS | libc::EINVAL) => error.hint("the kernel needs CONFIG_SECCOMP_FILTER"),
        _ => error,
    }
}

/// Which kernel knows all of `flags`: seccomp(2).
fn newest(flags: u64) -> &'static str {
    let since = [
        (libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, "Linux 6.0 (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)"),
        (libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH, "Linux 5.7 (SECCOMP_FILTER_FLAG_TSYNC_ESRCH)"),
        (libc::SECCOMP_FILTER_FLAG_NEW_LISTENER, "Linux 5.0 (SCMP_ACT_NOTIFY)"),
        (libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, "Linux 4.17 (SECCOMP_FILTER_FLAG_SPEC_ALLOW)"),
        (libc::SECCOMP_FILTER_FLAG_LOG, "Linux 4.14 (SECCOMP_FILTER_FLAG_LOG)"),
    ];
    since
        .iter()
        .find(|(flag, _)| flags & flag != 0)
        .map_or("Linux 3.17 (SECCOMP_FILTER_FLAG_TSYNC)", |entry| entry.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_flag_names_the_kernel_that_has_it() {
        let flags = libc::SECCOMP_FILTER_FLAG_LOG | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        let error = explain(Error::syscall("seccomp()", libc::EINVAL), flags);
        assert!(error.remedy().unwrap().contains("Linux 6.0"), "{:?}", error.remedy());
    }
}

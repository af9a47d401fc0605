//! The filter of a hardened container: nobody types on behalf of whoever reads the terminal.
//!
//! It is a filter of its own beside the one of config.json. An entry there that allows ioctl(2) without conditions, as
//! engines' profiles have, would beat any entry with conditions; of two filters the kernel takes the stricter answer
//! (seccomp(2), "SECCOMP_SET_MODE_FILTER"). Calls that it does not name cost nothing: the kernel knows them to be allowed
//! without running it (Linux 5.11).

use super::plan::Filter;
use crate::{
    error::Result,
    spec::{
        seccomp::{Action, Arch, Arg, Operator, Rule, Seccomp},
        syscall::Syscall,
    },
};

/// Requests of ioctl(2) that put bytes into a terminal's input queue: the one that is there for it, and the selection and paste
/// of a virtual console (ioctl_tty(2), ioctl_console(2); CVE-2017-5226, CVE-2023-28339).
const DENIED: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// The kernel compares the low half of a request, and so must a filter (CVE-2019-10063).
const REQUEST: u64 = 0xffff_ffff;

/// The filter for this machine.
pub fn plan() -> Result<Filter> {
    let deny = |request| Rule {
        names: Syscall::find("ioctl").into_iter().collect(),
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 1
        action: Action::Errno(libc::EPERM as u16),
        args: vec![Arg { index: 1, value: REQUEST, value_two: request, op: Operator::MaskedEq }],
    };
    super::plan(&Seccomp {
        default_action: Action::Allow,
        architectures: Arch::native().map_or(&[][..], Arch::relatives).to_vec(),
        flags: 0,
        listener_path: None,
        listener_metadata: None,
        syscalls: DENIED.map(deny).into(),
    })
}

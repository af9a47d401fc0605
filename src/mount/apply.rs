//! The assembler's steps.

use super::{op::Plan, source::Sources};
use crate::error::Result;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What exists only at run time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setting<'a> {
    /// The container's user namespace, for id-mapped mounts that use its maps.
    pub user_namespace: Option<BorrowedFd<'a>>,
}

/// A finished root file system.
#[derive(Debug)]
pub struct Assembled {
    /// Its root: the attached mount, O_PATH.
    pub root: OwnedFd,
    /// The terminal, where the plan asked for one.
    pub terminal: Option<Terminal>,
    /// Where the root is mounted until it is entered, and what it becomes after.
    propagation: Option<super::op::Propagation>,
}

/// A pseudo-terminal of the container's own devpts.
#[derive(Debug)]
pub struct Terminal {
    /// The side that goes to the console socket.
    pub master: OwnedFd,
    /// The side that the process gets; it is on /dev/console too.
    pub peer: OwnedFd,
}

/// How the root is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// pivot_root(2).
    Pivot,
    /// `--no-pivot`: the root is moved over `/` and the caller changes root (initramfs).
    MoveMount,
}

/// Assembles the root file system in the current mount namespace, which the runtime's user namespace owns and whose tree is
/// private. The caller's file system ids are those of the container's root outside, with all capabilities kept.
pub fn assemble(plan: &Plan, sources: Sources, setting: &Setting<'_>) -> Result<Assembled> {
    let _ = (plan, sources, setting);
    crate::bail!("unfinished")
}

/// Makes the assembled root the root of the mount namespace. With [`Root::Pivot`] the root and working directory of every
/// process that had the old ones (init) change too; with [`Root::MoveMount`] init has to chroot(2) by itself.
pub fn enter_root(assembled: &Assembled, how: Root) -> Result<()> {
    let _ = (assembled, how, assembled.propagation);
    crate::bail!("unfinished")
}

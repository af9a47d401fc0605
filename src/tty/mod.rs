//! Terminals: a container's own pseudo-terminal, its way to whoever asked for it, and the foreground modes of `run` and
//! `exec`, in which the runtime stands between the caller's terminal and the container's.

pub mod apply;
pub mod console;
pub mod foreground;
pub mod raw;
pub mod relay;

pub use crate::sys::{
    pidfd::Exit,
    tty::{Pty, Size},
};

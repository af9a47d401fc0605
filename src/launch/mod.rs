//! The only choreography in the program. The runtime never leaves its own namespaces: it serves. The *assembler* has the
//! runtime's privileges in a mount namespace of its own; it makes init, builds the root file system around it and ends.
//! *init* waits until everything stands, takes its identity and executes. Where namespaces are joined, a *stage* joins
//! them first and gives birth to init; it is gone before the assembly begins.
//!
//! ```text
//! runtime ──spawn──▶ assembler ──(spawn──▶ stage)──▶ init (a child of the runtime: CLONE_PARENT)
//!    ◀─ Base? Born Place? Hooks? Assembled ─┘                 │
//!    ├── Go (+ the terminal's slave) ────────────────────────▶│ identity, look-up
//!    ◀── Ready ───────────────────────────────────────────────┤
//!    ├── Start (run), or the start socket (create, start) ───▶│ hooks, filter, execve: the link ends
//! ```
//!
//! A process of `exec` takes the short way ([`exec`]): a stage joins the container and gives birth to it, and from there
//! on it is treated as init is.

mod assembler;
pub mod exec;
pub mod explain;
mod init;
pub mod link;
pub mod lookup;
mod process;
pub mod serve;
mod stage;
pub mod start;

#[cfg(test)]
mod tests;

pub use init::Park;
pub use serve::{Host, Launched, Moment, Setting, launch};

//! config.json becomes [`Config`]: validated once, every error with its JSON path, all of them at once.
//! Nothing after this module unwraps an optional OCI field or reads a string that means something.

pub mod config;
pub mod linux;
pub mod mount;
pub mod seccomp;

pub use config::{Capabilities, Config, Hook, Hooks, Process, Root, User};
pub use linux::{IdMap, Linux, Namespace, NamespaceKind};
pub use mount::{Mount, MountKind};

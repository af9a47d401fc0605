//! config.json becomes [`Config`]: validated once, every error with its JSON path, all of them at once.
//! Nothing after this module unwraps an optional OCI field or reads a string that means something.

pub mod capability;
pub mod config;
pub mod example;
pub mod features;
pub mod linux;
pub mod mount;
mod node;
pub mod option;
mod parse;
pub mod seccomp;
pub mod syscall;
pub mod sysctl;
mod tree;
pub mod update;

pub use config::{Capabilities, Config, Hook, Hooks, Process, Root, User};
pub use linux::{IdMap, Linux, Namespace, NamespaceKind};
pub use mount::{Mount, MountKind};
pub use parse::{load, load_process, load_resources, number_list};
pub use sysctl::Sysctl;

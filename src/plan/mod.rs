//! Config, Request and Facts become one value, the [`Plan`]. Pure: nothing here asks or changes the host.

pub mod create;
pub mod exec;
mod execution;
pub mod explain;
pub mod hardened;
pub mod order;
pub mod proc_mount;

pub use execution::{Descriptors, Execution, Program};

use crate::{
    cgroup,
    hook::{self, Program as HookProgram, Redirection},
    mount, net,
    ns::{plan::Namespaces, sysctl},
    rdt,
};
use std::path::PathBuf;

/// Everything that is going to happen to make a container, decided.
#[derive(Debug)]
pub struct Plan {
    /// Which namespaces are made and joined, and by whom.
    pub namespaces: Namespaces,
    /// Where the container's processes are counted and limited.
    pub cgroup: cgroup::plan::Plan,
    /// The root file system.
    pub mounts: mount::Plan,
    /// The mount namespace begins with the root file system alone, where the kernel makes such a one (Linux 7.0), and not as a copy
    /// of the caller's, which costs by the number of mounts there (ADR 14).
    pub root_alone: bool,
    /// How the root is entered otherwise.
    pub root: mount::apply::Root,
    /// `hostname`
    pub hostname: Option<String>,
    /// `domainname`
    pub domainname: Option<String>,
    /// Network devices of the host that move in.
    pub net_devices: Vec<net::NetOp>,
    /// Intel RDT groups.
    pub rdt: rdt::Plan,
    /// Kernel parameters.
    pub sysctls: sysctl::Writes,
    /// uid and gid, as the assembler sees them, of what is created in the root file system: the container's root. None
    /// where the assembler has these ids already.
    pub creator: Option<(u32, u32)>,
    /// What becomes of init.
    pub execution: Execution,
    /// The hooks.
    pub hooks: Hooks,
    /// For the log: what was asked for and is not going to happen.
    pub warnings: Vec<String>,
}

/// The hooks of a container, ready to run.
#[derive(Debug, Default)]
pub struct Hooks {
    /// `prestart`, then `createRuntime`: both run in the runtime's namespaces when everything is mounted.
    pub create_runtime: Vec<HookProgram>,
    /// `createContainer`
    pub create_container: Vec<HookProgram>,
    /// `startContainer`
    pub start_container: Vec<HookProgram>,
    /// `poststart`
    pub poststart: Vec<HookProgram>,
    /// `poststop`
    pub poststop: Vec<HookProgram>,
    /// Where their output goes.
    pub redirection: Redirection,
    /// The bundle, their working directory.
    pub bundle: PathBuf,
}

impl Hooks {
    /// The surroundings of hooks in the runtime's namespaces.
    pub fn setting(&self) -> hook::Setting<'_> {
        hook::Setting {
            cwd: Some(&self.bundle),
            redirection: self.redirection.clone(),
            ..hook::Setting::default()
        }
    }

    /// The surroundings of hooks inside the container, where the bundle has no name.
    pub fn inner_setting(&self) -> hook::Setting<'_> {
        hook::Setting { redirection: self.redirection.clone(), ..hook::Setting::default() }
    }
}

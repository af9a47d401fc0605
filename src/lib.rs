//! urun, an OCI container runtime with Linux user namespaces at its heart. See ARCHITECTURE.md for the flow.

pub mod cgroup;
pub mod cli;
pub mod clock;
pub mod cmd;
pub mod cred;
pub mod error;
pub mod hint;
pub mod hook;
pub mod host;
pub mod launch;
pub mod log;
pub mod lsm;
pub mod mount;
pub mod net;
pub mod ns;
pub mod plan;
pub mod rdt;
pub mod seccomp;
pub mod spec;
pub mod state;
pub mod sys;
pub mod systemd;
pub mod tty;

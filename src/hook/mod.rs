//! OCI hooks (runtime-spec config.md, POSIX-platform hooks): programs of the node's administrator that run at fixed
//! points of a container's life. They run with the runtime's privileges, so nothing of the container reaches them but
//! the state document on their standard input: not its environment (CVE-2025-23266), not its terminal, no descriptor.

pub mod plan;
pub mod run;

pub use plan::{Program, Redirection, plan, redirection};
pub use run::{Setting, open_all, run_all, run_tolerant};

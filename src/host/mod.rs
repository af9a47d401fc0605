//! Read-only questions to the host, asked only when the plan needs the answer.

pub mod caller;
pub mod cgroups;
pub mod ids;
pub mod mountinfo;
pub mod passwd;

//! Read-only questions to the host, asked only when the plan needs the answer.

pub mod cgroups;
pub mod hints;
pub mod passwd;

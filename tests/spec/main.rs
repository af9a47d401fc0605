//! Documents of the specification: those that engines send, those that are wrong, those that mean harm.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)] // an integration test is a test to its last line
#![allow(clippy::too_many_lines, clippy::needless_pass_by_value)] // tables are long, and `json!` makes values

mod broken;
mod golden;
mod hostile;
mod meaning;

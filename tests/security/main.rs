//! Attacks that runtimes have fallen to, by the numbers of the project's security dossier: each builds the hostile image,
//! configuration or caller, and then looks at the *host* for what must not have happened. With another runtime by
//! `RUNTIME_UNDER_TEST=runc`; the documentation of a test names the version that it was seen to catch.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // the helpers of tests are no `#[test]` functions
#![allow(clippy::needless_pass_by_value)] // `json!(…)` and fresh commands are handed over
#![allow(clippy::unreadable_literal)] // modes and masks are read as they are printed
#![allow(unsafe_code)] // callers with too many descriptors, with ignored signals, with other ids

#[path = "../common/mod.rs"]
mod common;

mod annotations;
mod audit;
mod canary;
mod crash;
mod exec;
mod identity;
mod image;
mod keys;
mod leaks;
mod nested;
mod old_root;
mod paths;
mod pods;
mod powers;
mod probe;
mod races;
mod root_inside;
mod settings;
mod syntax;
mod table;
mod terminal;

//! Behaviour of the runtime, one topic a module, read back from the host side. Run one topic with
//! `cargo test --test behaviour TOPIC::`, and with another runtime by `RUNTIME_UNDER_TEST=crun`.
//!
//! One crate and not one a file: it is compiled and linked once, and its tests share the machine's cores.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // the helpers of tests are no `#[test]` functions
#![allow(clippy::needless_pass_by_value)] // `json!(…)` and fresh commands are handed over
#![allow(clippy::unreadable_literal)] // modes and masks are read as they are printed
#![allow(unsafe_code)] // descriptors that arrive over a socket have to be owned, a window has to be resized

#[path = "../common/mod.rs"]
mod common;

mod capabilities;
mod captures;
mod cgroups_behaviour;
mod concurrency;
mod delegation;
mod devices;
mod error_texts;
mod errors;
mod events;
mod every_state;
mod exec;
mod hardened;
mod hooks;
mod identity;
mod idmaps;
mod ids;
mod joining;
mod labels;
mod lifecycle;
mod locked;
mod mounts;
mod namespaces;
mod nested_engine;
mod nesting;
mod notify;
mod nsresourced;
mod pause;
mod proc_masks;
mod ps;
mod rootfs;
mod rootless;
mod rootless_network;
mod seccomp_behaviour;
mod seeds;
mod sudden_death;
mod systemd;
mod terminal;
mod update;
mod userns;
mod volumes;

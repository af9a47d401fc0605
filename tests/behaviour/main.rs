//! Behaviour of the runtime, one topic a module, read back from the host side. Run one topic with
//! `cargo test --test behaviour TOPIC::`, and with another runtime by `RUNTIME_UNDER_TEST=crun`.
//!
//! One crate and not one a file: it is compiled and linked once, and its tests share the machine's cores.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)] // a test may fail at any step
#![allow(clippy::needless_pass_by_value, clippy::items_after_statements)] // `json!` makes values; a word stands where it is used
#![allow(unsafe_code)] // descriptors that arrive over a socket have to be owned, a window has to be resized

#[path = "../common/mod.rs"]
mod common;

mod capabilities;
mod cgroups_behaviour;
mod concurrency;
mod devices;
mod errors;
mod hooks;
mod identity;
mod idmaps;
mod labels;
mod lifecycle;
mod locked;
mod mounts;
mod namespaces;
mod proc_masks;
mod rootfs;
mod rootless;
mod seccomp_behaviour;
mod seeds;
mod terminal;

//! Behaviour of the runtime, one topic a module, read back from the host side. Run one topic with
//! `cargo test --test behaviour TOPIC::`, and with another runtime by `RUNTIME_UNDER_TEST=crun`.
//!
//! One crate and not one a file: it is compiled and linked once, and its tests share the machine's cores.

#![allow(unsafe_code)] // descriptors that arrive over a socket have to be owned, a window has to be resized

#[path = "../common/mod.rs"]

mod common;

mod namespaces;
mod idmaps;
mod labels;
mod lifecycle;
mod mounts;
mod capabilities;
mod hooks;
mod identity;
mod proc_masks;
mod rootfs;
mod seccomp_behaviour;
mod devices;
mod terminal;

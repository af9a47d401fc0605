//! Namespaces and id maps.

pub mod apply;
pub mod choice;
pub mod idmap;
pub mod members;
pub mod owners;
pub mod plan;
pub mod subid;
pub mod sysctl;

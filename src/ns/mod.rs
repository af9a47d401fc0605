//! Namespaces and id maps.

pub mod apply;
pub mod idmap;
pub mod subid;
pub mod plan;
pub mod sysctl;

//! Namespaces and id maps.

pub mod apply;
pub mod idmap;
pub mod plan;
pub mod sysctl;
pub mod subid;

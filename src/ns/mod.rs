//! Namespaces and id maps.

pub mod idmap;
pub mod subid;

//! Namespaces and id maps.

pub mod idmap;

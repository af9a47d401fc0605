//! Namespaces and id maps.

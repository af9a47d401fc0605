//! The root file system: assembled through descriptors, never through paths.

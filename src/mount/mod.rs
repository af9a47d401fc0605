//! The root file system: assembled through descriptors, never through paths.
//!
//! The assembler holds the runtime's privileges over content that is hostile (the image, shared volumes), so nothing here
//! reaches that content but through [`root::Rootfs`], and every mount is a detached tree until it is moved onto a
//! descriptor. `plan` decides (pure), `source` opens what the host gives, `apply` acts.

pub mod apply;
mod attach;
mod copy;
mod device;
mod idmap;
mod idmap_refused;
mod old_root;
pub mod op;
mod overlay;
pub mod plan;
mod proc;
pub mod root;
pub mod source;

pub use apply::{Assembled, Root, assemble, change_root, enter_root};
pub use idmap::filesystem_name;
pub use op::{Op, Plan, ProcView};
pub use plan::{Facts, Request, plan};
pub use root::Lookup;
pub use source::{Sources, open_sources};

#[cfg(test)]
mod tests;

//! Intel RDT (resctrl): cache and memory bandwidth of a container, kernel documentation "User Interface for Resource
//! Control feature", runtime-spec config-linux.md "Intel RDT".

pub mod apply;
pub mod plan;

pub use apply::{apply, root, undo};
pub use plan::{Plan, RdtOp, plan, update};

//! Network devices: loopback in a new network namespace, and `linux.netDevices`.
//!
//! A [`Route`] speaks for the network namespace in which it was opened. A device is sent from the host's and settled in
//! the container's; it is never moved back.

pub mod apply;
pub mod message;
pub mod plan;
mod route;

pub use apply::{apply, loopback_up};
pub use plan::{NetOp, Network, plan};
pub use route::Route;

//! systemd as the keeper of control groups: its interface on D-Bus, the names of its units, the text form of their properties.

pub mod bus;
pub mod gvariant;
pub mod manager;
pub mod nsresource;
pub mod unit;
pub mod wire;

pub use bus::Address;
pub use manager::{Instance, Manager, Property};
pub use unit::Unit;

#[cfg(test)]
mod tests;

//! The only choreography in the program: birth, gates, rollback.

pub mod explain;
pub mod lookup;

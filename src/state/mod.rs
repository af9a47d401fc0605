//! Containers on disk: their ids, what is stored about each, and what each is doing.

pub mod claims;
pub mod document;
pub mod id;
pub mod record;
pub mod status;
pub mod store;

pub use claims::{Claims, Holder};
pub use document::document;
pub use id::ContainerId;
pub use record::{Driver, Init, PidNamespace, Record, Stage};
pub use status::{Status, not_running};
pub use store::{Entry, FIRST_LOCK, PATIENCE, START_SOCKET, Store};

//! `urun create`

use super::make::{self, Waits};
use crate::{cli::CreateRequest, error::Result, log::Log};

/// Makes a container that waits for `start`.
pub fn create(request: &CreateRequest, log: &Log) -> Result<()> {
    let made = make::make(request, Waits::ForStart, log)?;
    made.print_name(request)
}

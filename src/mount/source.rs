//! What the host gives, opened with the caller's privileges before anything is entered.

use super::op::Plan;
use crate::error::Result;
use std::os::fd::OwnedFd;

/// What [`open_sources`] opened.
#[derive(Debug)]
pub struct Sources {
    #[allow(dead_code)]
    rootfs: OwnedFd,
}

/// Opens everything the plan takes from the host, in the caller's mount namespace, so that mount propagation keeps its peers.
pub fn open_sources(plan: &Plan) -> Result<Sources> {
    let _ = plan;
    crate::bail!("unfinished")
}

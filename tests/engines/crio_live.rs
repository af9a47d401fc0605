//! A pod on a live CRI-O, through crictl.

pub fn pod() {}

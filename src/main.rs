//! Parse, dispatch, print one error, pick the exit code.

fn main() {}

//! Any argument vector is a command or an error. One argument a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{ffi::OsString, os::unix::ffi::OsStringExt};
use urun::cli::Line;

fuzz_target!(|bytes: &[u8]| {
    let argv = bytes.split(|&byte| byte == b'\n').map(|word| OsString::from_vec(word.to_owned()));
    if let Err(error) = Line::parse(argv).and_then(Line::command) {
        assert!(!error.to_string().is_empty());
    }
});

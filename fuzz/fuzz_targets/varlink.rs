//! Whatever systemd-nsresourced answers is taken or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use urun::systemd::nsresource;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = nsresource::judge(bytes) {
        assert!(!error.to_string().is_empty());
    }
});

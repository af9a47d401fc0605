//! Any process.json and any resources.json is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use urun::spec;

fuzz_target!(|bytes: &[u8]| {
    for error in
        [spec::load_process(bytes, None).err(), spec::load_resources(bytes).err()].into_iter().flatten()
    {
        assert!(!error.to_string().is_empty());
    }
});

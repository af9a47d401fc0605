//! Any config.json gives a plan or an error, for root with and without systemd, and for a caller without privileges.
#![no_main]

use libfuzzer_sys::fuzz_target;
use urun::spec;

#[path = "../facts.rs"]
mod facts;

fuzz_target!(|bytes: &[u8]| {
    match spec::load(bytes) {
        Ok(config) => {
            for facts in [facts::root(), facts::managed(), facts::ordinary()] {
                facts::plan(&config, &facts);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

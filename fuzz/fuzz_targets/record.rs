//! Any state.json is read or refused, and what was read is written so that it reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use urun::state::Record;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Record::decode(bytes) {
        let again = Record::decode(&record.encode().unwrap()).unwrap();
        assert_eq!(again, record);
    }
});

//! Whatever a process of the container says, the runtime gets a word, nothing, or an error that can cross again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fmt::Debug;
use urun::{
    error::Error,
    launch::link::{FromAssembler, FromInit, FromStage, Go, ToInit, Word},
};

fn check<W: Word + Debug + PartialEq>(tag: u8, payload: &[u8]) {
    if let Some(word) = W::decode(tag, payload) {
        let (tag, payload) = word.encode();
        assert_eq!(W::decode(tag, &payload), Some(word));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let error = Error::decode(bytes);
    assert_eq!(Error::decode(&error.encode()), error);
    if let Some((&tag, payload)) = bytes.split_first() {
        check::<FromAssembler>(tag, payload);
        check::<FromStage>(tag, payload);
        check::<FromInit>(tag, payload);
        check::<ToInit>(tag, payload);
        check::<Go>(tag, payload);
    }
});

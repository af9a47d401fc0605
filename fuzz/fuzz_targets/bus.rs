//! Whatever a bus says is a message or an error, and a call that is written reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use urun::systemd::{
    Address,
    wire::{Call, FIXED, Message, length, signature, split_type},
};

fuzz_target!(|bytes: &[u8]| {
    if let Some(head) = bytes.first_chunk::<FIXED>() {
        // What is read next is never more than this.
        let whole = length(head).map_or(bytes.len(), |length| length.min(bytes.len()));
        if let Ok(message) = Message::decode(&bytes[..whole]) {
            let call = Call {
                destination: Some("a.b"),
                path: "/a",
                interface: "a.b",
                member: "C",
                arguments: &message.arguments,
            };
            let again = Message::decode(&call.encode(1)).unwrap();
            // Compared as text: a double may be no number, which equals nothing.
            assert_eq!(format!("{:?}", again.arguments), format!("{:?}", message.arguments));
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Address::parse(text);
        if let Ok((first, rest)) = split_type(text) {
            assert_eq!(format!("{first}{rest}"), text);
        }
    }
    let _ = signature(&[]);
});

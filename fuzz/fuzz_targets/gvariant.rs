//! Any annotation for a unit's property is a value that a message can carry, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use urun::systemd::{
    gvariant,
    wire::{Call, Message, split_type},
};

fuzz_target!(|text: &str| {
    match gvariant::parse(text) {
        Ok(value) => {
            let signature = value.signature();
            assert_eq!(split_type(&signature).unwrap(), (signature.as_str(), ""));
            let call = Call {
                destination: None,
                path: "/a",
                interface: "a.b",
                member: "C",
                arguments: std::slice::from_ref(&value),
            };
            let again = Message::decode(&call.encode(1)).unwrap();
            assert_eq!(format!("{:?}", again.arguments), format!("{:?}", [value]));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

//! Whatever the kernel answers about devices is read, and an address that is given again reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use urun::net::message::{Address, Link, errno, messages};

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    for message in messages(bytes) {
        let _ = (errno(message.body), Link::parse(message.body));
        let Some(address) = Address::parse(message.body) else { continue };
        assert!(!address.text().is_empty());
        let request = address.add_to(7).finish(1);
        let again = Address::parse(&request[HEADER..]).unwrap();
        let parts =
            |address: &Address| (address.local.clone(), address.remote.clone(), address.broadcast.clone());
        assert_eq!((again.index, parts(&again)), (7, parts(&address)));
    }
});

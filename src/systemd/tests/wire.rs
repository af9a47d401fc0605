//! The bytes of messages.

use super::{
    super::wire::{Kind, Message, Value, length, split_type},
    HELLO, reply,
};

#[test]
#[cfg(target_endian = "little")]
fn a_call_has_the_bytes_of_the_specification() {
    let mut expected = b"l\x01\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x6d\x00\x00\x00".to_vec();
    expected.extend(b"\x01\x01o\x00\x15\x00\x00\x00/org/freedesktop/DBus\x00\x00\x00");
    expected.extend(b"\x02\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00");
    expected.extend(b"\x03\x01s\x00\x05\x00\x00\x00Hello\x00\x00\x00");
    expected.extend(b"\x06\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00");
    assert_eq!(HELLO.encode(1), expected);
}

fn every_type() -> Vec<Value> {
    let text = Value::text("é");
    vec![
        Value::Byte(255),
        Value::Bool(true),
        Value::I16(-2),
        Value::U16(3),
        Value::I32(-4),
        Value::U32(5),
        Value::I64(-6),
        Value::U64(u64::MAX),
        Value::Double(1.5),
        text.clone(),
        Value::Path("/a".into()),
        Value::Signature("a(sv)".into()),
        Value::Array("t".into(), vec![Value::U64(1), Value::U64(2)]),
        Value::Array("t".into(), vec![]),
        Value::Array("as".into(), vec![Value::Array("s".into(), vec![text.clone()])]),
        Value::Struct(vec![Value::Byte(1), Value::Struct(vec![Value::U64(7)])]),
        Value::Variant(Box::new(Value::Variant(Box::new(text)))),
    ]
}

#[test]
fn values_of_every_type_are_read_as_they_were_written() {
    let bytes = reply(3, &every_type());
    assert_eq!(length(bytes[..16].try_into().unwrap()).unwrap(), bytes.len());
    let read = Message::decode(&bytes).unwrap();
    assert_eq!((read.kind, read.reply_to), (Kind::Return, Some(3)));
    assert_eq!(read.arguments, every_type());
}

#[test]
fn a_message_that_is_cut_or_flipped_is_an_error_or_another_message() {
    let bytes = reply(3, &every_type());
    for end in 0..bytes.len() {
        assert!(Message::decode(&bytes[..end]).is_err(), "{end} of {} bytes", bytes.len());
    }
    for at in 0..bytes.len() {
        for mask in [1, 0x80, 0xff] {
            let mut wrong = bytes.clone();
            wrong[at] ^= mask;
            // Whatever it is now: no panic, no endless loop, no memory without end.
            let _ = Message::decode(&wrong);
        }
    }
}

#[test]
fn values_that_nest_without_end_are_refused() {
    let mut value = Value::Byte(1);
    for _ in 0..200 {
        value = Value::Variant(Box::new(value));
    }
    let error = Message::decode(&reply(1, &[value])).unwrap_err().to_string();
    assert!(error.contains("nest"), "{error}");
}

#[test]
fn what_is_no_message_is_told_by_its_head() {
    let good: [u8; 16] = HELLO.encode(1)[..16].try_into().unwrap();
    for (at, byte) in [(0, b'x'), (3, 2), (7, 0x7f), (15, 0x7f)] {
        let mut head = good;
        head[at] = byte;
        length(&head).unwrap_err();
    }
}

#[test]
fn signatures_are_split_behind_whole_types() {
    let table =
        [("s", "s", ""), ("asu", "as", "u"), ("a(sa{sv})i", "a(sa{sv})", "i"), ("(i)(u)", "(i)", "(u)")];
    for (all, first, rest) in table {
        assert_eq!(split_type(all).unwrap(), (first, rest), "{all}");
    }
    for wrong in ["", "a", "aa", "(", "()", "(i", ")", "(i}", "z", "a)", &"(".repeat(300)] {
        split_type(wrong).unwrap_err();
    }
}

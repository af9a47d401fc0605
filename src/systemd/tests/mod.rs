//! Messages as bytes, and a scripted peer at the other end of a socket.

mod manager;
mod wire;

use super::wire::{Call, Value, length, signature};

const HELLO: Call<'static> = Call {
    destination: Some("org.freedesktop.DBus"),
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "Hello",
    arguments: &[],
};

/// As a peer would write it: a call is an answer whose type byte and fields differ.
pub fn message(kind: u8, fields: &[(u8, Value)], arguments: &[Value]) -> Vec<u8> {
    let fields = fields
        .iter()
        .cloned()
        .chain((!arguments.is_empty()).then(|| (8, Value::Signature(signature(arguments)))));
    let fields: Vec<Value> = fields
        .map(|(code, value)| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]))
        .collect();
    // The body of a call, cut out behind a header of known length, is the body of any message.
    let bytes = Call { arguments, ..HELLO }.encode(1);
    let total = length(bytes[..16].try_into().unwrap()).unwrap();
    let body_length = u32::from_ne_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let body = &bytes[total - body_length..];
    let head = Call { arguments: &[Value::Array("(yv)".into(), fields)], ..HELLO }.encode(1);
    let head_length = u32::from_ne_bytes(head[4..8].try_into().unwrap()) as usize;
    let array = &head[head.len() - head_length..];
    // Elements begin at a multiple of 8 in both places, but the length in front is 4 bytes earlier there than here.
    let mut out = vec![bytes[0], kind, 0, 1];
    out.extend(u32::try_from(body.len()).unwrap().to_ne_bytes());
    out.extend(9u32.to_ne_bytes());
    out.extend(&array[..4]);
    out.extend(&array[8..]);
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend(body);
    out
}

pub fn reply(to: u32, arguments: &[Value]) -> Vec<u8> {
    message(2, &[(5, Value::U32(to))], arguments)
}

pub fn refusal(to: u32, name: &str, text: &str) -> Vec<u8> {
    message(3, &[(4, Value::text(name)), (5, Value::U32(to))], &[Value::text(text)])
}

pub fn job_removed(job: &str, result: &str) -> Vec<u8> {
    let fields = [
        (1, Value::Path("/org/freedesktop/systemd1".into())),
        (2, Value::text("org.freedesktop.systemd1.Manager")),
        (3, Value::text("JobRemoved")),
    ];
    message(
        4,
        &fields,
        &[Value::U32(7), Value::Path(job.into()), Value::text("a.scope"), Value::text(result)],
    )
}

//! A client of the Container Runtime Interface (`runtime.v1`, k8s.io/cri-api), small enough to need no generated code: messages are written field by
//! field, and curl carries them over HTTP/2.

use crate::site::{Site, Who};
use std::fs;

const SOCKET: &str = "/run/containerd/containerd.sock";

/// One protobuf message under construction.
#[derive(Clone, Debug, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    /// A field of text.
    pub fn text(self, number: u8, text: &str) -> Self {
        self.bytes(number, text.as_bytes())
    }

    /// A field of text for each of the words.
    pub fn texts(self, number: u8, words: &[&str]) -> Self {
        words.iter().fold(self, |message, word| message.text(number, word))
    }

    /// A field with a message.
    pub fn message(self, number: u8, message: &Self) -> Self {
        self.bytes(number, &message.0)
    }

    /// A field with a number that is not negative. All numbers of fields are below 16.
    pub fn number(mut self, number: u8, value: u64) -> Self {
        self.0.push(number << 3);
        self.varint(value);
        self
    }

    /// The fields of another message after those of this one.
    pub fn and(mut self, more: &Self) -> Self {
        self.0.extend(&more.0);
        self
    }

    fn bytes(mut self, number: u8, bytes: &[u8]) -> Self {
        self.0.push(number << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap());
    }
}

/// A field of a response: its number, and its bytes or its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    Bytes(u64, Vec<u8>),
    Number(u64, u64),
}

/// The fields of a message that came as an answer, or inside one.
pub struct Response(Vec<Field>);

impl Response {
    /// Reads a message.
    pub fn parse(mut bytes: &[u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let value = varint(&mut bytes);
            if key & 7 == 2 {
                let (content, rest) = bytes.split_at(usize::try_from(value).unwrap());
                fields.push(Field::Bytes(key >> 3, content.to_vec()));
                bytes = rest;
            } else {
                assert_eq!(key & 7, 0, "only numbers and bytes are known here");
                fields.push(Field::Number(key >> 3, value));
            }
        }
        Self(fields)
    }

    /// All values of a field of bytes.
    fn all(&self, number: u64) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter_map(move |field| match field {
            Field::Bytes(n, bytes) if *n == number => Some(bytes.as_slice()),
            _ => None,
        })
    }

    /// A field of text; empty where it is not there, as the format has it.
    pub fn text(&self, number: u64) -> String {
        String::from_utf8_lossy(self.all(number).next().unwrap_or_default()).into_owned()
    }

    /// The messages of a field that may come several times.
    pub fn messages(&self, number: u64) -> Vec<Self> {
        self.all(number).map(Self::parse).collect()
    }

    /// A message; empty where it is not there.
    pub fn message(&self, number: u64) -> Self {
        Self::parse(self.all(number).next().unwrap_or_default())
    }

    /// A number; 0 where it is not there.
    pub fn number(&self, number: u64) -> u64 {
        let found = self.0.iter().find_map(|field| match field {
            Field::Number(n, value) if *n == number => Some(*value),
            _ => None,
        });
        found.unwrap_or(0)
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}

/// Calls a method of RuntimeService on containerd's socket.
///
/// # Errors
/// What the engine says instead of an answer.
pub fn call(site: &Site, method: &str, message: &Message) -> Result<Response, String> {
    let path = |name: &str| site.scratch().join(format!("io/{method}.{name}")).display().to_string();
    // A gRPC frame: not compressed, and the length.
    let length = u32::try_from(message.0.len()).unwrap().to_be_bytes();
    fs::write(path("request"), [&[0], &length[..], &message.0].concat()).unwrap();
    let url = format!("http://localhost/runtime.v1.RuntimeService/{method}");
    let data = format!("@{}", path("request"));
    let (headers, answer) = (path("headers"), path("answer"));
    let flags = ["curl", "--silent", "--show-error", "--http2-prior-knowledge", "--unix-socket", SOCKET];
    let content =
        ["--header", "content-type: application/grpc", "--header", "te: trailers", "--data-binary", &data];
    let files = ["--dump-header", &headers, "--output", &answer, &url];
    site.run(Who::Root, &[&flags[..], &content, &files].concat()).ok();
    let headers = fs::read_to_string(headers).unwrap();
    let header = |name: &str| headers.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match header("grpc-status:") {
        Some("0") => Ok(Response::parse(fs::read(answer).unwrap().get(5..).unwrap_or_default())),
        status => Err(format!("{status:?} {}", header("grpc-message:").unwrap_or_default())),
    }
}

//! Messages of D-Bus as bytes (D-Bus specification 0.43, "Type System" and "Message Protocol"): what systemd's interface
//! needs, in this machine's byte order.

use crate::{
    bail,
    error::{Context, Error, Result},
};

/// `METHOD_CALL`
const CALL: u8 = 1;
/// The mark of this machine's byte order.
const ENDIAN: u8 = if cfg!(target_endian = "little") { b'l' } else { b'B' };
/// Major version of the protocol.
const PROTOCOL: u8 = 1;
/// Bytes in front of the header's fields: four of them, body length, serial, length of the fields.
pub const FIXED: usize = 16;
/// The longest message that is read. The protocol's own limit is 128 MiB; nothing that systemd answers comes near this one.
pub const LONGEST: usize = 4 << 20;
/// How deep values may nest; the specification's limit.
const DEEPEST: usize = 64;

/// One value of a message.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the specification's names
pub enum Value {
    Byte(u8),
    Bool(bool),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Double(f64),
    Text(String),
    Path(String),
    Signature(String),
    /// The signature of an element, and the elements.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    Variant(Box<Value>),
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The text of a string or an object path.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Path(text) => Some(text),
            Self::Variant(inner) => inner.as_text(),
            _ => None,
        }
    }

    /// Its type.
    pub fn signature(&self) -> String {
        match self {
            Self::Byte(_) => "y".to_owned(),
            Self::Bool(_) => "b".to_owned(),
            Self::I16(_) => "n".to_owned(),
            Self::U16(_) => "q".to_owned(),
            Self::I32(_) => "i".to_owned(),
            Self::U32(_) => "u".to_owned(),
            Self::I64(_) => "x".to_owned(),
            Self::U64(_) => "t".to_owned(),
            Self::Double(_) => "d".to_owned(),
            Self::Text(_) => "s".to_owned(),
            Self::Path(_) => "o".to_owned(),
            Self::Signature(_) => "g".to_owned(),
            Self::Array(element, _) => format!("a{element}"),
            Self::Struct(fields) => format!("({})", signature(fields)),
            Self::Variant(_) => "v".to_owned(),
        }
    }
}

/// The signature of a sequence of values.
pub fn signature(values: &[Value]) -> String {
    values.iter().map(Value::signature).collect()
}

/// A method call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Whom it is for; none on a connection without a bus in between.
    pub destination: Option<&'a str>,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// The arguments.
    pub arguments: &'a [Value],
}

impl Call<'_> {
    /// The message, with a serial number that is not zero.
    pub fn encode(&self, serial: u32) -> Vec<u8> {
        let mut body = Writer::default();
        body.values(self.arguments);
        let field =
            |code: u8, value: Value| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
        let mut fields = vec![
            field(1, Value::Path(self.path.to_owned())),
            field(2, Value::text(self.interface)),
            field(3, Value::text(self.member)),
        ];
        fields.extend(self.destination.map(|name| field(6, Value::text(name))));
        if !self.arguments.is_empty() {
            fields.push(field(8, Value::Signature(signature(self.arguments))));
        }
        let mut out = Writer(vec![ENDIAN, CALL, 0, PROTOCOL]);
        out.length(body.0.len());
        out.value(&Value::U32(serial));
        out.value(&Value::Array("(yv)".to_owned(), fields));
        out.align(8);
        out.0.extend(body.0);
        out.0
    }
}

#[derive(Debug, Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    #[allow(clippy::cast_possible_truncation)] // no argument of ours is 4 GiB long
    fn length(&mut self, length: usize) {
        self.fixed(&(length as u32).to_ne_bytes());
    }

    fn fixed(&mut self, bytes: &[u8]) {
        self.align(bytes.len());
        self.0.extend(bytes);
    }

    fn values(&mut self, values: &[Value]) {
        for value in values {
            self.value(value);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(byte) => self.0.push(*byte),
            Value::Bool(yes) => self.fixed(&u32::from(*yes).to_ne_bytes()),
            Value::I16(number) => self.fixed(&number.to_ne_bytes()),
            Value::U16(number) => self.fixed(&number.to_ne_bytes()),
            Value::I32(number) => self.fixed(&number.to_ne_bytes()),
            Value::U32(number) => self.fixed(&number.to_ne_bytes()),
            Value::I64(number) => self.fixed(&number.to_ne_bytes()),
            Value::U64(number) => self.fixed(&number.to_ne_bytes()),
            Value::Double(number) => self.fixed(&number.to_ne_bytes()),
            Value::Text(text) | Value::Path(text) => {
                self.length(text.len());
                self.0.extend(text.as_bytes());
                self.0.push(0);
            }
            Value::Signature(text) => self.short_text(text),
            Value::Array(element, values) => {
                self.length(0);
                let length_at = self.0.len() - 4;
                self.align(alignment(element));
                let start = self.0.len();
                self.values(values);
                let mut length = Self::default();
                length.length(self.0.len() - start);
                self.0[length_at..length_at + 4].copy_from_slice(&length.0);
            }
            Value::Struct(fields) => {
                self.align(8);
                self.values(fields);
            }
            Value::Variant(inner) => {
                self.short_text(&inner.signature());
                self.value(inner);
            }
        }
    }

    #[allow(clippy::cast_possible_truncation)] // a signature has at most 255 bytes, and ours are shorter
    fn short_text(&mut self, text: &str) {
        self.0.push(text.len() as u8);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }
}

/// Where values of a type begin.
fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 4,
    }
}

/// What kind of message came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The answer to a call.
    Return,
    /// The refusal of a call.
    Error,
    /// News.
    Signal,
    /// A call, or something newer than this program.
    Other,
}

/// A message that came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The serial number of the call that it answers.
    pub reply_to: Option<u32>,
    /// The signal's name, or the error's.
    pub name: String,
    /// The interface of a signal.
    pub interface: String,
    /// What it carries.
    pub arguments: Vec<Value>,
}

/// The whole length of the message that begins with these [`FIXED`] bytes.
///
/// # Errors
/// Bytes that are no message of this protocol, or one that is longer than [`LONGEST`].
pub fn length(head: &[u8; FIXED]) -> Result<usize> {
    if head[0] != ENDIAN || head[3] != PROTOCOL {
        bail!("bytes {:02x?} are no D-Bus message of this machine", &head[..4]);
    }
    let word = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
    let length = (FIXED + word(12)).next_multiple_of(8).saturating_add(word(4));
    match length <= LONGEST {
        true => Ok(length),
        false => bail!("a D-Bus message of {length} bytes: at most {LONGEST} are expected"),
    }
}

impl Message {
    /// Reads one whole message.
    ///
    /// # Errors
    /// Lengths that lead outside, types that the protocol does not know, text that is not UTF-8.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        Self::read(bytes).context("read a D-Bus message")
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader { bytes, at: 12 };
        let kind = match bytes.get(1) {
            Some(2) => Kind::Return,
            Some(3) => Kind::Error,
            Some(4) => Kind::Signal,
            _ => Kind::Other,
        };
        let mut message = Self {
            kind,
            reply_to: None,
            name: String::new(),
            interface: String::new(),
            arguments: Vec::new(),
        };
        let mut types = String::new();
        let (Value::Array(_, fields), _) = reader.value("a(yv)", 0)? else { bail!("it has no fields") };
        for field in fields {
            let Value::Struct(pair) = field else { continue };
            let [Value::Byte(code), Value::Variant(value)] = pair.as_slice() else { continue };
            match (code, &**value) {
                (2, Value::Text(text)) => message.interface.clone_from(text),
                (3 | 4, Value::Text(text)) => message.name.clone_from(text),
                (5, Value::U32(serial)) => message.reply_to = Some(*serial),
                (8, Value::Signature(text)) => types.clone_from(text),
                _ => {}
            }
        }
        reader.align(8)?;
        let mut rest = types.as_str();
        while !rest.is_empty() {
            let (value, after) = reader.value(rest, 0)?;
            message.arguments.push(value);
            rest = after;
        }
        Ok(message)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else { bail!("it ends within a value") };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> Result<()> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.align(N)?;
        let bytes = self.take(N)?;
        bytes.try_into().map_err(Error::new)
    }

    fn length(&mut self) -> Result<usize> {
        Ok(u32::from_ne_bytes(self.fixed()?) as usize)
    }

    fn text(&mut self, length: usize) -> Result<String> {
        let text = self.take(length)?;
        self.take(1)?;
        String::from_utf8(text.to_vec()).map_err(|_| Error::new("a text in it is not UTF-8"))
    }

    /// The value of the first type in `signature`, and the types behind it.
    fn value<'s>(&mut self, signature: &'s str, depth: usize) -> Result<(Value, &'s str)> {
        if depth > DEEPEST {
            bail!("its values nest more than {DEEPEST} deep");
        }
        let (first, rest) = split_type(signature)?;
        let value = match first.as_bytes()[0] {
            b'y' => Value::Byte(self.take(1)?[0]),
            b'b' => Value::Bool(self.length()? != 0),
            b'n' => Value::I16(i16::from_ne_bytes(self.fixed()?)),
            b'q' => Value::U16(u16::from_ne_bytes(self.fixed()?)),
            b'i' => Value::I32(i32::from_ne_bytes(self.fixed()?)),
            b'u' | b'h' => Value::U32(u32::from_ne_bytes(self.fixed()?)),
            b'x' => Value::I64(i64::from_ne_bytes(self.fixed()?)),
            b't' => Value::U64(u64::from_ne_bytes(self.fixed()?)),
            b'd' => Value::Double(f64::from_ne_bytes(self.fixed()?)),
            b's' | b'o' => {
                let length = self.length()?;
                let text = self.text(length)?;
                if first == "s" { Value::Text(text) } else { Value::Path(text) }
            }
            b'g' => {
                let length = usize::from(self.take(1)?[0]);
                Value::Signature(self.text(length)?)
            }
            b'v' => {
                let length = usize::from(self.take(1)?[0]);
                let types = self.text(length)?;
                let (value, rest) = self.value(&types, depth + 1)?;
                if !rest.is_empty() {
                    bail!("a variant in it has the types {types:?}");
                }
                Value::Variant(Box::new(value))
            }
            b'a' => {
                let element = &first[1..];
                let length = self.length()?;
                self.align(alignment(element))?;
                let end = self.at.saturating_add(length);
                let mut values = Vec::new();
                while self.at < end {
                    values.push(self.value(element, depth + 1)?.0);
                }
                if self.at != end {
                    bail!("an array in it has a wrong length");
                }
                Value::Array(element.to_owned(), values)
            }
            // A struct, or an entry of a dictionary, which looks the same.
            _ => {
                self.align(8)?;
                let mut inner = &first[1..first.len() - 1];
                let mut values = Vec::new();
                while !inner.is_empty() {
                    let (value, after) = self.value(inner, depth + 1)?;
                    values.push(value);
                    inner = after;
                }
                Value::Struct(values)
            }
        };
        Ok((value, rest))
    }
}

/// Splits a signature behind its first whole type.
///
/// # Errors
/// An unknown type, a bracket without its other half, an array of nothing.
pub fn split_type(signature: &str) -> Result<(&str, &str)> {
    let wrong = || Error::new(format_args!("{signature:?} is no D-Bus signature"));
    let mut open: Vec<u8> = Vec::new();
    for (at, byte) in signature.bytes().enumerate() {
        match byte {
            b'a' => continue,
            b'(' | b'{' if open.len() < DEEPEST => {
                open.push(if byte == b'(' { b')' } else { b'}' });
                continue;
            }
            b')' | b'}'
                if at > 0 && open.pop() == Some(byte) && !b"a({".contains(&signature.as_bytes()[at - 1]) => {}
            byte if b"ybnqiuxtdsoghv".contains(&byte) => {}
            _ => return Err(wrong()),
        }
        if open.is_empty() {
            return Ok(signature.split_at(at + 1));
        }
    }
    Err(wrong())
}

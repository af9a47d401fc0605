//! Values as text: what annotations give to properties of units (the GVariant text format, as far as D-Bus types go).

use super::wire::{Value, split_type};
use crate::{
    bail,
    error::{Error, Result},
};

/// Reads one value: `true`, `5`, `1.5`, `'text'`, `"text"`, `['a', 'b']`, `('a', 1)`, `<'variant'>`, each with its type in
/// front where that is not plain: `uint64 5`, `@as []`. A number without a type is an int32, or a double where it has a point.
/// There are no object paths and signatures, because no property of a unit has one.
///
/// # Errors
/// Anything else, a number that does not fit its type, elements of different types.
pub fn parse(text: &str) -> Result<Value> {
    let mut parser = Parser { rest: text.trim_start(), depth: 0 };
    let value = parser.value(None)?;
    match parser.rest {
        "" => Ok(value),
        rest => bail!("{rest:?} behind the value"),
    }
}

/// The words that stand for a type.
const TYPES: &[(&str, &str)] = &[
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
];
/// No property of systemd nests deeper than four.
const DEEPEST: usize = 16;

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// Takes a sign and the blanks behind it.
    fn take(&mut self, sign: char) -> bool {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    /// Takes a word or a number.
    fn word(&mut self) -> &'a str {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn value(&mut self, wanted: Option<&str>) -> Result<Value> {
        self.depth += 1;
        if self.depth > DEEPEST {
            bail!("values nest more than {DEEPEST} deep");
        }
        let value = self.plain_value(wanted)?;
        self.depth -= 1;
        let found = value.signature();
        match wanted {
            Some(wanted) if wanted != found => bail!("a value of type {found:?} where {wanted:?} is needed"),
            _ => Ok(value),
        }
    }

    fn plain_value(&mut self, wanted: Option<&str>) -> Result<Value> {
        match self.rest.chars().next() {
            None => bail!("a value is missing"),
            Some('@') => {
                let typed = &self.rest[1..];
                let (signature, rest) = typed.split_once(char::is_whitespace).unwrap_or((typed, ""));
                let (kind, more) = split_type(signature)?;
                if !more.is_empty() {
                    bail!("{signature:?} is more than one type");
                }
                self.rest = rest.trim_start();
                self.value(Some(kind))
            }
            Some(quote @ ('\'' | '"')) => Ok(Value::Text(self.quoted(quote)?)),
            Some('[') => self.array(wanted),
            Some('(') => self.tuple(wanted),
            Some('<') => {
                self.take('<');
                let inner = self.value(None)?;
                if !self.take('>') {
                    bail!("`>` is missing behind a variant");
                }
                Ok(Value::Variant(Box::new(inner)))
            }
            Some(_) => {
                let word = self.word();
                match TYPES.iter().find(|(name, _)| *name == word) {
                    Some((_, signature)) => self.value(Some(signature)),
                    None => number(word, wanted),
                }
            }
        }
    }

    fn array(&mut self, wanted: Option<&str>) -> Result<Value> {
        self.take('[');
        let mut element = wanted.and_then(|wanted| wanted.strip_prefix('a')).map(str::to_owned);
        let mut values = Vec::new();
        while !self.take(']') {
            if !values.is_empty() && !self.take(',') {
                bail!("`,` or `]` is missing in an array");
            }
            let value = self.value(element.as_deref())?;
            element.get_or_insert_with(|| value.signature());
            values.push(value);
        }
        let element = element.ok_or_else(|| Error::new("an empty array needs its type: `@as []`"))?;
        fits(Value::Array(element, values))
    }

    fn tuple(&mut self, wanted: Option<&str>) -> Result<Value> {
        self.take('(');
        let mut types = match wanted {
            Some(wanted) if wanted.starts_with('(') => &wanted[1..wanted.len() - 1],
            _ => "",
        };
        let mut fields = Vec::new();
        while !self.take(')') {
            if !fields.is_empty() && !self.take(',') {
                bail!("`,` or `)` is missing in a tuple");
            }
            // (1,) is a tuple of one.
            if !fields.is_empty() && self.take(')') {
                break;
            }
            let kind = match types {
                "" => None,
                some => {
                    let (kind, rest) = split_type(some)?;
                    types = rest;
                    Some(kind)
                }
            };
            fields.push(self.value(kind)?);
        }
        match fields.is_empty() {
            true => bail!("D-Bus has no empty tuple"),
            false => fits(Value::Struct(fields)),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String> {
        let mut text = String::new();
        let mut chars = self.rest[1..].chars();
        loop {
            match chars.next() {
                Some('\\') => text.push(escaped(&mut chars)?),
                Some(c) if c == quote => break,
                Some(c) => text.push(c),
                None => bail!("{quote} is missing behind a text"),
            }
        }
        if text.contains('\0') {
            bail!("a text with a NUL in it");
        }
        self.rest = chars.as_str().trim_start();
        Ok(text)
    }
}

/// Refuses what no message can carry: the length of a type is one byte on the wire.
fn fits(value: Value) -> Result<Value> {
    match u8::try_from(value.signature().len()).is_ok() {
        true => Ok(value),
        false => bail!("a value whose type has more than {} letters", u8::MAX),
    }
}

/// The character behind a backslash.
fn escaped(chars: &mut std::str::Chars<'_>) -> Result<char> {
    let wrong = || Error::new("an unknown escape in a text");
    let digits = match chars.next().ok_or_else(wrong)? {
        'n' => return Ok('\n'),
        't' => return Ok('\t'),
        'r' => return Ok('\r'),
        'a' => return Ok('\u{7}'),
        'b' => return Ok('\u{8}'),
        'f' => return Ok('\u{c}'),
        'v' => return Ok('\u{b}'),
        'u' => 4,
        'U' => 8,
        other => return Ok(other),
    };
    let text: String = chars.take(digits).collect();
    let number = u32::from_str_radix(&text, 16).ok().filter(|_| text.len() == digits);
    number.and_then(char::from_u32).ok_or_else(wrong)
}

/// A boolean or a number of the type that is wanted.
fn number(word: &str, wanted: Option<&str>) -> Result<Value> {
    let wrong = || match wanted {
        Some(wanted) => Error::new(format_args!("{word:?} is no value of type {wanted:?}")),
        None => Error::new(format_args!("{word:?} is no value")),
    };
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let integer = || -> Result<i128> {
        let (radix, digits) = match (digits.get(..2), digits.strip_prefix('0')) {
            (Some("0x" | "0X"), _) => (16, &digits[2..]),
            (_, Some(octal)) if !octal.is_empty() => (8, octal),
            _ => (10, digits),
        };
        let first = digits.starts_with(|c: char| c.is_ascii_hexdigit());
        i128::from_str_radix(digits, radix).ok().filter(|_| first).map(|value| sign * value).ok_or_else(wrong)
    };
    let double = || word.parse::<f64>().map(Value::Double).map_err(|_| wrong());
    match (word, wanted) {
        ("true", None | Some("b")) => return Ok(Value::Bool(true)),
        ("false", None | Some("b")) => return Ok(Value::Bool(false)),
        (_, Some("d")) => return double(),
        (_, None)
            if word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) && word.contains('.') =>
        {
            return double();
        }
        _ => {}
    }
    let value = integer()?;
    let fits = match wanted {
        None | Some("i") => i32::try_from(value).ok().map(Value::I32),
        Some("y") => u8::try_from(value).ok().map(Value::Byte),
        Some("n") => i16::try_from(value).ok().map(Value::I16),
        Some("q") => u16::try_from(value).ok().map(Value::U16),
        Some("u") => u32::try_from(value).ok().map(Value::U32),
        Some("x") => i64::try_from(value).ok().map(Value::I64),
        Some("t") => u64::try_from(value).ok().map(Value::U64),
        _ => None,
    };
    fits.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Value {
        Value::text(value)
    }

    #[test]
    fn values_of_annotations_are_read() {
        let array = |element: &str, values: Vec<Value>| Value::Array(element.to_owned(), values);
        let table = [
            ("true", Value::Bool(true)),
            ("false ", Value::Bool(false)),
            ("5", Value::I32(5)),
            (" -5", Value::I32(-5)),
            ("0x1f", Value::I32(31)),
            ("017", Value::I32(15)),
            ("0", Value::I32(0)),
            ("uint64 90000000", Value::U64(90_000_000)),
            ("uint64 18446744073709551615", Value::U64(u64::MAX)),
            ("int64 -9223372036854775808", Value::I64(i64::MIN)),
            ("@t 7", Value::U64(7)),
            ("byte 0xff", Value::Byte(255)),
            ("uint16 1", Value::U16(1)),
            ("int16 -1", Value::I16(-1)),
            ("uint32 1", Value::U32(1)),
            ("1.5", Value::Double(1.5)),
            ("double 2", Value::Double(2.0)),
            ("boolean true", Value::Bool(true)),
            ("'it''", text("it")),
            ("\"say \\\"hi\\\"\"", text("say \"hi\"")),
            (r"'a\n\u00e9\U0001f600\x'", text("a\né😀x")),
            ("['crio.service']", array("s", vec![text("crio.service")])),
            ("['a', \"b\"]", array("s", vec![text("a"), text("b")])),
            ("@as []", array("s", vec![])),
            ("@at [1, 2]", array("t", vec![Value::U64(1), Value::U64(2)])),
            ("[uint64 1, 2]", array("t", vec![Value::U64(1), Value::U64(2)])),
            (
                "[[1], [2]]",
                array("ai", vec![array("i", vec![Value::I32(1)]), array("i", vec![Value::I32(2)])]),
            ),
            ("('a', 1)", Value::Struct(vec![text("a"), Value::I32(1)])),
            ("(1,)", Value::Struct(vec![Value::I32(1)])),
            (
                "@a(st) [('/dev/x', 1)]",
                array("(st)", vec![Value::Struct(vec![text("/dev/x"), Value::U64(1)])]),
            ),
            ("@((s)t) (('a',), 1)", Value::Struct(vec![Value::Struct(vec![text("a")]), Value::U64(1)])),
            ("<'a'>", Value::Variant(Box::new(text("a")))),
        ];
        for (input, expected) in table {
            let input = input.replace("'it''", "'it'");
            assert_eq!(parse(&input).unwrap_or_else(|error| panic!("{input}: {error}")), expected, "{input}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let deep = "[".repeat(100) + "1" + &"]".repeat(100);
        let table = [
            "",
            " ",
            "maybe",
            "nothing",
            "'open",
            "\"open'",
            "[1, 'a']",
            "[]",
            "[1",
            "[1 2]",
            "(1",
            "()",
            "5 5",
            "2147483648",
            "uint64 -1",
            "byte 256",
            "byte",
            "uint64 'a'",
            "string 5",
            "objectpath '/a'",
            "@o '/a'",
            "signature 'as'",
            "@g 'as'",
            "boolean 1",
            "1e5x",
            "--1",
            "-",
            "+-1",
            "0x",
            "0xg",
            "089",
            "@a [1]",
            "@ 5",
            "@ii 5",
            "@{sv} 5",
            "{'a': 1}",
            "'a\\u12'",
            "'\\ud800'",
            "'\\u0000'",
            "<1",
            "true false",
            &deep,
        ];
        for input in table {
            assert!(parse(input).is_err(), "{input:?} is {:?}", parse(input));
        }
    }
}

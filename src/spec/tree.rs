//! A JSON document as a tree that borrows its text from the input.

use crate::error::{Error, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, fmt};

/// A JSON value. Integers stay exact; properties stay in the order of the document.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree<'a> {
    /// `null`
    Null,
    /// `true` and `false`
    Bool(bool),
    /// A negative integer.
    Signed(i64),
    /// Any other integer.
    Unsigned(u64),
    /// A number with a fraction or an exponent, or out of the range of the integers.
    Float(f64),
    /// A string, copied only where it holds an escape.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Tree<'a>>),
    /// An object. Of a repeated property the last one counts.
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
}

impl<'a> Tree<'a> {
    /// Reads one document; anything after it, and nesting deeper than 128, is an error.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            Error::new(format_args!("malformed JSON: not UTF-8 at byte {}", error.valid_up_to()))
        })?;
        serde_json::from_str(text).map_err(|error| Error::new(format_args!("malformed JSON: {error}")))
    }

    /// The value of a property; none where this is no object or has no such property.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => {
                members.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Tree<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(value).map_or(Tree::Signed(value), Tree::Unsigned))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Tree::Unsigned(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Tree::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Tree::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Tree::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Self::Value, E> {
        Ok(Tree::Text(Cow::Owned(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut object = Vec::new();
        while let Some(Key(key)) = members.next_key()? {
            object.push((key, members.next_value()?));
        }
        Ok(Tree::Object(object))
    }
}

/// A property name; serde's own `Cow` would always copy.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a property name")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Key(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Key(Cow::Owned(value.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_borrowed_unless_it_holds_an_escape() {
        let tree = Tree::parse(br#"{"a":"plain","b":"\u0041"}"#).unwrap();
        assert!(matches!(tree.get("a"), Some(Tree::Text(Cow::Borrowed("plain")))));
        assert!(matches!(tree.get("b"), Some(Tree::Text(Cow::Owned(text))) if text == "A"));
    }

    #[test]
    fn integers_stay_exact() {
        let tree = Tree::parse(b"[18446744073709551615, -9223372036854775808, 0, 1.5, 18446744073709551616]")
            .unwrap();
        let Tree::List(items) = tree else { panic!("not a list") };
        assert_eq!(items[..3], [Tree::Unsigned(u64::MAX), Tree::Signed(i64::MIN), Tree::Unsigned(0)]);
        assert!(items[3..].iter().all(|item| matches!(item, Tree::Float(_))));
    }

    #[test]
    fn of_a_repeated_property_the_last_one_counts() {
        let tree = Tree::parse(br#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(tree.get("a"), Some(&Tree::Unsigned(3)));
    }

    #[test]
    fn broken_documents_say_where() {
        for (bytes, text) in [
            (&b"{} x"[..], "malformed JSON: trailing characters at line 1 column 4"),
            (b"", "malformed JSON: EOF while parsing a value at line 1 column 0"),
            (b"{\"a\":\xff}", "malformed JSON: not UTF-8 at byte 5"),
            (b"[1,]", "malformed JSON: trailing comma at line 1 column 4"),
        ] {
            assert_eq!(Tree::parse(bytes).unwrap_err().to_string(), text);
        }
        let deep = "[".repeat(100_000);
        assert!(Tree::parse(deep.as_bytes()).unwrap_err().to_string().contains("recursion limit exceeded"));
    }
}

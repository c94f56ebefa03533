//! The fields of one JSON object of an agent, taken one by one, whatever their types turn out to be.
//!
//! An agent's fields are data, not a schema: a version from next month may turn a text into an object or leave a field
//! out. So every reader here answers with an option and leaves in place what it could not read, and what nobody took is
//! kept beside the event ([`Fields::into_rest`]). Nothing is lost by being unknown.
//!
//! A document that breaks off (too long for our limit, or a writer that died) still begins with whole fields, and these
//! are usually the ones that say what happened. [`Fields::parse`] hands them out with the error.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::event::json::mended;

/// The top-level fields of one object, in their order.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads `bytes` as one object, mended where they want it ([`mended`]). On an error, what stood whole before it.
    pub fn parse(bytes: &[u8]) -> Result<Fields, (Fields, serde_json::Error)> {
        Fields::parse_strict(bytes).or_else(|failure| match mended(bytes) {
            Some(text) => Fields::parse_strict(text.as_bytes()),
            None => Err(failure),
        })
    }

    fn parse_strict(bytes: &[u8]) -> Result<Fields, (Fields, serde_json::Error)> {
        let mut found = Map::new();
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let read = Collect(&mut found).deserialize(&mut reader).and_then(|()| reader.end());
        match read {
            Ok(()) => Ok(Fields(found)),
            Err(error) => Err((Fields(found), error)),
        }
    }

    /// The field without taking it, if it is a text that is not empty.
    pub fn peek(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// Takes a text. Anything else that is not null is taken as its JSON text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        match self.0.get(name) {
            None | Some(Value::Null) => None,
            Some(_) => self.0.shift_remove(name).map(|value| match value {
                Value::String(text) => text,
                other => other.to_string(),
            }),
        }
    }

    /// Takes a text that names something: not empty, and really a text.
    pub fn name(&mut self, name: &str) -> Option<String> {
        self.peek(name)?;
        self.text(name)
    }

    /// Takes any value; a missing one is null.
    pub fn value(&mut self, name: &str) -> Value {
        self.0.shift_remove(name).unwrap_or(Value::Null)
    }

    /// Takes a flag, if it is one.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        let flag = self.0.get(name)?.as_bool()?;
        self.0.shift_remove(name);
        Some(flag)
    }

    /// Takes a whole number from 0, if it is one.
    pub fn number(&mut self, name: &str) -> Option<u64> {
        let number = self.0.get(name)?.as_u64()?;
        self.0.shift_remove(name);
        Some(number)
    }

    /// Puts a field beside the others.
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// Drops fields that the envelope or another event already says.
    pub fn forget(&mut self, names: &[&str]) {
        for name in names {
            self.0.shift_remove(*name);
        }
    }

    /// What nobody took.
    pub fn into_rest(self) -> Map<String, Value> {
        self.0
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Map<String, Value>> for Fields {
    fn from(map: Map<String, Value>) -> Fields {
        Fields(map)
    }
}

/// Collects fields into a map that outlives a failure.
struct Collect<'a>(&'a mut Map<String, Value>);

impl<'de> DeserializeSeed<'de> for Collect<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Collect<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value::<Value>()?;
            self.0.insert(name, value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_breaks_off_still_gives_the_fields_before_the_break() {
        let (mut fields, _) =
            Fields::parse(br#"{"session_id":"s","n":1.50,"tool_response":"abc"#).expect_err("it breaks off");
        assert_eq!(fields.name("session_id").as_deref(), Some("s"));
        assert_eq!(
            fields.into_rest(),
            Map::from_iter([("n".to_owned(), serde_json::from_str("1.50").unwrap())])
        );
    }

    #[test]
    fn half_a_character_costs_nothing_but_itself() {
        for (bytes, text) in [
            (&br#"{"a":"cut \ud83d","b":1}"#[..], "cut \u{fffd}"),
            (b"{\"a\":\"cut \xe9\",\"b\":1}", "cut \u{fffd}"),
            (b"\xef\xbb\xbf{\"a\":\"marked\",\"b\":1}", "marked"),
        ] {
            let mut fields = Fields::parse(bytes).expect("mended");
            assert_eq!((fields.text("a").as_deref(), fields.number("b")), (Some(text), Some(1)));
        }
        let (mut fields, _) =
            Fields::parse(br#"{"a":"cut \ud83d","b":1,"c":"x"#).expect_err("it breaks off behind it");
        assert_eq!((fields.text("a").as_deref(), fields.number("b")), (Some("cut \u{fffd}"), Some(1)));
    }

    #[test]
    fn odd_types_are_left_where_they_are() {
        let mut fields = Fields::parse(br#"{"a":"x","b":-1,"c":{"d":2},"e":""}"#).unwrap();
        assert_eq!(
            (fields.flag("a"), fields.number("b"), fields.name("c"), fields.name("e")),
            (None, None, None, None)
        );
        assert_eq!(fields.text("c").as_deref(), Some(r#"{"d":2}"#));
        assert_eq!(fields.into_rest().keys().collect::<Vec<_>>(), ["a", "b", "e"]);
    }

    #[test]
    fn what_is_not_one_object_is_an_error() {
        for bytes in ["", "[]", "12", "\u{0}", "{} {}", "{\"a\":1}x"] {
            assert!(Fields::parse(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
    }
}

//! Whether a payload holds anything to take out, told from its text.
//!
//! Nearly no event holds a secret, and nearly all that holds none would be parsed into a tree only to be thrown away. This reads the
//! text once and keeps nothing: strings are borrowed where they stand. It asks what the walk over a tree asks, of the same
//! names and strings, and errs to one side only: what it calls clean the walk would leave as it is; what it does not, the walk
//! decides.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::names::{Class, class_of, is_untouched, nearest};
use super::{Redactor, apart, named};

/// Whether nothing is to be taken out of a JSON text. Text that is no JSON is not clean.
pub(super) fn is_clean(redactor: &Redactor, text: &str) -> bool {
    let mut reader = serde_json::Deserializer::from_str(text);
    let look = Look { redactor, under: None, flag: None, untouched: false, may_name: false };
    look.deserialize(&mut reader).is_ok()
}

/// What stands for a number where all its digits are kept: an object with this one key, whose value is the digits.
const NUMBER: &str = "$serde_json::private::Number";
/// Keys with which the parser of a tree does something of its own.
const RESERVED: &str = "$serde_json::private::";

/// A look at one value.
#[derive(Clone, Copy)]
struct Look<'a> {
    redactor: &'a Redactor,
    /// The class of the nearest name above that promises a secret.
    under: Option<Class>,
    /// What the flag before it in a list promises.
    flag: Option<Class>,
    /// Whether it is left as it is if it is a string.
    untouched: bool,
    /// Whether it may be the name of what stands beside it.
    may_name: bool,
}

/// What the value promises of the next one in a list, if it is a flag.
type Promise = Option<Class>;

/// Why the text is not clean. Nobody is told.
fn found<E: Error>() -> E {
    E::custom("")
}

impl Look<'_> {
    fn string<E: Error>(self, text: &str) -> Result<Promise, E> {
        // `{"name": "API_KEY", "value": ".."}` is one field in two.
        if self.may_name && class_of(text).is_some() {
            return Err(found());
        }
        let under = if text.starts_with('-') { self.under } else { self.under.or(self.flag) };
        let is_secret = under.is_some_and(|class| named::is_secret_value(class, text))
            || (self.flag.is_some() && apart::may_be_header_secret(text));
        if !self.untouched && (is_secret || self.takes(text)) {
            return Err(found());
        }
        Ok(named::is_secret_flag(text))
    }

    fn takes(self, text: &str) -> bool {
        matches!(self.redactor.text(text), Cow::Owned(_))
    }

    fn number<E: Error>(self) -> Result<Promise, E> {
        if self.under == Some(Class::Password) { Err(found()) } else { Ok(None) }
    }
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = Promise;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Promise, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = Promise;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Promise, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _flag: bool) -> Result<Promise, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _number: u64) -> Result<Promise, E> {
        self.number()
    }

    fn visit_i64<E: Error>(self, _number: i64) -> Result<Promise, E> {
        self.number()
    }

    fn visit_f64<E: Error>(self, _number: f64) -> Result<Promise, E> {
        self.number()
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Promise, E> {
        self.string(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Promise, A::Error> {
        let mut item = Look { flag: None, untouched: false, may_name: false, ..self };
        while let Some(flag) = items.next_element_seed(item)? {
            item.flag = flag;
        }
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Promise, A::Error> {
        let mut is_first = true;
        while let Some(key) = fields.next_key_seed(Key(self))? {
            match key {
                Field::Number if is_first => {
                    fields.next_value_seed(Digits)?;
                    return self.number();
                }
                // No number, but a field of that name.
                Field::Number => return Err(found()),
                Field::Named { class, untouched, may_name } => {
                    let under = nearest(class, self.under);
                    let untouched = untouched && self.under.is_none();
                    fields.next_value_seed(Look { under, flag: None, untouched, may_name, ..self })?;
                }
            }
            is_first = false;
        }
        Ok(None)
    }
}

/// What a number is made of, and nothing else.
struct Digits;

impl<'de> DeserializeSeed<'de> for Digits {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, digits: D) -> Result<(), D::Error> {
        digits.deserialize_str(self)
    }
}

impl Visitor<'_> for Digits {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    /// The digits of a number come owned. A string of the text is lent, and an object that holds one under the reserved name is no number
    /// of the text, whatever the parser of a tree makes of it.
    fn visit_string<E: Error>(self, digits: String) -> Result<(), E> {
        let is_number =
            digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
        if is_number { Ok(()) } else { Err(found()) }
    }

    fn visit_str<E: Error>(self, _text: &str) -> Result<(), E> {
        Err(found())
    }
}

/// A key of an object.
struct Key<'a>(Look<'a>);

enum Field {
    /// No field: the object stands for a number.
    Number,
    Named {
        class: Option<Class>,
        untouched: bool,
        /// Whether its value may be the name of another.
        may_name: bool,
    },
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Field, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Field, E> {
        if key == NUMBER {
            return Ok(Field::Number);
        }
        if key.starts_with(RESERVED) || self.0.takes(key) {
            return Err(found());
        }
        let may_name = matches!(key, "name" | "key" | "header" | "variable");
        Ok(Field::Named { class: class_of(key), untouched: is_untouched(key), may_name })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// What the walk over the tree makes of it.
    fn is_left_alone(redactor: &Redactor, value: &Value) -> bool {
        let mut walked = value.clone();
        redactor.walk(&mut walked, usize::MAX);
        walked == *value
    }

    fn text() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "password",
            "token",
            "api_key",
            "auth",
            "Authorization",
            "=",
            ": ",
            "\"",
            "\\",
            "\n",
            " ",
            "--password",
            "-p",
            "é",
            "ghp_",
            "Bearer ",
            "Token ",
            "X-Api-Key",
            "***REDACTED***",
            "hunter2hunter2",
            "abcDEF123456",
            "name",
            "id",
            "uuid",
            "value",
            "key",
            "x",
            "$HOME",
            NUMBER,
            "$serde_json::private::RawValue",
        ]);
        prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            text().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((text(), inner), 0..4).prop_map(|fields| fields.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_is_clean_is_what_the_walk_would_leave_alone(value in value()) {
            let redactor = Redactor::new();
            let text = value.to_string();
            // An object that looks like a number's is read as one, and one that could be a number's and is none is not read.
            let alone = serde_json::from_str::<Value>(&text).is_ok_and(|read| is_left_alone(&redactor, &read));
            prop_assert!(alone || !is_clean(&redactor, &text), "{}", text);
        }
    }

    /// Found by the property above: the look took a field of the reserved name for a number, wherever it stood, and did not look into it.
    #[test]
    fn a_field_with_the_name_that_stands_for_a_number_is_none() {
        let redactor = Redactor::new();
        for text in [
            r#"{"x":1,"$serde_json::private::Number":{"password":"hunter2"}}"#,
            r#"{"x":{"y":[],"$serde_json::private::Number":["--password","hunter2"]}}"#,
            r#"{"x":{"$serde_json::private::RawValue":"{\"password\":123456}"}}"#,
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert!(!is_left_alone(&redactor, &value), "the control: {text}");
            assert!(!is_clean(&redactor, text), "{text}");
        }
        assert!(!is_clean(&redactor, r#"{"x":{"$serde_json::private::Number":{"password":"hunter2"}}}"#));
        assert!(is_clean(&redactor, r#"{"x":[1,-2.50,3e7],"$serde_json":1}"#), "numbers are numbers");
    }

    #[test]
    fn everyday_payloads_are_clean_and_each_sort_of_secret_is_not() {
        let redactor = Redactor::new();
        for value in [
            json!({"name": "bench", "data": "x".repeat(120)}),
            json!({"tool_name": "Bash", "tool_input": {"command": "cargo test\n", "timeout": 1.50}, "tool_use_id": "toolu_01AbCdEfGhIjKlMnOpQrSt"}),
            json!({"prompt": "größe der \"Liste\"\u{1}", "tokens": {"input": 12_345_678_901_u64}, "flags": ["--verbose", "yes", null]}),
            json!({"name": "label", "value": "hunter2"}),
            json!({"password": "***REDACTED***"}),
        ] {
            assert!(is_left_alone(&redactor, &value), "the control: {value}");
            assert!(is_clean(&redactor, &value.to_string()), "{value}");
        }
        for value in [
            json!({"password": "hunter2"}),
            json!({"password": 12_345}),
            json!({"password": {"deep": ["hunter2"]}}),
            json!({"args": ["--password", "hunter2"]}),
            json!({"headers": [["Authorization", "abcDEF123456"]]}),
            json!({"headers": [["Authorization", "Token abcDEF123456"], ["X-Api-Key", "abcdefghijklmnopqrst"]]}),
            json!({"auth": "Ym9iOmh1bnRlcjI="}),
            json!({"password": {"auth": {"x": "hunter2"}}}),
            json!({"name": "API_KEY", "value": "abcDEF123456"}),
            json!({"value": "abcDEF123456", "header": "Authorization"}),
            json!({"ghp_0123456789abcdefghij0123456789abcdefghij": 1}),
            json!({"text": "export FOO_TOKEN=abcDEF1234567890"}),
            json!({"text": "\u{1} Authorization: Bearer abcDEF1234567890abcDEF12"}),
        ] {
            assert!(!is_left_alone(&redactor, &value), "the control: {value}");
            assert!(!is_clean(&redactor, &value.to_string()), "{value}");
        }
        assert!(!is_clean(&redactor, "{\"a\":"), "no JSON");
    }
}

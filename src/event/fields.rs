//! The fields of a payload where they lie: for folds, which look at millions of payloads and want two or three fields of each.
//!
//! A payload was checked to be one compact JSON object before it became one, and whoever read it from the journal noted then where its fields
//! lie. Otherwise, and within a field, one is found by stepping over what stands before it;
//! nothing is parsed but what is asked for, and who has all that he wants reads no further. Names are compared as they are written:
//! our writer escapes no letter, and a name that somebody else wrote with escapes is not found here.

use std::borrow::Cow;

use serde::Deserialize;

use super::PayloadText;
use super::bytes;
use super::json::{FieldPlace, plain_prefix};

/// The fields of an object, in their order.
#[derive(Clone, Debug)]
pub struct PayloadFields<'a> {
    text: &'a str,
    /// Where the next ones lie, as far as that is known.
    known: std::slice::Iter<'a, FieldPlace>,
    /// Of the brace or the comma before the next field that has to be looked for.
    at: usize,
}

/// The value of a field, as JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldText<'a>(&'a str);

impl PayloadText {
    /// Its fields, each with its name.
    pub fn fields(&self) -> PayloadFields<'_> {
        let (text, known) = (self.as_str(), self.places().iter());
        // Where some are known all are.
        let at = if known.len() > 0 { text.len() } else { 0 };
        PayloadFields { text, known, at }
    }

    /// The fields of these names; of a name that stands twice the last one.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "names are then constants where they are compared")]
    pub fn pick<const N: usize>(&self, names: [&str; N]) -> [Option<FieldText<'_>>; N] {
        let mut found = [None; N];
        let nth = |name: &[u8]| names.iter().position(|wanted| wanted.as_bytes() == name);
        if self.places().is_empty() {
            for (name, field) in self.fields() {
                if let Some(nth) = nth(name.as_bytes()) {
                    found[nth] = Some(field);
                }
            }
            return found;
        }
        let text = self.as_str();
        for place in self.places() {
            if let Some(nth) = text.as_bytes().get(place.name()).and_then(nth) {
                found[nth] = text.get(place.value()).map(FieldText);
            }
        }
        found
    }
}

impl<'a> Iterator for PayloadFields<'a> {
    type Item = (&'a str, FieldText<'a>);

    fn next(&mut self) -> Option<(&'a str, FieldText<'a>)> {
        if let Some(place) = self.known.next() {
            return Some((self.text.get(place.name())?, FieldText(self.text.get(place.value())?)));
        }
        let bytes = self.text.as_bytes();
        if bytes.get(self.at + 1) != Some(&b'"') {
            return None;
        }
        let name = self.at + 2;
        let name_end = end_of_string(bytes, name)?;
        let value = name_end + 2;
        self.at = end_of_value(bytes, value)?;
        Some((self.text.get(name..name_end)?, FieldText(self.text.get(value..self.at)?)))
    }
}

/// Where the string ends whose first byte after the quote is at `at`: its closing quote.
pub(super) fn end_of_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += plain_prefix(bytes.get(at..)?);
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The byte after the value that begins at `at`.
fn end_of_value(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' => at = end_of_string(bytes, at + 1)?,
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => return Some(at),
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}

impl<'a> FieldText<'a> {
    /// A part of a payload's text: one whole value.
    pub(crate) fn part(text: &'a str) -> FieldText<'a> {
        FieldText(text)
    }

    /// Its JSON text.
    pub fn as_json(self) -> &'a str {
        self.0
    }

    /// Whether it is null: the same as not there.
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// The fields of the object that it is; none if it is something else.
    pub fn fields(self) -> PayloadFields<'a> {
        // An array may hold a string where an object has its first name.
        let at = if self.0.starts_with('{') { 0 } else { self.0.len() };
        PayloadFields { text: self.0, known: [].iter(), at }
    }

    /// The string that it is; none if it is something else.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if bytes::find(b'\\', inner.as_bytes()).is_none() {
            return Some(Cow::Borrowed(inner));
        }
        self.read().ok().map(Cow::Owned)
    }

    /// The whole number, not below zero, that it is; none if it is something else.
    pub fn number(self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// It as another type.
    ///
    /// # Errors
    /// When it is none of this type.
    pub fn read<T: Deserialize<'a>>(self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Json;
    use crate::event::json::compact::FIELDS_NOTED_MAX;
    use proptest::prelude::*;

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            r#"[ -~é\n"\\{}\[\],:]{0,20}"#.prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let name = r#"[a-z"\\{},]{0,6}"#;
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::vec((name, inner), 0..4)
                    .prop_map(|fields| Json::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_fields_are_those_of_the_parsed_object(value in json(), other in json()) {
            let object = serde_json::json!({"a": value, "b\"}": other, "c": {}});
            let payload = PayloadText::from_json(&object).unwrap();
            let found: Vec<(String, Json)> = payload
                .fields()
                .map(|(name, field)| {
                    let name: String = serde_json::from_str(&format!("\"{name}\"")).unwrap();
                    (name, field.read().unwrap())
                })
                .collect();
            let expected: Vec<(String, Json)> =
                object.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            prop_assert_eq!(found, expected);
            // Where they were noted they are the same.
            let mut noted = PayloadText::empty();
            noted.become_checked(payload.as_str()).unwrap();
            prop_assert_eq!(noted.places().len(), 3);
            prop_assert_eq!(noted.fields().collect::<Vec<_>>(), payload.fields().collect::<Vec<_>>());
            for payload in [&payload, &noted] {
                let [c, a, none] = payload.pick(["c", "a", "d"]);
                let fields: Vec<_> = payload.fields().collect();
                prop_assert_eq!((a, c, none), (Some(fields[0].1), Some(fields[2].1), None));
            }
            for (_, field) in payload.fields() {
                let parsed: Json = field.read().unwrap();
                let text = field.text();
                prop_assert_eq!(text.as_deref(), parsed.as_str());
                prop_assert_eq!(field.number(), parsed.as_u64());
                prop_assert_eq!(field.is_null(), parsed.is_null());
            }
        }
    }

    #[test]
    fn an_empty_object_has_no_field() {
        assert_eq!(PayloadText::empty().fields().next(), None);
        let mut noted = PayloadText::parse(r#"{"a":1}"#).unwrap();
        noted.become_checked("{}").unwrap();
        assert_eq!(noted.fields().next(), None);
    }

    #[test]
    fn where_the_fields_of_one_text_lay_is_nothing_to_the_next() {
        let mut payload = PayloadText::empty();
        payload.become_checked(r#"{"a":1,"b":[2,3]}"#).unwrap();
        assert_eq!(payload.places().len(), 2);
        payload.set(r#"{"longer":"text","c":null,"d":4}"#);
        let found: Vec<_> = payload.fields().map(|(name, field)| (name, field.as_json())).collect();
        assert_eq!(found, [("longer", "\"text\""), ("c", "null"), ("d", "4")]);
    }

    #[test]
    fn an_object_with_very_many_fields_is_looked_through_and_one_that_is_refused_changes_nothing() {
        let with = |fields: usize| {
            let fields: Vec<String> = (0..fields).map(|n| format!("\"{n}\":[{n},{{}}]")).collect();
            format!("{{{}}}", fields.join(","))
        };
        let mut payload = PayloadText::empty();
        for (fields, noted) in [(FIELDS_NOTED_MAX, FIELDS_NOTED_MAX), (FIELDS_NOTED_MAX + 1, 0), (5_000, 0)] {
            payload.become_checked(&with(fields)).unwrap();
            assert_eq!((payload.places().len(), payload.fields().count()), (noted, fields));
            assert!(payload.fields().enumerate().all(|(n, (name, _))| name == n.to_string()));
        }
        payload.become_checked(r#"{"a":1,"b":"2"}"#).unwrap();
        for bad in [r#"{"c":1,"d""#, "[1]", r#"{"c":1 }"#, ""] {
            assert!(payload.become_checked(bad).is_err(), "{bad}");
            let found: Vec<_> = payload.fields().map(|(name, field)| (name, field.as_json())).collect();
            assert_eq!(found, [("a", "1"), ("b", "\"2\"")]);
        }
    }
}

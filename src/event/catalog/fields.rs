//! Fields of payloads: their types as data, so that one walk validates any payload of any kind and names the field at fault.

use super::super::emit::FieldError;
use super::super::values::{Fraction, Importance};
use super::super::{Json, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One field of a payload.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in the JSON object.
    pub name: &'static str,
    /// What values it takes.
    pub ty: FieldType,
    /// Whether it must be there.
    pub required: bool,
    /// What it means.
    pub doc: &'static str,
}

/// What values a field takes.
#[derive(Clone, Copy, Debug)]
pub enum FieldType {
    /// A string.
    Text,
    /// A whole number from 0 to the given maximum.
    Unsigned(u64),
    /// A whole number of 32 bits, with sign.
    Signed,
    /// A number from 0 to 1.
    Fraction,
    /// A whole number from 1 to 10.
    Importance,
    /// true or false.
    Flag,
    /// A UUID in canonical text.
    Id,
    /// A time in RFC 3339.
    Time,
    /// Any JSON value.
    Any,
    /// A list of values of one type.
    List(&'static FieldType),
    /// An object with these fields.
    Object(&'static [Field]),
}

impl Field {
    pub(crate) const fn new(name: &'static str, ty: FieldType, required: bool, doc: &'static str) -> Field {
        Field { name, ty, required, doc }
    }

    /// The unit of its value, which its name carries.
    pub fn unit(&self) -> Option<&'static str> {
        let ends = |suffix: &str| {
            self.name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'))
        };
        match self.ty {
            FieldType::Unsigned(_) if ends("ms") => Some("milliseconds"),
            FieldType::Unsigned(_) if ends("bytes") => Some("bytes"),
            FieldType::Unsigned(_) if ends("tokens") => Some("tokens"),
            FieldType::Fraction => Some("0 to 1"),
            FieldType::Importance => Some("1 to 10"),
            _ => None,
        }
    }
}

/// A Rust type that a payload field may have.
pub(crate) trait FieldValue {
    const TYPE: FieldType;
    const REQUIRED: bool = true;

    /// True where the field is left out of the JSON.
    fn absent(&self) -> bool {
        false
    }
}

macro_rules! field_values {
    ($($ty:ty => $kind:expr),* $(,)?) => { $( impl FieldValue for $ty { const TYPE: FieldType = $kind; } )* };
}

field_values! {
    String => FieldType::Text,
    u64 => FieldType::Unsigned(u64::MAX),
    u32 => FieldType::Unsigned(u32::MAX as u64),
    i32 => FieldType::Signed,
    bool => FieldType::Flag,
    Fraction => FieldType::Fraction,
    Importance => FieldType::Importance,
    Uuid => FieldType::Id,
    Timestamp => FieldType::Time,
    Json => FieldType::Any,
}

impl<T: FieldValue> FieldValue for Vec<T> {
    const TYPE: FieldType = FieldType::List(&T::TYPE);
}

impl<T: FieldValue> FieldValue for Option<T> {
    const TYPE: FieldType = T::TYPE;
    const REQUIRED: bool = false;

    fn absent(&self) -> bool {
        self.is_none()
    }
}

macro_rules! part {
    ($(#[$meta:meta])* $name:ident { $( $field:ident : $ty:ty => $doc:literal , )* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            $( #[doc = $doc] #[serde(skip_serializing_if = "FieldValue::absent")] pub $field: $ty, )*
        }

        impl FieldValue for $name {
            const TYPE: FieldType = FieldType::Object(&[$(
                Field::new(stringify!($field), <$ty as FieldValue>::TYPE, <$ty as FieldValue>::REQUIRED, $doc)
            ),*]);
        }
    };
}

part! {
    /// Tokens that one model response cost.
    #[derive(Copy, Eq, Default)]
    Usage {
        input_tokens: u64 => "Tokens read outside the cache.",
        output_tokens: u64 => "Tokens written.",
        cache_read_tokens: u64 => "Tokens read from the cache.",
        cache_creation_tokens: u64 => "Tokens put into the cache.",
    }
}

part! {
    /// One check of `doctor`.
    #[derive(Eq)]
    Check {
        name: String => "What was checked.",
        status: String => "pass, fail or warn.",
        detail: Option<String> => "What was found.",
    }
}

/// The first fault of a payload, its place told as a path that begins with `path`. Fields that the table does not know are no fault.
pub(crate) fn check_fields(fields: &[Field], value: &Json, path: &str) -> Result<(), FieldError> {
    let Some(object) = value.as_object() else {
        return Err(FieldError::wrong_type(path, "an object", value));
    };
    for field in fields {
        let place = || format!("{path}.{}", field.name);
        match object.get(field.name) {
            None if field.required => return Err(FieldError::missing(place())),
            None => {}
            Some(Json::Null) if !field.required => {}
            Some(value) => check_value(field.ty, value, &place())?,
        }
    }
    Ok(())
}

fn check_value(ty: FieldType, value: &Json, path: &str) -> Result<(), FieldError> {
    let wrong = |expected| Err(FieldError::wrong_type(path, expected, value));
    let within = |range: &str| Err(FieldError::out_of_range(path, &format!("must be from {range}")));
    match (ty, value) {
        (FieldType::Any, _) | (FieldType::Text, Json::String(_)) | (FieldType::Flag, Json::Bool(_)) => Ok(()),
        (FieldType::Unsigned(max), Json::Number(number)) => match number.as_u64() {
            Some(number) if number <= max => Ok(()),
            _ if is_whole(number) => within(&format!("0 to {max}")),
            _ => wrong("a whole number"),
        },
        (FieldType::Signed, Json::Number(number)) => match number.as_i64() {
            Some(number) if i32::try_from(number).is_ok() => Ok(()),
            _ if is_whole(number) => within(&format!("{} to {}", i32::MIN, i32::MAX)),
            _ => wrong("a whole number"),
        },
        (FieldType::Fraction, Json::Number(number)) => match number.as_f64().and_then(Fraction::new) {
            Some(_) => Ok(()),
            None => within("0 to 1"),
        },
        (FieldType::Importance, Json::Number(number)) => match number.as_u64() {
            Some(1..=10) => Ok(()),
            _ if is_whole(number) => within("1 to 10"),
            _ => wrong("a whole number"),
        },
        (FieldType::Id, Json::String(text)) if is_canonical_uuid(text) => Ok(()),
        (FieldType::Time, Json::String(text)) if Timestamp::parse(text).is_ok() => Ok(()),
        (FieldType::List(item), Json::Array(items)) => items
            .iter()
            .enumerate()
            .try_for_each(|(at, value)| check_value(*item, value, &format!("{path}[{at}]"))),
        (FieldType::Object(fields), _) => check_fields(fields, value, path),
        _ => wrong(ty.expected()),
    }
}

/// Whether a number is written as a whole one, however large.
fn is_whole(number: &serde_json::Number) -> bool {
    number.as_str().bytes().all(|byte| byte == b'-' || byte.is_ascii_digit())
}

/// Whether a text is a UUID in its hyphenated form.
pub(crate) fn is_canonical_uuid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

impl FieldType {
    /// What a value of this type is called in a sentence.
    pub const fn expected(self) -> &'static str {
        match self {
            FieldType::Text => "a string",
            FieldType::Unsigned(_) | FieldType::Signed | FieldType::Importance => "a whole number",
            FieldType::Fraction => "a number",
            FieldType::Flag => "true or false",
            FieldType::Id => "a UUID such as 0190a5c2-7d1e-7000-8000-000000000001",
            FieldType::Time => "a time such as 2026-01-02T03:04:05Z",
            FieldType::Any => "any JSON",
            FieldType::List(_) => "a list",
            FieldType::Object(_) => "an object",
        }
    }
}

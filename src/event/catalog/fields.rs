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

/// The first fault of `value` as an object with `fields`, its place told as a path under `path`. Unknown fields are no fault.
pub(crate) fn fault_of_fields(fields: &[Field], value: &Json, path: &str) -> Option<FieldError> {
    let _ = (fields, value, path);
    todo!()
}

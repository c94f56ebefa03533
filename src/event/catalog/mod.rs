//! The catalog: every kind of event, defined once.
//!
//! A row of the table gives a kind its name, category, importance, schema version, producer, summary and payload fields. The macro
//! `define_catalog` turns the rows into everything else: [`Kind`], the payload structs, [`Payload`], the field tables that
//! validation reads, and `docs/EVENTS.md`. There is no second list and no catch-all arm, so a kind that lacks something does not compile.
//!
//! A row reads
//!
//! ```text
//! VariantName kind_name Category importance version producer-flag "produced when" ~ "summary template" {
//!     field: Type = example => "what it means",
//! }
//! ```
//!
//! - The producer flag is `produced` when something in this program emits the kind today, else `reserved`; the docs page says which.
//! - A field is optional when its type is `Option<..>`. Its unit is in its name (`_ms`, `_bytes`, `_tokens`, `_fraction`).
//! - The summary template names fields in braces; a part in brackets is left out when its field is absent (see `summary`).
//!
//! The rows stand in one file a group; each group's macro hands its rows on to the next, so the table arrives here whole.

mod agent;
mod commands;
mod fields;
mod orchestration;
mod places;
mod store;

use super::values::{Category, Fraction, Importance};
use super::{FieldError, Json, KindName, Timestamp};
use agent::agent_rows;
use commands::command_rows;
use fields::{Check, Usage};
use orchestration::orchestration_rows;
use store::store_rows;
use uuid::Uuid;

pub(crate) use fields::FieldValue;
pub(super) use fields::is_canonical_uuid;
pub use fields::{Field, FieldType};

macro_rules! is_produced {
    (produced) => {
        true
    };
    (reserved) => {
        false
    };
}

macro_rules! version_number {
    (v1) => {
        1
    };
}

macro_rules! define_catalog {
    ([] $(
        $variant:ident $name:ident $category:ident $importance:literal $version:ident $flag:ident $producer:literal ~ $summary:literal {
            $( $field:ident : $ty:ty = $example:tt => $doc:literal , )*
        }
    )*) => {
        /// The kinds of event, one a row of the catalog.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $( #[doc = concat!("`", stringify!($name), "`: ", $producer, ".")] $variant, )*
        }

        impl Kind {
            /// Every kind, in the order of the catalog.
            pub const ALL: &'static [Kind] = &[$( Kind::$variant ),*];

            /// The name on the wire and on disk, in `snake_case`.
            pub const fn name(self) -> &'static str {
                match self { $( Kind::$variant => stringify!($name), )* }
            }

            /// The kind of this name, if the catalog has it.
            pub fn from_name(name: &str) -> Option<Kind> {
                Kind::from_bytes(name.as_bytes())
            }

            /// The kind of this name, if these bytes are the name of one in the catalog.
            pub(in crate::event) fn from_bytes(name: &[u8]) -> Option<Kind> {
                let kind = *Kind::ALL.get(usize::from(places::BY_NAME[places::of(name)]))?;
                (kind.name().as_bytes() == name).then_some(kind)
            }

            /// The category it belongs to.
            pub const fn category(self) -> Category {
                match self { $( Kind::$variant => Category::$category, )* }
            }

            /// The importance of an event of this kind unless its emitter says otherwise.
            pub const fn importance(self) -> Importance {
                match self { $( Kind::$variant => const { Importance::literal($importance) }, )* }
            }

            /// The current schema version of its payload.
            pub const fn version(self) -> u16 {
                match self { $( Kind::$variant => version_number!($version), )* }
            }

            /// Who emits it and when.
            pub const fn producer(self) -> &'static str {
                match self { $( Kind::$variant => $producer, )* }
            }

            /// True while nothing in this program emits it yet.
            pub const fn reserved(self) -> bool {
                match self { $( Kind::$variant => !is_produced!($flag), )* }
            }

            /// The fields of its payload, in order.
            pub const fn fields(self) -> &'static [Field] {
                match self {
                    $( Kind::$variant => const { &[$(
                        Field::new(stringify!($field), <$ty as FieldValue>::TYPE, <$ty as FieldValue>::REQUIRED, $doc)
                    ),*] }, )*
                }
            }

            /// The template that its summary is made from.
            pub(crate) const fn summary_template(self) -> &'static str {
                match self { $( Kind::$variant => $summary, )* }
            }

            /// A payload with every field set, as an example for readers and tests.
            pub fn example(self) -> Json {
                #[allow(unused_mut, reason = "a kind may have no field")]
                let mut object = serde_json::Map::new();
                match self {
                    $( Kind::$variant => { $( object.insert(stringify!($field).to_owned(), serde_json::json!($example)); )* } )*
                }
                Json::Object(object)
            }
        }

        /// The payload of each kind, as a struct of its fields.
        pub mod payload {
            use super::{FieldValue, Fraction, Importance, Json, Kind, Timestamp, Uuid};
            use serde::{Deserialize, Serialize};

            pub use super::fields::{Check, Usage};

            $(
                #[doc = concat!("Payload of `", stringify!($name), "`: ", $producer, ".")]
                #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
                pub struct $variant {
                    $( #[doc = $doc] #[serde(skip_serializing_if = "FieldValue::absent")] pub $field: $ty, )*
                }

                impl super::KindPayload for $variant {
                    const KIND: Kind = Kind::$variant;
                }
            )*
        }

        /// A payload of any known kind.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Payload {
            $( #[doc = concat!("Payload of `", stringify!($name), "`.")] $variant(payload::$variant), )*
        }

        impl Payload {
            /// The kind it belongs to.
            pub const fn kind(&self) -> Kind {
                match self { $( Payload::$variant(_) => Kind::$variant, )* }
            }

            /// Its fields as compact JSON text, in the order of the table.
            pub(crate) fn to_json_text(&self) -> Result<String, serde_json::Error> {
                match self { $( Payload::$variant(fields) => serde_json::to_string(fields), )* }
            }

            /// Reads the payload of `kind` from JSON text; fields that the table does not know are ignored.
            pub(crate) fn from_json_text(kind: Kind, text: &str) -> Result<Payload, serde_json::Error> {
                match kind { $( Kind::$variant => serde_json::from_str(text).map(Payload::$variant), )* }
            }
        }

        $(
            impl From<payload::$variant> for Payload {
                fn from(fields: payload::$variant) -> Payload {
                    Payload::$variant(fields)
                }
            }
        )*
    };
}

orchestration_rows! { [command_rows agent_rows store_rows define_catalog] }

/// A payload struct knows its kind.
pub trait KindPayload: serde::Serialize + serde::de::DeserializeOwned + Into<Payload> {
    /// The kind that it is the payload of.
    const KIND: Kind;
}

impl Kind {
    /// Checks a payload against the fields of this kind. Fields that the kind does not have are no fault.
    ///
    /// # Errors
    /// The first fault, named as in `payload.tool`: `missing_field`, `wrong_type` or `out_of_range`.
    pub fn validate(self, payload: &Json) -> Result<(), FieldError> {
        fields::check_fields(self.fields(), payload, "payload")
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl From<Kind> for KindName {
    fn from(kind: Kind) -> KindName {
        KindName::Known(kind)
    }
}

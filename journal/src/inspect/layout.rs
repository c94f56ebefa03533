//! Names for bytes: what each field of a structure is called in `docs/format.md`, where it stands, and what it says.

use std::fmt::Write as _;

use crate::format::{batch, i64_at, is_zero, record, segment, u16_at, u32_at, u64_at};

/// One field of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in `docs/format.md`.
    pub name: &'static str,
    /// Where it begins in the structure.
    pub at: usize,
    /// How long it is.
    pub bytes: usize,
    /// How its bytes are to be read.
    pub form: Form,
}

/// How the bytes of a field are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// ASCII letters.
    Letters,
    /// An unsigned number.
    Number,
    /// A number without a meaning of its own: a checksum, a salt, flags.
    Bits,
    /// Microseconds since the Unix epoch.
    Time,
    /// An id, a hash.
    Hex,
    /// Reserved.
    Zero,
}

/// What a field says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number, to be shown in decimal.
    Number(u64),
    /// Microseconds since the Unix epoch.
    Time(i64),
    /// Anything else, in words.
    Text(String),
}

impl Field {
    pub(crate) const fn new(name: &'static str, at: usize, end: usize, form: Form) -> Field {
        Field { name, at, bytes: end - at, form }
    }

    /// Its value in `structure`; `None` if the structure ends before it does.
    pub fn value(&self, structure: &[u8]) -> Option<Value> {
        let bytes = structure.get(self.at..self.at + self.bytes)?;
        let number = match bytes.len() {
            2 => u64::from(u16_at(bytes, 0)),
            4 => u64::from(u32_at(bytes, 0)),
            8 => u64_at(bytes, 0),
            _ => 0,
        };
        Some(match self.form {
            Form::Number => Value::Number(number),
            Form::Time => Value::Time(i64_at(bytes, 0)),
            Form::Bits => Value::Text(format!("{number:#0width$x}", width = bytes.len() * 2 + 2)),
            Form::Letters => Value::Text(bytes.escape_ascii().to_string()),
            Form::Hex => Value::Text(hex(bytes)),
            Form::Zero if is_zero(bytes) => Value::Text("zero".to_owned()),
            Form::Zero => Value::Text("not zero".to_owned()),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

/// The fields of a segment's header.
pub fn segment_header() -> &'static [Field] {
    &segment::HEADER_FIELDS
}

/// The fields of a segment's footer.
pub fn footer() -> &'static [Field] {
    &segment::FOOTER_FIELDS
}

/// The fields of a batch's header.
pub fn batch_header() -> &'static [Field] {
    &batch::FIELDS
}

/// The fields of a record's header.
pub fn record_header() -> &'static [Field] {
    &record::FIELDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{BATCH_HEADER_BYTES, FOOTER_BYTES, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES};

    #[test]
    fn the_fields_cover_each_structure_without_hole_or_overlap() {
        let structures = [
            (segment_header(), SEGMENT_HEADER_BYTES),
            (footer(), FOOTER_BYTES),
            (batch_header(), BATCH_HEADER_BYTES),
            (record_header(), RECORD_HEADER_BYTES),
        ];
        for (fields, bytes) in structures {
            let mut at = 0;
            for field in fields {
                assert_eq!(field.at, at, "{}", field.name);
                at += field.bytes;
                assert!(field.value(&vec![0; bytes]).is_some());
                assert_eq!(field.value(&vec![0; at - 1]), None);
            }
            assert_eq!(at, bytes);
        }
    }

    #[test]
    fn values_are_read_little_endian() {
        let field = Field::new("x", 1, 5, Form::Number);
        assert_eq!(field.value(&[9, 1, 2, 0, 0]), Some(Value::Number(513)));
        assert_eq!(
            Field { form: Form::Bits, ..field }.value(&[9, 1, 2, 0, 0]),
            Some(Value::Text("0x00000201".to_owned()))
        );
        assert_eq!(
            Field::new("x", 0, 4, Form::Letters).value(b"MB\x1bT"),
            Some(Value::Text("MB\\x1bT".to_owned()))
        );
    }
}

//! JSON from outside, with a depth limit and faults that have stable codes; and the check of JSON that is already compact.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use super::{Json, bytes};

/// Levels of arrays and objects that JSON may have. Deeper input is refused before anything recurses over it.
pub const JSON_DEPTH_MAX: usize = 64;

// `CompactCheck` keeps one bit a level.
const _: () = assert!(JSON_DEPTH_MAX <= u64::BITS as usize);

/// Why a text is no JSON that is taken here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonFault {
    /// No JSON.
    #[error("not valid JSON: {0}")]
    Malformed(Box<str>),
    /// More levels than `JSON_DEPTH_MAX`.
    #[error("JSON nested more than {JSON_DEPTH_MAX} levels deep")]
    TooDeep,
    /// JSON, but no object where one is needed.
    #[error("expected a JSON object")]
    NotAnObject,
}

impl JsonFault {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            JsonFault::Malformed(_) => "malformed_json",
            JsonFault::TooDeep => "too_deep",
            JsonFault::NotAnObject => "wrong_type",
        }
    }
}

/// Reads one JSON value of at most `JSON_DEPTH_MAX` levels.
///
/// ```
/// use mnemosyne::event::json::{JsonFault, parse};
/// assert_eq!(parse(b"[1.50]").unwrap().to_string(), "[1.50]");
/// assert_eq!(parse("[".repeat(65).as_bytes()), Err(JsonFault::TooDeep));
/// ```
pub fn parse(bytes: &[u8]) -> Result<Json, JsonFault> {
    if depth(bytes) > JSON_DEPTH_MAX {
        return Err(JsonFault::TooDeep);
    }
    serde_json::from_slice(bytes).map_err(|error| JsonFault::Malformed(error.to_string().into()))
}

/// Reads what an agent wrote. Strict first, which is nearly always enough; where that fails, once more over the [`mended`] text.
///
/// ```
/// use mnemosyne::event::{Json, json::read};
/// assert_eq!(read::<Json>(b"{\"a\":\"cut \\ud83d\"}").unwrap()["a"], "cut \u{fffd}");
/// assert!(read::<Json>(b"{\"a\":").is_err());
/// ```
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(bytes).or_else(|error| match mended(bytes) {
        Some(text) => serde_json::from_str(&text),
        None => Err(error),
    })
}

/// The text of JSON that an agent wrote carelessly, if that is what is wrong with it: a mark of the byte order before it is taken away,
/// and bytes that are no UTF-8 and halves of surrogate pairs (a text cut in the middle of a character) become U+FFFD.
pub fn mended(bytes: &[u8]) -> Option<String> {
    let bare = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let text = String::from_utf8_lossy(bare);
    match repair_surrogates(&text) {
        Cow::Owned(repaired) => Some(repaired),
        Cow::Borrowed(_) => {
            (bare.len() < bytes.len() || matches!(text, Cow::Owned(_))).then(|| text.into_owned())
        }
    }
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Replaces every array and object that stands deeper than `JSON_DEPTH_MAX` by its JSON text, as a string: nothing is lost and what reads
/// it need not recurse deeper. Serves values that come from other parsers, or from a text that became a part of a payload.
pub(super) fn flatten_deep(value: &mut Json) {
    flatten(value, 1);
}

fn flatten(value: &mut Json, level: usize) {
    if level > JSON_DEPTH_MAX && (value.is_array() || value.is_object()) {
        *value = Json::String(value.to_string());
        return;
    }
    match value {
        Json::Array(items) => items.iter_mut().for_each(|item| flatten(item, level + 1)),
        Json::Object(object) => object.values_mut().for_each(|value| flatten(value, level + 1)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// The deepest level of brackets outside strings; for anything but JSON, a number without meaning.
fn depth(bytes: &[u8]) -> usize {
    let (mut deepest, mut level) = (0_usize, 0_usize);
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'[' | b'{' => {
                level += 1;
                deepest = deepest.max(level);
            }
            b']' | b'}' => level = level.saturating_sub(1),
            b'"' => skip_string(&mut rest),
            _ => {}
        }
    }
    deepest
}

fn skip_string(rest: &mut std::slice::Iter<'_, u8>) {
    while let Some(found) = bytes::find2(b'"', b'\\', rest.as_slice()) {
        if rest.nth(found) == Some(&b'"') {
            return;
        }
        rest.next();
    }
    *rest = [].iter();
}

/// Replaces each escaped half of a surrogate pair that stands alone.
fn repair_surrogates(text: &str) -> Cow<'_, str> {
    let mut repaired = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = bytes::find(b'\\', &text.as_bytes()[at..]) {
        let escape = at + found;
        at = match unit_at(text, escape) {
            Some(0xD800..=0xDBFF) if matches!(unit_at(text, escape + 6), Some(0xDC00..=0xDFFF)) => {
                escape + 12
            }
            Some(0xD800..=0xDFFF) => {
                repaired.push_str(&text[copied..escape]);
                repaired.push_str("\\ufffd");
                copied = escape + 6;
                copied
            }
            Some(_) => escape + 6,
            // The character after the backslash may be of several bytes: step over its first one only if it is ASCII.
            None => escape + if text.as_bytes().get(escape + 1).is_some_and(u8::is_ascii) { 2 } else { 1 },
        };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    repaired.push_str(&text[copied..]);
    Cow::Owned(repaired)
}

/// The UTF-16 unit that `\uXXXX` at this place writes.
fn unit_at(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}

/// Checks that `text` is one JSON object without white space between its parts, at most `JSON_DEPTH_MAX` levels deep.
/// Allocates nothing and does not recurse; one pass.
pub(super) fn check_compact_object(text: &str) -> Result<(), JsonFault> {
    if !text.starts_with('{') {
        return Err(JsonFault::NotAnObject);
    }
    CompactCheck { bytes: text.as_bytes(), at: 0, depth: 0, objects: 0, fields: None }
        .run()
        .map_err(Fault::told)
}

/// As [`check_compact_object`], and notes where the object's fields lie: whoever wants them after need not look for them again. None are
/// noted of an object that has more than [`FIELDS_NOTED_MAX`], nor of one that is refused.
pub(super) fn check_and_note(text: &str, fields: &mut Vec<FieldPlace>) -> Result<(), JsonFault> {
    fields.clear();
    if !text.starts_with('{') {
        return Err(JsonFault::NotAnObject);
    }
    let is_short = u32::try_from(text.len()).is_ok();
    let noted = is_short.then_some(&mut *fields);
    let checked = CompactCheck { bytes: text.as_bytes(), at: 0, depth: 0, objects: 0, fields: noted }.run();
    if checked.is_err() || fields.len() > FIELDS_NOTED_MAX {
        fields.clear();
    }
    checked.map_err(Fault::told)
}

/// Payloads of the catalog have far fewer.
pub(super) const FIELDS_NOTED_MAX: usize = 32;

/// Where a field of an object lies: the first byte of its name, the first of its value, and the one after that.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldPlace {
    name: u32,
    value: u32,
    end: u32,
}

impl FieldPlace {
    /// The name, between its quotes, and the value.
    pub(super) fn of(self, text: &str) -> Option<(&str, &str)> {
        let [name, value, end] = [self.name, self.value, self.end].map(|at| at as usize);
        // Between them stand a quote and a colon.
        Some((text.get(name..value.checked_sub(2)?)?, text.get(value..end)?))
    }
}

/// Why a text is no compact JSON, without words: they are found only where they are wanted.
#[derive(Clone, Copy)]
enum Fault {
    EndsEarly,
    Unexpected { before: usize },
    TooDeep,
}

impl Fault {
    fn told(self) -> JsonFault {
        match self {
            Fault::EndsEarly => JsonFault::Malformed("it ends early".into()),
            Fault::Unexpected { before } => {
                JsonFault::Malformed(format!("unexpected byte before offset {before}").into())
            }
            Fault::TooDeep => JsonFault::TooDeep,
        }
    }
}

/// One pass over compact JSON. Bit n of `objects` says whether the container at level n is an object.
struct CompactCheck<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    objects: u64,
    /// Where to note the fields of the outermost object.
    fields: Option<&'a mut Vec<FieldPlace>>,
}

/// How many bytes stand in a string before the first that means something in one: a quote, a backslash, a control character.
///
/// Eight at a time: strings are most of the bytes of a journal, and every event that is read has its payload checked.
pub(super) fn plain_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 0xFF;
    const HIGHS: u64 = ONES << 7;
    // Marks bytes below `n`, of those below 0x80; a borrow can mark a byte above the first marked one, never one below it.
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word & HIGHS;
    let (words, _) = bytes.as_chunks::<8>();
    for (nth, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quotes = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslashes = below(word ^ (ONES * u64::from(b'\\')), 1);
        let marks = below(word, 0x20) | quotes | backslashes;
        if marks != 0 {
            return nth * 8 + (marks.trailing_zeros() / 8) as usize;
        }
    }
    let rest = words.len() * 8;
    let plain = |byte: &u8| *byte >= 0x20 && !matches!(byte, b'"' | b'\\');
    rest + bytes[rest..].iter().take_while(|byte| plain(byte)).count()
}

impl CompactCheck<'_> {
    fn run(mut self) -> Result<(), Fault> {
        loop {
            // A value begins here.
            match self.next()? {
                b'"' => self.string()?,
                b'{' => {
                    self.open(true)?;
                    if self.peek() == b'}' {
                        (self.at, self.depth) = (self.at + 1, self.depth - 1);
                    } else {
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    self.open(false)?;
                    if self.peek() == b']' {
                        (self.at, self.depth) = (self.at + 1, self.depth - 1);
                    } else {
                        continue;
                    }
                }
                b't' => self.literal(b"rue")?,
                b'f' => self.literal(b"alse")?,
                b'n' => self.literal(b"ull")?,
                first @ (b'-' | b'0'..=b'9') => self.number(first)?,
                _ => return Err(self.fault()),
            }
            // It has ended here.
            loop {
                if self.depth == 1 {
                    self.end_field();
                }
                if self.depth == 0 {
                    return if self.at == self.bytes.len() { Ok(()) } else { Err(self.fault()) };
                }
                match (self.next()?, self.in_object()) {
                    (b',', true) => {
                        self.key()?;
                        break;
                    }
                    (b',', false) => break,
                    (b'}', true) | (b']', false) => self.depth -= 1,
                    _ => return Err(self.fault()),
                }
            }
        }
    }

    /// A name and its colon.
    fn key(&mut self) -> Result<(), Fault> {
        if self.next()? != b'"' {
            return Err(self.fault());
        }
        let name = self.at;
        self.string()?;
        self.literal(b":")?;
        if self.depth == 1 {
            self.begin_field(name);
        }
        Ok(())
    }

    fn begin_field(&mut self, name: usize) {
        // One more than are noted says that there are too many.
        if let Some(fields) = self.fields.as_mut().filter(|fields| fields.len() <= FIELDS_NOTED_MAX) {
            // The text is short enough for its places.
            let [name, value] = [name, self.at].map(|at| u32::try_from(at).unwrap_or(u32::MAX));
            fields.push(FieldPlace { name, value, end: value });
        }
    }

    fn end_field(&mut self) {
        if let Some(last) = self.fields.as_mut().and_then(|fields| fields.last_mut()) {
            last.end = u32::try_from(self.at).unwrap_or(u32::MAX);
        }
    }

    fn fault(&self) -> Fault {
        Fault::Unexpected { before: self.at }
    }

    fn next(&mut self) -> Result<u8, Fault> {
        let byte = *self.bytes.get(self.at).ok_or(Fault::EndsEarly)?;
        self.at += 1;
        Ok(byte)
    }

    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn in_object(&self) -> bool {
        self.objects >> (self.depth - 1) & 1 == 1
    }

    fn open(&mut self, object: bool) -> Result<(), Fault> {
        if self.depth == JSON_DEPTH_MAX {
            return Err(Fault::TooDeep);
        }
        let bit = 1 << self.depth;
        self.objects = if object { self.objects | bit } else { self.objects & !bit };
        self.depth += 1;
        Ok(())
    }

    fn literal(&mut self, rest: &[u8]) -> Result<(), Fault> {
        for expected in rest {
            if self.next()? != *expected {
                return Err(self.fault());
            }
        }
        Ok(())
    }

    fn number(&mut self, first: u8) -> Result<(), Fault> {
        let lead = if first == b'-' { self.next()? } else { first };
        match lead {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return Err(self.fault()),
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(())
    }

    fn some_digits(&mut self) -> Result<(), Fault> {
        if !self.next()?.is_ascii_digit() {
            return Err(self.fault());
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<(), Fault> {
        loop {
            self.at += plain_prefix(&self.bytes[self.at..]);
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                _ => return Err(self.fault()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => match self.unit()? {
                0xD800..=0xDBFF => {
                    self.literal(b"\\u")?;
                    if matches!(self.unit()?, 0xDC00..=0xDFFF) { Ok(()) } else { Err(self.fault()) }
                }
                0xDC00..=0xDFFF => Err(self.fault()),
                _ => Ok(()),
            },
            _ => Err(self.fault()),
        }
    }

    fn unit(&mut self) -> Result<u32, Fault> {
        let mut unit = 0;
        for _ in 0..4 {
            let byte = self.next()?;
            unit = unit * 16 + char::from(byte).to_digit(16).ok_or_else(|| self.fault())?;
        }
        Ok(unit)
    }
}

#[cfg(test)]
mod tests;

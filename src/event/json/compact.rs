//! The check of JSON that is to be compact already: one pass, which allocates nothing and does not recurse.
//!
//! Every event that is read comes by here, so the state of the pass is kept in registers: what a step calls is inlined, and what is not
//! (escapes of four digits) takes its place by value and gives the next one back. Where strings end is looked up in marks that are made of 64 bytes at a time.

use std::ops::Range;

use super::strings::{BLOCK, marks_from};
use super::{JSON_DEPTH_MAX, JsonFault};

// One bit a level is kept.
const _: () = assert!(JSON_DEPTH_MAX <= u64::BITS as usize);

/// Checks that `text` is one JSON object without white space between its parts, at most `JSON_DEPTH_MAX` levels deep.
/// Allocates nothing and does not recurse; one pass.
pub(in crate::event) fn check_compact_object(text: &str) -> Result<(), JsonFault> {
    if !text.starts_with('{') {
        return Err(JsonFault::NotAnObject);
    }
    CompactCheck::of(text, None).run().map_err(Fault::told)
}

/// As [`check_compact_object`], and notes where the object's fields lie: whoever wants them after need not look for them again. None are
/// noted of an object that has more than [`FIELDS_NOTED_MAX`], nor of one that is refused.
pub(in crate::event) fn check_and_note(text: &str, fields: &mut Vec<FieldPlace>) -> Result<(), JsonFault> {
    fields.clear();
    if !text.starts_with('{') {
        return Err(JsonFault::NotAnObject);
    }
    let is_short = u32::try_from(text.len()).is_ok();
    let noted = is_short.then_some(&mut *fields);
    let checked = CompactCheck::of(text, noted).run();
    if checked.is_err() || fields.len() > FIELDS_NOTED_MAX {
        fields.clear();
    }
    checked.map_err(Fault::told)
}

/// Payloads of the catalog have far fewer.
pub(in crate::event) const FIELDS_NOTED_MAX: usize = 32;

/// Where a field of an object lies: the first byte of its name, the first of its value, and the one after that.
#[derive(Clone, Copy, Debug)]
pub(in crate::event) struct FieldPlace {
    name: u32,
    value: u32,
    end: u32,
}

impl FieldPlace {
    /// Of the name, between its quotes.
    pub(in crate::event) fn name(self) -> Range<usize> {
        // Between name and value stand a quote and a colon.
        self.name as usize..(self.value as usize).saturating_sub(2)
    }

    /// Of the value.
    pub(in crate::event) fn value(self) -> Range<usize> {
        self.value as usize..self.end as usize
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

/// A place in the text, and the bytes from there on.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// One pass over compact JSON. Bit n of `objects` says whether the container at level n is an object.
struct CompactCheck<'a> {
    cursor: Cursor<'a>,
    depth: usize,
    objects: u64,
    /// Bit n says that the byte at `block + n` ends a stretch of plain text in a string.
    marks: u64,
    block: usize,
    /// Where to note the fields of the outermost object.
    fields: Option<&'a mut Vec<FieldPlace>>,
}

#[expect(
    clippy::inline_always,
    reason = "one call that is left keeps the place in memory, and each step then waits for it"
)]
impl<'a> CompactCheck<'a> {
    fn of(text: &'a str, fields: Option<&'a mut Vec<FieldPlace>>) -> CompactCheck<'a> {
        let cursor = Cursor { bytes: text.as_bytes(), at: 0 };
        CompactCheck { cursor, depth: 0, objects: 0, marks: marks_from(cursor.bytes, 0), block: 0, fields }
    }

    fn run(mut self) -> Result<(), Fault> {
        loop {
            // A value begins here.
            match self.cursor.next()? {
                b'"' => self.string()?,
                b'{' => {
                    self.open(true)?;
                    if self.cursor.peek() == b'}' {
                        (self.cursor.at, self.depth) = (self.cursor.at + 1, self.depth - 1);
                    } else {
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    self.open(false)?;
                    if self.cursor.peek() == b']' {
                        (self.cursor.at, self.depth) = (self.cursor.at + 1, self.depth - 1);
                    } else {
                        continue;
                    }
                }
                b't' => self.cursor.literal(b"rue")?,
                b'f' => self.cursor.literal(b"alse")?,
                b'n' => self.cursor.literal(b"ull")?,
                first @ (b'-' | b'0'..=b'9') => self.cursor.number(first)?,
                _ => return Err(self.cursor.fault()),
            }
            // It has ended here.
            loop {
                if self.depth == 1 {
                    self.end_field();
                }
                if self.depth == 0 {
                    return if self.cursor.at == self.cursor.bytes.len() {
                        Ok(())
                    } else {
                        Err(self.cursor.fault())
                    };
                }
                match (self.cursor.next()?, self.in_object()) {
                    (b',', true) => {
                        self.key()?;
                        break;
                    }
                    (b',', false) => break,
                    (b'}', true) | (b']', false) => self.depth -= 1,
                    _ => return Err(self.cursor.fault()),
                }
            }
        }
    }

    /// A name and its colon.
    #[inline(always)]
    fn key(&mut self) -> Result<(), Fault> {
        if self.cursor.next()? != b'"' {
            return Err(self.cursor.fault());
        }
        let name = self.cursor.at;
        self.string()?;
        self.cursor.literal(b":")?;
        if self.depth == 1 {
            self.begin_field(name);
        }
        Ok(())
    }

    #[inline(always)]
    fn begin_field(&mut self, name: usize) {
        // One more than are noted says that there are too many.
        if let Some(fields) = self.fields.as_mut().filter(|fields| fields.len() <= FIELDS_NOTED_MAX) {
            // The text is short enough for its places.
            let [name, value] = [name, self.cursor.at].map(|at| u32::try_from(at).unwrap_or(u32::MAX));
            fields.push(FieldPlace { name, value, end: value });
        }
    }

    #[inline(always)]
    fn end_field(&mut self) {
        if let Some(last) = self.fields.as_mut().and_then(|fields| fields.last_mut()) {
            last.end = u32::try_from(self.cursor.at).unwrap_or(u32::MAX);
        }
    }

    #[inline(always)]
    fn in_object(&self) -> bool {
        self.objects >> (self.depth - 1) & 1 == 1
    }

    #[inline(always)]
    fn open(&mut self, object: bool) -> Result<(), Fault> {
        if self.depth == JSON_DEPTH_MAX {
            return Err(Fault::TooDeep);
        }
        let bit = 1 << self.depth;
        self.objects = if object { self.objects | bit } else { self.objects & !bit };
        self.depth += 1;
        Ok(())
    }

    #[inline(always)]
    fn string(&mut self) -> Result<(), Fault> {
        loop {
            self.skip_plain();
            match self.cursor.next()? {
                b'"' => return Ok(()),
                b'\\' => self.cursor.escape()?,
                _ => return Err(self.cursor.fault()),
            }
        }
    }

    /// Goes to the next byte that means something in a string, or to the end.
    #[inline(always)]
    fn skip_plain(&mut self) {
        loop {
            let ahead = self.cursor.at - self.block;
            if ahead < BLOCK {
                let marks = self.marks >> ahead;
                if marks != 0 {
                    self.cursor.at += marks.trailing_zeros() as usize;
                    return;
                }
                self.cursor.at = self.block + BLOCK;
            }
            self.block = self.cursor.at & !(BLOCK - 1);
            self.marks = marks_from(self.cursor.bytes, self.block);
        }
    }
}

#[expect(clippy::inline_always, reason = "see above")]
impl Cursor<'_> {
    #[inline(always)]
    fn fault(&self) -> Fault {
        Fault::Unexpected { before: self.at }
    }

    #[inline(always)]
    fn next(&mut self) -> Result<u8, Fault> {
        let byte = *self.bytes.get(self.at).ok_or(Fault::EndsEarly)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline(always)]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn literal(&mut self, rest: &[u8]) -> Result<(), Fault> {
        for expected in rest {
            if self.next()? != *expected {
                return Err(self.fault());
            }
        }
        Ok(())
    }

    #[inline(always)]
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

    #[inline(always)]
    fn some_digits(&mut self) -> Result<(), Fault> {
        if !self.next()?.is_ascii_digit() {
            return Err(self.fault());
        }
        self.digits();
        Ok(())
    }

    #[inline(always)]
    fn digits(&mut self) {
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
    }

    /// An escape, whose backslash was before. Text has one on every line.
    #[inline(always)]
    fn escape(&mut self) -> Result<(), Fault> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
            b'u' => self.at = self.code_point()?,
            _ => return Err(self.fault()),
        }
        Ok(())
    }

    /// The digits of an escape, and of a second one where two make a character; gives back the place behind them. It stays a call.
    fn code_point(mut self) -> Result<usize, Fault> {
        match self.unit()? {
            0xD800..=0xDBFF => {
                self.literal(b"\\u")?;
                if !matches!(self.unit()?, 0xDC00..=0xDFFF) {
                    return Err(self.fault());
                }
            }
            0xDC00..=0xDFFF => return Err(self.fault()),
            _ => {}
        }
        Ok(self.at)
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

//! Names and values that no `=` and no `:` joins: an XML element, a call, two lines of YAML, a pair in a list, `.netrc`, an `ENV`
//! line; and rows of `.pgpass`, where the place is the name.
//!
//! What is looked for begins at a word that may name a secret; only where such a name stands as one of these forms has it, is
//! it judged. All that is looked at around it is bounded, so work is linear in the text.

use super::commands::value_to_blank;
use super::named::{self, Value, Written, is_secret, value_at};
use super::names::{Class, NAME_BYTES_MAX, class_of, next_telling};
use super::shape::{blanks_before, blanks_from};
use super::{Spans, work};
use crate::event::bytes;

/// Finds values in all these forms but rows.
pub(super) fn find_apart(text: &str, spans: &mut Spans) {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(at) = next_telling(bytes, from) {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let ahead = bytes[at..].iter().take(NAME_BYTES_MAX).take_while(|byte| is_name(byte)).count();
        let back = bytes[..at].iter().rev().take(NAME_BYTES_MAX).take_while(|byte| is_name(byte)).count();
        work::looked_at(ahead + back);
        from = at + ahead.max(1);
        let (mut start, end) = (at - back, at + ahead);
        // The n of an escaped line break is no part of the name.
        if start > 0 && start < at && bytes[start - 1] == b'\\' && matches!(bytes[start], b'n' | b'r' | b't')
        {
            start += 1;
        }
        let name = Name { text, start, end };
        if let Some((value, class)) = name.value()
            && is_secret(class, &bytes[value.start..value.end], value.written)
        {
            spans.add(value.start, value.end);
        }
    }
}

/// A name that may be a secret's, where it stands.
struct Name<'a> {
    text: &'a str,
    start: usize,
    end: usize,
}

impl Name<'_> {
    fn value(&self) -> Option<(Value, Class)> {
        let bytes = self.text.as_bytes();
        match (self.start.checked_sub(1).map(|at| bytes[at]), *bytes.get(self.end)?) {
            (Some(b'<' | b':'), b'>' | b' ') => Some((self.element()?, self.class()?)),
            (Some(b'"' | b'\''), b'"' | b'\'' | b'\\') => {
                self.pair().or_else(|| Some((self.beside()?, self.class()?)))
            }
            (_, b' ' | b'\t' | b'\n' | b'\r' | b'\\') => {
                let value = self.beside().or_else(|| self.environment()).or_else(|| self.netrc())?;
                Some((value, self.class()?))
            }
            _ => None,
        }
    }

    fn class(&self) -> Option<Class> {
        class_of(&self.text[self.start..self.end])
    }

    /// `<password>..</password>`, perhaps with attributes or a prefix.
    fn element(&self) -> Option<Value> {
        const HEAD_BYTES_MAX: usize = 128;
        const VALUE_BYTES_MAX: usize = 8 * 1024;
        let bytes = self.text.as_bytes();
        if bytes[self.start - 1] == b':' {
            let before = bytes[..self.start - 1].iter().rev().take(32);
            let prefix = before.take_while(|byte| byte.is_ascii_alphanumeric()).count();
            let open = (self.start - 1).checked_sub(prefix + 1)?;
            (prefix > 0 && bytes[open] == b'<').then_some(())?;
        }
        let head = &bytes[self.end..bytes.len().min(self.end + HEAD_BYTES_MAX)];
        let close = bytes::find3(b'>', b'<', b'\n', head).filter(|at| head[*at] == b'>')?;
        if close > 0 && head[close - 1] == b'/' {
            return None;
        }
        let start = self.end + close + 1;
        let rest = &bytes[start..bytes.len().min(start + VALUE_BYTES_MAX)];
        let length = bytes::find(b'<', rest)?;
        work::looked_at(length);
        let slashes = rest[length + 1..].iter().take(8).take_while(|byte| **byte == b'\\').count();
        (rest.get(length + 1 + slashes) == Some(&b'/')).then_some(())?;
        let value = rest[..length].trim_ascii();
        // A piece of source code; what Maven has encrypted stands so, too.
        (!(value.starts_with(b"{") && value.ends_with(b"}"))).then_some(())?;
        let start = start + rest[..length].len() - rest[..length].trim_ascii_start().len();
        Some(Value { start, end: start + value.len(), written: Written::Quoted })
    }

    /// `define('DB_PASSWORD', '..')` and its like, and `["Authorization", ".."]`.
    fn pair(&self) -> Option<(Value, Class)> {
        let bytes = self.text.as_bytes();
        let value = self.next_quoted()?;
        let open = before_quote(bytes, self.start);
        let open = open - blanks_before(bytes, open);
        let (name, text) = (&self.text[self.start..self.end], &self.text[value.start..value.end]);
        match bytes[open.checked_sub(1)?] {
            b'(' => {
                const CALLS: [&str; 4] = ["define", "setenv", "setdefault", "putenv"];
                let called = &bytes[..open - 1];
                CALLS.iter().any(|call| called.ends_with(call.as_bytes())).then_some(())?;
                (!text.contains(char::is_whitespace)).then_some((value, self.class()?))
            }
            b'[' => {
                let after = bytes[value.end..].iter().take(8).take_while(|byte| is_quoting(**byte)).count();
                let after = value.end + after;
                let after = after + blanks_from(bytes, after);
                let secret = header_secret(name, text).filter(|_| bytes.get(after) == Some(&b']'))?;
                Some((Value { start: value.start + secret, ..value }, Class::Line))
            }
            _ => None,
        }
    }

    /// The quoted text behind the comma that follows this quoted name.
    fn next_quoted(&self) -> Option<Value> {
        let bytes = self.text.as_bytes();
        let quotes = bytes[self.end..].iter().take(8).take_while(|byte| is_quoting(**byte)).count();
        let comma = self.end + quotes;
        (quotes > 0 && bytes.get(comma) == Some(&b',')).then_some(())?;
        let value = value_at(bytes, comma + 1 + blanks_from(bytes, comma + 1), Written::Loose);
        (value.written == Written::Quoted).then_some(value)
    }

    /// `name: DB_PASSWORD` and `value: ..` on the next line, or behind a comma.
    fn beside(&self) -> Option<Value> {
        let bytes = self.text.as_bytes();
        let before = before_quote(bytes, self.start);
        let before = before - blanks_before(bytes, before);
        let joint = before.checked_sub(1).filter(|at| matches!(bytes[*at], b':' | b'='))?;
        let key = bytes[..joint].trim_ascii_end();
        let key = &key[..before_quote(key, key.len())];
        ["name", "key", "header", "variable", "Name", "Key"]
            .iter()
            .any(|word| key.ends_with(word.as_bytes()))
            .then_some(())?;
        let mut at = self.end;
        let mut parted = false;
        for _ in 0..4 {
            let blanks = blanks_from(bytes, at);
            parted |= bytes[at..at + blanks].iter().any(|byte| matches!(byte, b'\n' | b'\\'));
            at += blanks;
            parted |= bytes.get(at) == Some(&b',');
            at += bytes[at..].iter().take(8).take_while(|byte| is_quoting(**byte) || **byte == b',').count();
        }
        let rest = &bytes[at..];
        (parted && (rest.starts_with(b"value") || rest.starts_with(b"Value"))).then_some(())?;
        let colon = at + b"value".len();
        let colon = colon
            + bytes[colon..].iter().take(8).take_while(|byte| is_quoting(**byte) || **byte == b' ').count();
        matches!(bytes.get(colon), Some(b':' | b'=')).then_some(())?;
        let blanks = bytes[colon + 1..].iter().take(8).take_while(|byte| **byte == b' ').count();
        Some(value_to_blank(bytes, colon + 1 + blanks))
    }

    /// `ENV DB_PASSWORD ..` of a `Dockerfile`: one word, which ends the line. In the midst of a line, one that is no word of prose.
    fn environment(&self) -> Option<Value> {
        let bytes = self.text.as_bytes();
        let blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
        let head = self.start - bytes[..self.start].iter().rev().take(8).take_while(blank).count();
        let before = ["ENV", "setenv"].iter().find_map(|word| bytes[..head].strip_suffix(word.as_bytes()))?;
        let begins_line = matches!(before.trim_ascii_end().last(), None | Some(b']' | b':'))
            || matches!(before.last(), Some(b'\n' | b'"' | b'\'' | b'`'))
            || before.ends_with(b"\\n");
        let blanks = bytes[self.end..].iter().take(8).take_while(blank).count();
        let value = value_to_blank(bytes, self.end + blanks);
        let rest = &bytes[value.end..];
        let rest = if value.written == Written::Quoted { rest.get(1..).unwrap_or_default() } else { rest };
        let ends = rest.first().is_none_or(|byte| matches!(byte, b'\n' | b'\r') || is_quoting(*byte));
        let text = &bytes[value.start..value.end];
        let is_prose = !begins_line && !text.iter().any(u8::is_ascii_digit);
        (head < self.start && blanks > 0 && ends && !is_prose).then_some(value)
    }

    /// `machine host login user password ..`.
    fn netrc(&self) -> Option<Value> {
        let bytes = self.text.as_bytes();
        (&self.text[self.start..self.end] == "password").then_some(())?;
        let (end, _user) = word_before(bytes, self.start)?;
        let (end, login) = word_before(bytes, end)?;
        let (end, host) = word_before(bytes, end)?;
        (login == b"login" || login == b"user").then_some(())?;
        if host != b"default" {
            let (_, machine) = word_before(bytes, end)?;
            (machine == b"machine").then_some(())?;
        }
        let blanks = blanks_from(bytes, self.end);
        (blanks > 0).then(|| value_to_blank(bytes, self.end + blanks))
    }
}

/// The word before the blanks before this place, and where it begins.
fn word_before(bytes: &[u8], at: usize) -> Option<(usize, &[u8])> {
    const WORD_BYTES_MAX: usize = 128;
    let end = at - blanks_before(bytes, at);
    let is_word = |byte: &u8| !byte.is_ascii_whitespace() && !is_quoting(*byte);
    let length = bytes[..end].iter().rev().take(WORD_BYTES_MAX).take_while(|byte| is_word(byte)).count();
    let mut start = end - length;
    if start > 0 && length > 1 && bytes[start - 1] == b'\\' && matches!(bytes[start], b'n' | b'r' | b't') {
        start += 1;
    }
    (end < at && start < end).then(|| (start, &bytes[start..end]))
}

const fn is_quoting(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`' | b'\\')
}

/// Where the quote begins, with what quotes it, that ends here.
fn before_quote(bytes: &[u8], end: usize) -> usize {
    end - bytes[..end].iter().rev().take(8).take_while(|byte| is_quoting(**byte)).count()
}

/// What the name of a header says, if it can be nothing else.
pub(super) fn header_class(name: &str) -> Option<Class> {
    let is_header = name.len() <= NAME_BYTES_MAX
        && (name.contains('-')
            || ["authorization", "cookie"].iter().any(|one| name.eq_ignore_ascii_case(one)))
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    class_of(name).filter(|_| is_header && !name.starts_with('-'))
}

/// Where in the second of two texts the secret of a header begins that the first names: behind its scheme, if it says one. Lists of the
/// names of headers hold none.
pub(super) fn header_secret(name: &str, value: &str) -> Option<usize> {
    /// A word of so many letters is no name of a header and in no dictionary.
    const LETTERS_MIN: usize = 16;
    const WITH_DIGIT_MIN: usize = 8;
    let class = header_class(name)?;
    let scheme = named::scheme_bytes(value.as_bytes());
    let rest = &value[scheme..];
    let digits = rest.bytes().filter(u8::is_ascii_digit).count();
    let said = if class == Class::Line {
        rest.contains('=')
    } else if scheme > 0 {
        // `Digest username="..", response=".."`
        if rest.contains(char::is_whitespace) && rest.contains('=') {
            return Some(scheme);
        }
        true
    } else {
        // A name has hyphens, and seldom a digit.
        let is_word = rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
        digits >= 2 || (is_word && rest.len() >= if digits > 0 { WITH_DIGIT_MIN } else { LETTERS_MIN })
    };
    let is_secret =
        said && !rest.starts_with('-') && is_secret(class, rest.trim().as_bytes(), Written::Quoted);
    is_secret.then_some(scheme)
}

/// Whether such a secret may stand in a text behind one that promises it: for a look that errs to one side only.
pub(super) fn may_be_header_secret(value: &str) -> bool {
    named::scheme_bytes(value.as_bytes()) > 0
}

/// Finds passwords in rows of `.pgpass`: `host:port:database:user:password`, with a port at which Postgres is asked.
pub(super) fn find_rows(text: &str, spans: &mut Spans) {
    const PORTS: [&[u8]; 7] = [b":5432:", b":5433:", b":5434:", b":5435:", b":6432:", b":6543:", b":*:"];
    let bytes = text.as_bytes();
    for colon in bytes::each(b':', bytes) {
        let Some(port) = PORTS.iter().find(|port| bytes[colon..].starts_with(port)) else { continue };
        let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'*');
        let host = bytes[..colon].iter().rev().take(128).take_while(|byte| is_host(byte)).count();
        let begins =
            colon == host || matches!(bytes[colon - host - 1], b'\n' | b' ' | b'"' | b'\'' | b'`' | b'\\');
        let named = &bytes[colon - host..colon];
        let any_port = *port == b":*:" && !matches!(named, b"*" | b"localhost") && !named.contains(&b'.');
        if host == 0 || !begins || any_port {
            continue;
        }
        let field = |start: usize| {
            let is_field = |byte: &u8| !byte.is_ascii_whitespace() && !is_quoting(*byte) && *byte != b':';
            let length = bytes[start..].iter().take(128).take_while(|byte| is_field(byte)).count();
            work::looked_at(length);
            // A place in a file goes on with numbers.
            let named = bytes[start..start + length].iter().any(|byte| !byte.is_ascii_digit());
            (named && bytes.get(start + length) == Some(&b':')).then_some(start + length + 1)
        };
        let Some(start) = field(colon + port.len()).and_then(field) else { continue };
        let length = bytes[start..]
            .iter()
            .take_while(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'"' | b'\'' | b'`' | b':'));
        let length = length.count();
        work::looked_at(length);
        let escape = bytes::find_text(&bytes[start..start + length], b"\\n");
        let end = start + escape.unwrap_or(length);
        if bytes.get(end) != Some(&b':') && is_secret(Class::Password, &bytes[start..end], Written::Bare) {
            spans.add(start, end);
        }
    }
}

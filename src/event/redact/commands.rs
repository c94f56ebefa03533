//! Passwords that commands take in ways of their own: `openssl -pass pass:x`, `zip -P x`, `7z -px`, `echo x | sudo -S`.

use super::Spans;
use super::named::{Value, Written, add_value, is_secret, value_at};
use super::names::Class;
use super::shape::blanks_from;
use crate::event::bytes;

/// So much of the text before a flag is looked at to find the command.
const LOOK_BACK_BYTES: usize = 160;

/// Finds what stands at a flag with one dash.
pub(super) fn find_at_flag(text: &str, at: usize, spans: &mut Spans) {
    let bytes = text.as_bytes();
    let flag = bytes[at..].iter().skip(1).take(8).take_while(|byte| byte.is_ascii_alphabetic()).count();
    let after = at + 1 + flag;
    let blanks = blanks_from(bytes, after);
    let mut take = |start| add_value(bytes, Class::Password, value_at(bytes, start, Written::Bare), spans);
    match &bytes[at + 1..after] {
        b"pass" | b"passin" | b"passout" if blanks > 0 => {
            let source = after + blanks;
            let open = bytes[source..]
                .iter()
                .take(8)
                .take_while(|byte| matches!(byte, b'\\' | b'"' | b'\''))
                .count();
            if bytes[source + open..].starts_with(b"pass:") {
                take(source + open + b"pass:".len());
            }
        }
        b"P" if blanks > 0 && command_is(bytes, at, &["zip", "unzip", "zipcloak", "zipnote"]) => {
            take(after + blanks);
        }
        [b'p', ..] if command_is(bytes, at, &["7z", "7za", "7zz", "7zr", "rar", "unrar"]) => {
            take(at + 2);
        }
        flags if flags.contains(&b'S') && command_is(bytes, at, &["sudo"]) => piped(text, at, spans),
        _ => {}
    }
}

/// The command line before this place: from the last mark that ends another one.
fn command_before(bytes: &[u8], at: usize) -> (usize, &[u8]) {
    let from = at.saturating_sub(LOOK_BACK_BYTES);
    let before = &bytes[from..at];
    let ends = |byte: &u8| matches!(byte, b'|' | b';' | b'&' | b'(' | b'\n' | b'"' | b'\'' | b'`');
    let mut start = before.iter().rposition(ends).map_or(0, |end| end + 1);
    if let Some(escape) = bytes::rfind_text(&before[start..], b"\\n") {
        start += escape + 2;
    }
    (from + start, &before[start..])
}

/// Whether the command to which a flag belongs is one of these.
fn command_is(bytes: &[u8], at: usize, commands: &[&str]) -> bool {
    let (_, line) = command_before(bytes, at);
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let name = |word: &[u8]| commands.iter().any(|command| command.as_bytes() == word);
    words.any(|word| word.rsplit(|byte| *byte == b'/').next().is_some_and(name))
}

/// What is piped into the command before this place: the arguments of `echo` or `printf`.
fn piped(text: &str, at: usize, spans: &mut Spans) {
    let bytes = text.as_bytes();
    let (start, _) = command_before(bytes, at);
    let Some(pipe) = start.checked_sub(1).filter(|pipe| bytes[*pipe] == b'|') else { return };
    let from = pipe.saturating_sub(LOOK_BACK_BYTES);
    let ends = |byte: &u8| matches!(byte, b'|' | b';' | b'&' | b'(' | b'\n' | b'`');
    let line = bytes[from..pipe].iter().rposition(ends).map_or(from, |end| from + end + 1);
    let before = &bytes[line..pipe];
    let said = |command: &[u8]| bytes::rfind_text(before, command).map(|at| at + command.len());
    let Some(said) = said(b"echo ").or_else(|| said(b"printf ")) else { return };
    let mut value = line + said;
    // Flags, and the form of `printf`.
    loop {
        let rest = &bytes[value..pipe];
        let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
        let word = rest[blanks..].iter().take_while(|byte| **byte != b' ').count();
        let skipped = &rest[blanks..blanks + word];
        let is_form = skipped.contains(&b'%') && rest[blanks + word..].iter().any(|byte| *byte != b' ');
        value += blanks;
        if word == 0 || !(is_form || skipped.starts_with(b"-")) {
            break;
        }
        value += word;
    }
    let around = |byte: &u8| matches!(byte, b' ' | b'\t' | b'"' | b'\'' | b'\\');
    value += bytes[value..pipe].iter().take_while(|byte| around(byte)).count();
    let end = pipe - bytes[value..pipe].iter().rev().take_while(|byte| around(byte)).count();
    if value < end && is_secret(Class::Password, &bytes[value..end], Written::Bare) {
        spans.add(value, end);
    }
}

/// A value up to the next blank or quote, or between quotes.
pub(super) fn value_to_blank(bytes: &[u8], start: usize) -> Value {
    let value = value_at(bytes, start, Written::Bare);
    if value.written == Written::Quoted {
        return value;
    }
    let is_end = |at: usize| match bytes[at] {
        b'"' | b'\'' | b'`' => true,
        b'\\' => matches!(bytes.get(at + 1), None | Some(b'n' | b'r' | b't' | b'"' | b'\'' | b'\\')),
        byte => byte.is_ascii_whitespace(),
    };
    let end = (start..bytes.len()).find(|at| is_end(*at)).unwrap_or(bytes.len());
    super::work::looked_at(end - start);
    Value { start, end, written: Written::Bare }
}

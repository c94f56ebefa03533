//! Secrets that their name gives away: `NAME=value`, `"name": "value"`, `Header: value`, `--flag value`, `the token is value`.
//!
//! The text may be a command, a source file, a configuration, a log, or JSON inside JSON, so names are looked for backwards from every `=`
//! and `:`, at most a fixed number of bytes, and values forwards to their own end: time is linear in the text.

use super::names::{Class, NAME_BYTES_MAX, class_of, next_telling};
use super::shape::{entropy_millibits, from_base64, is_digest, is_mixed, is_uuid, starts_word};
use super::{PLACEHOLDER, Spans, apart, commands, work};
use crate::event::bytes;

/// How a value is written.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Written {
    /// Between quotes.
    Quoted,
    /// After `=` without a blank, as in shells, `.env` files and URLs, or after a flag.
    Bare,
    /// After a separator with blanks, as in source code and prose.
    Loose,
}

/// Whether the value of a JSON field with a name of this class is secret.
pub(super) fn is_secret_value(class: Class, value: &str) -> bool {
    is_secret(class, value.trim().as_bytes(), Written::Quoted)
}

pub(super) fn is_secret(class: Class, value: &[u8], written: Written) -> bool {
    let value = &value[..value.len().min(JUDGED_BYTES_MAX)];
    if value.is_empty() || value == PLACEHOLDER.as_bytes() || is_reference(value) {
        return false;
    }
    match class {
        Class::Line => true,
        Class::Random => is_credential(value),
        Class::Password => match written {
            Written::Quoted | Written::Bare => !is_empty_word(value),
            Written::Loose => !is_empty_word(value) && !is_code(value),
        },
        Class::Token => {
            let blank = value.iter().any(u8::is_ascii_whitespace);
            let (digit, letter) =
                (value.iter().any(u8::is_ascii_digit), value.iter().any(u8::is_ascii_alphabetic));
            match written {
                _ if blank => false,
                Written::Quoted | Written::Bare => {
                    let least = match (digit, letter) {
                        (true, true) => 6,
                        (true, false) => 8,
                        _ => 12,
                    };
                    value.len() >= least && !is_empty_word(value)
                }
                Written::Loose => value.len() >= 12 && is_mixed(value) && !is_code(value),
            }
        }
    }
}

/// `user:password` in base64, or a long text that is random and no id.
fn is_credential(value: &[u8]) -> bool {
    const PAIR_BYTES_MIN: usize = 5;
    const RANDOM_BYTES_MIN: usize = 20;
    let length = value.len() - value.iter().rev().take_while(|byte| **byte == b'=').count();
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    if value[..length].iter().all(base64) {
        let pair = from_base64(value);
        let colon = bytes::find(b':', &pair).is_some_and(|colon| colon > 0);
        if colon && pair.len() >= PAIR_BYTES_MIN && pair.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return true;
        }
    }
    value.len() >= RANDOM_BYTES_MIN
        && !value.iter().any(u8::is_ascii_whitespace)
        && is_mixed(value)
        && entropy_millibits(value) >= 3_000
        && (is_digest(value) || !is_named_id(value))
        && !is_code(value)
}

/// So much of a value is looked at to judge it: enough to tell, and a bound on the work for one value.
const JUDGED_BYTES_MAX: usize = 256;

/// A variable, a template or a mask instead of a value.
fn is_reference(value: &[u8]) -> bool {
    let starts = |prefix: &str| value.starts_with(prefix.as_bytes());
    (starts("${") && value.ends_with(b"}"))
        || (starts("$") && value[1..].iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_'))
        || starts("$(")
        || (starts("{{") && value.ends_with(b"}}"))
        || (starts("<") && value.ends_with(b">"))
        || (starts("%") && value.ends_with(b"%") && value.len() > 1)
        || ["process.env", "os.environ", "os.getenv", "env::var", "std::env", "import.meta.env", "secrets."]
            .iter()
            .any(|prefix| starts(prefix))
        || value.iter().all(|byte| matches!(byte, b'*' | b'x' | b'X' | b'.' | b'-' | b'_' | b'?'))
}

/// Words that say that there is no value, or which type it has.
fn is_empty_word(value: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "none",
        "null",
        "nil",
        "true",
        "false",
        "undefined",
        "string",
        "str",
        "&str",
        "number",
        "boolean",
        "bool",
        "any",
        "bytes",
        "optional",
        "required",
        "unknown",
        "object",
        "int",
        "text",
        "varchar",
        "self",
        "this",
        "yes",
        "no",
        "redacted",
        "[redacted]",
        "invalid",
        "missing",
        "expired",
        "authentication",
        "authorization",
        "unauthorized",
    ];
    value.len() <= 16 && WORDS.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()))
}

/// A piece of source code: a call, a path of names, a type, a field of something.
fn is_code(value: &[u8]) -> bool {
    let identifier =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'&' | b'*' | b'?' | b'!');
    value.iter().any(|byte| matches!(byte, b'(' | b'[' | b'{' | b'<' | b'|'))
        || bytes::find_text(value, b"::").is_some()
        || bytes::find_text(value, b"->").is_some()
        || (value.iter().all(identifier) && !value.iter().any(u8::is_ascii_digit))
}

/// Finds values after names and `=` or `:`.
pub(super) fn find_assigned(text: &str, spans: &mut Spans) {
    let bytes = text.as_bytes();
    // Up to here everything is found already: names inside a secret are not looked at, which also keeps the work linear.
    let mut found_to = 0;
    for at in bytes::each2(b'=', b':', bytes) {
        if at < found_to
            || at == 0
            || matches!(bytes.get(at + 1), Some(b'=' | b':'))
            || matches!(bytes[at - 1], b'=' | b'!' | b'<' | b'>')
        {
            continue;
        }
        let Some(name) = name_before(text, at) else { continue };
        let Some(class) = class_of(name) else { continue };
        let value = value_after(bytes, at);
        if value.written == Written::Quoted && ends_a_text(bytes, at, value.start) {
            continue;
        }
        if let Some(end) = add_value(bytes, class, value, spans) {
            found_to = end;
        }
        if class == Class::Line && value.written != Written::Quoted {
            found_to = line_end(bytes, value.start);
            if !covered(&bytes[value.start..found_to]) {
                spans.add(value.start, found_to);
            }
        }
    }
}

/// Whether the quote behind a separator closes the text that the name ends, as in `input('Your password:')`: nothing follows in it. Such a
/// text begins with a word behind a quote that can only open, and what follows the closing one is no word.
fn ends_a_text(bytes: &[u8], separator: usize, inside: usize) -> bool {
    const TEXT_BYTES_MAX: usize = 96;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80;
    // A name in quotes of its own is a key.
    if !is_word(bytes[separator - 1]) || bytes.get(inside).is_some_and(|next| is_word(*next)) {
        return false;
    }
    let quote = bytes[inside - 1];
    let slashes =
        |before: usize| bytes[..before].iter().rev().take(8).take_while(|byte| **byte == b'\\').count();
    let is_text =
        |byte: &u8| is_word(*byte) || matches!(byte, b' ' | b',' | b'.' | b'-' | b'_' | b'/' | b'(' | b')');
    let length =
        bytes[..separator].iter().rev().take(TEXT_BYTES_MAX).take_while(|byte| is_text(byte)).count();
    work::looked_at(length);
    let Some(open) = (separator - length).checked_sub(1) else { return false };
    // Before JSON inside JSON opens a text, as many backslashes stand as before it closes one.
    let quoting = slashes(open);
    // As in `f".."`, a text may have a letter before its quote.
    let begin = open - quoting;
    let letter = begin > 0 && matches!(bytes[begin - 1], b'f' | b'b' | b'r' | b'u');
    let opens = match (begin - usize::from(letter)).checked_sub(1).map(|before| bytes[before]) {
        None => true,
        Some(before) => {
            before.is_ascii_whitespace()
                || matches!(before, b'(' | b'[' | b'{' | b',' | b'=' | b':' | b'+' | b'>')
        }
    };
    bytes[open] == quote && quoting == slashes(inside - 1) && opens && is_word(bytes[open + 1])
}

/// Whether a part of a line is nothing but the placeholder.
fn covered(part: &[u8]) -> bool {
    part.trim_ascii().is_empty() || part.trim_ascii() == PLACEHOLDER.as_bytes()
}

/// Adds a value's place if it is secret, and tells where it ends.
pub(super) fn add_value(bytes: &[u8], class: Class, value: Value, spans: &mut Spans) -> Option<usize> {
    let text = &bytes[value.start..value.end];
    // A scheme stays, what follows it goes.
    let scheme = scheme_bytes(text);
    if !is_secret(class, &text[scheme..], value.written) {
        return None;
    }
    let end = value.whole_end(bytes);
    spans.add(value.start + scheme, end);
    Some(end)
}

/// How long the scheme is, with its blank, that the value of a header begins with.
pub(super) fn scheme_bytes(value: &[u8]) -> usize {
    ["bearer ", "basic ", "token ", "digest ", "apikey ", "negotiate "]
        .iter()
        .find(|scheme| {
            value.len() > scheme.len() && value[..scheme.len()].eq_ignore_ascii_case(scheme.as_bytes())
        })
        .map_or(0, |scheme| scheme.len())
}

/// The name that ends before a separator, quotes and blanks between them stepped over.
fn name_before(text: &str, separator: usize) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut end = separator;
    let mut steps = 0;
    while end > 0 && matches!(bytes[end - 1], b' ' | b'\t' | b'"' | b'\'' | b'\\' | b']' | b'`') {
        end -= 1;
        steps += 1;
        if steps > 12 {
            return None;
        }
    }
    let length = bytes[..end]
        .iter()
        .rev()
        .take(NAME_BYTES_MAX + 1)
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        .count();
    let mut start = end - length;
    // The n of an escaped line break is no part of the name.
    if length > 1 && start > 0 && bytes[start - 1] == b'\\' && matches!(bytes[start], b'n' | b't' | b'r') {
        start += 1;
    }
    work::looked_at(length);
    (length > 0).then(|| &text[start..end])
}

#[derive(Clone, Copy)]
pub(super) struct Value {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) written: Written,
}

/// The value that begins after a separator.
fn value_after(bytes: &[u8], separator: usize) -> Value {
    let mut start = separator + 1;
    if bytes.get(start) == Some(&b'>') {
        start += 1;
    }
    let blanks = bytes[start..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let tight = bytes[separator] == b'=' && blanks == 0 && !matches!(bytes[separator - 1], b' ' | b'\t');
    value_at(bytes, start + blanks, if tight { Written::Bare } else { Written::Loose })
}

/// The value that begins at this place, between quotes or up to a blank or a mark.
pub(super) fn value_at(bytes: &[u8], start: usize, unquoted: Written) -> Value {
    // JSON in JSON in JSON in JSON: deeper quoting is read as no quoting, which keeps the work linear.
    const SLASHES_MAX: usize = 7;
    let slashes = bytes[start..].iter().take(SLASHES_MAX).take_while(|byte| **byte == b'\\').count();
    let open = start + slashes;
    if let Some(quote @ (b'"' | b'\'' | b'`')) = bytes.get(open).copied() {
        let inside = open + 1;
        return Value {
            start: inside,
            end: closing(bytes, inside, quote, slashes),
            written: Written::Quoted,
        };
    }
    // After a scheme the value goes on behind the blank.
    let rest = &bytes[start..];
    let scheme = [&b"bearer "[..], b"basic ", b"token ", b"digest ", b"apikey "]
        .iter()
        .find(|scheme| rest.len() > scheme.len() && rest[..scheme.len()].eq_ignore_ascii_case(scheme))
        .map_or(0, |scheme| scheme.len());
    let written = if scheme > 0 { Written::Bare } else { unquoted };
    let from = start + scheme;
    let end = run_end(bytes, from, bytes.len().min(from + JUDGED_BYTES_MAX), written);
    Value { start, end, written }
}

impl Value {
    /// Where it really ends: one without quotes was looked at only so far as it takes to judge it.
    fn whole_end(self, bytes: &[u8]) -> usize {
        match self.written {
            Written::Quoted => self.end,
            unquoted => run_end(bytes, self.end, bytes.len(), unquoted),
        }
    }
}

/// Where a value without quotes ends that goes on at `start`, `limit` at the latest; always between two characters.
fn run_end(bytes: &[u8], start: usize, limit: usize, unquoted: Written) -> usize {
    let is_end = |at: usize| match bytes[at] {
        b'"' | b'\'' | b'`' => true,
        b'\\' => matches!(bytes.get(at + 1), None | Some(b'n' | b'r' | b't' | b'u' | b'"' | b'\'' | b'\\')),
        byte if byte.is_ascii_whitespace() => true,
        byte if unquoted == Written::Bare => matches!(byte, b'&' | b';' | b'|' | b'<' | b'>'),
        byte => matches!(byte, b',' | b';' | b'}' | b'&'),
    };
    let end = (start..limit).find(|at| is_end(*at)).unwrap_or(limit);
    work::looked_at(end - start);
    // Inside a character of several bytes: on to its end.
    (end..bytes.len()).find(|at| bytes[*at] & 0xC0 != 0x80).unwrap_or(bytes.len())
}

/// Where a quoted value ends: at a quote behind as many backslashes as the opening one has, doubled ones aside. Without one, at
/// the end of the text: a secret that was cut off is still one.
pub(super) fn closing(bytes: &[u8], inside: usize, quote: u8, slashes: usize) -> usize {
    let end = closing_quote(bytes, inside, quote, slashes);
    work::looked_at(end.saturating_sub(inside));
    end
}

fn closing_quote(bytes: &[u8], inside: usize, quote: u8, slashes: usize) -> usize {
    let turn = 2 * (slashes + 1);
    let mut run = 0;
    for (at, byte) in bytes.iter().enumerate().skip(inside) {
        match *byte {
            b'\\' => run += 1,
            byte if byte == quote && run % turn == slashes % turn => return at - slashes,
            b'\n' if quote != b'`' => return at,
            _ => run = 0,
        }
    }
    bytes.len()
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    let rest = &bytes[start..];
    let mut end = bytes::find3(b'\n', b'"', b'\'', rest).unwrap_or(rest.len());
    for escape in [&b"\\n"[..], b"\\r", b"\\\""] {
        end = bytes::find_text(&rest[..end], escape).unwrap_or(end);
    }
    work::looked_at(end);
    start + rest[..end].trim_ascii_end().len()
}

/// Finds values after flags: `--password x`, `sshpass -p x`, `mysql -px`, `curl -u user:x`, `redis-cli -a x`.
pub(super) fn find_flags(text: &str, spans: &mut Spans) {
    let bytes = text.as_bytes();
    for at in bytes::each(b'-', bytes) {
        if at > 0
            && !matches!(bytes[at - 1], b' ' | b'\t' | b'\n' | b'"' | b'\'' | b'`' | b'(')
            && !starts_after_escape(bytes, at)
        {
            continue;
        }
        if bytes.get(at + 1) == Some(&b'-') {
            long_flag(text, at + 2, spans);
        } else {
            short_flag(text, at, spans);
        }
    }
}

fn starts_after_escape(bytes: &[u8], at: usize) -> bool {
    at > 1 && matches!(bytes[at - 1], b'n' | b't') && bytes[at - 2] == b'\\'
}

fn long_flag(text: &str, start: usize, spans: &mut Spans) {
    let bytes = text.as_bytes();
    let length = bytes[start..]
        .iter()
        .take(NAME_BYTES_MAX)
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        .count();
    let end = start + length;
    let name = &text[start..end];
    if !matches!(bytes.get(end), Some(b' ' | b'\t')) {
        return;
    }
    let blanks = bytes[end..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    if name == "user" && line_has(text, start, &["curl", "wget", "http"]) {
        user_password(bytes, value_at(bytes, end + blanks, Written::Bare), spans);
    } else if let Some(class) = class_of(name) {
        let value = value_at(bytes, end + blanks, Written::Bare);
        if bytes.get(value.start) != Some(&b'-') {
            add_value(bytes, class, value, spans);
        }
    }
}

fn short_flag(text: &str, at: usize, spans: &mut Spans) {
    let bytes = text.as_bytes();
    let Some(letter) = bytes.get(at + 1) else { return };
    let after = at + 2;
    let blanks =
        bytes.get(after..).unwrap_or_default().iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let value = |start| value_at(bytes, start, Written::Bare);
    match letter {
        b'p' if blanks == 0 && line_has(text, at, &["mysql", "mariadb", "sshpass"]) => {
            add_value(bytes, Class::Password, value(after), spans);
        }
        b'p' if blanks > 0 && line_has(text, at, &["sshpass", "login", "mongo", "ldap"]) => {
            add_value(bytes, Class::Password, value(after + blanks), spans);
        }
        b'a' if blanks > 0 && line_has(text, at, &["redis-cli"]) => {
            add_value(bytes, Class::Password, value(after + blanks), spans);
        }
        b'w' if blanks > 0 && line_has(text, at, &["ldap"]) => {
            add_value(bytes, Class::Password, value(after + blanks), spans);
        }
        b'u' if line_has(text, at, &["curl", "wget", "http"]) => {
            user_password(bytes, value(after + blanks), spans);
        }
        _ => commands::find_at_flag(text, at, spans),
    }
}

/// The part of `user:password` behind the colon.
fn user_password(bytes: &[u8], value: Value, spans: &mut Spans) {
    let text = &bytes[value.start..value.end];
    if let Some(colon) = bytes::find(b':', text) {
        let password = &text[colon + 1..];
        if !password.starts_with(b"//") && is_secret(Class::Password, password, Written::Bare) {
            spans.add(value.start + colon + 1, value.whole_end(bytes));
        }
    }
}

/// Whether one of these words stands before this place, on its line, not far away.
pub(super) fn line_has(text: &str, at: usize, words: &[&str]) -> bool {
    const LOOK_BACK_BYTES: usize = 160;
    let bytes = &text.as_bytes()[at.saturating_sub(LOOK_BACK_BYTES)..at];
    let line = bytes::rfind(b'\n', bytes).map_or(bytes, |end| &bytes[end + 1..]);
    words.iter().any(|word| bytes::find_text(line, word.as_bytes()).is_some())
}

/// Finds random text and passwords that prose names: `the api key is 8fk2...`, `password hunter2`.
pub(super) fn find_spoken(text: &str, spans: &mut Spans) {
    let mut from = 0;
    while let Some(telling) = next_telling(text.as_bytes(), from) {
        from = spoken_from(text, telling, spans);
    }
}

/// Reads on from the word before the one that holds this place, until nothing said so far is about what follows. Tells where it stopped.
fn spoken_from(text: &str, telling: usize, spans: &mut Spans) -> usize {
    let begin = word_before(text, telling);
    let mut near: Option<(Class, usize)> = None;
    let mut previous: &str = "";
    for (start, word) in words(&text[begin..]).map(|(start, word)| (begin + start, word)) {
        let end = start + word.len();
        if let Some((class, left)) = near {
            if word == PLACEHOLDER {
                near = None;
            } else if is_spoken_secret(class, previous, word) {
                spans.add(start, end);
                near = None;
            } else {
                near = (left > 0).then(|| (class, left - 1));
            }
        }
        if let Some(class) = spoken_class(previous, word) {
            near = Some((class, 4));
        }
        if text.as_bytes().get(end) == Some(&b'\n') {
            near = None;
        }
        if near.is_none() && end > telling {
            work::looked_at(end - begin);
            return end;
        }
        previous = word;
    }
    work::looked_at(text.len() - begin);
    text.len()
}

fn is_spoken_secret(class: Class, previous: &str, word: &str) -> bool {
    let random = word.len() >= 16
        && is_mixed(word.as_bytes())
        && entropy_millibits(word.as_bytes()) >= 3_000
        && !is_named_id(word.as_bytes());
    let spoken = class == Class::Password
        && matches!(previous, "is" | "was" | "be")
        && word.len() >= 6
        && word.bytes().any(|byte| byte.is_ascii_digit())
        && word.bytes().any(|byte| byte.is_ascii_alphabetic());
    (random || spoken) && !is_code(word.as_bytes())
}

/// Ids that agents give, paths, digests and names with dots are no secrets.
fn is_named_id(word: &[u8]) -> bool {
    const IDS: &[&str] = &[
        "toolu_",
        "msg_",
        "req_",
        "call_",
        "prompt_",
        "agent-",
        "session_",
        "org-",
        "chatcmpl-",
        "sha256:",
        "sha512-",
    ];
    is_digest(word)
        || is_uuid(word)
        || word.contains(&b'/')
        || word.contains(&b'.')
        || IDS.iter().any(|id| word.starts_with(id.as_bytes()))
}

fn spoken_class(previous: &str, word: &str) -> Option<Class> {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    match word.len() {
        3 if word.eq_ignore_ascii_case("key") => {
            let before = ["api", "access", "secret", "private", "signing", "encryption"];
            before.iter().any(|name| previous.eq_ignore_ascii_case(name)).then_some(Class::Token)
        }
        5..=12 if word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_') => class_of(word),
        _ => None,
    }
}

/// The words of a text with their places: what stands between blanks, quotes and marks that no token has.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let base = text.as_ptr() as usize;
    text.split(ends_word).filter(|word| !word.is_empty()).map(move |word| {
        let kept = word.trim_end_matches(['.', ':', '!', '?']);
        (word.as_ptr() as usize - base, kept)
    })
}

/// Where the word begins that stands before the one that holds this place.
fn word_before(text: &str, at: usize) -> usize {
    let before = text[..at].trim_end_matches(|c| !ends_word(c)).trim_end_matches(ends_word);
    before.trim_end_matches(|c| !ends_word(c)).len()
}

fn ends_word(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '"' | '\'' | '`' | ',' | ';' | '(' | ')' | '<' | '>' | '[' | ']' | '{' | '}' | '\\')
}

/// What a text in a list promises of the next one, if it may: a flag that takes a secret, or the name of a header.
pub(super) fn is_secret_flag(argument: &str) -> Option<Class> {
    flag_class(argument).or_else(|| apart::header_class(argument))
}

/// What a flag promises of the next argument.
pub(super) fn flag_class(argument: &str) -> Option<Class> {
    argument.strip_prefix("--").and_then(class_of).filter(|_| starts_word(argument.as_bytes(), 0))
}

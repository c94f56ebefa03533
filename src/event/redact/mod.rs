//! Taking secrets out of events, and cutting payloads to their cap.
//!
//! It happens once, in the first process of ours that holds an event, before any disk, log or error text. What is found is replaced by
//! `***REDACTED***`, whole: never a part of the value stays. What finds:
//!
//! - names (`names`): the value of a field, variable, header or flag that is called password, token, api key and so on;
//! - shapes (`tokens`): prefixes of issuers, PEM, JWT, `Bearer`, URLs with passwords, webhook addresses;
//! - nearness (`named`): random text close behind such a word in prose;
//! - forms (`apart`, `commands`): a name and its value in an XML element, two lines of YAML, a call, `.netrc`, `.pgpass`, an
//!   `ENV` line, a pair in a list; what `openssl -pass`, `zip -P` and `sudo -S` are given;
//! - the user (`known`): values that were named as secrets, whatever they look like.
//!
//! All of it scans bytes by hand: no pattern is compiled, since a hook lives for a millisecond. From one place where something may begin to the
//! next it goes by tables (`starts`) or `memchr`, and work is linear in the text. A string far beyond the cap is shortened
//! before it is scanned (`trim`), and so is a list, so a tool's output of megabytes costs little more than its parse. Texts inside texts (JSON as a string, at any depth of quoting) are scanned as they stand. An explicit name wins over the look of a value: 64 hexadecimal digits
//! under `api_key` go, the same digits anywhere else stay, since they name contents and commits.
//!
//! A payload is parsed only if a look at its text (`look`) says that it may hold something.
//!
//! Never touched: ids of the envelope, fields that end in `_id` or hold `uuid`, `cwd`, `transcript_path`.
//!
//! Redaction errs towards taking too much, but not code, hashes, ids or prose about tokens; the tests hold lists of both. It is
//! no proof that nothing slips through: a secret that has neither name nor shape looks like any other text, unless the user has named it.

mod apart;
mod commands;
mod cut;
mod known;
mod look;
mod named;
mod names;
mod shape;
mod starts;
mod tokens;
mod trim;
pub(super) mod work;

pub use known::know;

use super::{Cut, Event, Json, Kind};
use std::borrow::Cow;
use std::fmt::Write as _;

/// The most bytes that a payload's text has after redaction, unless the redactor says otherwise.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// What stands where a secret stood.
pub const PLACEHOLDER: &str = "***REDACTED***";

/// Takes out secrets and cuts.
#[derive(Clone, Debug)]
pub struct Redactor {
    enabled: bool,
    payload_bytes_max: usize,
}

impl Default for Redactor {
    fn default() -> Redactor {
        Redactor { enabled: true, payload_bytes_max: PAYLOAD_BYTES_MAX }
    }
}

impl Redactor {
    /// The redactor that every process of ours uses.
    pub fn new() -> Redactor {
        Redactor::default()
    }

    /// Cuts but leaves secrets where they are: for tests that prove that redaction is what takes them out.
    pub fn off() -> Redactor {
        Redactor { enabled: false, ..Redactor::default() }
    }

    /// The text without secrets; borrowed where there is none.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        const SECRET_BYTES_MIN: usize = 4;
        // What was replaced may bring two other things together: again, until nothing is found. Twice is the rule, the bound is for
        // texts made to defeat it.
        const PASSES_MAX: usize = 16;
        let mut redacted = Cow::Borrowed(text);
        if !self.enabled || text.len() < SECRET_BYTES_MIN {
            return redacted;
        }
        for _ in 0..PASSES_MAX {
            match pass(&redacted) {
                Some(shorter) => redacted = Cow::Owned(shorter),
                None => break,
            }
        }
        redacted
    }

    /// Takes secrets out of every string and key of a value.
    pub fn value(&self, value: &mut Json) {
        self.walk(value, usize::MAX);
    }

    /// Takes secrets out of the envelope's texts (its ids stay) and the payload, then cuts the payload to the cap, and notes where.
    ///
    /// Doing it again changes nothing. Secrets go first, so a cut never leaves half of one.
    pub fn event(&self, event: &mut Event) {
        if event.opaque.is_some() {
            return;
        }
        if self.enabled {
            // Not instance, session and agent: they are ids, and two that were replaced would become one.
            let texts = [&mut event.source.program, &mut event.source.host];
            for text in texts.into_iter().chain(&mut event.project) {
                if let Cow::Owned(redacted) = self.text(text) {
                    *text = redacted;
                }
            }
        }
        let text = event.payload.as_str();
        if text.len() <= self.payload_bytes_max && (!self.enabled || look::is_clean(self, text)) {
            return;
        }
        let mut payload = event.payload.to_json();
        let (redacted, trimmed) =
            self.walk(&mut payload, self.payload_bytes_max.saturating_add(trim::MARGIN_BYTES));
        let fields = event.kind.known().map(Kind::fields).unwrap_or_default();
        let cuts = cut::to_fit(&mut payload, fields, self.payload_bytes_max, &trimmed);
        if redacted || !cuts.is_empty() {
            event.payload.set(&payload.to_string());
        }
        event.cut.extend(cuts);
    }

    /// Takes out secrets, strings and lists of more than `bytes_max` bytes shortened before. Tells whether there were any, and what was
    /// shortened.
    fn walk(&self, value: &mut Json, bytes_max: usize) -> (bool, Vec<Trimmed>) {
        let mut walk =
            Walk { redactor: self, bytes_max, pointer: String::new(), redacted: false, trimmed: Vec::new() };
        if self.enabled {
            walk.value(value, None);
        }
        (walk.redacted, walk.trimmed)
    }
}

/// Whether a field of this name is left as it is.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn is_untouched(name: &str) -> bool {
    names::is_untouched(name)
}

/// A string or a list that was shortened before it was scanned.
struct Trimmed {
    /// Where it is and how long it was.
    cut: Cut,
    /// Whether that is noted: the list's field is cut for certain, and noted then.
    noted: bool,
    /// What it lost, in bytes of JSON text.
    lost: usize,
}

/// One way through a value.
struct Walk<'a> {
    redactor: &'a Redactor,
    bytes_max: usize,
    pointer: String,
    redacted: bool,
    trimmed: Vec<Trimmed>,
}

impl Walk<'_> {
    /// `under` is the class of the nearest name above that promises a secret.
    fn value(&mut self, value: &mut Json, under: Option<names::Class>) {
        match value {
            Json::String(text) => self.text(text, under),
            Json::Number(_) if under == Some(names::Class::Password) => {
                *value = Json::String(PLACEHOLDER.to_owned());
                self.redacted = true;
            }
            Json::Array(items) => {
                let end = self.list(items, under);
                items.truncate(end);
            }
            Json::Object(object) => self.object(object, under),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    fn text(&mut self, text: &mut String, under: Option<names::Class>) {
        if under.is_some_and(|class| named::is_secret_value(class, text)) {
            PLACEHOLDER.clone_into(text);
            self.redacted = true;
            return;
        }
        if text.len() > self.bytes_max {
            let end = trim::end(text, self.bytes_max);
            let cut = Cut { pointer: self.pointer.clone(), bytes: text.len() as u64 };
            let lost = cut::size_within_string(&text[end..]);
            self.trimmed.push(Trimmed { cut, noted: true, lost });
            text.truncate(end);
        }
        if let Cow::Owned(redacted) = self.redactor.text(text) {
            *text = redacted;
            self.redacted = true;
        }
    }

    /// Returns where the list ends. One that does not fit, however short its strings are cut, is cut to a beginning for certain: what
    /// stands behind any such beginning is gone before it is scanned.
    fn list(&mut self, items: &mut [Json], under: Option<names::Class>) -> usize {
        let mut flag = None;
        let mut least = 0;
        // `["Authorization", ".."]` is a header.
        if let [Json::String(name), Json::String(value)] = items
            && let Some(secret) = apart::header_secret(name, value)
        {
            value.replace_range(secret.., PLACEHOLDER);
            self.redacted = true;
        }
        for at in 0..items.len() {
            if least > self.bytes_max {
                let lost = items[at..].iter().map(|item| cut::size(item) + 1).sum();
                let cut = Cut { pointer: self.pointer.clone(), bytes: 0 };
                self.trimmed.push(Trimmed { cut, noted: false, lost });
                return at;
            }
            let item = &mut items[at];
            let next = item.as_str().and_then(named::flag_class);
            let argument = item.as_str().is_some_and(|text| !text.starts_with('-'));
            let above = self.pointer.len();
            let _ = write!(self.pointer, "/{at}"); // writing to a String cannot fail
            self.value(item, if argument { under.or(flag) } else { under });
            self.pointer.truncate(above);
            flag = next;
            least += cut::least_size(item) + 1;
        }
        items.len()
    }

    fn object(&mut self, object: &mut serde_json::Map<String, Json>, under: Option<names::Class>) {
        self.keys(object);
        for (key, value) in object.iter_mut() {
            let untouched = value.is_string() && under.is_none() && names::is_untouched(key);
            if !untouched {
                let above = self.pointer.len();
                cut::push_part(&mut self.pointer, key);
                let named = names::class_of(key);
                // What such a name says, it says of a text, not of all that an object holds.
                let of_value = named.filter(|class| *class != names::Class::Random || value.is_string());
                self.value(value, names::nearest(of_value, under));
                self.pointer.truncate(above);
            }
        }
        // `{"name": "API_KEY", "value": ".."}` is one field in two.
        let named = ["name", "key", "header", "variable"]
            .iter()
            .find_map(|name| object.get(*name)?.as_str())
            .and_then(names::class_of);
        if let (Some(class), Some(Json::String(value))) = (named, object.get_mut("value"))
            && named::is_secret_value(class, value)
        {
            PLACEHOLDER.clone_into(value);
            self.redacted = true;
        }
    }

    /// Takes secrets out of the keys; two that become one both stay.
    fn keys(&mut self, object: &mut serde_json::Map<String, Json>) {
        if object.keys().any(|key| matches!(self.redactor.text(key), Cow::Owned(_))) {
            self.redacted = true;
            let old = std::mem::take(object);
            for (key, value) in old {
                let mut redacted = self.redactor.text(&key).into_owned();
                while object.contains_key(&redacted) {
                    redacted.push('+');
                }
                object.insert(redacted, value);
            }
        }
    }
}

/// Where a quoted value ends that begins here: for the test that counts what is looked at.
#[cfg(test)]
pub(super) fn closing_quote_from(text: &str, inside: usize) -> usize {
    named::closing(text.as_bytes(), inside, b'\'', 0)
}

/// The text without the secrets that one look over it finds, if there are any.
fn pass(text: &str) -> Option<String> {
    work::looked_at(text.len());
    let mut spans = Spans::default();
    known::find(text, &mut spans);
    tokens::find_prefixed(text, &mut spans);
    tokens::find_private_keys(text, &mut spans);
    tokens::find_encoded_keys(text, &mut spans);
    tokens::find_schemes(text, &mut spans);
    tokens::find_at_colons(text, &mut spans);
    tokens::find_dotted(text, &mut spans);
    named::find_assigned(text, &mut spans);
    named::find_flags(text, &mut spans);
    named::find_spoken(text, &mut spans);
    apart::find_apart(text, &mut spans);
    apart::find_rows(text, &mut spans);
    spans.replace(text)
}

/// Places of secrets in a text.
#[derive(Default)]
struct Spans(Vec<(usize, usize)>);

impl Spans {
    fn add(&mut self, start: usize, end: usize) {
        if start < end {
            self.0.push((start, end));
        }
    }

    /// The text with each place, overlapping ones as one, replaced by the placeholder.
    fn replace(mut self, text: &str) -> Option<String> {
        self.0.retain(|&(start, end)| &text[start..end] != PLACEHOLDER);
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_unstable();
        let mut redacted = String::with_capacity(text.len());
        let mut copied = 0;
        for (start, end) in self.0 {
            if start >= copied {
                redacted.push_str(&text[copied..start]);
                redacted.push_str(PLACEHOLDER);
            }
            copied = copied.max(end);
        }
        redacted.push_str(&text[copied..]);
        Some(redacted)
    }
}

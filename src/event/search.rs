//! What a search in words asks for, and how often a text holds it. Pure: the scan over a journal is `store::search`.
//!
//! **The query.** Words, and `"phrases in quotes"`; with `-` before it, what must not be there. Any other character is legal and
//! means nothing: `foo.rs:12` asks for the words `foo`, `rs` and `12`, one right after the other. An event is found when it holds
//! everything that is wanted and nothing that is not.
//!
//! **Words.** A word is a run of letters and digits; `_` and all else stand between words, so `call` is found in `tool_call_failed`
//! and not in `recall`. Letters count in either case, by Unicode's simple mapping, ASCII staying apart from what only looks like it;
//! nothing is stemmed or normalised. In scripts that are written without blanks (Chinese, Japanese, Korean, Thai, Lao, Khmer,
//! Burmese) each letter is a word: `日本` is found in `東日本橋`, as a phrase of two.
//!
//! **The text.** Every string in an event's payload, each on its own: a phrase does not run from one string into the next. Names of
//! fields, numbers and the envelope are not searched; filters do that.

mod snippet;
mod words;

pub use snippet::Snippet;
use words::Term;

use super::fields::end_of_string;
use super::{FieldError, Json};

/// The longest query, in bytes: what is longer was pasted by mistake.
pub const QUERY_BYTES_MAX: usize = 1_024;
/// Words and phrases in one query.
pub const QUERY_TERMS_MAX: usize = 32;

/// A search in words.
#[derive(Clone, Debug)]
pub struct Query {
    wanted: Vec<Term>,
    unwanted: Vec<Term>,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// `out_of_range`, naming `field`: an empty query, one that says only what must not be there, and one beyond the limits.
    pub fn parse(field: &str, text: &str) -> Result<Query, FieldError> {
        let refuse = |message: String| Err(FieldError::out_of_range(field, &message));
        if text.trim().is_empty() {
            return refuse("must not be empty".into());
        }
        if text.len() > QUERY_BYTES_MAX {
            return refuse(format!("is longer than {QUERY_BYTES_MAX} bytes"));
        }
        let mut query = Query { wanted: Vec::new(), unwanted: Vec::new() };
        for (is_wanted, unit) in units(text) {
            let terms = if is_wanted { &mut query.wanted } else { &mut query.unwanted };
            if let Some(term) = Term::of(unit)
                && !terms.contains(&term)
            {
                terms.push(term);
            }
        }
        if query.wanted.len() + query.unwanted.len() > QUERY_TERMS_MAX {
            return refuse(format!("has more than {QUERY_TERMS_MAX} words and phrases"));
        }
        if query.wanted.is_empty() && !query.unwanted.is_empty() {
            return refuse("says only what must not be there: add a word to look for".into());
        }
        Ok(query)
    }

    /// Whether there is no word in it, only punctuation: nothing is found then.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// How many words and phrases are wanted.
    pub fn wanted_len(&self) -> usize {
        self.wanted.len()
    }

    /// Whether a payload of this JSON text can hold anything that is wanted. A quick look: true may be wrong, false is not.
    pub fn may_be_in(&self, payload: &[u8]) -> bool {
        self.wanted.iter().any(|term| term.may_be_in(payload))
    }

    /// How often a payload, the text of a compact JSON object, holds each of what is wanted, in the order of the query, and whether it
    /// is found.
    pub fn count(&self, payload: &str) -> Counts {
        let mut counts = Counts::default();
        self.count_into(&mut counts, payload);
        counts
    }

    /// The same, in the memory that `counts` has. Nothing is parsed but strings with escapes that can hold what is asked for.
    pub fn count_into(&self, counts: &mut Counts, payload: &str) {
        let Counts { each, found } = counts;
        each.clear();
        each.resize(self.wanted.len(), 0);
        let mut refused = false;
        let may_matter =
            |raw: &str| self.wanted.iter().chain(&self.unwanted).any(|term| term.may_be_in(raw.as_bytes()));
        strings(payload, may_matter, &mut |text| {
            for (term, count) in self.wanted.iter().zip(&mut *each) {
                *count += term.count(text);
            }
            refused = refused || self.unwanted.iter().any(|term| term.find(text, 0).is_some());
        });
        *found = !refused && !self.is_empty() && each.iter().all(|count| *count > 0);
    }

    /// The part of a payload that shows best why it was found: from the string that holds most of what is wanted.
    pub fn snippet(&self, payload: &Json) -> Snippet {
        let mut best: Option<(usize, &str)> = None;
        each_string(payload, &mut |text| {
            let held = self.wanted.iter().filter(|term| term.find(text, 0).is_some()).count();
            if held > best.map_or(0, |(held, _)| held) {
                best = Some((held, text));
            }
        });
        best.map_or_else(Snippet::default, |(_, text)| Snippet::of(text, &self.wanted))
    }
}

/// How often an event holds what is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// For each word or phrase of the query.
    pub each: Vec<u32>,
    /// Whether it holds all of them and nothing unwanted.
    pub found: bool,
}

/// Calls `see` with every string of a value, in order.
fn each_string<'a>(value: &'a Json, see: &mut impl FnMut(&'a str)) {
    match value {
        Json::String(text) => see(text),
        Json::Array(items) => items.iter().for_each(|item| each_string(item, see)),
        Json::Object(fields) => fields.values().for_each(|value| each_string(value, see)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// Calls `see` with every string of a compact object that is a value, in order; those with escapes have to be rewritten for that, so of
/// these only the ones that `may_matter` as they are written.
fn strings(payload: &str, may_matter: impl Fn(&str) -> bool, see: &mut impl FnMut(&str)) {
    let mut at = 0;
    while let Some(quote) = payload.get(at..).and_then(|rest| memchr::memchr(b'"', rest.as_bytes())) {
        let begin = at + quote + 1;
        let Some(end) = end_of_string(payload.as_bytes(), begin) else { return };
        at = end + 1;
        if payload.as_bytes().get(at) == Some(&b':') {
            continue; // The name of a field.
        }
        let text = &payload[begin..end];
        if memchr::memchr(b'\\', text.as_bytes()).is_none() {
            see(text);
        } else if may_matter(text)
            && let Ok(text) = serde_json::from_str::<String>(&payload[begin - 1..=end])
        {
            see(&text);
        }
    }
}

/// The words and phrases of a query as they were typed, each with whether it is wanted.
fn units(text: &str) -> Vec<(bool, &str)> {
    let mut units = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let bare = rest.strip_prefix('-');
        let (is_wanted, unit) = (bare.is_none(), bare.unwrap_or(rest));
        let (unit, after) = match unit.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => unit.split_at(unit.find(char::is_whitespace).unwrap_or(unit.len())),
        };
        units.push((is_wanted, unit));
        rest = after.trim_start();
    }
    units
}

#[cfg(test)]
mod tests;

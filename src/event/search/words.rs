//! One word or phrase, and where a text holds it.
//!
//! A text is not cut into words to be searched: places where the first word can begin are looked for, and the rest is compared from
//! there. Most texts hold no such place.

use std::sync::LazyLock;

use memchr::memmem;

/// A word, or words that stand right after each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// In small letters.
    words: Vec<String>,
    /// What a quick look goes by.
    probe: Option<Probe>,
    /// Where the term can begin.
    first: Option<Probe>,
}

/// A word of ASCII, and the letter in it that is rarest in texts, by which it is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Probe {
    word: Vec<u8>,
    rarest: usize,
}

impl Probe {
    /// None of a word that is not all ASCII.
    fn of(word: &str) -> Option<Probe> {
        /// Letters and digits of prose, code and logs, from the most frequent on.
        const FREQUENT: &[u8] = b"etaoinsrhldcu0123456789mfpgwybvkxjqz";
        let rank = |byte: u8| FREQUENT.iter().position(|frequent| *frequent == byte);
        let rarest = word.bytes().enumerate().max_by_key(|(_, byte)| rank(*byte))?;
        word.is_ascii().then(|| Probe { word: word.as_bytes().to_vec(), rarest: rarest.0 })
    }

    /// Where the word stands in `bytes` in either case, from `from` on; it may be a part of a longer one.
    fn places<'a>(&'a self, bytes: &'a [u8], from: usize) -> impl Iterator<Item = usize> + 'a {
        let (rarest, begin) = (self.word[self.rarest], (from + self.rarest).min(bytes.len()));
        memchr::memchr2_iter(rarest, rarest.to_ascii_uppercase(), &bytes[begin..])
            .map(move |at| begin + at - self.rarest)
            .filter(|start| {
                let found = bytes.get(*start..*start + self.word.len());
                found.is_some_and(|found| found.eq_ignore_ascii_case(&self.word))
            })
    }
}

/// Finds the beginning of a letter that is written as its number.
static ESCAPED: LazyLock<memmem::Finder<'_>> = LazyLock::new(|| memmem::Finder::new(b"\\u"));

impl Term {
    /// The words in `text`; none where there is none.
    pub(super) fn of(text: &str) -> Option<Term> {
        let words = words(text);
        let longest = words.iter().filter(|word| word.is_ascii()).max_by_key(|word| word.len());
        let (probe, first) = (longest.and_then(|word| Probe::of(word)), Probe::of(words.first()?));
        Some(Term { words, probe, first })
    }

    /// Whether JSON text can hold it. Letters of ASCII may be escaped there, though nothing of ours does so.
    pub(super) fn may_be_in(&self, json: &[u8]) -> bool {
        let Some(probe) = &self.probe else { return true };
        probe.places(json, 0).next().is_some() || ESCAPED.find(json).is_some()
    }

    /// How often `text` holds it.
    pub(super) fn count(&self, text: &str) -> u32 {
        let (mut count, mut from) = (0, 0);
        while let Some((start, _)) = self.find(text, from) {
            count += 1;
            from = start + text[start..].chars().next().map_or(1, char::len_utf8);
        }
        count
    }

    /// Where `text` holds it first, beginning at `from` or after: its first byte, and the one after its last.
    pub(super) fn find(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        let here =
            |at: usize| starts_word(text, at).then(|| Some((at, self.matches_at(text, at)?))).flatten();
        if let Some(first) = &self.first {
            return first.places(text.as_bytes(), from).find_map(here);
        }
        let first = self.words.first()?.chars().next()?;
        let begins = text[from..].char_indices().filter(|(_, c)| fold(*c) == first);
        begins.map(|(at, _)| from + at).find_map(here)
    }

    /// Where it ends if it stands at `at`, where a word begins.
    fn matches_at(&self, text: &str, at: usize) -> Option<usize> {
        let mut rest = text[at..].char_indices().peekable();
        for (n, word) in self.words.iter().enumerate() {
            while n > 0 && rest.next_if(|(_, c)| Class::of(*c) == Class::Between).is_some() {}
            let mut last = Class::Between;
            for wanted in word.chars() {
                let (_, c) = rest.next_if(|(_, c)| fold(*c) == wanted)?;
                last = Class::of(c);
            }
            if last == Class::Letter && rest.peek().is_some_and(|(_, c)| Class::of(*c) == Class::Letter) {
                return None;
            }
        }
        Some(rest.peek().map_or(text.len(), |(end, _)| at + end))
    }
}

/// Whether a word can begin at `at`: not inside of one.
fn starts_word(text: &str, at: usize) -> bool {
    let Some(c) = text[at..].chars().next() else { return false };
    let before = || text[..at].chars().next_back().map_or(Class::Between, Class::of);
    Class::of(c) != Class::Letter || before() != Class::Letter
}

/// What a character is to a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// No part of any.
    Between,
    /// One of several that make a word.
    Letter,
    /// A word by itself.
    Whole,
}

impl Class {
    pub(super) fn of(c: char) -> Class {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' => Class::Letter,
            c if c.is_ascii() || !c.is_alphanumeric() => Class::Between,
            '\u{0E00}'..='\u{0EFF}'
            | '\u{1000}'..='\u{109F}'
            | '\u{1100}'..='\u{11FF}'
            | '\u{1780}'..='\u{17FF}'
            | '\u{3005}'..='\u{31FF}'
            | '\u{3400}'..='\u{4DBF}'
            | '\u{4E00}'..='\u{9FFF}'
            | '\u{AC00}'..='\u{D7FF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{FF66}'..='\u{FFDC}'
            | '\u{20000}'..='\u{3FFFF}' => Class::Whole,
            _ => Class::Letter,
        }
    }
}

/// In small letters, one character for one. What is not ASCII stays so: the Kelvin sign is no `k`.
pub(super) fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let mut small = c.to_lowercase();
    match (small.next(), small.next()) {
        (Some(one), None) if !one.is_ascii() => one,
        _ => c,
    }
}

/// The words of a text in small letters.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = Class::Between;
    for c in text.chars() {
        let class = Class::of(c);
        match (class, words.last_mut()) {
            (Class::Between, _) => {}
            (Class::Letter, Some(word)) if before == Class::Letter => word.push(fold(c)),
            _ => words.push(fold(c).to_string()),
        }
        before = class;
    }
    words
}

//! The part of a text that is shown of a hit.

use super::words::Term;

/// Characters before the first hit,
const CHARS_BEFORE: usize = 40;
/// and in all.
const CHARS_MAX: usize = 160;

/// A part of a text on one line, and which characters of it were looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snippet {
    /// The text; runs of white space are one blank, and `…` stands where more was cut off.
    pub text: String,
    /// First character, and the one after the last, of each hit in `text`, counted in characters (Unicode scalar values).
    pub marks: Vec<(usize, usize)>,
}

impl Snippet {
    /// Around the first hit in `text`.
    pub(super) fn of(text: &str, terms: &[Term]) -> Snippet {
        let hits = hits(text, terms);
        let first = hits.first().map_or(0, |hit| hit.0);
        let start = text[..first].char_indices().rev().take(CHARS_BEFORE).last().map_or(first, |(at, _)| at);
        let mut out = Snippet::default();
        let mut chars = 0;
        if start > 0 {
            out.text.push('…');
            chars += 1;
        }
        let mut blank = true;
        let mut marked: Option<usize> = None;
        for (at, c) in text[start..].char_indices().map(|(at, c)| (start + at, c)) {
            let is_hit = hits.iter().any(|(from, to)| (*from..*to).contains(&at));
            match (is_hit, marked) {
                (true, None) => marked = Some(chars),
                (false, Some(from)) => {
                    out.marks.push((from, chars));
                    marked = None;
                }
                _ => {}
            }
            if chars >= CHARS_MAX {
                out.text.push('…');
                break;
            }
            if !c.is_whitespace() || !blank {
                out.text.push(if c.is_whitespace() { ' ' } else { c });
                chars += 1;
            }
            blank = c.is_whitespace();
        }
        out.marks.extend(marked.filter(|from| *from < chars).map(|from| (from, chars)));
        out
    }

    /// The text in parts, each with whether it was looked for.
    pub fn parts(&self) -> Vec<(bool, String)> {
        let mut parts: Vec<(bool, String)> = Vec::new();
        for (at, c) in self.text.chars().enumerate() {
            let is_hit = self.marks.iter().any(|(from, to)| (*from..*to).contains(&at));
            match parts.last_mut() {
                Some((same, part)) if *same == is_hit => part.push(c),
                _ => parts.push((is_hit, c.to_string())),
            }
        }
        parts
    }
}

/// The byte ranges of hits near the first one, in order.
fn hits(text: &str, terms: &[Term]) -> Vec<(usize, usize)> {
    let first = terms.iter().filter_map(|term| term.find(text, 0)).min();
    let Some((first, _)) = first else { return Vec::new() };
    // Four bytes a character at most: nothing behind is shown.
    let end = first.saturating_add(4 * CHARS_MAX);
    let mut hits = Vec::new();
    for term in terms {
        let mut from = first;
        while let Some(hit) = term.find(text, from).filter(|hit| hit.0 < end) {
            hits.push(hit);
            from = hit.1;
        }
    }
    hits.sort_unstable();
    hits
}

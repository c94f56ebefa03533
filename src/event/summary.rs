//! One line about an event, for people: the kind's name and what its template in the catalog picks from the payload.
//!
//! `{field}` is the field's value, a duration in readable units where the name ends in `_ms`; `{field:noun}` counts: `1 noun`,
//! `2 nouns`; `[..]` is left out where a field in it is absent. The line holds no control character, nothing that changes the direction of text, and at most 120 columns: wide
//! characters count as two, and what is longer ends in `…`.

use super::{Event, Json};

/// Columns that a summary takes at most.
pub(super) const SUMMARY_COLUMNS_MAX: usize = 120;

pub(super) fn of(event: &Event) -> String {
    let mut line = Line::new();
    line.push(event.kind.name());
    let text = match (&event.opaque, event.kind.known()) {
        (Some(_), _) => "written by a later version".to_owned(),
        (None, Some(kind)) => filled(kind.summary_template(), &event.payload.to_json()),
        (None, None) => event.payload.as_str().to_owned(),
    };
    if !text.trim().is_empty() {
        line.push(": ");
        line.push(&text);
    }
    line.finish()
}

/// The template with its fields put in.
fn filled(template: &str, payload: &Json) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('[') {
        let (before, after) = rest.split_at(open);
        fill(&mut text, before, payload);
        let (optional, after) = after[1..].split_once(']').unwrap_or((&after[1..], ""));
        let kept = text.len();
        if !fill(&mut text, optional, payload) {
            text.truncate(kept);
        }
        rest = after;
    }
    fill(&mut text, rest, payload);
    text
}

/// Appends a part of a template; false where a field in it is absent or empty.
fn fill(text: &mut String, part: &str, payload: &Json) -> bool {
    let mut complete = true;
    let mut rest = part;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let (name, noun) = name.split_once(':').map_or((name, None), |(name, noun)| (name, Some(noun)));
        let mut value = payload.get(name).map(|value| shown(name, value)).unwrap_or_default();
        complete &= !value.is_empty();
        if let (Some(noun), false) = (noun, value.is_empty()) {
            let plural = if value == "1" { "" } else { "s" };
            value = format!("{value} {noun}{plural}");
        }
        text.push_str(&value);
        rest = after;
    }
    text.push_str(rest);
    complete
}

fn shown(name: &str, value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::Bool(flag) => flag.to_string(),
        Json::Number(number) => match number.as_u64() {
            Some(millis) if name.ends_with("_ms") => duration(millis),
            _ => number.to_string(),
        },
        Json::String(text) => text.clone(),
        Json::Array(items) => items.iter().map(|item| shown(name, item)).collect::<Vec<_>>().join(" "),
        Json::Object(object) => {
            // What a tool's input is about stands under one of these names in every agent's tools.
            const TELLING: [&str; 9] =
                ["command", "file_path", "path", "pattern", "query", "url", "description", "prompt", "name"];
            let telling = TELLING.iter().find_map(|key| object.get(*key).and_then(Json::as_str));
            telling.map_or_else(|| value.to_string(), str::to_owned)
        }
    }
}

fn duration(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", millis / 60_000, millis % 60_000 / 1_000),
        _ => format!("{} h {} min", millis / 3_600_000, millis % 3_600_000 / 60_000),
    }
}

/// A line that grows up to its columns.
struct Line {
    text: String,
    columns: usize,
    /// Where the text ends if it must end in `…`.
    cut: usize,
    full: bool,
}

impl Line {
    fn new() -> Line {
        Line { text: String::new(), columns: 0, cut: 0, full: false }
    }

    fn push(&mut self, text: &str) {
        for c in text.chars() {
            let c = safe(c);
            if self.full || (c == ' ' && (self.text.is_empty() || self.text.ends_with(' '))) {
                continue;
            }
            let columns = self.columns + columns_of(c);
            if columns > SUMMARY_COLUMNS_MAX {
                self.full = true;
                return;
            }
            self.text.push(c);
            self.columns = columns;
            if columns < SUMMARY_COLUMNS_MAX {
                self.cut = self.text.len();
            }
        }
    }

    fn finish(mut self) -> String {
        if self.full {
            self.text.truncate(self.cut);
            self.text.truncate(self.text.trim_end().len());
            self.text.push('…');
        } else {
            self.text.truncate(self.text.trim_end().len());
        }
        self.text
    }
}

/// White space as a blank; what moves a cursor, hides or turns text as U+FFFD.
fn safe(c: char) -> char {
    match c {
        '\u{2028}' | '\u{2029}' => ' ',
        '\u{061C}'
        | '\u{200B}'..='\u{200F}'
        | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}'
        | '\u{FFF9}'..='\u{FFFB}'
        | '\u{E0000}'..='\u{E007F}' => '\u{FFFD}',
        c if c.is_whitespace() => ' ',
        c if c.is_control() => '\u{FFFD}',
        c => c,
    }
}

/// Columns that a character takes at most: two from the first wide block on.
fn columns_of(c: char) -> usize {
    if c < '\u{1100}' || ('\u{2000}'..'\u{2300}').contains(&c) || c == '\u{FFFD}' { 1 } else { 2 }
}

/// Every field that a template names must exist; checked by a test for all kinds.
#[cfg(test)]
pub(super) fn names_in(kind: super::Kind) -> Vec<&'static str> {
    kind.summary_template()
        .split('{')
        .skip(1)
        .filter_map(|part| part.split_once('}').map(|(name, _)| name))
        .map(|name| name.split_once(':').map_or(name, |(name, _)| name))
        .collect()
}

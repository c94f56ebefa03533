//! Text from events made safe for a terminal.
//!
//! Whatever an event holds was written by an agent, a tool or a web page. [`visible`] is the only function that makes such
//! text fit for a terminal: nothing that moves the cursor, changes colours, reorders letters or hides passes through; each
//! such character is shown as `\n`, `\t` or `\u{1b}`.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with every character that a terminal would obey, reorder by or hide replaced by a visible escape, on one line.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    text.chars().for_each(|c| push_visible(&mut out, c));
    Cow::Owned(out)
}

/// Appends `c`, or its visible escape: [`visible`] for one character.
pub fn push_visible(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if is_unsafe(c) => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c)); // writing to a String cannot fail
        }
        c => out.push(c),
    }
}

/// [`visible`], in at most so many characters; what had to be cut ends in `…`.
pub fn brief(text: &str, chars_max: usize) -> String {
    let shown = visible(text);
    match shown.char_indices().nth(chars_max) {
        None => shown.into_owned(),
        Some(_) => shown.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// JSON with the characters that [`is_unsafe`] as escapes: to a parser it is the same value. In compact JSON such characters stand in
/// strings only.
pub fn json_escaped(json: &str) -> Cow<'_, str> {
    if !json.chars().any(is_unsafe) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_unsafe(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}"); // writing to a String cannot fail
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A count with its thousands apart: `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 prompt`, `2 prompts`.
pub fn counted(n: u64, one: &str) -> String {
    format!("{} {one}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A duration as people read it, in at most two units: `850 ms`, `1.2 s`, `2 m 05 s`, `3 h 12 m`, `4 d 02 h`.
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds}.{} s", ms % 1_000 / 100),
        60..3_600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {:02} m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Hundredths of a percent as people read them: `33.33 %`.
pub fn percent(basis_points: u64) -> String {
    format!("{}.{:02} %", basis_points / 100, basis_points % 100)
}

/// Whether a terminal would obey this character, reorder by it or hide it.
pub fn is_unsafe(c: char) -> bool {
    c.is_control() // C0, DEL, C1
        || matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // bidi
            | '\u{2028}' | '\u{2029}'                                                            // line ends
            | '\u{00ad}' | '\u{034f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}') // nothing to see
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_passes() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{7}\u{8}\r\n\t\u{0}\u{7f}\u{85}b";
        let shown = visible(hostile);
        assert!(shown.chars().all(|c| !c.is_control()), "{shown}");
        assert_eq!(shown, "a\\u{1b}[2J\\u{9b}31m\\u{7}\\u{8}\\r\\n\\t\\u{0}\\u{7f}\\u{85}b");
    }

    #[test]
    fn nothing_that_reorders_or_hides_passes() {
        for c in [
            '\u{202e}',
            '\u{2066}',
            '\u{200b}',
            '\u{200d}',
            '\u{feff}',
            '\u{ad}',
            '\u{2028}',
            '\u{e0041}',
            '\u{3164}',
        ] {
            let text = format!("ab{c}cd");
            assert_eq!(visible(&text), format!("ab\\u{{{:x}}}cd", u32::from(c)));
        }
    }

    #[test]
    fn ordinary_text_passes_unchanged_and_uncopied() {
        let text = "schön 日本語 \\n naïve 🎉";
        assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
    }
}

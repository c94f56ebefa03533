//! Short, bounded text for the state: names, beginnings of prompts, signatures of failures.

use std::borrow::Cow;

use super::state::TEXT_CHARS_MAX;
use crate::projection::{Latest, Mark};

/// Ids longer than this are replaced by their hash: no agent makes such, and the state stays bounded.
const ID_BYTES_MAX: usize = 128;

/// The first [`TEXT_CHARS_MAX`] characters of `text`, white space runs made one space.
pub(in crate::projection) fn clip(text: &str) -> String {
    // Names, which is most of what comes here, are as they are.
    if text.len() <= TEXT_CHARS_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return text.to_owned();
    }
    let mut out = String::new();
    let (mut chars, mut gap) = (0, false);
    for c in text.trim().chars() {
        if c.is_whitespace() {
            gap = true;
            continue;
        }
        let needed = 1 + usize::from(gap);
        if chars + needed > TEXT_CHARS_MAX {
            break;
        }
        if gap {
            out.push(' ');
        }
        out.push(c);
        chars += needed;
        gap = false;
    }
    out
}

/// A tool's name as [`clip`] gives it. Those of the usual tools lie in the program, and a call keeps no copy.
pub(super) fn tool_name(name: &str) -> Cow<'static, str> {
    const USUAL: [&str; 12] = [
        "Bash",
        "Read",
        "Edit",
        "Write",
        "Glob",
        "Grep",
        "Task",
        "Agent",
        "TodoWrite",
        "WebFetch",
        "WebSearch",
        "MultiEdit",
    ];
    let usual = USUAL.iter().find(|usual| **usual == name);
    usual.map_or_else(|| Cow::Owned(clip(name)), |usual| Cow::Borrowed(*usual))
}

/// An id as a key of the state, to be kept.
pub(in crate::projection) fn id_key(id: &str) -> String {
    bounded_id(id).into_owned()
}

/// An id as a key of the state, to look for.
pub(in crate::projection) fn bounded_id(id: &str) -> Cow<'_, str> {
    if id.len() <= ID_BYTES_MAX { Cow::Borrowed(id) } else { Cow::Owned(bounded(id, ID_BYTES_MAX)) }
}

/// `text` if it has at most `bytes_max` bytes, else its hash.
pub(super) fn bounded(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        text.to_owned()
    } else {
        format!("blake3:{}", blake3::hash(text.as_bytes()).to_hex())
    }
}

/// Sets a register to clipped text, as [`Latest::set`] does; the same text as before costs nothing.
pub(in crate::projection) fn set_clipped(register: &mut Option<Latest<String>>, mark: Mark, text: &str) {
    match register {
        Some(held) if mark <= held.mark => {}
        Some(held) if held.value == text => held.mark = mark,
        register => *register = Some(Latest { mark, value: clip(text) }),
    }
}

/// Tells texts apart that are compared within one session, quickly: their length and their CRC-32.
pub(super) fn likeness(text: &str) -> u64 {
    (text.len() as u64) << 32 | u64::from(crc32fast::hash(text.as_bytes()))
}

/// The first 8 bytes of the BLAKE3 of `text`.
pub(in crate::projection) fn fingerprint(text: &str) -> u64 {
    let hash = blake3::hash(text.as_bytes());
    hash.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// What an error has in common with its like: its first line with numbers, long hexadecimal words and absolute
/// paths replaced, so that the same failure counts as the same on another day and in another directory.
pub(in crate::projection) fn signature(error: &str) -> String {
    let line = error.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no error text");
    // A signature is shorter than its line by a bounded factor only, so a bounded beginning is enough.
    let line: String = line.chars().take(TEXT_CHARS_MAX * 8).collect();
    let words = line.split_inclusive(|c: char| !(c.is_alphanumeric() || "/._-~".contains(c)));
    let mut out = String::with_capacity(line.len());
    for piece in words {
        let end = piece.trim_end_matches(|c: char| !(c.is_alphanumeric() || "/._-~".contains(c))).len();
        let (word, separator) = piece.split_at(end);
        push_word(&mut out, word);
        out.push_str(separator);
    }
    clip(&out)
}

fn push_word(out: &mut String, word: &str) {
    if word.len() > 1 && (word.starts_with('/') || word.starts_with("~/")) {
        out.push_str("<path>");
    } else if is_hex_id(word) {
        out.push('#');
    } else {
        let mut in_digits = false;
        for c in word.chars() {
            if c.is_ascii_digit() {
                if !in_digits {
                    out.push('#');
                }
                in_digits = true;
            } else {
                out.push(c);
                in_digits = false;
            }
        }
    }
}

/// Eight or more hexadecimal digits and dashes, with at least one digit: a hash, a UUID, an address.
fn is_hex_id(word: &str) -> bool {
    let word = word.strip_prefix("0x").unwrap_or(word);
    word.len() >= 8
        && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
        && word.bytes().any(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_failure_has_the_same_signature_elsewhere() {
        let here = "Error: ENOENT: no such file, open '/home/a/x.rs:12:4' (id 258c7280-ae70-4798)\nstack";
        let there =
            "\nError: ENOENT: no such file, open '/srv/build/7/y.rs:9:11' (id 0011aabb-ae70-4798)\nother";
        assert_eq!(signature(here), signature(there));
        assert_eq!(signature(here), "Error: ENOENT: no such file, open '<path>:#:#' (id #)");
        assert_ne!(signature("Exit code 1"), signature("Timed out after 1 s"));
        assert_eq!(signature("Exit code 127"), "Exit code #");
        assert_eq!(signature(""), "no error text");
    }

    #[test]
    fn clipped_text_is_whole_characters_within_the_bound() {
        assert_eq!(clip("  a \n\t b  "), "a b");
        assert_eq!(clip(&"é".repeat(500)).chars().count(), TEXT_CHARS_MAX);
        assert_eq!(clip(&"é ".repeat(500)).chars().count(), TEXT_CHARS_MAX - 1);
        assert!(signature(&"a1 ".repeat(5_000)).chars().count() <= TEXT_CHARS_MAX);
    }

    #[test]
    fn a_tool_has_the_name_that_it_was_given() {
        for name in
            ["Bash", "MultiEdit", "mcp__github__search", "Bashful", "two  words", "", &"x".repeat(500)]
        {
            assert_eq!(tool_name(name), clip(name));
        }
        assert!(matches!(tool_name("Read"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_monstrous_id_becomes_a_bounded_key() {
        assert_eq!(id_key("toolu_01"), "toolu_01");
        assert_eq!(id_key(&"x".repeat(70_000)).len(), "blake3:".len() + 64);
    }
}

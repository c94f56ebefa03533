//! Shortening a string that is far beyond the cap before it is scanned: most of it would be cut anyway.
//!
//! It must not let a secret through that a scan of the whole would have found. Whatever begins before the end and goes on
//! behind it might be told only by what is gone. So:
//!
//! - the end falls on a blank, and what has no blank in it goes whole: every token and every unquoted value;
//! - a run of more than [`RUN_BYTES_MAX`] bytes without a blank is cut inside. Every scanner judges a value by fewer of its first bytes
//!   than that and then takes all of it, so one that reaches the end is judged as if it were whole; only
//!   the password in a URL is told by the `@` behind it, so a URL whose host has not come yet is dropped from its `://` on;
//! - values with blanks in them (between quotes, to the end of a line, between the lines of a PEM key) reach to the end of the
//!   text where their own end is missing.

use super::tokens::{authority_end, floor};
use crate::event::bytes;

/// So many bytes beyond the cap are scanned: what is dropped for the sake of a token is dropped from these.
pub(super) const MARGIN_BYTES: usize = 8 * 1024;

/// So long may a run without a blank be that is dropped whole.
const RUN_BYTES_MAX: usize = 4 * 1024;

const _: () = assert!(RUN_BYTES_MAX < MARGIN_BYTES);

/// Where a text of more than `limit` bytes ends that no secret straddles.
pub(super) fn end(text: &str, limit: usize) -> usize {
    let limit = floor(text, limit);
    let bytes = &text.as_bytes()[..limit];
    let run = limit.saturating_sub(RUN_BYTES_MAX);
    if let Some(blank) = bytes[run..].iter().rposition(u8::is_ascii_whitespace) {
        return run + blank;
    }
    let end = floor(text, run);
    let bytes = &bytes[..end];
    match bytes::rfind_text(bytes, b"://") {
        Some(scheme) if authority_end(bytes, scheme + 3) == end => scheme + 3,
        _ => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_falls_on_a_blank_before_the_limit() {
        assert_eq!(end("one two three", 9), 7);
        assert_eq!(end("größe größe größe", 16), 15);
        assert_eq!(end("one\ntwo", 6), 3);
    }

    #[test]
    fn a_long_run_is_cut_inside_but_never_in_a_url_before_its_host() {
        let long = "ab".repeat(20_000);
        assert_eq!(end(&long, 30_000), 30_000 - RUN_BYTES_MAX);
        let password = format!("https://user:{long}@host/");
        assert_eq!(end(&password, 30_000), "https://".len());
        let path = format!("https://host/{long}");
        assert_eq!(end(&path, 30_000), 30_000 - RUN_BYTES_MAX);
        let wide = "漢".repeat(20_000);
        assert!(wide.is_char_boundary(end(&wide, 30_001)));
    }
}

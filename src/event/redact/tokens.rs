//! Secrets that show by themselves: tokens with a prefix of their issuer, keys in PEM, tokens after `Bearer`, passwords in URLs.

use super::shape::{blanks_from, from_base64, is_mixed, starts_word};
use super::starts::Starts;
use super::{Spans, work};
use crate::event::bytes;

/// Which bytes a token has after its prefix.
#[derive(Clone, Copy)]
enum Set {
    /// Letters and digits.
    Alnum,
    /// Capital letters and digits.
    Upper,
    /// Hexadecimal digits in small letters.
    Hex,
    /// Letters, digits, `_` and `-`.
    Url,
    /// The same and `.`.
    Dotted,
    /// Path of a URL.
    Path,
}

impl Set {
    const fn has(self, byte: u8) -> bool {
        match self {
            Set::Alnum => byte.is_ascii_alphanumeric(),
            Set::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Set::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Set::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Set::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
            Set::Path => {
                byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/' | b'.' | b'%' | b'@')
            }
        }
    }
}

/// How sure a prefix is.
#[derive(Clone, Copy, PartialEq)]
enum Sure {
    /// Found nowhere else: secret wherever it stands.
    Yes,
    /// Taken at the start of a word.
    Word,
    /// Taken at the start of a word if the rest mixes digits with letters as a random text does.
    Mixed,
    /// Taken at the start of a word if it has exactly the least length.
    Exact,
}

/// Prefix, bytes that follow it at least, their set, how sure it is. Sorted by what is longer first among equal beginnings.
const PREFIXES: &[(&str, usize, Set, Sure)] = &[
    ("sk-ant-", 8, Set::Url, Sure::Yes),
    ("sk-", 16, Set::Url, Sure::Mixed),
    ("sk_live_", 8, Set::Alnum, Sure::Yes),
    ("sk_test_", 8, Set::Alnum, Sure::Yes),
    ("sbp_", 32, Set::Alnum, Sure::Word),
    ("shpat_", 24, Set::Alnum, Sure::Yes),
    ("shpss_", 24, Set::Alnum, Sure::Yes),
    ("shpca_", 24, Set::Alnum, Sure::Yes),
    ("shppa_", 24, Set::Alnum, Sure::Yes),
    ("sq0atp-", 16, Set::Url, Sure::Yes),
    ("sq0csp-", 16, Set::Url, Sure::Yes),
    ("ghp_", 16, Set::Alnum, Sure::Yes),
    ("gho_", 16, Set::Alnum, Sure::Yes),
    ("ghu_", 16, Set::Alnum, Sure::Yes),
    ("ghs_", 16, Set::Alnum, Sure::Yes),
    ("ghr_", 16, Set::Alnum, Sure::Yes),
    ("github_pat_", 16, Set::Url, Sure::Yes),
    ("glpat-", 12, Set::Dotted, Sure::Yes),
    ("gldt-", 12, Set::Url, Sure::Word),
    ("glrt-", 12, Set::Url, Sure::Word),
    ("glptt-", 12, Set::Url, Sure::Yes),
    ("glcbt-", 12, Set::Url, Sure::Yes),
    ("gsk_", 32, Set::Alnum, Sure::Word),
    ("xoxb-", 8, Set::Url, Sure::Yes),
    ("xoxp-", 8, Set::Url, Sure::Yes),
    ("xoxa-", 8, Set::Url, Sure::Yes),
    ("xoxr-", 8, Set::Url, Sure::Yes),
    ("xoxs-", 8, Set::Url, Sure::Yes),
    ("xoxe-", 8, Set::Url, Sure::Yes),
    ("xoxe.", 8, Set::Dotted, Sure::Yes),
    ("xapp-", 8, Set::Url, Sure::Yes),
    ("xai-", 40, Set::Alnum, Sure::Word),
    ("AKIA", 16, Set::Upper, Sure::Exact),
    ("ASIA", 16, Set::Upper, Sure::Exact),
    ("ABIA", 16, Set::Upper, Sure::Exact),
    ("ACCA", 16, Set::Upper, Sure::Exact),
    ("AIza", 35, Set::Url, Sure::Exact),
    ("AGE-SECRET-KEY-1", 16, Set::Upper, Sure::Yes),
    ("ATATT3", 24, Set::Url, Sure::Word),
    ("GOCSPX-", 16, Set::Url, Sure::Yes),
    ("NRAK-", 20, Set::Alnum, Sure::Word),
    ("PMAK-", 20, Set::Url, Sure::Word),
    ("SG.", 24, Set::Dotted, Sure::Mixed),
    ("SK", 32, Set::Hex, Sure::Exact),
    ("ya29.", 10, Set::Dotted, Sure::Yes),
    ("npm_", 24, Set::Alnum, Sure::Mixed),
    ("nvapi-", 32, Set::Url, Sure::Word),
    ("pypi-", 24, Set::Url, Sure::Mixed),
    ("pplx-", 32, Set::Alnum, Sure::Word),
    ("pul-", 40, Set::Hex, Sure::Word),
    ("rk_live_", 8, Set::Alnum, Sure::Yes),
    ("rk_test_", 8, Set::Alnum, Sure::Yes),
    ("rubygems_", 32, Set::Hex, Sure::Word),
    ("r8_", 36, Set::Alnum, Sure::Word),
    ("whsec_", 16, Set::Path, Sure::Yes),
    ("hf_", 30, Set::Alnum, Sure::Word),
    ("hvs.", 20, Set::Url, Sure::Word),
    ("hvb.", 20, Set::Url, Sure::Word),
    ("hvr.", 20, Set::Url, Sure::Word),
    ("hooks.slack.com/services/", 8, Set::Path, Sure::Yes),
    ("hooks.slack.com/workflows/", 8, Set::Path, Sure::Yes),
    ("discord.com/api/webhooks/", 8, Set::Path, Sure::Yes),
    ("discordapp.com/api/webhooks/", 8, Set::Path, Sure::Yes),
    ("webhook.office.com/webhookb2/", 8, Set::Path, Sure::Yes),
    ("api.telegram.org/bot", 8, Set::Path, Sure::Yes),
    ("dop_v1_", 32, Set::Hex, Sure::Yes),
    ("doo_v1_", 32, Set::Hex, Sure::Yes),
    ("dor_v1_", 32, Set::Hex, Sure::Yes),
    ("dckr_pat_", 16, Set::Url, Sure::Yes),
    ("dapi", 32, Set::Hex, Sure::Exact),
    ("figd_", 20, Set::Url, Sure::Word),
    ("key-", 32, Set::Hex, Sure::Exact),
    ("lin_api_", 24, Set::Alnum, Sure::Yes),
    ("tskey-", 16, Set::Url, Sure::Word),
    ("eyJ", 8, Set::Dotted, Sure::Word),
];

/// So much of a token is looked at to judge it.
const JUDGED_BYTES_MAX: usize = 128;

/// The same for a JWT, whose header comes first.
const JWT_JUDGED_BYTES_MAX: usize = 1_024;

const STARTS: Starts = {
    let mut starts = Starts::new();
    let mut at = 0;
    while at < PREFIXES.len() {
        starts = starts.with(PREFIXES[at].0.as_bytes(), false);
        at += 1;
    }
    starts
};

/// Finds tokens by their prefixes, in one pass.
pub(super) fn find_prefixed(text: &str, spans: &mut Spans) {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(at) = STARTS.next(bytes, from) {
        from = at + 1;
        if let Some((start, end)) = prefixed_at(bytes, at) {
            spans.add(start, end);
            from = end;
        }
    }
}

fn prefixed_at(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = &bytes[at..];
    let begins = |prefix: &[u8]| prefix[0] == rest[0] && rest.starts_with(prefix);
    PREFIXES.iter().filter(|(prefix, ..)| begins(prefix.as_bytes())).find_map(
        |&(prefix, least, set, sure)| {
            let tail = &rest[prefix.len()..];
            // Judged by its beginning, so that many false beginnings in one long word cost no more than their number.
            let most = if prefix == "eyJ" { JWT_JUDGED_BYTES_MAX } else { JUDGED_BYTES_MAX };
            let judged = tail.iter().take(most).take_while(|byte| set.has(**byte)).count();
            work::looked_at(judged);
            let token = &tail[..judged];
            let secret = judged >= least
                && match sure {
                    Sure::Yes => true,
                    Sure::Word if prefix == "eyJ" => starts_word(bytes, at) && is_jwt(token),
                    Sure::Word => starts_word(bytes, at),
                    Sure::Mixed => starts_word(bytes, at) && is_mixed(token),
                    Sure::Exact => {
                        judged == least
                            && starts_word(bytes, at)
                            && !tail.get(judged).is_some_and(u8::is_ascii_alphanumeric)
                    }
                };
            // Of a URL that is a secret, the host may stay.
            let start = if matches!(set, Set::Path) && prefix.contains('/') { at + prefix.len() } else { at };
            secret.then(|| {
                let length = tail.iter().position(|byte| !set.has(*byte)).unwrap_or(tail.len());
                work::looked_at(length);
                (start, at + prefix.len() + length)
            })
        },
    )
}

/// A header, a body that is an object too or long, and perhaps a signature.
fn is_jwt(token: &[u8]) -> bool {
    let mut parts = token.split(|byte| *byte == b'.');
    parts.next().is_some_and(|header| header.len() >= 8) && parts.next().is_some_and(|body| body.len() >= 8)
}

/// Finds private keys in PEM, from the first dash to the last; one without an end takes the rest of the text.
pub(super) fn find_private_keys(text: &str, spans: &mut Spans) {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(found) = bytes::find_text(&bytes[from..], b"-----BEGIN ") {
        let start = from + found;
        let after = start + b"-----BEGIN ".len();
        let label = &bytes[after..bytes.len().min(after + 64)];
        let Some(label_end) = bytes::find_text(label, b"-----") else {
            from = after;
            continue;
        };
        from = after + label_end;
        if bytes::find_text(&label[..label_end], b"PRIVATE KEY").is_none() {
            continue;
        }
        let end = bytes::find_text(&bytes[from..], b"-----END ").map_or(bytes.len(), |end| {
            let tail = from + end + b"-----END ".len();
            bytes::find_text(&bytes[tail..bytes.len().min(tail + 72)], b"-----")
                .map_or(tail, |dashes| tail + dashes + 5)
        });
        work::looked_at(end - start);
        spans.add(start, floor(text, end));
        from = end;
    }
}

/// How PEM begins in base64.
const ENCODED_PEM: &[u8] = b"LS0tLS1CRUdJTi";

/// Finds private keys in PEM that stand in base64, as in a `kubeconfig`; one that is wrapped is taken with all its lines.
pub(super) fn find_encoded_keys(text: &str, spans: &mut Spans) {
    /// Holds the whole label.
    const JUDGED: usize = 72;
    /// A line that is as long as this goes on in the next one.
    const WRAPPED_MIN: usize = 60;
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(found) = bytes::find_text(&bytes[from..], ENCODED_PEM) {
        let start = from + found;
        from = start + ENCODED_PEM.len();
        let begin = from_base64(&bytes[start..bytes.len().min(start + JUDGED)]);
        if bytes::find_text(&begin, b"PRIVATE KEY").is_none() {
            continue;
        }
        let mut line = start;
        loop {
            let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
            let length = bytes[line..].iter().take_while(|byte| is_base64(byte)).count();
            from = line + length;
            let blanks = blanks_from(bytes, from);
            if length < WRAPPED_MIN || blanks == 0 {
                break;
            }
            line = from + blanks;
        }
        work::looked_at(from - start);
        spans.add(start, from);
    }
}

/// The last place between two characters that is not behind this one.
pub(super) fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Finds what follows `Bearer` and `Basic`.
pub(super) fn find_schemes(text: &str, spans: &mut Spans) {
    let bytes = text.as_bytes();
    for at in bytes::each2(b'b', b'B', bytes) {
        let rest = &bytes[at..];
        let (scheme, basic) = match () {
            () if rest.len() > 7 && rest[..6].eq_ignore_ascii_case(b"bearer") => (6, false),
            () if rest.len() > 6 && rest[..5].eq_ignore_ascii_case(b"basic") => (5, true),
            () => continue,
        };
        if !starts_word(bytes, at) || !matches!(rest[scheme], b' ' | b'\t') {
            continue;
        }
        let start =
            at + scheme + rest[scheme..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let length = bytes[start..].iter().take_while(|byte| is_token68(**byte)).count();
        work::looked_at(length + start - at);
        let token = &bytes[start..start + length];
        let digits = token.iter().any(u8::is_ascii_digit);
        let secret = if basic {
            length >= 8 && (token.ends_with(b"=") || (digits && is_mixed(token)))
        } else {
            (length >= 8 && digits) || length >= 24
        };
        if secret {
            spans.add(start, start + length);
        }
    }
}

const fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

/// Finds what is told by a colon: passwords in URLs, and bot tokens of the form `digits:35 characters`.
pub(super) fn find_at_colons(text: &str, spans: &mut Spans) {
    let bytes = text.as_bytes();
    for colon in bytes::each(b':', bytes) {
        if bytes[colon + 1..].starts_with(b"//") {
            url_password(bytes, colon + 3, spans);
        } else {
            bot_token(bytes, colon, spans);
        }
    }
}

/// Finds bot tokens of Discord, which have no prefix: an id in base64, six characters, and at least 27 more, with dots between.
pub(super) fn find_dotted(text: &str, spans: &mut Spans) {
    const ID_BYTES: std::ops::RangeInclusive<usize> = 23..=28;
    const TIME_BYTES: usize = 6;
    const KEY_BYTES_MIN: usize = 27;
    let bytes = text.as_bytes();
    for dot in bytes::each(b'.', bytes) {
        let second = dot + 1 + TIME_BYTES;
        if bytes.get(second) != Some(&b'.') || !bytes[dot + 1..second].iter().all(|byte| Set::Url.has(*byte))
        {
            continue;
        }
        let before =
            bytes[..dot].iter().rev().take(*ID_BYTES.end()).take_while(|byte| Set::Url.has(**byte)).count();
        work::looked_at(before);
        // The id is a number of 17 to 20 digits, so its base64 begins with one of these.
        let begins = |at: &usize| matches!(bytes[*at], b'M' | b'N' | b'O') && starts_word(bytes, *at);
        let mut starts = ID_BYTES.filter(|length| *length <= before).map(|length| dot - length);
        let Some(start) = starts.find(begins).filter(|at| is_mixed(&bytes[*at..dot])) else { continue };
        let length = bytes[second + 1..].iter().take_while(|byte| Set::Url.has(**byte)).count();
        work::looked_at(length);
        if length >= KEY_BYTES_MIN {
            spans.add(start, second + 1 + length);
        }
    }
}

/// What stands between `:` and `@` before the host, and a token that stands there alone.
fn url_password(bytes: &[u8], start: usize, spans: &mut Spans) {
    let end = authority_end(bytes, start);
    work::looked_at(end - start);
    let authority = &bytes[start..end];
    let Some(at) = bytes::rfind(b'@', authority) else { return };
    let user_info = &authority[..at];
    match bytes::find(b':', user_info) {
        Some(colon) if colon + 1 < at => spans.add(start + colon + 1, start + at),
        None if at >= 16 && is_mixed(user_info) => spans.add(start, start + at),
        _ => {}
    }
}

/// Where the part of a URL ends that begins behind its `://`.
pub(super) fn authority_end(bytes: &[u8], start: usize) -> usize {
    let is_end = |byte: &u8| {
        byte.is_ascii_whitespace()
            || matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\')
    };
    bytes[start..].iter().position(is_end).map_or(bytes.len(), |length| start + length)
}

fn bot_token(bytes: &[u8], colon: usize, spans: &mut Spans) {
    let digits = bytes[..colon].iter().rev().take(11).take_while(|byte| byte.is_ascii_digit()).count();
    if !(8..=10).contains(&digits) {
        return;
    }
    let length = bytes[colon + 1..].iter().take(36).take_while(|byte| Set::Url.has(**byte)).count();
    if length == 35 && is_mixed(&bytes[colon + 1..colon + 36]) {
        spans.add(colon - digits, colon + 36);
    }
}

//! What random text looks like.

/// Whether a word begins at this place: before it stands nothing, no letter and no digit, or an escape such as the `\n` of JSON inside a text.
pub(super) fn starts_word(bytes: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else { return true };
    if !bytes[before].is_ascii_alphanumeric() {
        return true;
    }
    let escape =
        matches!(bytes[before], b'n' | b't' | b'r' | b'b' | b'f') && before > 0 && bytes[before - 1] == b'\\';
    escape || (at >= 6 && bytes[at - 6] == b'\\' && bytes[at - 5] == b'u')
}

/// Whether a text has digits and letters mixed as a random one has: not one number at the end of a word.
pub(super) fn is_mixed(token: &[u8]) -> bool {
    let digits = token.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = token.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    let uppers = token.iter().filter(|byte| byte.is_ascii_uppercase()).count();
    digits > 0
        && letters > 0
        && (digits * 12 >= token.len() || (uppers > 0 && uppers < letters))
        && entropy_millibits(token) >= 2_500
}

/// Shannon's entropy of the bytes, in thousandths of a bit each.
pub(super) fn entropy_millibits(token: &[u8]) -> u32 {
    let mut counts = [0_u32; 256];
    for byte in token {
        counts[usize::from(*byte)] += 1;
    }
    #[expect(clippy::cast_precision_loss, reason = "a token is far shorter than 2^52 bytes")]
    let total = token.len() as f64;
    let bits: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / total;
            -share * share.log2()
        })
        .sum();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 8,000")]
    let millibits = (bits * 1_000.0) as u32;
    millibits
}

/// 40 and 64 hexadecimal digits are names of commits and contents.
pub(super) fn is_digest(token: &[u8]) -> bool {
    matches!(token.len(), 40 | 64) && token.iter().all(u8::is_ascii_hexdigit)
}

/// A UUID in its hyphenated form.
pub(super) fn is_uuid(token: &[u8]) -> bool {
    token.len() == 36
        && token.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// How many bytes of blanks begin here, line breaks and those that stand as escapes in JSON among them; not many are looked at.
pub(super) fn blanks_from(bytes: &[u8], start: usize) -> usize {
    const LOOKED_AT_MAX: usize = 64;
    let mut at = start;
    while at < bytes.len().min(start + LOOKED_AT_MAX) {
        let slashes = bytes[at..].iter().take(8).take_while(|byte| **byte == b'\\').count();
        at += match bytes.get(at + slashes) {
            Some(b'n' | b'r' | b't') if slashes > 0 => slashes + 1,
            Some(byte) if slashes == 0 && byte.is_ascii_whitespace() => 1,
            _ => break,
        };
    }
    at - start
}

/// The same, for those that end before this place.
pub(super) fn blanks_before(bytes: &[u8], end: usize) -> usize {
    const LOOKED_AT_MAX: usize = 64;
    let mut at = end;
    while at > end.saturating_sub(LOOKED_AT_MAX) {
        at -= match bytes[at - 1] {
            byte if byte.is_ascii_whitespace() => 1,
            b'n' | b'r' | b't' => {
                let slashes = bytes[..at - 1].iter().rev().take(8).take_while(|byte| **byte == b'\\').count();
                if slashes == 0 {
                    break;
                }
                slashes + 1
            }
            _ => break,
        };
    }
    end - at
}

/// What base64 stands for, up to the first byte that is none of it.
pub(super) fn from_base64(text: &[u8]) -> Vec<u8> {
    let six = |byte: &u8| match *byte {
        byte @ b'A'..=b'Z' => Some(byte - b'A'),
        byte @ b'a'..=b'z' => Some(byte - b'a' + 26),
        byte @ b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    let sixes: Vec<u8> = text.iter().map_while(six).collect();
    let three = |four: &[u8]| {
        let bits = four.iter().fold(0_u32, |bits, six| bits << 6 | u32::from(*six)) << (6 * (4 - four.len()));
        let [_, one, two, three] = bits.to_be_bytes();
        [one, two, three].into_iter().take((four.len() * 6) / 8)
    };
    sixes.chunks(4).flat_map(three).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_counted_from_both_ends() {
        for (text, blanks) in [("", 0), ("a", 0), (" \n\ta", 3), ("\\n  a", 4), ("\\\\n\\ta", 5), ("\\x", 0)]
        {
            assert_eq!(blanks_from(text.as_bytes(), 0), blanks, "{text:?}");
        }
        for (text, blanks) in [("", 0), ("a", 0), ("n", 0), ("a \n", 2), ("a\\n  ", 4), ("a\\\\n\\t", 5)] {
            assert_eq!(blanks_before(text.as_bytes(), text.len()), blanks, "{text:?}");
        }
    }

    #[test]
    fn base64_is_read_as_far_as_it_goes() {
        for (text, bytes) in [
            ("Ym9iOmh1bnRlcjI=", &b"bob:hunter2"[..]),
            ("Ym9i", b"bob"),
            ("Ym8=", b"bo"),
            ("Yg==", b"b"),
            ("", b""),
            ("!", b""),
            ("+/-_", b"\xfb\xff\xbf"),
        ] {
            assert_eq!(from_base64(text.as_bytes()), bytes, "{text}");
        }
    }
}

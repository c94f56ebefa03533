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

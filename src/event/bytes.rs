//! Finding bytes in texts of which most are short.
//!
//! `memchr` asks the processor what it can do, once in a process, and a virtual machine takes some hundred microseconds to answer: several
//! times what there is to search in the few kilobytes of a hook, which is a process of its own. So texts of up to [`SHORT_BYTES_MAX`] are
//! searched with what every x86-64 has, SSE2, which need not be asked for; longer ones with the best there is. Of other processors nothing
//! is asked anyway, and there everything goes to `memchr`.

/// Searching so much with SSE2 alone costs less than a microsecond more than with the best there is.
const SHORT_BYTES_MAX: usize = 16 << 10;

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
macro_rules! search {
    ($bytes:expr, $searcher:ident($($byte:expr),+), $method:ident, $dispatched:path) => {{
        let short = $bytes.len() <= SHORT_BYTES_MAX;
        match memchr::arch::x86_64::sse2::memchr::$searcher::new($($byte),+) {
            Some(searcher) if short => searcher.$method($bytes),
            _ => $dispatched($($byte),+, $bytes),
        }
    }};
}

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
macro_rules! search {
    ($bytes:expr, $searcher:ident($($byte:expr),+), $method:ident, $dispatched:path) => {
        $dispatched($($byte),+, $bytes)
    };
}

/// Where the byte stands first.
pub(crate) fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    search!(bytes, One(byte), find, memchr::memchr)
}

/// Where the byte stands last.
pub(crate) fn rfind(byte: u8, bytes: &[u8]) -> Option<usize> {
    search!(bytes, One(byte), rfind, memchr::memrchr)
}

/// Where one of two bytes stands first.
pub(crate) fn find2(one: u8, other: u8, bytes: &[u8]) -> Option<usize> {
    search!(bytes, Two(one, other), find, memchr::memchr2)
}

/// Where one of three bytes stands first.
pub(crate) fn find3(one: u8, other: u8, third: u8, bytes: &[u8]) -> Option<usize> {
    search!(bytes, Three(one, other, third), find, memchr::memchr3)
}

/// All places of the byte, in their order.
pub(crate) fn each(byte: u8, bytes: &[u8]) -> impl Iterator<Item = usize> {
    places(bytes, move |rest| find(byte, rest))
}

/// All places of either byte, in their order.
pub(crate) fn each2(one: u8, other: u8, bytes: &[u8]) -> impl Iterator<Item = usize> {
    places(bytes, move |rest| find2(one, other, rest))
}

fn places(bytes: &[u8], find: impl Fn(&[u8]) -> Option<usize>) -> impl Iterator<Item = usize> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + find(bytes.get(from..)?)?;
        from = at + 1;
        Some(at)
    })
}

/// Where the text stands first.
pub(crate) fn find_text(bytes: &[u8], text: &[u8]) -> Option<usize> {
    if bytes.len() > SHORT_BYTES_MAX {
        return memchr::memmem::find(bytes, text);
    }
    let Some((first, rest)) = text.split_first() else { return Some(0) };
    each(*first, bytes).find(|at| bytes[at + 1..].starts_with(rest))
}

/// Where the text stands last.
pub(crate) fn rfind_text(bytes: &[u8], text: &[u8]) -> Option<usize> {
    if bytes.len() > SHORT_BYTES_MAX {
        return memchr::memmem::rfind(bytes, text);
    }
    let Some((last, before)) = text.split_last() else { return Some(bytes.len()) };
    let mut end = bytes.len();
    while let Some(at) = rfind(*last, &bytes[..end]) {
        if bytes[..at].ends_with(before) {
            return Some(at - before.len());
        }
        end = at;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of_few(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'-'), any::<u8>()], length)
    }

    /// On both sides of the bound.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        (of_few(0..80), prop_oneof![4 => Just(0), 1 => Just(SHORT_BYTES_MAX)]).prop_map(|(few, filling)| {
            let mut bytes = vec![b'.'; filling];
            bytes.extend_from_slice(&few);
            bytes.extend(std::iter::repeat_n(b'.', filling / 100));
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_found_is_what_looking_at_each_byte_finds(bytes in bytes(), text in of_few(0..4), a: u8, b: u8) {
            for (a, b, c) in [(a, b, b'a'), (b'a', b'b', b'-'), (b'-', a, b)] {
                let is = |at: &usize| bytes[*at] == a;
                let is_either = |at: &usize| [a, b].contains(&bytes[*at]);
                let all = 0..bytes.len();
                prop_assert_eq!(find(a, &bytes), all.clone().find(is));
                prop_assert_eq!(rfind(a, &bytes), all.clone().rev().find(is));
                prop_assert_eq!(find2(a, b, &bytes), all.clone().find(is_either));
                prop_assert_eq!(find3(a, b, c, &bytes), all.clone().find(|at| is_either(at) || bytes[*at] == c));
                prop_assert_eq!(each(a, &bytes).collect::<Vec<_>>(), all.clone().filter(is).collect::<Vec<_>>());
                prop_assert_eq!(each2(a, b, &bytes).collect::<Vec<_>>(), all.filter(is_either).collect::<Vec<_>>());
            }
            let stands = |at: &usize| bytes[*at..].starts_with(&text);
            prop_assert_eq!(find_text(&bytes, &text), (0..=bytes.len()).find(stands));
            prop_assert_eq!(rfind_text(&bytes, &text), (0..=bytes.len()).rev().find(stands));
        }
    }
}

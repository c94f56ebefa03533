use super::strings::{BLOCK, marks_from};
use super::*;
use proptest::prelude::*;

#[test]
fn lone_surrogates_and_bad_utf8_and_a_byte_order_mark_are_mended() {
    let value: Json =
        read(br#"{"a":"\ud83d","b":"\ude00x","c":"\ud83d\ude00","d":"\\ud83d","e":"\\\ud83d\u0041"}"#)
            .unwrap();
    assert_eq!(value["a"], "\u{fffd}");
    assert_eq!(value["b"], "\u{fffd}x");
    assert_eq!(value["c"], "\u{1f600}");
    assert_eq!(value["d"], "\\ud83d");
    assert_eq!(value["e"], "\\\u{fffd}A");
    assert_eq!(read::<Json>(b"{\"a\":\"\xff\"}").unwrap()["a"], "\u{fffd}");
    assert_eq!(read::<Json>("\u{feff}{\"a\":1}".as_bytes()).unwrap()["a"], 1);
}

#[test]
fn what_is_no_json_stays_none_and_what_is_sound_is_not_mended() {
    for bad in ["{\"a\":", "{\"a\":\"\\\u{e9}\\ud83d\"}", "\u{feff}", "\u{feff}\u{feff}{}", ""] {
        assert!(read::<Json>(bad.as_bytes()).is_err(), "{bad:?}");
    }
    for sound in ["{\"a\":\"\u{e9}\\ud83d\\ude00\\n\"}", "{\"a\":", ""] {
        assert_eq!(mended(sound.as_bytes()), None, "{sound:?}");
    }
}

#[test]
fn depth_64_is_taken_and_65_refused() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(parse(nested(64).as_bytes()).is_ok());
    assert_eq!(parse(nested(65).as_bytes()), Err(JsonFault::TooDeep));
    let object = |levels: usize| format!("{{\"a\":{}}}", nested(levels));
    assert_eq!(check_compact_object(&object(63)), Ok(()));
    assert_eq!(check_compact_object(&object(64)), Err(JsonFault::TooDeep));
    assert!(
        parse(br#"{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}"#).is_ok()
    );
}

#[test]
fn what_is_not_compact_json_is_refused() {
    for bad in [
        "",
        "{",
        "[]",
        "{} ",
        "{ }",
        "{\"a\" :1}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":-}",
        "{\"a\":1e}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":tru}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":[1,]}",
        "{\"a\":[1}}",
        "{\"a\":1}}",
        "{1:2}",
        "{\"a\"}",
    ] {
        assert!(check_compact_object(bad).is_err(), "{bad:?} was taken");
    }
}

proptest! {
    #[test]
    fn the_compact_check_agrees_with_the_parser(text in r#"\{("[ab\\u0d8]{0,6}":([-0-9.eE]{1,4}|\[\]|"[a\\n]{0,3}"|true|null)?,?){0,3}\}?"#) {
        let parsed = serde_json::from_str::<Json>(&text);
        prop_assert_eq!(check_compact_object(&text).is_ok(), parsed.is_ok(), "{}", text);
    }

    #[test]
    fn any_text_is_checked_without_panic(text in ".*") {
        let _ = check_compact_object(&text);
        let _ = repair_surrogates(&text);
        // Mending is done at once: what comes of it wants none.
        prop_assert_eq!(mended(text.as_bytes()).and_then(|text| mended(text.trim_start_matches('\u{feff}').as_bytes())), None);
    }

    /// Strings of any length, so that their ends and their escapes lie everywhere in what is looked at at once.
    #[test]
    fn long_strings_are_checked_as_the_parser_reads_them(
        texts in prop::collection::vec("[ -~\u{0}-\u{1f}é€😀\"\\\\]{0,150}", 1..4), hit: prop::sample::Index, byte in 0x21_u8..0x7f,
    ) {
        let fields = texts.iter().enumerate().map(|(n, text)| (n.to_string(), Json::from(text.as_str())));
        let text = Json::Object(fields.collect()).to_string();
        prop_assert_eq!(check_compact_object(&text), Ok(()));
        let mut places = Vec::new();
        prop_assert_eq!(check_and_note(&text, &mut places), Ok(()));
        let values: Vec<String> =
            places.iter().map(|place| serde_json::from_str(&text[place.value()]).unwrap()).collect();
        prop_assert_eq!(values, texts);
        let mut damaged = text.into_bytes();
        let at = hit.index(damaged.len());
        if damaged[at].is_ascii() {
            damaged[at] = byte;
        }
        let damaged = String::from_utf8(damaged).unwrap();
        let parsed = serde_json::from_str::<Json>(&damaged).is_ok_and(|value| value.is_object());
        prop_assert_eq!(check_compact_object(&damaged).is_ok(), parsed, "{}", damaged);
    }

    /// Sixteen bytes at a time, whatever stands where.
    #[test]
    fn strings_are_scanned_as_byte_by_byte(text in "[ -~\u{0}-\u{1f}\u{7f}-\u{a1}é€]{0,40}", at in 0_usize..40) {
        let bytes = &text.as_bytes()[at.min(text.len())..];
        let plain = |byte: &u8| *byte >= 0x20 && !matches!(byte, b'"' | b'\\');
        prop_assert_eq!(plain_prefix(bytes), bytes.iter().take_while(|byte| plain(byte)).count());
    }
}

#[test]
fn every_byte_ends_a_scan_or_does_not_at_every_place() {
    for byte in 0..=u8::MAX {
        let ends = byte < 0x20 || byte == b'"' || byte == b'\\';
        for at in 0..24 {
            let mut text = [b'a'; 24];
            text[at] = byte;
            assert_eq!(plain_prefix(&text), if ends { at } else { 24 }, "{byte:#x} at {at}");
        }
        for at in 0..BLOCK + 6 {
            let mut text = [b'a'; BLOCK + 6];
            text[at] = byte;
            let bit = |at: usize| u64::from(ends) << at;
            // Behind the end everything is marked.
            let (whole, part) = (marks_from(&text, 0), marks_from(&text, BLOCK));
            let expected = if at < BLOCK { (bit(at), 0) } else { (0, bit(at - BLOCK)) };
            assert_eq!((whole, part), (expected.0, expected.1 | u64::MAX << 6), "{byte:#x} at {at}");
        }
    }
    assert_eq!((marks_from(b"", 0), marks_from(b"", BLOCK)), (u64::MAX, u64::MAX));
}

//! Cutting a payload to its cap.
//!
//! First the longest strings are shortened, all to one common length, the greatest with which the payload fits; each is noted with its
//! place and its former length. Where that is not enough, because the bulk is many small strings, a huge list, huge keys or huge numbers,
//! each field that is too big keeps the longest beginning that fits its share, and the field is noted. Fields that the kind's table
//! has come before those that it does not have. Lengths are those of the JSON text, so that the result fits whatever has to be escaped.

use super::super::catalog::Field;
use super::super::envelope::Cut;
use super::super::{FieldType, Json};
use super::{PLACEHOLDER, Trimmed};
use std::collections::BTreeSet;

/// No string is cut below this many bytes of JSON text: ids and names of typed fields stay whole.
const STRING_BYTES_MIN: usize = 256;

/// So many strings are cut and noted at most; beyond, whole fields are shortened instead.
const STRINGS_CUT_MAX: usize = 128;

/// Makes the payload's text at most `max` bytes long and tells what was cut; what was shortened already is a part of that.
pub(super) fn to_fit(payload: &mut Json, fields: &[Field], max: usize, trimmed: &[Trimmed]) -> Vec<Cut> {
    let mut cuts: Vec<Cut> =
        trimmed.iter().filter(|trimmed| trimmed.noted).map(|trimmed| trimmed.cut.clone()).collect();
    let noted = cuts.len();
    let total = size(payload);
    if total > max {
        shrink(payload, fields, max, trimmed, total, &mut cuts);
        // What stood in a field that is gone is told with the field.
        let is_there = |cut: &Cut| payload.pointer(&cut.pointer).is_some();
        let mut at = 0;
        cuts.retain(|cut| {
            at += 1;
            at > noted || is_there(cut)
        });
    }
    cuts
}

fn shrink(
    payload: &mut Json,
    fields: &[Field],
    max: usize,
    trimmed: &[Trimmed],
    total: usize,
    cuts: &mut Vec<Cut>,
) {
    let mut lengths = Vec::new();
    string_sizes(payload, &mut lengths);
    match common_limit(lengths, total, max) {
        Some(limit) => cut_strings(payload, limit, &mut String::new(), cuts),
        None => cut_fields(payload, fields, max, trimmed, cuts),
    }
}

/// Bytes of the compact JSON text.
pub(super) fn size(value: &Json) -> usize {
    match value {
        Json::Null => 4,
        Json::Bool(flag) => {
            if *flag {
                4
            } else {
                5
            }
        }
        Json::Number(number) => number.as_str().len(),
        Json::String(text) => string_size(text),
        Json::Array(items) => 2 + items.iter().map(size).sum::<usize>() + items.len().saturating_sub(1),
        Json::Object(object) => {
            2 + object.iter().map(|(key, value)| string_size(key) + 1 + size(value)).sum::<usize>()
                + object.len().saturating_sub(1)
        }
    }
}

/// Bytes that it takes at least, however short its strings are cut.
pub(super) fn least_size(value: &Json) -> usize {
    match value {
        Json::String(text) => string_size(text).min(STRING_BYTES_MIN),
        Json::Array(items) => items.iter().map(least_size).sum(),
        Json::Object(object) => object.iter().map(|(key, value)| string_size(key) + least_size(value)).sum(),
        scalar => size(scalar),
    }
}

/// The bytes of the text if they are at most `max`; looks at little more than that.
fn size_within(value: &Json, max: usize) -> Option<usize> {
    let mut bytes = 0_usize;
    let mut add = |more: usize| {
        bytes += more;
        (bytes <= max).then_some(bytes)
    };
    match value {
        Json::String(text) if text.len() > max => None,
        Json::Array(items) => {
            add(2 + items.len().saturating_sub(1))?;
            items.iter().try_for_each(|item| add(size_within(item, max)?).map(|_| ()))?;
            Some(bytes)
        }
        Json::Object(object) => {
            add(2 + object.len().saturating_sub(1))?;
            object.iter().try_for_each(|(key, value)| {
                add(string_size(key) + 1 + size_within(value, max)?).map(|_| ())
            })?;
            Some(bytes)
        }
        scalar => add(size(scalar)),
    }
}

fn string_size(text: &str) -> usize {
    2 + size_within_string(text)
}

/// Bytes that a text takes between the quotes of a JSON string.
pub(super) fn size_within_string(text: &str) -> usize {
    // Without branches, in parts so short that a byte holds the count: the compiler takes many bytes at once.
    const PART_BYTES: usize = 48;
    let more = |byte: &u8| {
        let two = matches!(byte, b'"' | b'\\' | 8..=10 | 12..=13);
        u8::from(two) + 5 * u8::from(*byte < 0x20 && !two)
    };
    let parts = text.as_bytes().chunks(PART_BYTES);
    text.len() + parts.map(|part| usize::from(part.iter().map(more).sum::<u8>())).sum::<usize>()
}

const fn char_size(c: char) -> usize {
    match c {
        '"' | '\\' | '\u{8}' | '\t' | '\n' | '\u{C}' | '\r' => 2,
        '\0'..='\u{1F}' => 6,
        _ => c.len_utf8(),
    }
}

fn string_sizes(value: &Json, lengths: &mut Vec<usize>) {
    match value {
        Json::String(text) => lengths.push(string_size(text)),
        Json::Array(items) => items.iter().for_each(|item| string_sizes(item, lengths)),
        Json::Object(object) => object.values().for_each(|value| string_sizes(value, lengths)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// The greatest length to which strings can be cut so that the whole fits; nothing where that is too short or cuts too many.
fn common_limit(mut lengths: Vec<usize>, total: usize, max: usize) -> Option<usize> {
    if lengths.len() > STRINGS_CUT_MAX + 1 {
        lengths.select_nth_unstable_by(STRINGS_CUT_MAX, |a, b| b.cmp(a));
        lengths.truncate(STRINGS_CUT_MAX + 1);
    }
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let mut longest = 0;
    for (at, length) in lengths.iter().take(STRINGS_CUT_MAX).enumerate() {
        longest += length;
        let Some(room) = max.checked_sub(total - longest) else { continue };
        let limit = room / (at + 1);
        let next = lengths.get(at + 1).copied().unwrap_or(0);
        if limit >= next {
            return (limit >= STRING_BYTES_MIN).then_some(limit);
        }
    }
    None
}

fn cut_strings(value: &mut Json, limit: usize, pointer: &mut String, cuts: &mut Vec<Cut>) {
    match value {
        Json::String(text) if string_size(text) > limit => {
            if !cuts.iter().any(|cut| cut.pointer == *pointer) {
                cuts.push(Cut { pointer: pointer.clone(), bytes: text.len() as u64 });
            }
            shorten(text, limit);
        }
        Json::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                within(pointer, &at.to_string(), |pointer| cut_strings(item, limit, pointer, cuts));
            }
        }
        Json::Object(object) => {
            for (key, value) in object.iter_mut() {
                within(pointer, key, |pointer| cut_strings(value, limit, pointer, cuts));
            }
        }
        _ => {}
    }
}

/// Does something with one more part on the pointer.
fn within(pointer: &mut String, part: &str, then: impl FnOnce(&mut String)) {
    let length = pointer.len();
    push_part(pointer, part);
    then(pointer);
    pointer.truncate(length);
}

/// One more part of a JSON pointer.
pub(super) fn push_part(pointer: &mut String, part: &str) {
    pointer.push('/');
    for c in part.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}

/// Keeps the longest beginning of whole characters that takes at most `limit` bytes of JSON text; a placeholder is kept whole or not at all.
fn shorten(text: &mut String, limit: usize) {
    let mut used = 2;
    let mut end = 0;
    for (at, c) in text.char_indices() {
        used += char_size(c);
        if used > limit {
            break;
        }
        end = at + c.len_utf8();
    }
    for back in 1..PLACEHOLDER.len() {
        let Some(start) = end.checked_sub(back) else { break };
        if text.is_char_boundary(start) && text[start..].starts_with(PLACEHOLDER) {
            end = start;
            break;
        }
    }
    text.truncate(end);
}

/// Shortens the fields of the payload that are too big, each to its share; those of the table first.
fn cut_fields(payload: &mut Json, fields: &[Field], max: usize, trimmed: &[Trimmed], cuts: &mut Vec<Cut>) {
    let Json::Object(object) = payload else { return };
    let known = |key: &str| fields.iter().find(|field| field.name == key);
    let mut order: Vec<(bool, usize, String)> = object
        .iter()
        .map(|(key, value)| (known(key).is_none(), string_size(key) + 2 + size(value), key.clone()))
        .collect();
    // The table's own fields first, and of each sort the small ones first: what they leave is shared by the big ones.
    order.sort();
    let mut room = max - 2;
    let mut dropped = BTreeSet::new();
    let mut dropped_bytes = 0_u64;
    let count_known = order.iter().filter(|(unknown, ..)| !unknown).count();
    for (at, (unknown, bytes, key)) in order.iter().enumerate() {
        let share = if *unknown { room } else { room / (count_known - at) };
        if *bytes <= share {
            room -= bytes;
            continue;
        }
        let value_room = share.saturating_sub(string_size(key) + 2);
        let typed = known(key).is_some_and(|field| !matches!(field.ty, FieldType::Any));
        let Some(value) = object.get_mut(key.as_str()) else { continue };
        let mut pointer = String::new();
        push_part(&mut pointer, key);
        let lost: usize = trimmed
            .iter()
            .filter(|trimmed| stands_in(&trimmed.cut, &pointer))
            .map(|trimmed| trimmed.lost)
            .sum();
        let former = (bytes - string_size(key) - 2 + lost) as u64;
        if let Some(shorter) = beginning(value, value_room, !typed) {
            *value = shorter;
            room -= string_size(key) + 2 + size(value);
            if !cuts.iter().any(|cut| cut.pointer == pointer) {
                cuts.push(Cut { pointer, bytes: former });
            }
        } else {
            *value = Json::Null;
            dropped.insert(key.as_str());
            dropped_bytes += (*bytes + lost) as u64;
        }
    }
    if !dropped.is_empty() {
        object.retain(|key, _| !dropped.contains(key.as_str()));
        cuts.push(Cut { pointer: String::new(), bytes: dropped_bytes });
    }
}

fn stands_in(cut: &Cut, pointer: &str) -> bool {
    cut.pointer.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The longest beginning of a value, in the order of its text, that takes at most `room` bytes. `deep` says whether the last part may
/// be a beginning itself; in a typed list it must be whole.
fn beginning(value: &Json, room: usize, deep: bool) -> Option<Json> {
    if size_within(value, room).is_some() {
        return Some(value.clone());
    }
    if room < 2 {
        return None;
    }
    match value {
        Json::String(text) => {
            let mut text = text.clone();
            shorten(&mut text, room);
            Some(Json::String(text))
        }
        Json::Array(items) => {
            let mut left = room - 2;
            let mut kept = Vec::new();
            for item in items {
                if let Some(bytes) = size_within(item, left.saturating_sub(1)).filter(|bytes| *bytes < left) {
                    left -= bytes + 1;
                    kept.push(item.clone());
                } else {
                    kept.extend(deep.then(|| beginning(item, left.saturating_sub(1), deep)).flatten());
                    break;
                }
            }
            Some(Json::Array(kept))
        }
        Json::Object(object) => {
            let mut left = room - 2;
            let mut kept = serde_json::Map::new();
            for (key, value) in object {
                let key_bytes = string_size(key) + 2;
                let whole = left.checked_sub(key_bytes).and_then(|room| size_within(value, room));
                if let Some(bytes) = whole {
                    left -= key_bytes + bytes;
                    kept.insert(key.clone(), value.clone());
                } else {
                    if let Some(value) = beginning(value, left.saturating_sub(key_bytes), deep)
                        .filter(|_| deep && key_bytes < left)
                    {
                        kept.insert(key.clone(), value);
                    }
                    break;
                }
            }
            Some(Json::Object(kept))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => None,
    }
}

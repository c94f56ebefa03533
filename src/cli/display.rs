//! The one way of text from events to a terminal.
//!
//! [`visible`], which lives beside the events, lets nothing pass that a terminal would obey. [`fit`] also cuts to a
//! number of columns, as a terminal counts them. Colours are ours alone and are added after both.
//!
//! Times are shown in the zone of the terminal with its offset; JSON is always UTC and never passes here.

use chrono::{DateTime, Local, NaiveDate, TimeZone};
use unicode_width::UnicodeWidthChar;

use crate::event::text::push_visible;
pub use crate::event::text::{count, counted, duration, percent, visible};
use crate::event::{StoredEvent, Timestamp};

/// How a line may look: decided once by the output of the command, from `--color`, `NO_COLOR` and the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Whether colours may be used.
    pub color: bool,
    /// The width of the terminal; without one lines are not cut.
    pub columns: Option<usize>,
    /// The day on which the command runs, in the terminal's zone: what happened on another one is shown with its date.
    pub today: Option<NaiveDate>,
}

/// The few roles that a colour can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Numbers, times and other frame around the words.
    Dim,
    /// What the line is about.
    Strong,
    /// Something that failed.
    Bad,
    /// Something that waits for the user.
    Waiting,
    /// Something that went well or is at work.
    Good,
}

impl Style {
    /// No colour, no cut: what a pipe gets.
    pub const PLAIN: Style = Style { color: false, columns: None, today: None };

    /// `text`, which must be visible already, in the colour of its role.
    pub fn paint(self, role: Role, text: &str) -> String {
        let code = match role {
            Role::Dim => "2",
            Role::Strong => "1",
            Role::Bad => "31",
            Role::Waiting => "33",
            Role::Good => "32",
        };
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Like [`visible`], in at most `columns` columns; what had to be cut ends in `…`.
pub fn fit(text: &str, columns: usize) -> String {
    let (mut out, mut used, mut room_for_ellipsis) = (String::new(), 0, 0);
    for c in text.chars() {
        let start = out.len();
        push_visible(&mut out, c);
        used += columns_of(&out[start..]);
        if used > columns {
            out.truncate(room_for_ellipsis);
            if columns > 0 {
                out.push('…');
            }
            return out;
        }
        if used < columns {
            room_for_ellipsis = out.len();
        }
    }
    out
}

/// [`fit`], then filled with spaces to exactly `columns` columns.
pub fn cell(text: &str, columns: usize) -> String {
    let mut out = fit(text, columns);
    let used = columns_of(&out);
    out.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    out
}

/// [`cell`], with the spaces before it: for numbers.
pub fn cell_right(text: &str, columns: usize) -> String {
    let fitted = fit(text, columns);
    let used = columns_of(&fitted);
    " ".repeat(columns.saturating_sub(used)) + &fitted
}

/// The columns that visible text takes, counted so that no terminal needs more.
pub fn columns_of(text: &str) -> usize {
    // A variation selector can widen the character before it; its column is counted at once.
    text.chars().map(|c| if c == '\u{fe0f}' { 1 } else { c.width().unwrap_or(0) }).sum()
}

/// A moment in the terminal's zone, to the millisecond, with its offset: `2026-10-01 14:03:22.123 +02:00`.
pub fn local_time(time: Timestamp) -> String {
    in_zone(time, &Local, "%Y-%m-%d %H:%M:%S%.3f %:z")
}

/// The day alone, in the terminal's zone: `2026-10-01`.
pub fn local_day(time: Timestamp) -> String {
    in_zone(time, &Local, "%Y-%m-%d")
}

/// The time of day alone, in the terminal's zone: `14:03:22.123`.
pub fn local_clock(time: Timestamp) -> String {
    in_zone(time, &Local, "%H:%M:%S%.3f")
}

/// The day of a moment in the terminal's zone; none where no calendar reaches.
pub fn day_of(time: Timestamp) -> Option<NaiveDate> {
    Some(DateTime::from_timestamp_micros(time.as_micros())?.with_timezone(&Local).date_naive())
}

impl Style {
    /// The time of day in the terminal's zone; with the date before it where that is not today.
    pub fn clock(self, time: Timestamp) -> String {
        if self.today.is_none() || self.today == day_of(time) {
            return local_clock(time);
        }
        format!("{} {}", local_day(time), local_clock(time))
    }
}

fn in_zone<Z: TimeZone>(time: Timestamp, zone: &Z, format: &str) -> String
where
    Z::Offset: std::fmt::Display,
{
    match DateTime::from_timestamp_micros(time.as_micros()) {
        Some(utc) => utc.with_timezone(zone).format(format).to_string(),
        None => time.to_string(),
    }
}

/// The milliseconds from `then` to `now`; none where clocks disagree about their order.
pub fn millis_between(then: Timestamp, now: Timestamp) -> u64 {
    let micros = i128::from(now.as_micros()) - i128::from(then.as_micros());
    u64::try_from(micros / 1_000).unwrap_or(0)
}

/// How long ago `then` was: `3 s`, `2 m`, `5 h`, `4 d`.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = millis_between(then, now) / 1_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} m", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Bytes in the largest unit that fits: `1023 B`, `1.5 KiB`, `256.0 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (0..UNITS.len()).rev().find(|unit| n >= 1 << (10 * unit)).unwrap_or(0);
    if unit == 0 {
        return format!("{n} B");
    }
    let tenths = (u128::from(n) * 10) >> (10 * unit);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// The first characters of an id, enough to name it beside others: `258c7280`.
pub fn short_id(id: &str) -> String {
    fit(id.get(..8).unwrap_or(id), 8)
}

/// One event on one line, as `events`, `tail` and `replay` print it:
/// seq, time of day (with its date where that is not today), session, what happened.
pub fn event_line(stored: &StoredEvent, style: Style) -> String {
    let event = &stored.event;
    let seq = format!("{:>7}", stored.seq.get());
    let clock = style.clock(event.time);
    let session = cell(&event.session.as_deref().map(short_id).unwrap_or_default(), 8);
    let frame = columns_of(&seq) + columns_of(&clock) + columns_of(&session) + 3 * 2;
    let summary = event.summary();
    let words = match style.columns {
        Some(columns) => fit(&summary, columns.saturating_sub(frame).max(20)),
        None => visible(&summary).into_owned(),
    };
    let (kind, rest) = words.split_at(words.find(':').unwrap_or(words.len()));
    let kind = style.paint(role_of(event.kind.name()), kind);
    format!("{}  {}  {}  {kind}{rest}", style.paint(Role::Dim, &seq), style.paint(Role::Dim, &clock), session)
}

fn role_of(kind: &str) -> Role {
    match kind {
        "permission_requested" | "notification_raised" => Role::Waiting,
        "prompt_submitted" | "session_started" | "session_ended" => Role::Good,
        "corruption_detected" | "permission_denied" => Role::Bad,
        kind if kind.ends_with("_failed") => Role::Bad,
        _ => Role::Strong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::text::is_unsafe;

    #[test]
    fn bytes_are_read_in_the_largest_unit_that_fits() {
        let read: Vec<String> = [0, 1_023, 1_024, 1_536, 256 << 20, (5 << 40) + (1 << 39)].map(bytes).into();
        assert_eq!(read, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "256.0 MiB", "5.5 TiB"]);
    }

    #[test]
    fn every_character_that_passes_can_be_seen_or_joins_one_that_can() {
        for c in ('\0'..=char::MAX).filter(|c| !is_unsafe(*c)) {
            assert!(!c.is_control() && c.width().is_some(), "U+{:04X} passes", u32::from(c));
        }
    }

    #[test]
    fn text_is_cut_by_columns_and_says_so() {
        assert_eq!(fit("hello", 5), "hello");
        assert_eq!(fit("hello!", 5), "hell…");
        assert_eq!(fit("日本語", 6), "日本語");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("e\u{301}\u{301}clair", 3), "e\u{301}\u{301}c…");
        assert_eq!(fit("\u{1b}[31m", 4), "…");
        assert_eq!(fit("abc", 0), "");
        assert_eq!(fit("", 0), "");
    }

    #[test]
    fn a_cut_never_needs_more_columns_than_asked() {
        for text in
            ["\u{1b}]0;x\u{7}", "❤\u{fe0f}❤\u{fe0f}❤\u{fe0f}", "日\u{202e}本", "éééé", "a\u{301}\u{301}"]
        {
            for columns in 0..12 {
                assert!(columns_of(&fit(text, columns)) <= columns, "{text:?} in {columns}");
                assert_eq!(columns_of(&cell(text, columns)), columns);
            }
        }
    }

    #[test]
    fn durations_and_counts_read_well() {
        assert_eq!(duration(0), "0 ms");
        assert_eq!(duration(999), "999 ms");
        assert_eq!(duration(1_299), "1.2 s");
        assert_eq!(duration(125_000), "2 m 05 s");
        assert_eq!(duration(11_520_000), "3 h 12 m");
        assert_eq!(duration(u64::MAX), "213503982334 d 14 h");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "prompt"), "1 prompt");
        assert_eq!(counted(1_000, "prompt"), "1,000 prompts");
    }

    #[test]
    fn a_moment_is_shown_with_its_offset_and_any_moment_can_be() {
        let time = Timestamp::from_micros(1_767_225_600_123_456);
        let zone = chrono::FixedOffset::east_opt(2 * 3_600).unwrap();
        assert_eq!(in_zone(time, &zone, "%Y-%m-%d %H:%M:%S%.3f %:z"), "2026-01-01 02:00:00.123 +02:00");
        for micros in [i64::MIN, -1, 0, i64::MAX] {
            assert!(!local_time(Timestamp::from_micros(micros)).is_empty());
        }
    }

    #[test]
    fn a_moment_of_another_day_is_shown_with_its_date() {
        let now = Timestamp::from_micros(1_767_268_800_000_000); // noon in UTC: the same day in most zones
        let style = Style { today: day_of(now), ..Style::PLAIN };
        assert_eq!(style.clock(now), local_clock(now));
        let before = Timestamp::from_micros(now.as_micros() - 5 * 86_400_000_000);
        assert_eq!(style.clock(before), format!("{} {}", local_day(before), local_clock(before)));
        let beyond = Timestamp::from_micros(i64::MAX);
        assert!(style.clock(beyond).contains(&beyond.to_string()), "a moment that no calendar reaches");
        assert_eq!(Style::PLAIN.clock(before), local_clock(before), "nobody said which day it is");
    }

    #[test]
    fn ages_never_underflow_when_clocks_disagree() {
        let (early, late) = (Timestamp::from_micros(0), Timestamp::from_micros(7_200_000_000));
        assert_eq!(age(early, late), "2 h");
        assert_eq!(age(late, early), "0 s");
    }
}

//! Words and numbers for people.

use std::fmt::Write as _;

use mnemosyne::event::Timestamp;
use mnemosyne_journal::verify::Problem;
use mnemosyne_journal::{Micros, Seq};
use serde_json::{Value, json};

/// How many bytes of an opaque record a line shows.
const PREVIEW_BYTES: usize = 32;

/// UTC, RFC 3339.
pub(crate) fn time(micros: Micros) -> String {
    timestamp(micros).to_string()
}

pub(crate) fn timestamp(micros: Micros) -> Timestamp {
    Timestamp::from_micros(micros.get())
}

/// `1 record`, `2 records`.
pub(crate) fn counted(n: u64, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// `seq 4` or `seq 4 to 9`.
pub(crate) fn seqs(from: Seq, to: Seq) -> String {
    if from == to { format!("seq {from}") } else { format!("seq {from} to {to}") }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

/// The first bytes in hex, and as letters where they are some.
pub(crate) fn preview(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(PREVIEW_BYTES)];
    let letter = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' };
    let letters: String = shown.iter().map(letter).collect();
    let more = if bytes.len() > shown.len() { " ..." } else { "" };
    format!("{} |{letters}|{more}", hex(shown))
}

/// A problem or a note on one line.
pub(crate) fn problem(problem: &Problem) -> String {
    let Problem { segment, bytes, lost, what, .. } = problem;
    let length = bytes.end.saturating_sub(bytes.start);
    let lost = match lost {
        Some((from, to)) => format!(", {} lost", seqs(*from, *to)),
        None => String::new(),
    };
    format!("{segment} at {} ({}){lost}: {what}", bytes.start, counted(length, "byte"))
}

/// The same for programs.
pub(crate) fn problem_json(problem: &Problem) -> Value {
    let Problem { segment, bytes, lost, code, what, .. } = problem;
    json!({
        "segment": segment,
        "offset": bytes.start,
        "bytes": bytes.end.saturating_sub(bytes.start),
        "from_seq": lost.map(|(from, _)| from.get()),
        "to_seq": lost.map(|(_, to)| to.get()),
        "code": code,
        "what": what,
    })
}

/// Rows under each other, numbers to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let cell = |(column, text): (usize, &String)| {
        let (is_number, width) = (text.starts_with(|c: char| c.is_ascii_digit()), widths[column]);
        let is_last = column + 1 == columns;
        match (is_number && !text.contains([':', '-']), is_last) {
            (true, _) => format!("{text:>width$}"),
            (false, true) => text.clone(),
            (false, false) => format!("{text:<width$}"),
        }
    };
    rows.iter().map(|row| row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ")).collect()
}

//! `explain`: the bytes around a record, field by field.

use std::ops::Range;
use std::path::PathBuf;

use mnemosyne::event::text::visible;
use mnemosyne_journal::format::{BATCH_HEADER_BYTES, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use mnemosyne_journal::inspect::layout::{self, Field, Value};
use mnemosyne_journal::verify::Part;
use mnemosyne_journal::{Hash, Micros};
use serde_json::json;

use crate::cat::with_record;
use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;
use crate::records::Record;
use crate::text;

/// How many bytes of a field a line shows.
const SHOWN_BYTES: usize = 16;
/// How many lines of a payload are shown, of 16 bytes each.
const PAYLOAD_LINES_MAX: usize = 64;

/// Show the bytes around one record, field by field
///
/// The header of its segment, the header of its batch, its own header, the envelope of the event, and the payload: each
/// field with its offset in the file, its bytes, its name in docs/format.md and what it says.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// A data directory or a journal directory
    dir: PathBuf,
    /// The record's seq
    seq: u64,
}

/// One structure in the file.
struct Section {
    title: String,
    lines: Vec<Line>,
}

struct Line {
    offset: usize,
    bytes: Vec<u8>,
    name: String,
    says: String,
}

pub(crate) fn run(args: &ExplainArgs, out: &mut Out) -> Result<(), Failure> {
    let survey = Place::survey(&args.dir)?;
    with_record(&survey, args.seq, out, |record, out| {
        let sections = sections(record);
        if out.is_json() { out.json(&as_json(record, &sections)) } else { print(record, &sections, out) }
    })
}

fn sections(record: &Record<'_>) -> Vec<Section> {
    let bytes = &record.look.bytes;
    let mut sections =
        vec![fields("segment header".to_owned(), layout::segment_header(), bytes, 0, SEGMENT_HEADER_BYTES)];
    if let Part::Frame { at, header, holds, .. } = record.part {
        let verdict = if *holds { "everything about it holds" } else { "something about it does not hold" };
        let title = format!("batch header, seq {} to {}; {verdict}", header.first, header.last());
        sections.push(fields(title, layout::batch_header(), bytes, *at, BATCH_HEADER_BYTES));
    } else {
        let title = "batch header: lost; the record was found by its own header".to_owned();
        sections.push(Section { title, lines: Vec::new() });
    }
    sections.push(record_header(record));
    sections.extend(envelope(record));
    sections
}

fn fields(title: String, fields: &[Field], bytes: &[u8], at: usize, length: usize) -> Section {
    let structure = bytes.get(at..bytes.len().min(at + length)).unwrap_or_default();
    let line = |field: &Field| {
        let says = match field.value(structure)? {
            Value::Number(number) => number.to_string(),
            Value::Time(micros) => text::time(Micros::new(micros)),
            Value::Text(text) => text,
        };
        let bytes = structure[field.at..field.at + field.bytes].to_vec();
        Some(Line { offset: at + field.at, bytes, name: field.name.to_owned(), says })
    };
    Section { title, lines: fields.iter().filter_map(line).collect() }
}

fn record_header(record: &Record<'_>) -> Section {
    let title = format!("record header, seq {}; both checksums hold", record.seq);
    let bytes = &record.look.bytes;
    let mut section = fields(title, layout::record_header(), bytes, record.offset, RECORD_HEADER_BYTES);
    let stored = record.stored_bytes() - RECORD_HEADER_BYTES;
    if let Some(word) = section.lines.last_mut() {
        let redacted = if record.redacted { "redacted" } else { "none" };
        word.says = format!("{}: length {stored}, flags: {redacted}", word.says);
    }
    if record.redacted {
        let offset = record.offset + RECORD_HEADER_BYTES;
        let digest = bytes[offset..offset + Hash::BYTES].to_vec();
        let says = "digest of the payload that was replaced".to_owned();
        section.lines.push(Line { offset, bytes: digest, name: "digest".to_owned(), says });
    }
    section
}

/// The envelope and the payload of an event, or the whole as opaque bytes.
fn envelope(record: &Record<'_>) -> Vec<Section> {
    let start = record.offset + record.stored_bytes() - record.payload.len();
    let Some(envelope) = record.envelope() else {
        let title = format!("payload, {} bytes, no event of this version", record.payload.len());
        return vec![dump(title, record.payload, start)];
    };
    let split = record.payload.len() - envelope.payload.len();
    let head = &record.payload[..split];
    let id = envelope.id.as_bytes();
    let id_at = head.windows(id.len()).position(|window| window == id);
    // The name of a known kind is the catalog's, not borrowed from the record, where it ends in front of the id.
    let kind = envelope.kind.as_bytes();
    let kind_at = id_at.and_then(|end| Some(end.checked_sub(kind.len())?..end));
    let kind_at = kind_at.filter(|place| &head[place.clone()] == kind);
    let mut lines = Vec::new();
    let mut line = |name: &str, place: Option<Range<usize>>, says: String| {
        let offset = start + place.as_ref().map_or(0, |place| place.start);
        let bytes = place.and_then(|place| head.get(place)).unwrap_or_default().to_vec();
        lines.push(Line { offset, bytes, name: name.to_owned(), says });
    };
    let version = head.first().copied().unwrap_or_default();
    line("version", Some(0..1), version.to_string());
    line("kind", kind_at, envelope.kind.to_owned());
    line("id", id_at.map(|at| at..at + id.len()), envelope.id.to_string());
    line("time", None, envelope.time.to_string());
    line("kind version", None, envelope.version.to_string());
    line("importance", None, envelope.importance.to_string());
    line("instance", None, envelope.instance.to_string());
    let optional = [
        ("session", envelope.session.map(|id| id.to_string())),
        ("agent", envelope.agent.map(|id| id.to_string())),
        ("project", envelope.project.map(str::to_owned)),
        ("causation", envelope.causation.map(|id| id.to_string())),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            line(name, None, value);
        }
    }
    line("correlation", None, envelope.correlation.to_string());
    line("program", place_of(envelope.program, head), envelope.program.to_owned());
    line("host", place_of(envelope.host, head), envelope.host.to_owned());
    line("pid", None, envelope.pid.to_string());
    let title = format!("envelope, {split} bytes at {start}");
    let payload = format!("payload, {} bytes of JSON", envelope.payload.len());
    vec![Section { title, lines }, dump(payload, envelope.payload, start + split)]
}

/// Where in `bytes` a text lies that is borrowed from them; `None` for one that lies elsewhere.
fn place_of(text: &str, bytes: &[u8]) -> Option<Range<usize>> {
    let at = text.as_ptr().addr().checked_sub(bytes.as_ptr().addr())?;
    (at + text.len() <= bytes.len() && !text.is_empty()).then(|| at..at + text.len())
}

/// Bytes in rows of 16.
fn dump(title: String, bytes: &[u8], start: usize) -> Section {
    let rows = bytes.chunks(SHOWN_BYTES).take(PAYLOAD_LINES_MAX).enumerate();
    let letter = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' };
    let mut lines: Vec<Line> = rows
        .map(|(row, bytes)| Line {
            offset: start + row * SHOWN_BYTES,
            bytes: bytes.to_vec(),
            name: String::new(),
            says: bytes.iter().map(letter).collect(),
        })
        .collect();
    let shown = lines.len() * SHOWN_BYTES;
    if bytes.len() > shown {
        let says =
            format!("{} more; cat --raw prints them", text::counted((bytes.len() - shown) as u64, "byte"));
        lines.push(Line { offset: start + shown, bytes: Vec::new(), name: String::new(), says });
    }
    Section { title, lines }
}

fn print(record: &Record<'_>, sections: &[Section], out: &mut Out) -> Result<(), Failure> {
    out.line(&format!("seq {} in {}", record.seq, record.look.name))?;
    for section in sections {
        out.line("")?;
        out.line(&section.title)?;
        for line in &section.lines {
            let more = if line.bytes.len() > SHOWN_BYTES { ".." } else { "" };
            let bytes = &line.bytes[..line.bytes.len().min(SHOWN_BYTES)];
            let hex = format!("{}{more}", text::hex(bytes));
            let offset = if line.bytes.is_empty() && !line.name.is_empty() {
                String::new()
            } else {
                line.offset.to_string()
            };
            let name = if line.name.is_empty() { String::new() } else { format!("{:<15}  ", line.name) };
            out.line(format!("{offset:>10}  {hex:<34}  {name}{}", visible(&line.says)).trim_end())?;
        }
    }
    Ok(())
}

fn as_json(record: &Record<'_>, sections: &[Section]) -> serde_json::Value {
    let line = |line: &Line| {
        json!({
            "offset": (!line.bytes.is_empty()).then_some(line.offset),
            "bytes": text::hex(&line.bytes),
            "field": line.name,
            "says": line.says,
        })
    };
    let section = |section: &Section| json!({ "title": section.title, "fields": section.lines.iter().map(line).collect::<Vec<_>>() });
    json!({
        "version": 1,
        "seq": record.seq.get(),
        "segment": record.look.name,
        "sections": sections.iter().map(section).collect::<Vec<_>>(),
    })
}

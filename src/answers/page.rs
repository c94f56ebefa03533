//! A page of events, oldest first, with a cursor to read on.
//!
//! A page is bounded in events, in bytes and in what is looked at to fill it, so a filter that matches nothing
//! costs one bounded read and still moves the cursor.

use serde_json::value::RawValue;

use crate::error::Error;
use crate::event::{Filter, Place, Seq};
use crate::store::{self, Item, Replay};
use crate::wire::Page;
use crate::wire::sse::Gap;

/// What goes on a page.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Which events.
    pub filter: Filter,
    /// The last seq, or the last moment of recording.
    pub until: Option<Place>,
    /// At most so many events.
    pub events_max: usize,
    /// The page ends with the event that takes it over this size.
    pub bytes_max: usize,
    /// Seqs that are looked at to fill it.
    pub scan_max: u64,
}

/// Reads a page. `tail` is the highest durable seq; `stop` is asked between two events.
///
/// # Errors
/// When the journal cannot be read; [`Error::Interrupted`] when `stop` says so.
pub fn read(
    mut replay: Replay,
    tail: Seq,
    bounds: &Bounds,
    stop: impl Fn() -> bool,
) -> Result<Page<Box<RawValue>>, Error> {
    let scan_end = replay.position().get().saturating_add(bounds.scan_max);
    let next = replay.position().get() - 1;
    let mut page = Page { events: Vec::new(), next, more: true, tail: tail.get(), gaps: Vec::new() };
    let mut bytes = 0;
    while page.events.len() < bounds.events_max && bytes < bounds.bytes_max && page.next < scan_end {
        if stop() {
            return Err(Error::Interrupted);
        }
        let Some(item) = replay.next()? else {
            page.more = false;
            break;
        };
        if is_beyond(bounds.until, &item) {
            page.more = false;
            break;
        }
        page.next = replay.position().get() - 1;
        match item {
            Item::Event(event) if bounds.filter.matches(&event) => {
                let text = event.to_json();
                bytes += text.len();
                let text = RawValue::from_string(text).map_err(|error| Error::failed(error.to_string()))?;
                page.events.push(text);
            }
            Item::Event(_) => {}
            Item::Gap(gap) => page.gaps.push(wire_gap(gap)),
            Item::Undecodable(record) => page.gaps.push(undecodable_gap(record.seq)),
        }
    }
    page.tail = page.tail.max(page.next);
    page.more = page.more && page.next < page.tail;
    Ok(page)
}

fn is_beyond(until: Option<Place>, item: &Item) -> bool {
    let (seq, recorded) = match item {
        Item::Event(event) => (event.seq, Some(event.recorded)),
        Item::Gap(gap) => (gap.from, None),
        Item::Undecodable(record) => (record.seq, Some(record.recorded)),
    };
    match until {
        Some(Place::Seq(last)) => seq > last,
        Some(Place::Time(last)) => recorded.is_some_and(|recorded| recorded > last),
        None => false,
    }
}

/// A gap in the words of the interface.
pub fn wire_gap(gap: store::Gap) -> Gap {
    let reason = match gap.reason {
        store::GapReason::Retention => "retention",
        // Whatever else a later journal may say, the bytes are not to be had.
        _ => "corruption",
    };
    Gap { from_seq: gap.from.get(), to_seq: gap.to.get(), reason: reason.to_owned() }
}

/// A record that this program cannot read, told as a gap of one.
pub fn undecodable_gap(seq: Seq) -> Gap {
    Gap { from_seq: seq.get(), to_seq: seq.get(), reason: String::from("undecodable") }
}

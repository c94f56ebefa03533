//! What a ranked search found, as it is told.

use serde_json::value::RawValue;

use super::page::{undecodable_gap, wire_gap};
use crate::error::Error;
use crate::event::search::Query;
use crate::event::{Filter, Place, Seq, Timestamp};
use crate::store::search::{Found, Hit, Search};
use crate::wire::{FoundEvent, FoundPage};

/// The part of the journal that is searched.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// The first seq.
    pub from: Seq,
    /// Recorded at or after this.
    pub since: Option<Timestamp>,
    /// The last seq, or the last moment of recording.
    pub until: Option<Place>,
}

impl Range {
    /// The search of this range.
    pub fn search(self, query: Query, filter: Filter, limit: usize) -> Search {
        let (through, until) = match self.until {
            Some(Place::Seq(last)) => (last, Timestamp::MAX),
            Some(Place::Time(last)) => (Seq::MAX, last),
            None => (Seq::MAX, Timestamp::MAX),
        };
        Search { query, filter, from: self.from, through, since: self.since, until, limit }
    }
}

/// What was found. `tail` is the highest durable seq when the search began.
///
/// # Errors
/// An event that is no JSON.
pub fn told(found: Found, tail: Seq) -> Result<FoundPage<Box<RawValue>>, Error> {
    let gaps = found.gaps.into_iter().map(wire_gap);
    let gaps = gaps.chain(found.undecodable.into_iter().map(undecodable_gap)).collect();
    let hits = found.hits.into_iter().map(hit).collect::<Result<Vec<_>, Error>>()?;
    Ok(FoundPage { hits, matched: found.matched, searched: found.searched, tail: tail.get(), gaps })
}

fn hit(hit: Hit) -> Result<FoundEvent<Box<RawValue>>, Error> {
    let event = RawValue::from_string(hit.event.to_json())
        .map_err(|error| Error::failed(format!("a hit cannot be shown: {error}")))?;
    Ok(FoundEvent { score: hit.score(), snippet: hit.snippet.text, marks: hit.snippet.marks, event })
}

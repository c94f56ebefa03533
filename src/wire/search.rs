//! What a search found, as JSON.

use serde::{Deserialize, Serialize};

use super::sse;

/// Hits that a search shows unless told how many.
pub const SEARCH_HITS_DEFAULT: usize = 20;

/// One event that was found. Generic over the text of the event, so that it is never parsed twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundEvent<T> {
    /// How well it matches; higher is better, and only scores of one search can be compared.
    pub score: f64,
    /// The part of the event's text that shows why, on one line.
    pub snippet: String,
    /// First character, and the one after the last, of each hit in `snippet`, in Unicode scalar values.
    pub marks: Vec<(usize, usize)>,
    /// The same object as a stream's `data`.
    pub event: T,
}

/// The answer of `GET /events?q=`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundPage<T> {
    /// The best, best first; equal scores by seq.
    pub hits: Vec<FoundEvent<T>>,
    /// How many events were found, beside those in `hits` too.
    pub matched: u64,
    /// How many events of the range and the filter were searched.
    pub searched: u64,
    /// The highest durable seq when the search began.
    pub tail: u64,
    /// Seqs in the range that can no longer be read.
    pub gaps: Vec<sse::Gap>,
}

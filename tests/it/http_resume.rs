//! Reconnecting at every seq while events are written: each later event once and in order, wherever the past ends and the
//! present begins for that stream.

use crate::http_emit::{custom, emit};
use crate::support::{Frame, Server, World, rounds};
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};

/// Events that each stream is read for: from the past, over the live end, into what is written meanwhile.
const READ: u64 = 50;
/// How far the writer may be ahead of the cursors that are being tried: hardly more than [`READ`], so that most streams cross the live end.
const AHEAD: u64 = READ + 2;
const READERS: usize = 4;

/// Deliveries in all.
fn deliveries() -> u64 {
    rounds(100_000, 1_000_000) as u64
}

fn write(server: &Server, next_cursor: &AtomicU64, first: u64, last: u64) {
    let mut seq = first;
    while seq <= last {
        // The readers wait for the writer when they have caught up, never the other way round.
        while seq > next_cursor.load(Ordering::Relaxed) + AHEAD
            && next_cursor.load(Ordering::Relaxed) <= last - READ
        {
            std::thread::yield_now();
        }
        let count = (last + 1 - seq).min(1 + seq % 7);
        let batch: Vec<_> = (0..count).map(|n| custom("n", json!(seq + n))).collect();
        let seqs = emit(server, &json!(batch));
        // The store's own events come in between: it tells of a snapshot.
        assert!(seqs[0] >= seq, "{seqs:?} after {seq}");
        assert_eq!(seqs, (seqs[0]..seqs[0] + count).collect::<Vec<_>>(), "a batch is together");
        seq = seqs[0] + count;
    }
}

/// Tries cursors until there are none left; how many deliveries were seen.
fn read(server: &Server, next_cursor: &AtomicU64, tail: &AtomicU64, last_cursor: u64) -> u64 {
    let mut seen = 0;
    loop {
        let cursor = next_cursor.fetch_add(1, Ordering::Relaxed);
        if cursor > last_cursor {
            return seen;
        }
        // A cursor is something that a stream has given out: it is never ahead of the journal.
        while tail.load(Ordering::Relaxed) < cursor {
            tail.fetch_max(server.get("/health").json()["tail"].as_u64().expect("a tail"), Ordering::Relaxed);
        }
        let stream = server.sse("/events/stream", &[("Last-Event-ID", &cursor.to_string())]);
        let got: Vec<u64> =
            stream.take(usize::try_from(READ).expect("small")).iter().map(Frame::seq).collect();
        assert_eq!(got, (cursor + 1..=cursor + READ).collect::<Vec<_>>(), "after {cursor}");
        seen += READ;
    }
}

/// Follows with a filter that nothing matches, reconnecting at every checkpoint; the last cursor that it was given.
fn skip(server: &Server, last: u64) -> u64 {
    let mut cursor = 0;
    while cursor + 1_000 <= last {
        let path = "/events/stream?kind=phase_transition";
        let stream = server.sse(path, &[("Last-Event-ID", &cursor.to_string())]);
        let frame = stream.next().expect("a checkpoint");
        assert_eq!(frame.event.as_deref(), Some("checkpoint"), "{frame:?}");
        assert_eq!(frame.seq(), cursor + 1_000, "the cursor moves over what is left out");
        cursor = frame.seq();
    }
    cursor
}

#[test]
fn reconnecting_at_every_seq_while_writing_gives_each_later_event_once_in_order() {
    let world = World::new();
    let server = world.server();
    let first = emit(&server, &custom("first", json!(null)))[0] + 1;
    let cursors = deliveries().div_ceil(READ);
    let (last_cursor, last) = (first + cursors, first + cursors + READ);
    let (next_cursor, tail) = (AtomicU64::new(0), AtomicU64::new(0));
    let (seen, skipped) = std::thread::scope(|scope| {
        scope.spawn(|| write(&server, &next_cursor, first, last));
        let skipping = scope.spawn(|| skip(&server, last));
        let readers: Vec<_> =
            (0..READERS).map(|_| scope.spawn(|| read(&server, &next_cursor, &tail, last_cursor))).collect();
        let seen: u64 = readers.into_iter().map(|reader| reader.join().expect("every event once")).sum();
        (seen, skipping.join().expect("checkpoints"))
    });
    assert_eq!(seen, (last_cursor + 1) * READ, "one stream a seq, none left out");
    assert!(seen >= deliveries() && skipped + 1_000 > last, "{seen} {skipped}");
    server.stop();
}

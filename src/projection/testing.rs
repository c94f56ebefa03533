//! Streams written by hand, for the tests of projections.

use uuid::Uuid;

use super::{Fold, Projection};
use crate::event::{Event, Payload, Seq, Source, StoredEvent, Timestamp};

/// A minute in milliseconds.
pub(crate) const MINUTE: i64 = 60_000;
/// A day in milliseconds.
pub(crate) const DAY: i64 = 86_400_000;

/// Builds a stream: each event gets the next seq; time is in milliseconds.
#[derive(Clone, Default)]
pub(crate) struct Stream {
    pub(crate) events: Vec<StoredEvent>,
}

impl Stream {
    /// The next event; what is returned can be dressed further.
    pub(crate) fn push(&mut self, ms: i64, payload: impl Into<Payload>) -> &mut Event {
        let seq = self.events.len() as u64 + 1;
        let time = Timestamp::from_micros(ms * 1_000);
        let event = Event::new(Uuid::from_u128(seq.into()), time, "instance", Source::default(), payload);
        self.events.push(StoredEvent { seq: Seq::new(seq), recorded: time, event });
        &mut self.events.last_mut().unwrap().event
    }

    /// The next event, of a session and perhaps of a subagent in it.
    pub(crate) fn of(
        &mut self,
        ms: i64,
        session: &str,
        agent: Option<&str>,
        payload: impl Into<Payload>,
    ) -> &mut Event {
        let event = self.push(ms, payload);
        event.session = Some(session.to_owned());
        event.agent = agent.map(str::to_owned);
        event
    }

    pub(crate) fn fold<P: Projection>(&self) -> Fold<P> {
        fold(&self.events)
    }

    /// The same events in another order, each with the seq of its new place.
    pub(crate) fn reordered(&self, order: &[usize]) -> Stream {
        let events = order.iter().zip(1_u64..).map(|(at, seq)| {
            let mut stored = self.events[*at].clone();
            stored.seq = Seq::new(seq);
            stored
        });
        Stream { events: events.collect() }
    }
}

pub(crate) fn fold<P: Projection>(events: &[StoredEvent]) -> Fold<P> {
    let mut fold = Fold::default();
    for event in events {
        fold.apply(event);
    }
    fold
}

//! The body of a stream: a cursor that turns into chunks of frames as fast as the socket takes them.
//!
//! Constraints: a stream that nobody reads must cost its cursor and what already waits for its socket, at most 64 KiB; a
//! thousand streams that show the same must not do the same work a thousand times.
//!
//! How: the body is asked for more only when less than one buffer waits for the socket. What is ready is put into one chunk of at
//! most [`CHUNK_BYTES`]; a frame that is larger goes out in pieces of that size, and between two of them it is not kept but
//! made again. After each chunk the subscription lays down its reader, and with it what was read ahead. A chunk is built once for all
//! streams with the same filter at the same cursor (`chunks.rs`), a frame once for all streams (`frames.rs`).
//!
//! The body is polled by hand, because at a thousand streams an allocation and a timer for each chunk are most of its cost: the one
//! timer for signs of life is set again when it fires, not when something was sent.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::HttpBody;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::chunks::Deliveries;
use super::counts::OneOf;
use super::events::{undecodable_gap, wire_gap};
use super::params::Place;
use super::{App, Phase};
use crate::error::Error;
use crate::event::{Filter, Seq, StoredEvent};
use crate::store::{Delivery, Subscription};
use crate::wire::{RETRY, sse};

/// A chunk is sent once it has this size, even if more is ready: large enough to keep system calls rare, small
/// enough that a thousand streams that stand still cost little.
const CHUNK_BYTES: usize = 16 * 1024;

/// One stream: a subscription on its way into a body.
pub(super) struct Feed {
    app: Arc<App>,
    subscription: Subscription,
    /// The text that stands for the filter.
    filter: Arc<str>,
    phase: watch::Receiver<Phase>,
    /// Resolves when the server is about to end the streams; none once it has.
    ending: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Goes before the first frame.
    opening: String,
    /// Whether `opening` is a frame of its own and need not wait for an event.
    opens_at_once: bool,
    until: Option<Place>,
    /// Fires when `until`, a time, has come.
    end: Option<Pin<Box<Sleep>>>,
    /// When a sign of life is due.
    quiet_until: Instant,
    /// Fires then, or earlier.
    quiet: Pin<Box<Sleep>>,
    /// How much of the frame at the cursor has gone out: 0 between frames.
    sent: usize,
    /// Goes out last, and breaks the connection, so that the client does not take it for the end.
    failed: Option<Error>,
    ended: bool,
    _open: OneOf,
    /// There while it is behind the live end that it had reached.
    lagging: Option<OneOf>,
}

/// A chunk that is being filled.
#[derive(Default)]
struct Filling {
    text: String,
    /// Where the cursor stood before it.
    after: Seq,
    /// Whether it depends on more than the filter and the journal.
    is_own: bool,
    is_full: bool,
    deliveries: Deliveries,
}

impl Feed {
    pub(super) fn new(app: &Arc<App>, subscription: Subscription, filter: &Filter) -> Feed {
        let mut opening = String::new();
        sse::retry_line(&mut opening, RETRY);
        let phase = app.phase.subscribe();
        let mut ending = phase.clone();
        let ending = async move {
            // An error says that the server is gone: that is an end as well.
            let _ = ending.wait_for(|phase| matches!(phase, Phase::Ending(_))).await;
        };
        let quiet_until = Instant::now() + app.settings.keep_alive;
        Feed {
            app: app.clone(),
            subscription,
            filter: filter.key().into(),
            phase,
            ending: Some(Box::pin(ending)),
            opening,
            opens_at_once: false,
            until: None,
            end: None,
            quiet_until,
            quiet: Box::pin(tokio::time::sleep_until(quiet_until)),
            sent: 0,
            failed: None,
            ended: false,
            _open: app.counts.stream(),
            lagging: None,
        }
    }

    /// Says at once where it begins, so that a client has a cursor before its first event.
    pub(super) fn beginning_with_checkpoint(mut self) -> Feed {
        sse::checkpoint_frame(&mut self.opening, self.subscription.cursor().get());
        self.opens_at_once = true;
        self
    }

    /// Ends at `until`; `ends_in` is how far off it is, if it is a time.
    pub(super) fn until(mut self, until: Place, ends_in: Option<Duration>) -> Feed {
        self.until = Some(until);
        self.end = ends_in.map(|time| Box::pin(tokio::time::sleep(time)));
        self
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if std::mem::take(&mut self.opens_at_once) {
            return Poll::Ready(Some(Ok(Bytes::from(std::mem::take(&mut self.opening)))));
        }
        if let Some(error) = self.failed.take() {
            self.ended = true;
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(bytes) = self.built_by_another() {
            return Poll::Ready(Some(Ok(bytes)));
        }
        let mut filling = Filling { after: self.subscription.cursor(), ..Filling::default() };
        loop {
            match self.poll_fill(&mut filling, context) {
                Ok(()) => {}
                Err(error) if filling.text.is_empty() => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Err(error) => self.failed = Some(error),
            }
            if !filling.text.is_empty() {
                return Poll::Ready(Some(Ok(self.chunk(filling))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if self.poll_others(&mut filling, context).is_pending() {
                return Poll::Pending;
            }
            if !filling.text.is_empty() {
                return Poll::Ready(Some(Ok(Bytes::from(filling.text))));
            }
        }
    }

    /// The chunk that stands here, if a stream with the same filter was here a moment ago.
    fn built_by_another(&mut self) -> Option<Bytes> {
        if !self.opening.is_empty() || self.until.is_some() || self.sent > 0 || self.is_at_end() {
            return None;
        }
        let (bytes, deliveries) = self.app.chunks.take_over(&self.filter, &mut self.subscription)?;
        self.app.counts.delivered(deliveries.events, deliveries.gaps);
        self.quiet_until = Instant::now() + self.app.settings.keep_alive;
        Some(bytes)
    }

    /// Takes what is ready, up to a full chunk. Nothing was taken if it has to wait; what it waits for wakes the task then.
    fn poll_fill(&mut self, filling: &mut Filling, context: &mut Context<'_>) -> Result<(), Error> {
        while !filling.is_full && !self.is_at_end() {
            match self.subscription.poll_next(context) {
                Poll::Pending => {
                    self.lagging = None;
                    return Ok(());
                }
                // The store was closed: everything durable is out.
                Poll::Ready(Ok(None)) => self.ended = true,
                Poll::Ready(Ok(Some(delivery))) => self.take(delivery, filling)?,
                Poll::Ready(Err(error)) => {
                    tracing::warn!(%error, "a stream is broken off");
                    return Err(error);
                }
            }
        }
        self.ended |= self.is_at_end();
        Ok(())
    }

    /// Looks at what else may happen to a stream that waits; ready when it is worth looking at the journal again, or when a sign of
    /// life is due.
    fn poll_others(&mut self, filling: &mut Filling, context: &mut Context<'_>) -> Poll<()> {
        if let Some(ending) = &mut self.ending
            && ending.as_mut().poll(context).is_ready()
        {
            self.ending = None;
            return Poll::Ready(());
        }
        if let Some(end) = &mut self.end
            && self.sent == 0
            && end.as_mut().poll(context).is_ready()
        {
            self.ended = true;
            return Poll::Ready(());
        }
        while self.quiet.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            if now >= self.quiet_until {
                filling.text.push_str(sse::SIGN_OF_LIFE);
                self.quiet_until = now + self.app.settings.keep_alive;
            }
            self.quiet.as_mut().reset(self.quiet_until);
            if !filling.text.is_empty() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    fn chunk(&mut self, filling: Filling) -> Bytes {
        self.quiet_until = Instant::now() + self.app.settings.keep_alive;
        let Filling { text, after, is_own, deliveries, .. } = filling;
        self.app.counts.delivered(deliveries.events, deliveries.gaps);
        // It may lie there for long: without the room that it was filled in.
        let bytes = Bytes::from(text.into_boxed_str().into_boxed_bytes());
        if !is_own {
            self.app.chunks.hand_over(&self.filter, after, &self.subscription, &bytes, deliveries);
        }
        bytes
    }

    /// Whether nothing more may go out.
    fn is_at_end(&self) -> bool {
        let cursor = self.subscription.cursor();
        let stopped = matches!(*self.phase.borrow(), Phase::Ending(last) if cursor >= last);
        let until = matches!(self.until, Some(Place::Seq(last)) if cursor >= last);
        self.ended || stopped || until
    }

    /// # Errors
    /// When the frame whose beginning went out can no longer be read.
    fn take(&mut self, delivery: Delivery, filling: &mut Filling) -> Result<(), Error> {
        if self.sent > 0 && !matches!(delivery, Delivery::Event(_) | Delivery::Lag { .. }) {
            return Err(Error::failed("an event became unreadable while it was sent"));
        }
        if let Delivery::Lag { behind } = delivery {
            self.lagging = Some(self.app.counts.lagging());
            self.app.untold.add_lag(behind, self.subscription.cursor().get());
        }
        if self.is_beyond_until(&delivery) {
            self.ended = true;
            return Ok(());
        }
        filling.is_own |= self.until.is_some();
        let out = &mut filling.text;
        if let Delivery::Event(event) = delivery {
            self.take_event(&event, filling);
            return Ok(());
        }
        if !self.opening.is_empty() {
            filling.is_own = true;
            out.push_str(&std::mem::take(&mut self.opening));
        }
        match delivery {
            Delivery::Event(_) => {}
            Delivery::Gap(gap) => {
                filling.deliveries.gaps += 1;
                sse::gap_frame(out, &wire_gap(gap));
            }
            Delivery::Undecodable(record) => {
                filling.deliveries.gaps += 1;
                sse::gap_frame(out, &undecodable_gap(record.seq));
            }
            Delivery::Checkpoint { seq } => {
                // Where it stands depends on where the stream began.
                filling.is_own = true;
                sse::checkpoint_frame(out, seq.get());
            }
            // Between two pieces of a frame it would be part of the frame.
            Delivery::Lag { .. } if self.sent > 0 => {}
            Delivery::Lag { behind } => {
                filling.is_own = true;
                sse::lag_frame(out, behind);
            }
        }
        Ok(())
    }

    fn take_event(&mut self, event: &StoredEvent, filling: &mut Filling) {
        let frame = self.app.frames.frame(event);
        if !filling.text.is_empty() && filling.text.len() + frame.len() > CHUNK_BYTES {
            // It does not fit any more: it is the first of the next chunk.
            self.subscription.go_to(event.seq.prev());
            filling.is_full = true;
            return;
        }
        if !self.opening.is_empty() {
            filling.is_own = true;
            filling.text.push_str(&std::mem::take(&mut self.opening));
        }
        let piece = frame.len().min(self.sent + CHUNK_BYTES);
        let end = (self.sent..=piece).rev().find(|at| frame.is_char_boundary(*at)).unwrap_or(piece);
        filling.text.push_str(&frame[self.sent..end]);
        filling.is_own |= self.sent > 0 || end < frame.len();
        filling.is_full = filling.text.len() >= CHUNK_BYTES || end < frame.len();
        if end < frame.len() {
            self.sent = end;
            self.subscription.go_to(event.seq.prev());
        } else {
            self.sent = 0;
            filling.deliveries.events += 1;
        }
    }

    fn is_beyond_until(&self, delivery: &Delivery) -> bool {
        match (self.until, delivery) {
            (Some(Place::Seq(last)), Delivery::Event(event)) => event.seq > last,
            (Some(Place::Seq(last)), Delivery::Gap(gap)) => gap.from > last,
            (Some(Place::Seq(last)), Delivery::Undecodable(record)) => record.seq > last,
            (Some(Place::Seq(last)), Delivery::Checkpoint { seq }) => *seq > last,
            (Some(Place::Time(time)), Delivery::Event(event)) => event.recorded > time,
            (Some(Place::Time(time)), Delivery::Undecodable(record)) => record.recorded > time,
            _ => false,
        }
    }
}

impl HttpBody for Feed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let feed = self.get_mut();
        let chunk = feed.poll_chunk(context);
        // Nobody knows when the socket takes more.
        feed.subscription.lay_down();
        chunk.map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

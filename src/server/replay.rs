//! `GET /events/replay`: one session as it happened, at a speed.
//!
//! The body is a function of the retained bytes, the parameters and the program's version, so two replays of one
//! session can be compared byte for byte: no comments, no lag, no time of day. What keeps the connection alive are
//! `clock` frames at every ten seconds of scheduled time. The first frame says at which event the replay will end,
//! the last one that it has ended.
//!
//! Events come by (time, seq), since imported lines arrive late; an event's `id:` is its seq as everywhere, so here,
//! and only here, ids may fall. A client that reconnects goes on after the event that it saw last; when there is
//! nothing left the answer is 204, which ends an `EventSource`.
//!
//! With `state`, a frame before each event says what the event changes in a projection. It goes before, because a client that
//! was cut off between the two has not seen the event and so gets both again: nothing of it can be missed. Changes are found for
//! as many events as are read ahead, in the order of the journal; the fold is laid down in between, so a replay that nobody reads holds no state.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::error::Refusal;
use super::params::{Params, Place, last_event_id, ordered};
use super::pump::Pump;
use super::stream::{Start, blocking, check_cursor, response};
use super::{App, Phase, events, sessions};
use crate::error::Error;
use crate::event::{Range, Seq, StoredEvent, Timestamp};
use crate::projection::pacing::{MAX_GAP_DEFAULT, Pacing, Speed, parse_duration};
use crate::projection::registry::{self, Definition};
use crate::projection::steps::{Step, Steps};
use crate::store::SessionOrder;
use crate::wire::sse::{self, ClockTick};
use crate::wire::{ErrorCode, RETRY};

/// Scheduled time between two clock frames.
const CLOCK_EVERY: Duration = Duration::from_secs(10);
/// Events are read ahead in one go up to this many
const READ_AHEAD_EVENTS: usize = 64;
/// and this many bytes of their payloads: what a replay that nobody reads holds beside its order.
const READ_AHEAD_BYTES: usize = 16 * 1024;
/// A chunk is sent once it has this size.
const CHUNK_BYTES: usize = 16 * 1024;

pub(super) async fn replay(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut ask = Ask::of(&app, &uri, &headers)?;
    ask.session = sessions::find(&app, "session", ask.session).await?.id;
    let store = app.store.clone();
    let Some(playing) = blocking(move || Ok(ask.open(&store))).await?? else {
        let mut nothing = response(&app.store, Body::empty());
        *nothing.status_mut() = StatusCode::NO_CONTENT;
        return Ok(nothing);
    };
    let phase = app.phase.subscribe();
    let feed = Feed { app: app.clone(), phase, playing: Some(playing), started: Instant::now() };
    Ok(response(&app.store, Body::from_stream(Pump::new(feed, Feed::chunk))))
}

struct Ask {
    /// The beginning of an id; the whole one once it was looked up.
    session: String,
    pacing: Pacing,
    range: Range,
    state: Option<&'static Definition>,
    after: Option<Seq>,
}

impl Ask {
    fn of(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<Ask, Refusal> {
        let mut params = Params::of(uri)?;
        params.check_journal(&app.store)?;
        let session = params.take("session")?.filter(|session| !session.is_empty());
        let session =
            session.ok_or_else(|| Refusal::parameter("session", "say which `session` to replay"))?;
        let speed = params.parse("speed")?.unwrap_or(Speed::ORIGINAL);
        let max_gap = match params.take("max_gap")? {
            Some(text) => {
                parse_duration(&text).map_err(|error| Refusal::parameter("max_gap", error.to_string()))?
            }
            None => MAX_GAP_DEFAULT,
        };
        let now = app.settings.clock.now();
        let range = Range { from: params.place("from", now)?, until: params.place("until", now)? };
        ordered(range.from, range.until)?;
        if let Some(Place::Seq(from)) = range.from {
            check_cursor(&app.store, Start::From(from))?;
        }
        let state = params.take("state")?.map(|name| registry::find(&name)).transpose();
        let state = state.map_err(|error| Refusal::parameter("state", error.to_string()))?;
        let in_query = params.cursor("last_event_id")?;
        params.finish()?;
        let after = last_event_id(headers)?.or(in_query);
        Ok(Ask { session, pacing: Pacing { speed, max_gap }, range, state, after })
    }

    /// What is to be played, at its first event; `None` when a reconnecting client has seen everything.
    fn open(self, store: &crate::store::Store) -> Result<Option<Playing>, Refusal> {
        let order = store.session(&self.session)?;
        let Some(until_seq) = order.last_seq() else {
            let message = format!("nothing of session {} can be read any more", self.session);
            return Err(Refusal::new(ErrorCode::Gone, message).field("session"));
        };
        let gaps = order.gaps().iter().map(|gap| events::wire_gap(*gap)).collect::<Vec<_>>();
        let mut head = String::new();
        sse::retry_line(&mut head, RETRY);
        sse::clock_frame(&mut head, &ClockTick { elapsed_ms: 0, until_seq: until_seq.get(), done: false });
        for gap in &gaps {
            sse::gap_note(&mut head, gap);
        }
        let mut playing = Playing {
            order,
            ahead: VecDeque::new(),
            exhausted: false,
            steps: self.state.map(|definition| Steps::new(definition, self.session)),
            range: self.range,
            pacing: self.pacing,
            until_seq,
            head,
            before: None,
            at: Duration::ZERO,
            clock_at: CLOCK_EVERY,
        };
        match self.after {
            None => Ok(Some(playing)),
            Some(after) => Ok(playing.skip_past(after)?.then_some(playing)),
        }
    }
}

/// A session on its way out.
struct Playing {
    order: SessionOrder,
    ahead: VecDeque<Ahead>,
    exhausted: bool,
    steps: Option<Steps>,
    range: Range,
    pacing: Pacing,
    until_seq: Seq,
    /// Goes out first.
    head: String,
    /// The time of the event before.
    before: Option<Timestamp>,
    /// Scheduled time of the event before.
    at: Duration,
    /// Scheduled time of the next clock frame.
    clock_at: Duration,
}

/// An event that was read, and its state frame once that was found.
struct Ahead {
    event: StoredEvent,
    state: Option<String>,
}

impl Playing {
    /// Leaves out everything up to `after`; false when nothing is left then.
    fn skip_past(&mut self, after: Seq) -> Result<bool, Refusal> {
        loop {
            self.read_ahead()?;
            match self.ahead.pop_front() {
                Some(ahead) if ahead.event.seq == after => break,
                Some(_) => {}
                None => {
                    let message = format!("event {after} is not in this replay");
                    return Err(Refusal::new(ErrorCode::InvalidCursor, message).field("Last-Event-ID"));
                }
            }
        }
        self.read_ahead()?;
        Ok(!self.ahead.is_empty())
    }

    fn read_ahead(&mut self) -> Result<(), Error> {
        let mut bytes: usize = self.ahead.iter().map(|ahead| ahead.event.event.payload.as_str().len()).sum();
        while self.ahead.len() < READ_AHEAD_EVENTS && bytes < READ_AHEAD_BYTES && !self.exhausted {
            match self.order.next()? {
                Some(event) if self.range.holds(event.seq, event.event.time) => {
                    bytes += event.event.payload.as_str().len();
                    self.ahead.push_back(Ahead { event, state: None });
                }
                Some(_) => {}
                None => self.exhausted = true,
            }
        }
        // Nobody knows when the socket takes more.
        self.order.lay_down();
        Ok(())
    }

    /// Finds the state frames of what was read.
    fn find_states(&mut self, app: &App) -> Result<(), Error> {
        let Some(steps) = &mut self.steps else { return Ok(()) };
        let mut unknown: Vec<&mut Ahead> =
            self.ahead.iter_mut().filter(|ahead| ahead.state.is_none()).collect();
        unknown.sort_unstable_by_key(|ahead| ahead.event.seq);
        for ahead in unknown {
            let seq = ahead.event.seq;
            let changes = steps.changes_at(&app.store, app.files.as_ref(), seq)?;
            let step = Step { projection: steps.projection(), seq, changes: &changes };
            sse::state_frame(ahead.state.get_or_insert_default(), &step);
        }
        steps.lay_down();
        Ok(())
    }

    fn needs_reading(&self) -> bool {
        match self.ahead.front() {
            Some(ahead) => self.steps.is_some() && ahead.state.is_none(),
            None => !self.exhausted,
        }
    }

    /// Reads ahead off the threads that serve sockets.
    async fn read_on(mut self, app: &Arc<App>) -> Result<Playing, Error> {
        let _turn = match self.steps {
            Some(_) => Some(app.folding.acquire().await.map_err(|_| Error::failed("the server stops"))?),
            None => None,
        };
        let app = app.clone();
        let read = move || {
            self.read_ahead()?;
            self.find_states(&app)?;
            Ok(self)
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|_| Error::failed("reading the session failed"))?
    }

    /// When the next event is due in scheduled time; `None` after the last.
    fn event_due(&self) -> Option<Duration> {
        let time = self.ahead.front()?.event.event.time;
        let delay = self.before.map_or(Duration::ZERO, |before| self.pacing.delay(before, time));
        Some(self.at.saturating_add(delay))
    }

    /// When the next frame is due: a clock frame goes before an event of the same moment.
    fn due(&self) -> Option<Duration> {
        Some(self.event_due()?.min(self.clock_at))
    }

    /// Appends the frame that is due next.
    fn next_frame(&mut self, app: &App, out: &mut String) {
        let Some(due) = self.event_due() else { return };
        if self.clock_at <= due {
            sse::clock_frame(out, &self.tick(self.clock_at, false));
            self.clock_at = self.clock_at.saturating_add(CLOCK_EVERY);
        } else if let Some(Ahead { event, state }) = self.ahead.pop_front() {
            self.at = due;
            self.before = Some(event.event.time);
            out.push_str(state.as_deref().unwrap_or_default());
            out.push_str(&app.frames.frame(&event));
        }
    }

    /// Appends the frame that says that everything was shown.
    fn end_frame(&self, out: &mut String) {
        sse::clock_frame(out, &self.tick(self.at, true));
    }

    fn tick(&self, at: Duration, done: bool) -> ClockTick {
        let elapsed_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        ClockTick { elapsed_ms, until_seq: self.until_seq.get(), done }
    }
}

struct Feed {
    app: Arc<App>,
    phase: watch::Receiver<Phase>,
    /// `None` while it is being read on, and after its last frame.
    playing: Option<Playing>,
    started: Instant,
}

impl Feed {
    /// The next chunk. Frames that are due at the same moment share one. An error breaks the connection, so that
    /// the client does not take it for the end.
    async fn chunk(mut self) -> Option<(Result<Bytes, Error>, Feed)> {
        let mut playing = self.playing.take()?;
        let mut out = std::mem::take(&mut playing.head);
        while out.len() < CHUNK_BYTES {
            if playing.needs_reading() {
                playing = match playing.read_on(&self.app).await {
                    Ok(playing) => playing,
                    Err(error) => return Some((Err(error), self)),
                };
            }
            let Some(due) = playing.due() else {
                playing.end_frame(&mut out);
                return Some((Ok(Bytes::from(out)), self));
            };
            if self.is_early(due) {
                if !out.is_empty() {
                    break;
                }
                if !self.wait_until(due).await {
                    return None;
                }
            }
            playing.next_frame(&self.app, &mut out);
        }
        self.playing = Some(playing);
        Some((Ok(Bytes::from(out)), self))
    }

    fn is_early(&self, due: Duration) -> bool {
        self.started.elapsed() < due
    }

    /// False when the server stops before.
    async fn wait_until(&mut self, due: Duration) -> bool {
        let due = self.started.checked_add(due);
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => true,
            _ = self.phase.wait_for(|phase| *phase != Phase::Running) => false,
        }
    }
}

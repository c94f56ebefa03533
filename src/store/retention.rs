//! Retention: which of the oldest segments go, and how they go without anybody losing count.
//!
//! What goes is decided by [`plan`], a pure function of the segments and the policy. Only whole segments go, oldest first;
//! the one that is written to and the newest `retention.min_bytes` stay. Age is measured from the newest event, not
//! from a clock, and by itself the server lets one segment a minute go for its age: a clock that jumps ten years ahead costs a
//! segment a minute, and not the past. Size is obeyed at once.
//!
//! No event is kept longer for its importance. A segment holds thousands of events and nearly every one of them an important
//! one, so that would keep everything. What the events did to the projections stays, in the base.
//!
//! ```text
//! plan --> base, durable (the caller's) --> note in the inbox, durable --> cut --> retention_applied, durable --> note gone
//! ```
//! Whatever stops this, the next opening goes on where the note says: a cut that was begun is finished and told, once. A
//! base that could not be written means no cut.
//!
//! What the server drops by itself is told at most once a minute. A cut within the minute after leaves its note in the inbox,
//! with what went before and was not told; the first call after the minute tells it all as one, and so does whoever asks for a cut,
//! the server when it stops, and the next opening.
//!
//! The window of known ids ends where the journal begins: an event that was dropped is not recognised when it is sent again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::settings::Retention;
use crate::error::{Error, Result};
use crate::event::{Event, Kind, Seq, Timestamp, payload};
use crate::store::Gap;
use crate::store::inbox::untold;
use crate::store::log::{Log, LogItem, Segment};
use crate::store::open::Store;

/// How much may go for its age at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Nothing: only the size counts.
    SizeAlone,
    /// One segment: what the server does by itself, once a minute.
    One,
    /// All of it: somebody asked for it, who could look before.
    All,
}

/// What the server drops by itself is told at most once in this time.
const TELL_EVERY_MICROS: u64 = 60_000_000;

/// What one call of [`Store::retain`] leaves to the next.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// When cuts were last told.
    told: Option<Timestamp>,
    /// How long those took that were not told yet.
    took: Duration,
}

/// Why segments go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// They are older than `retention.max_age`.
    Age,
    /// The journal is larger than `retention.max_bytes`.
    Size,
}

impl Reason {
    /// As it stands in the event.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Age => "age",
            Reason::Size => "size",
        }
    }
}

/// Why no more goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// No policy is set.
    NoPolicy,
    /// It is neither old nor large enough.
    WithinPolicy,
    /// The newest `retention.min_bytes` always stay.
    Newest,
    /// The last segment is being written.
    Active,
    /// One segment a minute goes for its age.
    Paced,
}

impl Stays {
    /// A sentence's worth of it.
    pub const fn words(self) -> &'static str {
        match self {
            Stays::NoPolicy => "neither retention.max_age nor retention.max_bytes is set",
            Stays::WithinPolicy => "it is within retention.max_age and retention.max_bytes",
            Stays::Newest => "the newest retention.min_bytes always stay",
            Stays::Active => "the last segment is being written",
            Stays::Paced => "one segment a minute goes for its age",
        }
    }
}

/// What goes, what stays, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What goes, oldest first, with the reason; nothing without.
    pub cut: Option<Cut>,
    /// Why no more goes.
    pub stays: Stays,
    /// The first seq that stays.
    pub first: Seq,
    /// How many segments stay.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Whole oldest segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The first seq in them.
    pub from: Seq,
    /// The last.
    pub to: Seq,
    /// How many they are.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why they go: size, if any of them goes for that.
    pub reason: Reason,
}

/// Decides about `segments`, oldest first, of a journal whose newest event was recorded at `newest`.
pub fn plan(segments: &[Segment], policy: &Retention, newest: Timestamp, pace: Pace) -> Plan {
    let mut left: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let (mut cut, mut aged, mut gone) = (None::<Cut>, 0, 0);
    let stays = loop {
        let Some(segment) = segments.get(gone).filter(|segment| segment.droppable) else {
            break if policy.is_set() { Stays::Active } else { Stays::NoPolicy };
        };
        let large = policy.max_bytes.is_some_and(|max| left > max);
        let old = is_old(segment, policy, newest);
        if !large && !old {
            break if policy.is_set() { Stays::WithinPolicy } else { Stays::NoPolicy };
        }
        if left - segment.bytes < policy.min_bytes {
            break Stays::Newest;
        }
        if !large && (pace == Pace::SizeAlone || (pace == Pace::One && aged == 1)) {
            break Stays::Paced;
        }
        aged += u64::from(!large);
        let reason = if large { Reason::Size } else { Reason::Age };
        let all =
            cut.get_or_insert(Cut { from: segment.first, to: segment.last, segments: 0, bytes: 0, reason });
        (all.to, all.segments, all.bytes) = (segment.last, all.segments + 1, all.bytes + segment.bytes);
        left -= segment.bytes;
        gone += 1;
    };
    let first = segments.get(gone).map_or(Seq::FIRST, |segment| segment.first);
    Plan { cut, stays, first, segments: (segments.len() - gone) as u64, bytes: left }
}

fn is_old(segment: &Segment, policy: &Retention, newest: Timestamp) -> bool {
    let (Some(age), Some(last)) = (policy.max_age, segment.last_recorded) else { return false };
    let limit = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    newest.as_micros().saturating_sub(last.as_micros()) > limit
}

impl Store {
    /// What a retention at this moment would do. Changes nothing.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn plan_retention(&self, policy: &Retention, pace: Pace) -> Result<Plan> {
        let log = self.log();
        Ok(plan(&log.segments()?, policy, newest(&**log)?, pace))
    }

    /// Drops what the policy lets go, if anything, and tells of it. `before_cut` is given the last seq that goes and must
    /// make durable whatever is to be known of the events up to there; if it fails, nothing goes. It answers with the gaps that it met.
    ///
    /// What goes and was not looked at since it was sealed is looked at before, and its damage is told: afterwards nobody could.
    ///
    /// On return what went is gone for good and `retention_applied` is durable, unless cuts were told within the last minute and
    /// `pace` is not [`Pace::All`]: then it is added up and told by a later call. One at a time; appending and reading
    /// go on meanwhile.
    ///
    /// # Errors
    /// What `before_cut` says, and what the journal and the disk say. A cut that was begun is finished by the next call or the next
    /// opening, and told then.
    pub fn retain(
        &self,
        policy: &Retention,
        pace: Pace,
        before_cut: &mut dyn FnMut(Seq) -> Result<Vec<Gap>>,
    ) -> Result<Plan> {
        let mut cuts = self.cuts();
        let (started, now) = (Instant::now(), self.inner.clock.now());
        let mut untold = self.finish_cuts()?;
        let plan = self.plan_retention(policy, pace)?;
        if let Some(cut) = plan.cut {
            let mut found = self.last_words(cut.to, None)?;
            let met: BTreeSet<Seq> = before_cut(cut.to)?.iter().map(|gap| gap.from).collect();
            found.extend(self.last_words(cut.to, Some(&met))?);
            // Whoever cuts to make room has none before.
            let told = match self.append_in_batches(&found) {
                Err(error) if error.is_full() => false,
                told => told.map(|()| true)?,
            };
            let note =
                self.own_event(untold.iter().fold(applied(&cut), |all, (_, before)| joined(before, all)));
            let mut path = None;
            if let Some(dir) = &self.inner.dir {
                untold::leave(&dir.inbox(), std::slice::from_ref(&note))?;
                path = Some(untold::path_of(&dir.inbox(), &note));
            }
            cut_point("noted");
            self.inner.log.drop_before(cut.to.next())?;
            cut_point("cut");
            self.inner.writer().ids.forget_before(plan.first);
            if !told {
                self.append_in_batches(&found)?;
            }
            cuts.took += started.elapsed();
            untold = vec![(path, note)];
        }
        // Without a place for a note nothing is left for later.
        let lately =
            cuts.told.is_some_and(|told| now.as_micros().abs_diff(told.as_micros()) < TELL_EVERY_MICROS);
        if pace == Pace::All || !lately || self.inner.dir.is_none() {
            self.tell(&mut cuts, untold, now)?;
        }
        Ok(plan)
    }

    /// Tells of cuts that were made and not told yet, if there are any.
    ///
    /// # Errors
    /// What the journal and the disk say; the next opening tells it then.
    pub fn tell_cuts(&self) -> Result<()> {
        let mut cuts = self.cuts();
        let untold = self.finish_cuts()?;
        let now = self.inner.clock.now();
        self.tell(&mut cuts, untold, now)
    }

    fn cuts(&self) -> MutexGuard<'_, Cuts> {
        self.inner.retaining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finishes what an earlier call in this process began and could not end; the notes of cuts that were not told.
    fn finish_cuts(&self) -> Result<Vec<(Option<PathBuf>, Event)>> {
        let Some(dir) = &self.inner.dir else { return Ok(Vec::new()) };
        let mut notes = Vec::new();
        for (path, event) in untold::left(&dir.inbox())? {
            if let Some(event) = event.filter(|event| event.kind == Kind::RetentionApplied) {
                self.finish_cut(&event)?;
                notes.push((Some(path), event));
            }
        }
        Ok(notes)
    }

    fn tell(&self, cuts: &mut Cuts, untold: Vec<(Option<PathBuf>, Event)>, now: Timestamp) -> Result<()> {
        for (path, note) in untold {
            let mut events = vec![note];
            if let Some(Ok(cut)) = events[0].payload_as::<payload::RetentionApplied>() {
                events.push(self.own_event(payload::DatabaseOperation {
                    operation: "retention".to_owned(),
                    projection: "journal".to_owned(),
                    affected_rows: cut.to_seq.saturating_sub(cut.from_seq).saturating_add(1),
                    duration_ms: u64::try_from(cuts.took.as_millis()).unwrap_or(u64::MAX),
                }));
            }
            self.append_own(events)?;
            if let Some(path) = path {
                std::fs::remove_file(&path).map_err(Error::io("remove", path))?;
            }
            *cuts = Cuts { told: Some(now), took: Duration::ZERO };
        }
        Ok(())
    }

    /// Does what the note of a cut says: its base is durable, or there would be no note.
    pub(super) fn finish_cut(&self, note: &Event) -> Result<()> {
        if let Some(Ok(cut)) = note.payload_as::<payload::RetentionApplied>() {
            self.inner.log.drop_before(Seq::new(cut.to_seq).next())?;
        }
        Ok(())
    }
}

fn applied(cut: &Cut) -> payload::RetentionApplied {
    payload::RetentionApplied {
        from_seq: cut.from.get(),
        to_seq: cut.to.get(),
        segments: cut.segments,
        freed_bytes: cut.bytes,
        reason: cut.reason.name().to_owned(),
    }
}

/// A cut and the one that `before` notes, as one: for size, if either was.
fn joined(before: &Event, cut: payload::RetentionApplied) -> payload::RetentionApplied {
    let Some(Ok(before)) = before.payload_as::<payload::RetentionApplied>() else { return cut };
    let for_size = before.reason == Reason::Size.name();
    payload::RetentionApplied {
        from_seq: before.from_seq.min(cut.from_seq),
        to_seq: before.to_seq.max(cut.to_seq),
        segments: before.segments.saturating_add(cut.segments),
        freed_bytes: before.freed_bytes.saturating_add(cut.freed_bytes),
        reason: if for_size { before.reason } else { cut.reason },
    }
}

/// When the newest event was recorded.
fn newest(log: &dyn Log) -> Result<Timestamp> {
    let durable = log.durable();
    let mut reader = log.read(durable);
    match if durable == Seq::ZERO { None } else { reader.next()? } {
        Some(LogItem::Record { recorded, .. }) => Ok(recorded),
        // Nothing is older than that.
        _ => Ok(Timestamp::from_micros(i64::MIN)),
    }
}

/// Where tests let the process die.
#[cfg(not(test))]
fn cut_point(_name: &'static str) {}
#[cfg(test)]
use tests::cut_point;

#[cfg(test)]
mod tests;

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
//! The window of known ids ends where the journal begins: an event that was dropped is not recognised when it is sent again.

use std::time::Instant;

use crate::config::settings::Retention;
use crate::error::{Error, Result};
use crate::event::{Event, Kind, Seq, Timestamp, payload};
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
    /// make durable whatever is to be known of the events up to there; if it fails, nothing goes.
    ///
    /// On return what went is gone for good and `retention_applied` is durable. One at a time; appending and reading
    /// go on meanwhile.
    ///
    /// # Errors
    /// What `before_cut` says, and what the journal and the disk say. A cut that was begun is finished by the next call or the next
    /// opening, and told then.
    pub fn retain(
        &self,
        policy: &Retention,
        pace: Pace,
        before_cut: &mut dyn FnMut(Seq) -> Result<()>,
    ) -> Result<Plan> {
        let _one = self.inner.retaining.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.finish_cuts()?;
        let started = Instant::now();
        let plan = self.plan_retention(policy, pace)?;
        let Some(cut) = plan.cut else { return Ok(plan) };
        before_cut(cut.to)?;
        let event = self.own_event(payload::RetentionApplied {
            from_seq: cut.from.get(),
            to_seq: cut.to.get(),
            segments: cut.segments,
            freed_bytes: cut.bytes,
            reason: cut.reason.name().to_owned(),
        });
        if let Some(dir) = &self.inner.dir {
            untold::leave(&dir.inbox(), std::slice::from_ref(&event))?;
        }
        cut_point("noted");
        self.inner.log.drop_before(cut.to.next())?;
        cut_point("cut");
        self.inner.writer().ids.forget_before(plan.first);
        let operation = self.own_event(payload::DatabaseOperation {
            operation: "retention".to_owned(),
            projection: "journal".to_owned(),
            affected_rows: cut.to.get() - cut.from.get() + 1,
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        self.append_own(vec![event.clone(), operation])?;
        if let Some(dir) = &self.inner.dir {
            untold::take_back(&dir.inbox(), &event)?;
        }
        Ok(plan)
    }

    /// Finishes and tells what an earlier call in this process began and could not end.
    fn finish_cuts(&self) -> Result<()> {
        let Some(dir) = &self.inner.dir else { return Ok(()) };
        for (path, event) in untold::left(&dir.inbox())? {
            if let Some(event) = event.filter(|event| event.kind == Kind::RetentionApplied) {
                self.finish_cut(&event)?;
                self.append_own(vec![event])?;
                std::fs::remove_file(&path).map_err(Error::io("remove", path))?;
            }
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

//! How two sessions differ: which calls both made, where they first part, where they meet again.
//!
//! **Constraints.** Two runs of the same work are never alike byte by byte, so only what was done counts: tools and their inputs, without
//! prose, ids, times and temporary paths ([`normal`]), and how the calls ended. What a model wrote in between is not compared.
//!
//! **How it works.** [`calls`] puts the calls of each session in order, [`mod@align`] says which is which, and [`Difference`] names what
//! follows: the first divergence is the first place where the runs do not do the same with the same outcome; they meet again at the first
//! call after it that is the same on both sides.
//!
//! **What is missing.** Counts outlive the events that they were made of. Where events of a session can no longer be read, what is left of
//! them proves nothing: the sessions are then alike only if they are one, and differ only if their counts do ([`Difference::same`]).

mod align;
mod calls;
mod normal;

use serde::{Deserialize, Serialize};

use self::align::{Step, align};
use self::calls::{Call, Collector};
use super::sessions::look::Found;
use super::sessions::state::Tokens;
use super::sessions::view::SessionView;
use super::{GapView, Progress, Source};
use crate::error::{Error, Result};
use crate::event::{Filter, Seq};
use crate::store::{GapReason, Item};

pub use calls::{CALLS_MAX, CallView};

/// The version of the JSON.
pub const VERSION: u32 = 1;
/// Differences that are shown where no limit is given.
pub const LIMIT_DEFAULT: usize = 200;

/// One session of a comparison in figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Its id.
    pub session: String,
    /// Tool calls.
    pub calls: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Of these, denied.
    pub denied: u64,
    /// Prompts.
    pub prompts: u64,
    /// Turns completed.
    pub turns: u64,
    /// From its first event to its last.
    pub span_ms: u64,
    /// In tool calls, reported or derived.
    pub tool_ms: u64,
    /// As the provider reported them; null where it did not.
    pub tokens: Option<Tokens>,
    /// Calls beyond [`CALLS_MAX`], which are not compared.
    pub calls_omitted: u64,
    /// Events of it that were counted and can no longer be read: what they tell is not compared.
    #[serde(default)]
    pub events_missing: u64,
}

/// The second session's figures less the first's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Tool calls.
    pub calls: i64,
    /// Failed calls.
    pub failed: i64,
    /// Denied calls.
    pub denied: i64,
    /// Milliseconds from first to last event.
    pub span_ms: i64,
    /// Milliseconds in tool calls.
    pub tool_ms: i64,
    /// All tokens; null where one of the two is not known.
    pub tokens: Option<i64>,
}

/// How two aligned or single calls part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The same step with another input.
    Input,
    /// The same call with another outcome.
    Outcome,
    /// Only the first session made it.
    OnlyA,
    /// Only the second session made it.
    OnlyB,
}

/// Where the sessions first part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// How.
    pub how: How,
    /// The first session's call there; null at its end.
    pub a: Option<CallView>,
    /// The second session's call there; null at its end.
    pub b: Option<CallView>,
}

/// Two calls that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The first session's.
    pub a: CallView,
    /// The second session's.
    pub b: CallView,
}

/// Two calls that belong together and are not alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The first session's.
    pub a: CallView,
    /// The second session's.
    pub b: CallView,
    /// Fields of the input that differ.
    pub input: Vec<String>,
    /// Whether they ended differently.
    pub outcome: bool,
}

/// One difference, by where its calls stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Calls alike between the difference before and this one.
    pub alike: u64,
    /// How they part.
    pub how: How,
    /// The first session's call; null where it has none.
    pub a: Option<Seq>,
    /// The second session's call; null where it has none.
    pub b: Option<Seq>,
}

/// What `diff --json` prints, and the body of `GET /diff`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffView {
    /// [`VERSION`].
    pub version: u32,
    /// The last event that this knows.
    pub seq: Seq,
    /// Whether nothing that counts differs; null where events that would tell are missing.
    pub same: Option<bool>,
    /// The first session.
    pub a: Side,
    /// The second session.
    pub b: Side,
    /// The second less the first.
    pub delta: Delta,
    /// Calls that are the same on both sides, whatever their outcome.
    pub aligned: u64,
    /// Where they first part; null where they do not.
    pub first_divergence: Option<Divergence>,
    /// The first call after it that is the same on both sides; null where they do not meet again.
    pub resync: Option<Pair>,
    /// Calls that belong together and are not alike.
    pub changed: Vec<Changed>,
    /// Calls of the first session alone.
    pub only_a: Vec<CallView>,
    /// Calls of the second session alone.
    pub only_b: Vec<CallView>,
    /// How many of the three lists the limit left out.
    pub omitted: u64,
    /// The differences in the order of both sessions, cut to the limit: each stands in one of the three lists.
    pub order: Vec<Place>,
    /// How many the limit left out of `order`.
    pub order_omitted: u64,
    /// Calls alike after the last difference.
    pub alike_last: u64,
    /// Records of the sessions that are no event to this version, and are not compared.
    pub unreadable: u64,
    /// Ranges that can no longer be read: what was of the sessions in them is not compared.
    pub gaps: Vec<GapView>,
}

/// One line of the two sessions side by side.
struct Row<'a> {
    /// The first session's call.
    a: Option<&'a CallView>,
    /// The second session's call.
    b: Option<&'a CallView>,
    /// How they part; none where they are alike.
    how: Option<How>,
}

/// Two sessions, aligned.
pub struct Difference {
    sides: [Side; 2],
    a: Vec<Call>,
    b: Vec<Call>,
    steps: Vec<Step>,
    /// Every call of both was compared.
    is_whole: bool,
    /// The figures of both are of all their events.
    counts_whole: bool,
    seq: Seq,
    unreadable: u64,
    gaps: Vec<GapView>,
}

/// Compares two sessions that were found, reading their calls back from the journal; and what could not be read.
///
/// # Errors
/// When the journal cannot be read.
pub fn compare(source: &impl Source, a: &Found, b: &Found) -> Result<(Difference, Progress)> {
    let mut progress = Progress::default();
    let (side_a, a_calls) = side(source, a, &mut progress)?;
    let (side_b, b_calls) = side(source, b, &mut progress)?;
    // Sessions that ran side by side meet the same damage.
    progress.gaps.sort_by_key(|gap| (gap.from, gap.to));
    progress.gaps.dedup();
    let signatures = |calls: &[Call]| calls.iter().map(|call| call.signature).collect::<Vec<_>>();
    let steps = align(&signatures(&a_calls), &signatures(&b_calls));
    let sides = [side_a, side_b];
    let counts_whole = [a, b].iter().all(|found| !found.session.returned && !found.may_lack);
    let damaged =
        progress.undecodable > 0 || progress.gaps.iter().any(|gap| gap.reason == GapReason::Corruption);
    let compared = sides.iter().all(|side| side.events_missing == 0 && side.calls_omitted == 0);
    let difference = Difference {
        sides,
        is_whole: counts_whole && compared && !damaged,
        counts_whole,
        a: a_calls,
        b: b_calls,
        steps,
        seq: a.seq.max(b.seq),
        unreadable: progress.undecodable,
        gaps: GapView::all(&progress),
    };
    Ok((difference, progress))
}

fn side(source: &impl Source, found: &Found, progress: &mut Progress) -> Result<(Side, Vec<Call>)> {
    let view = SessionView::of(&found.id, &found.session);
    let mut calls = Collector::new(view.cwd.clone());
    let only = Filter::from_pairs([("session", found.id.as_str())])
        .map_err(|error| Error::failed(format!("the session cannot be asked for: {}", error.message)))?;
    let (first, last) = (Seq::new(found.session.seq_first), Seq::new(found.session.seq_last));
    let mut replay = source.replay(first).filtered(only).through(last);
    let mut events = 0;
    while let Some(item) = replay.next()? {
        progress.count(&item);
        if let Item::Event(stored) = &item {
            events += 1;
            calls.push(stored);
        }
    }
    let counts = &view.counts;
    let side = Side {
        session: found.id.clone(),
        calls: counts.tool_calls,
        failed: counts.tools_failed,
        denied: counts.tools_denied,
        prompts: counts.prompts,
        turns: counts.turns,
        span_ms: view.span_ms,
        tool_ms: counts.tool_ms_reported.saturating_add(counts.tool_ms_derived),
        tokens: view.tokens,
        calls_omitted: calls.omitted(),
        events_missing: view.events.saturating_sub(events),
    };
    Ok((side, calls.finish()))
}

impl Difference {
    fn how(&self, step: Step) -> Option<How> {
        match step {
            Step::Same(i, j) => (!self.a[i].ended_like(&self.b[j])).then_some(How::Outcome),
            Step::Changed(..) => Some(How::Input),
            Step::OnlyA(_) => Some(How::OnlyA),
            Step::OnlyB(_) => Some(How::OnlyB),
        }
    }

    fn row(&self, step: Step) -> Row<'_> {
        let (a, b) = match step {
            Step::Same(i, j) | Step::Changed(i, j) => (Some(i), Some(j)),
            Step::OnlyA(i) => (Some(i), None),
            Step::OnlyB(j) => (None, Some(j)),
        };
        Row { a: a.map(|i| &self.a[i].view), b: b.map(|j| &self.b[j].view), how: self.how(step) }
    }

    /// The first differences in the order of both, how many more there are, and how many calls are alike after the last.
    fn order(&self, limit: usize) -> (Vec<Place>, u64, u64) {
        let (mut order, mut omitted, mut alike) = (Vec::new(), 0, 0);
        for row in self.steps.iter().map(|step| self.row(*step)) {
            let Some(how) = row.how else {
                alike += 1;
                continue;
            };
            if order.len() < limit {
                let seq = |call: Option<&CallView>| call.map(|call| call.seq);
                order.push(Place { alike, how, a: seq(row.a), b: seq(row.b) });
            } else {
                omitted += 1;
            }
            alike = 0;
        }
        (order, omitted, alike)
    }

    /// Whether the sessions did the same, as far as that is proven.
    fn same(&self) -> Option<bool> {
        let [a, b] = &self.sides;
        let counts = |side: &Side| (side.calls, side.failed, side.denied);
        if a.session == b.session {
            Some(true)
        } else if self.is_whole {
            Some(self.first_divergence().is_none())
        } else {
            (self.counts_whole && counts(a) != counts(b)).then_some(false)
        }
    }

    fn first_divergence(&self) -> Option<usize> {
        self.steps.iter().position(|step| self.how(*step).is_some())
    }

    /// What each of them does at a step: its own call, or the next one of the session that has none there.
    fn divergence(&self, at: usize) -> Option<Divergence> {
        let how = self.how(self.steps[at])?;
        let rest = || self.steps[at..].iter().map(|step| self.row(*step));
        let (a, b) = (rest().find_map(|row| row.a), rest().find_map(|row| row.b));
        Some(Divergence { how, a: a.cloned(), b: b.cloned() })
    }

    /// As JSON, each list cut to `limit`.
    pub fn view(&self, limit: usize) -> DiffView {
        let at = self.first_divergence();
        let (mut changed, mut only_a, mut only_b, mut omitted) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let mut keep = |is_room: bool| {
            omitted += u64::from(!is_room);
            is_room
        };
        for step in &self.steps {
            match (*step, self.how(*step)) {
                (_, None) => {}
                (Step::OnlyA(i), _) if keep(only_a.len() < limit) => only_a.push(self.a[i].view.clone()),
                (Step::OnlyB(j), _) if keep(only_b.len() < limit) => only_b.push(self.b[j].view.clone()),
                (Step::Same(i, j) | Step::Changed(i, j), _) if keep(changed.len() < limit) => {
                    let (a, b) = (&self.a[i], &self.b[j]);
                    changed.push(Changed {
                        a: a.view.clone(),
                        b: b.view.clone(),
                        input: a.changed_fields(b),
                        outcome: !a.ended_like(b),
                    });
                }
                _ => {}
            }
        }
        let resync = at.and_then(|at| {
            let again = self.steps[at + 1..].iter().find(|step| self.is_same(**step))?;
            let row = self.row(*again);
            Some(Pair { a: row.a?.clone(), b: row.b?.clone() })
        });
        let [a, b] = self.sides.clone();
        let (order, order_omitted, alike_last) = self.order(limit);
        DiffView {
            version: VERSION,
            seq: self.seq,
            same: self.same(),
            delta: delta(&a, &b),
            a,
            b,
            aligned: self.steps.iter().filter(|step| matches!(step, Step::Same(..))).count() as u64,
            first_divergence: at.and_then(|at| self.divergence(at)),
            resync,
            changed,
            only_a,
            only_b,
            omitted,
            order,
            order_omitted,
            alike_last,
            unreadable: self.unreadable,
            gaps: self.gaps.clone(),
        }
    }

    fn is_same(&self, step: Step) -> bool {
        matches!(step, Step::Same(..)) && self.how(step).is_none()
    }
}

fn delta(a: &Side, b: &Side) -> Delta {
    let less = |b: u64, a: u64| {
        let delta = i128::from(b) - i128::from(a);
        i64::try_from(delta).unwrap_or(if delta < 0 { i64::MIN } else { i64::MAX })
    };
    Delta {
        calls: less(b.calls, a.calls),
        failed: less(b.failed, a.failed),
        denied: less(b.denied, a.denied),
        span_ms: less(b.span_ms, a.span_ms),
        tool_ms: less(b.tool_ms, a.tool_ms),
        tokens: a.tokens.zip(b.tokens).map(|(a, b)| less(b.total(), a.total())),
    }
}

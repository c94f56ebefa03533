//! Statistics of any range of the journal: how often, how long, how much of it failed, at what cost in tokens.
//!
//! **A fold of the range and of nothing else.** What stands before `since` or after `until` is not looked at, so each
//! figure is exact for its range and says from which event to which it was counted. The price is one pass over the
//! range; its beginning is found by time in O(log n). A run that began before the range and ended in it is one run
//! without a start, a session likewise.
//!
//! **Range and groups.** The range goes by the time at which the journal took an event, as everywhere on the command
//! line. Groups by hour and by day go by when things happened: an import of last month's transcripts belongs to last
//! month. A run belongs to the group of its start, a session to that of its first event, a message to that of its first
//! line, an outcome and a health event to that of their own moment.
//!
//! **Unknown is not 0.** A share, a mean, a percentile and a token count of nothing are `null`.
//!
//! The rules are those of the live projections, by the same code: [`super::commands`] for runs and sessions,
//! [`super::health`] for rates; tokens as [`super::sessions`] counts them ([`tokens`]).

pub mod tokens;
pub mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use self::tokens::{Messages, TokenTable};
use super::Mark;
use super::calendar::{Period as _, UtcDay, UtcHour};
use super::commands::figures::{CommandTable, Seqs, SessionFigures};
use super::commands::runs::Runs;
use super::commands::spans::Spans;
use super::health::rates::{self, Rates};
use super::sessions::text::{bounded_id, clip, id_key};
use crate::error::Result;
use crate::event::{Category, Kind, Seq, StoredEvent, Timestamp};
use crate::projection::{Progress, Source};
use crate::store::{Gap, GapReason, Item};

/// Groups told apart; further ones are counted together, and it is told.
pub const GROUPS_MAX: usize = 10_000;

/// What to break the figures down by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The hour of UTC.
    Hour,
    /// The day of UTC.
    Day,
    /// The agent session.
    Session,
    /// The project.
    Project,
}

impl By {
    /// Every way, by its name.
    pub const ALL: [By; 4] = [By::Hour, By::Day, By::Session, By::Project];

    /// The word in parameters and answers.
    pub const fn name(self) -> &'static str {
        match self {
            By::Hour => "hour",
            By::Day => "day",
            By::Session => "session",
            By::Project => "project",
        }
    }
}

/// Why a text names no way to break figures down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("takes hour, day, session or project")]
pub struct UnknownBy;

impl FromStr for By {
    type Err = UnknownBy;

    fn from_str(text: &str) -> std::result::Result<By, UnknownBy> {
        By::ALL.into_iter().find(|by| by.name() == text).ok_or(UnknownBy)
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A group of figures.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// An hour.
    Hour(UtcHour),
    /// A day.
    Day(UtcDay),
    /// A session or a project.
    Named(String),
    /// Nothing names it: an event without a session or a project.
    Unnamed,
    /// All groups beyond [`GROUPS_MAX`] together.
    Others,
}

impl Serialize for Group {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Group::Hour(hour) => hour.serialize(serializer),
            Group::Day(day) => day.serialize(serializer),
            Group::Named(name) => serializer.serialize_str(name),
            Group::Unnamed => serializer.serialize_none(),
            Group::Others => serializer.serialize_str("(others)"),
        }
    }
}

/// As its words. Whether they are a name or a time is said by what the figures are broken down by.
impl<'de> Deserialize<'de> for Group {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Group, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map_or(Group::Unnamed, Group::Named))
    }
}

/// What an event, a run, a session or a message says of its group.
struct Place<'a> {
    time: Timestamp,
    session: Option<&'a str>,
    project: Option<&'a str>,
}

impl By {
    fn group(self, place: &Place<'_>) -> Group {
        let named = |name: Option<&str>| name.map_or(Group::Unnamed, |name| Group::Named(name.to_owned()));
        match self {
            By::Hour => Group::Hour(UtcHour::of(place.time)),
            By::Day => Group::Day(UtcDay::of(place.time)),
            By::Session => named(place.session),
            By::Project => named(place.project),
        }
    }
}

/// The figures of a range, or of a group in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// All events.
    pub events: u64,
    /// From which to which.
    pub seqs: Option<Seqs>,
    /// Commands by name.
    pub commands: CommandTable,
    /// Sessions.
    pub sessions: SessionFigures,
    /// What ended, and how.
    pub rates: Rates,
    /// From which event to which `rates` were counted.
    pub rates_seqs: Option<Seqs>,
    /// The store's own events, and the starts and stops of servers and checks, by kind.
    pub own: BTreeMap<Kind, u64>,
    /// From which event to which `own` was counted.
    pub own_seqs: Option<Seqs>,
    /// Tokens by model.
    pub tokens: TokenTable,
}

/// The statistics of a range.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    by: Option<By>,
    runs: Runs,
    spans: Spans,
    messages: Messages,
    /// Of the whole range.
    pub total: Figures,
    /// By group, if that was asked for.
    pub groups: BTreeMap<Group, Figures>,
    /// Events whose payload could not be read; they count as events only.
    pub unread: u64,
}

/// Kinds that tell of the recorder itself, beside those of the category `store`.
fn is_own(kind: Kind) -> bool {
    kind.category() == Category::Store
        || matches!(
            kind,
            Kind::ServerStarted | Kind::ServerStopped | Kind::HealthCheckStarted | Kind::HealthCheckCompleted
        )
}

impl Stats {
    /// Nothing yet.
    pub fn new(by: Option<By>) -> Stats {
        Stats { by, ..Stats::default() }
    }

    /// Takes the next event of the range in.
    pub fn apply(&mut self, stored: &StoredEvent) {
        let (event, seq) = (&stored.event, stored.seq);
        let session = event.session.as_deref().map(id_key);
        let project = event.project.as_deref().map(clip);
        let here = Place { time: event.time, session: session.as_deref(), project: project.as_deref() };
        self.change(&here, |figures| {
            figures.events += 1;
            Seqs::note(&mut figures.seqs, seq);
        });
        if let Some(kind) = event.kind.known() {
            if let Some(outcome) = rates::outcome(kind) {
                self.change(&here, |figures| {
                    figures.rates.count(outcome);
                    Seqs::note(&mut figures.rates_seqs, seq);
                });
            }
            if is_own(kind) {
                self.change(&here, |figures| {
                    *figures.own.entry(kind).or_default() += 1;
                    Seqs::note(&mut figures.own_seqs, seq);
                });
            }
        }
        self.run(stored);
        self.span(stored);
        self.message(stored);
    }

    /// Changes the figures of the range and, if there are groups, those of the group.
    fn change(&mut self, place: &Place<'_>, change: impl Fn(&mut Figures)) {
        change(&mut self.total);
        let Some(by) = self.by else { return };
        let group = by.group(place);
        let is_full = self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&group);
        change(self.groups.entry(if is_full { Group::Others } else { group }).or_default());
    }

    fn run(&mut self, stored: &StoredEvent) {
        let Ok(change) = self.runs.take(stored) else {
            self.unread += 1;
            return;
        };
        let Some(change) = change else { return };
        let place = |run: &'_ super::commands::runs::Run| {
            (run.began().map_or(stored.event.time, Mark::time), run.session.clone(), run.project.clone())
        };
        if let Some(before) = &change.before {
            let (time, session, project) = place(before);
            let at = Place { time, session: session.as_deref(), project: project.as_deref() };
            self.change(&at, |figures| figures.commands.take_out(before));
        }
        let (time, session, project) = place(&change.after);
        let at = Place { time, session: session.as_deref(), project: project.as_deref() };
        self.change(&at, |figures| figures.commands.put(&change.after, stored.seq));
    }

    fn span(&mut self, stored: &StoredEvent) {
        let Ok(change) = self.spans.take(stored) else {
            self.unread += 1;
            return;
        };
        let Some(change) = change else { return };
        let session = stored.event.session.as_deref().map(bounded_id);
        if let Some(before) = &change.before {
            let at = Place {
                time: before.first.time(),
                session: session.as_deref(),
                project: before.project.as_deref(),
            };
            self.change(&at, |figures| figures.sessions.take_out(before));
        }
        let after = &change.after;
        let at = Place {
            time: after.first.time(),
            session: session.as_deref(),
            project: after.project.as_deref(),
        };
        self.change(&at, |figures| figures.sessions.put(after, stored.seq));
    }

    fn message(&mut self, stored: &StoredEvent) {
        let Ok(change) = self.messages.take(stored) else {
            self.unread += 1;
            return;
        };
        let Some(change) = change else { return };
        if let Some(before) = &change.before {
            let at = before.place();
            self.change(&at, |figures| figures.tokens.take_out(before));
        }
        let at = change.after.place();
        self.change(&at, |figures| figures.tokens.put(&change.after, stored.seq));
    }

    /// Message ids that were forgotten: lines of one that come later would count once more.
    pub fn messages_forgotten(&self) -> u64 {
        self.messages.forgotten
    }
}

/// What to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only what was recorded at or after this.
    pub since: Option<Timestamp>,
    /// Only what was recorded at or before this.
    pub until: Option<Timestamp>,
    /// Broken down so.
    pub by: Option<By>,
}

/// Counts a range of a journal whose first retained seq is `first`. What retention has dropped of the range, or may have,
/// is a gap.
///
/// # Errors
/// When the journal cannot be read.
pub fn count(source: &impl Source, first: Seq, query: &Query) -> Result<(Stats, Progress)> {
    let (mut stats, mut progress) = (Stats::new(query.by), Progress::default());
    let mut replay = source.replay(Seq::FIRST).through(source.durable());
    if let Some(since) = query.since {
        replay = replay.since(since)?;
        // What was dropped is older than what is kept, and nobody knows how much older.
        if replay.position() == first && first > Seq::FIRST {
            progress.gaps.push(Gap { from: Seq::FIRST, to: first.prev(), reason: GapReason::Retention });
        }
    }
    if let Some(until) = query.until {
        replay = replay.until(until);
    }
    while let Some(item) = replay.next()? {
        match item {
            Item::Event(event) => {
                progress.events += 1;
                stats.apply(&event);
            }
            Item::Gap(gap) => progress.gaps.push(gap),
            Item::Undecodable(_) => progress.undecodable += 1,
        }
    }
    Ok((stats, progress))
}

#[cfg(test)]
mod tests;

//! The health projection: what is known of the recorder itself and of how much goes wrong.
//!
//! Five things: the results of `doctor`, the latest and the trend; what failed an hour, of tool calls, turns, commands and
//! webhooks ([`Rates`]); what the store told of itself, a count a kind; the servers with their starts and stops; and
//! what openings found waiting in the inbox.
//!
//! **Servers.** A server tells its start and its stop under an id of its own. There is one writer at a time, so an API
//! server that has no stop on record and was followed by another has not ended in order. Whether the last one runs
//! now is for the viewer to find out.
//!
//! **Order and bounds.** Everything is a count or a register by [`Mark`], so order does not matter. Results, hours and
//! servers are kept up to the constants below; what leaves stays in the totals.

pub mod rates;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::rates::Rates;
use super::calendar::{Period as _, Periods, UtcHour};
use super::mark::{keep_earlier, keep_later};
use super::sessions::text::{clip, id_key};
use super::sessions::viewer::Looking;
use super::{Fold, Latest, Mark, Projection, Wanted};
use crate::event::{Category, Event, Json, Kind, StoredEvent, payload};

/// Results of `doctor` kept for the trend.
pub const RESULTS_KEPT_MAX: usize = 64;
/// Checks kept of the latest result.
pub const CHECKS_KEPT_MAX: usize = 128;
/// Hours whose rates are kept apart: two weeks.
pub const HOURS_KEPT_MAX: usize = 336;
/// Servers kept, those that started last.
pub const SERVERS_KEPT_MAX: usize = 64;

/// The projection's name and rules; its state is [`Health`].
pub enum HealthProjection {}

/// The state of the health projection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Health checks begun.
    pub checks_started: u64,
    /// Health checks ended.
    pub checks_completed: u64,
    /// The latest results, by time.
    pub results: BTreeSet<CheckResult>,
    /// Each check of the latest result.
    pub checks: Option<Latest<Vec<Check>>>,
    /// What failed, over all time.
    pub rates: Rates,
    /// The same an hour.
    pub hours: Periods<UtcHour, Rates, HOURS_KEPT_MAX>,
    /// What the store told of itself, by kind.
    pub store: BTreeMap<String, Told>,
    /// Seqs that damage has made unreadable, as told.
    pub seqs_damaged: u64,
    /// What openings of the store found in the inbox.
    pub inbox: Inbox,
    /// Servers by their own id.
    pub servers: BTreeMap<String, ServerRun>,
    /// Servers over all time.
    pub server_totals: ServerTotals,
    /// Events whose payload could not be read; they count only as one of their kind.
    pub unread: u64,
}

/// A result of `doctor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CheckResult {
    /// When.
    pub mark: Mark,
    /// Checks that passed.
    pub passed: u64,
    /// Checks that failed.
    pub failed: u64,
    /// Checks that warned.
    pub warned: u64,
    /// How long it took.
    pub duration_ms: u64,
}

/// One check of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// pass, fail or warn.
    pub status: String,
    /// What was found.
    pub detail: Option<String>,
}

/// How often something was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// How often.
    pub count: u64,
    /// First.
    pub first: Mark,
    /// Last.
    pub last: Mark,
}

/// What openings of the store found waiting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbox {
    /// The latest: events that waited.
    pub last_backlog: Option<Latest<u64>>,
    /// The most that ever waited.
    pub backlog_max: u64,
    /// Events taken in, over all of them.
    pub events: u64,
    /// Events that the journal already held.
    pub duplicates: u64,
    /// Files that could not be read and were set aside.
    pub quarantined: u64,
}

/// One run of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRun {
    /// api or mcp.
    pub server_type: String,
    /// Where it listened.
    pub listen_addr: Option<String>,
    /// When it started, if that is on record.
    pub started: Option<Mark>,
    /// When it stopped, if that is on record.
    pub stopped: Option<Mark>,
    /// How long it was up, by its own word.
    pub uptime_ms: Option<u64>,
    /// Requests that it answered, by its own word.
    pub requests_handled: Option<u64>,
}

impl ServerRun {
    fn place(&self) -> Option<Mark> {
        self.started.or(self.stopped)
    }
}

/// Servers over all time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerTotals {
    /// Starts.
    pub starts: u64,
    /// Stops in order.
    pub stops: u64,
    /// Milliseconds that servers were up, as those that stopped told.
    pub uptime_ms: u64,
    /// Requests answered, as those that stopped told.
    pub requests_handled: u64,
    /// Servers that left the state without a stop on record.
    pub unstopped_departed: u64,
}

impl Projection for HealthProjection {
    const NAME: &'static str = "health";
    const SCHEMA: u32 = 1;
    const WANTED: Option<Wanted> = Some(|kind| {
        kind.is_some_and(|kind| {
            let of_itself = matches!(kind.category(), Category::Store | Category::Health);
            let of_servers = matches!(kind, Kind::ServerStarted | Kind::ServerStopped);
            of_itself || of_servers || rates::outcome(kind).is_some()
        })
    });
    type State = Health;

    fn shown(fold: &Fold<Self>, _: &Looking<'_>) -> Option<serde_json::Result<Json>> {
        Some(Ok(view::shown(fold)))
    }

    fn apply(state: &mut Health, stored: &StoredEvent) {
        let Some(kind) = stored.event.kind.known() else { return };
        let mark = Mark::of(stored);
        if let Some(outcome) = rates::outcome(kind) {
            state.rates.count(outcome);
            state.hours.change(UtcHour::of(mark.time()), |rates| rates.count(outcome));
        }
        if kind.category() == Category::Store {
            state.told(kind, mark);
        }
        if state.take(kind, mark, &stored.event).is_err() {
            state.unread += 1;
        }
    }
}

impl Health {
    fn told(&mut self, kind: Kind, mark: Mark) {
        let told =
            self.store.entry(kind.name().to_owned()).or_insert(Told { count: 0, first: mark, last: mark });
        told.count += 1;
        (told.first, told.last) = (told.first.min(mark), told.last.max(mark));
    }

    fn take(&mut self, kind: Kind, mark: Mark, event: &Event) -> Result<(), serde_json::Error> {
        match kind {
            Kind::HealthCheckStarted => self.checks_started += 1,
            Kind::HealthCheckCompleted => self.checked(mark, event.payload.read()?),
            Kind::CorruptionDetected => {
                let damage: payload::CorruptionDetected = event.payload.read()?;
                if damage.readable == Some(true) {
                    return Ok(());
                }
                let seqs = damage.to_seq.saturating_sub(damage.from_seq).saturating_add(1);
                self.seqs_damaged = self.seqs_damaged.saturating_add(seqs);
            }
            Kind::InboxDrained => self.inbox.drained(mark, &event.payload.read()?),
            Kind::ServerStarted => {
                let started: payload::ServerStarted = event.payload.read()?;
                self.server_totals.starts += 1;
                let server = self.server(&event.instance, &started.server_type);
                server.listen_addr = Some(clip(&started.listen_addr));
                keep_earlier(&mut server.started, mark);
                self.bound_servers();
            }
            Kind::ServerStopped => {
                let stopped: payload::ServerStopped = event.payload.read()?;
                let totals = &mut self.server_totals;
                totals.stops += 1;
                totals.uptime_ms = totals.uptime_ms.saturating_add(stopped.uptime_ms);
                totals.requests_handled = totals.requests_handled.saturating_add(stopped.requests_handled);
                let server = self.server(&event.instance, &stopped.server_type);
                keep_later(&mut server.stopped, mark);
                server.uptime_ms = Some(stopped.uptime_ms);
                server.requests_handled = Some(stopped.requests_handled);
                self.bound_servers();
            }
            _ => {}
        }
        Ok(())
    }

    fn checked(&mut self, mark: Mark, done: payload::HealthCheckCompleted) {
        self.checks_completed += 1;
        self.results.insert(CheckResult {
            mark,
            passed: done.checks_passed,
            failed: done.checks_failed,
            warned: done.checks_warned,
            duration_ms: done.duration_ms,
        });
        if self.results.len() > RESULTS_KEPT_MAX {
            self.results.pop_first();
        }
        let checks = done.checks.into_iter().take(CHECKS_KEPT_MAX).map(|check| Check {
            name: clip(&check.name),
            status: clip(&check.status),
            detail: check.detail.as_deref().map(clip),
        });
        Latest::set(&mut self.checks, mark, checks.collect());
    }

    fn server(&mut self, instance: &str, server_type: &str) -> &mut ServerRun {
        let server = self.servers.entry(id_key(instance)).or_default();
        if server.server_type.is_empty() {
            server.server_type = clip(server_type);
        }
        server
    }

    fn bound_servers(&mut self) {
        if self.servers.len() <= SERVERS_KEPT_MAX {
            return;
        }
        let oldest = self.servers.iter().min_by_key(|(_, server)| server.place()).map(|(id, _)| id.clone());
        let left = oldest.and_then(|id| self.servers.remove(&id));
        self.server_totals.unstopped_departed += u64::from(left.is_some_and(|left| left.stopped.is_none()));
    }

    /// The API servers that were followed by another and have no stop on record: those that are kept.
    pub fn ended_without_a_stop(&self) -> impl Iterator<Item = (&str, &ServerRun)> {
        let api = || self.servers.iter().filter(|(_, server)| server.server_type == "api");
        let newest = api().filter_map(|(_, server)| server.started).max();
        let without = api().filter(move |(_, server)| server.stopped.is_none() && server.started < newest);
        without.map(|(id, server)| (id.as_str(), server))
    }
}

impl Inbox {
    fn drained(&mut self, mark: Mark, drained: &payload::InboxDrained) {
        let backlog = drained.events.saturating_add(drained.duplicates).saturating_add(drained.quarantined);
        Latest::set(&mut self.last_backlog, mark, backlog);
        self.backlog_max = self.backlog_max.max(backlog);
        self.events = self.events.saturating_add(drained.events);
        self.duplicates = self.duplicates.saturating_add(drained.duplicates);
        self.quarantined = self.quarantined.saturating_add(drained.quarantined);
    }
}

#[cfg(test)]
mod tests;

//! What people and programs read of the health projection.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rates::{Rate, Rates};
use super::{Check, CheckResult, Health, ServerRun};
use crate::event::text::percent;
use crate::event::{Json, Seq, Timestamp};
use crate::projection::calendar::UtcHour;
use crate::projection::sessions::view::At;
use crate::projection::{Fold, Latest};

/// The version of this form: raised when a field changes its meaning or goes.
pub const VERSION: u32 = 1;

/// The whole of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthView {
    /// See [`VERSION`].
    pub version: u32,
    /// The last event that this knows.
    pub seq: Seq,
    /// What `doctor` found; null where it has never ended.
    pub doctor: Option<DoctorView>,
    /// What failed, over all time.
    pub rates: RatesView,
    /// The same an hour, the latest last.
    pub hours: Vec<HourView>,
    /// What the store told of itself.
    pub store: Vec<StoreView>,
    /// Seqs that damage has made unreadable, as told.
    pub seqs_damaged: u64,
    /// What the latest opening with a backlog found waiting in the inbox; null where none ever did.
    pub inbox_last: Option<BacklogView>,
    /// The most that ever waited.
    pub inbox_backlog_max: u64,
    /// Servers.
    pub servers: ServersView,
}

/// What `doctor` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorView {
    /// Results on record.
    pub results: u64,
    /// Begun and not ended.
    pub unfinished: u64,
    /// The latest.
    pub last: ResultView,
    /// Each check of the latest.
    pub checks: Vec<Check>,
    /// The latest ones, the latest last.
    pub trend: Vec<ResultView>,
}

/// A result of `doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultView {
    /// When, and where in the journal.
    #[serde(flatten)]
    pub at: At,
    /// Checks that passed.
    pub passed: u64,
    /// Checks that failed.
    pub failed: u64,
    /// Checks that warned.
    pub warned: u64,
    /// How long it took.
    pub duration_ms: u64,
}

impl ResultView {
    fn of(result: &CheckResult) -> ResultView {
        let CheckResult { mark, passed, failed, warned, duration_ms } = *result;
        ResultView { at: mark.into(), passed, failed, warned, duration_ms }
    }
}

/// A rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateView {
    /// All that ended.
    pub ended: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Their share in hundredths of a percent; null where nothing has ended.
    pub failed_bp: Option<u64>,
}

impl From<Rate> for RateView {
    fn from(rate: Rate) -> RateView {
        RateView { ended: rate.ended, failed: rate.failed, failed_bp: rate.failed_bp() }
    }
}

/// All rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatesView {
    /// Tool calls of agents.
    pub tool_calls: RateView,
    /// Turns of agents.
    pub turns: RateView,
    /// Commands of ours.
    pub commands: RateView,
    /// Deliveries to webhooks.
    pub webhooks: RateView,
}

impl From<Rates> for RatesView {
    fn from(rates: Rates) -> RatesView {
        let Rates { tool_calls, turns, commands, webhooks } = rates;
        RatesView {
            tool_calls: tool_calls.into(),
            turns: turns.into(),
            commands: commands.into(),
            webhooks: webhooks.into(),
        }
    }
}

/// The rates of an hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourView {
    /// The hour, in UTC; null stands for all earlier ones together.
    pub hour: Option<UtcHour>,
    /// Its rates.
    #[serde(flatten)]
    pub rates: RatesView,
}

/// What the store told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreView {
    /// The kind of event.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// First.
    pub first: At,
    /// Last.
    pub last: At,
}

/// What waited in the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BacklogView {
    /// When it was found.
    #[serde(flatten)]
    pub at: At,
    /// How many events.
    pub events: u64,
}

/// Servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServersView {
    /// Starts.
    pub starts: u64,
    /// Stops in order.
    pub stops: u64,
    /// API servers that were followed by another without having stopped in order, and servers that left the state
    /// without a stop.
    pub unclean: u64,
    /// Milliseconds that servers were up, as those that stopped told.
    pub uptime_ms: u64,
    /// Requests that they answered.
    pub requests_handled: u64,
    /// The latest ones, the latest last.
    pub latest: Vec<ServerView>,
}

/// A run of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerView {
    /// Its own id.
    pub instance: String,
    /// api or mcp.
    pub server_type: String,
    /// Where it listened.
    pub listen_addr: Option<String>,
    /// When it started.
    pub started: Option<At>,
    /// When it stopped; null where that is not on record: it runs, or it ended without order.
    pub stopped: Option<At>,
    /// How long it was up, by its own word.
    pub uptime_ms: Option<u64>,
    /// Requests that it answered, by its own word.
    pub requests_handled: Option<u64>,
}

impl ServerView {
    fn of(instance: &str, server: &ServerRun) -> ServerView {
        ServerView {
            instance: instance.to_owned(),
            server_type: server.server_type.clone(),
            listen_addr: server.listen_addr.clone(),
            started: server.started.map(At::from),
            stopped: server.stopped.map(At::from),
            uptime_ms: server.uptime_ms,
            requests_handled: server.requests_handled,
        }
    }
}

/// The view of a fold.
pub fn health(fold: &Fold<super::HealthProjection>) -> HealthView {
    let state = fold.state();
    let older = state.hours.older_until.map(|_| HourView { hour: None, rates: state.hours.older.into() });
    let hours =
        state.hours.kept.iter().map(|(hour, rates)| HourView { hour: Some(*hour), rates: (*rates).into() });
    let store = state.store.iter().map(|(kind, told)| StoreView {
        kind: kind.clone(),
        count: told.count,
        first: told.first.into(),
        last: told.last.into(),
    });
    let backlog = |held: &Latest<u64>| BacklogView { at: held.mark.into(), events: held.value };
    HealthView {
        version: VERSION,
        seq: fold.seq(),
        doctor: doctor(state),
        rates: state.rates.into(),
        hours: older.into_iter().chain(hours).collect(),
        store: store.collect(),
        seqs_damaged: state.seqs_damaged,
        inbox_last: state.inbox.last_backlog.as_ref().map(backlog),
        inbox_backlog_max: state.inbox.backlog_max,
        servers: servers(state),
    }
}

/// Hours that people are shown, the latest ones.
const HOURS_SHOWN: usize = 24;

/// The view for people: rates in words, the latest hours in which anything ended, and nothing of what never was.
pub(super) fn shown(fold: &Fold<super::HealthProjection>) -> Json {
    let view = health(fold);
    let hours: Vec<_> = view.hours.iter().filter(|hour| rates_shown(hour.rates) != json!({})).collect();
    let earlier = hours.len().saturating_sub(HOURS_SHOWN);
    let hours = hours[earlier..].iter().map(|hour| {
        let name = hour.hour.map_or_else(|| "before".to_owned(), |hour| hour.to_string());
        (name, rates_shown(hour.rates))
    });
    let mut shown = json!({
        "doctor": view.doctor,
        "rates": rates_shown(view.rates),
        "hours": hours.collect::<serde_json::Map<_, _>>(),
        "hours_before_these": earlier,
        "store": view.store,
        "seqs_damaged": view.seqs_damaged,
        "inbox_last": view.inbox_last,
        "inbox_backlog_max": view.inbox_backlog_max,
        "servers": view.servers,
    });
    if let Json::Object(fields) = &mut shown {
        fields.retain(|name, value| !value.is_null() && (name != "hours_before_these" || earlier > 0));
    }
    shown
}

/// Each rate with something in it, in words.
fn rates_shown(rates: RatesView) -> Json {
    let RatesView { tool_calls, turns, commands, webhooks } = rates;
    let named =
        [("tool_calls", tool_calls), ("turns", turns), ("commands", commands), ("webhooks", webhooks)];
    let words = named.into_iter().filter_map(|(name, rate)| {
        let bp = rate.failed_bp?;
        let words = format!("{} ended, {} failed ({})", rate.ended, rate.failed, percent(bp));
        Some((name.to_owned(), Json::from(words)))
    });
    Json::Object(words.collect())
}

fn doctor(state: &Health) -> Option<DoctorView> {
    let last = state.results.last()?;
    Some(DoctorView {
        results: state.checks_completed,
        unfinished: state.checks_started.saturating_sub(state.checks_completed),
        last: ResultView::of(last),
        checks: state.checks.as_ref().map(|checks| checks.value.clone()).unwrap_or_default(),
        trend: state.results.iter().map(ResultView::of).collect(),
    })
}

fn servers(state: &Health) -> ServersView {
    let totals = state.server_totals;
    let mut latest: Vec<_> = state.servers.iter().collect();
    latest.sort_by_key(|(_, server)| server.place().map_or(Timestamp::EPOCH, crate::projection::Mark::time));
    ServersView {
        starts: totals.starts,
        stops: totals.stops,
        unclean: state.ended_without_a_stop().count() as u64 + totals.unstopped_departed,
        uptime_ms: totals.uptime_ms,
        requests_handled: totals.requests_handled,
        latest: latest.into_iter().map(|(id, server)| ServerView::of(id, server)).collect(),
    }
}

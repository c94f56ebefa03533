//! `status --server`: what a server says of itself, of its journal and of its inbox. Its files are not to be seen from here.

use serde::de::IgnoredAny;

use super::super::status::{
    EventsStatus, InboxStatus, JournalStatus, RecordStatus, ServerStatus, SessionsStatus, Status, Told,
    VERSION, takes_no_events,
};
use super::{Pairs, given, of_pairs, told};
use crate::client::Server;
use crate::error::Error;
use crate::event::Seq;
use crate::projection::StateView;
use crate::projection::health::Health;
use crate::projection::sessions::state::Phase;
use crate::projection::sessions::view::{SessionList, StateFilter};
use crate::projection::stats::view::StatsView;
use crate::wire::{self, Page, path};

pub(in crate::cli) fn status(server: &Server) -> Result<Status, Error> {
    let up: wire::Health = server.get(path::HEALTH).map_err(told)?;
    let counters = server.counters().map_err(told)?;
    let events = EventsStatus::of(&counters);
    let (waiting, failed) = (counters.inbox.waiting, counters.inbox.failed);
    let last = Seq::new(counters.journal.durable_seq);
    let health = health(server)?;
    let of_store = |kind: &str| {
        let found = health.store.get(kind)?;
        Some(Told { count: found.count, last: found.last.time(), seq: found.last.seq() })
    };
    let sessions = |phase| {
        let mut pairs = Pairs::new();
        given(&mut pairs, "state", Some(StateFilter::In(phase)));
        given(&mut pairs, "limit", Some(1));
        let list: SessionList = server.get(&of_pairs(path::SESSIONS, &pairs)).map_err(told)?;
        Ok::<u64, Error>(list.total)
    };
    Ok(Status {
        version: VERSION,
        data_dir: None,
        server: Some(ServerStatus {
            addr: server.addr().to_string(),
            pid: None,
            trouble: takes_no_events(&up),
            version: up.version,
            uptime_ms: Some(up.uptime_ms),
        }),
        starts_unasked: None,
        journal: JournalStatus {
            id: Some(server.journal_id().map_err(told)?),
            first_seq: first(server)?.get(),
            last_seq: last.get(),
            events_last_minute: since(server, "1m")?,
            events_last_day: since(server, "24h")?,
        },
        sessions: SessionsStatus {
            working: sessions(Phase::Working)?,
            waiting: sessions(Phase::Waiting)?,
            idle: sessions(Phase::Idle)?,
        },
        inbox: InboxStatus {
            waiting,
            failed,
            failed_noted: None,
            last_failure: None,
            last_failure_reason: None,
            last_failure_words: String::new(),
        },
        disk: None,
        record: RecordStatus::of(last, waiting, failed, None, true),
        events: Some(events),
        recovered: of_store("journal_recovered"),
        corruption: of_store("corruption_detected"),
    })
}

fn health(server: &Server) -> Result<Health, Error> {
    let state: StateView = server.get("/state/health").map_err(told)?;
    serde_json::from_str(state.state.get())
        .map_err(|error| Error::failed(format!("the server's own state cannot be read: {error}")))
}

/// The first seq that is kept: what retention has dropped is a gap before it.
fn first(server: &Server) -> Result<Seq, Error> {
    let pairs = vec![("limit", "1".to_owned())];
    let page: Page<IgnoredAny> = server.get(&of_pairs(path::EVENTS, &pairs)).map_err(told)?;
    let dropped = page.gaps.iter().find(|gap| gap.reason == "retention");
    Ok(dropped.map_or(Seq::FIRST, |gap| Seq::new(gap.to_seq).next()))
}

/// Events that were recorded there so long ago or later.
fn since(server: &Server, ago: &str) -> Result<u64, Error> {
    let pairs = vec![("since", ago.to_owned())];
    let stats: StatsView = server.get(&of_pairs(path::STATS, &pairs)).map_err(told)?;
    Ok(stats.total.events)
}

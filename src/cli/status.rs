//! `status`: how this recorder fares, on one screen.
//!
//! What the journal says is read from the journal and what lies in files is counted there, with a server or without one;
//! of a server it asks what only that can know: since when it runs and what became of every event that came to it. A
//! server that does not answer is told as such, and the rest is shown all the same. Of a server elsewhere (`--server`) its own
//! answers are shown, and what those do not say is null.
//!
//! **The balance.** Every event that came is on record, waits, or was refused. The journal, the inbox, the counter of failures and
//! `quarantine/` say so much of all time ([`RecordStatus`]). What a server refused over HTTP only that server counts, while it
//! runs: its own books are shown beside ([`EventsStatus`]).
//!
//! The inbox is taken in first, as by every command that reads, so what is said to wait there is what could not be taken in.

use serde::Serialize;

use super::display::{self, Role, counted};
use super::sessions::folded;
use super::{Context, Outcome, elsewhere};
use crate::client::Server;
use crate::config::{DataDir, Settings};
use crate::error::Error;
use crate::event::{Seq, Timestamp, payload};
use crate::projection::health::HealthProjection;
use crate::projection::health::view::{HealthView, health};
use crate::projection::sessions::state::Phase;
use crate::projection::sessions::view::{self, ListQuery, StateFilter};
use crate::projection::snapshot::Files;
use crate::projection::{seq_at, state_at};
use crate::store::inbox::failed;
use crate::store::space::Space;
use crate::store::{Item, View};
use crate::wire::{Counters, Health, path};

/// The version of the JSON form.
pub(super) const VERSION: u32 = 1;
const MICROS_PER_SECOND: i64 = 1_000_000;
const DAY_SECONDS: u64 = 86_400;
/// Growth is measured over the latest so many days...
const GROWTH_DAYS: u64 = 7;
/// ...and not before so much is on record: less says nothing about a day.
const GROWTH_SECONDS_MIN: u64 = 3_600;

/// Arguments: none of its own.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {}

/// Runs it.
///
/// # Errors
/// No data directory, a journal that cannot be read.
pub fn run(_: Args, context: &mut Context) -> Result<Outcome, Error> {
    if let Some(server) = context.elsewhere()? {
        return elsewhere::status(&server)?.tell(context);
    }
    let status = Status::look(context)?;
    if let (Some(run), Some(disk)) = (context.run(), &status.disk) {
        run.emit(payload::StatusCheckExecuted {
            status_summary: status.summary(),
            memory_count: None,
            journal_bytes: disk.journal_bytes,
        });
    }
    status.tell(context)
}

impl Status {
    fn tell(&self, context: &mut Context) -> Result<Outcome, Error> {
        if context.out.is_json() {
            context.out.json(self)?;
        } else {
            self.print(context)?;
        }
        Ok(Outcome::with_summary(self.summary()))
    }
}

/// All of it; the JSON form.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) version: u32,
    /// Null of a server elsewhere.
    pub(super) data_dir: Option<String>,
    pub(super) server: Option<ServerStatus>,
    /// Whether a session that begins starts a server where none runs; hooks must be registered for that. Null of a server elsewhere.
    pub(super) starts_unasked: Option<bool>,
    pub(super) journal: JournalStatus,
    pub(super) sessions: SessionsStatus,
    pub(super) inbox: InboxStatus,
    /// Null of a server elsewhere.
    pub(super) disk: Option<DiskStatus>,
    /// What is known of every event that ever came.
    pub(super) record: RecordStatus,
    /// What became of every event that came to the server since it started; null without one.
    pub(super) events: Option<EventsStatus>,
    /// The latest opening of a journal that was not closed cleanly.
    pub(super) recovered: Option<Told>,
    /// The latest damage that was found.
    pub(super) corruption: Option<Told>,
}

#[derive(Debug, Serialize)]
pub(super) struct ServerStatus {
    pub(super) addr: String,
    /// Null of a server elsewhere.
    pub(super) pid: Option<u32>,
    pub(super) version: String,
    pub(super) uptime_ms: Option<u64>,
    /// Why it did not answer, or, where it did, why it takes no events.
    pub(super) trouble: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct JournalStatus {
    pub(super) id: Option<String>,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) events_last_minute: u64,
    pub(super) events_last_day: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct SessionsStatus {
    pub(super) working: u64,
    pub(super) waiting: u64,
    pub(super) idle: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct InboxStatus {
    pub(super) waiting: u64,
    /// Events that could not even be put there, since the data directory was made.
    pub(super) failed: u64,
    /// Of these, those that `doctor --fix` has noted. Null of a server elsewhere, and so is what follows.
    pub(super) failed_noted: Option<u64>,
    pub(super) last_failure: Option<Timestamp>,
    /// The code of the last one.
    pub(super) last_failure_reason: Option<String>,
    #[serde(skip)]
    pub(super) last_failure_words: String,
}

#[derive(Debug, Serialize)]
pub(super) struct DiskStatus {
    pub(super) used_bytes: u64,
    pub(super) journal_bytes: u64,
    pub(super) max_bytes: Option<u64>,
    pub(super) free_bytes: u64,
    pub(super) reserve_bytes: u64,
    pub(super) left_bytes: u64,
    /// Null while too little is on record to tell.
    pub(super) bytes_per_day: Option<u64>,
    /// At this pace; null where it is not known or nothing grows.
    pub(super) days_left: Option<u64>,
}

/// `known = committed + waiting + not_kept + quarantined`: what is counted nowhere is not in it, and what was kept in part is in it twice.
#[derive(Debug, Serialize)]
pub(super) struct RecordStatus {
    pub(super) known: u64,
    /// On record, what retention has dropped included: the last seq.
    pub(super) committed: u64,
    /// In the inbox.
    pub(super) waiting: u64,
    /// Counted by hooks as not kept, or not kept whole: some of these are on record, too, as far as they could be kept.
    pub(super) not_kept: u64,
    /// Files of the inbox that are no events and lie in `quarantine/`; null of a server elsewhere.
    pub(super) quarantined: Option<u64>,
    /// What no file says, in words.
    pub(super) not_known: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct EventsStatus {
    pub(super) offered: u64,
    pub(super) committed: u64,
    pub(super) duplicates: u64,
    pub(super) refused: u64,
    pub(super) pending: u64,
    pub(super) balanced: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Told {
    pub(super) count: u64,
    pub(super) last: Timestamp,
    pub(super) seq: Seq,
}

impl Status {
    fn look(context: &mut Context) -> Result<Status, Error> {
        let folded = folded(context)?;
        let dir = context.locate_data_dir()?;
        let settings = Settings::load(&dir, &context.env)?;
        let (view, now) = (&folded.view, context.now());
        let health = health_of(view, &dir)?;
        let (server, events) = server(&dir)?;
        let failures = failed::read(&dir.inbox())?;
        let phase = |phase| {
            let query =
                ListQuery { project: None, since: None, state: Some(StateFilter::In(phase)), limit: 1 };
            view::list(&folded.fold, &query, &folded.looking()).total
        };
        Ok(Status {
            version: VERSION,
            data_dir: Some(dir.path().to_string_lossy().into_owned()),
            server,
            starts_unasked: Some(!context.env.auto_start_disabled()?),
            journal: JournalStatus {
                id: view.journal_id().map(|id| id.to_string()),
                first_seq: view.first().get(),
                last_seq: view.durable().get(),
                events_last_minute: since(view, now, 60)?,
                events_last_day: since(view, now, DAY_SECONDS)?,
            },
            sessions: SessionsStatus {
                working: phase(Phase::Working),
                waiting: phase(Phase::Waiting),
                idle: phase(Phase::Idle),
            },
            inbox: InboxStatus {
                waiting: view.waiting(),
                failed: failures.count,
                failed_noted: Some(failures.noted),
                last_failure_words: failures.words().to_owned(),
                last_failure: failures.last,
                last_failure_reason: (failures.count > 0).then_some(failures.reason),
            },
            disk: Some(DiskStatus::look(view, &dir, &settings, now)?),
            record: RecordStatus::of(
                view.durable(),
                view.waiting(),
                failures.count,
                Some(quarantined(&dir)?),
                events.is_some(),
            ),
            events,
            recovered: told(&health, "journal_recovered"),
            corruption: told(&health, "corruption_detected"),
        })
    }

    fn summary(&self) -> String {
        let server = match &self.server {
            Some(ServerStatus { trouble: None, .. }) => "server up",
            Some(ServerStatus { uptime_ms: Some(_), .. }) => "server takes no events",
            Some(_) => "server does not answer",
            None => "no server",
        };
        let SessionsStatus { working, waiting, idle } = self.sessions;
        let sessions = counted(working + waiting + idle, "session");
        let (last, inbox) = (self.journal.last_seq, self.inbox.waiting);
        format!(
            "{server}, {sessions} open ({waiting} waiting for you), last seq {last}, {inbox} in the inbox"
        )
    }

    fn print(&self, context: &mut Context) -> Result<(), Error> {
        let style = context.out.style();
        let now = context.now();
        let mut rows: Vec<(&str, String, Option<Role>)> = Vec::new();
        if let Some(dir) = &self.data_dir {
            rows.push(("data", dir.clone(), None));
        }
        let (server, role) = self.server_words();
        rows.push(("server", server, role));
        let JournalStatus { first_seq, last_seq, events_last_minute, events_last_day, .. } = &self.journal;
        let kept = (last_seq + 1).saturating_sub(*first_seq);
        rows.push(("journal", format!("last seq {last_seq}, {} kept", counted(kept, "event")), None));
        let (minute, day) = (display::count(*events_last_minute), display::count(*events_last_day));
        rows.push(("rate", format!("{minute} in the last minute, {day} in the last 24 h"), None));
        let SessionsStatus { working, waiting, idle } = self.sessions;
        let role = (waiting > 0).then_some(Role::Waiting);
        rows.push(("sessions", format!("{working} at work, {waiting} waiting for you, {idle} idle"), role));
        rows.push(("inbox", self.inbox.words(now), (self.inbox.failed > 0).then_some(Role::Bad)));
        rows.push(("all time", self.record.words(), None));
        if let Some(events) = &self.events {
            rows.push(("events", events.words(), (!events.balanced).then_some(Role::Bad)));
        }
        let disk =
            self.disk.as_ref().map_or_else(|| "not told by a server elsewhere".to_owned(), DiskStatus::words);
        rows.push(("disk", disk, None));
        let told = |told: &Option<Told>, never: &str| match told {
            None => never.to_owned(),
            Some(told) => {
                let (times, ago) = (counted(told.count, "time"), display::age(told.last, now));
                format!("{times}, last {ago} ago (seq {})", told.seq)
            }
        };
        rows.push(("recovered", told(&self.recovered, "never needed"), None));
        let role = self.corruption.is_some().then_some(Role::Bad);
        rows.push(("damage", told(&self.corruption, "none was found"), role));
        for (name, words, role) in rows {
            let words = display::visible(&words).into_owned();
            let words = role.map_or(words.clone(), |role| style.paint(role, &words));
            context.out.line(&format!("{}  {words}", style.paint(Role::Dim, &format!("{name:9}"))))?;
        }
        Ok(())
    }

    fn server_words(&self) -> (String, Option<Role>) {
        let Some(ServerStatus { addr, pid, version, uptime_ms, trouble }) = &self.server else {
            let why = match self.starts_unasked {
                Some(false) => "MNEMOSYNE_DISABLE_AUTO_START_API keeps hooks from starting one",
                _ => "the next session that a hook reports starts one",
            };
            return (format!("none; {why}"), None);
        };
        let process = pid.map_or_else(String::new, |pid| format!(", process {pid}"));
        let who = format!("http://{addr}{process}, version {version}");
        match trouble {
            Some(trouble) => (format!("{who}: {trouble}"), Some(Role::Bad)),
            None => {
                let up =
                    uptime_ms.map_or_else(String::new, |ms| format!(", up for {}", display::duration(ms)));
                (format!("{who}{up}"), Some(Role::Good))
            }
        }
    }
}

impl InboxStatus {
    fn words(&self, now: Timestamp) -> String {
        let waiting = format!("{} waiting", counted(self.waiting, "event"));
        let Some(noted) = self.failed_noted else {
            return format!("{waiting}; {} could not be kept whole", counted(self.failed, "event"));
        };
        match self.failed.saturating_sub(noted) {
            0 if self.failed > 0 => format!("{waiting}, none lost since {} were noted", self.failed),
            0 => format!("{waiting}, none lost"),
            open => {
                let ago = self
                    .last_failure
                    .map_or_else(String::new, |last| format!(" {} ago", display::age(last, now)));
                format!(
                    "{waiting}; {} could not be kept whole, the last one{ago}: {}",
                    counted(open, "event"),
                    self.last_failure_words
                )
            }
        }
    }
}

impl RecordStatus {
    /// `has_books`: whether the server's own books are at hand, which say what it refused.
    pub(super) fn of(
        last: Seq,
        waiting: u64,
        not_kept: u64,
        quarantined: Option<u64>,
        has_books: bool,
    ) -> RecordStatus {
        let committed = last.get();
        let refused = if has_books {
            "what servers before this one refused over HTTP"
        } else {
            "what servers refused over HTTP"
        };
        let aside = match quarantined {
            Some(_) => "what somebody removed from quarantine/",
            None => "what lies in its quarantine/",
        };
        let twice = (not_kept > 0).then_some("how many of those not kept whole are on record, too");
        let not_known = [refused, aside].into_iter().chain(twice).collect();
        let known = committed + waiting + not_kept + quarantined.unwrap_or(0);
        RecordStatus { known, committed, waiting, not_kept, quarantined, not_known }
    }

    fn words(&self) -> String {
        let n = display::count;
        let quarantined =
            self.quarantined.map_or_else(String::new, |files| format!(" + {} quarantined", n(files)));
        format!(
            "{} known = {} on record + {} in the inbox + {} not kept whole{quarantined}; not known: {}",
            n(self.known),
            n(self.committed),
            n(self.waiting),
            n(self.not_kept),
            self.not_known.join(", ")
        )
    }
}

impl EventsStatus {
    pub(super) fn of(counters: &Counters) -> EventsStatus {
        let mut all =
            EventsStatus { offered: 0, committed: 0, duplicates: 0, refused: 0, pending: 0, balanced: true };
        for way in counters.events.values() {
            all.offered += way.offered;
            all.committed += way.committed_disk + way.committed_os;
            all.duplicates += way.duplicates;
            all.refused += way.refused.values().sum::<u64>();
            all.pending += way.pending;
        }
        all.balanced = all.offered == all.committed + all.duplicates + all.refused + all.pending;
        all
    }

    fn words(&self) -> String {
        let n = display::count;
        let sign = if self.balanced { "=" } else { "and not" };
        format!(
            "{} came {sign} {} committed + {} known before + {} refused + {} on their way",
            n(self.offered),
            n(self.committed),
            n(self.duplicates),
            n(self.refused),
            n(self.pending)
        )
    }
}

impl DiskStatus {
    fn look(view: &View, dir: &DataDir, settings: &Settings, now: Timestamp) -> Result<DiskStatus, Error> {
        let space = Space::of(dir, settings.disk, settings.segment_bytes)?;
        let bytes_per_day = bytes_per_day(view, space.journal, now)?;
        let left = space.left();
        Ok(DiskStatus {
            used_bytes: space.used,
            journal_bytes: space.journal,
            max_bytes: space.max,
            free_bytes: space.free,
            reserve_bytes: space.reserve,
            left_bytes: left,
            bytes_per_day,
            days_left: bytes_per_day.filter(|bytes| *bytes > 0).map(|bytes| left / bytes),
        })
    }

    fn words(&self) -> String {
        let limit = match self.max_bytes {
            Some(max) => {
                let (max, left) = (display::bytes(max), display::bytes(self.left_bytes));
                format!("of {max} allowed, {left} more may be recorded")
            }
            None => "without a cap".to_owned(),
        };
        let pace = match (self.bytes_per_day, self.days_left) {
            (Some(pace), Some(days)) => {
                let end = if self.max_bytes.is_some() { "the cap" } else { "a full disk" };
                format!("; {} a day, {} to {end}", display::bytes(pace), counted(days, "day"))
            }
            _ => String::new(),
        };
        format!(
            "{} used {limit}, {} free{pace}",
            display::bytes(self.used_bytes),
            display::bytes(self.free_bytes)
        )
    }
}

fn health_of(view: &View, dir: &DataDir) -> Result<HealthView, Error> {
    let files = view
        .journal_id()
        .map(|journal| Files::new(dir.snapshots(), journal.to_bytes()).with_base(dir.base()));
    let (fold, _) = state_at::<HealthProjection>(view, files.as_ref(), Seq::MAX)?;
    Ok(health(&fold))
}

fn told(health: &HealthView, kind: &str) -> Option<Told> {
    let found = health.store.iter().find(|told| told.kind == kind)?;
    Some(Told { count: found.count, last: found.last.time, seq: found.last.seq })
}

fn server(dir: &DataDir) -> Result<(Option<ServerStatus>, Option<EventsStatus>), Error> {
    let Some(server) = Server::find(dir)? else { return Ok((None, None)) };
    let runtime = server.runtime();
    let mut status = ServerStatus {
        addr: runtime.addr.to_string(),
        pid: Some(runtime.pid),
        version: runtime.version.clone(),
        uptime_ms: None,
        trouble: None,
    };
    let asked = server.check_answers().and_then(|()| Ok((server.get(path::HEALTH)?, server.counters()?)));
    let events = match asked {
        Ok((up, counters)) => {
            status.uptime_ms = Some(counters.uptime_ms);
            status.trouble = takes_no_events(&up);
            Some(EventsStatus::of(&counters))
        }
        Err(error) => {
            status.trouble = Some(error.to_string());
            None
        }
    };
    Ok((Some(status), events))
}

/// Why a server that answers takes no events.
pub(super) fn takes_no_events(up: &Health) -> Option<String> {
    (up.status != "ok").then(|| format!("its status is {}: it takes no events", up.status))
}

/// The files that lie in `quarantine/`.
fn quarantined(dir: &DataDir) -> Result<u64, Error> {
    let path = dir.quarantine();
    match std::fs::read_dir(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        listing => {
            let entries: Result<Vec<_>, _> = listing.map_err(Error::io("list", &path))?.collect();
            Ok(entries.map_err(Error::io("list", &path))?.len() as u64)
        }
    }
}

/// Events that were recorded in the last so many seconds.
fn since(view: &View, now: Timestamp, seconds: u64) -> Result<u64, Error> {
    let before = seq_at(view, earlier(now, seconds))?.max(view.first().prev());
    Ok(view.durable().get().saturating_sub(before.get()))
}

fn earlier(now: Timestamp, seconds: u64) -> Timestamp {
    let micros = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(MICROS_PER_SECOND);
    Timestamp::from_micros(now.as_micros().saturating_sub(micros))
}

/// What the journal grows by in a day: the events of the last days, each taken to be as large as one is on average.
fn bytes_per_day(view: &View, journal_bytes: u64, now: Timestamp) -> Result<Option<u64>, Error> {
    let Some(Item::Event(first)) = view.get(view.first())? else { return Ok(None) };
    let seconds = (display::millis_between(first.recorded, now) / 1_000).min(GROWTH_DAYS * DAY_SECONDS);
    let kept = (view.durable().get() + 1).saturating_sub(view.first().get());
    if seconds < GROWTH_SECONDS_MIN || kept == 0 {
        return Ok(None);
    }
    let events = u128::from(since(view, now, seconds)?);
    let bytes = events * u128::from(journal_bytes) * u128::from(DAY_SECONDS)
        / (u128::from(kept) * u128::from(seconds));
    Ok(u64::try_from(bytes).ok())
}

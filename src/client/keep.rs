//! One event of a command's or a tool's own, brought to where it is kept.
//!
//! A server that runs takes it; else this process takes the lock; where another process holds it, the event waits in the inbox as what
//! hooks leave does. Its id makes a second way safe where the first one's answer was lost.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{Server, request_of};
use crate::clock::{self, Clock};
use crate::config::settings::Durability;
use crate::config::{DataDir, Settings};
use crate::error::Error;
use crate::event::{Event, Seq};
use crate::store::inbox::{self, Deposit};
use crate::store::{Level, Opening, Pending, Store};
use crate::wire::{self, ErrorCode};

/// How long who is waited for waits for a server: a hook, by its agent.
const HAND_OVER_TIMEOUT: Duration = Duration::from_millis(200);

/// Why an event waits in the inbox.
const HELD: &str = "another process holds the journal";
const NO_ROOM: &str = "the journal has no room for it";
const NOT_TAKEN: &str = "the server did not take it";

/// Where an event stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its seq; none while it waits in the inbox.
    pub seq: Option<u64>,
    /// Which way it went: `server`, `journal` or `inbox`.
    pub way: &'static str,
    /// Why it did not go the first way.
    pub warning: Option<String>,
    /// Why it waits in the inbox, where it does.
    pub waits: Option<&'static str>,
}

impl Kept {
    /// It is on record, and nothing went wrong on the way.
    pub fn done(seq: Option<u64>, way: &'static str) -> Kept {
        Kept { seq, way, warning: None, waits: None }
    }

    /// The same as an object, for a note on the event `about`.
    pub fn told(&self, about: Seq, note: &Event) -> serde_json::Value {
        json!({"version": 1, "seq": self.seq, "about": about, "id": note.id, "way": self.way})
    }
}

/// Keeps an event, which has no secrets in it any more.
///
/// # Errors
/// When it can be kept nowhere.
pub fn keep(dir: &DataDir, settings: Settings, clock: &Arc<dyn Clock>, event: &Event) -> Result<Kept, Error> {
    let durability = settings.emit_durability;
    if let Some(server) = Server::find(dir)? {
        let request = request_of(event).map_err(|error| Error::failed(error.to_string()))?;
        let answered = server.check_answers();
        return match answered.and_then(|()| server.emit(&request, wire_level(durability), None)) {
            Ok(emitted) => Ok(Kept::done(emitted.seqs.first().copied(), "server")),
            Err(error) => {
                let waits = if error.is(ErrorCode::StorageFull) { NO_ROOM } else { NOT_TAKEN };
                let warning = format!("the server did not take the note, so it goes into the inbox: {error}");
                let kept = leave(dir, event, durability, &**clock, waits)?;
                Ok(Kept { warning: Some(warning), ..kept })
            }
        };
    }
    let instance = clock::new_id(&**clock).to_string();
    let (store, _) = match Store::open(dir, Opening::command(instance, clock.clone(), settings)) {
        Ok(opened) => opened,
        Err(Error::Locked { .. } | Error::ServerRunning { .. }) => {
            return leave(dir, event, durability, &**clock, HELD);
        }
        Err(error) => return Err(error),
    };
    let level = match durability {
        Durability::Os => Level::Os,
        Durability::Disk => Level::Disk,
    };
    let emitted = store.emit(vec![event.clone()], level, None).and_then(Pending::wait);
    let closed = store.close();
    let emitted = emitted?;
    closed?;
    Ok(Kept::done(emitted.seqs.first().map(|seq| seq.get()), "journal"))
}

/// Hands an event, which has no secrets in it any more, to the server that runs: the way out of a hook whose inbox has no room. Asks once, waits a
/// fifth of a second in all, and is content with level `os`, which is the inbox's.
///
/// # Errors
/// When no server runs, when it did not take the event, or did not say so in time: then the event may be kept all the same. One that was
/// cut is not handed over, since a request cannot say what of it is missing.
pub fn hand_over(dir: &DataDir, event: &Event) -> Result<(), Error> {
    if !event.cut.is_empty() {
        return Err(Error::failed("a request cannot say what was cut from an event"));
    }
    let server = Server::find(dir)?.ok_or_else(|| Error::failed("no server runs"))?;
    let request = request_of(event).map_err(|error| Error::failed(error.to_string()))?;
    server.emit_within(&request, HAND_OVER_TIMEOUT).map_err(|error| Error::failed(error.to_string()))
}

fn wire_level(durability: Durability) -> wire::Durability {
    match durability {
        Durability::Os => wire::Durability::Os,
        Durability::Disk => wire::Durability::Disk,
    }
}

fn leave(
    dir: &DataDir,
    event: &Event,
    durability: Durability,
    clock: &dyn Clock,
    waits: &'static str,
) -> Result<Kept, Error> {
    let how = match durability {
        Durability::Os => Deposit::Os,
        Durability::Disk => Deposit::Disk,
    };
    inbox::deposit(&dir.inbox(), event, clock, how)?;
    Ok(Kept { seq: None, way: "inbox", warning: None, waits: Some(waits) })
}

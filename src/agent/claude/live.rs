//! Import while a session lives: when a turn, a subagent or a session ends, or the context is about to be folded, its
//! transcript has new lines, and the server reads them. So messages and tokens are on record with no step by hand.
//!
//! [`follow`] is a task of the server: it follows the journal, picks the events of hooks that name a transcript, and imports
//! that file on a thread of its own, one file after the other. What an import emits names no transcript, so it sets off no
//! further one.
//!
//! What the journal holds is folded once and then kept up to date by reading on. Only the newest [`FOLDED_EVENTS_MAX`]
//! events count, as far back as the store itself recognises an event that comes again.
//!
//! A path from a payload is believed this far: it is absolute, ends in `.jsonl`, names a regular file and no link, of at
//! most [`LIVE_BYTES_MAX`]. What is not imported live is imported by `import`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::Mutex;

use super::transcript::{self, ImportError, Known, Report, Sink, SinkError, Taken};
use crate::agent::Origin;
use crate::clock::{Clock, SystemClock};
use crate::event::{Event, Filter, Kind, Redactor, Seq, Source};
use crate::store::{Delivery, Item, Level, Store, Way};

/// The newest events that are folded into what is known.
pub const FOLDED_EVENTS_MAX: u64 = 4_194_304;

/// A larger transcript is left to `import`: reading it again at every turn would keep a core busy.
pub const LIVE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Events before the start of [`follow`] that are looked at again: sessions that ended while no server ran.
pub const LOOK_BACK_EVENTS: u64 = 4_096;

/// Follows `store` until it is closed or `stop` resolves, importing what its events point to. A file that is being imported
/// then is imported to its end. Errors of one transcript are logged and do not end it.
///
/// # Errors
/// When the journal cannot be followed.
pub async fn follow(
    store: Store,
    source: Source,
    instance: String,
    stop: impl Future<Output = ()>,
) -> crate::error::Result<()> {
    let back = store.durable().get().saturating_sub(LOOK_BACK_EVENTS);
    let from = Seq::new(back).next().max(store.first());
    let mut subscription = store.subscribe(from, Filter::all())?;
    let live = Arc::new(Mutex::new(Live::default()));
    let mut stop = std::pin::pin!(stop);
    loop {
        let delivery = tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            delivery = subscription.next() => delivery?,
        };
        let Some(delivery) = delivery else { return Ok(()) };
        let Delivery::Event(stored) = delivery else { continue };
        for path in transcripts_of(&stored.event) {
            let origin = Origin {
                now: SystemClock.now(),
                source: source.clone(),
                instance: instance.clone(),
                project_dir: None,
                process: None,
            };
            import_one(&store, &live, path, origin).await;
        }
    }
}

async fn import_one(store: &Store, live: &Arc<Mutex<Live>>, path: PathBuf, origin: Origin) {
    let (store, live, file) = (store.clone(), Arc::clone(live), path.clone());
    let work = tokio::task::spawn_blocking(move || live.blocking_lock().import(&store, &file, &origin));
    match work.await {
        Ok(Ok(report)) => {
            tracing::debug!(added = report.added, broken = report.broken, "imported {}", path.display());
        }
        Ok(Err(error)) => tracing::warn!("{error}"),
        Err(error) => tracing::warn!("the import of {} ended early: {error}", path.display()),
    }
}

/// The kinds of event after which a transcript is worth reading on.
const KINDS: [Kind; 6] = [
    Kind::TurnCompleted,
    Kind::TurnFailed,
    Kind::SubagentStopped,
    Kind::SessionEnded,
    Kind::ContextCompacted,
    Kind::AgentEvent,
];

/// The transcripts that an event of a hook points to: of the session, or of the subagent that ended. None for events that an
/// import made, and for paths that are not believed.
pub fn transcripts_of(event: &Event) -> Vec<PathBuf> {
    #[derive(Deserialize, Default)]
    struct Named {
        transcript_path: Option<String>,
        agent_transcript_path: Option<String>,
        hook: Option<String>,
        data: Option<Box<Named>>,
    }
    if !event.kind.known().is_some_and(|kind| KINDS.contains(&kind)) {
        return Vec::new();
    }
    let Ok(mut named) = event.payload.read::<Named>() else { return Vec::new() };
    if event.kind == Kind::AgentEvent {
        if named.hook.as_deref() != Some("PreCompact") {
            return Vec::new();
        }
        named = named.data.map(|data| *data).unwrap_or_default();
    }
    let path =
        if event.kind == Kind::SubagentStopped { named.agent_transcript_path } else { named.transcript_path };
    path.map(PathBuf::from).filter(|path| is_believed(path)).into_iter().collect()
}

fn is_believed(path: &Path) -> bool {
    path.is_absolute()
        && path.extension().is_some_and(|end| end == "jsonl")
        && path.symlink_metadata().is_ok_and(|file| file.is_file() && file.len() <= LIVE_BYTES_MAX)
}

/// What is known of the journal, between one import and the next.
#[derive(Default)]
pub struct Live {
    known: Known,
    folded: Seq,
}

impl Live {
    /// Imports one transcript into the store. Blocks; returns when what it added is durable.
    ///
    /// # Errors
    /// As [`transcript::import_file`].
    pub fn import(&mut self, store: &Store, path: &Path, origin: &Origin) -> Result<Report, ImportError> {
        let folded = self.catch_up(store).map_err(|error| sink_error(path, error));
        let report = folded.and_then(|()| {
            let mut sink = StoreSink(store);
            transcript::import_file(path, &mut self.known, &mut sink, origin, &Redactor::new())
        });
        if report.is_err() {
            // It may hold what was never recorded.
            *self = Live::default();
        }
        report
    }

    fn catch_up(&mut self, store: &Store) -> crate::error::Result<()> {
        let oldest = Seq::new(store.durable().get().saturating_sub(FOLDED_EVENTS_MAX)).next();
        let mut replay = store.replay(self.folded.next().max(oldest).max(store.first()));
        while let Some(item) = replay.next()? {
            if let Item::Event(stored) = item {
                // The import's own events come by a second time here, which changes nothing.
                self.known.learn(&stored.event);
                self.folded = stored.seq;
            }
        }
        Ok(())
    }
}

fn sink_error(path: &Path, error: crate::error::Error) -> ImportError {
    ImportError::Sink { path: path.to_owned(), error: error.into() }
}

/// A store as the sink of an import: durable on return.
pub struct StoreSink<'a>(pub &'a Store);

impl Sink for StoreSink<'_> {
    fn emit(&mut self, events: Vec<Event>) -> Result<Taken, SinkError> {
        let sent = events.len() as u64;
        let emitted = self.0.emit_from(Way::Import, events, Level::Disk, None)?.wait()?;
        let known = emitted.duplicates.len() as u64;
        Ok(Taken { added: sent - known, known })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::agent::claude::hook;
    use crate::event::Timestamp;

    fn origin() -> Origin {
        Origin {
            now: Timestamp::from_micros(1_770_000_000_000_000),
            source: Source::default(),
            instance: "nobody".into(),
            project_dir: None,
            process: None,
        }
    }

    fn named(hook: &str, path: &Path, more: &Value) -> Vec<PathBuf> {
        let mut payload = json!({"session_id": "s", "hook_event_name": hook, "transcript_path": path});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut event = hook::event(payload.to_string().as_bytes(), &origin(), [0; 10]).unwrap();
        event.redact(&Redactor::new());
        transcripts_of(&event)
    }

    #[test]
    fn the_hooks_after_which_a_transcript_is_read_on_name_it() {
        let dir = tempfile::tempdir().unwrap();
        let of_session = dir.path().join("258c7280-ae70-4798-800f-63464d01a85d.jsonl");
        let of_agent = dir.path().join("agent-a2898e3.jsonl");
        std::fs::write(&of_session, "").unwrap();
        std::fs::write(&of_agent, "").unwrap();
        for hook in ["Stop", "SessionEnd", "PreCompact", "PostCompact"] {
            assert_eq!(named(hook, &of_session, &json!({})), std::slice::from_ref(&of_session), "{hook}");
        }
        let agent = json!({"agent_id": "a2898e3", "agent_transcript_path": of_agent});
        assert_eq!(named("SubagentStop", &of_session, &agent), [of_agent]);
        for hook in ["PreToolUse", "UserPromptSubmit", "Notification", "SessionStart", "CwdChanged"] {
            assert!(named(hook, &of_session, &json!({"prompt": "p", "message": "m"})).is_empty(), "{hook}");
        }
    }

    #[test]
    fn a_path_that_is_no_transcript_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, other) =
            (dir.path().join("s.jsonl"), dir.path().join("l.jsonl"), dir.path().join("s.txt"));
        std::fs::write(&file, "").unwrap();
        std::fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let missing = dir.path().join("none.jsonl");
        for path in [&link, &other, &missing, dir.path(), Path::new("/dev/null"), Path::new("s.jsonl")] {
            assert!(named("Stop", path, &json!({})).is_empty(), "{}", path.display());
        }
        assert_eq!(named("Stop", &file, &json!({})), [file], "the control");
    }
}

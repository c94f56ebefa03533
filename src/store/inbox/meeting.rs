//! Where two reports of one fact without a key agree on its id.
//!
//! An agent may tell of a session's start (or end) in two ways at once: its own hook, and a script of the project that
//! calls `internal session-started`. Both get the same payload, and nothing in it names *this* start: a session starts
//! again at each resume, clear and compaction, with the same words. So the two have to meet. Who comes first leaves a
//! note with the id of its event and with its [`Voice`]; who comes second, of the other voice, takes the note away and uses
//! that id. Both put their event into the inbox, and the journal keeps the first of one id: the death of either, at any
//! point, loses nothing.
//!
//! What makes this safe is the voice. A voice reports each fact once, so two reports of the same voice are two facts,
//! however close they are, and at most one report of each voice meets. Where only one of the two is registered, nothing
//! ever meets.
//!
//! - The place is named by kind, session and agent process: two processes that resume one session do not meet.
//! - The note is linked into place whole, which fails where one lies there (one wins, the other reads it), and is taken
//!   away by renaming it, which succeeds for one alone.
//! - A note counts for [`MEETING_SECONDS_MAX`]. One that nobody came for is replaced by the next of its voice, and swept at an
//!   opening.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::clock::{self, Clock, ProcessStamp};
use crate::config::guard::{self, How};
use crate::error::{Error, Result};
use crate::event::{Event, Timestamp};

/// Who reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// The agent's own hook.
    Hook,
    /// A script that calls `internal`.
    Script,
}

/// How far apart two reports of one fact may be. Generous, because a busy machine may hold one of them up, and harmless,
/// because two reports of one voice never meet.
pub const MEETING_SECONDS_MAX: i64 = 60;

const PREFIX: &str = "meet-";
/// More bytes than a note has.
const NOTE_BYTES_MAX: u64 = 256;
/// How often a note may be found lying there and be gone when it is to be taken, before both reports stand.
const ATTEMPTS_MAX: u32 = 16;

/// Gives `event` the id of the other report of the same fact if that came before, and otherwise leaves a note for it.
/// An event of no session is left as it is.
///
/// # Errors
/// [`Error::Io`]; the event has its own id then, and at worst the fact is there twice.
pub fn agree(
    inbox: &Path,
    event: &mut Event,
    agent: Option<ProcessStamp>,
    voice: Voice,
    clock: &dyn Clock,
) -> Result<()> {
    let Some(session) = event.session.clone() else { return Ok(()) };
    let place = Place::of(inbox, event.kind.name(), &session, agent, clock);
    let note = Note { voice, id: event.id, time: clock.now() };
    let id = place.meet(note)?;
    if event.correlation == event.id {
        event.correlation = id;
    }
    event.id = id;
    Ok(())
}

/// Whether a file is named as one of these; a temporary one without its ending.
pub(super) fn is_note(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Whether a note is too old for anybody to come for it. One that cannot be read is.
pub(super) fn is_stale(path: &Path, now: Timestamp) -> bool {
    read(path).is_none_or(|note| !note.is_fresh(now))
}

/// Where the reports of one fact meet.
struct Place {
    slot: PathBuf,
    /// A name that nobody else has, for what is written before it is linked and what was taken.
    own: PathBuf,
}

impl Place {
    fn of(inbox: &Path, kind: &str, session: &str, agent: Option<ProcessStamp>, clock: &dyn Clock) -> Place {
        let mut hasher = blake3::Hasher::new_derive_key("mnemosyne meeting v1");
        for part in [kind, session] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        if let Some(agent) = agent {
            hasher.update(&agent.pid.to_le_bytes());
            hasher.update(&agent.start_ticks.to_le_bytes());
        }
        let name = hasher.finalize().to_hex();
        let name = &name[..32];
        let unique = Uuid::from_bytes(clock::unique(clock)).simple();
        Place {
            slot: inbox.join(format!("{PREFIX}{name}")),
            own: inbox.join(format!("{PREFIX}{}-{unique}.tmp", std::process::id())),
        }
    }

    /// The id on which both agree.
    fn meet(&self, own: Note) -> Result<Uuid> {
        for _ in 0..ATTEMPTS_MAX {
            if let Some(other) = self.take()?
                && other.voice != own.voice
                && other.is_fresh(own.time)
            {
                return Ok(other.id);
            }
            if self.leave(own)? {
                return Ok(own.id);
            }
        }
        Ok(own.id)
    }

    /// Takes the note away that lies there. Only one can.
    fn take(&self) -> Result<Option<Note>> {
        match std::fs::rename(&self.slot, &self.own) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("rename", &self.slot)(error)),
        }
        let note = read(&self.own);
        std::fs::remove_file(&self.own).map_err(Error::io("remove", &self.own))?;
        Ok(note)
    }

    /// Leaves a note; false where one lies there.
    fn leave(&self, note: Note) -> Result<bool> {
        guard::open(&self.own, How::CreateNew)?
            .write_all(note.text().as_bytes())
            .map_err(Error::io("write", &self.own))?;
        let linked = std::fs::hard_link(&self.own, &self.slot);
        std::fs::remove_file(&self.own).map_err(Error::io("remove", &self.own))?;
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(Error::io("link", &self.slot)(error)),
        }
    }
}

/// What the first leaves for the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Note {
    voice: Voice,
    id: Uuid,
    time: Timestamp,
}

impl Note {
    fn text(self) -> String {
        let voice = match self.voice {
            Voice::Hook => "hook",
            Voice::Script => "script",
        };
        format!("{voice} {} {}\n", self.id, self.time.as_micros())
    }

    fn parse(text: &str) -> Option<Note> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let voice = match words.next()? {
            "hook" => Voice::Hook,
            "script" => Voice::Script,
            _ => return None,
        };
        let (id, time) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        words.next().is_none().then_some(Note { voice, id, time: Timestamp::from_micros(time) })
    }

    /// Whether it is of about this time. Clocks may run back.
    fn is_fresh(self, now: Timestamp) -> bool {
        now.as_micros().abs_diff(self.time.as_micros()) <= MEETING_SECONDS_MAX.unsigned_abs() * 1_000_000
    }
}

fn read(path: &Path) -> Option<Note> {
    let bytes = guard::read(path, NOTE_BYTES_MAX).ok()?;
    Note::parse(std::str::from_utf8(&bytes).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use crate::event::payload;

    const SECOND: i64 = 1_000_000;

    struct Desk {
        inbox: tempfile::TempDir,
        clock: FixedClock,
    }

    impl Desk {
        fn new() -> Desk {
            Desk {
                inbox: tempfile::tempdir().unwrap(),
                clock: FixedClock::at(Timestamp::from_micros(1_700_000_000 * SECOND)),
            }
        }

        fn report(&self, session: &str, agent: u32, voice: Voice) -> Event {
            let ended = payload::SessionEnded { reason: "other".into(), inferred: false };
            let id = clock::new_id(&self.clock);
            let mut event = Event::new(id, self.clock.now(), session, clock::this_source("mnemosyne"), ended)
                .with_session(session);
            let agent = Some(ProcessStamp { pid: agent, start_ticks: 7 });
            agree(self.inbox.path(), &mut event, agent, voice, &self.clock).unwrap();
            assert_eq!(event.correlation, event.id);
            event
        }

        fn files(&self) -> usize {
            std::fs::read_dir(self.inbox.path()).unwrap().count()
        }
    }

    #[test]
    fn two_voices_agree_in_either_order_and_leave_nothing() {
        for (first, second) in [(Voice::Hook, Voice::Script), (Voice::Script, Voice::Hook)] {
            let desk = Desk::new();
            for _ in 0..3 {
                let one = desk.report("s", 1, first);
                desk.clock.advance(SECOND);
                assert_eq!(desk.report("s", 1, second).id, one.id);
                assert_eq!(desk.files(), 0);
            }
        }
    }

    #[test]
    fn one_voice_alone_never_agrees_with_itself() {
        let desk = Desk::new();
        let ids: std::collections::BTreeSet<Uuid> =
            (0..10).map(|_| desk.report("s", 1, Voice::Hook).id).collect();
        assert_eq!((ids.len(), desk.files()), (10, 1));
    }

    #[test]
    fn another_session_another_process_and_another_hour_are_other_facts() {
        let desk = Desk::new();
        let hook = desk.report("s", 1, Voice::Hook);
        assert_ne!(desk.report("t", 1, Voice::Script).id, hook.id);
        assert_ne!(desk.report("s", 2, Voice::Script).id, hook.id);
        desk.clock.advance((MEETING_SECONDS_MAX + 1) * SECOND);
        assert_ne!(desk.report("s", 1, Voice::Script).id, hook.id);
        // Control: within the time they are one.
        let hook = desk.report("u", 1, Voice::Hook);
        desk.clock.advance(MEETING_SECONDS_MAX * SECOND);
        assert_eq!(desk.report("u", 1, Voice::Script).id, hook.id);
    }

    #[test]
    fn many_pairs_at_once_agree_pair_by_pair() {
        let desk = Desk::new();
        for round in 0..50 {
            let session = format!("session {round}");
            let (hook, script) = std::thread::scope(|scope| {
                let hook = scope.spawn(|| desk.report(&session, 1, Voice::Hook).id);
                let script = scope.spawn(|| desk.report(&session, 1, Voice::Script).id);
                (hook.join().unwrap(), script.join().unwrap())
            });
            assert_eq!(hook, script, "round {round}");
        }
        assert_eq!(desk.files(), 0);
    }

    #[test]
    fn a_note_that_is_none_is_passed_over() {
        let desk = Desk::new();
        desk.report("s", 1, Voice::Hook);
        let slot = std::fs::read_dir(desk.inbox.path()).unwrap().next().unwrap().unwrap().path();
        for text in ["", "hook", "hook x 1\n", "nobody 00000000-0000-0000-0000-000000000000 1\n"] {
            std::fs::write(&slot, text).unwrap();
            assert!(is_stale(&slot, desk.clock.now()), "{text:?}");
            let script = desk.report("s", 1, Voice::Script);
            assert_eq!(desk.report("s", 1, Voice::Hook).id, script.id);
            assert_eq!(desk.files(), 0);
        }
    }
}

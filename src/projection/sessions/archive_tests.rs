//! Sessions beyond the recent ones: nothing that counts is lost on the way into the archive and back, in a snapshot or out of it.

use std::collections::BTreeMap;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::archive::Archived;
use super::state::*;
use super::tests::*;
use super::unfinished::Unfinished;
use super::*;
use crate::event::Seq;
use crate::projection::snapshot::{self, Files, Refused, Span};
use crate::projection::{AnyFold as _, Fold};

const JOURNAL: [u8; 16] = [7; 16];

fn name(n: usize) -> String {
    format!("session-{n:06}")
}

/// Visits sessions so that each is left and seen again: the recent ones often, the old ones now and then.
fn visits(sessions: usize, events: usize) -> Stream {
    let mut stream = Stream::default();
    let mut dice = 7_usize;
    for n in 0..events {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let newest = 1 + n * sessions / events;
        let of = (dice >> 33) % newest;
        let session = name(if (dice >> 20).is_multiple_of(4) { of } else { newest - 1 - of % 8.min(newest) });
        let (ms, id) = (i64::try_from(n).unwrap(), format!("t{n}"));
        match (dice >> 40) % 5 {
            0 => stream.push(ms, &session, None, prompt(&format!("prompt {n}"))),
            1 => stream.push(ms, &session, None, call(&id)),
            2 => stream.push(ms, &session, None, done(&format!("t{}", n.saturating_sub(3)), None)),
            3 => stream.push(ms, &session, Some("helper"), said(&format!("m{}", n / 3), 5)),
            _ => stream.push(ms, &session, None, ended("other")),
        };
    }
    stream
}

fn fold_of(events: &[StoredEvent]) -> Fold<SessionsProjection> {
    let mut fold = Fold::default();
    events.iter().for_each(|event| fold.apply(event));
    fold
}

#[test]
fn counts_are_whole_whether_a_session_lies_in_the_archive_or_came_back() {
    let stream = visits(500, 6_000);
    let fold = fold_of(&stream.events);
    let state = fold.state();
    let seen: std::collections::BTreeSet<_> =
        stream.events.iter().filter_map(|stored| stored.event.session.clone()).collect();
    assert_eq!((state.recent.len(), state.len(), state.departed()), (SESSIONS_DETAILED_MAX, seen.len(), 0));
    for n in (0..500).filter(|n| seen.contains(&name(*n))) {
        let of: Vec<_> =
            stream.events.iter().filter(|stored| stored.event.session == Some(name(n))).collect();
        let session = state.get(&name(n)).unwrap();
        let prompts = of.iter().filter(|stored| stored.event.kind == Kind::PromptSubmitted).count();
        assert_eq!((session.events, session.counts.prompts), (of.len() as u64, prompts as u64));
        assert_eq!(Some(session.seq_last), of.last().map(|stored| stored.seq.get()));
        assert!(!session.returned);
    }
    assert!(unfinished(state).len() > 100, "most of them are in the archive");
}

fn unfinished(state: &Sessions) -> BTreeMap<Box<str>, Unfinished> {
    state.unfinished().map(|unfinished| (unfinished.id.clone(), unfinished.into_owned())).collect()
}

/// What was unpacked for the first question has to follow the archive: sessions that leave it, come back, end, and are forgotten.
#[test]
fn the_unfinished_ones_are_those_of_the_whole_state_whenever_one_asks() {
    let stream = visits(300, 6_000);
    let mut fold = Fold::<SessionsProjection>::default();
    for (n, event) in stream.events.iter().enumerate() {
        fold.apply(event);
        if !n.is_multiple_of(97) {
            continue;
        }
        let state = fold.state();
        let all = state.all().filter_map(|(id, session)| Unfinished::of(&id, &session));
        let all: BTreeMap<_, _> = all.map(|unfinished| (unfinished.id.clone(), unfinished)).collect();
        assert_eq!(unfinished(state), all, "after {n}");
        let bytes = snapshot::encode(&fold, JOURNAL).unwrap();
        let restored = snapshot::decode::<SessionsProjection>(&bytes, JOURNAL, event.seq).unwrap();
        assert_eq!(restored.state(), state, "it is no part of the state");
        assert_eq!(unfinished(restored.state()), all);
    }
    // Ended, in the archive, and forgotten there.
    let mut archive = Archived::default();
    let stream = visits(40, 400);
    let fold = fold_of(&stream.events);
    assert_eq!(archive.unfinished().count(), 0);
    for (id, session) in fold.state().all() {
        archive.put(session.key, &id, &session);
    }
    let open = fold.state().unfinished().count();
    assert!(open > 5 && archive.unfinished().count() == open);
    while archive.forget_oldest().is_some() {
        let places = archive.all().filter_map(|(id, session)| Unfinished::of(&id, &session)).count();
        assert_eq!(archive.unfinished().count(), places);
    }
}

#[test]
fn a_snapshot_with_an_archive_and_the_rest_equal_the_fold() {
    let stream = visits(2_000, 12_000);
    let whole = fold_of(&stream.events);
    assert!(whole.state().parts().count() > 3);
    let mut running = Fold::<SessionsProjection>::default();
    for event in &stream.events {
        running.apply(event);
        if !event.seq.get().is_multiple_of(1_999) {
            continue;
        }
        let bytes = snapshot::encode(&running, JOURNAL).unwrap();
        let mut restored = snapshot::decode::<SessionsProjection>(&bytes, JOURNAL, event.seq).unwrap();
        assert_eq!(restored.state(), running.state());
        let rest = stream.events.iter().skip_while(|later| later.seq <= event.seq);
        rest.for_each(|event| restored.apply(event));
        assert_eq!(restored.hash().unwrap(), whole.hash().unwrap(), "from {}", event.seq);
        assert_eq!(restored.state(), whole.state());
    }
}

/// Sessions that take turns leave what they were behind each time: it must not heap up.
#[test]
fn sessions_that_take_turns_do_not_fill_the_archive() {
    let mut stream = Stream::default();
    for n in 0..20_000 {
        stream.push(n, &name(usize::try_from(n).unwrap() % (SESSIONS_DETAILED_MAX + 8)), None, prompt("p"));
    }
    let fold = stream.fold();
    let bytes = snapshot::encode(&fold, JOURNAL).unwrap().len();
    assert!(bytes < 1 << 20, "{bytes} bytes for 72 sessions");
    assert!(fold.state().all().all(|(_, session)| session.events >= 277));
    let restored = snapshot::decode::<SessionsProjection>(
        &snapshot::encode(&fold, JOURNAL).unwrap(),
        JOURNAL,
        fold.seq(),
    );
    assert_eq!(restored.unwrap().state(), fold.state());
}

struct Saved {
    dir: tempfile::TempDir,
    files: Files,
}

impl Saved {
    fn new() -> Saved {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path(), JOURNAL);
        Saved { dir, files }
    }

    fn save(&self, fold: &Fold<SessionsProjection>) {
        let (bytes, parts) = snapshot::encode_apart(fold, JOURNAL).unwrap();
        self.files.save_with_parts::<SessionsProjection>(&bytes, &parts).unwrap();
    }

    fn parts(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut parts: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|extension| extension == "part")).collect();
        parts.sort();
        parts
    }

    fn newest(&self) -> (Option<Seq>, Vec<Refused>) {
        let found = self.files.newest::<SessionsProjection>(Span::up_to(Seq::MAX));
        (found.fold.map(|fold| fold.seq()), found.refused.into_iter().map(|refusal| refusal.why).collect())
    }
}

#[test]
fn snapshots_share_their_parts_and_damage_of_one_is_told_and_mended() {
    let stream = visits(2_000, 12_000);
    let (early, late) = (fold_of(&stream.events[..11_000]), fold_of(&stream.events));
    let saved = Saved::new();
    saved.save(&early);
    let first = saved.parts();
    saved.save(&late);
    let both = saved.parts();
    assert!(first.iter().all(|part| both.contains(part)), "nothing sealed is written twice");
    assert_eq!(both.len(), late.state().parts().count());
    assert!(both.len() >= 16, "{} parts: so many that two threads read them", both.len());
    let found = saved.files.newest::<SessionsProjection>(Span::up_to(Seq::MAX)).fold.unwrap();
    assert_eq!((found.state(), found.hash().unwrap()), (late.state(), late.hash().unwrap()));

    // Whichever is missing, in whoever's half, and whatever else is there.
    for part in &both {
        let bytes = fs::read(part).unwrap();
        fs::remove_file(part).unwrap();
        let expected = if first.contains(part) {
            (None, vec![Refused::Damaged; 3])
        } else {
            (Some(early.seq()), vec![Refused::Damaged])
        };
        assert_eq!(saved.newest(), expected, "without {}", part.display());
        fs::write(part, bytes).unwrap();
    }
    assert_eq!(saved.newest(), (Some(late.seq()), vec![]));

    let last = both.iter().find(|part| !first.contains(part)).unwrap();
    let mut bytes = fs::read(last).unwrap();
    bytes[100] ^= 1;
    fs::write(last, &bytes).unwrap();
    assert_eq!(saved.newest(), (Some(Seq::new(11_000)), vec![Refused::Damaged]));
    fs::remove_file(&first[0]).unwrap();
    assert_eq!(saved.newest(), (None, vec![Refused::Damaged; 3]), "the rung of the first is the same file");
    saved.save(&late);
    assert_eq!(saved.newest().0, Some(late.seq()));
}

/// Parts come first: a crash before the snapshot that names them leaves the one before.
#[test]
fn a_crash_between_the_parts_and_their_snapshot_leaves_the_one_before() {
    let stream = visits(2_000, 12_000);
    let (early, late) = (fold_of(&stream.events[..11_000]), fold_of(&stream.events));
    let saved = Saved::new();
    saved.save(&early);
    let (_, parts) = snapshot::encode_apart(&late, JOURNAL).unwrap();
    for written in 0..=parts.len() {
        saved.files.save_parts::<SessionsProjection>(&parts[..written]).unwrap();
        assert_eq!(saved.newest(), (Some(early.seq()), vec![]));
    }
    saved.save(&late);
    assert_eq!(saved.newest(), (Some(late.seq()), vec![]));
}

/// Retention removes parts that nothing names while snapshots are saved, whose parts nothing names yet.
#[test]
fn parts_of_a_snapshot_that_is_being_saved_stay() {
    let stream = visits(2_000, 12_000);
    let early = fold_of(&stream.events[..3_000]);
    let late = fold_of(&stream.events);
    let saved = Saved::new();
    saved.save(&early);
    let (other, done) = (saved.files.clone(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let removing = scope.spawn(|| {
            let mut rounds = 0_u64;
            while !done.load(Ordering::Relaxed) {
                other.forget_before::<SessionsProjection>(Seq::MAX).unwrap();
                rounds += 1;
            }
            rounds
        });
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..20 {
                // Both files are of the early one: what only the late one needs is removed.
                for fold in [&early, &early, &late] {
                    saved.save(fold);
                }
                assert_eq!(saved.newest(), (Some(late.seq()), vec![]));
            }
        }));
        done.store(true, Ordering::Relaxed);
        assert!(removing.join().unwrap() > 0);
        outcome.unwrap();
    });
}

#[test]
fn parts_that_cannot_be_told_from_others_stay() {
    let stream = visits(2_000, 12_000);
    let saved = Saved::new();
    saved.save(&fold_of(&stream.events));
    let count = saved.parts().len();
    // No plain file names anything; the other of the two still names all.
    fs::create_dir(saved.files.path::<SessionsProjection>(1)).unwrap();
    saved.files.forget_before::<SessionsProjection>(Seq::MAX).unwrap();
    assert_eq!(saved.parts().len(), count);
    // A directory that cannot be listed.
    let elsewhere = Files::new(saved.files.path::<SessionsProjection>(0), JOURNAL);
    elsewhere.forget_before::<SessionsProjection>(Seq::MAX).unwrap_err();
}

#[test]
fn parts_go_with_the_last_snapshot_that_names_them() {
    let stream = visits(2_000, 12_000);
    let saved = Saved::new();
    saved.save(&fold_of(&stream.events));
    assert!(!saved.parts().is_empty());
    saved.files.forget::<SessionsProjection>().unwrap();
    assert_eq!(saved.parts(), [] as [PathBuf; 0]);
}

/// What a person is shown is every session by its id, and a state read from that shows the same.
#[test]
fn the_json_of_a_state_has_the_archive_in_it() {
    let fold = fold_of(&visits(200, 900).events);
    let json = fold.state_json().unwrap();
    let shown: Json = serde_json::from_str(json.get()).unwrap();
    assert_eq!(shown["sessions"].as_object().unwrap().len(), fold.state().len());
    assert!(fold.state().len() > 2 * SESSIONS_DETAILED_MAX);
    let told: Sessions = serde_json::from_str(json.get()).unwrap();
    assert_eq!(serde_json::to_value(&told).unwrap()["sessions"], shown["sessions"]);
}

#[test]
fn a_message_counts_once_however_many_came_between() {
    let mut stream = Stream::default();
    let messages = MESSAGES_CHANGEABLE_MAX + 2;
    for n in 0..messages {
        stream.push(1, "s", None, said(&format!("m{n}"), 1));
    }
    stream.push(2, "s", None, said("m0", 9));
    stream.push(3, "fork", None, said("m0", 9));
    stream.push(4, "s", None, said(&format!("m{}", messages - 1), 9));
    let fold = stream.fold();
    let (session, fork) = (&fold.state().recent["s"], &fold.state().recent["fork"]);
    assert_eq!((session.counts.messages, session.counts.messages_copied), (messages as u64, 0));
    assert_eq!(session.tokens.output, messages as u64 + 8, "the last one can still change");
    assert_eq!((fork.counts.messages, fork.counts.messages_copied), (0, 1));
}

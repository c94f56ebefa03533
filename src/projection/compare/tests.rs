//! A saved state is compared with the fold, whatever its checksum says of it.

use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::clock::FixedClock;
use crate::event::{Event, Source as EventSource, Timestamp, payload};
use crate::projection::Runner;
use crate::projection::sessions::SessionsProjection;
use crate::projection::snapshot::Files;
use crate::store::{JournalId, Level, MemoryLog, Store};

fn store(first: u64) -> Store {
    let clock = Arc::new(FixedClock::at(Timestamp::from_micros(1)));
    let log = Arc::new(MemoryLog::pretending(JournalId::from_bytes([7; 16])));
    let store = Store::over(log.clone(), clock, "server");
    let prompt = |n: u64| {
        let prompt = payload::PromptSubmitted { prompt: format!("prompt {n}"), prompt_id: None };
        let time = Timestamp::from_micros(i64::try_from(n).unwrap());
        let id = Uuid::from_u128(u128::from(n) + 1);
        Event::new(id, time, "s", EventSource::default(), prompt).with_session("s")
    };
    store.emit((0..60).map(prompt).collect(), Level::Disk, None).unwrap().wait().unwrap();
    log.retain_from(Seq::new(first));
    store
}

/// Snapshots of every projection at 10, 20 and 60 and a base at 30.
fn saved(dir: &Path) -> Files {
    let whole = store(1);
    let files = Files::new(dir.join("snapshots"), whole.journal_id().to_bytes()).with_base(dir.join("base"));
    fs::create_dir_all(dir.join("snapshots")).unwrap();
    for definition in registry::TABLE {
        for (slot, seq) in [10, 20, 60].into_iter().enumerate() {
            let (fold, _) = definition.state_at(&whole, None, Seq::new(seq)).unwrap();
            let path = dir.join("snapshots").join(format!("{}.{slot}.snap", definition.name));
            fs::write(path, fold.encode(files.journal()).unwrap()).unwrap();
        }
    }
    base::write(&whole, &files, Seq::new(30)).unwrap();
    files
}

fn checked(dir: &Path, first: u64) -> Vec<Checked> {
    compare(&store(first), &dir.join("snapshots"), &dir.join("base")).unwrap()
}

#[test]
fn what_was_saved_is_what_is_folded_before_a_cut_and_after_it() {
    let dir = tempfile::tempdir().unwrap();
    saved(dir.path());
    let all = checked(dir.path(), 1);
    assert_eq!(all.len(), 4 * registry::TABLE.len());
    assert!(all.iter().all(|one| matches!(one.verdict, Verdict::Same(_))), "{all:?}");
    let after = checked(dir.path(), 31);
    let count = |is: fn(&Verdict) -> bool| after.iter().filter(|one| is(&one.verdict)).count();
    assert_eq!(count(|verdict| matches!(verdict, Verdict::Useless)), 2 * registry::TABLE.len());
    assert_eq!(count(|verdict| matches!(verdict, Verdict::Start(_))), registry::TABLE.len());
    assert_eq!(count(|verdict| matches!(verdict, Verdict::Same(_))), registry::TABLE.len());
}

#[test]
fn a_wrong_state_with_a_right_checksum_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let files = saved(dir.path());
    let (mut fold, _) = registry::TABLE[0].state_at(&store(1), None, Seq::new(10)).unwrap();
    fold.skip(Seq::new(20));
    let path = dir.path().join("snapshots").join(format!("{}.1.snap", registry::TABLE[0].name));
    fs::write(&path, fold.encode(files.journal()).unwrap()).unwrap();
    let wrong: Vec<_> = checked(dir.path(), 1).into_iter().filter(Checked::is_wrong).collect();
    assert_eq!(wrong.len(), 1);
    assert_eq!((&wrong[0].path, wrong[0].seq), (&path, Some(Seq::new(20))));
}

#[test]
fn a_damaged_snapshot_does_no_harm_and_a_damaged_base_is_a_loss() {
    let dir = tempfile::tempdir().unwrap();
    saved(dir.path());
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[41] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    flip(&dir.path().join("snapshots").join("sessions.0.snap"));
    let refused = |all: Vec<Checked>| {
        all.into_iter().filter(|one| matches!(one.verdict, Verdict::Refused(_))).collect::<Vec<_>>()
    };
    let found = refused(checked(dir.path(), 1));
    assert_eq!((found.len(), found[0].is_wrong()), (1, false));
    flip(&base::path_of(&dir.path().join("base"), Seq::new(30)));
    let found = refused(checked(dir.path(), 1));
    assert_eq!((found.len(), found.iter().filter(|one| one.is_wrong()).count()), (2, 1));
}

#[test]
fn a_snapshot_whose_part_is_gone_or_damaged_is_a_damaged_one() {
    let clock = Arc::new(FixedClock::at(Timestamp::from_micros(1)));
    let store = Store::over(Arc::new(MemoryLog::pretending(JournalId::from_bytes([7; 16]))), clock, "server");
    // So many sessions that the older ones fill a part.
    let started = |n: u128| {
        let prompt = payload::PromptSubmitted { prompt: "what is it? ".repeat(20), prompt_id: None };
        let session = Uuid::from_u128(n).to_string();
        let time = Timestamp::from_micros(i64::try_from(n).unwrap());
        Event::new(Uuid::from_u128(n), time, session.clone(), EventSource::default(), prompt)
            .with_session(session)
    };
    store.emit((1..900).map(started).collect(), Level::Disk, None).unwrap().wait().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, bases) = (dir.path().join("snapshots"), dir.path().join("base"));
    fs::create_dir_all(&snapshots).unwrap();
    let files = Files::new(&snapshots, store.journal_id().to_bytes());
    let (runner, _) = Runner::<SessionsProjection>::restore(Some(files), &store).unwrap();
    runner.catch_up(&store).unwrap();
    runner.snapshot().unwrap().unwrap();
    let verdicts = || {
        let checked = compare(&store, &snapshots, &bases).unwrap();
        checked.into_iter().map(|one| (one.is_damaged(), one.is_wrong())).collect::<Vec<_>>()
    };
    // The snapshot and the rung are one file under two names.
    assert_eq!(verdicts(), [(false, false); 2]);
    let is_part = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "part");
    let part = fs::read_dir(&snapshots).unwrap().map(|entry| entry.unwrap().path()).find(is_part).unwrap();
    let whole = fs::read(&part).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    fs::write(&part, damaged).unwrap();
    assert_eq!(verdicts(), [(true, false); 2]);
    fs::write(&part, whole).unwrap();
    assert_eq!(verdicts(), [(false, false); 2]);
    fs::remove_file(&part).unwrap();
    assert_eq!(verdicts(), [(true, false); 2]);
}

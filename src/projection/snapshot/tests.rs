//! A snapshot is a shortcut and never a source: every way of being wrong is refused, and the fold is the same without it.

use std::{fs, io};

use uuid::Uuid;

use super::super::durable::Step;
use super::*;
use crate::event::{Event, Source, StoredEvent, Timestamp, payload};
use crate::projection::sessions::SessionsProjection;

const JOURNAL: [u8; 16] = [7; 16];

fn prompts(n: u64) -> Fold<SessionsProjection> {
    let mut fold = Fold::default();
    for seq in 1..=n {
        let time = Timestamp::from_micros(i64::try_from(seq).unwrap());
        let prompt = payload::PromptSubmitted { prompt: format!("prompt {seq}"), prompt_id: None };
        let event =
            Event::new(Uuid::from_u128(seq.into()), time, "s", Source::default(), prompt).with_session("s");
        fold.apply(&StoredEvent { seq: Seq::new(seq), recorded: time, event });
    }
    fold
}

fn bytes_of(fold: &Fold<SessionsProjection>) -> Vec<u8> {
    encode(fold, JOURNAL).unwrap()
}

fn refusal(bytes: &[u8], journal: [u8; 16], newest: u64) -> Option<Refused> {
    decode::<SessionsProjection>(bytes, journal, Seq::new(newest)).err()
}

/// Another projection with the same state, for the refusals.
enum Renamed {}
impl Projection for Renamed {
    const NAME: &'static str = "renamed";
    const SCHEMA: u32 = SessionsProjection::SCHEMA;
    type State = <SessionsProjection as Projection>::State;
    fn apply(_: &mut Self::State, _: &StoredEvent) {}
}

/// The same projection after its meaning changed.
enum Changed {}
impl Projection for Changed {
    const NAME: &'static str = SessionsProjection::NAME;
    const SCHEMA: u32 = SessionsProjection::SCHEMA + 1;
    type State = <SessionsProjection as Projection>::State;
    fn apply(_: &mut Self::State, _: &StoredEvent) {}
}

#[test]
fn a_snapshot_gives_back_the_fold() {
    let fold = prompts(3);
    let back = decode::<SessionsProjection>(&bytes_of(&fold), JOURNAL, Seq::new(3)).unwrap();
    assert_eq!((back.seq(), back.hash().unwrap()), (fold.seq(), fold.hash().unwrap()));
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused() {
    let bytes = bytes_of(&prompts(2));
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(refusal(&damaged, JOURNAL, 2), Some(Refused::Damaged), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert_eq!(refusal(&bytes[..length], JOURNAL, 2), Some(Refused::Damaged), "{length} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(refusal(&longer, JOURNAL, 2), Some(Refused::Damaged));
}

/// The control: without the checksum, with the flipped state hashed anew, the same harness finds wrong states believed.
#[test]
fn it_is_the_checksum_that_finds_the_flips() {
    let bytes = bytes_of(&prompts(2));
    let body = bytes.len() - CHECKSUM_BYTES;
    let name = SessionsProjection::NAME.len();
    let mut believed = 0;
    for at in HEADER_BYTES + name..body {
        let mut forged = bytes[..body].to_vec();
        forged[at] ^= 1;
        let hash = StateHash::of_bytes(&forged[HEADER_BYTES + name..]);
        forged[40..72].copy_from_slice(hash.as_bytes());
        forged.extend_from_slice(blake3::hash(&forged).as_bytes());
        believed += u32::from(refusal(&forged, JOURNAL, 2).is_none());
    }
    assert!(believed > 0, "the harness could not go red");
}

#[test]
fn what_could_not_be_read_is_remembered() {
    let mut fold = Fold::<SessionsProjection>::default();
    fold.skip(Seq::new(3));
    fold.skip(Seq::new(2));
    fold.skip(Seq::new(7));
    assert_eq!((fold.seq(), fold.missing()), (Seq::new(7), 7));
    let hash = fold.hash().unwrap();
    assert_eq!(hash, Fold::<SessionsProjection>::default().hash().unwrap(), "it is no part of the state");
    let back = decode::<SessionsProjection>(&bytes_of(&fold), JOURNAL, Seq::new(7)).unwrap();
    assert_eq!((back.seq(), back.missing()), (Seq::new(7), 7));
}

#[test]
fn files_of_the_first_layouts_are_read() {
    // The first one has no count of what is missing, and neither of them has parts.
    for (layout, header_bytes) in [(1_u32, 88), (2, 96)] {
        let bytes = bytes_of(&prompts(3));
        let mut older = bytes[..bytes.len() - CHECKSUM_BYTES].to_vec();
        older.drain(header_bytes..HEADER_BYTES);
        older[8..12].copy_from_slice(&layout.to_le_bytes());
        older.extend_from_slice(blake3::hash(&older).as_bytes());
        let fold = decode::<SessionsProjection>(&older, JOURNAL, Seq::new(3)).unwrap();
        assert_eq!((fold.seq(), fold.missing()), (Seq::new(3), 0));
        assert_eq!(fold.hash().unwrap(), prompts(3).hash().unwrap());
        assert_eq!(label(&older).unwrap().hash, fold.hash().unwrap());
    }
}

#[test]
fn what_is_of_something_else_is_refused_by_name() {
    let bytes = bytes_of(&prompts(3));
    assert_eq!(refusal(&bytes, [8; 16], 3), Some(Refused::OtherJournal));
    assert_eq!(refusal(&bytes, JOURNAL, 2), Some(Refused::Ahead));
    assert_eq!(decode::<Renamed>(&bytes, JOURNAL, Seq::new(3)).err(), Some(Refused::OtherProjection));
    assert_eq!(decode::<Changed>(&bytes, JOURNAL, Seq::new(3)).err(), Some(Refused::OtherSchema));
}

fn files() -> (tempfile::TempDir, Files) {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path().join("snapshots"), JOURNAL);
    (dir, files)
}

fn newest(files: &Files, seq: u64) -> Option<u64> {
    files.newest::<SessionsProjection>(Span::up_to(Seq::new(seq))).fold.map(|fold| fold.seq().get())
}

#[test]
fn saves_take_turns_so_that_the_one_before_stays_whole() {
    let (_dir, files) = files();
    assert_eq!(newest(&files, 99), None);
    for seq in 1..=5 {
        files.save::<SessionsProjection>(&bytes_of(&prompts(seq))).unwrap();
        assert_eq!(newest(&files, 99), Some(seq));
        assert_eq!(
            newest(&files, seq - 1),
            (seq > 1).then_some(seq - 1),
            "the one before, for an earlier seq"
        );
    }
}

#[test]
fn a_damaged_newest_leaves_the_one_before_and_is_written_over_next() {
    let (_dir, files) = files();
    for seq in [10, 20] {
        files.save::<SessionsProjection>(&bytes_of(&prompts(seq))).unwrap();
    }
    let path = files.path::<SessionsProjection>(1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 4;
    fs::write(&path, &bytes).unwrap();
    let found = files.newest::<SessionsProjection>(Span::up_to(Seq::new(99)));
    assert_eq!(found.fold.unwrap().seq(), Seq::new(10));
    let refusal = Refusal { projection: "sessions", path, why: Refused::Damaged };
    assert_eq!(found.refused, [refusal]);
    files.save::<SessionsProjection>(&bytes_of(&prompts(30))).unwrap();
    assert_eq!((newest(&files, 99), newest(&files, 29)), (Some(30), Some(10)));
}

/// A crash after each step of a save, and then the next save: the newest believable one is the old or the new, never less.
#[test]
fn a_crash_between_any_two_steps_of_a_save_leaves_a_believable_snapshot() {
    let steps = [
        Step::Made,
        Step::HalfWritten,
        Step::Written,
        Step::Flushed,
        Step::Linked,
        Step::Renamed,
        Step::Done,
    ];
    let mut before_and_after = std::collections::BTreeSet::new();
    for crash_after in steps {
        let (_dir, files) = files();
        for seq in [10, 20] {
            files.save::<SessionsProjection>(&bytes_of(&prompts(seq))).unwrap();
        }
        let crashed = files.save_in_steps::<SessionsProjection>(&bytes_of(&prompts(30)), &mut |step| {
            if step == crash_after { Err(io::Error::other("crash")) } else { Ok(()) }
        });
        crashed.unwrap_err();
        let seen = newest(&files, 99);
        assert!(seen == Some(20) || seen == Some(30), "{crash_after:?} left {seen:?}");
        before_and_after.insert(seen);
        files.save::<SessionsProjection>(&bytes_of(&prompts(31))).unwrap();
        assert_eq!(newest(&files, 99), Some(31), "after {crash_after:?}");
    }
    assert_eq!(before_and_after.len(), 2, "the harness saw a crash before and one after the replacement");
}

/// Renamed, and the content did not reach the disk: the file is of any length.
#[test]
fn a_snapshot_cut_at_any_length_leaves_the_one_before() {
    let bytes = bytes_of(&prompts(30));
    let (_dir, files) = files();
    for seq in [10, 20] {
        files.save::<SessionsProjection>(&bytes_of(&prompts(seq))).unwrap();
    }
    for written in 0..=bytes.len() {
        fs::write(files.path::<SessionsProjection>(0), &bytes[..written]).unwrap();
        assert_eq!(newest(&files, 99), Some(if written == bytes.len() { 30 } else { 20 }), "{written} bytes");
    }
}

fn at(seq: u64) -> Vec<u8> {
    bytes_of(&Fold::restore(<SessionsProjection as Projection>::State::default(), Seq::new(seq), 0))
}

fn rungs(files: &Files) -> Vec<u64> {
    (0..2_000)
        .map(|n| n * files::stride(Seq::ZERO))
        .filter(|seq| newest(files, seq + 1) == Some(*seq))
        .collect()
}

#[test]
fn the_ladder_stays_sparse_as_the_journal_grows_and_reaches_back_to_its_beginning() {
    let (dir, files) = files();
    let step = files::stride(Seq::ZERO);
    for n in 1..=600 {
        files.save::<SessionsProjection>(&at(n * step)).unwrap();
    }
    let count = fs::read_dir(dir.path().join("snapshots")).unwrap().count() as u64;
    assert!(count <= files::RUNGS_MAX + 2, "{count} files");
    let stride = files::stride(Seq::new(600 * step));
    assert_eq!(stride, 2 * step);
    assert_eq!(files::stride(Seq::new(10_000_000)), step, "no doubling up to ten million");
    for seq in (2 * stride..600 * step).step_by(7 * usize::try_from(step).unwrap() + 13) {
        let found = newest(&files, seq).expect("a rung below");
        assert!(seq - found < 2 * stride, "{found} for {seq}");
    }
    assert!(!rungs(&files).is_empty());
}

#[test]
fn rungs_before_the_first_retained_event_go() {
    let (_dir, files) = files();
    let step = files::stride(Seq::ZERO);
    for n in 1..=10 {
        files.save::<SessionsProjection>(&at(n * step)).unwrap();
    }
    files.forget_before::<SessionsProjection>(Seq::new(5 * step + 1)).unwrap();
    assert_eq!(newest(&files, 4 * step), None);
    assert_eq!(newest(&files, 5 * step), Some(5 * step), "what ends where the journal begins is of use");
}

#[test]
fn a_state_from_which_events_are_missing_is_of_no_use() {
    let (_dir, files) = files();
    files.save::<SessionsProjection>(&at(100)).unwrap();
    let within = |from| Span { from: Seq::new(from), to: Seq::new(200), durable: Seq::new(200) };
    assert!(files.newest::<SessionsProjection>(within(101)).fold.is_none());
    assert!(files.newest::<SessionsProjection>(within(100)).fold.is_some());
}

#[test]
fn a_snapshot_ahead_of_the_journal_is_told_and_one_beyond_what_is_asked_is_not() {
    let (_dir, files) = files();
    files.save::<SessionsProjection>(&at(100)).unwrap();
    let found = files.newest::<SessionsProjection>(Span::up_to(Seq::new(99)));
    assert!(found.fold.is_none());
    assert!(found.refused.iter().all(|refusal| refusal.why == Refused::Ahead) && !found.refused.is_empty());
    let earlier = Span { from: Seq::ZERO, to: Seq::new(99), durable: Seq::new(100) };
    assert_eq!(files.newest::<SessionsProjection>(earlier).refused, []);
}

/// Through the files: whichever bit is flipped, the state comes from elsewhere and that is told.
#[test]
fn every_flipped_bit_of_a_file_is_told_and_the_file_not_used() {
    let (_dir, files) = files();
    let good = bytes_of(&prompts(2));
    let path = files.path::<SessionsProjection>(0);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for bit in 0..good.len() * 8 {
        let mut damaged = good.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &damaged).unwrap();
        let found = files.newest::<SessionsProjection>(Span::up_to(Seq::new(2)));
        assert!(found.fold.is_none(), "bit {bit}");
        assert_eq!(found.refused.len(), 1, "bit {bit} is told once");
    }
}

#[test]
fn what_is_no_plain_file_is_not_followed() {
    let (dir, files) = files();
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, bytes_of(&prompts(3))).unwrap();
    fs::create_dir(dir.path().join("snapshots")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, files.path::<SessionsProjection>(0)).unwrap();
    assert_eq!(newest(&files, 99), None);
    let found = files.newest::<SessionsProjection>(Span::up_to(Seq::new(99)));
    assert_eq!(found.refused.len(), 1, "told, not passed over");
}

#[test]
fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_dir, files) = files();
    files.save::<SessionsProjection>(&bytes_of(&prompts(1))).unwrap();
    let mode = fs::metadata(files.path::<SessionsProjection>(0)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

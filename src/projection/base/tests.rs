//! After a cut the state is the fold of what is retained over the base: the same state as before the cut.

use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::clock::FixedClock;
use crate::event::{Event, Source as EventSource, StoredEvent, Timestamp, payload};
use crate::projection::sessions::SessionsProjection;
use crate::projection::state_at;
use crate::store::{JournalId, Level, MemoryLog, Store};

fn prompt(n: u64) -> Event {
    let time = Timestamp::from_micros(i64::try_from(n).unwrap());
    let prompt = payload::PromptSubmitted { prompt: format!("prompt {n}"), prompt_id: None };
    let id = format!("session-{}", n % 5);
    Event::new(Uuid::from_u128(u128::from(n) + 1), time, id.clone(), EventSource::default(), prompt)
        .with_session(id)
}

/// The same events each time, of which those before `first` were dropped.
fn store(events: u64, first: u64) -> Store {
    let clock = Arc::new(FixedClock::at(Timestamp::from_micros(1)));
    let log = Arc::new(MemoryLog::pretending(JournalId::from_bytes([7; 16])));
    let store = Store::over(log.clone(), clock, "server");
    store.emit((0..events).map(prompt).collect(), Level::Disk, None).unwrap().wait().unwrap();
    log.retain_from(Seq::new(first));
    store
}

struct World {
    dir: tempfile::TempDir,
    store: Store,
    files: Files,
}

impl World {
    fn new() -> World {
        let (dir, store) = (tempfile::tempdir().unwrap(), store(100, 1));
        let files = Files::new(dir.path().join("snapshots"), store.journal_id().to_bytes())
            .with_base(dir.path().join("base"));
        World { dir, store, files }
    }

    fn base_dir(&self) -> PathBuf {
        self.dir.path().join("base")
    }

    fn hash(source: &dyn Source, files: Option<&Files>, seq: u64) -> Vec<String> {
        let of = |definition: &Definition| {
            let (fold, _) = definition.state_at(source, files, Seq::new(seq)).unwrap();
            assert_eq!(fold.seq(), Seq::new(seq));
            fold.hash().unwrap().to_string()
        };
        registry::TABLE.iter().map(of).collect()
    }
}

#[test]
fn after_the_cut_every_state_is_as_before_it() {
    let world = World::new();
    let written = write(&world.store, &world.files, Seq::new(40)).unwrap();
    assert_eq!((written.seq, written.progress.events), (Seq::new(40), 40));
    let cut = store(100, 41);
    for seq in 40..=100 {
        let before = World::hash(&world.store, None, seq);
        assert_eq!(World::hash(&cut, Some(&world.files), seq), before, "at {seq}");
    }
    // The control: without the base it is another state.
    assert_ne!(World::hash(&cut, None, 100), World::hash(&world.store, None, 100));
}

#[test]
fn what_was_known_before_the_base_is_gone_and_says_so() {
    let world = World::new();
    write(&world.store, &world.files, Seq::new(40)).unwrap();
    let asked = state_at::<SessionsProjection>(&store(100, 41), Some(&world.files), Seq::new(39));
    let Err(error) = asked else { panic!("it cannot be known") };
    assert!(matches!(error, Error::BeforeBase { asked: 39, first: 40 }), "{error}");
    assert_eq!((error.code(), error.exit_code()), ("gone", 3));
}

#[test]
fn a_second_base_is_folded_over_the_first_and_makes_it_useless() {
    let world = World::new();
    write(&world.store, &world.files, Seq::new(40)).unwrap();
    let written = write(&store(100, 41), &world.files, Seq::new(70)).unwrap();
    assert_eq!(written.progress.events, 30, "only what is retained was read");
    let both: Vec<_> = bases(&world.base_dir()).unwrap().into_keys().collect();
    assert_eq!(both, [Seq::new(40), Seq::new(70)], "until the cut is made, the first serves 40 to 69");
    assert_eq!(World::hash(&store(100, 41), Some(&world.files), 50), World::hash(&world.store, None, 50));
    assert_eq!(World::hash(&store(100, 71), Some(&world.files), 90), World::hash(&world.store, None, 90));
    write(&store(100, 71), &world.files, Seq::new(80)).unwrap();
    let left: Vec<_> = bases(&world.base_dir()).unwrap().into_keys().collect();
    assert_eq!(left, [Seq::new(70), Seq::new(80)]);
}

/// The steps of a write, each of which may be the last before a crash.
const STEPS: [Step; 8] = [
    Step::Made,
    Step::HalfWritten,
    Step::Written,
    Step::Flushed,
    Step::Linked,
    Step::Renamed,
    Step::Done,
    Step::Tidied,
];

#[test]
fn a_crash_after_any_step_of_a_write_leaves_the_old_base_or_the_new_one() {
    let mut left = std::collections::BTreeSet::new();
    for crash_after in STEPS {
        let world = World::new();
        write(&world.store, &world.files, Seq::new(40)).unwrap();
        write(&store(100, 41), &world.files, Seq::new(70)).unwrap();
        // The base at 40 is of no use any more, so that there is something to tidy.
        let cut = store(100, 71);
        let mut reached = false;
        let crashed = write_in_steps(&cut, &world.files, Seq::new(80), &mut |step| {
            reached |= step == crash_after;
            if step == crash_after { Err(std::io::Error::other("crash")) } else { Ok(()) }
        });
        assert!(reached, "{crash_after:?} never came");
        assert_eq!(crashed.unwrap_err().code(), "io", "{crash_after:?}: nobody may cut after that");
        let seqs: Vec<u64> = bases(&world.base_dir()).unwrap().into_keys().map(Seq::get).collect();
        assert!(seqs.contains(&70), "{crash_after:?} left {seqs:?}");
        left.insert(seqs.contains(&80));
        for seq in [70, 75, 80, 90, 100] {
            let whole = World::hash(&world.store, None, seq);
            assert_eq!(World::hash(&cut, Some(&world.files), seq), whole, "{crash_after:?}, at {seq}");
        }
        // The next cut may be another one.
        write(&cut, &world.files, Seq::new(85)).unwrap();
        let names = fs::read_dir(world.base_dir()).unwrap().map(|entry| entry.unwrap().path());
        assert_eq!(
            names.filter(|path| !is_base(path)).count(),
            0,
            "{crash_after:?} left what nobody removes"
        );
        let after = store(100, 86);
        assert_eq!(World::hash(&after, Some(&world.files), 95), World::hash(&world.store, None, 95));
    }
    assert_eq!(left.len(), 2, "some crashes came before the new base and some after it");
}

/// Renamed, and the content did not reach the disk: the file is of any length. The one before serves, and that is told.
#[test]
fn a_base_cut_at_any_length_is_never_taken_for_a_state() {
    let world = World::new();
    write(&world.store, &world.files, Seq::new(40)).unwrap();
    let path = write(&store(100, 41), &world.files, Seq::new(70)).unwrap().path;
    let whole = fs::read(&path).unwrap();
    let expected = World::hash(&world.store, None, 90);
    for kept in (0..whole.len()).step_by(7) {
        fs::write(&path, &whole[..kept]).unwrap();
        assert_eq!(World::hash(&store(100, 41), Some(&world.files), 90), expected, "{kept} bytes");
    }
}

#[test]
fn snapshots_from_which_events_are_missing_are_not_used() {
    let world = World::new();
    let (fold, _) = state_at::<SessionsProjection>(&world.store, None, Seq::new(20)).unwrap();
    let bytes = snapshot::encode(&fold, world.files.journal()).unwrap();
    world.files.save::<SessionsProjection>(&bytes).unwrap();
    write(&world.store, &world.files, Seq::new(40)).unwrap();
    let cut = store(100, 41);
    assert_eq!(World::hash(&cut, Some(&world.files), 60), World::hash(&world.store, None, 60));
}

#[test]
fn whichever_bit_of_a_base_is_flipped_no_wrong_state_comes_of_it() {
    let world = World::new();
    let small = store(3, 1);
    let path = write(&small, &world.files, Seq::new(3)).unwrap().path;
    let good = fs::read(&path).unwrap();
    let journal = world.files.journal();
    let hash = decode::<SessionsProjection>(&good, journal).unwrap().hash().unwrap();
    let mut refused = 0;
    for bit in 0..good.len() * 8 {
        let mut damaged = good.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        match decode::<SessionsProjection>(&damaged, journal) {
            // The state of another projection was hit: this one is whole.
            Ok(fold) => assert_eq!(fold.hash().unwrap(), hash, "bit {bit}"),
            Err(why) => {
                assert_ne!(why, Refused::Absent, "bit {bit}: damage is not told as absence");
                refused += 1;
            }
        }
    }
    assert!(refused > HEADER_BYTES * 8);
}

#[test]
fn a_damaged_base_stops_the_next_cut_and_is_told_to_readers() {
    let world = World::new();
    let path = write(&world.store, &world.files, Seq::new(40)).unwrap().path;
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    bytes[HEADER_BYTES] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let cut = store(100, 41);
    let error = write(&cut, &world.files, Seq::new(70)).unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("integrity", 4), "{error}");
    let (_, progress) = state_at::<SessionsProjection>(&cut, Some(&world.files), Seq::new(60)).unwrap();
    let refusal = &progress.refused[0];
    assert_eq!((refusal.why, is_base(&refusal.path)), (Refused::Damaged, true));
}

#[test]
fn what_is_not_durable_has_no_base() {
    let world = World::new();
    assert_eq!(write(&world.store, &world.files, Seq::new(101)).unwrap_err().code(), "invalid");
    assert_eq!(bases(&world.base_dir()).unwrap().len(), 0);
}

/// The sessions projection, one schema on.
enum Later {}
impl Projection for Later {
    const NAME: &'static str = SessionsProjection::NAME;
    const SCHEMA: u32 = SessionsProjection::SCHEMA + 1;
    type State = u64;
    fn apply(state: &mut u64, _: &StoredEvent) {
        *state += 1;
    }
    fn migrate(schema: u32, state: &[u8]) -> Option<u64> {
        (schema == SessionsProjection::SCHEMA).then_some(state.len() as u64)
    }
}

/// A projection that the version which wrote the base did not have.
enum Younger {}
impl Projection for Younger {
    const NAME: &'static str = "younger";
    const SCHEMA: u32 = 1;
    type State = u64;
    fn apply(state: &mut u64, _: &StoredEvent) {
        *state += 1;
    }
}

#[test]
fn a_base_outlives_the_version_that_wrote_it() {
    let world = World::new();
    write(&world.store, &world.files, Seq::new(40)).unwrap();
    let cut = store(100, 41);
    let (fold, progress) = state_at::<Later>(&cut, Some(&world.files), Seq::new(100)).unwrap();
    assert!(*fold.state() > 60, "carried over, and 60 events counted on top");
    assert_eq!(progress.refused, []);
    let (fold, progress) = state_at::<Younger>(&cut, Some(&world.files), Seq::new(100)).unwrap();
    assert_eq!(*fold.state(), 60);
    assert_eq!(progress.refused[0].why, Refused::Absent, "told, not silent");
}

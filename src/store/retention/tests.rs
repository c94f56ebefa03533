//! What goes and what stays; that a cut is told once whatever stops it; and that a store at its cap goes on when it has room.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::{Clock as _, FixedClock, SystemClock};
use crate::config::settings::DiskLimits;
use crate::config::{DataDir, Settings};
use crate::store::inbox::{self, Deposit};
use crate::store::testing::event;
use crate::store::{Item, Level, Opening, Pending};

thread_local! {
    static DIE_AT: Cell<&'static str> = const { Cell::new("") };
}

pub(super) fn cut_point(name: &'static str) {
    assert_ne!(DIE_AT.get(), name, "the process dies here");
}

fn segment(first: u64, bytes: u64, recorded: i64) -> Segment {
    Segment {
        first: Seq::new(first),
        last: Seq::new(first + 9),
        bytes,
        last_recorded: Some(Timestamp::from_micros(recorded * 1_000_000)),
        droppable: true,
    }
}

/// Five segments of 100 bytes, a second apart; the last is written to.
fn five() -> Vec<Segment> {
    let mut segments: Vec<Segment> =
        (0..5_u8).map(|n| segment(1 + u64::from(n) * 10, 100, i64::from(n))).collect();
    segments[4] = Segment { droppable: false, last_recorded: None, ..segments[4] };
    segments
}

fn policy(max_age: Option<u64>, max_bytes: Option<u64>, min_bytes: u64) -> Retention {
    Retention { max_age: max_age.map(Duration::from_secs), max_bytes, min_bytes }
}

fn planned(policy: &Retention, newest: i64, pace: Pace) -> (u64, u64, Stays) {
    let plan = plan(&five(), policy, Timestamp::from_micros(newest.saturating_mul(1_000_000)), pace);
    if let Some(cut) = plan.cut {
        assert_eq!((cut.from, cut.to, cut.bytes), (Seq::FIRST, plan.first.prev(), cut.segments * 100));
    }
    let went = plan.cut.map_or(0, |cut| cut.segments);
    assert_eq!(plan.segments + went, 5);
    (went, plan.bytes, plan.stays)
}

#[test]
fn size_goes_at_once_age_a_segment_at_a_time_and_the_newest_stay() {
    use Pace::{All, One, SizeAlone};
    assert_eq!(planned(&policy(None, None, 0), 1_000, All), (0, 500, Stays::NoPolicy));
    assert_eq!(planned(&policy(None, Some(250), 0), 4, One), (3, 200, Stays::WithinPolicy));
    assert_eq!(planned(&policy(None, Some(250), 400), 4, One), (1, 400, Stays::Newest));
    assert_eq!(planned(&policy(None, Some(0), 0), 4, One), (4, 100, Stays::Active));
    assert_eq!(planned(&policy(Some(2), None, 0), 4, All), (2, 300, Stays::WithinPolicy));
    assert_eq!(planned(&policy(Some(2), None, 0), 4, One), (1, 400, Stays::Paced));
    assert_eq!(planned(&policy(Some(2), None, 0), 4, SizeAlone), (0, 500, Stays::Paced));
    // Size first, then one for its age.
    assert_eq!(planned(&policy(Some(1), Some(400), 0), 4, One), (2, 300, Stays::Paced));
    // Clocks that jump: the past is not gone at once, and nothing is older than a newest that lies in the past.
    assert_eq!(planned(&policy(Some(2), None, 300), i64::MAX, One), (1, 400, Stays::Paced));
    assert_eq!(planned(&policy(Some(2), None, 300), i64::MAX, All), (2, 300, Stays::Newest));
    assert_eq!(planned(&policy(Some(2), None, 0), i64::MIN, All), (0, 500, Stays::WithinPolicy));
    let empty = plan(&[], &policy(Some(1), Some(1), 0), Timestamp::EPOCH, All);
    assert_eq!((empty.cut, empty.segments), (None, 0));
}

struct World {
    _parent: tempfile::TempDir,
    dir: DataDir,
    settings: Settings,
    clock: Arc<FixedClock>,
}

impl World {
    fn new(disk: DiskLimits) -> World {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::at(parent.path().join("data"));
        let settings = Settings { segment_bytes: 8 << 10, disk, ..Settings::default() };
        World { _parent: parent, dir, settings, clock: Arc::new(FixedClock::at(SystemClock.now())) }
    }

    fn open(&self) -> Store {
        let opening = Opening::command("test", self.clock.clone(), self.settings.clone());
        Store::open(&self.dir, opening).unwrap().0
    }

    fn filled(&self, events: u128) -> Store {
        let store = self.open();
        for n in 1..=events {
            store.emit(vec![event(n)], Level::Disk, None).unwrap().wait().unwrap();
        }
        store
    }
}

/// The dropped seqs that were told, and how many operations.
fn told(store: &Store) -> (Vec<(u64, u64)>, usize) {
    let (mut cuts, mut operations) = (Vec::new(), 0);
    let mut replay = store.replay(store.first());
    while let Some(item) = replay.next().unwrap() {
        let Item::Event(stored) = item else { panic!("{item:?}") };
        operations += usize::from(stored.event.kind == Kind::DatabaseOperation);
        if let Some(cut) = stored.event.payload_as::<payload::RetentionApplied>() {
            let cut = cut.unwrap();
            cuts.push((cut.from_seq, cut.to_seq));
        }
    }
    (cuts, operations)
}

const SMALL: Retention = Retention { max_age: None, max_bytes: Some(20 << 10), min_bytes: 0 };

#[test]
fn a_cut_comes_after_its_base_is_told_and_ends_the_window_of_ids() {
    let world = World::new(DiskLimits::default());
    let store = world.filled(400);
    let mut based = Vec::new();
    let refused = store.retain(&SMALL, Pace::All, &mut |_| Err(Error::failed("no base")));
    assert_eq!(refused.unwrap_err().to_string(), "no base");
    assert_eq!((store.first(), told(&store)), (Seq::FIRST, (Vec::new(), 0)));

    let plan = store
        .retain(&SMALL, Pace::All, &mut |seq| {
            assert_eq!(store.first(), Seq::FIRST, "the base comes before the cut");
            based.push(seq);
            Ok(Vec::new())
        })
        .unwrap();
    let cut = plan.cut.unwrap();
    assert_eq!((based, store.first()), (vec![cut.to], cut.to.next()));
    assert!(plan.bytes <= 20 << 10 && cut.segments > 2, "{plan:?}");
    assert_eq!(told(&store), (vec![(1, cut.to.get())], 1));
    assert!(inbox::untold::left(&world.dir.inbox()).unwrap().is_empty());

    let again = |store: &Store, n| store.emit(vec![event(n)], Level::Disk, None).unwrap().wait().unwrap();
    let kept = u128::from(store.first().get());
    assert_eq!(again(&store, kept).duplicates, [0], "an id that is retained is known");
    store.close().unwrap();
    let store = world.open();
    assert_eq!(again(&store, kept).duplicates, [0], "after a restart too");
    let durable = store.durable();
    let forgotten = again(&store, 1);
    assert!(
        forgotten.duplicates.is_empty() && forgotten.seqs[0] > durable,
        "the window ends with the journal"
    );
}

/// Changes some bytes in the middle of the segment that begins with `base`: more than stand between two records.
fn damage(world: &World, base: Seq) {
    use std::os::unix::fs::FileExt as _;
    let path = world.dir.journal().join(format!("{:020}.seg", base.get()));
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[0xa5; 100], 4_000).unwrap();
}

fn damage_told(store: &Store) -> Vec<(u64, u64)> {
    let (mut told, mut replay) = (Vec::new(), store.replay(store.first()));
    while let Some(item) = replay.next().unwrap() {
        if let Item::Event(stored) = item
            && let Some(damage) = stored.event.payload_as::<payload::CorruptionDetected>()
        {
            let damage = damage.unwrap();
            told.push((damage.from_seq, damage.to_seq));
        }
    }
    told
}

/// Nobody but this command was ever here: what it drops, nobody can look at after it.
#[test]
fn what_is_damaged_in_what_goes_is_told_before_it_went() {
    let world = World::new(DiskLimits::default());
    let store = world.filled(400);
    let bases: Vec<Seq> = store.log().sealed().into_iter().map(|(base, _)| base).collect();
    damage(&world, bases[0]);
    damage(&world, bases[2]);
    let cut = store.retain(&SMALL, Pace::All, &mut |_| Ok(Vec::new())).unwrap().cut.unwrap();
    assert!(cut.to > bases[2]);
    let told = damage_told(&store);
    assert!(told.iter().any(|(from, _)| *from < bases[1].get()), "{told:?}");
    assert!(told.iter().any(|(from, _)| *from >= bases[2].get()), "{told:?}");

    // One that was whole when it was looked at, and in which the base met damage since.
    for n in 401..=800 {
        store.emit(vec![event(n)], Level::Disk, None).unwrap().wait().unwrap();
    }
    while !store.look_where_due(&world.dir, &BTreeSet::new(), &mut |_| true).unwrap().is_empty() {}
    let base = store.log().sealed()[1].0;
    damage(&world, base);
    let mut gaps = Vec::new();
    let mut replay = store.replay(base);
    while let Some(item) = replay.next().unwrap() {
        if let Item::Gap(gap) = item {
            gaps.push(gap);
        }
    }
    assert!(!gaps.is_empty());
    store.retain(&SMALL, Pace::All, &mut |_| Ok(gaps.clone())).unwrap();
    let told = damage_told(&store);
    assert!(gaps.iter().all(|gap| told.contains(&(gap.from.get(), gap.to.get()))), "{gaps:?}: {told:?}");
}

#[test]
fn a_cut_that_a_crash_stopped_is_finished_and_told_once_by_the_next_opening() {
    for at in ["noted", "cut"] {
        let world = World::new(DiskLimits::default());
        let store = world.filled(400);
        let planned = store.plan_retention(&SMALL, Pace::All).unwrap().cut.unwrap();
        DIE_AT.set(at);
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            store.retain(&SMALL, Pace::All, &mut |_| Ok(Vec::new())).unwrap();
        }));
        DIE_AT.set("");
        assert!(died.is_err());
        drop(store);
        for _ in 0..2 {
            let store = world.open();
            assert_eq!(store.first(), planned.to.next(), "{at}");
            assert_eq!(told(&store).0, [(1, planned.to.get())], "{at}");
            store.close().unwrap();
        }
    }
}

/// What cuts came to (the last seq, segments, bytes), and every telling of them that was seen.
struct Tellings {
    cut: (u64, u64, u64),
    seen: std::collections::BTreeMap<u64, payload::RetentionApplied>,
}

impl Tellings {
    /// Appends enough for a cut and makes it; how many tellings there are.
    fn cut(&mut self, store: &Store, first_id: u128) -> usize {
        for n in first_id..first_id + 200 {
            store.emit(vec![event(n)], Level::Disk, None).unwrap().wait().unwrap();
        }
        let cut = store
            .retain(&SMALL, Pace::SizeAlone, &mut |_| Ok(Vec::new()))
            .unwrap()
            .cut
            .expect("enough for a cut");
        self.cut = (cut.to.get(), self.cut.1 + cut.segments, self.cut.2 + cut.bytes);
        self.look(store)
    }

    fn look(&mut self, store: &Store) -> usize {
        let mut replay = store.replay(store.first());
        while let Some(item) = replay.next().unwrap() {
            let Item::Event(stored) = item else { panic!("{item:?}") };
            if let Some(cut) = stored.event.payload_as::<payload::RetentionApplied>() {
                self.seen.insert(stored.seq.get(), cut.unwrap());
            }
        }
        self.seen.len()
    }

    /// Demands that everything that went was told once.
    fn complete(&self) {
        let (mut next, mut segments, mut bytes) = (1, 0, 0);
        for told in self.seen.values() {
            assert_eq!((told.from_seq, told.reason.as_str()), (next, "size"), "{:?}", self.seen);
            (next, segments, bytes) = (told.to_seq + 1, segments + told.segments, bytes + told.freed_bytes);
        }
        assert_eq!((next - 1, segments, bytes), self.cut, "{:?}", self.seen);
    }
}

#[test]
fn cuts_for_size_are_told_at_most_once_a_minute_and_the_next_telling_has_what_went_meanwhile() {
    let world = World::new(DiskLimits::default());
    let store = world.open();
    let mut tellings = Tellings { cut: (0, 0, 0), seen: std::collections::BTreeMap::new() };
    let notes = || untold_in(&world);
    assert_eq!(tellings.cut(&store, 1), 1, "the first is told at once");
    tellings.complete();
    assert_eq!(tellings.cut(&store, 1_000), 1);
    world.clock.advance(59_000_000);
    assert_eq!((tellings.cut(&store, 2_000), notes()), (1, 1), "one note for both");
    world.clock.advance(1_000_000);
    // Nothing more goes, but the minute is over.
    assert_eq!(store.retain(&SMALL, Pace::One, &mut |_| Ok(Vec::new())).unwrap().cut, None);
    assert_eq!((tellings.look(&store), notes()), (2, 0));
    tellings.complete();
    assert_eq!((tellings.cut(&store, 3_000), notes()), (2, 1));
    store.tell_cuts().unwrap();
    assert_eq!((tellings.look(&store), notes()), (3, 0), "who ends tells it");
    store.tell_cuts().unwrap();
    assert_eq!(tellings.look(&store), 3);
    tellings.complete();
    // Who dies leaves it to the next opening. A clock that was set back stops nobody from telling.
    assert_eq!(tellings.cut(&store, 4_000), 3);
    drop(store);
    let store = world.open();
    assert_eq!((tellings.look(&store), notes()), (4, 0));
    tellings.complete();
    assert_eq!(tellings.cut(&store, 5_000), 5, "another process knows of no telling");
    world.clock.advance(-3_600_000_000);
    assert_eq!(tellings.cut(&store, 6_000), 6);
    tellings.complete();
    // Whoever asks for a cut hears of it at once, and of what went before.
    assert_eq!(tellings.cut(&store, 7_000), 6);
    store.retain(&SMALL, Pace::All, &mut |_| Ok(Vec::new())).unwrap();
    assert_eq!((tellings.look(&store), notes()), (7, 0));
    tellings.complete();
}

fn untold_in(world: &World) -> usize {
    inbox::untold::left(&world.dir.inbox()).unwrap().len()
}

#[test]
fn at_its_cap_the_store_answers_as_a_full_disk_does_and_goes_on_when_there_is_room() {
    let limits = DiskLimits { max_bytes: Some(200 << 10), reserve: Some(0) };
    let world = World::new(limits);
    let store = world.open();
    let emit = |n: u64| store.emit(vec![event(n.into())], Level::Disk, None).and_then(Pending::wait);
    let mut n = 0;
    let refused = loop {
        n += 1;
        assert!(n < 5_000, "the cap does not hold");
        if let Err(error) = emit(n) {
            break error;
        }
    };
    assert_eq!(refused.code(), "storage_full");
    assert!(
        refused.to_string().contains("disk.max_bytes") && refused.to_string().contains("gc"),
        "{refused}"
    );
    inbox::deposit(&world.dir.inbox(), &event(9_000), &SystemClock, Deposit::Os).unwrap();
    assert_eq!(store.drain_inbox().unwrap_err().code(), "storage_full");
    assert_eq!((inbox::waiting(&world.dir.inbox()).unwrap(), store.durable().get()), (1, n - 1));

    store.retain(&SMALL, Pace::All, &mut |_| Ok(Vec::new())).unwrap();
    assert_eq!(store.drain_inbox().unwrap().events, 1);
    assert!(emit(n).unwrap().duplicates.is_empty());
}

#[test]
fn the_reserve_is_left_to_others() {
    let world = World::new(DiskLimits { max_bytes: None, reserve: Some(u64::MAX) });
    let store = world.open();
    let refused = store.emit(vec![event(1)], Level::Os, None).map(drop).unwrap_err();
    assert_eq!(refused.code(), "storage_full");
    assert!(refused.to_string().contains("disk.reserve"), "{refused}");
}

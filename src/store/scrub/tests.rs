//! Each sealed segment is looked at, damage is told once, and everything else stays readable.

use std::os::unix::fs::FileExt as _;

use super::*;
use crate::clock::FixedClock;
use crate::config::Settings;
use crate::event::Kind;
use crate::store::testing::{event, event_saying, uuid};
use crate::store::{Item, Level, Opening};

struct World {
    _parent: tempfile::TempDir,
    dir: DataDir,
    clock: Arc<FixedClock>,
    store: Store,
}

impl World {
    fn new() -> World {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::at(parent.path().join("data"));
        let clock = Arc::new(FixedClock::at(SystemClock.now()));
        let store = open(&dir, &clock);
        let world = World { _parent: parent, dir, clock, store };
        // Four segments at least.
        for n in 1..=24 {
            let mut large = event_saying(&"many words and no secret ".repeat(500));
            large.id = uuid(n);
            world.store.emit(vec![large], Level::Disk, None).unwrap().wait().unwrap();
        }
        assert!(world.store.log().sealed().len() >= 3);
        world
    }

    fn restarted(self) -> World {
        self.store.close().unwrap();
        let store = open(&self.dir, &self.clock);
        World { store, ..self }
    }

    fn look(&self, met: &[u64]) -> Vec<Seq> {
        let met = met.iter().map(|seq| Seq::new(*seq)).collect();
        self.store.look_where_due(&self.dir, &met, &mut |_| true).unwrap()
    }

    fn look_at_all(&self) -> Vec<Seq> {
        std::iter::from_fn(|| self.look(&[]).pop()).collect()
    }

    /// Flips one bit in the middle of the payload of the first record that begins in the segment.
    fn damage(&self, base: Seq) {
        let path = self.dir.journal().join(format!("{:020}.seg", base.get()));
        let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 4_000).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 4_000).unwrap();
    }

    /// Whole events and unreadable seqs, in order.
    fn read(&self) -> (Vec<crate::event::StoredEvent>, Vec<(Seq, Seq)>) {
        let (mut events, mut gaps, mut replay) = (Vec::new(), Vec::new(), self.store.replay(Seq::FIRST));
        while let Some(item) = replay.next().unwrap() {
            match item {
                Item::Event(stored) => events.push(stored),
                Item::Gap(gap) => gaps.push((gap.from, gap.to)),
                Item::Undecodable(record) => panic!("{record:?}"),
            }
        }
        (events, gaps)
    }

    fn told(&self) -> Vec<payload::CorruptionDetected> {
        let told = |stored: &crate::event::StoredEvent| stored.event.kind == Kind::CorruptionDetected;
        let events = self.read().0;
        events
            .iter()
            .filter(|stored| told(stored))
            .map(|stored| stored.event.payload_as().unwrap().unwrap())
            .collect()
    }
}

fn open(dir: &DataDir, clock: &Arc<FixedClock>) -> Store {
    let settings = Settings { segment_bytes: 64 << 10, ..Settings::default() };
    Store::open(dir, Opening::command("test", clock.clone(), settings)).unwrap().0
}

#[test]
fn each_sealed_segment_is_looked_at_once_and_then_one_an_hour_oldest_look_first() {
    let world = World::new();
    let sealed: Vec<Seq> = world.store.log().sealed().iter().map(|(base, _)| *base).collect();
    assert_eq!(world.store.last_seen_whole().len(), 0);
    assert_eq!(world.look_at_all(), sealed);
    let seen = world.store.last_seen_whole();
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), sealed);
    assert!(seen.values().all(|seen| seen.is_whole() && seen.last_whole() == Some(world.clock.now())));
    world.clock.advance(3_599_000_000);
    assert_eq!(world.look(&[]), []);
    world.clock.advance(1_000_000);
    assert_eq!(world.look(&[]), [sealed[0]]);
    assert_eq!(world.look(&[]), []);
    let world = world.restarted();
    world.clock.advance(3_600_000_000);
    assert_eq!(world.look(&[])[0], sealed[1], "what was seen outlives a restart");
}

#[test]
fn who_asks_from_outside_is_told_of_each_sealed_segment_seen_or_not() {
    let world = World::new();
    let bases: Vec<Seq> = world.store.log().sealed().iter().map(|(base, _)| *base).collect();
    let told = || sealed(&world.dir, world.store.journal_id()).unwrap();
    let unseen =
        |bases: &[Seq]| -> BTreeMap<Seq, Option<Seen>> { bases.iter().map(|base| (*base, None)).collect() };
    assert_eq!(told(), unseen(&bases));
    assert_eq!(world.look(&[]), [bases[0]]);
    let seen = told();
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), bases);
    let whole: Vec<Seq> = seen.iter().filter(|(_, seen)| seen.is_some()).map(|(base, _)| *base).collect();
    assert_eq!(whole, [bases[0]]);
    assert_eq!(seen[&bases[0]].as_ref().unwrap().last_whole(), Some(world.clock.now()));
    // What retention has dropped is none of them, though the file remembers it until the next look.
    world.store.log().drop_before(bases[1]).unwrap();
    assert!(last_seen(&world.dir, world.store.journal_id()).contains_key(&bases[0]));
    assert_eq!(told(), unseen(&bases[1..]));
}

#[test]
fn damage_in_an_old_segment_is_told_once_whoever_finds_it_and_costs_its_record() {
    let world = World::new();
    world.look_at_all();
    let (base, last) = world.store.log().sealed()[0];
    let whole = world.read().0;
    world.damage(base);
    let (events, gaps) = world.read();
    let [(from, to)] = gaps[..] else { panic!("{gaps:?}") };
    assert!(from == to && (base..=last).contains(&from));
    let others: Vec<_> = whole.into_iter().filter(|stored| stored.seq != from).collect();
    assert_eq!(events, others, "everything else is as it was");
    // A reader met it: that segment comes first, and only once.
    assert_eq!(world.store.log().attention().unwrap().wait(Duration::ZERO), Some(BTreeSet::from([from])));
    assert_eq!(world.look(&[from.get()]), [base]);
    assert_eq!(world.look(&[from.get()]), []);
    let [told] = &world.told()[..] else { panic!("{:?}", world.told()) };
    assert_eq!((told.from_seq, told.to_seq), (from.get(), to.get()));
    assert!(told.segment.strip_suffix(".seg").is_some() && told.detail.is_some(), "{told:?}");
    let seen = &world.store.last_seen_whole()[&base];
    assert!(!seen.is_whole() && seen.last_whole().is_some());
    assert_eq!(seen.lost().collect::<Vec<_>>(), [(from, to)]);
    // Neither a restart nor the loss of what was noted tells it again.
    let world = world.restarted();
    world.clock.advance(3_600_000_000);
    world.look(&[]);
    std::fs::remove_file(path(&world.dir)).unwrap();
    assert!(world.look_at_all().contains(&base));
    assert_eq!(world.told().len(), 1);
    assert_eq!(world.store.last_seen_whole()[&base].last_whole(), None);
}

#[test]
fn damage_that_costs_no_record_is_told_once_by_its_place() {
    let world = World::new();
    world.look_at_all();
    assert_eq!(world.told(), [], "the control: nothing is told of whole segments");
    let (base, last) = world.store.log().sealed()[0];
    let whole = world.read().0;
    let path = world.dir.journal().join(format!("{:020}.seg", base.get()));
    let bytes = std::fs::read(&path).unwrap();
    // The segment's header, the header of its first frame, and the footer: one bit of each.
    let places = [9, 64 + 40, bytes.len() - 30];
    let mut flipped = bytes.clone();
    for place in places {
        flipped[place] ^= 2;
    }
    std::fs::write(&path, &flipped).unwrap();
    assert_eq!(world.read(), (whole, vec![]), "no record is lost");
    world.clock.advance(3_600_000_000);
    assert_eq!(world.look(&[]), [base]);
    let told = world.told();
    for place in places {
        let place = place as u64;
        let of = |told: &&payload::CorruptionDetected| {
            told.offset.is_some_and(|at| (at..at + told.bytes.unwrap()).contains(&place))
        };
        let [one] = told.iter().filter(of).collect::<Vec<_>>()[..] else { panic!("{place}: {told:?}") };
        assert_eq!((one.from_seq, one.to_seq, one.readable), (base.get(), last.get(), Some(true)));
        assert!(one.detail.is_some(), "{one:?}");
    }
    assert!(world.store.last_seen_whole()[&base].lost().next().is_none());
    // Told once: neither the next look nor the loss of what was noted tells it again.
    world.store.look_at(&world.dir, base, &mut |_| true).unwrap();
    let world = world.restarted();
    std::fs::remove_file(super::path(&world.dir)).unwrap();
    assert!(world.look_at_all().contains(&base));
    assert_eq!(world.told(), told);
}

#[test]
fn a_damaged_or_foreign_note_of_what_was_seen_is_as_good_as_none() {
    let world = World::new();
    world.look_at_all();
    let file = path(&world.dir);
    let bytes = std::fs::read(&file).unwrap();
    let other = JournalId::from_bytes([1; 16]);
    assert!(decode(&bytes, world.store.journal_id()).is_some_and(|looks| looks.len() >= 3));
    assert_eq!(decode(&bytes, other), None);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode(&flipped, world.store.journal_id()), None, "bit {bit}");
    }
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(world.store.last_seen_whole().len(), 0);
    assert_eq!(world.look_at_all().len(), world.store.log().sealed().len());
}

#[test]
fn a_look_that_is_ended_leaves_no_trace_and_one_that_cannot_be_told_is_made_again() {
    let world = World::new();
    let (base, _) = world.store.log().sealed()[0];
    world.store.look_where_due(&world.dir, &BTreeSet::new(), &mut |_| false).unwrap();
    assert_eq!(world.store.last_seen_whole().len(), 0);
    world.damage(base);
    world.store.close().unwrap();
    assert!(world.store.look_where_due(&world.dir, &BTreeSet::new(), &mut |_| true).is_err());
    assert_eq!(world.store.last_seen_whole().len(), 0);
    let world = world.restarted();
    world.store.emit(vec![event(99)], Level::Disk, None).unwrap().wait().unwrap();
    assert_eq!(world.look(&[]), [base]);
    assert_eq!(world.told().len(), 1);
}

#[test]
fn the_golden_bytes_of_what_was_seen_are_written_and_read() {
    let looks = BTreeMap::from([
        (
            1,
            Seen {
                looked: 1_700_000_000_000_000,
                whole: Some(1_700_000_000_000_000),
                lost: vec![],
                problems: 0,
                hurt: vec![],
            },
        ),
        (
            301,
            Seen {
                looked: 1_700_003_600_000_000,
                whole: None,
                lost: vec![(305, 305), (400, 410)],
                problems: 3,
                hurt: vec![(4_096, 96)],
            },
        ),
    ]);
    let golden = [
        "6d6e656d6f776802",                 // magic
        "2d9df07c",                         // crc
        "61206a6f75726e616c206f6620696473", // journal
        "02",                               // two segments:
        "01",                               // base 1,
        "8080f28183898506",                 // looked,
        "018080f28183898506",               // whole then,
        "00",                               // nothing lost,
        "00",                               // no problem
        "00",                               // of any kind;
        "ad02",                             // base 301,
        "80908feb9d898506",                 // looked,
        "00",                               // never whole,
        "02b102b10290039a03",               // two ranges lost,
        "03",                               // three problems,
        "01802060",                         // one of which loses nothing: offset, bytes
    ]
    .concat();
    let journal = JournalId::from_bytes(*b"a journal of ids");
    let bytes = encode(&looks, journal);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden);
    assert_eq!(decode(&bytes, journal), Some(looks));
}

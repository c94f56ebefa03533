//! What holds for every projection of the registry, whatever it folds.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::clock::FixedClock;
use crate::event::{Event, Kind, PayloadText, Seq, Source as EventSource, StoredEvent, Timestamp};
use crate::projection::snapshot::Files;
use crate::store::{JournalId, Level, MemoryLog, Store};

const JOURNAL: [u8; 16] = [7; 16];
const MINUTE: u64 = 60_000_000;

/// splitmix64: the same numbers on any machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// One time in `n`.
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Events of every kind, in no order that makes sense: few ids, so that they meet; times that run backwards; fields of
/// another type, fields left out.
fn event(dice: &mut Dice, n: u64) -> Event {
    let kind = Kind::ALL[usize::try_from(dice.below(Kind::ALL.len() as u64)).unwrap()];
    let mut payload = kind.example();
    let fields = payload.as_object_mut().expect("an object");
    let names: Vec<String> = fields.keys().cloned().collect();
    for name in names {
        let other = if dice.one_in(24) {
            None
        } else if dice.one_in(23) {
            Some(json!([1, {"unlike": "anything"}]))
        } else if fields[&name].is_string() && (name.ends_with("id") || dice.one_in(8)) {
            Some(Value::from(dice.below(6).to_string()))
        } else if fields[&name].is_u64() {
            Some(Value::from(dice.below(5_000)))
        } else {
            continue;
        };
        match other {
            Some(other) => _ = fields.insert(name, other),
            None => _ = fields.shift_remove(&name),
        }
    }
    let minutes = (n + 40).saturating_sub(if dice.one_in(5) { dice.below(40) } else { 0 });
    let time = Timestamp::from_micros(i64::try_from(minutes * MINUTE).unwrap());
    let text = PayloadText::from_json(&payload).expect("an object");
    let id = Uuid::from_u128(u128::from(n) + 1);
    let instance = format!("instance-{}", dice.below(2));
    let mut event = Event::from_parts(id, time, instance, EventSource::default(), kind, text);
    event.session = (!dice.one_in(6)).then(|| format!("session-{}", dice.below(3)));
    event.agent = dice.one_in(4).then(|| format!("agent-{}", dice.below(3)));
    event.correlation = Uuid::from_u128(u128::from(dice.below(8)));
    event.causation = dice.one_in(2).then(|| Uuid::from_u128(u128::from(dice.below(n + 1))));
    event
}

fn stream(seed: u64, events: u64) -> Vec<StoredEvent> {
    let mut dice = Dice(seed);
    let stored = |n: u64| {
        let recorded = Timestamp::from_micros(i64::try_from((n + 60) * MINUTE).unwrap());
        StoredEvent { seq: Seq::new(n + 1), recorded, event: event(&mut dice, n) }
    };
    (0..events).map(stored).collect()
}

fn hash(fold: &dyn AnyFold) -> String {
    fold.hash().unwrap().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn at_every_seq_the_state_is_the_fold_and_a_snapshot_and_the_rest(seed: u64, length in 1_u64..48) {
        let events = stream(seed, length);
        for definition in registry::TABLE {
            let mut fold = definition.empty();
            let mut restored: Vec<Box<dyn AnyFold>> = Vec::new();
            for event in &events {
                fold.apply(event);
                restored.iter_mut().for_each(|fold| fold.apply(event));
                let mut anew = definition.empty();
                events.iter().take_while(|earlier| earlier.seq <= event.seq).for_each(|event| anew.apply(event));
                prop_assert_eq!(hash(&*anew), hash(&*fold), "{} at {}", definition.name, event.seq);
                let bytes = fold.encode(JOURNAL).unwrap();
                restored.push(definition.decode(&bytes, JOURNAL, event.seq).unwrap());
            }
            for (n, restored) in restored.iter().enumerate() {
                prop_assert_eq!(hash(&**restored), hash(&*fold), "{} from {}", definition.name, n + 1);
            }
        }
    }

    #[test]
    fn every_state_has_a_json_form(seed: u64) {
        let events = stream(seed, 200);
        for definition in registry::TABLE {
            let mut fold = definition.empty();
            events.iter().for_each(|event| fold.apply(event));
            let view = StateView::of(&*fold).unwrap();
            let text = serde_json::to_string(&view).unwrap();
            let back: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(back["projection"].as_str(), Some(definition.name));
            prop_assert_eq!(back["seq"].as_u64(), Some(200));
            prop_assert!(back["state"].is_object(), "{}", definition.name);
        }
    }
}

/// The control of the property: events that the frame loses on the way change the hash of every projection.
#[test]
fn the_streams_touch_every_projection() {
    // Long enough for several of the rarest kind on either side of the parity.
    let events = stream(1, 2_000);
    for definition in registry::TABLE {
        let (mut fold, mut without) = (definition.empty(), definition.empty());
        events.iter().for_each(|event| fold.apply(event));
        events.iter().filter(|event| event.seq.get() % 2 != 0).for_each(|event| without.apply(event));
        assert_ne!(hash(&*fold), hash(&*definition.empty()), "{}", definition.name);
        assert_ne!(hash(&*fold), hash(&*without), "{}", definition.name);
    }
}

/// What a projection says that it does not want changes nothing of it: folds from the journal pass over it.
#[test]
fn what_is_not_wanted_changes_nothing() {
    let events = stream(7, 700);
    let mut passed = 0;
    for definition in registry::TABLE {
        let mut fold = definition.empty();
        for event in &events {
            let wanted = fold.concerned_by(event);
            let before = (!wanted).then(|| hash(&*fold));
            fold.apply(event);
            if let Some(before) = before {
                passed += 1;
                let kind = event.event.kind.name();
                assert_eq!(hash(&*fold), before, "{} by {kind} at {}", definition.name, event.seq);
            }
        }
    }
    assert!(passed > 1_000, "only {passed} were passed over");
}

#[test]
fn a_thousand_random_seqs_of_a_larger_journal_are_as_folded() {
    const EVENTS: u64 = 2_400;
    let clock = Arc::new(FixedClock::at(Timestamp::from_micros(1)));
    let store = Store::over(Arc::new(MemoryLog::pretending(JournalId::from_bytes(JOURNAL))), clock, "server");
    let mut dice = Dice(5);
    let events: Vec<Event> = (0..EVENTS).map(|n| event(&mut dice, n)).collect();
    for batch in events.chunks(800) {
        store.emit(batch.to_vec(), Level::Disk, None).unwrap().wait().unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let files = Files::new(dir.path(), JOURNAL);
    for definition in registry::TABLE {
        for (slot, seq) in [800, 1_600].into_iter().enumerate() {
            let (fold, _) = definition.state_at(&store, None, Seq::new(seq)).unwrap();
            let path = dir.path().join(format!("{}.{slot}.snap", definition.name));
            fs::write(path, fold.encode(JOURNAL).unwrap()).unwrap();
        }
    }
    let mut asked: Vec<u64> = (0..1_000).map(|_| dice.below(EVENTS + 1)).collect();
    asked.sort_unstable();
    for (nth, definition) in registry::TABLE.iter().enumerate() {
        let mut fold = definition.empty();
        let mut replay = store.replay(Seq::FIRST);
        // Each projection takes its share of the thousand: together they are all of them.
        for seq in asked.iter().skip(nth).step_by(registry::TABLE.len()) {
            while fold.seq().get() < *seq {
                fold.take(&replay.next().unwrap().expect("an event"));
            }
            let (at, progress) = definition.state_at(&store, Some(&files), Seq::new(*seq)).unwrap();
            assert_eq!((at.seq(), hash(&*at)), (fold.seq(), hash(&*fold)), "{} at {seq}", definition.name);
            assert_eq!(progress.refused, []);
        }
    }
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/projection/golden").join(name)
}

/// Whether a committed file is written anew by a blessing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bless {
    Always,
    /// What exists stays as it is.
    IfAbsent,
}

fn committed(name: &str, bless: Bless, fresh: impl FnOnce() -> String) -> String {
    let path = golden(name);
    let blessed = std::env::var_os("MNEMOSYNE_BLESS").is_some_and(|value| value == "1");
    if blessed && (bless == Bless::Always || !path.exists()) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, fresh()).unwrap();
    }
    fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; write it with MNEMOSYNE_BLESS=1", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A journal of committed bytes has the same states on any machine. Where a projection changes what it makes of events it
/// raises its schema, and the hashes are written anew; the events stay as they are.
#[test]
fn the_golden_journal_has_its_hashes() {
    let journal = committed("journal.hex", Bless::IfAbsent, || {
        let lines = stream(2_026, 96).into_iter().map(|stored| {
            format!("{} {} {}\n", stored.seq, stored.recorded.as_micros(), hex(&stored.event.encode()))
        });
        lines.collect()
    });
    let events: Vec<StoredEvent> = journal
        .lines()
        .map(|line| {
            let mut parts = line.split(' ');
            let mut next = || parts.next().expect("three parts");
            let (seq, recorded) = (next().parse().unwrap(), next().parse().unwrap());
            let event = Event::decode(&unhex(next())).expect("an event");
            StoredEvent { seq: Seq::new(seq), recorded: Timestamp::from_micros(recorded), event }
        })
        .collect();
    assert_eq!(events.len(), 96);
    let mut fresh = String::new();
    for definition in registry::TABLE {
        let mut fold = definition.empty();
        events.iter().for_each(|event| fold.apply(event));
        let (name, schema) = (definition.name, definition.schema);
        writeln!(fresh, "{name} schema {schema} seq {} {}", fold.seq(), hash(&*fold)).unwrap();
    }
    assert_eq!(committed("hashes.txt", Bless::Always, || fresh.clone()), fresh);
}

//! Every projection over journals of real sessions, made by the real program and read by the library: the state at a seq is the fold up
//! to it, built up event by event, folded anew, or restored from a snapshot and folded on.
//!
//! Two journals: the transcripts, imported; and the hook payloads that their sessions would have sent, through a server.

#[allow(dead_code, unused_imports, reason = "the kit is larger than this one user")]
#[path = "it/support.rs"]
mod support;

use std::process::Command;

use mnemosyne::config::DataDir;
use mnemosyne::event::{Seq, StoredEvent};
use mnemosyne::projection::AnyFold;
use mnemosyne::projection::registry::{self, Definition};
use mnemosyne::projection::snapshot::Files;
use mnemosyne::store::{Item, View};
use support::{World, shared_data, skipped};

/// In so many events at the beginning each seq is tried; in the rest every [`STRIDE`]th.
const SMALL: usize = 48;
/// A prime, so that it falls on events of every sort.
const STRIDE: usize = 97;
/// Seqs asked of the journal itself.
const LOOKS: u64 = 40;

#[test]
fn the_states_of_imported_sessions_are_the_same_from_every_snapshot() {
    let Some(data) = shared_data() else { return };
    let world = World::new();
    world.ok(["import", data.join("transcripts").to_str().expect("a path of UTF-8")]);
    check(&world, &["sessions", "agents", "commands", "health"]);
}

#[test]
fn the_states_of_hooks_are_the_same_from_every_snapshot() {
    let Some(data) = shared_data() else { return };
    let mut transcripts: Vec<_> = std::fs::read_dir(data.join("transcripts"))
        .expect("the directory can be listed")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    transcripts.sort();
    let made = Command::new("python3").arg(data.join("transcript-to-hooks.py")).args(transcripts).output();
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            return skipped(&format!("no python3 to make hook payloads of transcripts: {error}"));
        }
    };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let world = World::new();
    let server = world.server();
    for payload in String::from_utf8(made.stdout).expect("UTF-8").lines() {
        let answer = server.post("/hooks/claude?durability=os", payload);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    server.stop();
    check(&world, &["sessions", "agents", "commands", "health"]);
}

/// Checks every projection over the journal of this world; those that are named must have something to tell of it.
fn check(world: &World, touched: &[&str]) {
    let view = View::open(&DataDir::at(world.data())).expect("the journal opens");
    let events = events(&view);
    assert!(events.len() > 500, "{} events are too few to show anything", events.len());
    let journal = view.journal_id().expect("a journal").to_bytes();
    for definition in registry::TABLE {
        let whole = fold(definition, &events);
        let empty = hash(&*definition.empty());
        assert!(hash(&*whole) != empty || !touched.contains(&definition.name), "{}", definition.name);
        from_every_snapshot(definition, &events, journal, &hash(&*whole));
        at_random_seqs(definition, &view, &events, journal);
    }
}

fn from_every_snapshot(definition: &Definition, events: &[StoredEvent], journal: [u8; 16], whole: &str) {
    let mut running = definition.empty();
    for (n, event) in events.iter().enumerate() {
        running.apply(event);
        if n >= SMALL && n % STRIDE != 0 {
            continue;
        }
        let (name, now) = (definition.name, hash(&*running));
        assert_eq!(hash(&*fold(definition, &events[..=n])), now, "{name} at {}", event.seq);
        let bytes = running.encode(journal).expect("bytes");
        let mut restored = definition.decode(&bytes, journal, event.seq).expect("believed");
        assert_eq!(hash(&*restored), now, "{name} at {}", event.seq);
        // Of the early ones each is followed for a while, of the others to the end.
        let rest = if n % STRIDE == 0 { &events[n + 1..] } else { &events[n + 1..SMALL * 2] };
        rest.iter().for_each(|event| restored.apply(event));
        if n % STRIDE == 0 {
            assert_eq!(hash(&*restored), *whole, "{name} from the snapshot at {}", event.seq);
        } else {
            assert_eq!(
                hash(&*restored),
                hash(&*fold(definition, &events[..SMALL * 2])),
                "{name} from {}",
                event.seq
            );
        }
    }
}

/// As the program does it: from the journal's files, with two snapshots beside it.
fn at_random_seqs(definition: &Definition, view: &View, events: &[StoredEvent], journal: [u8; 16]) {
    let snapshots = tempfile::tempdir().expect("a directory");
    let files = Files::new(snapshots.path(), journal);
    for slot in 0..2 {
        let saved = fold(definition, &events[..events.len() / 3 * (slot + 1)]);
        let path = snapshots.path().join(format!("{}.{slot}.snap", definition.name));
        std::fs::write(path, saved.encode(journal).expect("bytes")).expect("saved");
    }
    let last = view.durable().get();
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let random = (0..LOOKS).map(|_| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % (last + 1)
    });
    for seq in random.chain([0, last]) {
        let (at, met) = definition.state_at(view, Some(&files), Seq::new(seq)).expect("read");
        let until = usize::try_from(seq).expect("it fits");
        assert_eq!(hash(&*at), hash(&*fold(definition, &events[..until])), "{} at {seq}", definition.name);
        assert_eq!((at.seq().get(), at.missing()), (seq, 0));
        assert!(met.gaps.is_empty() && met.undecodable == 0 && met.refused.is_empty(), "{met:?}");
    }
}

fn hash(fold: &dyn AnyFold) -> String {
    fold.hash().expect("a hash").to_string()
}

fn fold(definition: &Definition, events: &[StoredEvent]) -> Box<dyn AnyFold> {
    let mut fold = definition.empty();
    events.iter().for_each(|event| fold.apply(event));
    fold
}

fn events(view: &View) -> Vec<StoredEvent> {
    let mut replay = view.replay(Seq::FIRST);
    let mut events = Vec::new();
    while let Some(item) = replay.next().expect("readable") {
        match item {
            Item::Event(event) => events.push(event),
            other => panic!("not an event: {other:?}"),
        }
    }
    events
}

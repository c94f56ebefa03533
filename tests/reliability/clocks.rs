//! A clock that jumps by up to ten years either way, before every event and every opening. Order, the answer to the same id and
//! what a reader finds by time depend on the journal's own time, which never goes back; nothing overflows.

use crate::world::{Dice, rounds, tell};
use mnemosyne::clock::{Clock as _, FixedClock};
use mnemosyne::config::{DataDir, Settings};
use mnemosyne::event::{Event, Seq, Source, Timestamp, payload};
use mnemosyne::store::inbox::{self, Deposit};
use mnemosyne::store::{Item, Level, Opening, Store};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

const YEAR: i64 = 365 * 24 * 3600 * 1_000_000;

fn event(n: u128, time: Timestamp) -> Event {
    let source = Source { program: "test".into(), host: "here".into(), pid: 7 };
    let message = format!("event {n}");
    let payload = payload::NotificationRaised { message, notification_type: "test".into(), title: None };
    Event::new(Uuid::from_u128(n), time, "session", source, payload).with_session("session")
}

/// Sets the clock to anywhere within ten years of `around`.
fn jump(clock: &FixedClock, around: Timestamp, dice: &mut Dice) {
    let offset = i64::try_from(dice.next() % (20 * YEAR).unsigned_abs()).expect("20 years") - 10 * YEAR;
    clock.advance(around.as_micros() + offset - clock.now().as_micros());
}

/// All events in order of their seq: `recorded` and id.
fn read(store: &Store) -> Vec<(Timestamp, u128)> {
    let (mut replay, mut found) = (store.replay(Seq::FIRST), Vec::new());
    while let Some(item) = replay.next().expect("readable") {
        let Item::Event(stored) = item else { panic!("{item:?}") };
        assert_eq!(stored.seq.get(), found.len() as u64 + 1);
        found.push((stored.recorded, stored.event.id.as_u128()));
    }
    found
}

fn jumps(start: Timestamp, dice: &mut Dice) -> usize {
    let home = tempfile::tempdir().expect("a directory");
    let dir = DataDir::at(home.path().join("data"));
    let clock = Arc::new(FixedClock::at(start));
    let settings = Settings { segment_bytes: 64 << 10, ..Settings::default() };
    let (mut seqs, mut deposited, mut n) = (BTreeMap::new(), Vec::new(), 0_u128);
    for _ in 0..6 {
        jump(&clock, start, dice);
        let opening = Opening::command("session", clock.clone(), settings.clone());
        let (store, _opened) = Store::open(&dir, opening).expect("it opens at any time");
        for _ in 0..40 {
            jump(&clock, start, dice);
            n += 1;
            let pending = store.emit(vec![event(n, clock.now())], Level::Disk, None).expect("taken");
            seqs.insert(n, pending.wait().expect("acknowledged").seqs[0]);
            let again = u128::from(dice.next()) % n + 1;
            if let Some(seq) = seqs.get(&again) {
                let pending = store.emit(vec![event(again, clock.now())], Level::Disk, None).expect("taken");
                let emitted = pending.wait().expect("answered");
                assert_eq!(
                    (emitted.seqs[0], emitted.duplicates.as_slice()),
                    (*seq, &[0][..]),
                    "event {again}"
                );
            }
        }
        let found = read(&store);
        assert!(found.windows(2).all(|pair| pair[0].0 <= pair[1].0), "the journal's time goes back");
        let (recorded, _) = found[dice.below(found.len())];
        let first = found.iter().position(|(at, _)| *at >= recorded).expect("that one at least");
        let mut since = store.replay(Seq::FIRST).since(recorded).expect("a time");
        let Some(Item::Event(stored)) = since.next().expect("readable") else {
            panic!("nothing since {recorded}")
        };
        assert_eq!(stored.seq.get(), first as u64 + 1);
        store.close().expect("closed");
        // What one process leaves in the inbox keeps its order, whatever the clock does between.
        for _ in 0..5 {
            jump(&clock, start, dice);
            n += 1;
            inbox::deposit(&dir.inbox(), &event(n, clock.now()), &*clock, Deposit::Os).expect("deposited");
            deposited.push(n);
        }
    }
    let opening = Opening::command("session", clock, settings);
    let (store, _opened) = Store::open(&dir, opening).expect("it opens at any time");
    let found = read(&store);
    for (n, seq) in &seqs {
        assert_eq!(found[usize::try_from(seq.get()).expect("small") - 1].1, *n);
    }
    let drained: Vec<u128> = found.iter().map(|(_, id)| *id).filter(|id| deposited.contains(id)).collect();
    assert_eq!(drained, deposited, "deposited in this order");
    store.close().expect("closed");
    found.len()
}

#[test]
fn order_duplicates_and_times_hold_whatever_the_clock_does() {
    let mut dice = Dice::thrown("jumping clocks");
    let mut events = 0;
    for _ in 0..rounds(3, 200) {
        events += jumps(Timestamp::from_micros(1_700_000_000_000_000), &mut dice);
    }
    tell(&format!("{events} events under jumps of up to ten years"));
}

#[test]
fn clocks_that_were_never_set_or_are_centuries_ahead_are_survived() {
    let mut dice = Dice::thrown("clocks far from now");
    for start in [Timestamp::from_micros(0), Timestamp::from_micros(530 * YEAR)] {
        assert!(jumps(start, &mut dice) > 0);
    }
}

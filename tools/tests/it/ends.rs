//! `diff` ends where `info` and `verify` say that a journal ends: after a cut at any place of the last segment, and with damage
//! in any batch header of it.

use std::collections::BTreeSet;
use std::path::Path;

use mnemosyne_journal::format::{BATCH_HEADER_BYTES, BatchHeader, SEGMENT_HEADER_BYTES};
use serde_json::{Value, json};

use crate::support::{Run, RunOut as _, World, inspect, options, write};

const EVENTS: u64 = 20;

/// The frames of a segment, each with its place.
fn frames(bytes: &[u8]) -> Vec<(usize, BatchHeader)> {
    let (mut found, mut at) = (Vec::new(), SEGMENT_HEADER_BYTES);
    while let Ok(header) = BatchHeader::decode(bytes.get(at..).unwrap_or_default(), at as u64) {
        found.push((at, header));
        at += header.frame_bytes();
    }
    found
}

/// Runs a command with `--json`; what it came to, and the object that it printed.
fn asked(command: &str, dirs: &[&Path]) -> (Run, Value) {
    let run = inspect().args([command, "--json"]).args(dirs).run();
    let object = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.stderr));
    (run, object)
}

/// Two journals, and what `info` and `verify` say of their ends.
struct Pair<'a> {
    dirs: [&'a Path; 2],
    ends: [u64; 2],
}

impl<'a> Pair<'a> {
    fn new(dirs: [&'a Path; 2]) -> Pair<'a> {
        let end = |command| dirs.map(|dir| asked(command, &[dir]).1["last_seq"].as_u64().unwrap());
        let ends = end("info");
        assert_eq!(ends, end("verify"));
        Pair { dirs, ends }
    }

    fn turned(&self) -> Pair<'a> {
        Pair { dirs: [self.dirs[1], self.dirs[0]], ends: [self.ends[1], self.ends[0]] }
    }

    /// Asserts that `diff` finds them the same up to the end of the shorter one, both ways, and claims no other end; what it said.
    fn assert_same(&self, code: i32, case: &str) -> [Value; 2] {
        [self, &self.turned()].map(|pair| {
            let (run, said) = asked("diff", &pair.dirs);
            assert_eq!(run.code, code, "{case}: {} {}", run.stdout, run.stderr);
            assert_eq!(said["last_seq"], json!(pair.ends), "{case}: {said:#}");
            let shorter = pair.ends[0].min(pair.ends[1]);
            assert_eq!(
                (&said["same"], &said["same_to_seq"]),
                (&json!(true), &json!(shorter)),
                "{case}: {said:#}"
            );
            let words = inspect().arg("diff").args(pair.dirs).run().stdout;
            let claims_more = words.contains(" goes on for ");
            assert_eq!(claims_more, pair.ends[0] != pair.ends[1], "{case}: {words}");
            assert_eq!(words.contains("damage hides"), !said["by_records"].is_null(), "{case}: {words}");
            said
        })
    }
}

#[test]
fn a_journal_that_was_cut_ends_where_info_says() {
    let world = World::with_events(EVENTS as usize);
    let (data, whole) = (world.data(), world.copy("whole"));
    let last = world.segments().pop().unwrap();
    let bytes = std::fs::read(&last).unwrap();
    let frames = frames(&bytes);
    assert!(frames.len() >= 3 && frames.last().unwrap().1.is_proof(), "{frames:?}");
    let before = frames[0].1.first.prev().get();
    for (at, header) in &frames {
        let (body, end) = (at + BATCH_HEADER_BYTES, at + header.frame_bytes());
        let cuts = [*at, at + 1, at + 50, body - 1, body, body + 1, usize::midpoint(body, end), end - 1, end];
        for cut in BTreeSet::from(cuts).into_iter().filter(|cut| *cut <= end) {
            std::fs::write(&last, &bytes[..cut]).unwrap();
            let pair = Pair::new([&data, &whole]);
            let there = frames.iter().rfind(|(at, header)| at + header.frame_bytes() <= cut);
            let expected = there.map_or(before, |(_, header)| header.last().get());
            assert_eq!(pair.ends, [expected, EVENTS], "cut at {cut}");
            for said in pair.assert_same(0, &format!("cut at {cut}")) {
                assert_eq!(said["by_records"], Value::Null);
            }
        }
    }
}

#[test]
fn a_damaged_batch_header_that_costs_nothing_makes_no_difference() {
    let world = World::with_events(EVENTS as usize);
    let (data, whole) = (world.data(), world.copy("whole"));
    let last = world.segments().pop().unwrap();
    let bytes = std::fs::read(&last).unwrap();
    for (at, header) in frames(&bytes) {
        for byte in [0, 5, 9, 20, 34, 41, 46, 50, 58, 70, 95] {
            let mut damaged = bytes.clone();
            damaged[at + byte] ^= 1;
            std::fs::write(&last, &damaged).unwrap();
            let pair = Pair::new([&data, &whole]);
            assert_eq!(pair.ends, [EVENTS; 2]);
            // A proof frame that does not hold is an unfinished write.
            let code = if header.is_proof() { 0 } else { 4 };
            let case = format!("byte {byte} of the header of seq {}", header.first);
            for said in pair.assert_same(code, &case) {
                assert_eq!(said["by_records"], Value::Null, "the links behind it tell");
            }
        }
    }
}

#[test]
fn records_tell_where_damage_hides_the_end_of_the_chain() {
    let world = World::with_events(EVENTS as usize);
    let (data, whole) = (world.data(), world.copy("whole"));
    let last = world.segments().pop().unwrap();
    let mut bytes = std::fs::read(&last).unwrap();
    let frames = frames(&bytes);
    // Its header is damaged, and of what follows only a header is there: that it was flushed is known, and no link behind it.
    let [.., (at, hidden), (next, following), _] = frames[..] else { panic!("{frames:?}") };
    assert_eq!(following.durable, hidden.last());
    bytes.truncate(next + BATCH_HEADER_BYTES);
    bytes[at + 70] ^= 1;
    std::fs::write(&last, &bytes).unwrap();
    let pair = Pair::new([&data, &whole]);
    assert_eq!(pair.ends, [hidden.last().get(), EVENTS]);
    let span = json!({ "from_seq": hidden.first.get(), "to_seq": hidden.last().get() });
    for said in pair.assert_same(4, "hidden") {
        assert_eq!(said["by_records"], span);
    }
    // One of its records is lost too: it is not called missing, nor the same.
    let payload = at + BATCH_HEADER_BYTES + 20;
    bytes[payload] ^= 1;
    std::fs::write(&last, &bytes).unwrap();
    let (run, said) = asked("diff", &[&whole, &data]);
    assert_eq!((run.code, &said["what"]), (4, &json!("it is lost in the second")), "{said:#}");
    assert_eq!(said["first_different_seq"], hidden.first.get());
    let (_, said) = asked("diff", &[&data, &whole]);
    assert_eq!(said["what"], "it is lost in the first");
}

#[test]
fn a_damaged_batch_header_before_the_parting_does_not_move_it() {
    let mut codes = BTreeSet::new();
    for parting in [23, 26, 29] {
        let (a, b) = (World::with_events(20), World::with_events(20));
        a.append(20..40);
        let journal = b.open(options());
        write(&journal, 20..parting);
        write(&journal, 50..70);
        journal.close().unwrap();
        let same = parting as u64;
        let control = asked("diff", &[&a.data(), &b.data()]);
        assert_eq!((control.0.code, &control.1["same_to_seq"]), (1, &json!(same)));
        // The segment and the place of the batch with a seq.
        let place = |seq: u64| {
            let of = |path: &std::path::PathBuf| {
                let frames = frames(&std::fs::read(path).unwrap());
                let holds = |header: &BatchHeader| (header.first.get()..=header.last().get()).contains(&seq);
                frames.into_iter().find(|(_, header)| holds(header)).map(|(at, _)| at)
            };
            let places: Vec<Option<usize>> = b.segments().iter().map(of).collect();
            let segment = places.iter().position(Option::is_some).unwrap();
            (segment, places[segment].unwrap())
        };
        let ((segment, at), (next, _)) = (place(same), place(same + 1));
        b.damage(segment, |bytes| bytes[at + 40] ^= 1);
        // At the end of a segment that need not be read, damage is not met.
        let code = if segment == next { 4 } else { 1 };
        codes.insert(code);
        for dirs in [[a.data(), b.data()], [b.data(), a.data()]] {
            let (run, said) = asked("diff", &[&dirs[0], &dirs[1]]);
            assert_eq!((run.code, &said["same_to_seq"]), (code, &json!(same)), "{said:#} {}", run.stderr);
            assert_eq!(said["first_different_seq"], same + 1);
        }
    }
    assert!(codes.contains(&4), "{codes:?}");
}

//! Damage is done by hand to a journal of 30 events. Of each sort three things are asked: exit code 4, the place and the
//! seqs named, and every other record still printed.

use mnemosyne_journal::format::{FOOTER_BYTES, Key, SEGMENT_HEADER_BYTES, SegmentHeader};

use crate::support::{RunOut as _, World, find, inspect, options, write};

const EVENTS: usize = 30;

/// The seqs that `dump` prints as records, and those that it prints as gaps.
fn dumped(world: &World) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (mut records, mut gaps) = (Vec::new(), Vec::new());
    for line in world.run(&["dump", "DIR", "--json"]).stdout.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        match (line["seq"].as_u64(), line["gap"]["from_seq"].as_u64(), line["gap"]["to_seq"].as_u64()) {
            (Some(seq), None, None) => records.push(seq),
            (None, Some(from), Some(to)) => gaps.push((from, to)),
            _ => panic!("neither a record nor a gap: {line}"),
        }
    }
    (records, gaps)
}

/// Asserts that exactly these seqs are lost, each told with this code, and all others printed.
fn assert_lost(world: &World, lost: std::ops::RangeInclusive<u64>, code: &str) {
    let run = world.run(&["verify", "DIR"]);
    assert_eq!(run.code, 4, "{}", run.stdout);
    assert!(run.stdout.contains("\nverdict   damaged"), "{}", run.stdout);
    let report = world.json(&["verify", "DIR"]);
    let problems = report["problems"].as_array().expect("problems");
    let told: Vec<u64> = problems
        .iter()
        .filter(|problem| problem["code"] == code && problem["from_seq"].is_u64())
        .flat_map(|problem| problem["from_seq"].as_u64().unwrap()..=problem["to_seq"].as_u64().unwrap())
        .collect();
    assert_eq!(told, lost.clone().collect::<Vec<_>>(), "{report:#}");
    assert_eq!(report["lost"], lost.clone().count());
    assert!(problems.iter().all(|problem| problem["segment"].as_str().unwrap().contains(".seg")));
    let (records, gaps) = dumped(world);
    let in_gaps: Vec<u64> = gaps.iter().flat_map(|(from, to)| *from..=*to).collect();
    assert_eq!(in_gaps, lost.clone().collect::<Vec<_>>());
    assert_eq!(records, (1..=EVENTS as u64).filter(|seq| !lost.contains(seq)).collect::<Vec<_>>());
    assert_eq!(world.run(&["dump", "DIR"]).code, 4);
    assert_eq!(world.run(&["export", "DIR"]).code, 4);
}

#[test]
fn a_flipped_payload_costs_its_record() {
    let world = World::with_events(EVENTS);
    world.damage(0, |bytes| {
        let at = find(bytes, b"prompt number 4");
        bytes[at] ^= 1;
    });
    assert_lost(&world, 5..=5, "record");
}

#[test]
fn a_flipped_length_costs_its_record() {
    let world = World::with_events(EVENTS);
    world.damage(0, |bytes| {
        // The first record's word of length and flags, behind its two checksums.
        bytes[SEGMENT_HEADER_BYTES + 96 + 8] ^= 4;
    });
    assert_lost(&world, 1..=1, "record");
}

#[test]
fn a_flipped_batch_header_costs_nothing_and_is_told() {
    let world = World::with_events(EVENTS);
    world.damage(0, |bytes| bytes[SEGMENT_HEADER_BYTES + 33] ^= 1);
    let report = world.json(&["verify", "DIR"]);
    assert_eq!((&report["whole"], &report["lost"]), (&false.into(), &0.into()));
    assert_eq!(report["problems"][0]["code"], "batch_header");
    let (records, gaps) = dumped(&world);
    assert_eq!((records.len(), gaps.len()), (EVENTS, 0));
    let first = world.run(&["cat", "DIR", "1", "--json"]);
    assert!(first.stdout.contains("\"recorded_is_bound\":true"), "{}", first.stdout);
    // Whatever form it is asked for in, and of no other record.
    let first = world.run(&["cat", "DIR", "1"]);
    assert!(first.stderr.contains("note: recorded then or later"), "{}", first.stderr);
    let fourth = world.run(&["cat", "DIR", "4"]);
    assert!(!fourth.stderr.contains("then or later"), "{}", fourth.stderr);
    for (command, mark) in
        [("dump", "B  recorded then or later  {"), ("export", ",\"recorded_is_bound\":true}")]
    {
        let run = world.run(&[command, "DIR"]);
        let marked: Vec<bool> = run.stdout.lines().map(|line| line.contains(mark)).collect();
        assert_eq!(marked, (1..=EVENTS).map(|seq| seq <= 3).collect::<Vec<_>>(), "{command}: {}", run.stdout);
    }
    let exported = world.run(&["export", "DIR"]).stdout;
    for line in exported.lines() {
        mnemosyne::event::StoredEvent::from_json(line).expect("it is an event all the same");
    }
}

#[test]
fn a_cut_header_is_told_with_the_bytes_that_are_there() {
    let world = World::with_events(EVENTS);
    let last = world.segments().len() - 1;
    // Behind the link a header has zeros, which the cut leaves some of.
    world.damage(last, |bytes| bytes.truncate(107));
    for command in ["verify", "info"] {
        let run = world.run(&[command, "DIR"]);
        assert_eq!(run.code, 4, "{}", run.stdout);
        assert!(run.stdout.contains("107 bytes are there where 128 are needed"), "{}", run.stdout);
    }
}

#[test]
fn an_unsealed_segment_is_sealed_while_it_is_the_last_but_one() {
    let world = World::with_events(2 * EVENTS);
    let segments = world.segments().len();
    assert!(segments > 4);
    let notes = || -> Vec<String> {
        let report = world.json(&["verify", "DIR"]);
        let notes = report["notes"].as_array().unwrap();
        assert!(notes.iter().all(|note| {
            note["what"]
                .as_str()
                .unwrap()
                .ends_with("an opening for writing seals it while it is the last but one")
        }));
        notes.iter().map(|note| note["segment"].as_str().unwrap().to_owned()).collect()
    };
    let names: Vec<String> =
        world.segments().iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    for unsealed in [1, segments - 2] {
        world.damage(unsealed, |bytes| bytes.truncate(bytes.len() - FOOTER_BYTES));
    }
    assert_eq!(notes(), [names[1].clone(), names[segments - 2].clone()]);
    world.open(options()).close().unwrap();
    assert_eq!(notes(), [names[1].clone()]);
    assert_eq!(dumped(&world).0.len(), 2 * EVENTS, "it is read all the same");
}

#[test]
fn a_zeroed_sector_costs_what_lies_in_it() {
    let world = World::with_events(EVENTS);
    world.damage(1, |bytes| bytes[512..1024].fill(0));
    let report = world.json(&["verify", "DIR"]);
    let lost = report["lost"].as_u64().unwrap();
    assert!((1..=6).contains(&lost), "{report:#}");
    let (records, gaps) = dumped(&world);
    assert_eq!(records.len() as u64 + lost, EVENTS as u64);
    assert_eq!(gaps.iter().map(|(from, to)| to - from + 1).sum::<u64>(), lost);
    assert_eq!(world.run(&["verify", "DIR"]).code, 4);
}

#[test]
fn a_missing_middle_segment_is_one_gap() {
    let world = World::with_events(EVENTS);
    let bases: Vec<u64> = world.json(&["info", "DIR"])["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|segment| segment["base"].as_u64().unwrap())
        .collect();
    assert!(bases.len() >= 3, "{bases:?}");
    std::fs::remove_file(&world.segments()[1]).unwrap();
    assert_lost(&world, bases[1]..=bases[2] - 1, "missing_segment");
    // Names and footers are enough to tell it.
    let (info, verified) = (world.json(&["info", "DIR"]), world.json(&["verify", "DIR"]));
    assert_eq!(info["problems"], verified["problems"]);
    let run = world.run(&["info", "DIR"]);
    assert!(run.code == 4 && run.stdout.contains("\ndamage      "), "{}", run.stdout);
}

#[test]
fn a_truncated_sealed_segment_costs_what_was_cut() {
    let world = World::with_events(EVENTS);
    let last = world.json(&["info", "DIR"])["segments"][0]["last"].as_u64().unwrap();
    world.damage(0, |bytes| bytes.truncate(SEGMENT_HEADER_BYTES + 96 + 40));
    let report = world.json(&["verify", "DIR"]);
    assert_eq!(report["lost"], last, "{report:#}");
    assert_eq!(dumped(&world).0, (last + 1..=EVENTS as u64).collect::<Vec<_>>());
}

#[test]
fn a_flipped_segment_header_and_footer_cost_nothing_and_are_told() {
    for (segment, at_end, code) in [(0, false, "segment_header"), (0, true, "footer")] {
        let world = World::with_events(EVENTS);
        world.damage(segment, |bytes| {
            let at = if at_end { bytes.len() - 60 } else { 60 };
            bytes[at] ^= 1;
        });
        let report = world.json(&["verify", "DIR"]);
        assert_eq!((&report["whole"], &report["lost"]), (&false.into(), &0.into()));
        assert!(report["problems"].as_array().unwrap().iter().any(|problem| problem["code"] == code));
        assert_eq!(dumped(&world).0.len(), EVENTS);
    }
}

#[test]
fn a_torn_tail_is_a_note() {
    let world = World::new();
    let journal = world.open(options());
    write(&journal, 0..EVENTS);
    drop(journal); // as a crash
    let last = world.segments().len() - 1;
    world.damage(last, |bytes| bytes.extend_from_slice(b"half a batch that never was finished"));
    let run = world.run(&["verify", "DIR"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert!(run.stdout.contains("\nnote      ") && run.stdout.contains("torn tail"), "{}", run.stdout);
    assert!(run.stdout.ends_with("verdict   whole\n"), "{}", run.stdout);
    let run = world.run(&["dump", "DIR"]);
    assert_eq!((run.code, run.stdout.lines().count()), (0, EVENTS));
    assert!(run.stderr.contains("torn tail"), "{}", run.stderr);
}

/// Changes the prompt of event 5 and repairs its checksum, as somebody would who knows the format.
fn edit_with_repaired_checksum(world: &World) {
    world.damage(0, |bytes| {
        let salt = SegmentHeader::decode(bytes).expect("a header").salt;
        let text = find(bytes, b"prompt number 4");
        bytes[text..text + 6].copy_from_slice(b"PROMPT");
        let payload = mnemosyne::event::Event::encode(&crate::support::event(4));
        let payload_start = text - find(&payload, b"prompt number 4");
        let payload = bytes[payload_start..payload_start + payload.len()].to_vec();
        let keyed = [&salt.to_le_bytes()[..], &5_u64.to_le_bytes()[..], &payload].concat();
        let crc = crc32fast::hash(&keyed).to_le_bytes();
        bytes[payload_start - 8..payload_start - 4].copy_from_slice(&crc);
        assert_ne!(Key::new(salt), Key::new(salt + 1));
    });
}

#[test]
fn an_edit_with_a_repaired_checksum_is_caught_by_the_chain() {
    let world = World::with_events(EVENTS);
    edit_with_repaired_checksum(&world);
    let report = world.json(&["verify", "DIR"]);
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{report:#}");
    assert_eq!((&problems[0]["code"], &report["lost"]), (&"chain".into(), &0.into()));
    assert!(problems[0]["what"].as_str().unwrap().contains("seq 4 to 6"), "{report:#}");
    assert_eq!(world.run(&["verify", "DIR"]).code, 4);
}

#[test]
fn control_without_a_chain_the_same_edit_passes() {
    let world = World::new();
    let journal = world.open(options().with_chain(false));
    write(&journal, 0..EVENTS);
    journal.close().unwrap();
    edit_with_repaired_checksum(&world);
    let run = world.run(&["verify", "DIR"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert!(run.stdout.contains("written without a chain"), "{}", run.stdout);
    assert!(world.run(&["dump", "DIR"]).stdout.contains("PROMPT number 4"), "the edit is there");
}

fn head(world: &World) -> String {
    world.json(&["verify", "DIR"])["head"].as_str().expect("a head").to_owned()
}

#[test]
fn a_cut_tail_is_caught_by_the_noted_head_alone() {
    let world = World::with_events(EVENTS);
    let noted = head(&world);
    let last = world.segments().len() - 1;
    world.damage(last, |bytes| {
        // Everything behind the first batch of the last segment: it ends as if nothing had ever followed.
        let mut header = bytes[SEGMENT_HEADER_BYTES..].to_vec();
        header.truncate(96);
        let body = u32::from_le_bytes(header[44..48].try_into().unwrap()) as usize;
        bytes.truncate(SEGMENT_HEADER_BYTES + 96 + body.next_multiple_of(8));
    });
    assert_eq!(world.run(&["verify", "DIR"]).code, 0, "nothing in the files tells");
    let run = world.run(&["verify", "DIR", "--head", &noted]);
    assert_eq!(run.code, 4);
    assert!(run.stdout.contains("is not in the chain"), "{}", run.stdout);
    assert_eq!(world.json(&["verify", "DIR", "--head", &noted])["whole"], false);
}

#[test]
fn a_noted_head_stays_good_while_the_journal_grows() {
    let world = World::with_events(EVENTS);
    let noted = head(&world);
    let run = world.run(&["verify", "DIR", "--head", &noted]);
    assert!(run.code == 0 && run.stdout.contains("is the head"), "{}", run.stdout);
    world.append(EVENTS..EVENTS + 5);
    let run = world.run(&["verify", "DIR", "--head", &noted]);
    assert!(run.code == 0 && run.stdout.contains("5 records later"), "{}", run.stdout);
    let other = "0".repeat(63) + "1";
    assert_eq!(world.run(&["verify", "DIR", "--head", &other]).code, 4);
    assert_eq!(inspect().args(["verify", "x", "--head", "abc"]).run().code, 2);
}

#[test]
fn any_flipped_byte_of_a_closed_journal_is_told() {
    let world = World::with_events(9);
    let whole = std::fs::read(&world.segments()[0]).unwrap();
    for at in (0..whole.len()).step_by(13) {
        world.damage(0, |bytes| bytes[at] ^= 0x10);
        let run = world.run(&["verify", "DIR"]);
        // The last frame is the proof that the one before it was flushed. When it is damaged itself, nothing is lost.
        if at < whole.len() - 96 {
            assert_eq!(run.code, 4, "byte {at}: {}", run.stdout);
        } else {
            assert!(run.code == 0 && run.stdout.contains("\nnote      "), "byte {at}: {}", run.stdout);
            assert!(run.stdout.contains("9, seq 1 to 9"), "byte {at}: {}", run.stdout);
        }
        std::fs::write(&world.segments()[0], &whole).unwrap();
    }
    let run = world.run(&["verify", "DIR"]);
    assert!(run.code == 0 && !run.stdout.contains("note"), "{}", run.stdout);
}

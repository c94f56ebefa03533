//! Rot in an old sealed segment of a running server: it arrives on the stream as an event, once, and costs one record.

use std::os::unix::fs::FileExt as _;

use crate::support::{Frame, World, wait_for};
use serde_json::{Value, json};

/// Emits until there are sealed segments; the seqs.
fn fill(server: &crate::support::Server) -> u64 {
    let mut last = 0;
    for n in 0..24 {
        let body =
            json!({"kind": "custom", "payload": {"name": "fill", "data": format!("{n} ").repeat(6_000)}});
        let answer = server.post("/events/emit", &body.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        last = answer.json()["seqs"][0].as_u64().expect("a seq");
    }
    last
}

fn corruptions(frames: &[Frame]) -> Vec<Value> {
    frames
        .iter()
        .filter(|frame| frame.event.as_deref() == Some("corruption_detected"))
        .map(Frame::json)
        .collect()
}

#[test]
fn a_flipped_bit_in_an_old_segment_is_told_on_the_stream_once_and_costs_one_record() {
    let world = World::new();
    std::fs::create_dir_all(world.data()).expect("a directory");
    std::fs::set_permissions(world.data(), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .expect("private");
    std::fs::write(world.data().join("config.toml"), "[journal]\nsegment_bytes = 65536\n").expect("a file");
    let server = world.server();
    let last = fill(&server);
    let mut segments = world.names_in("journal");
    segments.retain(|name| name.strip_suffix(".seg").is_some());
    segments.sort();
    assert!(segments.len() >= 3, "{segments:?}");

    let path = world.data().join("journal").join(&segments[0]);
    let file = std::fs::File::options().read(true).write(true).open(path).expect("the segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 30_000).expect("a byte");
    file.write_all_at(&[byte[0] ^ 4], 30_000).expect("a byte");

    // Whoever reads gets a gap where it is, everything else, and then what the store has to say about it.
    let stream = server.sse("/events/stream?from=1", &[]);
    let mut frames = Vec::new();
    while corruptions(&frames).is_empty() {
        frames.push(stream.next().expect("a frame within the bound"));
    }
    let gaps: Vec<Value> =
        frames.iter().filter(|frame| frame.event.as_deref() == Some("gap")).map(Frame::json).collect();
    let [gap] = &gaps[..] else { panic!("{gaps:?}") };
    assert_eq!((&gap["from_seq"], &gap["reason"]), (&gap["to_seq"], &json!("corruption")));
    let told = &corruptions(&frames)[0]["payload"];
    assert_eq!((&told["from_seq"], &told["to_seq"]), (&gap["from_seq"], &gap["to_seq"]));
    assert_eq!(told["segment"], segments[0].as_str());
    let seqs: Vec<u64> = frames.iter().filter(|frame| frame.is_event()).map(Frame::seq).collect();
    let readable = (1..=last).filter(|seq| gap["from_seq"] != *seq);
    assert!(readable.clone().all(|seq| seqs.contains(&seq)), "{seqs:?}");
    wait_for("what was seen is noted", || {
        world.names_in("index").contains(&"whole".to_owned()).then_some(())
    });
    drop(stream);
    assert_eq!(server.stop().code, Some(0));

    // The next server meets the same damage, and its readers too: it was told.
    let server = world.server();
    let stream = server.sse("/events/stream?from=1", &[]);
    let after = last + 8;
    let marker = json!({"kind": "custom", "payload": {"name": "end", "data": after}});
    let end = server.post("/events/emit", &marker.to_string()).json()["seqs"][0].as_u64().expect("a seq");
    let mut frames = Vec::new();
    while frames.iter().all(|frame: &Frame| !frame.is_event() || frame.seq() < end) {
        frames.push(stream.next().expect("a frame within the bound"));
    }
    assert_eq!(corruptions(&frames).len(), 1);
    drop(stream);
    assert_eq!(server.stop().code, Some(0));
}

/// Flips one bit of the payload that says this, in the only segment.
fn damage_where_it_says(world: &World, words: &str) {
    let name = world.names_in("journal").into_iter().find(|name| name.strip_suffix(".seg").is_some());
    let path = world.data().join("journal").join(name.expect("a segment"));
    let bytes = std::fs::read(&path).expect("its bytes");
    let at = bytes.windows(words.len()).position(|window| window == words.as_bytes()).expect("the words");
    let file = std::fs::File::options().write(true).open(path).expect("the segment");
    file.write_all_at(&[bytes[at] ^ 1], at as u64).expect("a byte");
}

fn say(server: &crate::support::Server, words: &str) -> u64 {
    let body = json!({"kind": "custom", "payload": {"name": "say", "data": words}}).to_string();
    let answer = server.post("/events/emit?durability=disk", &body);
    answer.json()["seqs"][0].as_u64().expect("a seq")
}

/// What the journal holds of damage, read from the files.
fn on_record(world: &World) -> Vec<Value> {
    let ran = world.run(["events", "--json", "--kind", "corruption_detected"]);
    ran.json_lines().into_iter().filter(|line| line["kind"] == "corruption_detected").collect()
}

/// The default segment is that large that it is all there is for a long time: what is durable in it is looked at like any other.
#[test]
fn damage_in_the_segment_that_is_being_written_is_put_on_record_once_a_reader_has_met_it() {
    let world = World::new();
    let server = world.server();
    let damaged = say(&server, "the words that rot");
    // The last of all, too: no later frame proves in the file that it was durable, and the server knows.
    let newest = say(&server, "the last words");
    damage_where_it_says(&world, "the words that rot");
    damage_where_it_says(&world, "the last words");
    assert_eq!(server.get(&format!("/events/{newest}")).status, 410);
    assert_eq!(server.get(&format!("/events/{damaged}")).status, 410);
    let told = wait_for("both are on record", || {
        let told = on_record(&world);
        (told.len() == 2).then_some(told)
    });
    let mut seqs: Vec<u64> =
        told.iter().map(|told| told["payload"]["from_seq"].as_u64().expect("a seq")).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [damaged, newest]);
    // Whoever meets it again, by whatever way, adds nothing.
    assert_eq!(server.get(&format!("/events/{damaged}")).status, 410);
    assert_eq!(world.run(["events"]).code, Some(4));
    say(&server, "later");
    assert_eq!(on_record(&world).len(), 2);
    assert_eq!(server.stop().code, Some(0));
    assert_eq!(on_record(&world).len(), 2);
}

#[test]
fn damage_that_a_command_meets_without_a_server_is_put_on_record() {
    let world = World::new();
    let server = world.server();
    let damaged = say(&server, "the words that rot");
    say(&server, "later");
    assert_eq!(server.stop().code, Some(0));
    damage_where_it_says(&world, "the words that rot");
    assert_eq!(world.ok(["status", "--json"]).json()["corruption"], Value::Null, "nobody has read it");
    assert_eq!(world.run(["events"]).code, Some(4));
    let status = world.ok(["status", "--json"]).json();
    assert_eq!(status["corruption"]["count"], 1, "{status}");
    assert_eq!(world.run(["events"]).code, Some(4));
    let [told] = &on_record(&world)[..] else { panic!("told once") };
    assert_eq!(told["payload"]["from_seq"], damaged);
}

/// `doctor` reads the last segment, says how much it has read, and leaves word of what it finds.
#[test]
fn doctor_finds_damage_in_the_only_segment_beside_a_server_and_after_it() {
    let world = World::new();
    let server = world.server();
    say(&server, "the words that rot");
    say(&server, "later");
    let journal = |args: &[&str]| {
        let ran = world.run(["doctor", "--json"].iter().chain(args));
        let checks = ran.json()["checks"].as_array().expect("checks").clone();
        checks.into_iter().find(|check| check["name"] == "journal").expect("the check")
    };
    let whole = journal(&[]);
    assert_eq!(whole["status"], "pass", "{whole}");
    assert!(whole["detail"].as_str().expect("text").contains("every byte of 1 segment was read"), "{whole}");
    damage_where_it_says(&world, "the words that rot");
    assert_eq!(journal(&[])["status"], "fail");
    assert_eq!(server.stop().code, Some(0));
    assert_eq!(journal(&[])["status"], "fail");
    assert_eq!(world.ok(["status", "--json"]).json()["corruption"]["count"], 1);
    assert_eq!(on_record(&world).len(), 1);
}

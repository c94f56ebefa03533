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

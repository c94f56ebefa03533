//! `import` of real transcripts: alone, after the hooks of the same sessions, again, through a server, and while a session
//! lives.

use crate::real_hooks::{Fact, expected, fact_of, facts, payloads, transcripts};
use crate::support::{World, kinds, wait_for};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

fn import(world: &World, paths: &[impl AsRef<Path>]) -> crate::support::Ran {
    let paths = paths.iter().map(|path| path.as_ref().to_str().expect("UTF-8").to_owned());
    world.ok(["import".to_owned()].into_iter().chain(paths))
}

/// All that is on record of agents, without the runs of commands.
fn recorded(world: &World) -> Vec<Value> {
    let events = world.events([]);
    events
        .into_iter()
        .filter(|event| event["category"] == "agent" || event["category"] == "session")
        .collect()
}

/// The last output count that any line says of each model response, over all files: what was really spent.
fn spent(files: &[impl AsRef<Path>]) -> u64 {
    let mut last: HashMap<String, u64> = HashMap::new();
    for file in files {
        for line in std::fs::read_to_string(file).expect("readable").lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            if let Some(tokens) = line["message"]["usage"]["output_tokens"].as_u64() {
                last.insert(line["message"]["id"].as_str().expect("an id").to_owned(), tokens);
            }
        }
    }
    last.values().sum()
}

/// Of each response, the last count on record.
fn recorded_spending(events: &[Value]) -> u64 {
    let told = events.iter().filter_map(|event| {
        let tokens = event["payload"]["usage"]["output_tokens"].as_u64()?;
        Some((event["payload"]["message_id"].as_str()?, tokens))
    });
    told.collect::<HashMap<_, _>>().values().sum()
}

#[test]
fn an_import_holds_every_call_prompt_and_token_of_the_transcripts_once() {
    let (Some(files), Some(payloads)) = (transcripts(), payloads()) else { return };
    let world = World::new();
    import(&world, &files);
    let events = recorded(&world);
    let of = |facts: Vec<Fact>, kinds: &[&str]| -> BTreeSet<Fact> {
        facts.into_iter().filter(|fact| kinds.contains(&fact.kind.as_str())).collect()
    };
    let keyed = ["tool_call_started", "tool_call_completed", "tool_call_failed", "subagent_started"];
    assert_eq!(of(events.iter().map(fact_of).collect(), &keyed), of(facts(&payloads), &keyed));
    let calls = events.iter().filter(|event| event["kind"] == "tool_call_started").count();
    assert_eq!(calls, of(facts(&payloads), &["tool_call_started"]).len(), "none twice");
    assert_eq!(recorded_spending(&events), spent(&files));
    let turns = kinds(&events).iter().filter(|kind| **kind == "turn_completed").count();
    assert_eq!(turns, payloads.iter().filter(|payload| payload["hook_event_name"] == "Stop").count());
}

#[test]
fn after_the_hooks_an_import_adds_only_what_no_hook_told() {
    let (Some(files), Some(payloads)) = (transcripts(), payloads()) else { return };
    let world = World::new();
    for payload in &payloads {
        world.hook(payload);
    }
    let before = recorded(&world);
    import(&world, &files);
    let after = recorded(&world);
    assert_eq!(after[..before.len()], before[..], "what was there stays as it was");
    let added = &after[before.len()..];
    let told: HashSet<Fact> = payloads.iter().map(expected).collect();
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for event in added {
        assert!(!told.contains(&fact_of(event)) || event["kind"] == "turn_failed", "told by a hook: {event}");
        *counts.entry(event["kind"].as_str().expect("a kind")).or_default() += 1;
    }
    // A subagent without a transcript of its own has no hooks in the real data; its parent's transcript tells its end.
    let allowed =
        ["agent_message", "context_compacted", "subagent_stopped", "transcript_imported", "turn_failed"];
    assert!(counts.keys().all(|kind| allowed.contains(kind)), "{counts:?}");
    assert_eq!(counts["transcript_imported"] as usize, files.len());
    assert_eq!(counts["context_compacted"], 1);
    assert_eq!(recorded_spending(&after), spent(&files));
}

#[test]
fn importing_twice_adds_nothing() {
    let Some(files) = transcripts() else { return };
    let world = World::new();
    import(&world, &files);
    let before = recorded(&world);
    assert!(before.len() > 500, "{}", before.len());
    import(&world, &files);
    assert_eq!(recorded(&world).len(), before.len());
}

#[test]
fn an_import_through_a_running_server_is_the_same_as_one_without() {
    let Some(files) = transcripts() else { return };
    let (alone, through) = (World::new(), World::new());
    import(&alone, &files);
    let server = through.server();
    import(&through, &files);
    server.stop();
    let ids = |world: &World| -> Vec<(String, Value)> {
        let events = recorded(world);
        let own = events.iter().filter(|event| event["kind"] != "transcript_imported");
        own.map(|event| (event["id"].to_string(), event["payload"].clone())).collect()
    };
    assert_eq!(ids(&alone), ids(&through));
}

fn line(n: u32, more: &Value) -> String {
    let mut line = json!({"type": "user", "uuid": format!("line-{n}"), "sessionId": "s", "cwd": "/code/parcels", "timestamp": format!("2026-02-11T20:00:{n:02}.000Z")});
    line.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    format!("{line}\n")
}

fn prompt(n: u32, text: &str) -> String {
    line(n, &json!({"message": {"content": text}}))
}

fn message(n: u32, id: &str, text: &str) -> String {
    line(
        n,
        &json!({"type": "assistant", "message": {"id": id, "model": "m", "content": [{"type": "text", "text": text}], "usage": {"input_tokens": 1, "output_tokens": 2}}}),
    )
}

#[test]
fn a_broken_line_is_named_and_everything_else_is_imported() {
    let world = World::new();
    let file = world.home().join("s.jsonl");
    std::fs::write(&file, prompt(1, "one") + "{\"type\": \"user\", \"message\"\n" + &prompt(3, "three"))
        .expect("written");
    let ran = world.run(["import", file.to_str().expect("UTF-8")]);
    assert_eq!(ran.code, Some(1), "a line was not imported: {ran}");
    assert!(ran.stderr.contains("s.jsonl") && ran.stderr.contains('2'), "{ran}");
    assert_eq!(world.events(["--kind", "prompt_submitted"]).len(), 2);
    // The control: the same file without the fault is a success.
    std::fs::write(&file, prompt(1, "one") + &prompt(3, "three")).expect("written");
    world.ok(["import", file.to_str().expect("UTF-8")]);
}

#[test]
fn a_last_line_without_its_end_is_left_until_it_is_whole() {
    let world = World::new();
    let file = world.home().join("s.jsonl");
    let (first, second) = (prompt(1, "one"), prompt(2, "two"));
    std::fs::write(&file, first.clone() + &second[..second.len() - 9]).expect("written");
    import(&world, &[&file]);
    assert_eq!(world.events(["--kind", "prompt_submitted"]).len(), 1);
    std::fs::write(&file, first + &second).expect("written");
    import(&world, &[&file]);
    let prompts = world.events(["--kind", "prompt_submitted"]);
    assert_eq!(prompts[1]["payload"]["prompt"], "two");
}

#[test]
fn the_messages_of_a_live_session_arrive_when_its_turn_ends() {
    let world = World::new();
    let file = world.home().join("s.jsonl");
    let server = world.server();
    let stop = json!({"session_id": "s", "hook_event_name": "Stop", "cwd": "/code/parcels", "transcript_path": file});
    let messages = || {
        let events = server.get("/events?kind=agent_message").json();
        events["events"].as_array().map(Vec::len)
    };
    std::fs::write(&file, prompt(1, "one") + &message(2, "m1", "first")).expect("written");
    world.hook(&stop);
    wait_for("the first turn's message", || messages().filter(|count| *count == 1));
    std::fs::write(&file, prompt(1, "one") + &message(2, "m1", "first") + &message(3, "m2", "second"))
        .expect("written");
    world.hook(&stop);
    wait_for("the second turn's message", || messages().filter(|count| *count == 2));
    server.stop();
    let ended: Vec<Value> = world.events(["--kind", "turn_completed"]);
    assert_eq!(ended.len(), 2, "an import sets off no further turn");
}

//! A pair of sessions of the same work, the second with a planted fault: `diff` names where they part, `why` the write behind the
//! failure, `bisect` the event. Everything goes through the real hook.

use crate::cli_basics::prompt;
use crate::support::{World, wait_for};
use serde_json::{Value, json};

const GOOD: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const BAD: &str = "bbbbbbbb-0000-4000-8000-000000000002";

/// One session: it reads, edits, tests; the planted one edits the wrong line, looks once more than the other, and repairs.
struct Told<'a> {
    world: &'a World,
    session: &'a str,
    cwd: &'a str,
    calls: u32,
}

#[expect(clippy::needless_pass_by_value, reason = "what `json!` makes is given away")]
impl Told<'_> {
    fn hook(&self, name: &str, more: Value) {
        let mut payload = json!({"session_id": self.session, "hook_event_name": name, "cwd": self.cwd,
            "transcript_path": "/nowhere/t.jsonl"});
        let fields = payload.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        self.world.hook(&payload);
    }

    fn call(&mut self, tool: &str, input: Value, failure: Option<&str>) {
        self.calls += 1;
        let id = format!("toolu_{}_{}", &self.session[..4], self.calls);
        let with = |more: Value| {
            let mut call = json!({"tool_name": tool, "tool_use_id": id, "tool_input": input});
            call.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            call
        };
        self.hook("PreToolUse", with(json!({})));
        match failure {
            None => self.hook("PostToolUse", with(json!({"tool_response": {"ok": true}, "duration_ms": 10}))),
            Some(error) => self.hook("PostToolUseFailure", with(json!({"error": error, "duration_ms": 20}))),
        }
    }

    fn file(&self) -> String {
        format!("{}/src/parser.rs", self.cwd)
    }

    fn edit(&mut self, new: &str, description: &str) {
        let input = json!({"file_path": self.file(), "old_string": "a", "new_string": new, "description": description});
        self.call("Edit", input, None);
    }
}

fn recorded() -> World {
    let world = World::new();
    for (session, cwd) in [(GOOD, "/home/one/app"), (BAD, "/srv/two/app")] {
        let faulty = session == BAD;
        let mut told = Told { world: &world, session, cwd, calls: 0 };
        told.hook("SessionStart", json!({"source": "startup"}));
        told.hook("UserPromptSubmit", json!({"prompt": format!("fix the parser in {cwd}")}));
        told.call("Grep", json!({"pattern": "fn parse", "path": "src"}), None);
        told.edit(if faulty { "x == 1" } else { "x == 0" }, "words that differ in every run");
        let file = told.file();
        told.call("Read", json!({"file_path": file}), None);
        if faulty {
            told.call("Bash", json!({"command": "ls -l target"}), None);
        }
        let error = "error: test failed, src/parser.rs:10 panicked";
        told.call("Bash", json!({"command": "cargo test"}), faulty.then_some(error));
        told.call("Bash", json!({"command": "git status"}), None);
        told.hook("Stop", json!({}));
    }
    world.ok(["events"]);
    world
}

fn seq_of(world: &World, session: &str, kind: &str, holds: &str) -> u64 {
    let events = world.events(["--session", session, "--kind", kind]);
    let event = events.iter().find(|event| event.to_string().contains(holds));
    event.unwrap_or_else(|| panic!("no {kind} with {holds}: {events:?}"))["seq"].as_u64().expect("a seq")
}

/// What stands between the differences, and the same answer from a server.
fn the_order_is_told_here_and_over_http(world: &World, diff: &Value, (right_write, wrong_write): (u64, u64)) {
    let order = diff["order"].as_array().expect("a list");
    let first = (
        order[0]["alike"].as_u64(),
        order[0]["how"].as_str(),
        order[0]["a"].as_u64(),
        order[0]["b"].as_u64(),
    );
    assert_eq!(first, (Some(1), Some("input"), Some(right_write), Some(wrong_write)), "{diff}");
    let cut = world.run(["diff", GOOD, BAD, "--limit", "1"]);
    let more = format!("{} differences more not shown", order.len() - 1);
    assert!(cut.stderr.contains(&more) && !cut.stdout.contains("ls -l target"), "{cut}");
    let server = world.server();
    let asked = |query: &str| server.get(&format!("/diff?{query}"));
    // The server's own events move what the last seq is.
    let but_the_seq = |mut shown: Value| {
        shown["seq"] = Value::Null;
        shown
    };
    let answered = asked(&format!("a={}&b={}", &GOOD[..4], &BAD[..4])).json();
    assert_eq!(but_the_seq(answered), but_the_seq(diff.clone()));
    for (query, code) in [
        ("a=g", "invalid_parameter"),
        ("a=x&b=nobody", "not_found"),
        ("a=x&b=x&limit=0", "invalid_parameter"),
        ("a=x&b=x&c=1", "unknown_parameter"),
    ] {
        assert_eq!(asked(query).json()["error"]["code"], code, "{query}");
    }
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn the_planted_fault_is_named() {
    let world = recorded();
    let wrong_write = seq_of(&world, BAD, "tool_call_started", "x == 1");
    let right_write = seq_of(&world, GOOD, "tool_call_started", "x == 0");
    let failure = seq_of(&world, BAD, "tool_call_failed", "panicked");
    let prompt = seq_of(&world, BAD, "prompt_submitted", "fix");

    // diff: where they part, where they are alike again, and what differs.
    let diff = world.ok(["diff", &GOOD[..4], &BAD[..4], "--json"]).json();
    assert_eq!(diff["same"], false);
    let first = &diff["first_divergence"];
    assert_eq!(
        (first["how"].as_str(), first["a"]["seq"].as_u64(), first["b"]["seq"].as_u64()),
        (Some("input"), Some(right_write), Some(wrong_write))
    );
    assert_eq!(diff["changed"][0]["input"], json!(["new_string"]));
    assert_eq!(diff["resync"]["b"]["tool"], "Read");
    assert_eq!(
        (diff["only_a"].as_array().map(Vec::len), diff["only_b"][0]["text"].as_str()),
        (Some(0), Some("ls -l target"))
    );
    let outcome =
        diff["changed"].as_array().expect("a list").iter().find(|changed| changed["outcome"] == true);
    assert_eq!(outcome.expect("a call that ended differently")["b"]["outcome"], "failed");
    assert_eq!((diff["delta"]["calls"].as_i64(), diff["delta"]["failed"].as_i64()), (Some(1), Some(1)));
    let mirror = world.ok(["diff", BAD, GOOD, "--json"]).json();
    assert_eq!((&mirror["only_a"], &mirror["delta"]["calls"]), (&diff["only_b"], &json!(-1)));
    let shown = world.ok(["diff", GOOD, BAD]).stdout;
    assert!(
        shown.contains("first divergence: the same step with another input") && !shown.contains("git status"),
        "{shown}"
    );
    assert_eq!(world.run(["diff", GOOD, BAD, "--fail-on-divergence"]).code, Some(1));
    let same = world.ok(["diff", BAD, BAD, "--fail-on-divergence", "--json"]).json();
    assert_eq!(
        (&same["same"], &same["changed"], &same["first_divergence"]),
        (&json!(true), &json!([]), &Value::Null)
    );
    assert_eq!(world.run(["diff", GOOD, "nobody"]).code, Some(3));
    the_order_is_told_here_and_over_http(&world, &diff, (right_write, wrong_write));

    // why: from the failure through the read to the planted write, and to the prompt.
    let why = world.ok(["why", &failure.to_string(), "--json"]).json();
    let links = why["links"].as_array().expect("links");
    let link = |rule: &str| {
        links.iter().find(|link| link["rule"] == rule).unwrap_or_else(|| panic!("no {rule}: {links:?}"))
    };
    assert_eq!(
        (link("write_before_read")["cause"].as_u64(), link("write_before_read")["sure"].as_str()),
        (Some(wrong_write), Some("likely"))
    );
    assert_eq!(link("read")["effect"].as_u64(), Some(failure));
    assert_eq!(link("prompt")["cause"].as_u64(), Some(prompt));
    assert_eq!(link("causation")["sure"], "certain");
    assert_eq!(why["searched"]["whole"], true);
    let shown = world.ok(["why", &failure.to_string()]).stdout;
    assert!(
        shown.contains("guess: the last read of a file that the failure names")
            && shown.contains("fix the parser"),
        "{shown}"
    );
    assert_eq!(world.run(["why", "9999"]).code, Some(3));
    assert_eq!(world.run(["why", "0"]).code, Some(3));

    // bisect: the failure, by both modes.
    let question = format!(".sessions[\"{BAD}\"].counts.tools_failed >= 1");
    let scan = world.ok(["bisect", &question, "--json"]).json();
    let halved = world.ok(["bisect", &question, "--monotone", "--json"]).json();
    assert_eq!((scan["seq"].as_u64(), scan["mode"].as_str()), (Some(failure), Some("scan")));
    assert_eq!((halved["seq"].as_u64(), halved["mode"].as_str()), (Some(failure), Some("halving")));
    assert_eq!(scan["event"]["kind"], "tool_call_failed");
    let ask = |more: &[&str]| world.run(["bisect"].iter().chain(more).copied());
    let narrowed = ask(&[&question, "--session", BAD, "--monotone", "--json"]).json();
    assert_eq!(narrowed["seq"].as_u64(), Some(failure));
    let begun = ask(&[&question, "--session", &BAD[..BAD.len() - 1], "--json"]);
    assert!(begun.code == Some(0) && begun.json()["seq"].as_u64() == Some(failure), "{begun}");
    assert_eq!(ask(&[&question, "--session", "nobody"]).code, Some(3), "not that it holds after no event");
    let never = ask(&[&question, "--until", &(failure - 1).to_string()]);
    assert_eq!(never.code, Some(3), "{never}");
    let before = ask(&[".seq | not", "--json"]).json();
    assert_eq!((before["held_before"].as_bool(), &before["seq"]), (Some(true), &Value::Null));
    let wrong = ask(&[".a | ("]);
    assert!(wrong.code == Some(2) && wrong.stderr.contains("column 6"), "{wrong}");
    let stumbled = ask(&[".sessions | length | keys", "--json"]);
    assert!(stumbled.code == Some(3) && stumbled.stderr.contains("cannot be answered"), "{stumbled}");
    assert_eq!(ask(&["true", "nothing"]).code, Some(3));
    a_misspelt_field_is_told(&world);
}

fn a_misspelt_field_is_told(world: &World) {
    let ask = |more: &[&str]| world.run(["bisect"].iter().chain(more).copied());
    for mode in [&[][..], &["--monotone"]] {
        let top = ask(&[&[".sesions | length > 0"], mode].concat());
        assert_eq!(top.code, Some(3), "{top}");
        assert!(top.stderr.contains("a field `sesions` at its top: did you mean `sessions`?"), "{top}");
        let deep = ask(&[&[".sessions[] | .counts.tools_faled >= 1", "--json"], mode].concat());
        assert_eq!(deep.code, Some(3), "{deep}");
        let told = json!([{"name": "tools_faled", "at_top": false, "under": ".sessions[].counts", "nearest": "tools_failed"}]);
        assert_eq!(deep.json()["unknown_fields"], told, "{deep}");
        assert!(deep.stderr.contains("`tools_faled` under `.sessions[].counts`"), "{deep}");
        // A field that stands elsewhere is none of what is gone through.
        let misplaced = ask(&[&[".sessions[].tools_failed >= 1"], mode].concat());
        assert_eq!(misplaced.code, Some(3), "{misplaced}");
        assert!(misplaced.stderr.contains("`tools_failed` under `.sessions[]`"), "{misplaced}");
        let anywhere = ask(&[&["[..] | .[-1].tools_faled >= 1"], mode].concat());
        assert!(anywhere.stderr.contains("`tools_faled` anywhere in it"), "{anywhere}");
    }
    // A misspelt field is null, so this holds from the first event on, and for no good reason.
    let held = ask(&[".sesions == null"]);
    assert!(held.code == Some(0) && held.stderr.contains("did you mean `sessions`?"), "{held}");
    // Controls: fields that are there, and a question that never holds.
    let never = ask(&[".sessions[] | .counts.tools_failed > 1000", "--json"]);
    assert_eq!((never.code, &never.json()["unknown_fields"]), (Some(3), &json!([])), "{never}");
    assert!(!never.stderr.contains("no state that was asked"), "{never}");
}

/// A question that holds, stops holding and holds again: the first event is the scan's answer, halving finds another, and each says
/// which way it went.
#[test]
fn what_does_not_stay_true_is_found_by_the_scan_alone() {
    let world = World::new();
    for n in 0..10 {
        world.hook(&prompt("s-1", &format!("prompt {n}")));
    }
    world.ok(["events"]);
    let seq_of_last = "[.sessions[].seq_last] | max";
    let first = world.ok(["state", "sessions", "--json"]).json()["seq"].as_u64().expect("a seq") - 7;
    let question = format!("{seq_of_last} | . == {first} or . > {first} + 4");
    let ask = |more: &[&str]| world.ok(["bisect", question.as_str()].iter().chain(more).copied());
    let (scan, halved) = (ask(&["--json"]).json(), ask(&["--json", "--monotone"]).json());
    assert_eq!((scan["mode"].as_str(), scan["seq"].as_u64()), (Some("scan"), Some(first)));
    assert_eq!((halved["mode"].as_str(), halved["seq"].as_u64()), (Some("halving"), Some(first + 5)));
    assert!(halved["asked"].as_u64() < scan["until_seq"].as_u64(), "{halved}");
    assert!(ask(&[]).stdout.contains("every state asked"));
    assert!(ask(&["--monotone"]).stdout.contains("the range halved, as --monotone says that it stays true"));
}

#[test]
fn a_note_stands_beside_its_event_with_a_server_and_without() {
    let world = recorded();
    let failure = seq_of(&world, BAD, "tool_call_failed", "panicked");
    let about = failure.to_string();
    let alone = world.ok(["annotate", &about, "here it went wrong", "--json"]).json();
    assert_eq!((alone["about"].as_u64(), alone["way"].as_str()), (Some(failure), Some("journal")));
    let server = world.server();
    let served = world.run_with_stdin(["annotate", &about, "-", "--json"], b"-- and again\n");
    assert_eq!(
        (served.code, served.json()["way"].as_str().map(str::to_owned)),
        (Some(0), Some("server".to_owned())),
        "{served}"
    );
    let notes = world.events(["--kind", "annotated"]);
    let texts: Vec<&str> = notes.iter().filter_map(|note| note["payload"]["text"].as_str()).collect();
    assert_eq!(texts, ["here it went wrong", "-- and again"]);
    assert!(notes.iter().all(|note| note["session"] == BAD && note["causation"].is_string()), "{notes:?}");
    for args in [
        vec!["events", "--session", BAD],
        vec!["events", "--from", &about],
        vec!["tail", "--lines", "1000"],
        vec!["tail", "--from", &about],
        vec!["session", BAD],
        vec!["replay", BAD, "--speed", "max"],
        vec!["why", &about],
    ] {
        let shown = world.ok(args.clone()).stdout;
        let lines: Vec<&str> = shown.lines().collect();
        let note =
            lines.iter().position(|line| line.contains("note ") && line.contains("here it went wrong"));
        let note = note.unwrap_or_else(|| panic!("{args:?}: {shown}"));
        assert!(lines[note - 1].contains("panicked"), "{args:?}: {shown}");
        assert!(lines[note + 1].contains("-- and again"), "{args:?}: {shown}");
    }
    // Over HTTP the chain is the same object.
    let over_http = wait_for("the chain over HTTP", || {
        let response = server.get(&format!("/events/{failure}?why=1"));
        (response.status == 200).then(|| response.json())
    });
    assert_eq!(over_http, world.ok(["why", &about, "--json"]).json());
    assert_eq!(server.get(&format!("/events/{failure}?why=2")).status, 400);
    assert_eq!(server.get("/events/99999?why=1").status, 404);
    for (seq, text, code) in [("99999", "x", 3), ("0", "x", 3), (about.as_str(), "  ", 2)] {
        assert_eq!(world.run(["annotate", seq, text]).code, Some(code), "{seq} {text:?}");
    }
}

//! `stats` and `GET /stats`: every figure is what a second, independent count over `events --json` finds, with a server
//! and without; a range is exact; and nothing that is not known is shown as 0.

use crate::cli_basics::prompt;
use crate::real_hooks::transcripts;
use crate::sessions_traffic::shape;
use crate::support::{World, wait_for};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

fn hook(world: &World, session: &str, name: &str, more: &Value) {
    let mut payload = prompt(session, "p");
    payload["hook_event_name"] = json!(name);
    payload.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    world.hook(&payload);
}

/// Sessions that end and that do not, commands that succeed, fail and are killed, failing tools, a few servers, and
/// model messages with partial and missing usage.
fn history() -> World {
    let world = World::new();
    for (session, ends) in [("one", Some("logout")), ("two", Some("other")), ("three", None)] {
        hook(&world, session, "SessionStart", &json!({"source": "startup"}));
        hook(&world, session, "UserPromptSubmit", &json!({}));
        for n in 0..3 {
            let call = json!({"tool_name": "Bash", "tool_use_id": format!("{session}-{n}"), "tool_input": {},
                "tool_response": {}, "error": "exit status 1"});
            hook(&world, session, "PreToolUse", &call);
            hook(&world, session, if n == 1 { "PostToolUseFailure" } else { "PostToolUse" }, &call);
        }
        hook(&world, session, "Stop", &json!({}));
        if let Some(reason) = ends {
            hook(&world, session, "SessionEnd", &json!({"reason": reason}));
        }
    }
    for _ in 0..3 {
        assert_eq!(world.run(["import", "/nowhere/at/all.jsonl"]).code, Some(3));
    }
    world.ok(["events", "--record", "--limit", "1"]);
    let server = world.server();
    let said = |session: &str, id: &str, model: &str, usage: Value| {
        let mut payload = json!({"model": model, "text": "words", "message_id": id});
        if !usage.is_null() {
            payload["usage"] = usage;
        }
        let event = json!({"kind": "agent_message", "session": session, "project": "project:app", "payload": payload});
        assert_eq!(server.post("/events/emit", &event.to_string()).status, 200, "{event}");
    };
    let usage = |output: u64| json!({"input_tokens": 3, "output_tokens": output, "cache_read_tokens": 1_000, "cache_creation_tokens": 20});
    said("one", "m1", "opus", usage(1));
    said("one", "m1", "opus", usage(40));
    said("three", "m1", "opus", usage(9_999));
    said("three", "m2", "haiku", Value::Null);
    said("three", "m3", "opus", usage(8));
    server.kill();
    world.server().stop();
    world
}

/// The runs of commands, counted by their correlation: command, ended, failed, inferred, duration, events.
#[derive(Debug, Default)]
struct Run {
    command: String,
    failed: Option<bool>,
    inferred: bool,
    duration_ms: Option<u64>,
    events: u64,
    importance: u64,
}

fn runs(events: &[Value]) -> Vec<Run> {
    let of_commands: BTreeSet<&str> = events
        .iter()
        .filter(|event| event["category"] == "cli")
        .map(|event| text(&event["correlation"]))
        .collect();
    let mut runs = BTreeMap::<&str, Run>::new();
    for event in events {
        let correlation = text(&event["correlation"]);
        if !of_commands.contains(correlation) {
            continue;
        }
        let run = runs.entry(correlation).or_default();
        run.events += 1;
        run.importance = run.importance.max(event["importance"].as_u64().expect("an importance"));
        let payload = &event["payload"];
        if event["category"] == "cli" {
            text(&payload["command"]).clone_into(&mut run.command);
        }
        if event["kind"] == "cli_command_completed" || event["kind"] == "cli_command_failed" {
            run.failed = Some(event["kind"] == "cli_command_failed");
            run.inferred = payload["inferred"] == true;
            run.duration_ms = payload["duration_ms"].as_u64();
        }
    }
    runs.into_values().collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The nearest rank, of the values themselves.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

#[track_caller]
fn assert_commands(shown: &Value, events: &[Value]) {
    let runs = runs(events);
    let names: BTreeSet<&str> = runs.iter().map(|run| run.command.as_str()).collect();
    let rows = shown.as_array().expect("rows");
    assert_eq!(rows.iter().map(|row| text(&row["command"])).collect::<BTreeSet<_>>(), names);
    for row in rows {
        let mine: Vec<&Run> = runs.iter().filter(|run| run.command == text(&row["command"])).collect();
        let count = |wanted: &dyn Fn(&Run) -> bool| mine.iter().filter(|run| wanted(run)).count() as u64;
        assert_eq!(number(&row["runs"]), mine.len() as u64, "{row}");
        assert_eq!(number(&row["running"]), count(&|run| run.failed.is_none()), "{row}");
        assert_eq!(number(&row["completed"]), count(&|run| run.failed == Some(false)), "{row}");
        assert_eq!(number(&row["failed"]), count(&|run| run.failed == Some(true) && !run.inferred), "{row}");
        assert_eq!(number(&row["failed_inferred"]), count(&|run| run.inferred), "{row}");
        assert_eq!(number(&row["events"]), mine.iter().map(|run| run.events).sum::<u64>(), "{row}");
        assert_eq!(
            number(&row["importance_max"]),
            mine.iter().map(|run| run.importance).max().expect("a run"),
            "{row}"
        );
        let mut durations: Vec<u64> = mine.iter().filter_map(|run| run.duration_ms).collect();
        durations.sort_unstable();
        assert_durations(&row["durations"], &durations);
    }
}

/// The mean to the millisecond, percentiles at most a sixteenth above.
#[track_caller]
fn assert_durations(shown: &Value, sorted: &[u64]) {
    if sorted.is_empty() {
        assert_eq!(*shown, Value::Null, "unknown is not 0");
        return;
    }
    let n = sorted.len() as u64;
    assert_eq!(
        (number(&shown["count"]), number(&shown["mean_ms"])),
        (n, (sorted.iter().sum::<u64>() + n / 2) / n)
    );
    for (name, percent) in [("p50_ms", 50), ("p95_ms", 95), ("p99_ms", 99)] {
        let (truth, told) = (percentile(sorted, percent), number(&shown[name]));
        assert!(truth <= told && told <= truth + truth / 16, "{name}: {told} for {truth}");
    }
}

#[track_caller]
fn assert_sessions(shown: &Value, events: &[Value]) {
    let mut spans = BTreeMap::<&str, (u64, u64, Option<(u64, &str)>)>::new();
    for event in events.iter().filter(|event| event["category"] == "agent" || event["category"] == "session")
    {
        let time = micros(&event["time"]);
        let span = spans.entry(text(&event["session"])).or_insert((time, 0, None));
        span.0 = span.0.min(time);
        if event["kind"] == "session_ended" {
            span.2 = span.2.max(Some((time, text(&event["payload"]["reason"]))));
        } else {
            span.1 = span.1.max(time);
        }
    }
    let over: Vec<_> = spans
        .values()
        .filter_map(|(first, sign, end)| {
            end.filter(|(end, _)| sign < end).map(|(end, why)| (end - first, why))
        })
        .collect();
    assert_eq!(
        (number(&shown["sessions"]), number(&shown["ended"])),
        (spans.len() as u64, over.len() as u64),
        "{shown}"
    );
    assert_eq!(number(&shown["open"]), (spans.len() - over.len()) as u64, "{shown}");
    let mut reasons = BTreeMap::<&str, u64>::new();
    over.iter().for_each(|(_, why)| *reasons.entry(why).or_default() += 1);
    let told = shown["outcomes"].as_array().expect("outcomes").iter();
    assert_eq!(
        told.map(|row| (text(&row["reason"]), number(&row["count"]))).collect::<BTreeMap<_, _>>(),
        reasons
    );
    let mut durations: Vec<u64> = over.iter().map(|(micros, _)| micros / 1_000).collect();
    durations.sort_unstable();
    assert_durations(&shown["durations"], &durations);
}

fn micros(time: &Value) -> u64 {
    let time = chrono::DateTime::parse_from_rfc3339(text(time)).expect("a time");
    u64::try_from(time.timestamp_micros()).expect("after the epoch")
}

/// Of each message the last usage of the session that first brought it.
#[track_caller]
fn assert_tokens(shown: &Value, events: &[Value]) {
    let mut owners = HashMap::<&str, (&str, Option<&str>)>::new();
    let mut usages = HashMap::<&str, (u64, &Value)>::new();
    for event in events.iter().filter(|event| event["kind"] == "agent_message") {
        let (id, usage) = (text(&event["payload"]["message_id"]), &event["payload"]["usage"]);
        let from = (text(&event["session"]), event["agent"].as_str());
        let time = micros(&event["time"]);
        let is_later = usages.get(id).is_none_or(|(held, _)| *held <= time);
        if *owners.entry(id).or_insert(from) == from && usage.is_object() && is_later {
            usages.insert(id, (time, usage));
        }
    }
    assert_eq!(number(&shown["messages"]), owners.len() as u64);
    assert_eq!(number(&shown["messages_with_usage"]), usages.len() as u64);
    for (name, field) in [
        ("input", "input_tokens"),
        ("output", "output_tokens"),
        ("cache_read", "cache_read_tokens"),
        ("cache_creation", "cache_creation_tokens"),
    ] {
        let sum: u64 = usages.values().map(|(_, usage)| number(&usage[field])).sum();
        assert_eq!(number(&shown["tokens"][name]), sum, "{name}");
    }
}

#[track_caller]
fn assert_health(shown: &Value, events: &[Value]) {
    let count = |kind: &str| events.iter().filter(|event| event["kind"] == kind).count() as u64;
    for (what, well, badly) in [
        ("tool_calls", "tool_call_completed", "tool_call_failed"),
        ("turns", "turn_completed", "turn_failed"),
        ("commands", "cli_command_completed", "cli_command_failed"),
    ] {
        let rate = &shown["rates"][what];
        assert_eq!(
            (number(&rate["ended"]), number(&rate["failed"])),
            (count(well) + count(badly), count(badly)),
            "{what}"
        );
    }
    let own = shown["own"].as_array().expect("own kinds");
    assert!(own.iter().any(|row| row["kind"] == "server_started"), "{shown}");
    for row in own {
        assert_eq!(number(&row["count"]), count(text(&row["kind"])), "{row}");
    }
}

#[track_caller]
fn assert_all(total: &Value, events: &[Value]) {
    let (first, last) = (&events[0]["seq"], &events[events.len() - 1]["seq"]);
    assert_eq!(
        (&total["from_seq"], &total["to_seq"], number(&total["events"])),
        (first, last, events.len() as u64)
    );
    assert_commands(&total["commands"], events);
    assert_sessions(&total["sessions"], events);
    assert_health(&total["health"], events);
    assert_tokens(&total["tokens"]["total"], events);
}

#[test]
fn every_figure_is_that_of_a_recount_with_a_server_and_without() {
    let world = history();
    let events = world.events([]);
    let shown = world.ok(["stats", "--json"]).json();
    assert_all(&shown["total"], &events);
    let commands = &shown["total"]["commands"];
    let row = |name: &str| {
        commands.as_array().expect("rows").iter().find(|row| row["command"] == name).expect("a row").clone()
    };
    assert_eq!((number(&row("import")["failed"]), number(&row("import")["failure_rate_bp"])), (3, 10_000));
    assert_eq!(
        (number(&row("api-server")["failed_inferred"]), number(&row("api-server")["completed"])),
        (1, 1)
    );
    assert_eq!(
        shown["total"]["tokens"]["total"]["tokens"]["output"], 48,
        "partial usages and copies count nowhere"
    );
    let haiku = shown["total"]["tokens"]["models"]
        .as_array()
        .expect("models")
        .iter()
        .find(|row| row["model"] == "haiku")
        .expect("a row");
    assert_eq!(haiku["tokens"], Value::Null, "unknown is not 0");

    let server = world.server();
    // What the server says of its own start comes by and by.
    let (events, from_server) = wait_for("a moment in which nothing comes", || {
        let (events, shown) = (world.events([]), server.get("/stats").json());
        (number(&shown["total"]["to_seq"]) == number(&events[events.len() - 1]["seq"]))
            .then_some((events, shown))
    });
    assert_all(&from_server["total"], &events);
    assert_eq!(from_server, world.ok(["stats", "--json"]).json(), "one answer, whoever gives it");
    assert_eq!(server.get("/stats?by=day").json(), world.ok(["stats", "--by", "day", "--json"]).json());
    server.stop();
}

#[test]
fn a_range_is_exact_and_says_from_where_to_where() {
    let world = history();
    let events = world.events([]);
    // Servers and commands came at times of their own, hooks at one of a drain.
    let times: BTreeSet<&str> = events.iter().map(|event| text(&event["recorded"])).collect();
    assert!(times.len() >= 4, "{times:?}");
    let (second, last_but_one) =
        (*times.iter().nth(1).expect("one"), *times.iter().nth_back(1).expect("one"));
    for (since, until) in
        [(Some(second), None), (None, Some(last_but_one)), (Some(second), Some(last_but_one))]
    {
        let mut args = vec!["stats", "--json"];
        since.iter().for_each(|since| args.extend(["--since", since]));
        until.iter().for_each(|until| args.extend(["--until", until]));
        let within: Vec<Value> = events
            .iter()
            .filter(|event| since.is_none_or(|since| since <= text(&event["recorded"])))
            .filter(|event| until.is_none_or(|until| text(&event["recorded"]) <= until))
            .cloned()
            .collect();
        assert!(!within.is_empty() && within.len() < events.len());
        let shown = world.ok(&args).json();
        let total = &shown["total"];
        assert_eq!(
            (number(&total["from_seq"]), number(&total["to_seq"])),
            (number(&within[0]["seq"]), number(&within[within.len() - 1]["seq"])),
            "{args:?}"
        );
        assert_eq!(number(&total["events"]), within.len() as u64);
        assert_commands(&total["commands"], &within);
    }
    let nothing = world.ok(["stats", "--json", "--until", "2020-01-01"]).json();
    assert_eq!((&nothing["total"]["events"], &nothing["total"]["from_seq"]), (&json!(0), &Value::Null));
    let nothing = world.ok(["stats", "--until", "2020-01-01"]);
    assert!(nothing.stdout.is_empty() && nothing.stderr.contains("nothing was recorded"), "{nothing}");
}

#[test]
fn parts_add_up_and_name_what_they_are_of() {
    let world = history();
    for (by, key) in [
        ("session", "three"),
        ("project", "project:app"),
        ("day", &text(&world.events([])[0]["time"])[..10]),
        ("hour", &text(&world.events([])[0]["time"])[..13]),
    ] {
        let shown = world.ok(["stats", "--by", by, "--json"]).json();
        let groups = shown["groups"].as_array().expect("groups");
        assert!(groups.iter().any(|group| group["key"] == key), "{by}: {key} in {shown}");
        let sum = |figure: fn(&Value) -> u64| groups.iter().map(figure).sum::<u64>();
        assert_eq!(sum(|group| number(&group["events"])), number(&shown["total"]["events"]), "{by}");
        let sessions = |part: &Value| number(&part["sessions"]["sessions"]);
        assert_eq!(groups.iter().map(sessions).sum::<u64>(), sessions(&shown["total"]), "{by}");
        let runs = |part: &Value| {
            part["commands"].as_array().expect("rows").iter().map(|row| number(&row["runs"])).sum::<u64>()
        };
        assert_eq!(groups.iter().map(runs).sum::<u64>(), runs(&shown["total"]), "{by}");
    }
    let one = world.ok(["stats", "tokens", "--by", "session", "--json"]).json();
    assert!(one["total"]["tokens"].is_object() && one["total"].get("commands").is_none(), "{one}");
}

#[test]
fn for_people_it_is_tables_without_anything_that_a_terminal_obeys() {
    let world = history();
    let hostile = "\u{1b}[2J\u{202e}evil\u{7}";
    hook(&world, "hostile", "SessionEnd", &json!({"reason": hostile}));
    let shown = world.ok(["stats"]);
    for (title, head) in [
        ("Commands", "COMMAND"),
        ("Sessions", "SESSIONS"),
        ("Failures", "WHAT"),
        ("Recorder", "EVENT"),
        ("Tokens", "MODEL"),
    ] {
        let table = shown
            .stdout
            .split_once(&format!("\n{title}\n"))
            .unwrap_or_else(|| panic!("no {title}: {shown}"))
            .1;
        assert!(table.trim_start().starts_with(head), "{table}");
    }
    assert!(shown.stdout.contains("100.00 %"), "the imports all failed: {shown}");
    assert!(shown.stdout.contains("evil"), "{shown}");
    let obeyed = |c: &char| (c.is_control() && *c != '\n') || *c == '\u{202e}';
    assert_eq!(shown.stdout.chars().find(obeyed), None, "{shown}");
    let colored = world.ok(["stats", "commands", "--color", "always"]).stdout;
    assert!(colored.contains("\u{1b}[31m"), "{colored}");
    assert!(!world.ok(["stats", "commands"]).stdout.contains("\nTokens\n"));
    let by = world.ok(["stats", "sessions", "--by", "session"]).stdout;
    assert!(by.contains("SESSION ") && by.contains("1 other"), "{by}");
}

#[test]
fn what_it_does_not_take_is_refused_by_name() {
    let world = World::new();
    assert_eq!(world.run(["stats"]).code, Some(3), "no data directory, and none is made");
    assert!(!world.data().exists());
    let server = world.server();
    for (args, word) in [
        (&["stats", "weather"][..], "tokens"),
        (&["stats", "--by", "week"], "day"),
        (&["stats", "--since", "noon"], "--since takes a time"),
    ] {
        let refused = world.run(args);
        assert_eq!(refused.code, Some(2), "{args:?}: {refused}");
        assert!(refused.stderr.contains(word), "{refused}");
    }
    for (query, code, field) in [
        ("by=week", "invalid_parameter", "by"),
        ("since=noon", "invalid_parameter", "since"),
        ("until=2", "invalid_parameter", "until"),
        ("from=1", "unknown_parameter", "from"),
        ("by=day&by=hour", "invalid_parameter", "by"),
        ("journal=other", "other_journal", "journal"),
    ] {
        let refused = server.get(&format!("/stats?{query}"));
        assert_eq!(
            (refused.error_code().as_str(), &refused.json()["error"]["field"]),
            (code, &json!(field)),
            "{query}"
        );
    }
    assert_eq!(server.bare_request("GET", "/stats", &[], b"").status, 401);
    server.stop();
}

#[test]
fn a_copied_directory_gives_the_same_figures_and_damage_is_told() {
    let world = history();
    let whole = world.ok(["stats", "--json"]).json();
    std::fs::remove_dir_all(world.data().join("snapshots")).expect("derived");
    assert_eq!(world.ok(["stats", "--json"]).json(), whole);
    let segments = world.names_in("journal");
    let segment = segments.iter().find(|name| name.strip_suffix(".seg").is_some()).expect("a segment");
    let path = world.data().join("journal").join(segment);
    let mut bytes = std::fs::read(&path).expect("the segment");
    let at = bytes.windows(9).position(|window| window == b"session_e").expect("an event");
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).expect("damage");
    let damaged = world.run(["stats", "--json"]);
    assert_eq!(damaged.code, Some(4), "{damaged}");
    let shown = damaged.json();
    let gap = &shown["gaps"][0];
    assert_eq!(gap["reason"], "corruption", "{shown}");
    let lost = number(&gap["to_seq"]) - number(&gap["from_seq"]) + 1;
    assert_eq!(number(&shown["total"]["events"]) + lost, number(&whole["total"]["events"]));
}

#[test]
fn real_transcripts_give_the_tokens_and_sessions_of_a_recount() {
    let Some(files) = transcripts() else { return };
    let world = World::new();
    let paths = files.iter().map(|path| path.to_str().expect("UTF-8").to_owned());
    world.ok(["import".to_owned()].into_iter().chain(paths));
    let events = world.events([]);
    let shown = world.ok(["stats", "--json"]).json();
    assert_tokens(&shown["total"]["tokens"]["total"], &events);
    assert_sessions(&shown["total"]["sessions"], &events);
    assert_commands(&shown["total"]["commands"], &events);
    assert!(number(&shown["total"]["tokens"]["total"]["tokens"]["output"]) > 1_000, "{shown}");
    // What was said last month belongs to last month, though it was recorded now.
    let days = world.ok(["stats", "--by", "day", "--json"]).json();
    let happened: BTreeSet<&str> = events.iter().map(|event| &text(&event["time"])[..10]).collect();
    let keys: BTreeSet<&str> =
        days["groups"].as_array().expect("groups").iter().map(|group| text(&group["key"])).collect();
    assert_eq!(keys, happened);
    // The list of sessions counts the same tokens.
    let list = world.ok(["sessions", "--json", "--limit", "1000"]).json();
    let sum: u64 = list["sessions"]
        .as_array()
        .expect("sessions")
        .iter()
        .filter_map(|session| session["tokens"]["output"].as_u64())
        .sum();
    assert_eq!(number(&shown["total"]["tokens"]["total"]["tokens"]["output"]), sum);
}

#[test]
fn the_body_that_the_documentation_shows_has_the_fields_of_the_answer() {
    let world = history();
    let server = world.server();
    let page = include_str!("../../docs/http.md");
    let section = page.split_once("### GET /stats\n").expect("a section").1;
    let example =
        section.split_once("```console\n").expect("an example").1.split_once("```").expect("its end").0;
    let body = example.split_once('\n').expect("a command and its answer").1;
    let (mut told, mut real) = (BTreeSet::new(), BTreeSet::new());
    shape(&serde_json::from_str(body).expect("JSON"), "", &mut told);
    shape(&server.get("/stats?by=session").json(), "", &mut real);
    assert_eq!(told, real);
    server.stop();
}

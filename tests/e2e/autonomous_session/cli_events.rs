//! Every command is run for real, and what it leaves is seen arriving on the event stream, in order.
//!
//! After each run a hook leaves a mark. It goes the way of the run's own events, the inbox, whose order is kept: what has not
//! arrived when the mark does never will, so that "nothing came" is a fact and not a wait.

use crate::commands::{ROWS, Row, Way, recorded};
use crate::life::prompt;
use crate::support::{Running, Server, Sse, World, kinds};
use serde_json::Value;

/// The session of the marks.
const MARKS: &str = "marks";

/// What the program says of itself comes when it comes: what the store does is no command's event.
fn is_of_a_run(event: &Value) -> bool {
    event["category"] != "store" && event["kind"] != "database_operation"
}

/// Everything that arrives up to the mark.
#[track_caller]
fn up_to_the_mark(world: &World, stream: &Sse, mark: &str) -> Vec<Value> {
    world.hook(&prompt(MARKS, mark));
    let mut seen = Vec::new();
    loop {
        let event = stream.take_events(1)[0].json();
        if event["session"] == MARKS {
            assert_eq!(event["payload"]["prompt"], mark);
            return seen;
        }
        seen.push(event);
    }
}

/// What the run of a row must have left: its start, its own events, its end, in this order and as one chain.
#[track_caller]
fn is_its_record(row: &Row, lifecycle: bool, mut seen: Vec<Value>) {
    seen.retain(is_of_a_run);
    let mut expected: Vec<&str> = row.domain.to_vec();
    if lifecycle {
        expected.insert(0, "cli_command_started");
        expected.push("cli_command_completed");
    }
    assert_eq!(kinds(&seen), expected, "`{} {}`: {seen:#?}", row.path, row.args);
    let mut last = 0;
    for event in &seen {
        let seq = event["seq"].as_u64().expect("a seq");
        assert!(seq > last, "ids rise");
        last = seq;
    }
    if !lifecycle {
        return;
    }
    let start = &seen[0];
    assert_eq!(start["payload"]["command"], row.path.split(' ').next().expect("a name"));
    for event in &seen[1..] {
        let of_run = event["category"] == "cli" || !row.facts;
        assert_eq!(event["correlation"] == start["correlation"], of_run, "{}: {event}", row.path);
        if of_run {
            assert_eq!(event["causation"], start["id"], "{}: {event}", row.path);
        }
    }
}

#[test]
fn every_command_is_seen_on_the_stream_as_it_ran() {
    let world = recorded();
    let server = world.server();
    let stream = server.sse("/events/stream", &[]);
    up_to_the_mark(&world, &stream, "before all");
    for (n, row) in ROWS.iter().filter(|row| row.way == Way::Beside).enumerate() {
        let ran = row.run(&world, n, &[]);
        assert_eq!(ran.code, Some(0), "`{} {}`: {ran}", row.path, row.args);
        is_its_record(row, row.is_recorded(), up_to_the_mark(&world, &stream, &format!("after row {n}")));
        // One that only looks is on record when it is asked to be.
        if !row.is_recorded() && !row.is_hook() {
            let ran = row.run(&world, n + 1_000, &["--record"]);
            assert_eq!(ran.code, Some(0), "`{} {} --record`: {ran}", row.path, row.args);
            let seen = up_to_the_mark(&world, &stream, &format!("after the record of row {n}"));
            is_its_record(row, true, seen);
        }
    }
    server.stop();
}

/// Control: the mark does not hide what comes, and a run that fails is seen to.
#[test]
fn a_command_that_fails_is_seen_to_fail() {
    let world = recorded();
    let server = world.server();
    let stream = server.sse("/events/stream", &[]);
    up_to_the_mark(&world, &stream, "before");
    assert_eq!(world.run(["import", "/nowhere/at/all"]).code, Some(3));
    let mut seen = up_to_the_mark(&world, &stream, "after");
    seen.retain(is_of_a_run);
    assert_eq!(kinds(&seen), ["cli_command_started", "cli_command_failed"]);
    assert_eq!(seen[1]["payload"]["exit_code"], 3);
    assert_eq!(seen[1]["correlation"], seen[0]["correlation"]);
    server.stop();
}

/// Everything on record so far, off the stream of a server that is started for it. It holds what the runs before left.
fn from_the_first(world: &World) -> (Server, Vec<Value>) {
    let server = world.server();
    let stream = server.sse("/events/stream?from=1", &[]);
    let seen = up_to_the_mark(world, &stream, "the end");
    (server, seen)
}

/// The events of the run of this command alone.
fn of_run(seen: &[Value], command: &str, nth: usize) -> Vec<Value> {
    let starts = seen.iter().filter(|event| event["payload"]["command"] == command);
    let start = starts.filter(|event| event["kind"] == "cli_command_started").nth(nth).expect("its start");
    seen.iter().filter(|event| event["correlation"] == start["correlation"]).cloned().collect()
}

#[test]
fn the_command_that_makes_the_data_directory_is_on_the_first_servers_stream() {
    for row in ROWS.iter().filter(|row| row.way == Way::First) {
        let world = World::new();
        let ran = row.run(&world, 0, &[]);
        assert_eq!(ran.code, Some(0), "`{}`: {ran}", row.path);
        let (server, seen) = from_the_first(&world);
        is_its_record(row, row.is_recorded(), of_run(&seen, row.path, 0));
        server.stop();
    }
}

#[test]
fn a_servers_own_run_and_the_one_that_stops_it_are_on_the_next_servers_stream() {
    let row = ROWS.iter().find(|row| row.way == Way::Serves).expect("the server's row");
    let world = World::new();
    let first = world.server();
    let live = first.sse("/events/stream?from=1", &[]);
    let begun: Vec<_> = live.take_events(2).into_iter().filter_map(|frame| frame.event).collect();
    assert_eq!(begun, ["cli_command_started", "server_started"]);
    world.ok(["api-server", "--stop"]);
    assert_eq!(first.wait().code, Some(0));
    let (server, seen) = from_the_first(&world);
    let run = of_run(&seen, "api-server", 0);
    let end = run.last().expect("its end")["seq"].as_u64();
    let of_server =
        |event: &&Value| run.contains(event) || row.domain.iter().any(|kind| event["kind"] == *kind);
    let of_server = seen.iter().filter(|event| event["seq"].as_u64() <= end).filter(of_server);
    is_its_record(row, true, of_server.cloned().collect());
    let stopping = of_run(&seen, "api-server", 1);
    assert_eq!(kinds(&stopping), ["cli_command_started", "cli_command_completed"]);
    server.stop();
}

/// `demo` has a journal of its own, which is gone when it ends; with a directory that is kept, its run can be looked at.
#[test]
fn the_demonstration_is_on_record_where_it_keeps_its_data() {
    for row in ROWS.iter().filter(|row| row.way == Way::OnItsOwn) {
        let world = World::new();
        let kept = world.data().to_str().expect("UTF-8").to_owned();
        let line = row.line(&world, 0);
        let words = line.iter().map(String::as_str).chain(["--record", "--data-dir", &kept]);
        let ran = Running::start(&mut world.command(words)).wait_at_most(std::time::Duration::from_secs(90));
        assert_eq!(ran.code, Some(0), "{ran}");
        let (server, seen) = from_the_first(&world);
        is_its_record(row, true, of_run(&seen, row.path, 0));
        server.stop();
    }
}

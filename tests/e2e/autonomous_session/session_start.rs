//! Claude Code opens: the session is on record with all that the hook told, and a server that nobody started shows it.

use crate::life::{prompt, runs};
use crate::scripts::{Agent, home, start, stream};
use crate::support::wait_for;
use serde_json::json;

#[test]
fn the_script_records_the_session_and_a_server_that_nobody_started_shows_it() {
    let home = home();
    let agent = Agent::new();
    assert_eq!(home.processes(), [0; 0], "control: nothing runs before");
    agent.script(&home, "session-start.sh", &start("one"));

    let server = home.server();
    assert_eq!(server.get("/health").status, 200);
    let live = stream(&server, "from=1&session=one");
    let seen = live.take_events(1).remove(0);
    assert_eq!(seen.event.as_deref(), Some("session_started"));
    let event = seen.json();
    assert_eq!(event["session"], "one");
    let payload = &event["payload"];
    for (field, told) in [
        ("source", json!("resume")),
        ("cwd", json!("/code/parcels")),
        ("transcript_path", json!("/nowhere/t.jsonl")),
        ("model", json!("a-model")),
        ("agent_pid", json!(agent.pid())),
    ] {
        assert_eq!(payload[field], told, "{field} was lost: {event}");
    }
    // What the hooks of the session tell from now on comes over the same stream, from the same server.
    home.hook(&prompt("one", "go on"));
    assert_eq!(live.take_events(1)[0].json()["payload"]["prompt"], "go on");
    assert_eq!(home.processes(), [server.pid]);
}

#[test]
fn the_script_beside_the_agents_own_hook_is_one_start_and_one_server() {
    let home = home();
    let agent = Agent::new();
    let mut own = home.hook_command();
    own.env("CLAUDE_PID", agent.pid().to_string());
    crate::life::silent(&crate::life::fed(&mut own, &start("one")));
    agent.script(&home, "session-start.sh", &start("one"));
    let server = home.server();
    home.hook(&prompt("one", "the next"));
    let live = stream(&server, "from=1&session=one");
    let kinds: Vec<_> = live.take_events(2).into_iter().filter_map(|frame| frame.event).collect();
    assert_eq!(kinds, ["session_started", "prompt_submitted"]);
    wait_for("one server alone", || (home.processes() == [server.pid]).then_some(()));
    assert!(runs(server.pid));
}

#[test]
fn the_run_of_the_script_itself_is_on_record_with_the_fact_inside() {
    let home = home();
    let agent = Agent::new();
    agent.script(&home, "session-start.sh", &start("one"));
    let server = home.server();
    let live = stream(&server, "from=1");
    let mut events = Vec::new();
    while events.last().is_none_or(|event: &serde_json::Value| event["kind"] != "cli_command_completed") {
        events.push(live.take_events(1)[0].json());
    }
    let at = |kind: &str| {
        let found = events.iter().position(|event| event["kind"] == kind);
        found.unwrap_or_else(|| panic!("no {kind}: {events:#?}"))
    };
    let (begun, fact, done) = (at("cli_command_started"), at("session_started"), at("cli_command_completed"));
    assert!(begun < fact && fact < done, "{begun} {fact} {done}");
    assert_eq!(events[begun]["payload"]["command"], "internal");
    assert_eq!(events[done]["correlation"], events[begun]["correlation"]);
}

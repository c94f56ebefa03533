//! Claude Code closes: the end is on record and seen, the server leaves by itself, and nothing of ours is left.

use crate::life::nothing_is_left;
use crate::scripts::{Agent, end, home, start, stream};
use crate::support::kinds;

#[test]
fn after_the_last_session_the_server_leaves_and_nothing_is_left_behind() {
    let home = home();
    let (one, two) = (Agent::new(), Agent::new());
    one.script(&home, "session-start.sh", &start("one"));
    let server = home.server();
    two.script(&home, "session-start.sh", &start("two"));

    let live = stream(&server, "from=1&session=one");
    assert_eq!(live.take_events(1)[0].event.as_deref(), Some("session_started"));
    one.script(&home, "session-end.sh", &end("one"));
    let seen = live.take_events(1).remove(0);
    assert_eq!(seen.event.as_deref(), Some("session_ended"));
    let payload = seen.json()["payload"].clone();
    assert_eq!((&payload["reason"], &payload["inferred"]), (&"prompt_input_exit".into(), &false.into()));
    // The other session still lives: its server answers. Then it ends too, and so does the last client.
    assert_eq!(server.get("/health").status, 200);
    two.script(&home, "session-end.sh", &end("two"));
    drop(live);
    server.wait_for_end();
    nothing_is_left(&home);

    for session in ["one", "two"] {
        let events = home.world.events(["--session", session, "--category", "session"]);
        assert_eq!(kinds(&events), ["session_started", "session_ended"], "{session}");
    }
    assert_eq!(home.world.events(["--kind", "server_stopped"]).len(), 1);
    assert_eq!(home.world.inbox_len(), 0, "reading has taken in what waited");
}

#[test]
fn an_end_that_is_told_while_no_server_runs_is_kept_for_the_next() {
    let home = home();
    let agent = Agent::new();
    agent.script(&home, "session-start.sh", &start("one"));
    let first = home.server();
    home.stop();
    first.wait_for_end();
    agent.script(&home, "session-end.sh", &end("one"));
    assert_eq!(home.processes(), [0; 0], "an end starts no server");
    // The next session's server has it on its stream, once.
    agent.script(&home, "session-start.sh", &start("two"));
    let live = stream(&home.server(), "from=1&session=one");
    let told: Vec<_> = live.take_events(2).into_iter().filter_map(|frame| frame.event).collect();
    assert_eq!(told, ["session_started", "session_ended"]);
    assert_eq!(home.world.events(["--session", "one", "--kind", "session_ended"]).len(), 1);
}

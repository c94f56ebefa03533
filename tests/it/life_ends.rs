//! Ends that nobody reports: agents killed outright, servers that nobody needs, and what is left of either.

use crate::life::{Agent, Home, Unasked, ended, fed, nothing_is_left, prompt, runs, silent, started, tool};
use crate::support::{Sse, kinds, skipped, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::process::{Command, Stdio};

fn ends(home: &Home, session: &str) -> Vec<Value> {
    home.world.events(["--session", session, "--kind", "session_ended"])
}

#[track_caller]
fn wait_for_ends(home: &Home, session: &str, count: usize) -> Vec<Value> {
    wait_for("the ends of a session", || Some(ends(home, session)).filter(|ends| ends.len() >= count))
}

/// The state of a session and whether it is presumed dead, as `sessions --json` says.
fn state(home: &Home, session: &str) -> (String, bool) {
    let list = home.world.ok(["sessions", "--json"]).json();
    let of = |one: &&Value| one["id"] == session;
    let found = list["sessions"].as_array().expect("a list").iter().find(of).expect("the session");
    let presumed = list["viewer"]["presumed_dead"].as_array().expect("a list").contains(&json!(session));
    (found["state"].as_str().expect("a state").to_owned(), presumed)
}

/// When the end was inferred says nothing of how long the agent was there.
#[track_caller]
fn is_shown_until_its_last_sign(home: &Home, session: &str) {
    let events = home.world.events(["--session", session, "--category", "agent,session"]);
    let signs: Vec<&Value> = events.iter().filter(|event| event["kind"] != "session_ended").collect();
    let shown = home.world.ok(["session", session, "--json"]).json()["session"].take();
    assert_eq!(shown["ended"]["inferred"], true, "{shown}");
    let last = signs.last().expect("a sign");
    assert_eq!(
        (&shown["last_seen"]["seq"], &shown["last_seen"]["time"]),
        (&last["seq"], &last["time"]),
        "{shown}"
    );
    let figures = home.world.ok(["stats", "sessions", "--by", "session", "--json"]).json();
    let groups = figures["groups"].as_array().expect("groups");
    let own = groups.iter().find(|group| group["key"] == session).expect("its figures");
    let lasted = &own["sessions"]["durations"];
    assert_eq!((&lasted["count"], &lasted["mean_ms"]), (&json!(1), &shown["span_ms"]), "{own}");
    // A call that was running then is neither completed nor lost, and is counted.
    let count = |name: &str| shown["counts"][name].as_u64().expect("a count");
    let ended =
        count("tools_completed") + count("tools_failed") + count("tools_denied") + count("tools_lost");
    let more = shown["open_calls"].as_u64().zip(shown["unfinished_calls"].as_u64()).expect("counts");
    assert_eq!((count("tool_calls"), more), (ended + more.0 + more.1, (0, 1)), "{shown}");
    assert!(home.world.ok(["session", session]).stdout.contains("1 unfinished"));
    let list = home.world.ok(["sessions"]).stdout;
    let row = list.lines().find(|line| line.starts_with(session)).expect("its row");
    assert!(row.contains("ended, inferred"), "{list}");
}

#[test]
fn a_session_whose_agent_was_killed_is_ended_once_and_again_when_it_was_resumed() {
    let home = Home::new();
    let agent = Agent::new();
    let pid = agent.pid();
    agent.hook(&home, &started("one"));
    agent.hook(&home, &prompt("one", "hello"));
    agent.hook(
        &home,
        &json!({"hook_event_name": "PreToolUse", "session_id": "one", "tool_name": "Bash", "tool_use_id": "t-open",
            "tool_input": {"command": "sleep 9"}, "cwd": "/code/parcels"}),
    );
    // Another session of the same process, which says goodbye.
    agent.hook(&home, &started("polite"));
    agent.hook(&home, &ended("polite"));
    home.server();
    let begun = wait_for("the start on record", || {
        home.world.events(["--session", "one", "--kind", "session_started"]).pop()
    });
    assert_eq!(begun["payload"]["agent_pid"], pid);
    assert!(begun["payload"]["agent_start_ticks"].as_u64().is_some_and(|ticks| ticks > 0), "{begun}");
    assert_eq!(ends(&home, "one"), [Value::Null; 0], "control: it lives");

    agent.kill();
    let end = wait_for_ends(&home, "one", 1).remove(0);
    assert_eq!(end["payload"], json!({"reason": "process_gone", "inferred": true}));
    assert_eq!((&end["project"], &end["instance"]), (&json!("project:parcels"), &json!("one")));
    assert_eq!(state(&home, "one"), ("ended".into(), false));
    is_shown_until_its_last_sign(&home, "one");

    // A hook that was still on its way opens it again; a new process takes it up, and ends in its turn.
    home.hook(&tool("one", "late"));
    wait_for("the session to be open again", || (state(&home, "one").0 != "ended").then_some(()));
    let second = Agent::new();
    second.hook(&home, &started("one"));
    second.hook(&home, &prompt("one", "go on"));
    second.kill();
    let both = wait_for_ends(&home, "one", 2);
    assert_eq!(both.len(), 2);
    assert!(both.iter().all(|end| end["payload"]["inferred"] == true));
    assert_eq!(ends(&home, "polite").len(), 1, "who has said goodbye is not ended again");
    assert_eq!(ends(&home, "polite")[0]["payload"]["inferred"], false);
}

#[test]
fn without_a_server_the_session_is_presumed_dead_and_the_next_server_ends_it_once() {
    let home = Home::new();
    let (agent, other) = (Agent::new(), Agent::new());
    let hook = |agent: &Agent, payload: &Value| {
        let mut command = home.world.command(["hook"]);
        silent(&fed(command.env("CLAUDE_PID", agent.pid().to_string()), payload));
    };
    hook(&agent, &started("gone"));
    hook(&other, &started("alive"));
    assert_eq!((state(&home, "gone").1, state(&home, "alive").1), (false, false));
    agent.kill();
    assert_eq!((state(&home, "gone").1, state(&home, "alive").1), (true, false));
    assert!(home.world.ok(["sessions"]).stdout.contains("presumed dead"));
    for _ in 0..2 {
        let server = home.world.server();
        wait_for_ends(&home, "gone", 1);
        server.stop();
    }
    assert_eq!(ends(&home, "gone").len(), 1);
    assert_eq!(ends(&home, "alive").len(), 0);
    assert_eq!(state(&home, "gone"), ("ended".into(), false));
}

/// That something does not happen can only be watched for a while.
#[track_caller]
fn stays(server: &Unasked, why: &str) {
    let watched = Command::new("sleep").arg("3").status().expect("three seconds");
    assert!(watched.success());
    assert!(runs(server.pid), "it has left: {why}");
}

#[test]
fn a_server_that_nobody_asked_for_leaves_after_the_last_session_and_the_last_client() {
    let home = Home::with_config("[server]\naddr = \"127.0.0.1:0\"\nlinger = 1\n");
    let agent = Agent::new();
    agent.hook(&home, &started("one"));
    let server = home.server();
    stays(&server, "the agent lives, silent as it is");
    let bearer = format!("Bearer {}", server.token);
    let client = Sse::open(&server.addr, "/events/stream", &[("Authorization", &bearer)]);
    agent.kill();
    wait_for_ends(&home, "one", 1);
    stays(&server, "a client is connected");
    drop(client);
    server.wait_for_end();
    nothing_is_left(&home);
    let all = home.world.events([]);
    assert_eq!(kinds(&all).iter().filter(|kind| **kind == "server_stopped").count(), 1);

    // The next prompt has a server again, and a session that says goodbye lets it go.
    home.hook(&prompt("two", "hello"));
    let again = home.server();
    home.hook(&ended("two"));
    again.wait_for_end();
    nothing_is_left(&home);
}

#[test]
fn a_server_that_was_started_by_hand_stays() {
    let home = Home::with_config("[server]\naddr = \"127.0.0.1:0\"\nlinger = 1\n");
    let ran = home.world.ok(["api-server", "--background", "--json"]);
    let background = home.server();
    assert_eq!(ran.json()["pid"], background.pid);
    stays(&background, "somebody asked for it");
    home.hook(&started("one"));
    home.hook(&ended("one"));
    stays(&background, "the end of a session stops nobody else's server");
    home.stop();
}

#[test]
fn each_way_to_stop_leaves_nothing() {
    for way in ["--stop", "SIGTERM", "SIGINT", "POST"] {
        let home = Home::new();
        home.hook(&started("one"));
        let server = home.server();
        let bearer = format!("Bearer {}", server.token);
        let stream = Sse::open(&server.addr, "/events/stream?from=1", &[("Authorization", &bearer)]);
        match way {
            "--stop" => home.stop(),
            "SIGTERM" => server.signal(Signal::TERM),
            "SIGINT" => server.signal(Signal::INT),
            _ => {
                let json = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
                let said =
                    crate::support::http_request(&server.addr, "POST", "/admin/shutdown", &json, b"{}");
                assert!(said.status < 300, "{}", said.text());
            }
        }
        server.wait_for_end();
        nothing_is_left(&home);
        // The stream has brought everything, and ended properly.
        let (frames, end) = stream.rest();
        assert_eq!(end, crate::support::End::Clean, "{way}");
        let last = frames.iter().rfind(|frame| frame.is_event()).expect("events");
        assert_eq!(last.event.as_deref(), Some("server_stopped"), "{way}");
    }
}

#[test]
fn no_event_is_lost_or_doubled_while_servers_stop_and_start() {
    const EMITTERS: usize = 4;
    const PROMPTS: usize = 20;
    let home = Home::new();
    // So that there is one to be stopped.
    home.hook(&started("before"));
    home.server();
    std::thread::scope(|scope| {
        let emitters: Vec<_> = (0..EMITTERS)
            .map(|emitter| {
                let home = &home;
                scope.spawn(move || {
                    for n in 0..PROMPTS {
                        home.hook(&prompt(&format!("emitter-{emitter}"), &format!("prompt {n}")));
                    }
                })
            })
            .collect();
        let mut stops = 0;
        while emitters.iter().any(|emitter| !emitter.is_finished()) {
            // None to be stopped yet is no failure: the next prompt starts one.
            stops += u32::from(home.world.run(["api-server", "--stop"]).code == Some(0));
        }
        assert!(stops > 0, "no server was ever stopped in the middle");
    });
    for emitter in 0..EMITTERS {
        let session = format!("emitter-{emitter}");
        let all = wait_for("every prompt on record", || {
            let all = home.world.events(["--session", &session, "--kind", "prompt_submitted"]);
            (all.len() >= PROMPTS).then_some(all)
        });
        let said: Vec<&str> = all.iter().filter_map(|event| event["payload"]["prompt"].as_str()).collect();
        let expected: Vec<String> = (0..PROMPTS).map(|n| format!("prompt {n}")).collect();
        assert_eq!(said, expected, "each once, in its order");
    }
}

/// Whether this program is here to be used; says so where it is not.
fn is_here(program: &str) -> bool {
    let tried = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_here = tried.is_ok_and(|status| status.success());
    if !is_here {
        skipped(&format!("no `{program}` on this machine"));
    }
    is_here
}

#[test]
fn a_terminal_is_as_it_was_and_the_server_has_none() {
    if !is_here("script") {
        return;
    }
    let home = Home::new();
    std::fs::write(home.world.home().join("payload"), started("one").to_string()).expect("written");
    let lines = "stty -a > before; \"$PROGRAM\" hook < payload; while ! test -f data/server.json; do :; done; \
                 stty -a > after; tty > tty";
    let mut command = Command::new("script");
    command.args(["-qec", lines, "/dev/null"]);
    let hook = home.hook_command();
    let env = hook.get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.env_clear().envs(env).env("PROGRAM", env!("CARGO_BIN_EXE_mnemosyne"));
    command.current_dir(home.world.home()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = crate::support::Running::start(&mut command).wait();
    assert_eq!(ran.code, Some(0), "{ran}");
    let read = |name: &str| std::fs::read_to_string(home.world.home().join(name)).expect("written");
    assert!(read("tty").starts_with("/dev/"), "control: it was a terminal");
    assert!(read("before").contains("speed"), "control: {}", read("before"));
    assert_eq!(read("before"), read("after"));

    let server = home.server();
    let stat = std::fs::read_to_string(server.proc("stat")).expect("its state");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    assert_eq!(fields[4], "0", "it has no controlling terminal");
    assert_eq!(server.get("/health").status, 200, "it has outlived the terminal");
}

/// What a hook asks of the system, call by call.
fn calls_of(home: &Home, payload: &Value, disabled: bool) -> Vec<String> {
    let trace = home.world.home().join("trace");
    let mut command = Command::new("strace");
    command.args(["-qq", "-o"]).arg(&trace).arg(env!("CARGO_BIN_EXE_mnemosyne")).arg("hook");
    let hook = home.hook_command();
    let env = hook.get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.env_clear().envs(env).env("CLAUDE_PID", std::process::id().to_string());
    if disabled {
        command.env("MNEMOSYNE_DISABLE_AUTO_START_API", "1");
    }
    command.current_dir(home.world.home()).stdout(Stdio::piped()).stderr(Stdio::piped());
    silent(&fed(&mut command, payload));
    let text = std::fs::read_to_string(trace).expect("a trace");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_hook_in_the_middle_of_a_turn_pays_nothing_for_the_server() {
    if !is_here("strace") {
        return;
    }
    let home = Home::new();
    // The first makes the directory.
    calls_of(&home, &tool("one", "t0"), true);
    let plain = calls_of(&home, &tool("one", "t1"), true);
    let usual = calls_of(&home, &tool("one", "t2"), false);
    assert_eq!(usual.len(), plain.len(), "{usual:#?}\n{plain:#?}");
    let looks = |calls: &[String]| {
        let about = ["/lock\"", "start.json", "server.json", "/stat\"", "connect(", "clone", "fork"];
        calls.iter().filter(|call| about.iter().any(|word| call.contains(word))).cloned().collect::<Vec<_>>()
    };
    assert_eq!(looks(&usual), [""; 0]);
    // Control: the one that starts a session looks.
    let starting = calls_of(&home, &started("one"), false);
    assert!(looks(&starting).len() > 3, "{starting:#?}");
}

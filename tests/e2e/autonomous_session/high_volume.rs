//! Much at once: a burst, many sessions, a reader that does not read, and a server that dies in the midst. The rule is the same
//! for all: every event once, and those of one process in its order.

use crate::life::{Home, Unasked, fed, prompt, runs, silent, started};
use crate::scripts::{Agent, end, home, start, stream};
use crate::support::{BOUND, Running, Server, Sse, World, wait_at_most, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// Sessions at once.
const SESSIONS: usize = 50;
/// Prompts of each of them.
const PROMPTS: usize = 6;
/// The session whose hooks go on until a server runs.
const WAKER: &str = "waker";

/// The prompts of each session, in the order of the journal.
fn prompts(events: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut of = BTreeMap::<String, Vec<String>>::new();
    for event in
        events.iter().filter(|event| event["kind"] == "prompt_submitted" && event["session"] != WAKER)
    {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        of.entry(text(&event["session"])).or_default().push(text(&event["payload"]["prompt"]));
    }
    of
}

#[track_caller]
fn each_once_and_in_order(events: &[Value], sessions: usize, each: usize) {
    let mut expected = BTreeMap::new();
    for one in 0..sessions {
        expected.insert(format!("s{one}"), (0..each).map(|n| format!("p{n}")).collect::<Vec<_>>());
    }
    assert_eq!(prompts(events), expected);
}

/// Hooks of many sessions at the same time; one session's come one after the other, as an agent's do.
fn play(home: &Home, sessions: std::ops::Range<usize>, prompts_of_each: impl Iterator<Item = usize>) {
    for n in prompts_of_each {
        let mut hooks: Vec<Running> =
            sessions.clone().map(|_| Running::start(&mut home.hook_command())).collect();
        for (hook, one) in hooks.iter_mut().zip(sessions.clone()) {
            hook.feed(prompt(&format!("s{one}"), &format!("p{n}")).to_string().as_bytes());
        }
        for hook in hooks {
            silent(&hook.wait());
        }
    }
}

/// Reads until so many prompts have come.
#[track_caller]
fn read_prompts(stream: &Sse, count: usize) -> Vec<Value> {
    stream.take_events(count).iter().map(crate::support::Frame::json).collect()
}

#[test]
fn fifty_sessions_by_the_scripts_are_seen_live_each_event_once_and_in_order() {
    let home = home();
    let agents: Vec<Agent> = (0..SESSIONS).map(|_| Agent::new()).collect();
    std::thread::scope(|scope| {
        for (n, agent) in agents.iter().enumerate() {
            let home = &home;
            scope.spawn(move || agent.script(home, "session-start.sh", &start(&format!("s{n}"))));
        }
    });
    let server = home.server();
    let live = stream(&server, "from=1&kind=prompt_submitted,session_started,session_ended");
    play(&home, 0..SESSIONS, 0..PROMPTS);
    std::thread::scope(|scope| {
        for (n, agent) in agents.iter().enumerate() {
            let home = &home;
            scope.spawn(move || agent.script(home, "session-end.sh", &end(&format!("s{n}"))));
        }
    });
    let seen = read_prompts(&live, SESSIONS * (PROMPTS + 2));
    each_once_and_in_order(&seen, SESSIONS, PROMPTS);
    for kind in ["session_started", "session_ended"] {
        let mut of: Vec<&str> = seen
            .iter()
            .filter(|event| event["kind"] == kind)
            .filter_map(|event| event["session"].as_str())
            .collect();
        of.sort_unstable();
        of.dedup();
        assert_eq!(of.len(), SESSIONS, "{kind}");
    }
    drop(live);
    // All have ended and nobody looks: the one server leaves.
    server.wait_for_end();
    assert_eq!(home.world.events(["--kind", "server_started"]).len(), 1);
}

#[test]
fn what_hooks_tell_while_the_server_is_killed_arrives_once_and_in_order() {
    const EACH: usize = 8;
    let home = home();
    let agent = Agent::new();
    silent(&fed(home.hook_command().env("CLAUDE_PID", agent.pid().to_string()), &started("s0")));
    for n in 0..EACH {
        if n % 4 == 2 {
            let server = awakened(&home);
            server.signal(Signal::KILL);
            server.wait_for_end();
        }
        play(&home, 0..5, n..=n);
    }
    let live = stream(&awakened(&home), "from=1&kind=prompt_submitted");
    let mut seen = Vec::new();
    while seen.len() < 5 * EACH {
        seen.extend(read_prompts(&live, 1).into_iter().filter(|event| event["session"] != WAKER));
    }
    each_once_and_in_order(&seen, 5, EACH);
    drop(live);
    each_once_and_in_order(&home.world.events([]), 5, EACH);
}

/// A server that runs. A killed one's runtime file is not believed, and a start that was killed makes the next wait a little;
/// it is the hooks that go on coming which start it.
#[track_caller]
fn awakened(home: &Home) -> Unasked {
    wait_at_most(2 * BOUND, "a server", || {
        home.hook(&prompt(WAKER, "is anybody there"));
        home.runtime()?;
        let server = home.server();
        (runs(server.pid) && TcpStream::connect(&server.addr).is_ok()).then_some(server)
    })
}

/// Emits one batch over HTTP.
#[track_caller]
fn emit(server: &Server, from: usize, count: usize, padding: &str) {
    let one =
        |n| json!({"kind": "custom", "payload": {"name": "burst", "data": {"n": n, "padding": padding}}});
    let batch: Vec<Value> = (from..from + count).map(one).collect();
    let answer = server.post("/events/emit", &Value::from(batch).to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn numbers(stream: &Sse, count: usize) -> Vec<u64> {
    let frames = stream.take_events(count);
    frames.iter().map(|frame| frame.json()["payload"]["data"]["n"].as_u64().expect("a number")).collect()
}

/// What fills up is the socket of the one that does not read: emits go on, who reads sees all, and when the slow one reads at
/// last it has missed nothing.
#[test]
fn a_subscriber_whose_buffers_overflow_misses_nothing_and_holds_up_nobody() {
    const BATCHES: usize = 40;
    const BATCH: usize = 25;
    let world = World::new();
    let server = world.server();
    let target = "/events/stream?from=1&kind=custom";
    let quick = server.sse(target, &[]);
    // 10 MB: more than sockets and buffers of two processes hold.
    let padding = "x".repeat(10_000);
    emit(&server, 0, 1, &padding);
    let bearer = format!("Authorization: Bearer {}", server.token);
    let mut curl = Command::new("curl");
    curl.args(["-sN", "-H", &bearer, &format!("http://{}{target}", server.addr)]);
    let slow = Running::start(curl.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    slow.wait_for_stdout("event: custom");
    slow.signal(Signal::STOP);
    for n in 0..BATCHES {
        emit(&server, 1 + n * BATCH, BATCH, &padding);
    }
    let all: Vec<u64> = (0..=(BATCHES * BATCH) as u64).collect();
    assert_eq!(numbers(&quick, all.len()), all);

    slow.signal(Signal::CONT);
    let text = wait_for("the slow reader to catch up", || {
        let text = slow.stdout();
        (text.matches("event: custom").count() >= all.len() && text.ends_with("\n\n")).then_some(text)
    });
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = events.map(|line| serde_json::from_str::<Value>(line).expect("an event"));
    let seen: Vec<u64> = events.filter_map(|event| event["payload"]["data"]["n"].as_u64()).collect();
    assert_eq!(seen, all, "each once and in order");
    slow.kill();
    server.stop();
}

/// One process's burst through the inbox: what it told first comes first.
#[test]
fn a_burst_of_commands_and_hooks_keeps_its_order() {
    let world = World::new();
    let server = world.server();
    let stream = server.sse("/events/stream?session=s0", &[]);
    for n in 0..60 {
        world.hook(&prompt("s0", &format!("p{n}")));
    }
    let seen = read_prompts(&stream, 60);
    each_once_and_in_order(&seen, 1, 60);
    server.stop();
}

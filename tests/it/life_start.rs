//! A hook starts the server: at once, once, and without a trace of whoever it was started from.

use crate::life::{Home, ended, fed, prompt, runs, silent, started, tool};
use crate::support::{Running, Sse, kinds, rounds, wait_at_most, wait_for};
use serde_json::Value;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn the_first_hook_of_a_session_starts_a_server_that_has_the_event_on_its_stream() {
    let home = Home::new();
    home.hook(&started("one"));
    home.hook(&tool("one", "t1"));
    let server = home.server();
    assert_eq!(server.get("/health").status, 200);
    // What came before it was up is on the stream, in its order.
    let bearer = format!("Bearer {}", server.token);
    let stream = Sse::open(&server.addr, "/events/stream?from=1&session=one", &[("Authorization", &bearer)]);
    assert_eq!(stream.take_events(1)[0].event.as_deref(), Some("session_started"));
    assert_eq!(stream.take_events(1)[0].event.as_deref(), Some("tool_call_started"));
    // And what comes now: no second server is started for it.
    home.hook(&prompt("one", "go on"));
    assert_eq!(stream.take_events(1)[0].event.as_deref(), Some("prompt_submitted"));
    assert_eq!(home.processes(), [server.pid]);
}

#[test]
fn hooks_in_the_middle_of_a_turn_and_those_told_not_to_start_nothing() {
    let home = Home::new();
    for payload in [tool("one", "t1"), ended("one")] {
        home.hook(&payload);
    }
    for word in ["1", "true", "YES", "on"] {
        let mut command = home.hook_command();
        command.env("MNEMOSYNE_DISABLE_AUTO_START_API", word);
        silent(&fed(&mut command, &started("one")));
    }
    assert_eq!(home.last_start(), None, "the file of the last start is written before anything is started");
    assert_eq!(home.processes(), [0; 0]);
    // Control: off, and a word that is neither, let it start.
    for word in ["0", "maybe"] {
        let mut command = home.hook_command();
        command.env("MNEMOSYNE_DISABLE_AUTO_START_API", word);
        silent(&fed(&mut command, &started("one")));
        home.server();
        home.stop();
    }
}

/// The kit reads every stream of a process to its end and complains of one that stays open; so does an agent.
#[test]
fn whoever_reads_the_hooks_output_to_its_end_is_not_kept() {
    let home = Home::new();
    let mut command = std::process::Command::new("sh");
    // A descriptor beside the three, as a shell between agent and hook may pass on.
    command.args(["-c", "exec \"$0\" hook 3>&1 4>&2 5<&0", env!("CARGO_BIN_EXE_mnemosyne")]);
    let of_hook = home.hook_command();
    let env = of_hook.get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.env_clear().envs(env).env("A_SECRET", "of the agent").env("CLAUDE_PROJECT_DIR", "/code/parcels");
    command
        .current_dir(home.world.home())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    silent(&fed(&mut command, &started("one")));

    let server = home.server();
    // It leads a session of its own, in the root, with an environment of a few names.
    let stat = std::fs::read_to_string(server.proc("stat")).expect("its state");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    assert_eq!(fields[3], server.pid.to_string());
    assert_eq!(std::fs::read_link(server.proc("cwd")).expect("its directory").to_str(), Some("/"));
    let environ = std::fs::read(server.proc("environ")).expect("its environment");
    let names: Vec<&[u8]> = environ.split(|byte| *byte == 0).filter(|one| !one.is_empty()).collect();
    for one in names {
        let name = String::from_utf8_lossy(one);
        let kept = ["HOME=", "PATH=", "XDG_", "MNEMOSYNE_", "MALLOC_ARENA_MAX=1"];
        assert!(kept.iter().any(|kept| name.starts_with(kept)), "{name} came along");
    }
    // Nothing of the hook's is open: no pipe leads outside.
    let open: Vec<_> = std::fs::read_dir(server.proc("fd"))
        .expect("its descriptors")
        .filter_map(|item| std::fs::read_link(item.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("pipe:"))
        .collect();
    for pipe in &open {
        assert!(open.iter().filter(|other| *other == pipe).count() >= 2, "{pipe:?} leads outside");
    }
}

/// A session has its server within this, as promised; the bench `start` has the figure. All of the test took 0.6 s on two cores at load 10, so
/// that a machine has to be twenty times as busy before it is too little.
const SERVER_BOUND: Duration = Duration::from_secs(10);

#[test]
fn fifty_sessions_that_begin_at_once_get_one_server() {
    for _ in 0..rounds(1, 200) {
        fifty_begin_at_once();
    }
}

fn fifty_begin_at_once() {
    const SESSIONS: usize = 50;
    let home = Home::new();
    let mut hooks: Vec<Running> = (0..SESSIONS).map(|_| Running::start(&mut home.hook_command())).collect();
    for (n, hook) in hooks.iter_mut().enumerate() {
        hook.feed(started(&format!("session-{n}")).to_string().as_bytes());
    }
    for hook in hooks {
        silent(&hook.wait());
    }
    wait_at_most(SERVER_BOUND, "a server that can be found", || home.runtime());
    let server = home.server();
    assert_eq!(server.get("/health").status, 200);
    wait_for("the losers to end", || (home.processes() == [server.pid]).then_some(()));
    let events = wait_for("all sessions on record", || {
        let events = home.world.events(["--kind", "session_started"]);
        (events.len() == SESSIONS).then_some(events)
    });
    let mut sessions: Vec<&str> = events.iter().filter_map(|event| event["session"].as_str()).collect();
    sessions.sort_unstable();
    sessions.dedup();
    assert_eq!(sessions.len(), SESSIONS);
    assert_eq!(home.world.events(["--kind", "server_started"]).len(), 1);
    assert_eq!(home.world.events(["--kind", "cli_command_failed"]), [Value::Null; 0]);
    assert!(!home.log().contains("rror"), "{}", home.log());
}

#[test]
fn a_second_server_that_nobody_asked_for_ends_without_a_complaint() {
    let home = Home::new();
    home.hook(&started("one"));
    let server = home.server();
    let ran = home.world.run(["api-server", "--unasked"]);
    silent(&ran);
    assert!(runs(server.pid));
    // Control: one that somebody asked for says that it is not the first.
    assert_eq!(home.world.run(["api-server"]).code, Some(1));
}

#[test]
fn a_server_that_cannot_start_is_not_started_by_every_hook() {
    let home = Home::with_config("[server]\nnonsense = true\n");
    home.hook(&started("one"));
    wait_for("its end", || home.processes().is_empty().then_some(()));
    let mut first = home.last_start().expect("a start was tried");
    assert_eq!(first["attempts"], 1);
    // As if it were the seventh: a slow machine cannot outlast the rest that follows.
    first["attempts"] = 7.into();
    std::fs::write(home.world.data().join("start.json"), first.to_string()).expect("written");
    for n in 0..20 {
        home.hook(&prompt("one", &format!("prompt {n}")));
        assert_eq!(home.last_start().as_ref(), Some(&first), "hook {n} started it again");
    }
    let log = home.log();
    assert_eq!(log.matches("unknown setting `nonsense`").count(), 1, "one server complained, once: {log}");

    // Long after the first the next is tried.
    first["at"] = "2020-01-01T00:00:00Z".into();
    std::fs::write(home.world.data().join("start.json"), first.to_string()).expect("written");
    std::fs::write(home.world.data().join("config.toml"), "[server]\naddr = \"127.0.0.1:0\"\n")
        .expect("mended");
    home.hook(&prompt("one", "now it is mended"));
    let server = home.server();
    assert_eq!(server.get("/health").status, 200);
    wait_for("every prompt on record", || {
        let prompts = home.world.events(["--kind", "prompt_submitted"]);
        (prompts.len() == 21).then_some(())
    });
}

#[test]
fn a_server_that_was_killed_is_started_again_and_one_that_was_stopped_too() {
    let home = Home::new();
    home.hook(&started("one"));
    let first = home.server();
    home.stop();
    assert_eq!(home.last_start(), None, "an orderly stop forgets the start");
    home.hook(&prompt("one", "after the stop"));
    let second = home.server();
    assert_ne!(first.pid, second.pid);
    second.signal(rustix::process::Signal::KILL);
    second.wait_for_end();
    // However many failed before it, it came up: nothing rests.
    let mut last = home.last_start().expect("the start of the one that was killed");
    last["attempts"] = 7.into();
    std::fs::write(home.world.data().join("start.json"), last.to_string()).expect("written");
    home.hook(&prompt("one", "after the kill"));
    let third = wait_for("the third server", || {
        let server = home.server();
        (server.pid != second.pid && server.get("/health").status == 200).then_some(server)
    });
    assert_eq!(home.processes(), [third.pid]);
    assert_eq!(home.last_start().expect("its start")["attempts"], 1, "what did not fail does not count");
    let events = home.world.events(["--session", "one"]);
    assert_eq!(kinds(&events), ["session_started", "prompt_submitted", "prompt_submitted"]);

    // The control: without the proof that it came up it is a start that failed.
    third.signal(rustix::process::Signal::KILL);
    third.wait_for_end();
    std::fs::remove_file(home.world.data().join("server.json")).expect("removed");
    let mut last = home.last_start().expect("the start of the one that was killed");
    last["attempts"] = 7.into();
    std::fs::write(home.world.data().join("start.json"), last.to_string()).expect("written");
    home.hook(&prompt("one", "after the second kill"));
    assert_eq!(home.last_start().as_ref(), Some(&last), "the next start rests");
}

#[test]
fn a_port_that_a_stranger_listens_on_is_left_to_him_and_he_gets_nothing() {
    let stranger = TcpListener::bind("127.0.0.1:0").expect("a port");
    stranger.set_nonblocking(true).expect("it does not wait");
    let addr = stranger.local_addr().expect("its address").to_string();
    let home = Home::with_config(&format!("[server]\naddr = \"{addr}\"\n"));
    home.hook(&started("one"));
    let server = home.server();
    assert_ne!(server.addr, addr);
    assert_eq!(server.get("/health").status, 200);
    home.hook(&prompt("one", "hello"));
    home.world.ok(["sessions"]);
    home.stop();
    // With the server gone, its place in the files is no proof of who listens.
    home.world.ok(["sessions"]);
    let came = stranger.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(came, Err(std::io::ErrorKind::WouldBlock), "nobody has connected to the stranger");
}

#[test]
fn an_agent_that_feeds_its_hook_slowly_is_served_when_it_is_done() {
    let home = Home::new();
    let mut child = home.hook_command().spawn().expect("a hook");
    let mut stdin = child.stdin.take().expect("its stdin");
    let payload = started("slow").to_string();
    let (head, tail) = payload.split_at(payload.len() / 2);
    stdin.write_all(head.as_bytes()).expect("the first half");
    stdin.flush().expect("sent");
    assert_eq!(home.last_start(), None, "the event comes first, and there is none yet");
    stdin.write_all(tail.as_bytes()).expect("the second half");
    drop(stdin);
    assert!(child.wait().expect("its end").success());
    home.server();
}

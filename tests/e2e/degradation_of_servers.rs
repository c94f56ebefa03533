//! The commands that stay: `api-server` as it starts, `serve` while it is asked, `demo` with a directory that is to be kept. Each in the five
//! sorts of trouble of [`crate::degradation`], and killed or robbed of its server in the midst.
//!
//! The rule is that of the others: the documented exit code, at most one line on stderr, no panic, and everything that was on record is
//! there afterwards, once.

use crate::commands::{SESSION, recorded};
use crate::degradation::{
    FULL, READ_ONLY, Trouble, WITHOUT_CONNECTION, can_mount, command_behind, is_connected, on_record,
};
use crate::support::{Ran, Running, Server, World, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

const ALL: [Trouble; 5] =
    [Trouble::Down, Trouble::Starting, Trouble::Killed, Trouble::ReadOnly, Trouble::Full];
/// A demonstration takes some seconds by intent, and waits some more for events that do not come.
const DEMO_BOUND: Duration = Duration::from_secs(90);

/// A world in this trouble, and the server that makes it, if one does. `None` where the machine cannot make it.
fn in_trouble(trouble: Trouble) -> Option<(World, Option<Server>)> {
    if matches!(trouble, Trouble::ReadOnly | Trouble::Full) && !can_mount() {
        return None;
    }
    let world = recorded();
    let server = match trouble {
        Trouble::Down | Trouble::ReadOnly | Trouble::Full => None,
        Trouble::Starting | Trouble::Killed => Some(world.server()),
    };
    match (&server, trouble) {
        (Some(_), Trouble::Starting) => {
            std::fs::remove_file(world.data().join("server.json")).expect("its runtime file");
        }
        (Some(server), _) => server.signal(Signal::STOP),
        _ => {}
    }
    Some((world, server))
}

/// Starts a line in that world.
fn start(world: &World, trouble: Trouble, line: &[&str]) -> Running {
    let mut command = match trouble {
        Trouble::ReadOnly => command_behind(world, line, READ_ONLY),
        Trouble::Full => {
            std::fs::create_dir_all(world.home().join("disk")).expect("a directory");
            command_behind(world, line, FULL)
        }
        _ => world.command(line),
    };
    Running::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

#[track_caller]
fn is_one_line(ran: &Ran, trouble: Trouble) {
    assert!(ran.stderr.lines().count() <= 1, "{trouble:?}: {ran}");
    assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("internal error"), "{trouble:?}: {ran}");
}

/// What was on record is there once.
#[track_caller]
fn is_whole(world: &World, before: &[Value], trouble: Trouble) {
    let after = on_record(world);
    for event in before {
        let there = after.iter().filter(|one| one["id"] == event["id"]).count();
        assert_eq!(there, 1, "{trouble:?}: {event}");
    }
}

#[test]
fn serve_answers_from_the_files_whatever_is_wrong() {
    for trouble in ALL {
        let Some((world, server)) = in_trouble(trouble) else { continue };
        let mut running = start(&world, trouble, &["serve"]);
        let mut stdin = running.take_stdin();
        let info = json!({"name": "test", "version": "1"});
        let begin = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info});
        for line in [
            json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": begin}),
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "sessions", "arguments": {}}}),
        ] {
            stdin.write_all(format!("{line}\n").as_bytes()).expect("it reads");
        }
        if trouble == Trouble::Killed {
            let server = server.expect("it is halted");
            let began = Instant::now();
            while running.is_alive() && !is_connected(&server) && began.elapsed() < WITHOUT_CONNECTION {
                std::thread::yield_now();
            }
            server.kill();
        } else if let Some(server) = server {
            running.wait_for_stdout("\"id\":2");
            server.stop();
        }
        running.wait_for_stdout("\"id\":2");
        drop(stdin);
        let ran = running.wait();
        assert_eq!(ran.code, Some(0), "{trouble:?}: {ran}");
        is_one_line(&ran, trouble);
        let answers = ran.json_lines();
        let answer = answers.iter().find(|line| line["id"] == 2).expect("its answer");
        assert_eq!(answer["result"]["isError"], false, "{trouble:?}: {answer}");
        let sessions = &answer["result"]["structuredContent"]["sessions"];
        assert!(sessions[0]["id"] == SESSION, "{trouble:?}: {answer}");
        assert_eq!(
            on_record(&world).iter().filter(|event| event["session"] == SESSION).count(),
            5,
            "{trouble:?}"
        );
    }
}

#[test]
fn a_server_starts_where_it_can_and_is_refused_in_one_line_where_it_cannot() {
    for trouble in ALL {
        let Some((world, server)) = in_trouble(trouble) else { continue };
        let line = ["api-server", "--addr", "127.0.0.1:0"];
        match trouble {
            Trouble::Down => {
                let before = on_record(&world);
                let started = Server::start(&world.data(), &mut world.command(line));
                assert_eq!(started.get("/health").status, 200);
                started.stop();
                is_whole(&world, &before, trouble);
            }
            Trouble::Starting | Trouble::Killed => {
                let first = server.expect("one holds the journal");
                let ran = start(&world, trouble, &line).wait();
                assert_eq!(ran.code, Some(1), "{trouble:?}: {ran}");
                assert!(
                    ran.stderr.contains(&first.pid().to_string()),
                    "{trouble:?}: who is in the way: {ran}"
                );
                is_one_line(&ran, trouble);
                first.kill();
                let next = Server::start(&world.data(), &mut world.command(line));
                assert_eq!(next.get("/health").status, 200, "{trouble:?}");
                let before: Vec<Value> =
                    next.get("/events").json()["events"].as_array().expect("events").clone();
                assert_eq!(before.iter().filter(|event| event["session"] == SESSION).count(), 5);
                next.stop();
                let before: Vec<Value> =
                    before.into_iter().filter(|event| event["session"] == SESSION).collect();
                is_whole(&world, &before, trouble);
            }
            Trouble::ReadOnly => {
                let ran = start(&world, trouble, &line).wait();
                assert_eq!(ran.code, Some(1), "nothing to serve that it could not keep: {ran}");
                is_one_line(&ran, trouble);
            }
            Trouble::Full => {
                // The control: where no server has run before nothing keeps room for it.
                let ran = start(&world, trouble, &line).wait();
                assert_eq!(ran.code, Some(1), "{ran}");
                is_one_line(&ran, trouble);
                world.server().stop();
                let running = start(&world, trouble, &line);
                running.wait_for_stdout("http://");
                // Its disk is a mount of its own, which is seen through it.
                let data = format!("/proc/{}/root{}/disk/data", running.pid(), world.home().display());
                let runtime =
                    std::fs::read_to_string(format!("{data}/server.json")).expect("its runtime file");
                let runtime: Value = serde_json::from_str(&runtime).expect("JSON");
                let (addr, token) =
                    (runtime["addr"].as_str().expect("it"), runtime["token"].as_str().expect("it"));
                let bearer = format!("Bearer {token}");
                let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
                let read = crate::support::http_request(addr, "GET", "/events", &headers, b"").json();
                let events = read["events"].as_array().expect("events");
                assert_eq!(events.iter().filter(|event| event["session"] == SESSION).count(), 5, "{read}");
                let event = json!({"kind": "custom", "payload": {"name": "n", "data": "x"}}).to_string();
                let refused =
                    crate::support::http_request(addr, "POST", "/events/emit", &headers, event.as_bytes());
                assert_eq!((refused.status, refused.error_code().as_str()), (507, "storage_full"));
                running.signal(Signal::TERM);
                let ran = running.wait();
                assert_eq!(ran.code, Some(0), "{ran}");
                assert!(!ran.stderr.contains("panicked"), "{ran}");
            }
        }
    }
}

#[test]
fn a_server_that_is_killed_while_it_starts_is_followed_by_one_that_has_everything() {
    let world = recorded();
    let before = on_record(&world);
    for _ in 0..5 {
        let mut running = Running::start(&mut world.command(["api-server", "--addr", "127.0.0.1:0"]));
        let pid = running.pid().to_string();
        let holds =
            || std::fs::read_to_string(world.data().join("lock")).is_ok_and(|lock| lock.contains(&pid));
        wait_for("it to hold the journal", || (holds() || !running.is_alive()).then_some(()));
        running.kill();
    }
    let server = world.server();
    assert_eq!(server.get("/health").status, 200);
    server.stop();
    is_whole(&world, &before, Trouble::Killed);
}

#[test]
fn a_demonstration_that_is_to_be_kept_is_shown_or_refused_in_one_line() {
    for trouble in ALL {
        let Some((world, server)) = in_trouble(trouble) else { continue };
        let data = match trouble {
            Trouble::Full => world.home().join("disk/data"),
            _ => world.data(),
        };
        let line = ["demo", "--once", "--quiet", "--data-dir", data.to_str().expect("UTF-8")];
        let ran = start(&world, trouble, &line).wait_at_most(DEMO_BOUND);
        is_one_line(&ran, trouble);
        if let Some(server) = server {
            server.kill();
        }
        let shown = trouble == Trouble::Down;
        assert_eq!(ran.code, Some(i32::from(!shown)), "{trouble:?}: {ran}");
        assert_eq!(ran.stderr.is_empty(), shown, "{trouble:?}: {ran}");
        let events = on_record(&world);
        assert_eq!(events.iter().filter(|event| event["session"] == SESSION).count(), 5, "{trouble:?}");
        let sample = events
            .iter()
            .filter(|event| event["project"] == "project:parcels" && event["session"] != SESSION);
        assert_eq!(sample.count(), if shown { 24 } else { 0 }, "{trouble:?}");
    }
}

#[test]
fn a_demonstration_whose_server_is_killed_says_so_and_loses_nothing() {
    let world = recorded();
    let before = on_record(&world);
    let data = world.data();
    let running = start(
        &world,
        Trouble::Down,
        &["demo", "--once", "--quiet", "--data-dir", data.to_str().expect("UTF-8")],
    );
    running.wait_for_stdout("prompt_submitted");
    let runtime = std::fs::read_to_string(data.join("server.json")).expect("its runtime file");
    let runtime: Value = serde_json::from_str(&runtime).expect("JSON");
    let pid = i32::try_from(runtime["pid"].as_i64().expect("a pid")).expect("a pid");
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("it runs");
    let ran = running.wait_at_most(DEMO_BOUND);
    assert_eq!((ran.code, ran.stderr.lines().count()), (Some(1), 1), "{ran}");
    is_whole(&world, &before, Trouble::Killed);
    let kept = on_record(&world);
    assert!(
        kept.iter().any(|event| event["kind"] == "prompt_submitted" && event["session"] != SESSION),
        "{kept:?}"
    );
}

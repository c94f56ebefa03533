//! Beside a server that hangs: whoever looks is told within seconds, whoever writes gets rid of what it has.

use crate::http_batch::{batched, batcher, event};
use crate::support::{Running, World};
use serde_json::{Value, json};

#[test]
fn a_server_that_hangs_is_told_of_soon_and_keeps_nobody_from_writing() {
    let world = World::new();
    let prompt =
        json!({"session_id": "s", "hook_event_name": "UserPromptSubmit", "cwd": "/code", "prompt": "one"});
    world.hook(&prompt);
    let server = world.server();
    assert_eq!(world.ok(["status", "--json"]).json()["server"]["trouble"], Value::Null, "the control");
    server.signal(rustix::process::Signal::STOP);
    let told = |args: &[&str]| Running::start(&mut world.command(args)).wait();
    let status = told(&["status", "--json"]);
    let doctor = told(&["doctor", "--json"]);
    let gc = told(&["gc", "--dry-run"]);
    let note = told(&["annotate", "1", "looks odd", "--json"]);
    server.signal(rustix::process::Signal::CONT);
    assert_eq!(status.code, Some(0), "{status}");
    let trouble = status.json()["server"]["trouble"].to_string();
    assert!(trouble.contains("did not answer within 3 s"), "{status}");
    let checks = doctor.json()["checks"].as_array().expect("checks").clone();
    let check = checks.iter().find(|check| check["name"] == "server").expect("the check");
    assert!(check["status"] == "fail" && check["detail"].to_string().contains("within 3 s"), "{check}");
    assert!(gc.code == Some(1) && gc.stderr.contains("did not answer within 3 s"), "{gc}");
    assert!(gc.stderr.contains("nothing went"), "{gc}");
    assert!(note.stderr.contains("within 3 s"), "{note}");
    assert_eq!((note.code, &note.json()["way"]), (Some(0), &json!("inbox")), "{note}");
    assert_eq!(server.stop().code, Some(0));
    assert_eq!(world.events(["--kind", "annotated"]).len(), 1, "the note was taken in");
}

#[test]
fn what_is_meant_for_a_server_that_hangs_goes_where_it_goes_without_one() {
    let world = World::new();
    let server = world.server();
    let session = "9a1b2c3d-0000-4000-8000-000000000001";
    let line = json!({"type": "user", "sessionId": session, "uuid": "00000000-0000-4000-8000-000000000001",
        "timestamp": "2026-01-31T08:00:00.000Z", "cwd": "/code", "version": "2.0.0", "parentUuid": null,
        "isSidechain": false, "message": {"role": "user", "content": "imported"}});
    let transcript = world.home().join(format!("{session}.jsonl"));
    std::fs::write(&transcript, format!("{line}\n")).expect("a transcript");
    let batcher = batcher(&world);
    batcher.emit(event(0)).expect("taken");
    let before = batcher.flush().expect("kept");
    assert_eq!((before.committed, before.in_inbox), (1, 0), "the control: {before:?}");
    server.signal(rustix::process::Signal::STOP);
    for n in 1..=3 {
        batcher.emit(event(n)).expect("taken");
    }
    let sent = batcher.flush().expect("kept");
    let file = world.data().join("server.json");
    let file = file.to_str().expect("UTF-8");
    let url = format!("http://{}", server.addr);
    let asked = ["events", "--server", &url, "--token-file", file];
    let asked = Running::start(&mut world.command(asked)).wait();
    let transcript = transcript.to_str().expect("UTF-8");
    let imported = Running::start(&mut world.command(["import", "--json", transcript])).wait();
    server.signal(rustix::process::Signal::CONT);
    assert_eq!((sent.committed, sent.in_inbox), (1, 3), "{sent:?}");
    assert!(sent.why_inbox.is_some_and(|why| why.contains("did not answer within 3 s")));
    assert!(asked.code == Some(1) && asked.stderr.contains("did not answer within 3 s"), "{asked}");
    assert_eq!((imported.code, &imported.json()["way"]), (Some(0), &json!("inbox")), "{imported}");
    assert_eq!(server.stop().code, Some(0));
    let events = world.events([]);
    assert_eq!(batched(&events), [0, 1, 2, 3], "none is lost and none is there twice");
    let prompts = events.iter().filter(|event| event["payload"]["prompt"] == "imported").count();
    assert_eq!(prompts, 1, "nor is what was imported");
}

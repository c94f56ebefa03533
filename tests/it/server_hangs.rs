//! Beside a server that hangs: whoever looks is told within seconds, whoever writes gets rid of what it has.

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

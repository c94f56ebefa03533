//! `state` and `GET /state/{projection}`: the same answer from the command line, over HTTP, now and as of a seq.

use crate::cli_basics::prompt;
use crate::support::World;

fn world(prompts: usize) -> World {
    let world = World::new();
    for n in 0..prompts {
        world.hook(&prompt("s-1", &format!("prompt {n}")));
    }
    world.ok(["events"]);
    world
}

#[test]
fn the_state_of_every_projection_is_shown_as_of_any_seq() {
    let world = world(3);
    for projection in ["sessions", "health", "orchestrator", "commands", "agents", "notes"] {
        let now = world.ok(["state", projection, "--json"]).json();
        assert_eq!((now["version"].as_u64(), now["projection"].as_str()), (Some(1), Some(projection)));
        let last = now["seq"].as_u64().expect("a seq");
        assert_eq!(world.ok(["state", projection, "--json", "--at", &last.to_string()]).json(), now);
        let before = world.ok(["state", projection, "--json", "--at", "0"]).json();
        assert_eq!(before["seq"].as_u64(), Some(0));
        assert_eq!(world.ok(["state", projection, "--json", "--at", "2000-01-01"]).json(), before);
    }
    let earlier = world.ok(["state", "sessions", "--json", "--at", "1"]).json();
    assert_ne!(earlier["hash"], world.ok(["state", "sessions", "--json"]).json()["hash"]);
    assert!(world.ok(["state", "sessions"]).stdout.starts_with("sessions at seq "));
}

#[test]
fn what_does_not_exist_is_refused_with_the_next_step() {
    let world = world(1);
    let unknown = world.run(["state", "sesions"]);
    assert_eq!(unknown.code, Some(3));
    assert!(unknown.stderr.contains("did you mean `sessions`?"), "{}", unknown.stderr);
    let beyond = world.run(["state", "sessions", "--at", "999"]);
    assert_eq!(beyond.code, Some(2));
    assert!(beyond.stderr.contains("last seq"), "{}", beyond.stderr);
}

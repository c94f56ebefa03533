//! `config`: what is in force and where that is said, and that a change is on record and in force.

use crate::support::World;
use serde_json::{Value, json};

fn world() -> World {
    let world = World::new();
    world.ok(["init", "--user"]);
    world
}

fn setting(world: &World, key: &str) -> Value {
    let listed = world.ok(["config", "list", "--json"]).json_lines().remove(0);
    let all = listed["settings"].as_array().expect("a list").clone();
    all.into_iter().find(|setting| setting["key"] == key).expect("the key is listed")
}

#[test]
fn a_setting_goes_from_default_to_user_to_project_and_back() {
    let world = world();
    let told = |value: Value, source: &str| (value, json!(source));
    let look = || {
        let found = setting(&world, "server.linger");
        (found["value"].clone(), found["source"].clone())
    };
    assert_eq!(look(), told(json!(60), "default"));
    world.ok(["config", "set", "--user", "server.linger", "30"]);
    assert_eq!(look(), told(json!(30), "user"));
    world.ok(["config", "set", "server.linger", "5"]);
    assert_eq!(look(), told(json!(5), "project"));
    assert_eq!(world.ok(["config", "get", "server.linger"]).stdout, "5\n");
    assert_eq!(world.ok(["config", "get", "server.linger", "--user"]).stdout, "30\n");
    world.ok(["config", "unset", "server.linger"]);
    assert_eq!(look(), told(json!(30), "user"));

    let changes = world.events(["--kind", "config_changed"]);
    let changes: Vec<&Value> = changes.iter().map(|event| &event["payload"]).collect();
    assert_eq!(*changes[0], json!({"setting": "server.linger", "new_value": 30}));
    assert_eq!(*changes[2], json!({"setting": "server.linger", "old_value": 5}));
}

#[test]
fn what_no_command_would_read_is_refused_and_the_file_stays() {
    let world = world();
    world.ok(["config", "set", "retention.max_age", "30d"]);
    let path = world.data().join("config.toml");
    let before = std::fs::read(&path).expect("written");
    for (args, code, words) in [
        (&["config", "set", "retention.maxage", "3"][..], 2, "did you mean `retention.max_age`?"),
        (&["config", "set", "retention.max_age", "3"], 2, "retention.max_age"),
        (&["config", "set", "server.linger", "-1"], 2, "server.linger"),
        (&["config", "get", "disk.max_bytes"], 3, "disk.max_bytes"),
        (&["config", "list", "--user", "--project"], 2, "cannot be used with"),
    ] {
        let ran = world.run(args);
        assert_eq!(ran.code, Some(code), "{ran}");
        assert!(ran.stderr.contains(words), "{ran}");
        assert_eq!(std::fs::read(&path).expect("there"), before);
    }
    world.ok(["config", "unset", "disk.max_bytes"]);
    assert_eq!(std::fs::read(&path).expect("there"), before, "it was not set");
    assert_eq!(world.events(["--kind", "config_changed"]).len(), 1);
    assert_eq!(world.ok(["config", "path", "--project"]).stdout, format!("{}\n", path.display()));
}

//! Keys that the user has named: no process of ours writes or says them, whatever they look like; and they are typed or piped, never
//! given on the command line.

use crate::cli_basics::prompt;
use crate::replay_keys::Tmux;
use crate::support::{Ran, World};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Of no known shape, and under no telling name below.
const KEY: &str = "plain-words/and\\\"quotes\"-0417";

fn set(world: &World, name: &str, value: &str) -> Ran {
    world.run_with_stdin(["config", "set-key", name], format!("{value}\n").as_bytes())
}

/// The files below `directory` in which these bytes stand.
fn holding(directory: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(holding(&path, bytes));
        } else if std::fs::read(&path).is_ok_and(|held| held.windows(bytes.len()).any(|at| at == bytes)) {
            found.push(path);
        }
    }
    found
}

/// Every way in: a hook with it in a prompt and in a tool's output within JSON, an emit, an argument, a note; and an error that repeats it.
fn tell(world: &World) -> String {
    world.hook(&prompt("s", &format!("it is {KEY}, you know")));
    let nested = json!({"held": KEY}).to_string();
    world.hook(&json!({"session_id": "s", "hook_event_name": "PostToolUse", "cwd": "/code/app", "tool_name": "Bash",
        "tool_use_id": "t1", "tool_input": {"command": format!("say '{KEY}'")}, "tool_response": {"stdout": nested}}));
    let server = world.server();
    let event = json!({"kind": "custom", "payload": {"name": "n", "data": {"said": KEY}}});
    assert_eq!(server.post("/events/emit", &event.to_string()).status, 200);
    let said = world.run(["annotate", "1", &format!("why {KEY}")]).to_string();
    let said = said + &world.run(["session", KEY]).to_string() + &server.get("/events?limit=1000").text();
    assert_eq!(server.stop().code, Some(0));
    said + &world.ok(["events", "--json"]).stdout
}

/// What every file and output would hold of it, however it is quoted.
const PART: &str = "plain-words/and";

#[test]
fn a_named_key_is_in_no_file_and_no_output_on_any_way_in() {
    let world = World::new();
    world.hook(&prompt("s", "go"));
    let ran = set(&world, "mine", KEY);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stdout.contains("mine is kept") && !ran.to_string().contains(PART), "{ran}");
    let said = tell(&world);
    assert!(!said.contains(PART) && said.contains("***REDACTED***"), "{said}");
    assert_eq!(holding(&world.data(), PART.as_bytes()), Vec::<PathBuf>::new());
    let file = world.home().join(".config/mnemosyne/keys.toml");
    assert_eq!(holding(world.home(), PART.as_bytes()), std::slice::from_ref(&file));
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    let changed = world.events(["--kind", "config_changed"]);
    assert_eq!(changed[0]["payload"], json!({"setting": "keys.mine", "new_value": "a key"}));

    let shown = world.ok(["config", "show-key"]);
    assert!(shown.stdout.contains("mine") && shown.stdout.contains("0417"), "{shown}");
    let shown = world.ok(["config", "show-key", "mine", "--json"]).json();
    assert_eq!(shown["keys"], json!([{"name": "mine", "bytes": 29, "end": "0417"}]));

    // What makes the difference is the key: forgotten, it goes through.
    world.ok(["config", "delete-key", "mine"]);
    for command in ["show-key", "delete-key"] {
        assert_eq!(world.run(["config", command, "mine"]).code, Some(3));
    }
    assert!(tell(&world).contains(PART));
    assert_ne!(holding(&world.data(), PART.as_bytes()), Vec::<PathBuf>::new());
}

#[test]
fn a_key_on_the_command_line_is_refused_and_not_repeated() {
    let world = World::new();
    world.hook(&prompt("s", "go"));
    for line in [&["config", "set-key", "mine", KEY][..], &["config", "--json", "set-key", "mine", "--", KEY]]
    {
        let ran = world.run(line);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran}");
        assert!(ran.stderr.contains("was not taken") && !ran.stderr.contains(PART), "{ran}");
    }
    assert_eq!(holding(world.home(), PART.as_bytes()), Vec::<PathBuf>::new());
    for (value, words) in [
        ("short", "8 to 1024 bytes"),
        ("with a blank in it", "without blanks"),
        ("two\nlines-of-it", "without blanks"),
        (&"x".repeat(1025), "at most 1024 bytes"),
    ] {
        let ran = set(&world, "mine", value);
        assert_eq!(ran.code, Some(2), "{ran}");
        assert!(ran.stderr.contains(words) && !ran.stderr.contains(value), "{ran}");
    }
    assert_eq!(set(&world, "a name", KEY).code, Some(2));
    assert_eq!(world.run(["config", "show-key", "--project"]).code, Some(2));
}

#[test]
fn a_key_typed_at_the_prompt_is_not_shown_and_control_c_gives_the_terminal_back() {
    let world = World::new();
    let Some(tmux) = Tmux::start(&world) else { return };
    let program = env!("CARGO_BIN_EXE_mnemosyne");
    tmux.line(&format!("clear; {program} config set-key mine; echo code-$?"));
    tmux.wait_for("key (not shown):");
    tmux.line("typed-unseen-0417");
    let screen = tmux.wait_for("code-0");
    assert!(!screen.contains("typed-unseen"), "{screen}");
    tmux.line("clear; stty -a");
    tmux.wait_for(" echo ");
    tmux.line(&format!("clear; {program} config set-key other; echo code-$?"));
    tmux.wait_for("key (not shown):");
    tmux.keys(&["-l", "half-of"]);
    tmux.keys(&["C-c"]);
    let screen = tmux.wait_for("code-130");
    assert!(!screen.contains("half-of"), "{screen}");
    tmux.line("clear; stty -a");
    tmux.wait_for(" echo ");
    assert_eq!(world.ok(["config", "show-key", "--json"]).json()["keys"].as_array().map(Vec::len), Some(1));
}

/// Others may read the file: nothing goes on in silence.
#[test]
fn keys_that_cannot_be_read_are_told_of_and_recording_goes_on() {
    let world = World::new();
    assert_eq!(set(&world, "mine", KEY).code, Some(0));
    let file = world.home().join(".config/mnemosyne/keys.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("its mode");
    world.hook(&prompt("s", "go on"));
    let events = world.run(["events", "--kind", "prompt_submitted"]);
    assert!(events.stdout.contains("go on") && events.stderr.contains("chmod 600"), "{events}");
    let status = world.ok(["status", "--json"]).json();
    assert_eq!(
        (&status["inbox"]["failed"], &status["inbox"]["last_failure_reason"]),
        (&json!(1), &json!("unsafe_path"))
    );
    let doctor = world.run(["doctor"]);
    assert!(doctor.stdout.contains("the keys that you named are not taken out"), "{doctor}");
    assert_eq!(doctor.code, Some(1), "{doctor}");
}

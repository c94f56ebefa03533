//! `import` as a command: its arguments, its ways in, its output. What becomes of the lines is told elsewhere.

use crate::support::World;
use serde_json::{Value, json};
use std::path::PathBuf;

const SESSION: &str = "6d1f3c52-98a4-4a0e-8d3b-2f6f5b7c1e10";

fn line(n: u32, more: &Value) -> String {
    let mut line = json!({
        "uuid": format!("00000000-0000-4000-8000-{n:012}"), "parentUuid": null, "isSidechain": false,
        "cwd": "/code/app", "sessionId": SESSION, "version": "2.0.0",
        "timestamp": format!("2026-01-02T03:04:{n:02}.000Z"),
    });
    for (key, value) in more.as_object().expect("an object") {
        line[key] = value.clone();
    }
    line.to_string()
}

/// A transcript of two lines, below a directory as Claude Code lays it.
fn transcript(world: &World, configuration: &str) -> PathBuf {
    let directory = world.home().join(configuration).join("projects/-code-app");
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join(format!("{SESSION}.jsonl"));
    let lines = [
        line(1, &json!({"type": "user", "message": {"role": "user", "content": "find the needle"}})),
        line(
            2,
            &json!({"type": "assistant", "requestId": "r1", "message": {"id": "m1", "role": "assistant",
            "model": "a-model", "content": [{"type": "text", "text": "it is in the haystack"}],
            "usage": {"input_tokens": 3, "output_tokens": 5}}}),
        ),
    ];
    std::fs::write(&path, lines.join("\n") + "\n").expect("written");
    path
}

#[test]
fn with_no_path_it_reads_what_claude_code_keeps() {
    let world = World::new();
    transcript(&world, ".claude");
    let first = world.ok(["import", "--json"]).json();
    assert_eq!(
        (&first["version"], &first["files"], &first["way"]),
        (&1.into(), &1.into(), &"journal".into())
    );
    assert!(first["added"].as_u64().expect("a number") >= 2, "{first}");
    assert_eq!(first["broken"], 0);
    let before = world.events(["--session", SESSION]).len();
    let second = world.ok(["import", "--json"]).json();
    assert_eq!((&second["added"], &second["unchanged"]), (&0.into(), &1.into()));
    assert_eq!(world.events(["--session", SESSION]).len(), before);
}

#[test]
fn the_agents_directory_can_be_elsewhere() {
    let world = World::new();
    transcript(&world, "elsewhere");
    let mut command = world.command(["import", "--json"]);
    command.env("CLAUDE_CONFIG_DIR", world.home().join("elsewhere"));
    let ran = crate::support::Running::start(&mut command).wait();
    assert_eq!(ran.json()["files"], 1, "{ran}");
    let none = World::new().run(["import"]);
    assert_eq!(none.code, Some(3), "{none}");
    assert!(none.stderr.contains(".claude/projects"), "{none}");
}

#[test]
fn with_a_server_it_goes_through_the_server_and_streams_live() {
    let world = World::new();
    let path = transcript(&world, "t");
    let server = world.server();
    let stream = server.sse("/events/stream?kind=prompt_submitted,agent_message", &[]);
    let ran = world.ok(["import", "--json", path.to_str().expect("UTF-8")]).json();
    assert_eq!(ran["way"], "server");
    let kinds: Vec<_> = stream.take_events(2).into_iter().map(|frame| frame.event.expect("a kind")).collect();
    assert_eq!(kinds, ["prompt_submitted", "agent_message"]);
    server.stop();
}

#[test]
fn where_another_command_holds_the_journal_it_goes_into_the_inbox_and_says_so() {
    let world = World::new();
    let path = transcript(&world, "t");
    // A server that stands still holds the lock and answers nobody; without its runtime file it is not found either.
    let server = world.server();
    std::fs::remove_file(world.data().join("server.json")).expect("removed");
    let ran = world.ok(["import", "--json", path.to_str().expect("UTF-8")]);
    assert_eq!(ran.json()["way"], "inbox", "{ran}");
    assert!(ran.stderr.contains("the events go into the inbox"), "{ran}");
    server.stop();
    assert!(world.events(["--kind", "agent_message"]).len() == 1);
}

#[test]
fn a_line_that_cannot_be_read_is_named_the_rest_is_imported_and_it_is_a_failure() {
    let world = World::new();
    let path = transcript(&world, "t");
    let text = std::fs::read_to_string(&path).expect("the lines");
    std::fs::write(&path, format!("{{\"broken\n{text}")).expect("written");
    let path = path.to_str().expect("UTF-8");
    let ran = world.run(["import", "--json", path]);
    assert_eq!(ran.code, Some(1), "{ran}");
    let object = ran.json();
    assert_eq!((&object["broken"], &object["broken_lines"][0]["line"]), (&1.into(), &1.into()));
    assert!(ran.stderr.contains(":1 was not imported"), "{ran}");
    assert_eq!(world.events(["--kind", "prompt_submitted,agent_message"]).len(), 2);
}

#[test]
fn half_a_character_costs_a_line_nothing_but_itself() {
    let world = World::new();
    let path = transcript(&world, "t");
    let text = std::fs::read(&path).expect("the lines");
    let at = memchr::memmem::find(&text, b"haystack").expect("its place");
    for cut in [&br"hay\ud83d"[..], b"hay\xe9"] {
        let world = World::new();
        let mended = [b"\xef\xbb\xbf", &text[..at], cut, &text[at + b"haystack".len()..]].concat();
        std::fs::write(&path, mended).expect("written");
        let ran = world.ok(["import", "--json", path.to_str().expect("UTF-8")]);
        assert_eq!(ran.json()["broken"], 0, "{ran}");
        let events = world.events(["--kind", "prompt_submitted,agent_message"]);
        assert_eq!(events.len(), 2, "{events:?}");
        assert_eq!(events[1]["payload"]["text"], "it is in the hay\u{fffd}");
    }
}

#[test]
fn for_people_it_is_one_line_and_no_bar_where_there_is_no_terminal() {
    let world = World::new();
    let path = transcript(&world, "t");
    let ran = world.ok(["import", path.to_str().expect("UTF-8")]);
    assert!(ran.stdout.starts_with("1 transcript: ") && ran.stdout.ends_with(" known already\n"), "{ran}");
    assert_eq!(ran.stderr, "");
}

#[test]
fn what_is_no_regular_file_in_a_directory_is_passed_over_and_told() {
    let world = World::new();
    let real = transcript(&world, ".claude");
    let directory = real.parent().expect("a directory");
    let pipe = directory.join("pipe.jsonl");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    std::os::unix::fs::symlink(&real, directory.join("link.jsonl")).expect("a link");
    std::fs::write(directory.join("notes.txt"), "no transcript").expect("written");
    let ran = world.ok(["import", "--json"]);
    assert!(ran.stderr.contains("pipe.jsonl was passed over: it is a named pipe"), "{ran}");
    assert!(ran.stderr.contains("link.jsonl was passed over: it is a symbolic link"), "{ran}");
    assert!(!ran.stderr.contains("notes.txt"), "{ran}");
    let report = ran.json();
    assert_eq!(
        (&report["files"], report["passed_over"].as_array().map(Vec::len)),
        (&1.into(), Some(2)),
        "{ran}"
    );
}

#[test]
fn a_bar_is_drawn_on_a_terminal_while_it_takes_and_nowhere_else() {
    let world = World::new();
    let Some(tmux) = crate::replay_keys::Tmux::start(&world) else { return };
    let many = world.home().join("many");
    std::fs::create_dir(&many).expect("a directory");
    let mut lines = String::new();
    for n in 0..20_000 {
        let line = serde_json::json!({
            "uuid": format!("00000000-0000-4000-8000-{n:012}"), "parentUuid": null, "isSidechain": false,
            "cwd": "/code/app", "sessionId": "many", "version": "2.0.0", "timestamp": "2026-01-02T03:04:05.000Z",
            "type": "user", "message": {"role": "user", "content": format!("question {n}")},
        });
        lines.extend([line.to_string().as_str(), "\n"]);
    }
    std::fs::write(many.join("many.jsonl"), lines).expect("written");
    tmux.line(&format!("clear; {} import many; echo ended-$?", env!("CARGO_BIN_EXE_mnemosyne")));
    tmux.wait("the bar", |screen| screen.contains(" of ") && screen.contains(" left"));
    let end = tmux.wait_for("ended-0");
    assert!(!end.contains(" left"), "it is taken away: {end}");
    let other = world.home().join("other");
    let ran = world.ok(["import".as_ref(), many.as_os_str(), "--data-dir".as_ref(), other.as_os_str()]);
    assert!(!ran.stderr.contains(" left") && !ran.stderr.contains('\u{1b}'), "{ran}");
}

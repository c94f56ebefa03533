//! What events say to a terminal: every string of every event that a hook or an emit can bring holds what terminals obey,
//! reorder by or hide, and every command shows it. The rows are the commands of the program itself, so a new command
//! without a row fails. Controls: the payload is really on record, and really shown, with its characters named.

use crate::support::{Ran, Running, World};
use mnemosyne::cli::COMMANDS;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// A colour, a title, a link (OSC 8), C1 forms of the same, a bell, line ends, marks of direction, and what cannot be seen.
const HOSTILE: &str = "A\u{1b}[31mB\u{1b}]0;title\u{7}C\u{1b}]8;;http://evil.test\u{1b}\\D\u{9b}2J\u{9d}0;t\u{9c}\
    E\r\n\u{8}\u{b}\u{c}\u{7f}\u{85}F\u{202e}\u{2066}\u{200f}\u{61c}G\u{200b}\u{200d}\u{2060}\u{feff}\u{ad}H\u{2028}\u{2029}I\u{e0041}J";

/// What may be neither on stdout nor on stderr. Line ends are how output is made, so they are judged apart.
fn obeyed(text: &str) -> BTreeSet<char> {
    let hides = |c: &char| {
        matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
    };
    text.chars().filter(|c| (c.is_control() && *c != '\n') || hides(c)).collect()
}

/// Every string in this value becomes hostile, except those whose path names what must be a plain word to be let in.
fn poison(value: &mut Value, keep: &[&str]) {
    match value {
        Value::String(text) => *text = format!("{text}{HOSTILE}"),
        Value::Array(items) => items.iter_mut().for_each(|item| poison(item, keep)),
        Value::Object(object) => {
            object
                .iter_mut()
                .filter(|(key, _)| !keep.contains(&key.as_str()))
                .for_each(|(_, value)| poison(value, keep));
        }
        _ => {}
    }
}

/// A session with turns, calls, failures, subagents, files, all of whose words are hostile.
fn world() -> World {
    let world = World::new();
    let hook = |mut payload: Value| {
        payload["cwd"] = json!("/code/app");
        payload["transcript_path"] = json!("/nowhere/t.jsonl");
        payload["session_id"] = json!("hostile");
        poison(&mut payload, &["hook_event_name"]);
        world.hook(&payload);
    };
    hook(json!({"hook_event_name": "SessionStart", "source": "startup", "model": "m"}));
    hook(json!({"hook_event_name": "UserPromptSubmit", "prompt": "p", "permission_mode": "plan"}));
    for (n, tool) in
        ["Bash", "Edit", "Read", "Task", "mcp__a__b", "TodoWrite", "AskUserQuestion"].iter().enumerate()
    {
        let input = json!({"command": "c", "file_path": "/code/app/f", "old_string": "o", "new_string": "n", "description": "d",
            "prompt": "p", "subagent_type": "t", "todos": [{"content": "c", "status": "s", "activeForm": "a"}],
            "questions": [{"question": "q", "header": "h", "options": [{"label": "l", "description": "d"}]}]});
        let id = format!("call-{n}");
        hook(
            json!({"hook_event_name": "PreToolUse", "tool_name": tool, "tool_use_id": id, "tool_input": input}),
        );
        hook(
            json!({"hook_event_name": "PostToolUse", "tool_name": tool, "tool_use_id": id, "tool_input": input,
            "tool_response": {"stdout": "o", "stderr": "e", "filePath": "/code/app/f",
                "structuredPatch": [{"oldStart": 1, "oldLines": 1, "newStart": 1, "newLines": 1, "lines": ["-o", "+n"]}]}}),
        );
    }
    hook(
        json!({"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_use_id": "failing", "tool_input": {"command": "c"}}),
    );
    hook(json!({"hook_event_name": "PostToolUseFailure", "tool_name": "Bash", "tool_use_id": "failing",
        "tool_input": {"command": "c"}, "error": "e"}));
    hook(
        json!({"hook_event_name": "PermissionRequest", "tool_name": "Bash", "tool_input": {"command": "c"}}),
    );
    hook(json!({"hook_event_name": "Notification", "message": "m", "title": "t", "notification_type": "n"}));
    hook(json!({"hook_event_name": "SubagentStart", "agent_id": "a", "agent_type": "t"}));
    hook(
        json!({"hook_event_name": "SubagentStop", "agent_id": "a", "agent_type": "t", "last_assistant_message": "m"}),
    );
    hook(json!({"hook_event_name": "Stop", "last_assistant_message": "m"}));
    hook(json!({"hook_event_name": "Unheard", "anything": ["of", {"any": "shape"}]}));

    // What other programs emit: every kind, as far as its fields take words at all.
    let server = world.server();
    for name in [
        "custom",
        "annotated",
        "agent_blocked",
        "orchestration_started",
        "item_failed",
        "phase_started",
        "memory_recalled",
    ] {
        let mut payload = json!({"name": "n", "data": "d", "seq": 1, "text": "t", "reason": "r", "title": "t", "item": "i", "id": "i"});
        poison(&mut payload, &[]);
        let event = json!({"kind": name, "payload": payload, "session": format!("other{HOSTILE}"), "agent": format!("a{HOSTILE}"),
            "project": format!("p{HOSTILE}"), "instance": format!("i{HOSTILE}"), "source": {"program": format!("x{HOSTILE}"), "host": format!("h{HOSTILE}"), "pid": 1, "version": format!("v{HOSTILE}")}});
        // Some are refused for a field that is missing or an id that is no id; what the refusal says is shown to somebody, too.
        let answer = server.post("/events/emit", &event.to_string());
        assert!(obeyed(&answer.text()).is_empty(), "{name}: {}", answer.text().escape_debug());
        let plain = json!({"kind": name, "payload": payload});
        server.post("/events/emit", &plain.to_string());
    }
    server.stop();
    world
}

/// What is wrong with what it printed.
fn complaints(what: &str, ran: &Ran) -> Vec<String> {
    let mut wrong = Vec::new();
    for (stream, text) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        let found = obeyed(text);
        if !found.is_empty() {
            let line = text.lines().find(|line| !obeyed(line).is_empty()).unwrap_or_default();
            wrong.push(format!("{what}: {stream} holds {found:?}: {}", line.escape_debug()));
        }
    }
    if ran.stderr.contains("panicked") {
        wrong.push(format!("{what}: {ran}"));
    }
    wrong
}

/// The command lines of each command; session ids are the real ones.
fn rows(command: &str, session: &str) -> Option<Vec<Vec<String>>> {
    let of = |lines: &[&[&str]]| {
        Some(lines.iter().map(|line| line.iter().map(|&word| word.to_owned()).collect()).collect())
    };
    match command {
        "init" => of(&[&["init", "--dry-run"], &["init", HOSTILE]]),
        "demo" => of(&[&["demo", HOSTILE]]),
        "api-server" => of(&[&["api-server", "--addr", HOSTILE], &["api-server", "--stop"]]),
        "serve" => of(&[&["serve"], &["serve", HOSTILE]]),
        "tail" => of(&[
            &["tail", "-n", "500"],
            &["tail", "--session", HOSTILE],
            &["tail", "--json", "-n", "500"],
            &["tail", "--since", HOSTILE],
        ]),
        "events" => of(&[
            &["events"],
            &["events", "--json"],
            &["events", "--kind", HOSTILE],
            &["events", "-vv"],
            &["events", "--project", HOSTILE],
        ]),
        "sessions" => of(&[
            &["sessions"],
            &["sessions", "--json"],
            &["sessions", "--project", HOSTILE],
            &["sessions", "--state", HOSTILE],
        ]),
        "session" => of(&[
            &["session", session],
            &["session", session, "--turns"],
            &["session", session, "--calls"],
            &["session", session, "--files"],
            &["session", session, "--files", "--diff"],
            &["session", session, "--failures"],
            &["session", session, "--tree"],
            &["session", session, "--tokens"],
            &["session", session, "--json"],
            &["session", HOSTILE],
        ]),
        "replay" => of(&[
            &["replay", session, "--speed", "max"],
            &["replay", session, "--speed", "max", "--json"],
            &["replay", HOSTILE],
        ]),
        "state" => of(&[
            &["state", "sessions"],
            &["state", "health"],
            &["state", "orchestrator"],
            &["state", "commands"],
            &["state", "agents"],
            &["state", "sessions", "--json"],
            &["state", HOSTILE],
        ]),
        "stats" => of(&[
            &["stats"],
            &["stats", "--by", "session"],
            &["stats", "--by", "project"],
            &["stats", "--json"],
            &["stats", HOSTILE],
        ]),
        "import" => of(&[&["import", HOSTILE], &["import", "transcripts"]]),
        "status" => of(&[&["status"], &["status", "--json"], &["status", HOSTILE]]),
        "config" => of(&[
            &["config", "list"],
            &["config", "path"],
            &["config", "get", HOSTILE],
            &["config", "set", "server.addr", HOSTILE],
            &["config", "set-key", HOSTILE],
            &["config", "set-key", "name", HOSTILE],
            &["config", "show-key", HOSTILE],
            &["config", "delete-key", HOSTILE],
        ]),
        "gc" => of(&[&["gc", "--dry-run"], &["gc"], &["gc", HOSTILE]]),
        "backup" => of(&[&["backup", HOSTILE], &["backup", "copied"]]),
        "doctor" => of(&[&["doctor"], &["doctor", "-v", "--json"], &["doctor", HOSTILE]]),
        "completions" => of(&[&["completions", "bash"], &["completions", HOSTILE]]),
        "man" => of(&[&["man"], &["man", HOSTILE]]),
        "update" => of(&[&["update"], &["update", "--json"], &["update", HOSTILE]]),
        "diff" => of(&[
            &["diff", session, session],
            &["diff", session, session, "--json"],
            &["diff", session, HOSTILE],
        ]),
        "why" => of(&[&["why", "6"], &["why", "12"], &["why", "20", "--json"], &["why", HOSTILE]]),
        "bisect" => of(&[
            &["bisect", ".sessions | length > 0"],
            &["bisect", ".sessions | length > 0", "--json"],
            &["bisect", HOSTILE],
            &["bisect", "true", HOSTILE],
        ]),
        "annotate" => of(&[&["annotate", "3", HOSTILE], &["annotate", HOSTILE, "words"]]),
        "internal" => of(&[&["internal", HOSTILE], &["internal", "session-started", HOSTILE]]),
        _ => None,
    }
}

#[test]
fn nothing_that_a_terminal_obeys_comes_out_of_any_command() {
    let world = world();
    let listed = world.ok(["events", "--json"]);
    let events = listed.json_lines();
    let with = |event: &&Value| event.to_string().contains("evil.test");
    let on_record: BTreeSet<_> =
        events.iter().filter(with).map(|event| event["kind"].as_str().expect("a kind")).collect();
    assert!(on_record.len() >= 12, "the control: hostile words are on record, in {on_record:?}");
    let raw = |value: &Value| {
        value.as_str().is_some_and(|text| text.contains('\u{1b}') && text.contains('\u{202e}'))
    };
    assert!(events.iter().any(|event| raw(&event["session"])), "in ids as well: {:?}", events[2]["session"]);

    let transcripts = world.home().join("transcripts");
    std::fs::create_dir(&transcripts).expect("a directory");
    let line = json!({"uuid": HOSTILE, "sessionId": HOSTILE, "cwd": HOSTILE, "version": HOSTILE, "type": HOSTILE,
        "message": {"role": "user", "content": HOSTILE}});
    let name = "H\u{1b}[31m\u{202e}.jsonl";
    std::fs::write(transcripts.join(name), format!("{line}\n{{\"broken{HOSTILE}\n")).expect("written");

    let session = events.iter().find_map(|event| event["session"].as_str()).expect("a session").to_owned();
    let (mut named, mut wrong) = (0, Vec::new());
    for command in COMMANDS {
        let rows = rows(command.name, &session)
            .unwrap_or_else(|| panic!("`{}` has no row: what does it show of events?", command.name));
        for args in rows {
            for color in ["--color=never", "--color=always"] {
                let ran = Running::start(&mut world.command(args.iter().map(String::as_str).chain([color])))
                    .wait_at_most(Duration::from_secs(60));
                let ran = if color == "--color=always" { uncoloured(&ran) } else { ran };
                wrong.extend(complaints(
                    &format!("{} {color}", args[..args.len().min(2)].join(" ").escape_debug()),
                    &ran,
                ));
                named += usize::from(ran.stdout.contains("\\u{1b}") || ran.stdout.contains("\\u001b"));
            }
        }
    }
    let errors = Running::start(&mut world.command([HOSTILE])).wait();
    assert_eq!(errors.code, Some(2));
    wrong.extend(complaints("an unknown command", &errors));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(named >= 20, "the control: hostile words are shown, by their names: {named}");
}

/// Without our own colours, which are exactly these.
fn uncoloured(ran: &Ran) -> Ran {
    let strip = |text: &str| {
        ["0", "1", "2", "31", "32", "33", "4", "36"]
            .iter()
            .fold(text.to_owned(), |text, code| text.replace(&format!("\u{1b}[{code}m"), ""))
    };
    Ran { code: ran.code, stdout: strip(&ran.stdout), stderr: strip(&ran.stderr) }
}

/// The judge can fail.
#[test]
fn what_a_terminal_obeys_is_found() {
    assert!(obeyed(HOSTILE).len() > 20, "{:?}", obeyed(HOSTILE));
    assert!(obeyed("plain words, ünïcode, 日本語\n").is_empty());
}

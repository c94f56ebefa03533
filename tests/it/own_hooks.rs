//! The hook scripts of this repository and of its plugin, run by a shell as an agent runs them.

use crate::support::{Ran, Running, World, kinds};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SESSION: &str = "3c1a7d52-3b61-4a0e-8d3b-2f6f5b7c1e10";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn payload(hook: &str) -> Value {
    json!({
        "session_id": SESSION, "hook_event_name": hook, "cwd": "/code/app", "source": "resume", "reason": "logout",
        "transcript_path": "/nowhere/t.jsonl", "model": "m",
    })
}

/// A copy of this repository's scripts in the world's home, where nothing is built.
fn scripts(world: &World) -> PathBuf {
    let copy = world.home().join("repository/.claude/hooks");
    std::fs::create_dir_all(&copy).expect("made");
    for name in ["internal.sh", "session-start.sh", "session-end.sh"] {
        std::fs::copy(repository().join(".claude/hooks").join(name), copy.join(name)).expect("copied");
    }
    copy
}

/// Puts the program at this place of the copy.
fn build_at(world: &World, place: &str) {
    let place = world.home().join("repository").join(place);
    std::fs::create_dir_all(place.parent().expect("a directory")).expect("made");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_mnemosyne"), place).expect("linked");
}

/// Runs a script with a hook's environment and stdin; it must be silent and succeed.
fn run(world: &World, shell: &str, script: &Path, payload: &Value) -> Ran {
    let mut command = Command::new(shell);
    command
        .arg(script)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", world.home())
        .env("MNEMOSYNE_DATA_DIR", world.data())
        .env("MNEMOSYNE_DISABLE_AUTO_START_API", "true")
        .env("CLAUDE_PROJECT_DIR", world.home())
        .env("CLAUDE_PID", std::process::id().to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = Running::start(&mut command);
    running.feed(payload.to_string().as_bytes());
    let ran = running.wait();
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""), "{ran}");
    ran
}

#[test]
fn the_scripts_hand_on_the_payload_to_whichever_build_there_is() {
    for place in ["target/release/mnemosyne", "target/debug/mnemosyne", "target/x-y-z/debug/mnemosyne"] {
        let world = World::new();
        let scripts = scripts(&world);
        build_at(&world, place);
        run(&world, "sh", &scripts.join("session-start.sh"), &payload("SessionStart"));
        run(&world, "dash", &scripts.join("session-end.sh"), &payload("SessionEnd"));
        let events = world.events(["--kind", "session_*"]);
        assert_eq!(kinds(&events), ["session_started", "session_ended"], "{place}");
        let start = &events[0]["payload"];
        assert_eq!(
            (&start["source"], &start["cwd"], &start["transcript_path"], &start["model"]),
            (&json!("resume"), &json!("/code/app"), &json!("/nowhere/t.jsonl"), &json!("m"))
        );
    }
}

#[test]
fn where_nothing_is_built_or_it_fails_the_scripts_are_silent() {
    let world = World::new();
    let scripts = scripts(&world);
    run(&world, "sh", &scripts.join("session-start.sh"), &payload("SessionStart"));
    assert!(!world.data().exists());
    // A payload of another hook is a failure of `internal`: counted, and no trouble for the agent.
    build_at(&world, "target/debug/mnemosyne");
    run(&world, "sh", &scripts.join("session-start.sh"), &payload("Stop"));
    assert_eq!(std::fs::read(world.data().join("inbox/failed")).expect("the counter")[8], 1);
}

#[test]
fn this_repository_registers_its_scripts() {
    let settings = std::fs::read_to_string(repository().join(".claude/settings.json")).expect("settings");
    let settings: Value = serde_json::from_str(&settings).expect("JSON");
    for (hook, script) in [("SessionStart", "session-start.sh"), ("SessionEnd", "session-end.sh")] {
        let handler = &settings["hooks"][hook][0]["hooks"][0];
        assert_eq!(handler["command"], "sh");
        assert_eq!(handler["args"], json!([format!("${{CLAUDE_PROJECT_DIR}}/.claude/hooks/{script}")]));
    }
    let ignored = std::fs::read_to_string(repository().join(".gitignore")).expect(".gitignore");
    assert!(!ignored.contains("claude"), "{ignored}");
}

#[test]
fn the_plugins_script_records_and_is_silent_without_the_program() {
    let world = World::new();
    let script = repository().join(".claude-plugin/hooks/hook.sh");
    run(&world, "sh", &script, &payload("SessionStart"));
    assert!(!world.data().exists());
    let mut command = Command::new("dash");
    let programs = Path::new(env!("CARGO_BIN_EXE_mnemosyne")).parent().expect("its directory");
    command
        .arg(&script)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
        .env("HOME", world.home())
        .env("MNEMOSYNE_DATA_DIR", world.data())
        .env("MNEMOSYNE_DISABLE_AUTO_START_API", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = Running::start(&mut command);
    running.feed(payload("SessionEnd").to_string().as_bytes());
    assert_eq!(running.wait().code, Some(0));
    assert_eq!(kinds(&world.events([])), ["session_ended"]);
}

#[test]
fn every_script_is_plain_sh_and_uses_no_other_program() {
    let scripts = [
        ".claude/hooks/internal.sh",
        ".claude/hooks/session-start.sh",
        ".claude/hooks/session-end.sh",
        ".claude-plugin/hooks/hook.sh",
    ];
    for script in scripts {
        let path = repository().join(script);
        for checker in [&["sh", "-n"][..], &["dash", "-n"], &["shellcheck", "-s", "sh"]] {
            match Command::new(checker[0]).args(&checker[1..]).arg(&path).output() {
                Ok(checked) => {
                    assert!(
                        checked.status.success(),
                        "{checker:?} {script}: {}",
                        String::from_utf8_lossy(&checked.stdout)
                    );
                }
                // Not every machine has each of them.
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{checker:?}"),
            }
        }
        let text = std::fs::read_to_string(&path).expect("a script");
        assert!(text.starts_with("#!/bin/sh\n"), "{script}");
        for absent in ["curl", "jq", "sleep", "bash"] {
            assert!(!text.contains(absent), "{script} uses {absent}");
        }
    }
}

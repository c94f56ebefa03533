//! The command line itself: help, usage errors, the global flags, exit codes, and what is never created.

use crate::support::{Running, World};
use std::process::Stdio;

const COMMANDS: &[&str] = &[
    "init",
    "demo",
    "api-server",
    "serve",
    "tail",
    "events",
    "sessions",
    "session",
    "replay",
    "state",
    "diff",
    "why",
    "bisect",
    "annotate",
    "stats",
    "status",
    "doctor",
    "config",
    "gc",
    "backup",
    "update",
    "completions",
    "man",
    "import",
];

/// One hook payload of the sample shape.
pub(crate) fn prompt(session: &str, text: &str) -> serde_json::Value {
    serde_json::json!({
        "session_id": session, "transcript_path": "/nowhere/t.jsonl", "cwd": "/code/app",
        "hook_event_name": "UserPromptSubmit", "prompt": text,
    })
}

#[test]
fn the_help_lists_the_commands_that_exist_and_the_variables_that_are_read() {
    let world = World::new();
    let help = world.ok(["--help"]).stdout;
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is missing:\n{help}");
    }
    for absent in ["remember", "recall", "orchestrate"] {
        assert!(!help.contains(absent), "{absent} does not exist yet:\n{help}");
    }
    for read in ["MNEMOSYNE_DATA_DIR", "MNEMOSYNE_SERVER", "MNEMOSYNE_TOKEN_FILE", "NO_COLOR"] {
        assert!(help.contains(read), "{read}: {help}");
    }
    assert!(help.contains("130"), "exit codes:\n{help}");
}

#[test]
fn the_help_of_every_command_is_the_one_in_the_reference() {
    let world = World::new();
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md")).expect("docs/cli.md");
    for command in COMMANDS {
        let help = world.ok([command, "--help"]).stdout;
        assert!(page.contains(&help), "docs/cli.md does not hold what this prints:\n{help}");
    }
    assert!(page.contains(&world.ok(["--help"]).stdout));
}

#[test]
fn the_version_is_told() {
    assert_eq!(World::new().ok(["--version"]).stdout, format!("mnemosyne {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn no_command_at_all_is_a_usage_error_that_shows_the_help() {
    let ran = World::new().run::<&str>([]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran}");
    assert!(ran.stderr.contains("Usage: mnemosyne"), "{ran}");
}

#[test]
fn a_misspelt_command_or_option_is_answered_with_the_right_one() {
    let world = World::new();
    for (args, meant) in [(&["evnets"][..], "events"), (&["events", "--sesion", "x"], "--session")] {
        let ran = world.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran}");
        assert!(ran.stderr.contains(&format!("'{meant}'")), "{ran}");
    }
}

#[test]
fn a_reading_command_without_a_data_directory_ends_with_3_and_makes_nothing() {
    let world = World::new();
    let id = "0d8f6c1e-52a7-4b1c-9a53-7c1b0e6f4a20";
    for args in [
        &["events"][..],
        &["tail"],
        &["tail", "-f"],
        &["sessions"],
        &["session", id],
        &["replay", id],
        &["api-server", "--stop"],
        &["events", "--record"],
    ] {
        let ran = world.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""), "{args:?}: {ran}");
        assert!(ran.stderr.contains("--data-dir"), "it says what to do: {ran}");
        assert!(!world.data().exists(), "{args:?} made a data directory");
    }
    assert_eq!(std::fs::read_dir(world.home()).expect("the home").count(), 0, "nothing was left anywhere");
}

#[test]
fn the_global_flags_stand_before_or_after_the_command() {
    let world = World::new();
    let named = world.home().join("named");
    let named = named.to_str().expect("UTF-8");
    world.run_with_stdin(["--data-dir", named, "hook"], prompt("s", "hello").to_string().as_bytes());
    for args in [["--data-dir", named, "--json", "events"], ["events", "--json", "--data-dir", named]] {
        let events = world.ok(args).json_lines();
        assert_eq!(events[0]["kind"], "prompt_submitted");
    }
    assert!(!world.data().exists(), "the flag wins over the environment");
}

#[test]
fn the_data_directory_of_a_user_who_names_none_is_the_users_own() {
    let world = World::new();
    let mut hook = world.bare_command(["hook"]);
    let mut running = Running::start(hook.stdin(Stdio::piped()));
    running.feed(prompt("s", "hello").to_string().as_bytes());
    running.wait();
    let ran = Running::start(&mut world.bare_command(["events", "--json"])).wait();
    assert_eq!(ran.json_lines().len(), 1, "{ran}");
    assert!(world.home().join(".local/share/mnemosyne/journal").is_dir());
}

#[test]
fn an_error_is_a_sentence_or_with_json_an_object_on_stderr() {
    let world = World::new();
    let plain = world.run(["events"]);
    assert!(plain.stderr.starts_with("error: there is no data directory at "), "{plain}");
    let json = world.run(["events", "--json"]);
    let object: serde_json::Value = serde_json::from_str(&json.stderr).expect("one object");
    assert_eq!(object["error"]["code"], "no_data_dir");
}

#[test]
fn a_switch_that_is_neither_on_nor_off_is_a_usage_error() {
    let world = World::new();
    let mut command = world.command(["events"]);
    let ran = Running::start(command.env("MNEMOSYNE_DISABLE_EVENTS", "perhaps")).wait();
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains("MNEMOSYNE_DISABLE_EVENTS"), "{ran}");
}

#[test]
fn colours_come_when_they_are_asked_for_and_not_into_a_pipe() {
    let world = World::new();
    world.hook(&prompt("s", "hello"));
    let escape = '\u{1b}';
    assert!(!world.ok(["events"]).stdout.contains(escape));
    assert!(world.ok(["events", "--color", "always"]).stdout.contains(escape));
    assert!(world.ok(["--color=always", "events"]).stdout.contains(escape));
    assert!(!world.ok(["events", "--color", "never"]).stdout.contains(escape));
    let mut command = world.command(["events", "--color", "always"]);
    let ran = Running::start(command.env("NO_COLOR", "1")).wait();
    assert!(ran.stdout.contains(escape), "the flag wins over the variable");
    assert_eq!(world.run(["events", "--color", "sometimes"]).code, Some(2));
}

#[test]
fn verbose_says_where_and_quiet_says_nothing() {
    let world = World::new();
    world.hook(&prompt("s", "hello"));
    let data = world.data();
    let data = data.to_str().expect("UTF-8");
    assert!(world.ok(["events", "-v"]).stderr.contains(data));
    assert!(!world.ok(["events"]).stderr.contains(data));
    let server = world.server_with(["api-server", "--addr", "127.0.0.1:0", "--quiet"]);
    assert_eq!(server.stop().stderr, "");
}

#[test]
fn a_reader_that_has_seen_enough_is_a_quiet_success() {
    let world = World::new();
    // More than a pipe holds, so that the program is still writing when its reader goes away.
    for n in 0..40 {
        world.hook(&prompt("s", &format!("{n} {}", "long ".repeat(2_000))));
    }
    world.ok(["events", "--limit", "1"]);
    let mut child = world.command(["events", "--json"]).spawn().expect("started");
    let mut stdout = child.stdout.take().expect("a pipe");
    std::io::Read::read_exact(&mut stdout, &mut [0; 10]).expect("the beginning");
    drop(stdout);
    let output = child.wait_with_output().expect("its end");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn a_full_disk_under_the_output_is_a_failure() {
    let world = World::new();
    world.hook(&prompt("s", "hello"));
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let ran = Running::start(world.command(["events"]).stdout(full)).wait();
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("cannot write to the output"), "{ran}");
}

#[test]
fn a_wrong_command_line_is_with_json_one_object_as_every_error_is() {
    let world = World::new();
    for (args, words) in [
        (&["--json", "tail", "extra"][..], "unexpected argument 'extra'"),
        (&["--json", "why", "abc"], "a whole number is wanted"),
        (&["evnets", "--json"], "similar subcommands exist: 'serve', 'events'"),
        (&["--json"], "requires a subcommand"),
        (&["--json", "config"], "a command is missing"),
        (&["config", "--json"], "requires a subcommand"),
        (&["--json", "bisect"], "<EXPR>"),
        (&["--json", "api-server", "--addr", "here"], "ADDRESS:PORT"),
        (&["--json", "config", "set-key", "k", "sk-secret"], "it was not taken"),
        (&["--json", "events", "--sesion", "ghp_0123456789abcdefghijklmnopqrstuvwxyz"], "--session"),
    ] {
        let ran = world.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}: {ran}");
        assert_eq!(ran.stderr.lines().count(), 1, "{args:?}: {ran}");
        let object: serde_json::Value = serde_json::from_str(&ran.stderr).expect("one object");
        assert_eq!(object["error"]["code"], "usage", "{args:?}: {ran}");
        let message = object["error"]["message"].as_str().expect("words");
        assert!(message.contains(words) && !message.contains("Usage:"), "{args:?}: {ran}");
        assert!(!message.contains("ghp_0123") && !message.contains("sk-secret"), "{ran}");
    }
    // Control: without it, or behind `--`, it stays text.
    for args in [&["why", "abc"][..], &["why", "--", "--json"]] {
        let ran = world.run(args);
        assert!(
            ran.stderr.starts_with("error: ") && ran.stderr.contains("a whole number is wanted"),
            "{ran}"
        );
    }
}

/// The words of the parser, of the language that it is written in, and of URLs stay out of what people read.
#[test]
fn what_is_wrong_is_told_in_the_words_of_the_command_line() {
    let world = World::new();
    world.hook(&prompt("s", "hello"));
    for (args, words) in [
        (&["health"][..], "'state health'"),
        (&["commands"], "'state commands'"),
        (&["events", "--min-importance", "11"], "--min-importance: must be a whole number from 1 to 10"),
        (
            &["events", "--category", "agnet"],
            "--category: there is no category `agnet`; did you mean `agent`?",
        ),
        (&["events", "--search", "-x"], "--search says only what must not be there"),
        (&["sessions", "--limit", "0"], "0 is too small: a number from 1 is wanted"),
        (&["events", "--limit", "0"], "0 is too small: a number from 1 is wanted"),
        (&["state", "sessions", "--at", "-1"], "--at takes a seq like 412, or a time like"),
        (&["why", "1", "--depth", "0"], "0 is out of range: a number from 1 to 4294967295 is wanted"),
    ] {
        let ran = world.run(args);
        assert!(ran.code == Some(2) && ran.stderr.contains(words), "{args:?}: {ran}");
    }
    let range = world.ok(["replay", "s", "--speed", "max", "--from", "2000-01-01", "--until", "2000-01-02"]);
    assert!(range.stderr.contains("no event of the session lies in this range"), "{range}");
    assert!(world.ok(["config", "show-key"]).stderr.contains("no key is kept"));
}

#[test]
fn what_is_hidden_from_people_is_not_offered_to_them() {
    let world = World::new();
    for args in [&["--quiet"][..], &["--json"], &["intrnal"], &["api-server", "--unaskd"]] {
        let ran = world.run(args);
        assert_eq!(ran.code, Some(2), "{ran}");
        assert!(!ran.stderr.contains("internal") && !ran.stderr.contains("--unasked"), "{ran}");
    }
    // Control: what is shown is offered.
    assert!(world.run(["--quiet"]).stderr.contains("doctor"));
    assert!(world.run(["api-server", "--backgroud"]).stderr.contains("--background"));
}

#[test]
fn a_home_that_is_no_absolute_path_is_none() {
    let world = World::new();
    let mut command = world.bare_command(["init", "--dry-run"]);
    let ran = Running::start(command.env("HOME", "rel")).wait();
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("HOME is not set, or no absolute path"), "{ran}");
    assert_eq!(std::fs::read_dir(world.home()).expect("the home").count(), 0, "nothing was left anywhere");
}

#[test]
fn a_record_without_a_session_says_so() {
    let world = World::new();
    world.ok(["init", "--user"]);
    assert!(world.ok(["sessions"]).stderr.contains("no session is on record yet"));
    world.hook(&prompt("s", "hello"));
    let other = world.ok(["sessions", "--project", "nowhere"]);
    assert!(other.stderr.contains("no such session is on record"), "{other}");
}

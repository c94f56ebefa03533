//! `init`: what is written into somebody else's settings, and that it can be taken back to the byte.

use crate::replay_keys::Tmux;
use crate::support::{Ran, Running, World};
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A home with an installed program and a project.
pub(crate) struct Machine {
    pub(crate) world: World,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        let world = World::new();
        for directory in ["bin", "app/.git", "app/src"] {
            std::fs::create_dir_all(world.home().join(directory)).expect("made");
        }
        let program = world.home().join("bin/mnemosyne");
        let built = env!("CARGO_BIN_EXE_mnemosyne");
        if std::fs::hard_link(built, &program).is_err() {
            std::fs::copy(built, &program).expect("copied");
        }
        Machine { world }
    }

    pub(crate) fn app(&self) -> PathBuf {
        self.world.home().join("app")
    }

    fn settings(&self) -> PathBuf {
        self.app().join(".claude/settings.local.json")
    }

    fn servers(&self) -> PathBuf {
        self.app().join(".mcp.json")
    }

    fn write_settings(&self, bytes: &[u8]) {
        std::fs::create_dir_all(self.app().join(".claude")).expect("made");
        std::fs::write(self.settings(), bytes).expect("written");
    }

    fn program(&self) -> String {
        let program = self.world.home().join("bin/mnemosyne").canonicalize().expect("there");
        program.to_str().expect("UTF-8").to_owned()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.world.home().join("bin/mnemosyne"));
        command
            .args(args)
            .env_clear()
            .env("PATH", self.world.home().join("bin"))
            .env("HOME", self.world.home())
            .env("MNEMOSYNE_DISABLE_AUTO_START_API", "true")
            .current_dir(self.app().join("src"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Running::start(&mut self.command(args)).wait()
    }

    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{ran}");
        ran
    }

    /// Every file of the project but those of the data directory, with its bytes.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut open = vec![self.app()];
        while let Some(directory) = open.pop() {
            for item in std::fs::read_dir(directory).expect("listed") {
                let path = item.expect("an item").path();
                if path.ends_with(".mnemosyne") {
                    continue;
                }
                if path.is_dir() {
                    open.push(path.clone());
                }
                found.push((path.clone(), std::fs::read(&path).unwrap_or_default()));
            }
        }
        found.sort();
        found
    }
}

const INIT: &[&str] = &["init", "--claude", "--yes"];
const UNDO: &[&str] = &["init", "--undo", "--yes"];

#[test]
fn the_hooks_are_registered_and_what_they_record_is_found() {
    let machine = Machine::new();
    let ran = machine.ok(INIT);
    assert!(
        ran.stdout.contains("+  \"hooks\": {") && ran.stdout.contains("settings.local.json (changed)"),
        "{ran}"
    );
    let text = std::fs::read_to_string(machine.settings()).expect("written");
    let settings: Value = serde_json::from_str(&text).expect("strict JSON");
    let handler = &settings["hooks"]["Stop"][0]["hooks"][0];
    assert_eq!(
        *handler,
        json!({"type": "command", "command": machine.program(), "args": ["hook"], "timeout": 5})
    );
    assert_eq!(settings["enabledMcpjsonServers"], json!(["mnemosyne"]), "nobody is asked again");
    for never in ["WorktreeCreate", "MessageDisplay", "PreModelSwitch"] {
        assert!(settings["hooks"].get(never).is_none(), "{never}");
    }
    assert_eq!(std::fs::metadata(machine.settings()).expect("there").mode() & 0o777, 0o600);
    let servers = std::fs::read_to_string(machine.app().join(".mcp.json")).expect("written");
    let servers: Value = serde_json::from_str(&servers).expect("strict JSON");
    let ours = json!({"type": "stdio", "command": machine.program(), "args": ["serve"]});
    assert_eq!(servers, json!({"mcpServers": {"mnemosyne": ours}}));
    assert!(ran.stdout.contains(".mcp.json (changed)"), "{ran}");

    // As the agent would: this program, these arguments, from anywhere in the project.
    let args: Vec<&str> =
        handler["args"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let mut hook = machine.command(&args);
    hook.env("CLAUDE_PROJECT_DIR", machine.app()).current_dir("/").stdin(Stdio::piped());
    let mut running = Running::start(&mut hook);
    running.feed(json!({"session_id": "s", "hook_event_name": "Stop"}).to_string().as_bytes());
    assert_eq!(running.wait().code, Some(0));
    let events = machine.ok(&["events", "--json"]).json_lines();
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["kind"].as_str()).collect();
    for kind in ["cli_command_started", "database_initialized", "cli_command_completed", "turn_completed"] {
        assert_eq!(kinds.iter().filter(|found| **found == kind).count(), 1, "{kind} in {kinds:?}");
    }
    let made = events.iter().find(|event| event["kind"] == "database_initialized").expect("it");
    let place = machine.app().canonicalize().expect("there").join(".mnemosyne");
    assert_eq!((&made["payload"]["path"], &made["payload"]["format_version"]), (&json!(place), &json!(1)));
    assert!(machine.app().join(".mnemosyne/journal").is_dir());
}

#[test]
fn the_second_time_there_is_nothing_to_do_and_nothing_is_written() {
    let machine = Machine::new();
    machine.ok(INIT);
    let before = (machine.files(), std::fs::metadata(machine.settings()).expect("there").ino());
    let ran = machine.ok(&["init", "--claude"]);
    assert!(ran.stdout.contains("nothing to do"), "{ran}");
    assert_eq!((machine.files(), std::fs::metadata(machine.settings()).expect("there").ino()), before);
    let config =
        std::fs::read_to_string(machine.world.home().join(".config/mnemosyne/config.toml")).expect("config");
    assert_eq!(config.matches(".mnemosyne").count(), 1, "{config}");
}

/// What a settings file may look like.
const SHAPES: &[&str] = &[
    "",
    "{}",
    "{ }\n",
    "\n\n{\n}\n\n",
    "{\"a\":1}",
    "{\"hooks\":{}}",
    "{\"hooks\":{\"Stop\":[]}}\n",
    "{\n  \"permissions\": {\n    \"allow\": [\"Bash(ls:*)\"]\n  }\n}",
    "{\r\n    \"env\": {\r\n        \"A\": \"\\u00e9\\n\"\r\n    }\r\n}\r\n",
    "{\n\t\"model\": \"x\",\n\n\n\t\"hooks\": {\n\t\t\"PreToolUse\": [\n\t\t\t{ \"matcher\": \"Bash|Edit\", \"hooks\": [ { \"type\": \"command\", \"command\": \"./check\" } ] }\n\t\t]\n\t}\n}\n",
    "// mine\n{\n  /* a */ \"a\": [1, 2, 3,], // b\n  \"hooks\": { // c\n    \"Stop\": [ {\"hooks\": [{\"type\": \"http\", \"url\": \"http://127.0.0.1:1\"}]}, ],\n  },\n}\n// end",
    "\u{feff}{\n  \"a\": 1\n}\n",
    "{\"n\": 1.50, \"big\": 123456789012345678901234567890, \"e\": 1E+2}",
    "{\n  \"hooks\": {\n    \"Stop\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"mnemosyne\", \"args\": [\"hook\", \"--data-dir\", \"/d\"]}]}]\n  }\n}\n",
    "{\n \"hooks\": {\n  \"FutureHook\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"x\"}], \"later\": true}],\n  \"SessionEnd\": [{\"matcher\": \"clear\", \"hooks\": []}]\n }\n}\n",
];

#[test]
fn files_of_every_shape_come_back_byte_for_byte() {
    let machine = Machine::new();
    for mode in [0o644, 0o600] {
        for shape in SHAPES {
            machine.write_settings(shape.as_bytes());
            std::fs::set_permissions(machine.settings(), std::fs::Permissions::from_mode(mode)).expect("set");
            let before = machine.files();
            machine.ok(INIT);
            let changed = std::fs::read(machine.settings()).expect("there");
            assert_ne!(changed, shape.as_bytes());
            machine.ok(&["init", "--claude"]);
            assert_eq!(std::fs::read(machine.settings()).expect("there"), changed, "idempotent: {shape}");
            machine.ok(UNDO);
            assert_eq!(machine.files(), before, "{shape}");
            assert_eq!(std::fs::metadata(machine.settings()).expect("there").mode() & 0o777, mode);
        }
    }
}

/// What an `.mcp.json` may look like.
const SERVERS: &[&str] = &[
    "",
    "{}\n",
    "{\"mcpServers\":{}}",
    "{\n  \"mcpServers\": {\n    \"z\": {\"type\": \"http\", \"url\": \"http://127.0.0.1:1\"},\n    \"a\": { \"command\": \"a\", \"env\": {\"K\": \"1.50\"} }\n  }\n}\n",
    "{\r\n\t\"other\": [1, 2.0],\r\n\t\"mcpServers\": {\r\n\t\t\"mnemosyne\": {\"command\": \"mnemosyne\", \"args\": [\"serve\", \"--data-dir\", \"/d\"], \"env\": {}}\r\n\t}\r\n}",
];

#[test]
fn servers_of_others_stay_and_every_file_of_them_comes_back_byte_for_byte() {
    let machine = Machine::new();
    for shape in SERVERS {
        std::fs::write(machine.servers(), shape).expect("written");
        let before = machine.files();
        machine.ok(INIT);
        let text = std::fs::read_to_string(machine.servers()).expect("there");
        let (had, has): (Value, Value) = (
            serde_json::from_str(shape).unwrap_or_else(|_| json!({})),
            serde_json::from_str(&text).expect("JSON"),
        );
        let ours = &has["mcpServers"]["mnemosyne"];
        assert_eq!(ours["command"], machine.program().as_str(), "{text}");
        assert_eq!(ours["args"][0], "serve", "{text}");
        let keys = |value: &Value| {
            value["mcpServers"].as_object().map(|all| all.keys().cloned().collect::<Vec<_>>())
        };
        let others: Vec<_> =
            keys(&has).unwrap_or_default().into_iter().filter(|key| key != "mnemosyne").collect();
        let theirs: Vec<_> =
            keys(&had).unwrap_or_default().into_iter().filter(|key| key != "mnemosyne").collect();
        assert_eq!(others, theirs, "in their order: {text}");
        for other in &others {
            assert_eq!(has["mcpServers"][other], had["mcpServers"][other], "{text}");
        }
        machine.ok(&["init", "--claude"]);
        assert_eq!(std::fs::read_to_string(machine.servers()).expect("there"), text, "idempotent: {shape}");
        machine.ok(UNDO);
        assert_eq!(machine.files(), before, "{shape}");
    }
}

#[test]
fn a_run_that_makes_a_data_directory_is_on_record_there_as_a_whole() {
    let machine = Machine::new();
    machine.ok(&["init", "--user"]);
    let users = machine.world.home().join(".local/share/mnemosyne");
    let users = users.to_str().expect("UTF-8");
    let starts_in_users = || machine.ok(&["--data-dir", users, "events", "--json"]).json_lines().len();
    let before = starts_in_users();
    machine.ok(&["init", "--yes"]);
    let events = machine.ok(&["events", "--json"]).json_lines();
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["kind"].as_str()).collect();
    assert_eq!(kinds, ["cli_command_started", "database_initialized", "cli_command_completed"]);
    assert_eq!(events[1]["causation"], events[0]["id"], "its cause is here");
    let summary = "the data directory was made, the data directory was registered";
    assert_eq!(events[2]["payload"]["result_summary"], summary);
    let why = machine.ok(&["why", "2"]);
    assert!(!why.stdout.contains("no such event"), "{why}");
    assert_eq!(starts_in_users(), before, "nothing of it is elsewhere");

    // One that makes none, though it might have, is on record where it would be otherwise.
    let other = machine.world.home().join("other");
    std::fs::create_dir_all(other.join(".git")).expect("made");
    let ran = Running::start(machine.command(&["init", "--dry-run"]).current_dir(&other)).wait();
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(starts_in_users(), before + 2, "its start and its end");
    assert!(!other.join(".mnemosyne").exists());
}

#[test]
fn hooks_that_claude_code_is_told_not_to_run_are_told() {
    let machine = Machine::new();
    machine.write_settings(b"{\"disableAllHooks\": true}");
    let recorded = "are recorded";
    let told = |ran: &Ran| {
        ran.stderr.contains("`disableAllHooks` is true in ")
            && ran.stderr.contains("settings.local.json")
            && !ran.stderr.contains(recorded)
    };
    for args in [INIT, &["init", "--claude", "--dry-run"], INIT] {
        let ran = machine.ok(args);
        assert!(told(&ran), "{args:?}: {ran}");
    }
    let ran = machine.ok(&["init", "--claude", "--yes", "--json"]);
    let off = ran.json_lines()[0]["hooks_off"].clone();
    assert_eq!(off["key"], "disableAllHooks", "{ran}");
    let doctor = machine.run(&["doctor"]);
    assert!(doctor.stdout.contains("`disableAllHooks` is true in "), "{doctor}");
    // Control: with that taken back, it says what it said before.
    machine.ok(UNDO);
    machine.write_settings(b"{\"disableAllHooks\": false}");
    let ran = machine.ok(INIT);
    assert!(!told(&ran) && ran.stderr.contains(recorded), "{ran}");
}

#[test]
fn another_programs_server_of_our_name_stops_everything_before_anything_is_written() {
    let machine = Machine::new();
    let foreign = "{\"mcpServers\": {\"mnemosyne\": {\"type\": \"http\", \"url\": \"http://127.0.0.1:1\"}}}";
    std::fs::write(machine.servers(), foreign).expect("written");
    let ran = machine.run(INIT);
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains("another program's") && ran.stderr.contains(".mcp.json"), "{ran}");
    assert_eq!(std::fs::read_to_string(machine.servers()).expect("there"), foreign);
    assert!(!machine.settings().exists());
}

#[test]
fn the_server_that_is_registered_finds_the_projects_record_also_where_the_directory_is_named() {
    let machine = Machine::new();
    for named in [None, Some(machine.world.home().join("elsewhere"))] {
        let data_dir = named.iter().flat_map(|dir| ["--data-dir", dir.to_str().expect("UTF-8")]);
        let args: Vec<&str> = INIT.iter().copied().chain(data_dir).collect();
        machine.ok(&args);
        let text = std::fs::read_to_string(machine.servers()).expect("written");
        let servers: Value = serde_json::from_str(&text).expect("JSON");
        let server = &servers["mcpServers"]["mnemosyne"];
        assert_eq!(server["command"], machine.program().as_str());
        let args: Vec<&str> =
            server["args"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        let mut serve = machine.command(&args);
        let mut running = Running::start(serve.current_dir(machine.app()).stdin(Stdio::piped()));
        let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let first = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        let ask = json!({"name": "events", "arguments": {"kind": "database_initialized"}});
        let then = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": ask});
        running.feed(format!("{first}\n{then}\n").as_bytes());
        let ran = running.wait();
        assert_eq!(ran.code, Some(0), "{ran}");
        let made = &ran.json_lines()[1]["result"]["structuredContent"]["events"][0]["payload"]["path"];
        let place = named.unwrap_or_else(|| machine.app().join(".mnemosyne"));
        assert_eq!(*made, json!(place.canonicalize().expect("there")), "{ran}");
    }
}

#[test]
fn where_there_was_no_file_and_no_directory_there_is_none_again() {
    let machine = Machine::new();
    let before = machine.files();
    machine.ok(INIT);
    machine.ok(UNDO);
    assert_eq!(machine.files(), before);
    assert!(machine.app().join(".mnemosyne").is_dir(), "what was recorded stays");
    let ran = machine.ok(&["init", "--undo"]);
    assert!(ran.stdout.contains("nothing of ours"), "{ran}");
}

#[test]
fn several_registrations_are_gone_back_through() {
    let machine = Machine::new();
    machine.write_settings(b"{ \"a\": 1 }");
    let before = machine.files();
    machine.ok(INIT);
    let named = machine.world.data();
    machine.ok(&["init", "--claude", "--yes", "--data-dir", named.to_str().expect("UTF-8")]);
    let text = std::fs::read_to_string(machine.settings()).expect("there");
    assert!(text.contains("--data-dir"), "{text}");
    machine.ok(UNDO);
    assert_eq!(machine.files(), before);
}

#[test]
fn what_was_edited_since_keeps_the_edit_and_loses_our_entries_alone() {
    let machine = Machine::new();
    machine.write_settings(b"{\n  \"a\": 1\n}\n");
    machine.ok(INIT);
    let text = std::fs::read_to_string(machine.settings()).expect("there");
    std::fs::write(machine.settings(), text.replace("\"a\": 1", "\"a\": 2 /* mine */")).expect("edited");
    let ran = machine.ok(UNDO);
    assert!(ran.stdout.contains("edited since") && ran.stdout.contains("backup kept"), "{ran}");
    let text = std::fs::read_to_string(machine.settings()).expect("there");
    assert_eq!(text, "{\n  \"a\": 2 /* mine */\n}\n");
}

#[test]
fn nobody_to_ask_means_nothing_is_written() {
    let machine = Machine::new();
    let before = machine.files();
    let ran = machine.run(&["init", "--claude"]);
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stdout.contains("+  \"hooks\"") && ran.stderr.contains("--yes"), "{ran}");
    let ran = machine.ok(&["init", "--claude", "--dry-run"]);
    assert!(ran.stdout.contains("would be changed") && ran.stdout.contains("would be made"), "{ran}");
    assert_eq!(machine.files(), before);
    assert!(!machine.app().join(".mnemosyne").exists() && !machine.world.home().join(".config").exists());
    machine.ok(INIT);
    let written = machine.files();
    assert_eq!(machine.run(&["init", "--undo"]).code, Some(2));
    machine.ok(&["init", "--undo", "--dry-run"]);
    assert_eq!(machine.files(), written);
}

#[test]
fn the_question_is_answered_in_a_terminal() {
    let machine = Machine::new();
    let own = b"{\n  // mine\n  \"model\": \"m\"\n}\n";
    machine.write_settings(own);
    std::fs::set_permissions(machine.settings(), std::fs::Permissions::from_mode(0o640)).expect("its mode");
    let before = machine.files();
    let Some(tmux) = Tmux::start(&machine.world) else { return };
    tmux.line("unset MNEMOSYNE_DATA_DIR; export MNEMOSYNE_DISABLE_AUTO_START_API=1; cd app");
    // Only a yes is one.
    for (n, answer) in ["n", "", "maybe", "yess"].into_iter().enumerate() {
        tmux.line(&format!("clear; ../bin/mnemosyne init --claude --quiet; echo no-{n}-$?"));
        tmux.wait_for("Write this? [y/N]");
        tmux.line(answer);
        tmux.wait_for(&format!("no-{n}-1"));
        assert_eq!(machine.files(), before, "{answer:?} wrote something");
        assert!(!machine.app().join(".mnemosyne").exists() && !machine.world.home().join(".config").exists());
    }
    tmux.line("clear; ../bin/mnemosyne init --claude --quiet; echo yes-$?");
    tmux.wait_for("Write this? [y/N]");
    tmux.line("y");
    tmux.wait_for("yes-0");
    let written = std::fs::read_to_string(machine.settings()).expect("the settings");
    assert!(written.contains("// mine") && written.contains("\"SessionStart\""), "{written}");
    assert_eq!(std::fs::metadata(machine.settings()).expect("there").mode() & 0o777, 0o640);
    for (answer, code) in [("n", 1), ("Y", 0)] {
        tmux.line(&format!("clear; ../bin/mnemosyne init --undo --quiet; echo undo-{answer}-$?"));
        tmux.wait_for("[y/N]");
        tmux.line(answer);
        tmux.wait_for(&format!("undo-{answer}-{code}"));
    }
    assert_eq!(std::fs::read(machine.settings()).expect("the settings"), own);
    assert_eq!(std::fs::metadata(machine.settings()).expect("there").mode() & 0o777, 0o640);
}

#[test]
fn settings_that_are_none_are_named_by_line_and_column_and_left() {
    let machine = Machine::new();
    for broken in ["{\n  \"a\": 1,\n  \"b\" 2\n}", "{", "[]", "\u{0}", "{\"hooks\": 1}"] {
        machine.write_settings(broken.as_bytes());
        let before = machine.files();
        let ran = machine.run(INIT);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran}");
        assert!(
            ran.stderr.contains("settings.local.json") && ran.stderr.contains("nothing was written"),
            "{ran}"
        );
        assert_eq!(machine.files(), before);
        assert!(!machine.app().join(".mnemosyne").exists());
    }
    machine.write_settings(b"{\n  \"a\": 1,\n  \"b\" 2\n}");
    assert!(machine.run(INIT).stderr.contains("line 3, column 7"), "{}", machine.run(INIT));
    machine.write_settings(b"\xff\xfe");
    assert_eq!(machine.run(INIT).code, Some(2));
}

#[test]
fn a_build_is_refused_and_says_how_to_install() {
    let machine = Machine::new();
    let before = machine.files();
    let mut command = machine.world.bare_command(INIT);
    let ran = Running::start(command.current_dir(machine.app())).wait();
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("cargo install --path ."), "{ran}");
    assert_eq!(machine.files(), before);
}

#[test]
fn an_old_claude_code_is_not_given_what_it_would_misread() {
    let machine = Machine::new();
    let claude = machine.world.home().join("bin/claude");
    let is = |version: &str| {
        std::fs::write(&claude, format!("#!/bin/sh\necho '{version} (Claude Code)'\n")).expect("written");
        std::fs::set_permissions(&claude, std::fs::Permissions::from_mode(0o755)).expect("set");
    };
    is("2.1.138");
    let ran = machine.run(INIT);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("2.1.138") && ran.stderr.contains("2.1.139"), "{ran}");
    assert!(!machine.settings().exists());
    is("2.1.139");
    machine.ok(INIT);
}

#[test]
fn the_users_settings_are_taken_where_they_are_and_never_beside_the_projects() {
    let machine = Machine::new();
    let dotfiles = machine.world.home().join("dotfiles.json");
    std::fs::write(&dotfiles, "{\"theme\": \"dark\"}\n").expect("written");
    let config = machine.world.home().join("claude-config");
    std::fs::create_dir(&config).expect("made");
    symlink(&dotfiles, config.join("settings.json")).expect("linked");
    let with = |args: &[&str]| {
        let mut command = machine.command(args);
        Running::start(command.env("CLAUDE_CONFIG_DIR", &config)).wait()
    };
    let ran = with(&["init", "--claude", "--user", "--yes"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(config.join("settings.json").symlink_metadata().expect("there").is_symlink());
    assert!(std::fs::read_to_string(&dotfiles).expect("there").contains(&machine.program()));
    assert!(machine.world.home().join(".local/share/mnemosyne/inbox").is_dir());
    let ran = with(INIT);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("twice"), "{ran}");
    assert_eq!(with(&["init", "--undo", "--user", "--yes"]).code, Some(0));
    assert_eq!(std::fs::read_to_string(&dotfiles).expect("there"), "{\"theme\": \"dark\"}\n");
    assert_eq!(with(INIT).code, Some(0), "the control: now the project may");
}

/// Claude Code keeps the servers for all projects in a file that it writes itself, with its login and more: nobody else can give that
/// back byte for byte.
#[test]
fn the_mcp_server_for_all_projects_is_left_to_claude_code_and_its_command_is_said() {
    let machine = Machine::new();
    let state = machine.world.home().join(".claude.json");
    let before =
        br#"{"numStartups": 3, "oauthAccount": {"a": 1}, "mcpServers": {"other": {"command": "o"}}}"#;
    std::fs::write(&state, before).expect("written");
    let program = machine.program();
    let command = format!("claude mcp add --scope user mnemosyne -- {program} serve");
    for args in [&["--dry-run"][..], &["--yes"], &["--yes"]] {
        let ran = machine.ok(&[&["init", "--claude", "--user"][..], args].concat());
        assert!(ran.stderr.contains(&format!("`{command}`")), "{ran}");
    }
    let told = machine.ok(&["init", "--claude", "--user", "--yes", "--json"]).json();
    assert_eq!(told["mcp_command"], *command);
    let files: Vec<&Value> =
        told["files"].as_array().expect("a list").iter().map(|file| &file["path"]).collect();
    assert_eq!(files, [&json!(machine.world.home().join(".claude/settings.json"))]);
    // What is named on the command line is named in the server's, as a shell reads it.
    let elsewhere = machine.world.home().join("it's elsewhere");
    let elsewhere = elsewhere.to_str().expect("UTF-8");
    let told = machine.ok(&["--data-dir", elsewhere, "init", "--claude", "--user", "--yes", "--json"]).json();
    let line = told["mcp_command"].as_str().expect("a line").replacen("claude", "printf '%s\\n'", 1);
    let words = Command::new("/bin/sh").args(["-c", &line]).output().expect("a shell");
    let words = String::from_utf8(words.stdout).expect("UTF-8");
    let expected =
        ["mcp", "add", "--scope", "user", "mnemosyne", "--", &program, "serve", "--data-dir", elsewhere];
    assert_eq!(words.lines().collect::<Vec<_>>(), expected);
    machine.ok(&["init", "--undo", "--user", "--yes"]);
    assert_eq!(std::fs::read(&state).expect("there"), before);
    // The control: the project's server has a file of its own.
    let told = machine.ok(&["init", "--claude", "--yes", "--json"]).json();
    assert_eq!(told["mcp_command"], Value::Null);
    assert!(machine.servers().is_file());
}

#[test]
fn what_a_repository_planted_is_not_followed() {
    let machine = Machine::new();
    let outside = machine.world.home().join("outside.json");
    std::fs::write(&outside, "{}").expect("written");
    std::fs::create_dir_all(machine.app().join(".claude")).expect("made");
    symlink(&outside, machine.settings()).expect("linked");
    let ran = machine.run(INIT);
    assert_eq!(
        (ran.code, std::fs::read_to_string(&outside).expect("there").as_str()),
        (Some(1), "{}"),
        "{ran}"
    );
    std::fs::remove_file(machine.settings()).expect("removed");
    symlink(&outside, machine.servers()).expect("linked");
    let ran = machine.run(INIT);
    assert_eq!(
        (ran.code, std::fs::read_to_string(&outside).expect("there").as_str()),
        (Some(1), "{}"),
        "{ran}"
    );
    assert!(!machine.settings().exists(), "neither of the two was written: {ran}");
    std::fs::remove_file(machine.servers()).expect("removed");
    std::fs::create_dir_all(machine.app().join(".mnemosyne/journal")).expect("planted");
    let ran = machine.run(&["init"]);
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains("never registered"), "{ran}");
    machine.ok(&["init", "--yes"]);
    machine.ok(&["init"]);
}

#[test]
fn a_home_is_no_project_and_json_is_one_object() {
    let machine = Machine::new();
    let ran = Running::start(machine.command(INIT).current_dir(machine.world.home())).wait();
    assert_eq!(ran.code, Some(2), "{ran}");
    assert!(ran.stderr.contains("--user"), "{ran}");
    let object = machine.ok(&["init", "--claude", "--yes", "--json"]).json();
    assert_eq!(
        (&object["version"], &object["made"], &object["registered"]),
        (&json!(1), &json!(true), &json!(true))
    );
    assert_eq!(
        (&object["files"][0]["changed"], &object["program"]),
        (&json!(true), &json!(machine.program()))
    );
    assert!(object["backups"][0].as_str().is_some_and(|backup| Path::new(backup).exists()));
    let object = machine.ok(&["init", "--undo", "--yes", "--json"]).json();
    assert_eq!((&object["version"], &object["files"][0]["exact"]), (&json!(1), &json!(true)));
}

#[test]
fn a_secret_in_the_settings_is_not_shown() {
    let machine = Machine::new();
    let secret = "ghp_x7Qm2VtR9bLk4ZsW1nYc8PdH3fJg6TaU5eMo";
    machine.write_settings(format!("{{\n  \"env\": {{\"GITHUB_TOKEN\": \"{secret}\"}}\n}}\n").as_bytes());
    let ran = machine.ok(INIT);
    assert!(!ran.to_string().contains(secret) && ran.stdout.contains("GITHUB_TOKEN"), "{ran}");
    assert!(
        std::fs::read_to_string(machine.settings()).expect("there").contains(secret),
        "the file keeps it"
    );
}

//! The README and the guides are true: what stands in their `sh` blocks is run as it stands there, by a shell, from a home
//! where nothing is set up. Commands that cannot run inside a test are listed with the reason; a line that is in neither list,
//! and a list that names a line which is gone, is a failure.

use crate::support::{Running, World, wait_for};
use rustix::process::Signal;
use serde_json::json;
use std::path::Path;
use std::process::{Command, Stdio};

const SESSION: &str = "6d1f3c52-98a4-4a0e-8d3b-2f6f5b7c1e10";

/// The pages whose commands are run, each in a home of its own.
const PAGES: &[&str] =
    &["README.md", "CLAUDE.md", "docs/AGENT_GUIDE.md", "docs/EVENTS.md", "docs/EVENT_HELPERS_GUIDE.md"];

/// What a command is expected to do.
enum Does {
    /// It ends by itself, with success, and its output holds this.
    Ends(&'static str),
    /// It goes on; once its output holds this it has done what it is there for, and Ctrl-C ends it with this code.
    GoesOn(&'static str, i32),
    /// It serves until the test is over.
    Serves,
    /// It sets what the next line uses.
    Prepares,
}

use Does::{Ends, GoesOn, Prepares, Serves};

const RUN: &[(&str, Does)] = &[
    ("mnemosyne api-server", Serves),
    ("mnemosyne hook < payload.json", Ends("")),
    ("mnemosyne import", Ends("1 transcript: 2 events added")),
    ("mnemosyne tail -f", GoesOn("tool_call_completed", 130)),
    ("mnemosyne events --session ID --kind 'tool_call_*' --since 2h", Ends("tool_call_completed")),
    ("mnemosyne status", Ends("damage")),
    ("mnemosyne doctor", Ends("passed")),
    ("mnemosyne sessions", Ends("6d1f3c52")),
    ("mnemosyne session ID", Ends("tools      1 call")),
    ("mnemosyne replay ID --speed 4 --max-gap 1s", Ends("prompt_submitted: find the needle")),
    ("mnemosyne events --search 'needle -haystack'", Ends("«needle»")),
    ("mnemosyne replay ID --step --state", Ends("/counts/prompts: 0 -> 1")),
    ("mnemosyne state sessions --at 2h", Ends("sessions at seq")),
    ("mnemosyne diff ID ID", Ends("alike: 1 call aligned")),
    ("mnemosyne why 2", Ends("2  ")),
    ("mnemosyne bisect '.sessions[].counts.tool_calls >= 1'", Ends("tool_call")),
    (r#"mnemosyne annotate 2 "here it went wrong""#, Ends("on event 2")),
    ("mnemosyne stats --since 7d --by day", Ends("tool calls")),
    (r#"TOKEN=$(sed 's/.*"token":"\([0-9a-f]*\)".*/\1/' ~/.local/share/mnemosyne/server.json)"#, Prepares),
    (
        r#"curl -N -H "Authorization: Bearer $TOKEN" "http://127.0.0.1:3000/events/stream?from=1""#,
        GoesOn("event: tool_call_completed", 130),
    ),
    (
        r#"curl -sN -H "Authorization: Bearer $TOKEN" "http://127.0.0.1:3000/events/stream?from=1&min_importance=6""#,
        GoesOn("event: server_started", 130),
    ),
    (
        r#"curl -sN -H "Authorization: Bearer $TOKEN" -H "Last-Event-ID: 1" "http://127.0.0.1:3000/events/stream""#,
        GoesOn("id: 2\n", 130),
    ),
    (
        r#"curl -s -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -d '{"kind":"custom","payload":{"name":"deployed","data":{"version":"1.4"}}}' "http://127.0.0.1:3000/events/emit""#,
        Ends("\"seqs\":["),
    ),
    ("mnemosyne events --kind custom", Ends("deployed")),
    ("mnemosyne status", Ends("inbox")),
    ("mnemosyne events --kind 'tool_call_*'", Ends("tool_call_completed")),
    ("mnemosyne tail -n 3", Ends("tool_call_completed")),
    ("mnemosyne events --category store", Ends("")),
];

const NOT_RUN: &[(&str, &str)] = &[
    (
        "mnemosyne init --claude",
        "refuses a build, which is what runs here; the tests of `init` run an installed one",
    ),
    (
        "cargo run --release -- demo",
        "builds the program a second time; the gate runs it, and cli_demo runs `demo`",
    ),
    ("cargo test", "is what runs this"),
    ("cargo test --test e2e", "is run by `cargo test`"),
    ("cargo clippy --workspace --all-targets -- -D warnings", "the gate runs it"),
    ("cargo fmt --all", "the gate checks it"),
    (
        "cargo install --path . --locked",
        "builds the program a second time; the gate runs it, with a place of its own",
    ),
    (
        "cargo install --path tools --locked",
        "builds the program a second time; the gate runs it, with a place of its own",
    ),
    ("mnemosyne-inspect verify DIR", "the program of another package, whose own tests run it"),
];

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of the `sh` blocks of a page, without what follows a `#`.
fn commands(page: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            let command = line.split("  #").next().unwrap_or_default().trim();
            if !command.is_empty() {
                found.push(command.to_owned());
            }
        }
    }
    found
}

/// What the commands find in the home: one payload, and one transcript where Claude Code keeps it.
fn furnish(world: &World) {
    let payload = json!({
        "session_id": SESSION, "hook_event_name": "PostToolUse", "cwd": "/code/app", "tool_name": "Bash",
        "tool_use_id": "toolu_1", "tool_input": {"command": "ls"}, "tool_response": {"stdout": "needle"},
    });
    std::fs::write(world.home().join("payload.json"), payload.to_string()).expect("written");
    let directory = world.home().join(".claude/projects/-code-app");
    std::fs::create_dir_all(&directory).expect("a directory");
    let line = json!({
        "uuid": "00000000-0000-4000-8000-000000000001", "parentUuid": null, "isSidechain": false,
        "cwd": "/code/app", "sessionId": SESSION, "version": "2.0.0", "timestamp": "2026-01-02T03:04:05.000Z",
        "type": "user", "message": {"role": "user", "content": "find the needle"},
    });
    std::fs::write(directory.join(format!("{SESSION}.jsonl")), format!("{line}\n")).expect("written");
}

fn shell(world: &World, script: &str) -> Running {
    let programs = Path::new(env!("CARGO_BIN_EXE_mnemosyne")).parent().expect("its directory");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .env_clear()
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("HOME", world.home())
        .env("MNEMOSYNE_DISABLE_AUTO_START_API", "1")
        .current_dir(world.home())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Running::start(&mut command)
}

/// The address that the server says it listens on: another one than the README's where port 3000 is taken.
fn address(server: &Running) -> String {
    wait_for("the server's address", || {
        let stdout = server.stdout();
        Some(stdout.strip_prefix("http://")?.split_once('\n')?.0.to_owned())
    })
}

#[test]
fn every_command_of_the_pages_is_run_or_listed_with_a_reason() {
    let of_pages: Vec<String> = PAGES.iter().flat_map(|page| commands(&file(page))).collect();
    assert!(commands(&file("README.md")).len() >= 10, "the blocks are found: {of_pages:?}");
    for command in &of_pages {
        let run = RUN.iter().any(|(line, _)| line == command);
        let not_run = NOT_RUN.iter().any(|(line, why)| line == command && !why.is_empty());
        assert!(run || not_run, "nothing says whether `{command}` can run");
    }
    for line in RUN.iter().map(|row| row.0).chain(NOT_RUN.iter().map(|row| row.0)) {
        assert!(of_pages.iter().any(|command| command == line), "no page says `{line}` any more");
    }
}

#[test]
fn the_commands_of_the_pages_do_what_they_say() {
    for page in PAGES {
        run_page(page);
    }
}

#[track_caller]
fn run_page(page: &str) {
    let world = World::new();
    furnish(&world);
    if page != "README.md" {
        // The README begins with nothing; the others speak of a machine on which something is on record.
        let ran = shell(&world, "exec mnemosyne hook < payload.json").wait();
        assert_eq!(ran.code, Some(0), "{ran}");
    }
    let mut server: Option<Running> = None;
    let mut prepared = String::new();
    for command in commands(&file(page)) {
        let Some((_, does)) = RUN.iter().find(|(line, _)| *line == command) else { continue };
        let bound = server.as_ref().map(address);
        let line = command
            .replace(" ID", &format!(" {SESSION}"))
            .replace("127.0.0.1:3000", bound.as_deref().unwrap_or("127.0.0.1:3000"));
        match does {
            Prepares => prepared = format!("{line}\n"),
            Serves => {
                let serving = shell(&world, &format!("exec {line}"));
                address(&serving);
                server = Some(serving);
            }
            Ends(expected) => {
                let ran = shell(&world, &format!("{prepared}exec {line}")).wait();
                assert_eq!(ran.code, Some(0), "{page}: `{line}`: {ran}");
                let said = format!("{}{}", ran.stdout, ran.stderr);
                assert!(said.contains(expected), "{page}: `{line}` does not say `{expected}`: {ran}");
            }
            GoesOn(expected, code) => {
                let running = shell(&world, &format!("{prepared}exec {line}"));
                running.wait_for_stdout(expected);
                // Where a gate runs in the background SIGINT may be ignored, and curl leaves it so.
                running.signal(if line.starts_with("curl") { Signal::TERM } else { Signal::INT });
                let ran = running.wait();
                // A program that does not catch the signal (curl) is ended by it and has no code.
                assert!(ran.code.is_none_or(|ended| ended == *code), "{page}: `{line}`: {ran}");
            }
        }
    }
    if let Some(server) = server {
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code, Some(0), "{page}");
    }
}

/// Expressions that are shown are understood, whatever they find in a journal that is nearly empty.
#[test]
fn the_expressions_of_the_page_about_bisect_are_understood() {
    let world = World::new();
    furnish(&world);
    let ran = shell(&world, "exec mnemosyne hook < payload.json").wait();
    assert_eq!(ran.code, Some(0), "{ran}");
    let page = file("docs/bisect.md");
    let shown: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("$ mnemosyne bisect ")).collect();
    assert!(shown.len() >= 5, "{shown:?}");
    for arguments in shown {
        let ran = shell(&world, &format!("exec mnemosyne bisect {arguments}")).wait();
        // 3: it holds nowhere. Control: what is no expression is 2.
        assert!(matches!(ran.code, Some(0 | 3)), "{arguments}: {ran}");
    }
    let ran = shell(&world, "exec mnemosyne bisect '.sessions[] | nonsense(1)'").wait();
    assert_eq!(ran.code, Some(2), "{ran}");
}

/// What is left to the gate is a line of it, as the pages have it. The gate may say more behind.
#[test]
fn what_the_pages_leave_to_the_gate_stands_in_it() {
    let gate = file(".ci/run");
    let runs = |line: &str| gate.lines().any(|of_gate| of_gate.trim_start().starts_with(line));
    let left: Vec<&str> =
        NOT_RUN.iter().filter(|(_, why)| why.contains("the gate")).map(|(line, _)| *line).collect();
    assert!(left.iter().filter(|line| line.starts_with("cargo install")).count() == 2, "{left:?}");
    for line in left {
        assert!(runs(line), "`{line}` is not a line of .ci/run");
    }
    assert!(!runs("cargo install --path journal"), "control: what it does not run is not found");
    // What it has installed it starts, under the names that the pages use.
    for name in ["mnemosyne", "mnemosyne-inspect"] {
        assert!(runs(&format!("\"$kept/installed/bin/{name}\" --version")), "{name}");
    }
}

#[test]
fn what_the_readme_installs_has_the_names_that_it_uses() {
    for (manifest, name) in [("Cargo.toml", "mnemosyne"), ("tools/Cargo.toml", "mnemosyne-inspect")] {
        assert!(file(manifest).contains(&format!("name = \"{name}\"")), "{manifest}");
    }
    assert!(
        file("Cargo.toml").contains("rust-version = \"1.91\"") && file("README.md").contains("Rust 1.91")
    );
}

/// The settings that the README shows are those that the program takes for a registration of itself.
#[test]
fn the_settings_of_the_readme_are_json_with_the_exec_form() {
    let page = file("README.md");
    let block = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let settings: serde_json::Value = serde_json::from_str(block).expect("JSON");
    let hook = &settings["hooks"]["PostToolUse"][0]["hooks"][0];
    assert_eq!(
        (&hook["type"], &hook["command"], &hook["args"]),
        (&json!("command"), &json!("mnemosyne"), &json!(["hook"]))
    );
}

/// Targets of relative links of a page.
fn links(page: &str) -> impl Iterator<Item = &str> {
    page.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.starts_with("http") && !target.starts_with('#'))
        .map(|target| target.split('#').next().unwrap_or_default())
}

#[test]
fn links_lead_to_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<_> = ["README.md", "CHANGELOG.md", "CLAUDE.md"].map(|name| root.join(name)).into();
    for directory in ["docs", "docs/adr"] {
        let listed = std::fs::read_dir(root.join(directory)).expect("the pages");
        pages.extend(
            listed
                .map(|item| item.expect("a page").path())
                .filter(|path| path.extension().is_some_and(|e| e == "md")),
        );
    }
    let mut dead = Vec::new();
    let mut seen = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("a page");
        for target in links(&text) {
            seen += 1;
            if !page.parent().expect("its directory").join(target).exists() {
                dead.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(seen > 10 && dead.is_empty(), "{seen} links, dead: {dead:#?}");
}

#[test]
fn places_in_the_source_that_pages_name_exist() {
    let mut seen = 0;
    let guides = ["docs/architecture.md", "docs/AGENT_GUIDE.md", "docs/EVENT_HELPERS_GUIDE.md", "CLAUDE.md"];
    for page in guides.into_iter().chain(["README.md"]) {
        for (n, quoted) in file(page).split('`').enumerate() {
            let ours =
                ["src/", "journal/", "tools/", "tests/", "docs/"].iter().any(|root| quoted.starts_with(root));
            if n % 2 == 1 && ours {
                seen += 1;
                assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(quoted).exists(), "{page}: {quoted}");
            }
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn every_decision_is_listed_and_every_number_is_one_decision() {
    let listed = file("docs/adr/README.md");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/adr");
    let mut numbers: Vec<String> = Vec::new();
    for item in std::fs::read_dir(directory).expect("decisions") {
        let name = item.expect("a decision").file_name().into_string().expect("UTF-8");
        if name != "README.md" {
            assert!(listed.contains(&format!("({name})")), "{name} is not listed");
            numbers.push(name[..4].to_owned());
        }
    }
    numbers.sort();
    let expected: Vec<String> = (1..=numbers.len()).map(|n| format!("{n:04}")).collect();
    assert_eq!(numbers, expected);
}

//! Every command of the program, with a line that works and what it leaves on record.
//!
//! A command without a row fails [`every_command_has_a_row`], and so does a row whose command is gone. Subcommands count: each
//! has a row of its own. Whether a run is recorded is not said here; it is read from the program's own table.

use crate::life::{ended, prompt, started};
use crate::support::{Ran, Running, World};
use mnemosyne::cli;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

/// The session that every world of these tests has on record.
pub(crate) const SESSION: &str = "6d1f3c52-98a4-4a0e-8d3b-2f6f5b7c1e10";

/// A command and a line that works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// The words that name it: `events`, `internal session-started`.
    pub(crate) path: &'static str,
    /// What stands behind them. `SESSION`, `NEW` (a path where nothing is) and `TRANSCRIPTS` (a directory) are filled in.
    pub(crate) args: &'static str,
    /// What comes on stdin: nothing, or a hook payload.
    pub(crate) stdin: Option<fn() -> Value>,
    /// The kinds that it leaves between its start and its end, in their order.
    pub(crate) domain: &'static [&'static str],
    /// Whether they are facts of an agent's session or of a server, which have correlations of their own, not the run's.
    pub(crate) facts: bool,
    /// How it is run to be seen.
    pub(crate) way: Way,
    /// Its exit codes where something is wrong, in the order of [`crate::degradation`]'s columns.
    pub(crate) worse: [i32; 5],
}

/// How a row is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Beside a server, to its end.
    Beside,
    /// For a data directory that is not there yet.
    First,
    /// It is the server.
    Serves,
    /// It has a server and a data directory of its own.
    OnItsOwn,
}

const fn row(
    path: &'static str,
    args: &'static str,
    domain: &'static [&'static str],
    worse: [i32; 5],
) -> Row {
    Row { path, args, stdin: None, domain, facts: false, way: Way::Beside, worse }
}

const ALL_WELL: [i32; 5] = [0; 5];
/// It writes, and needs no server to do it.
const NEEDS_A_DISK: [i32; 5] = [0, 0, 0, 1, 1];

pub(crate) const ROWS: &[Row] = &[
    Row { way: Way::First, ..row("init", "--user", &["database_initialized"], ALL_WELL) },
    Row { way: Way::OnItsOwn, ..row("demo", "--once", &[], ALL_WELL) },
    Row {
        way: Way::Serves,
        facts: true,
        ..row("api-server", "", &["server_started", "server_stopped"], [3, 0, 0, 3, 3])
    },
    // Its stdin has nothing to ask.
    row("serve", "", &["server_started", "server_stopped"], ALL_WELL),
    row("tail", "-n 3", &[], ALL_WELL),
    row("events", "--session SESSION", &[], ALL_WELL),
    row("sessions", "", &[], ALL_WELL),
    row("session", "SESSION", &[], ALL_WELL),
    row("replay", "SESSION --speed max", &[], ALL_WELL),
    row("state", "sessions", &[], ALL_WELL),
    row("diff", "SESSION SESSION", &[], ALL_WELL),
    row("why", "3", &[], ALL_WELL),
    row("bisect", ".sessions|length>0", &[], ALL_WELL),
    row("annotate", "3 odd", &["annotated"], NEEDS_A_DISK),
    row("stats", "sessions --by day", &[], ALL_WELL),
    row("status", "", &["status_check_executed"], ALL_WELL),
    row("config get", "server.linger", &[], ALL_WELL),
    row("config set", "server.linger 7", &["config_changed"], NEEDS_A_DISK),
    row("config unset", "server.linger", &["config_changed"], NEEDS_A_DISK),
    row("config list", "", &[], ALL_WELL),
    row("config path", "", &[], ALL_WELL),
    Row {
        stdin: Some(|| json!("a-key-of-no-known-shape")),
        ..row("config set-key", "typed", &["config_changed"], ALL_WELL)
    },
    row("config show-key", "", &[], ALL_WELL),
    row("config delete-key", "KEY", &["config_changed"], ALL_WELL),
    Row {
        facts: true,
        ..row(
            "import",
            "TRANSCRIPTS",
            &["session_started", "prompt_submitted", "transcript_imported"],
            NEEDS_A_DISK,
        )
    },
    row("doctor", "", &["health_check_started", "health_check_completed"], [0, 0, 0, 1, 1]),
    row("update", "", &[], ALL_WELL),
    row("completions", "bash", &[], ALL_WELL),
    row("man", "", &[], ALL_WELL),
    row("gc", "", &[], [0, 1, 1, 1, 0]),
    row("backup", "NEW", &[], ALL_WELL),
    Row {
        facts: true,
        ..row("internal session-started", "--instance-id script-1", &["session_started"], NEEDS_A_DISK)
    },
    Row {
        facts: true,
        ..row("internal session-ended", "--instance-id script-1", &["session_ended"], NEEDS_A_DISK)
    },
    Row {
        stdin: Some(|| prompt("hooked", "by a hook")),
        facts: true,
        ..row("hook", "", &["prompt_submitted"], ALL_WELL)
    },
];

impl Row {
    /// Whether a run is on record without being asked to. `hook` is no row of the program's table: it is recognised before.
    pub(crate) fn is_recorded(&self) -> bool {
        let name = self.path.split(' ').next().expect("a name");
        cli::COMMANDS.iter().any(|command| command.name == name && command.recorded)
    }

    pub(crate) fn is_hook(&self) -> bool {
        self.path == "hook"
    }

    /// The words of the line for this world; `n` makes what has to be new new.
    pub(crate) fn line(&self, world: &World, n: usize) -> Vec<String> {
        let home = world.home().to_str().expect("UTF-8");
        let words = self.path.split(' ').chain(self.args.split_whitespace());
        words
            .map(|word| match word {
                "SESSION" => SESSION.to_owned(),
                "NEW" => format!("{home}/new-{n}"),
                "TRANSCRIPTS" => transcripts(world, n),
                "KEY" => key(world),
                word => word.to_owned(),
            })
            .collect()
    }

    pub(crate) fn feed(&self, running: &mut Running) {
        if let Some(payload) = self.stdin {
            running.feed(payload().to_string().as_bytes());
        }
    }

    pub(crate) fn stdio(&self, command: &mut Command) {
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(&self, world: &World, n: usize, more: &[&str]) -> Ran {
        let line = self.line(world, n);
        let mut command = world.command(line.iter().map(String::as_str).chain(more.iter().copied()));
        self.stdio(&mut command);
        let mut running = Running::start(&mut command);
        self.feed(&mut running);
        running.wait_at_most(std::time::Duration::from_secs(90))
    }
}

/// A directory with one transcript of one prompt, which no other `n` has.
fn transcripts(world: &World, n: usize) -> String {
    let session = format!("00000000-0000-4000-8000-{n:012}");
    let directory = world.home().join(format!("transcripts-{n}"));
    std::fs::create_dir_all(&directory).expect("a directory");
    let line = json!({
        "uuid": format!("00000000-0000-4000-9000-{n:012}"), "parentUuid": null, "isSidechain": false,
        "cwd": "/code/app", "sessionId": session, "version": "2.0.0", "timestamp": "2026-01-02T03:04:05.000Z",
        "type": "user", "message": {"role": "user", "content": "find the needle"},
    });
    std::fs::write(directory.join(format!("{session}.jsonl")), format!("{line}\n")).expect("written");
    directory.to_str().expect("UTF-8").to_owned()
}

/// The name of a key that is kept.
fn key(world: &World) -> String {
    // Not on record: the row's own run is looked at.
    let mut command = world.command(["config", "set-key", "kept"]);
    command.env("MNEMOSYNE_DISABLE_EVENTS", "1").stdin(Stdio::piped());
    let mut running = Running::start(&mut command);
    running.feed(b"a-key-of-no-known-shape");
    let ran = running.wait();
    assert_eq!(ran.code, Some(0), "{ran}");
    "kept".to_owned()
}

/// A world with a session on record, all of it in the journal.
pub(crate) fn recorded() -> World {
    let world = World::new();
    std::fs::create_dir(world.data()).expect("the data directory");
    let config = world.data().join("config.toml");
    std::fs::write(&config, "[server]\nlinger = 9\n").expect("the configuration");
    // As `config set` would write it: `doctor` says so of one that others may read.
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    let call = |hook: &str| {
        json!({"session_id": SESSION, "hook_event_name": hook, "cwd": "/code/parcels", "tool_name": "Bash",
            "tool_use_id": "t1", "tool_input": {"command": "true"}, "tool_response": {"stdout": "needle"}})
    };
    let payloads = [started(SESSION), prompt(SESSION, "go"), call("PreToolUse"), call("PostToolUse")];
    for payload in payloads.into_iter().chain([ended(SESSION)]) {
        world.hook(&payload);
    }
    let events = world.events([]);
    assert_eq!(events.iter().filter(|event| event["session"] == SESSION).count(), 5);
    world
}

/// The commands that can be run, by their words: those without commands of their own below.
fn leaves(command: &clap::Command, above: &str, found: &mut Vec<String>) {
    for one in command.get_subcommands() {
        let path = format!("{above}{}", one.get_name());
        if one.has_subcommands() {
            leaves(one, &format!("{path} "), found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_command_has_a_row() {
    let mut exist = vec!["hook".to_owned()];
    leaves(&cli::definition(), "", &mut exist);
    assert!(exist.len() > 10 && exist.iter().any(|path| path == "internal session-started"), "{exist:?}");
    let without: Vec<_> = exist.iter().filter(|path| !ROWS.iter().any(|row| row.path == **path)).collect();
    assert!(
        without.is_empty(),
        "no row in tests/e2e/commands.rs says what these leave on record: {without:?}"
    );
    let gone: Vec<_> =
        ROWS.iter().map(|row| row.path).filter(|row| !exist.iter().any(|p| p == row)).collect();
    assert!(gone.is_empty(), "these are no commands any more: {gone:?}");
    for command in cli::COMMANDS {
        let name = command.name;
        assert!(
            exist.iter().any(|path| path.split(' ').next() == Some(name)),
            "{name} is not in the definition"
        );
    }
}

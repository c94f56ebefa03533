//! Claude Code itself, cut off from the network and logged in nowhere: it takes our plugin and our settings, and a session of it is on
//! record. Such a session ends at once, for nobody may answer its prompt, but its hooks are called as in any other.
//!
//! `MNEMOSYNE_TEST_CLAUDE=PATH` names the program; without it these tests say `SKIPPED`.

use crate::init::Machine;
use crate::support::{Ran, Running, kinds, skipped};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A program of that size, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(120);

struct Agent {
    program: PathBuf,
    /// How a process is kept from the network.
    cut_off: &'static [&'static str],
    machine: Machine,
}

impl Agent {
    fn new() -> Option<Agent> {
        let Some(program) = std::env::var_os("MNEMOSYNE_TEST_CLAUDE").map(PathBuf::from) else {
            skipped(
                "MNEMOSYNE_TEST_CLAUDE names no Claude Code: the plugin and the settings are tried on none",
            );
            return None;
        };
        let works = |line: &&[&str]| {
            Command::new("unshare").args(*line).arg("true").output().is_ok_and(|ran| ran.status.success())
        };
        let ways: [&'static [&'static str]; 2] = [&["-n"], &["-rn"]];
        let Some(cut_off) = ways.into_iter().find(works) else {
            skipped(
                "a process cannot be cut off from the network here, and Claude Code is not let loose on it",
            );
            return None;
        };
        let program = program.canonicalize().expect("MNEMOSYNE_TEST_CLAUDE names a program");
        Some(Agent { program, cut_off, machine: Machine::new() })
    }

    fn run(&self, args: &[&str]) -> Ran {
        let home = self.machine.world.home();
        let mut path = home.join("bin").into_os_string();
        path.push(":/usr/bin:/bin");
        let mut command = Command::new("unshare");
        command
            .args(self.cut_off)
            .arg(&self.program)
            .args(args)
            .env_clear()
            .env("PATH", path)
            .env("HOME", home)
            .env("MNEMOSYNE_DATA_DIR", self.machine.world.data())
            .env("MNEMOSYNE_DISABLE_AUTO_START_API", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .current_dir(self.machine.app())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Running::start(&mut command).wait_at_most(PATIENCE)
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{args:?} {ran}");
        ran.stdout
    }

    /// A session that nobody answers; what is on record of it, by name.
    #[track_caller]
    fn session(&self) -> Vec<String> {
        let before = if self.machine.world.data().exists() { self.machine.world.events([]).len() } else { 0 };
        let ran = self.run(&["-p", "hello"]);
        assert!(ran.code.is_some(), "{ran}");
        let mut events = self.machine.world.events([]).split_off(before);
        // What the MCP server says of itself, which the plugin brings along.
        events.retain(|event| event["category"] != "cli" && event["category"] != "interface");
        let mut told: Vec<String> = kinds(&events).into_iter().map(str::to_owned).collect();
        // The last hooks run side by side, and 2.1.330 may end before it has called that of a turn that failed, or in the midst of it.
        told.sort();
        let failed = told.iter().filter(|kind| *kind == "turn_failed").count();
        assert!(failed <= 1, "{told:?}");
        told.retain(|kind| kind != "turn_failed");
        told
    }

    fn install_plugin(&self) {
        let market = self.machine.world.home().join("market");
        crate::attack_plants::copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".claude-plugin"), &{
            std::fs::create_dir(&market).expect("a directory");
            market.join(".claude-plugin")
        });
        let market = market.to_str().expect("UTF-8");
        let said = self.ok(&["plugin", "validate", market]);
        assert!(said.contains("Validation passed"), "{said}");
        self.ok(&["plugin", "validate", &format!("{market}/.claude-plugin/plugin.json")]);
        self.ok(&["plugin", "marketplace", "add", market]);
        self.ok(&["plugin", "install", "mnemosyne@mnemosyne"]);
        // What is valid need not load. An agent that is too old for the newer hooks says so, and of nothing else.
        let listed = self.ok(&["plugin", "list"]);
        let unknown = listed.matches("Invalid key in record").count();
        let of_newer =
            ["\"DirectoryAdded\"\n", "\"PostModelSwitch\"\n"].map(|hook| listed.matches(hook).count());
        assert!(listed.contains("enabled") || listed.contains("failed to load"), "{listed}");
        assert_eq!((unknown, listed.contains("failed")), (of_newer.iter().sum(), unknown > 0), "{listed}");
    }

    fn register(&self) {
        let data = self.machine.world.data();
        let data = data.to_str().expect("UTF-8");
        self.machine.ok(&["--data-dir", data, "init", "--claude", "--user", "--yes"]);
    }
}

const SESSION: [&str; 3] = ["prompt_submitted", "session_ended", "session_started"];

#[test]
fn the_plugin_is_valid_loads_and_records_a_session() {
    let Some(agent) = Agent::new() else { return };
    agent.install_plugin();
    assert_eq!(agent.session(), SESSION);
    let data = agent.machine.world.data();
    let doctor = agent.machine.run(&["--data-dir", data.to_str().expect("UTF-8"), "doctor"]).stdout;
    assert!(doctor.contains("the plugin, enabled in ") && doctor.contains(", has all 30"), "{doctor}");
    assert!(
        doctor.contains(&format!("the plugin calls {}", agent.machine.world.home().join("bin").display())),
        "{doctor}"
    );
}

#[test]
fn what_init_registers_records_a_session_and_beside_the_plugin_once() {
    let Some(agent) = Agent::new() else { return };
    agent.register();
    let with_runs = agent.session();
    assert_eq!(with_runs, SESSION);
    agent.install_plugin();
    assert_eq!(agent.session(), SESSION, "with both each event is recorded once");
    agent.machine.ok(&["init", "--undo", "--user", "--yes"]);
    assert_eq!(agent.session(), SESSION, "and the plugin alone goes on");
}

/// As after the question that Claude Code asks once of each directory: the hooks want the same yes.
fn trust(agent: &Agent) {
    let app = agent.machine.app().canonicalize().expect("there");
    let projects =
        serde_json::json!({"projects": {app.to_str().expect("UTF-8"): {"hasTrustDialogAccepted": true}}});
    std::fs::write(agent.machine.world.home().join(".claude.json"), projects.to_string()).expect("written");
}

#[test]
fn the_mcp_server_that_init_registers_is_connected_and_nobody_is_asked_again() {
    let Some(agent) = Agent::new() else { return };
    trust(&agent);
    agent.machine.ok(&["init", "--claude", "--yes"]);
    let listed = agent.ok(&["mcp", "list"]);
    assert!(listed.contains("mnemosyne serve - ") && listed.contains("Connected"), "{listed}");
    let shown = agent.ok(&["mcp", "get", "mnemosyne"]);
    assert!(shown.contains("Connected") && shown.contains("Args: serve"), "{shown}");
    agent.machine.ok(&["init", "--undo", "--yes"]);
    let listed = agent.ok(&["mcp", "list"]);
    assert!(!listed.contains("mnemosyne serve"), "{listed}");
}

#[test]
fn the_plugin_brings_the_mcp_server_along() {
    let Some(agent) = Agent::new() else { return };
    agent.install_plugin();
    let listed = agent.ok(&["mcp", "list"]);
    assert!(
        listed.contains("plugin:mnemosyne:mnemosyne: mnemosyne serve - ") && listed.contains("Connected"),
        "{listed}"
    );
}

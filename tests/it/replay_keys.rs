//! `replay --step` under real keys in a real terminal, which it gives back; and `--state` without one.
//!
//! The terminal is tmux's. Where tmux is not installed the tests of it say so and end.

use crate::support::{World, skipped, wait_at_most};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a picture may take on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A world whose session `s` has six events: start, prompt, call, its failure, prompt, end.
fn recorded() -> World {
    let world = World::new();
    let server = world.server();
    for (n, (kind, payload)) in [
        ("session_started", json!({"source": "startup", "cwd": "/code"})),
        ("prompt_submitted", json!({"prompt": "first question"})),
        ("tool_call_started", json!({"tool": "Bash", "tool_use_id": "t1", "input": {"command": "false"}})),
        (
            "tool_call_failed",
            json!({"tool": "Bash", "tool_use_id": "t1", "error": "exit 1", "interrupted": false}),
        ),
        ("prompt_submitted", json!({"prompt": "second question"})),
        ("session_ended", json!({"reason": "other", "inferred": false})),
    ]
    .into_iter()
    .enumerate()
    {
        let event = json!({"kind": kind, "session": "s", "payload": payload, "time": format!("2026-01-02T12:00:{n:02}Z")});
        let answer = server.post("/events/emit", &event.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    server.stop();
    world
}

/// The seqs of the session's events, in order.
fn seqs(world: &World) -> Vec<u64> {
    world.events(["--session", "s"]).iter().map(|event| event["seq"].as_u64().expect("a seq")).collect()
}

#[expect(clippy::print_stderr, reason = "the test runner shows it; there is nobody else to tell")]
fn say(words: &str) {
    eprintln!("{words}");
}

/// A shell in a terminal of tmux, with a server of tmux of its own; ended with the value.
pub(crate) struct Tmux {
    socket: PathBuf,
}

impl Tmux {
    /// None where tmux is not installed.
    pub(crate) fn start(world: &World) -> Option<Tmux> {
        if Command::new("tmux").arg("-V").output().is_err() {
            skipped("tmux is not installed; what asks for a terminal goes unchecked");
            return None;
        }
        let tmux = Tmux { socket: world.home().join("tmux") };
        let mut start = tmux.command();
        start.args(["-f", "/dev/null", "new-session", "-d", "-x", "110", "-y", "70", "sh"]);
        start
            .env("HOME", world.home())
            .env("MNEMOSYNE_DATA_DIR", world.data())
            .env("TZ", "UTC")
            .env("PS1", "$ ");
        start.env("LC_ALL", "C.UTF-8").current_dir(world.home());
        let started = start.output().expect("tmux");
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        Some(tmux)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).stdin(Stdio::null()).env_remove("TMUX");
        command
    }

    pub(crate) fn keys(&self, keys: &[&str]) {
        let sent = self.command().arg("send-keys").args(keys).status().expect("tmux");
        assert!(sent.success());
    }

    pub(crate) fn line(&self, text: &str) {
        self.keys(&["-l", text]);
        self.keys(&["Enter"]);
    }

    pub(crate) fn screen(&self) -> String {
        let shown = self.command().args(["capture-pane", "-p"]).output().expect("tmux");
        String::from_utf8(shown.stdout).expect("UTF-8")
    }

    /// Waits until the screen shows it.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, shown: impl Fn(&str) -> bool) -> String {
        wait_at_most(PATIENCE, what, || Some(self.screen()).filter(|screen| shown(screen)))
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&format!("the screen:\n{}", self.screen()));
        }
        // It is gone already where the test has ended its shell.
        let _ = self.command().arg("kill-server").output();
    }
}

/// What `stty -a` says, through a file.
fn stty(tmux: &Tmux, world: &World, name: &str) -> String {
    let path = world.home().join(name);
    tmux.line(&format!("stty -a > {name}.new; mv {name}.new {name}; echo {name}-done"));
    tmux.wait(name, |screen| {
        screen
            .lines()
            .any(|line| line.trim_end().ends_with(&format!("{name}-done")) && !line.contains("echo"))
    });
    std::fs::read_to_string(path).expect("what stty said")
}

#[test]
fn keys_step_back_and_forth_find_and_jump_and_the_terminal_is_given_back() {
    let world = recorded();
    let seqs = seqs(&world);
    let Some(tmux) = Tmux::start(&world) else { return };
    let before = stty(&tmux, &world, "before");
    let program = env!("CARGO_BIN_EXE_mnemosyne");
    tmux.line(&format!("{program} replay s --step --state; echo ended-$?"));
    let first = tmux.wait_for("1/6");
    assert!(
        first.contains(&format!("seq {}  ", seqs[0])) && first.contains("paused") && first.contains("x1  "),
        "{first}"
    );
    assert!(first.contains("session_started") && !first.contains("first question"), "{first}");

    tmux.keys(&["Right"]);
    let second = tmux.wait_for("2/6");
    assert!(second.contains("first question") && second.contains("/counts/prompts: 0 -> 1"), "{second}");
    tmux.keys(&["f"]);
    let failed = tmux.wait_for("4/6");
    assert!(
        failed.contains("> ")
            && failed.contains("tool_call_failed")
            && failed.contains("/counts/tools_failed: 0 -> 1"),
        "{failed}"
    );
    tmux.keys(&["Left"]);
    let back = tmux.wait_for("3/6");
    assert!(!back.contains("tool_call_failed"), "the failure lies ahead again: {back}");
    tmux.keys(&["p"]);
    tmux.wait_for("5/6");
    tmux.keys(&["P"]);
    tmux.wait_for("2/6");
    tmux.keys(&["-l", &format!("g{}", seqs[5])]);
    tmux.wait_for(&format!("jump to seq {}_", seqs[5]));
    tmux.keys(&["Enter"]);
    tmux.wait_for("6/6");
    tmux.keys(&["f"]);
    tmux.wait_for("no later failure");
    tmux.keys(&["Up"]);
    tmux.wait_for("x2  ");
    tmux.keys(&["?"]);
    tmux.wait_for("next, previous failure");
    tmux.keys(&["?"]);
    tmux.keys(&["Home"]);
    tmux.wait_for("1/6");
    tmux.keys(&["Space"]);
    tmux.wait_for("6/6");
    tmux.keys(&["q"]);
    let after = tmux.wait_for("ended-0");
    assert!(!after.contains("6/6"), "the first screen is back: {after}");
    assert_eq!(stty(&tmux, &world, "after"), before);
}

#[test]
fn sigterm_and_control_c_give_the_terminal_back_too() {
    let world = recorded();
    let Some(tmux) = Tmux::start(&world) else { return };
    let before = stty(&tmux, &world, "before");
    let program = env!("CARGO_BIN_EXE_mnemosyne");
    tmux.line(&format!("{program} replay s --step; echo ended-$?"));
    tmux.wait_for("1/6");
    tmux.keys(&["C-c"]);
    tmux.wait_for("ended-130");
    assert_eq!(stty(&tmux, &world, "between"), before);
    tmux.line(&format!("clear; sh -c 'echo $$ > pid; exec {program} replay s --step'; echo again-$?"));
    tmux.wait_for("1/6");
    let pid = std::fs::read_to_string(world.home().join("pid")).expect("a pid");
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().expect("a number")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    tmux.wait_for("again-130");
    assert_eq!(stty(&tmux, &world, "after"), before);
}

#[test]
fn without_a_terminal_steps_are_lines_and_states_follow_their_events() {
    let world = recorded();
    let text = world.ok(["replay", "s", "--step", "--state"]).stdout;
    assert!(text.contains("/counts/prompts: 0 -> 1") && text.contains("/counts/prompts: 1 -> 2"), "{text}");
    let lines = world.ok(["replay", "s", "--step", "--state", "--json"]).json_lines();
    assert_eq!(lines.len(), 12, "an event and its changes, six times");
    for pair in lines.chunks(2) {
        assert_eq!(pair[0]["seq"], pair[1]["state"]["seq"]);
        assert_eq!(pair[1]["state"]["projection"], "sessions");
    }
    let unknown = world.run(["replay", "s", "--state", "sesions"]);
    assert_eq!(unknown.code, Some(3), "{unknown}");
    assert!(world.ok(["replay", "s", "--step", "--state", "commands"]).stdout.contains("session_ended"));
}

/// The changes applied one after the other give what `state --at` says.
#[test]
fn the_changes_of_all_steps_add_up_to_the_state_at_each() {
    let world = recorded();
    let lines = world.ok(["replay", "s", "--step", "--state", "--json"]).json_lines();
    let mut state = Value::Null;
    for line in lines.iter().filter_map(|line| line.get("state")) {
        for change in line["changes"].as_array().expect("changes") {
            apply(&mut state, change["path"].as_str().expect("a path"), change.get("new"));
        }
        let at = line["seq"].to_string();
        let expected = world.ok(["state", "sessions", "--at", &at, "--json"]).json();
        assert_eq!(state, expected["state"]["sessions"]["s"], "at seq {at}");
    }
}

fn apply(state: &mut Value, path: &str, new: Option<&Value>) {
    let Some((parents, last)) = path.rsplit_once('/') else {
        *state = new.cloned().unwrap_or_default();
        return;
    };
    let last = last.replace("~1", "/").replace("~0", "~");
    match (state.pointer_mut(parents).expect("what holds it"), new) {
        (Value::Array(items), Some(new)) if last.parse() == Ok(items.len()) => items.push(new.clone()),
        (Value::Array(items), Some(new)) => items[last.parse::<usize>().expect("a place")] = new.clone(),
        (Value::Array(items), None) => items.truncate(last.parse().expect("a place")),
        (parent, Some(new)) => parent[last] = new.clone(),
        (parent, None) => _ = parent.as_object_mut().expect("an object").remove(&last),
    }
}

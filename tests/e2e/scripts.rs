//! The hook scripts of this repository, run as Claude Code runs them: by `sh`, with a hook's environment, the payload on stdin.

use crate::life::{Home, Unasked, fed, silent};
use crate::support::Sse;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

/// A home whose servers leave a second after the last session and the last client.
pub(crate) fn home() -> Home {
    Home::with_config("[server]\naddr = \"127.0.0.1:0\"\nlinger = 1\n")
}

/// A process that stands for the agent. Killed at the end.
pub(crate) struct Agent(std::process::Child);

impl Agent {
    pub(crate) fn new() -> Agent {
        Agent(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("a process"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Runs a script of `.claude/hooks` with this payload; the program is found in `PATH`. It must say nothing and succeed.
    #[track_caller]
    pub(crate) fn script(&self, home: &Home, name: &str, payload: &Value) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let programs = Path::new(env!("CARGO_BIN_EXE_mnemosyne")).parent().expect("its directory");
        let mut command = Command::new("sh");
        command
            .arg(root.join(".claude/hooks").join(name))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
            .env("HOME", home.world.home())
            .env("MNEMOSYNE_DATA_DIR", home.world.data())
            .env("CLAUDE_PROJECT_DIR", root)
            .env("CLAUDE_PID", self.pid().to_string())
            .current_dir("/")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        silent(&fed(&mut command, payload));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Either may have happened already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What Claude Code hands to the hook at the start of a session.
pub(crate) fn start(session: &str) -> Value {
    json!({
        "session_id": session, "hook_event_name": "SessionStart", "source": "resume", "cwd": "/code/parcels",
        "transcript_path": "/nowhere/t.jsonl", "model": "a-model",
    })
}

/// What Claude Code hands to the hook at the end of a session.
pub(crate) fn end(session: &str) -> Value {
    json!({
        "session_id": session, "hook_event_name": "SessionEnd", "reason": "prompt_input_exit", "cwd": "/code/parcels",
        "transcript_path": "/nowhere/t.jsonl",
    })
}

/// The events of a session, from the first on, as the stream tells them.
#[track_caller]
pub(crate) fn stream(server: &Unasked, query: &str) -> Sse {
    let bearer = format!("Bearer {}", server.token);
    let stream = Sse::open(&server.addr, &format!("/events/stream?{query}"), &[("Authorization", &bearer)]);
    assert_eq!(stream.status, 200);
    stream
}

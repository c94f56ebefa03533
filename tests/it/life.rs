//! What the tests of a server's life share: a home in which hooks may start servers, and none is left at the end.

use crate::support::{Ran, Response, Running, World, http_request, wait_for};
use serde_json::{Value, json};
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A [`World`] whose hooks start servers, on any free port. Whatever server is left at the end is stopped.
pub(crate) struct Home {
    pub(crate) world: World,
}

impl Home {
    pub(crate) fn new() -> Home {
        Home::with_config("[server]\naddr = \"127.0.0.1:0\"\n")
    }

    pub(crate) fn with_config(config: &str) -> Home {
        let home = Home { world: World::new() };
        std::fs::create_dir_all(home.world.data()).expect("the data directory");
        std::fs::write(home.world.data().join("config.toml"), config).expect("the configuration");
        home
    }

    /// The `hook` command, free to start a server.
    pub(crate) fn hook_command(&self) -> Command {
        let mut command = self.world.command(["hook"]);
        command.env_remove("MNEMOSYNE_DISABLE_AUTO_START_API").stdin(Stdio::piped());
        command
    }

    /// One hook, free to start a server. Its output is read to the end.
    #[track_caller]
    pub(crate) fn hook(&self, payload: &Value) {
        silent(&fed(&mut self.hook_command(), payload));
    }

    /// The runtime file, once there is one.
    pub(crate) fn runtime(&self) -> Option<Value> {
        let text = std::fs::read_to_string(self.world.data().join("server.json")).ok()?;
        Some(serde_json::from_str(&text).expect("server.json is written whole or not at all"))
    }

    /// Waits for the server that a hook started.
    #[track_caller]
    pub(crate) fn server(&self) -> Unasked {
        let runtime = wait_for("a server's runtime file", || self.runtime());
        let text = |name: &str| runtime[name].as_str().expect("a text").to_owned();
        let pid = u32::try_from(runtime["pid"].as_u64().expect("a pid")).expect("a pid");
        Unasked { pid, addr: text("addr"), token: text("token") }
    }

    /// The last start that was made unasked.
    pub(crate) fn last_start(&self) -> Option<Value> {
        let text = std::fs::read_to_string(self.world.data().join("start.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.world.data().join("log/server.log")).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn stop(&self) {
        self.world.ok(["api-server", "--stop"]);
    }

    /// Every process that works on this data directory, by its command line.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let data = self.world.data();
        let data = data.to_str().expect("UTF-8");
        let listing = std::fs::read_dir("/proc").expect("processes");
        let pids = listing.filter_map(|item| item.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let ours = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|argument| argument == data.as_bytes())
        };
        pids.filter(|pid| runs(*pid) && ours(pid)).collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A start that is under way becomes a server that can be stopped, or nothing.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while std::time::Instant::now() < deadline {
            let mut stop = self.world.command(["api-server", "--stop"]);
            let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
            if self.processes().is_empty() {
                return;
            }
        }
    }
}

/// A server that nobody here is the parent of.
pub(crate) struct Unasked {
    pub(crate) pid: u32,
    pub(crate) addr: String,
    pub(crate) token: String,
}

impl Unasked {
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        let bearer = format!("Bearer {}", self.token);
        http_request(&self.addr, "GET", path, &[("Authorization", bearer.as_str())], b"")
    }

    /// What the system says of it: `environ`, `status`, `cwd`.
    pub(crate) fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.pid).into()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid).expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    #[track_caller]
    pub(crate) fn wait_for_end(&self) {
        wait_for("the end of the server", || (!runs(self.pid)).then_some(()));
    }
}

/// A process that stands for an agent. Killed at the end.
pub(crate) struct Agent(Child);

impl Agent {
    pub(crate) fn new() -> Agent {
        Agent(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("a process"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// One of its hooks.
    #[track_caller]
    pub(crate) fn hook(&self, home: &Home, payload: &Value) {
        let mut command = home.hook_command();
        silent(&fed(command.env("CLAUDE_PID", self.pid().to_string()), payload));
    }

    /// Ends it as nothing else does: no hook of its runs any more.
    pub(crate) fn kill(mut self) {
        self.0.kill().expect("a child of ours");
        self.0.wait().expect("its end");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command with this payload on its stdin.
#[track_caller]
pub(crate) fn fed(command: &mut Command, payload: &Value) -> Ran {
    let mut running = Running::start(command.stdin(Stdio::piped()));
    running.feed(payload.to_string().as_bytes());
    running.wait()
}

#[track_caller]
pub(crate) fn silent(ran: &Ran) {
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""), "{ran}");
}

/// What must not lie in the data directory of a server that has stopped.
#[track_caller]
pub(crate) fn nothing_is_left(home: &Home) {
    assert_eq!(home.processes(), [0; 0]);
    assert!(home.runtime().is_none() && home.last_start().is_none());
    let mut left = vec![home.world.data()];
    while let Some(path) = left.pop() {
        let kind = path.symlink_metadata().expect("what it is").file_type();
        assert!(!kind.is_socket() && !kind.is_fifo(), "{}", path.display());
        assert!(path.extension().is_none_or(|end| end != "tmp"), "{}", path.display());
        if kind.is_dir() {
            left.extend(
                std::fs::read_dir(&path).expect("a listing").map(|item| item.expect("a name").path()),
            );
        }
    }
    let lock = std::fs::read(home.world.data().join("lock")).expect("the lock's file stays");
    assert!(lock.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0), "it names nobody: {lock:?}");
}

/// Whether the process runs; one that nobody has waited for yet does not.
pub(crate) fn runs(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

pub(crate) fn started(session: &str) -> Value {
    json!({"session_id": session, "hook_event_name": "SessionStart", "source": "startup", "cwd": "/code/parcels"})
}

pub(crate) fn prompt(session: &str, text: &str) -> Value {
    json!({"session_id": session, "hook_event_name": "UserPromptSubmit", "cwd": "/code/parcels", "prompt": text})
}

pub(crate) fn tool(session: &str, id: &str) -> Value {
    json!({"session_id": session, "hook_event_name": "PreToolUse", "cwd": "/code/parcels", "tool_name": "Bash",
        "tool_use_id": id, "tool_input": {"command": "true"}})
}

pub(crate) fn ended(session: &str) -> Value {
    json!({"session_id": session, "hook_event_name": "SessionEnd", "cwd": "/code/parcels", "reason": "logout"})
}

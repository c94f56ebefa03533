//! Processes: bounded, drained, and ended by id, never by name.

use super::{BOUND, Response, Sse, http, wait_for};
use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a process that has ended left behind.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Stdout as JSON lines.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// Stdout as one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e} in {self}"))
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {:?}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// A process that was started here. Killed when dropped, so that a failing test leaves nothing behind.
pub(crate) struct Running {
    child: Child,
    stdout: Option<Drain>,
    stderr: Option<Drain>,
}

/// A thread that reads a stream to its end into a shared buffer, so that no pipe ever fills.
struct Drain {
    seen: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Drain {
    fn start(mut stream: impl Read + Send + 'static) -> Drain {
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let shared = seen.clone();
        let thread = std::thread::spawn(move || {
            let mut chunk = [0; 8192];
            while let Ok(n) = stream.read(&mut chunk) {
                if n == 0 {
                    break;
                }
                shared.lock().expect("the buffer").extend_from_slice(&chunk[..n]);
            }
        });
        Drain { seen, thread }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("the buffer")).into_owned()
    }

    fn finish(self) -> String {
        let end = Instant::now() + Duration::from_secs(5);
        while !self.thread.is_finished() {
            assert!(
                Instant::now() < end,
                "a stream stayed open after its process had ended: {}",
                self.text()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        self.text()
    }
}

impl Running {
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Running {
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        let stdout = child.stdout.take().map(Drain::start);
        let stderr = child.stderr.take().map(Drain::start);
        Running { child, stdout, stderr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to stdin and closes it. A process that has stopped reading is no failure of the test by itself.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let mut stdin = self.child.stdin.take().expect("stdin is a pipe");
        if let Err(error) = stdin.write_all(bytes) {
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        }
    }

    /// Its stdin, to be written to and closed by whoever takes it.
    pub(crate) fn take_stdin(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("stdin is a pipe")
    }

    /// What it has printed on stdout so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.as_ref().map(Drain::text).unwrap_or_default()
    }

    /// What it has printed on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.as_ref().map(Drain::text).unwrap_or_default()
    }

    /// Waits until stdout holds this text.
    #[track_caller]
    pub(crate) fn wait_for_stdout(&self, text: &str) {
        let seen = || self.stdout().contains(text).then_some(());
        let start = Instant::now();
        while seen().is_none() {
            assert!(
                start.elapsed() < BOUND,
                "{text:?} never came on stdout:\n{}\n--- stderr\n{}",
                self.stdout(),
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Closes our end of its stdout, as `| head` does.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }

    /// Sends a signal to this very process.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid fits");
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid is not 0");
        rustix::process::kill_process(pid, signal)
            .expect("a process that has not been waited for takes signals");
    }

    /// Waits for its end, at most [`BOUND`].
    #[track_caller]
    pub(crate) fn wait(self) -> Ran {
        self.wait_at_most(BOUND)
    }

    #[track_caller]
    pub(crate) fn wait_at_most(mut self, bound: Duration) -> Ran {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                break status;
            }
            assert!(
                start.elapsed() < bound,
                "still running after {bound:?}\n--- stdout\n{}\n--- stderr\n{}",
                self.stdout(),
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(1));
        };
        let stdout = self.stdout.take().map(Drain::finish).unwrap_or_default();
        let stderr = self.stderr.take().map(Drain::finish).unwrap_or_default();
        Ran { code: status.code(), stdout, stderr }
    }

    /// Kills it outright (SIGKILL) and waits for its end.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a child of ours can be killed");
        self.child.wait().expect("a killed child ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has usually ended by now; either way nobody is left to hear about a failure here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that was started here.
pub(crate) struct Server {
    running: Running,
    /// Where it really listens, as its runtime file says.
    pub(crate) addr: String,
    pub(crate) token: String,
    pub(crate) data: PathBuf,
}

impl Server {
    #[track_caller]
    pub(crate) fn start(data: &Path, command: &mut Command) -> Server {
        Server::try_start(data, command).unwrap_or_else(|ran| panic!("the server ended at once: {ran}"))
    }

    /// [`Server::start`] for one that may fail to start: how it ended.
    #[track_caller]
    pub(crate) fn try_start(data: &Path, command: &mut Command) -> Result<Server, Ran> {
        command.stdin(Stdio::null());
        let mut running = Running::start(command);
        let pid = running.pid();
        let start = wait_for("the server's runtime file", || match read_runtime(data, pid) {
            Some(found) => Some(Some(found)),
            None => (!running.is_alive()).then_some(None),
        });
        match start {
            Some((addr, token)) => Ok(Server { running, addr, token, data: data.to_owned() }),
            None => Err(running.wait()),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.running.is_alive()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        self.running.signal(signal);
    }

    pub(crate) fn stdout(&self) -> String {
        self.running.stdout()
    }

    pub(crate) fn stderr(&self) -> String {
        self.running.stderr()
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }

    /// A JSON body, with the token.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &str) -> Response {
        self.request("POST", path, &[("Content-Type", "application/json")], body.as_bytes())
    }

    /// Any request, with the token and these headers more.
    #[track_caller]
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![("Authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        http::request(&self.addr, method, path, &all, body)
    }

    /// Exactly these headers beside Host and Content-Length: for what a stranger would send.
    #[track_caller]
    pub(crate) fn bare_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        http::request(&self.addr, method, path, headers, body)
    }

    /// Opens the stream of events.
    #[track_caller]
    pub(crate) fn sse(&self, path: &str, headers: &[(&str, &str)]) -> Sse {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![("Authorization", bearer.as_str()), ("Accept", "text/event-stream")];
        all.extend_from_slice(headers);
        Sse::open(&self.addr, path, &all)
    }

    /// Asks it to stop (SIGTERM) and waits for its clean end.
    #[track_caller]
    pub(crate) fn stop(self) -> Ran {
        self.running.signal(rustix::process::Signal::TERM);
        let ran = self.running.wait();
        assert_eq!(ran.code, Some(0), "a server that is asked to stop ends well: {ran}");
        ran
    }

    /// Waits for an end that something else brought about.
    #[track_caller]
    pub(crate) fn wait(self) -> Ran {
        self.running.wait()
    }

    /// Kills it outright, as a crash would.
    pub(crate) fn kill(self) {
        self.running.kill();
    }
}

/// Address and token, once the runtime file of this very process stands.
fn read_runtime(data: &Path, pid: u32) -> Option<(String, String)> {
    let text = std::fs::read_to_string(data.join("server.json")).ok()?;
    let file: serde_json::Value =
        serde_json::from_str(&text).expect("server.json is written whole or not at all");
    (file["pid"] == pid).then(|| {
        let field =
            |name: &str| file[name].as_str().unwrap_or_else(|| panic!("no {name} in {file}")).to_owned();
        (field("addr"), field("token"))
    })
}

//! How long a start takes with a long history, in one run: `cargo bench --bench start`.
//!
//! A journal is filled with a million events over HTTP, and the server is stopped well, so that its snapshots are there. Then it is
//! started again and again: from the spawn of the process to the answer 200 of `GET /sessions`, which waits until the projection
//! has seen the whole journal. In turn with it an empty process (`/bin/true`) is started and waited for, so that whatever else the
//! machine does falls on both. Medians. The same with a kill instead of the stop, which leaves a tail to verify and fold.
//!
//! Before that the start that nobody asks for: from the spawn of a session's first hook, in a directory where nothing is, to the 200
//! of `GET /health` of the server that the hook has started.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const EVENTS: usize = 1_000_000;
const BATCH: usize = 1_000;
const SESSIONS: usize = 200;
const STARTS: usize = 25;
const PROGRAM: &str = env!("CARGO_BIN_EXE_mnemosyne");
/// What is not there after this long does not come.
const BOUND: Duration = Duration::from_mins(1);

type Fault = Box<dyn std::error::Error>;

fn main() -> Result<(), Fault> {
    // `cargo test --benches` starts it only to see that it runs.
    let whole = std::env::args().any(|argument| argument == "--bench");
    let (events, starts) = if whole { (EVENTS, STARTS) } else { (BATCH, 2) };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:34} {:>10} {:>10} {:>10} {:>10} {:>7}",
        "", "/bin/true", "listens", "200", "worst", "ratio"
    )?;
    let mut first = Row::default();
    for _ in 0..starts {
        first.add(empty()?, first_hook()?);
    }
    first.write(&mut out, "first hook, nothing there before")?;
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    fill(&data, events)?;
    writeln!(out, "{events} events in {SESSIONS} sessions")?;
    for (name, end) in [("after a clean stop", End::Stop), ("after a kill", End::Kill)] {
        let mut row = Row::default();
        for _ in 0..starts {
            let empty = empty()?;
            let (server, found, answered) = start(&data)?;
            row.add(empty, (found, answered));
            end_it(server, end)?;
        }
        row.write(&mut out, name)?;
    }
    Ok(())
}

/// What the rounds of one line took.
#[derive(Default)]
struct Row {
    empty: Vec<Duration>,
    listens: Vec<Duration>,
    answers: Vec<Duration>,
}

impl Row {
    fn add(&mut self, empty: Duration, (listens, answers): (Duration, Duration)) {
        self.empty.push(empty);
        self.listens.push(listens);
        self.answers.push(answers);
    }

    fn write(self, out: &mut impl std::io::Write, name: &str) -> std::io::Result<()> {
        let worst = self.answers.iter().max().copied().unwrap_or_default();
        let (empty, listens, answers) = (median(self.empty), median(self.listens), median(self.answers));
        let ratio = answers.as_secs_f64() / empty.as_secs_f64();
        writeln!(
            out,
            "{name:34} {empty:>10.1?} {listens:>10.1?} {answers:>10.1?} {worst:>10.1?} {ratio:>7.1}"
        )
    }
}

/// How long an empty process takes.
fn empty() -> Result<Duration, Fault> {
    let began = Instant::now();
    Command::new("/bin/true").status()?;
    Ok(began.elapsed())
}

/// A session's first hook, and the server that it starts: how long until that could be found, and until it answered.
fn first_hook() -> Result<(Duration, Duration), Fault> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    std::fs::create_dir(&data)?;
    std::fs::write(data.join("config.toml"), "[server]\naddr = \"127.0.0.1:0\"\n")?;
    let payload = dir.path().join("payload.json");
    let started = serde_json::json!({"session_id": "first", "hook_event_name": "SessionStart", "source": "startup",
        "cwd": "/code/parcels"});
    std::fs::write(&payload, started.to_string())?;
    let command = |word: &str| {
        let mut command = Command::new(PROGRAM);
        command.arg(word).env("MNEMOSYNE_DATA_DIR", &data).env_remove("MNEMOSYNE_DISABLE_AUTO_START_API");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let began = Instant::now();
    let status = command("hook").stdin(std::fs::File::open(&payload)?).status()?;
    let place = found(&data, None, began)?;
    let listens = began.elapsed();
    ask(&mut connect(&place)?, &place, "GET /health", "")?;
    let answered = began.elapsed();
    let stopped = command("api-server").arg("--stop").stdin(Stdio::null()).status()?;
    if !(status.success() && stopped.success()) {
        return Err(format!("the hook ended with {status}, the stop with {stopped}").into());
    }
    Ok((listens, answered))
}

#[derive(Clone, Copy)]
enum End {
    Stop,
    Kill,
}

/// Starts the server; how long it took until it could be found, and until it answered.
fn start(data: &Path) -> Result<(Child, Duration, Duration), Fault> {
    let began = Instant::now();
    let server = spawn(data)?;
    let place = found(data, Some(server.id()), began)?;
    let listens = began.elapsed();
    let answer = ask(&mut connect(&place)?, &place, "GET /sessions?limit=1", "")?;
    let answered = began.elapsed();
    if answer.is_empty() {
        return Err("an empty answer".into());
    }
    Ok((server, listens, answered))
}

fn spawn(data: &Path) -> Result<Child, Fault> {
    let server = Command::new(PROGRAM)
        .args(["api-server", "--addr", "127.0.0.1:0"])
        .env("MNEMOSYNE_DATA_DIR", data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(server)
}

/// Where a server listens, and its token.
struct Place {
    addr: String,
    token: String,
}

/// Asks for the runtime file, of this very process if one is named, until it is there: every half millisecond, which is the error of
/// the measure.
fn found(data: &Path, process: Option<u32>, began: Instant) -> Result<Place, Fault> {
    loop {
        if let Ok(text) = std::fs::read_to_string(data.join("server.json")) {
            let file: serde_json::Value = serde_json::from_str(&text)?;
            if process.is_none_or(|process| file["pid"] == process) {
                let field = |name: &str| file[name].as_str().map(str::to_owned).ok_or("no such field");
                return Ok(Place { addr: field("addr")?, token: field("token")? });
            }
        }
        if began.elapsed() > BOUND {
            return Err("the server did not start within a minute".into());
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn connect(place: &Place) -> Result<BufReader<TcpStream>, Fault> {
    let socket = TcpStream::connect(&place.addr)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(BOUND))?;
    Ok(BufReader::new(socket))
}

/// Sends a request and reads the answer, which must be a 200 of a known length.
fn ask(socket: &mut BufReader<TcpStream>, place: &Place, line: &str, body: &str) -> Result<Vec<u8>, Fault> {
    let Place { addr, token } = place;
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    socket.get_mut().write_all(request.as_bytes())?;
    let (mut status, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        socket.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse()?;
        }
        status.get_or_insert(line);
    }
    let mut answer = vec![0; length];
    socket.read_exact(&mut answer)?;
    match status {
        Some(status) if status.starts_with("http/1.1 200") => Ok(answer),
        other => Err(format!("{other:?}: {}", String::from_utf8_lossy(&answer)).into()),
    }
}

/// Fills the journal, and ends the server well.
fn fill(data: &Path, events: usize) -> Result<(), Fault> {
    std::fs::create_dir_all(data)?;
    std::fs::write(data.join("config.toml"), "[emit]\nrate_per_second = 0\n")?;
    let server = spawn(data)?;
    let place = found(data, Some(server.id()), Instant::now())?;
    let mut socket = connect(&place)?;
    for batch in 0..events / BATCH {
        let batch: Vec<_> = (batch * BATCH..(batch + 1) * BATCH).map(event).collect();
        ask(&mut socket, &place, "POST /events/emit", &serde_json::Value::from(batch).to_string())?;
    }
    end_it(server, End::Stop)
}

/// Event `n`: of each session, in turn, a call of a tool and its end.
fn event(n: usize) -> serde_json::Value {
    let (session, at) = (n % SESSIONS, n / SESSIONS);
    let call = format!("toolu_{session}_{}", at / 2);
    let output = "a line of a tool's output, as long as many\n".repeat(2);
    let (kind, payload) = if at.is_multiple_of(2) {
        let input = serde_json::json!({"command": "cargo test"});
        ("tool_call_started", serde_json::json!({"tool": "Bash", "tool_use_id": call, "input": input}))
    } else {
        let output = serde_json::json!({"stdout": output, "interrupted": false});
        ("tool_call_completed", serde_json::json!({"tool": "Bash", "tool_use_id": call, "output": output}))
    };
    serde_json::json!({"kind": kind, "session": format!("session-{session}"), "payload": payload})
}

fn end_it(mut server: Child, end: End) -> Result<(), Fault> {
    match end {
        End::Kill => server.kill()?,
        End::Stop => {
            let pid = rustix::process::Pid::from_child(&server);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
    }
    let status = server.wait()?;
    match end {
        End::Stop if !status.success() => Err(format!("the server ended with {status}").into()),
        _ => Ok(()),
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

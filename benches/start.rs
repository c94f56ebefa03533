//! How long a start takes with a long history, in one run: `cargo bench --bench start`.
//!
//! A journal is filled with a million events over HTTP, and the server is stopped well, so that its snapshots are there. Then it is
//! started again and again: from the spawn of the process to the answer 200 of `GET /sessions`, which waits until the projection
//! has seen the whole journal. In turn with it an empty process (`/bin/true`) is started and waited for, so that whatever else the
//! machine does falls on both. Medians. The same with a kill instead of the stop, which leaves a tail to verify and fold.

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
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    fill(&data, events)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{events} events in {SESSIONS} sessions")?;
    writeln!(
        out,
        "{:34} {:>10} {:>10} {:>10} {:>10} {:>7}",
        "", "/bin/true", "listens", "200", "worst", "ratio"
    )?;
    for (name, end) in [("after a clean stop", End::Stop), ("after a kill", End::Kill)] {
        let (mut empty, mut listens, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..starts {
            let began = Instant::now();
            Command::new("/bin/true").status()?;
            empty.push(began.elapsed());
            let (server, found, answered) = start(&data)?;
            listens.push(found);
            answers.push(answered);
            end_it(server, end)?;
        }
        let worst = answers.iter().max().copied().unwrap_or_default();
        let (empty, listens, answers) = (median(empty), median(listens), median(answers));
        let ratio = answers.as_secs_f64() / empty.as_secs_f64();
        writeln!(
            out,
            "{name:34} {empty:>10.1?} {listens:>10.1?} {answers:>10.1?} {worst:>10.1?} {ratio:>7.1}"
        )?;
    }
    Ok(())
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
    let place = found(data, &server, began)?;
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

/// Asks for the runtime file of this very process until it is there: every half millisecond, which is the error of the measure.
fn found(data: &Path, server: &Child, began: Instant) -> Result<Place, Fault> {
    loop {
        if let Ok(text) = std::fs::read_to_string(data.join("server.json")) {
            let file: serde_json::Value = serde_json::from_str(&text)?;
            if file["pid"] == server.id() {
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
    let place = found(data, &server, Instant::now())?;
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

//! What a hook costs beside starting an empty process, in one run: `cargo bench --bench hook`.
//!
//! `/bin/true` and the `hook` command are started in turn, so that whatever else the machine does falls on both. Of each
//! round the medians are taken, and of three rounds the median ratio. Payloads: one of a usual size, and one that holds a
//! tool's output of 256 KiB, which is redacted and cut. With a server and without: one way, so one cost.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
const CALLS_PER_ROUND: usize = 400;
const PROGRAM: &str = env!("CARGO_BIN_EXE_mnemosyne");

type Fault = Box<dyn std::error::Error>;

fn main() -> Result<(), Fault> {
    // `cargo test --benches` starts it only to see that it runs.
    let calls = if std::env::args().any(|argument| argument == "--bench") { CALLS_PER_ROUND } else { 2 };
    let dir = tempfile::tempdir()?;
    let usual = payload(dir.path(), "usual.json", 200)?;
    let large = payload(dir.path(), "large.json", 256 * 1024)?;
    let data = dir.path().join("data");
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:34} {:>10} {:>10} {:>7}", "", "/bin/true", "hook", "ratio")?;
    for (name, payload, served) in
        [("no server", &usual, false), ("no server, 256 KiB", &large, false), ("server runs", &usual, true)]
    {
        let server = if served { Some(serve(&data)?) } else { None };
        let measured = measure(calls, payload, &data);
        let stopped = server.map_or(Ok(()), stop);
        let (empty, hook, ratio) = measured?;
        stopped?;
        writeln!(out, "{name:34} {:>7} us {:>7} us {ratio:>7.2}", empty.as_micros(), hook.as_micros())?;
    }
    Ok(())
}

/// The medians of the middle round, by ratio.
fn measure(calls: usize, payload: &Path, data: &Path) -> Result<(Duration, Duration, f64), Fault> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (mut empty, mut hook) = (Vec::new(), Vec::new());
        for _ in 0..calls {
            empty.push(time(&mut Command::new("/bin/true"), payload)?);
            hook.push(time(Command::new(PROGRAM).arg("hook").env("MNEMOSYNE_DATA_DIR", data), payload)?);
        }
        let (empty, hook) = (median(empty), median(hook));
        rounds.push((empty, hook, hook.as_secs_f64() / empty.as_secs_f64()));
    }
    rounds.sort_by(|a, b| a.2.total_cmp(&b.2));
    Ok(rounds[ROUNDS / 2])
}

fn time(command: &mut Command, payload: &Path) -> Result<Duration, Fault> {
    let stdin = File::open(payload)?;
    let start = Instant::now();
    let status = command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let took = start.elapsed();
    if status.success() { Ok(took) } else { Err(format!("{command:?} ended with {status}").into()) }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn payload(dir: &Path, name: &str, output_bytes: usize) -> Result<std::path::PathBuf, Fault> {
    let output = "a line of a tool's output, as long as many\n".repeat(output_bytes / 43 + 1);
    let payload = serde_json::json!({
        "session_id": "0d8f6c1e-52a7-4b1c-9a53-7c1b0e6f4a20", "transcript_path": "/code/s.jsonl", "cwd": "/code/parcels",
        "permission_mode": "default", "hook_event_name": "PostToolUse", "tool_name": "Bash", "tool_use_id": "toolu_bench",
        "tool_input": {"command": "cargo test", "description": "Run the tests"},
        "tool_response": {"stdout": output, "stderr": "", "interrupted": false},
    });
    let path = dir.join(name);
    std::fs::write(&path, payload.to_string())?;
    Ok(path)
}

/// A server on a free port; ready when it has written where it listens.
fn serve(data: &Path) -> Result<Child, Fault> {
    let server = Command::new(PROGRAM)
        .args(["api-server", "--addr", "127.0.0.1:0"])
        .env("MNEMOSYNE_DATA_DIR", data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    while !data.join("server.json").exists() {
        if start.elapsed() > Duration::from_mins(1) {
            stop(server)?;
            return Err("the server did not start within a minute".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(server)
}

fn stop(mut server: Child) -> Result<(), Fault> {
    server.kill()?;
    server.wait()?;
    Ok(())
}

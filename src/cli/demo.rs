//! `demo`: a small session through the real path, live and again, with nothing left behind.
//!
//! Everything is real: a server of its own on a free port, a journal, the `hook` command once for each payload of the
//! sample session, the server's stream for what is shown live, and the `replay` command at the end. The directory is
//! its own too: a temporary one, gone at the end, unless `--data-dir` names one to keep. The server ends with this
//! process, however that ends.

use super::lines::Lines;
use super::tail::show_frame;
use super::{Context, Exit, Outcome, api_server, detach, display};
use crate::agent;
use crate::client::{self, Next, Proven, Server, Stream};
use crate::clock::{self, ProcessStamp};
use crate::config::{DataDir, Env};
use crate::error::Error;
use crate::wire::{self, sse};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The sample session is shown this many times faster than it went.
const HASTE: u32 = 5;
/// The speed of the replay, and the longest pause in it.
const REPLAY: [&str; 4] = ["--speed", "20", "--max-gap", "1s"];
/// How long the last events may take from the hook to the stream.
const ARRIVAL_BOUND: Duration = Duration::from_secs(10);
/// How long to wait for an event before looking whether the user wants to end.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// Records a sample session through the real path, shows it live and again, and then goes on following until Ctrl-C.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// End after the replay, and remove the temporary data directory
    #[arg(long)]
    pub once: bool,
}

/// Shows it.
///
/// # Errors
/// When the server does not start, a hook fails, or an event does not arrive.
#[expect(clippy::needless_pass_by_value, reason = "the shape of every command")]
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    context.interrupt.take_over();
    let stage = Stage::set(context)?;
    let shown = show(&stage, args.once, context);
    let left = stage.clear();
    let outcome = shown?;
    left?;
    Ok(outcome)
}

fn show(stage: &Stage, once: bool, context: &mut Context) -> Result<Outcome, Error> {
    let data_dir = stage.dir.path().display().to_string();
    context
        .out
        .note(&format!("A server of its own listens on {} and records into {data_dir}", stage.server.addr()));
    context.out.note("\nLive, as an agent's hooks report them:");
    let stream = stage
        .server
        .stream(&client::target(wire::path::STREAM, [("from", "1")]), None)
        .map_err(Error::from)?;
    let mut live = Live { stream, session: String::new(), arrived: 0, lines: Lines::default() };
    let hooks = record(stage, &mut live, context)?;
    if context.interrupt.is_asked() {
        return Ok(interrupted());
    }
    context.out.note("\nThe same session again, from the journal:");
    let replayed = replay(stage, &live.session, context)?;
    if context.out.is_json() {
        context.out.json(&json!({
            "version": 1, "data_dir": data_dir, "addr": stage.server.addr(), "session": live.session,
            "hooks": hooks, "seen": live.arrived, "replayed": replayed,
        }))?;
    }
    what_next(stage, once, &live.session, context);
    let summary = format!("{} recorded, {} seen live", display::counted(hooks, "hook"), live.arrived);
    if once {
        return Ok(Outcome::with_summary(summary));
    }
    while !context.interrupt.is_asked() {
        live.show_for(Duration::from_secs(1), context)?;
    }
    Ok(interrupted())
}

fn interrupted() -> Outcome {
    Outcome { exit: Exit::Interrupted, summary: None }
}

/// Feeds the session to the `hook` command, payload by payload, and shows meanwhile what the stream brings.
fn record(stage: &Stage, live: &mut Live, context: &mut Context) -> Result<u64, Error> {
    let mut hooks = 0;
    for line in agent::SAMPLE_SESSION.lines() {
        let broken = |error| Error::failed(format!("the sample session is broken: {error}"));
        let mut payload: Value = serde_json::from_str(line).map_err(broken)?;
        let delay = payload.as_object_mut().and_then(|fields| fields.shift_remove("_delay_ms"));
        let delay = Duration::from_millis(delay.and_then(|ms| ms.as_u64()).unwrap_or_default()) / HASTE;
        live.show_for(delay, context)?;
        if context.interrupt.is_asked() {
            return Ok(hooks);
        }
        if let Some(session) = payload["session_id"].as_str() {
            session.clone_into(&mut live.session);
        }
        stage.hook(&payload)?;
        hooks += 1;
    }
    let deadline = Instant::now() + ARRIVAL_BOUND;
    while live.arrived < hooks && !context.interrupt.is_asked() {
        if Instant::now() >= deadline {
            let bound = ARRIVAL_BOUND.as_secs();
            return Err(Error::failed(format!(
                "{} of {hooks} events came over the stream within {bound} s",
                live.arrived
            )));
        }
        live.show_for(LOOK_AROUND, context)?;
    }
    Ok(hooks)
}

/// The server's stream, and how much of the session it has brought.
struct Live {
    stream: Stream,
    session: String,
    arrived: u64,
    lines: Lines,
}

impl Live {
    /// Shows what comes, until the time is over or the user wants to end.
    fn show_for(&mut self, time: Duration, context: &mut Context) -> Result<(), Error> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.stream.next(left.min(LOOK_AROUND)).map_err(Error::from)? {
                Next::Frame(frame) => self.show(&frame, context)?,
                Next::Quiet => context.out.flush()?,
                Next::End => return Err(Error::failed("the demonstration's server ended before its time")),
            }
            if left.is_zero() || context.interrupt.is_asked() {
                return context.out.flush();
            }
        }
    }

    fn show(&mut self, frame: &sse::Frame, context: &mut Context) -> Result<(), Error> {
        if !sse::CONTROL_NAMES.contains(&frame.event.as_str()) {
            let event: Value = serde_json::from_str(&frame.data).map_err(|error| {
                Error::failed(format!("the server sent an event that cannot be read: {error}"))
            })?;
            self.arrived += u64::from(event["session"].as_str() == Some(&self.session));
        }
        // With --json the one object at the end is the data.
        if context.out.is_json() { Ok(()) } else { show_frame(frame, &mut self.lines, context) }
    }
}

/// The `replay` command on the same directory; how many lines it printed.
fn replay(stage: &Stage, session: &str, context: &mut Context) -> Result<u64, Error> {
    let mut command = stage.command(&["replay", session])?;
    command.args(REPLAY).stdout(Stdio::piped()).stderr(Stdio::inherit());
    if context.out.is_json() {
        command.arg("--json");
    }
    if context.out.is_colored() {
        command.args(["--color", "always"]);
    }
    if context.out.is_quiet() {
        command.arg("--quiet");
    }
    let mut child =
        Guarded(command.spawn().map_err(|error| Error::failed(format!("cannot start the replay: {error}")))?);
    let mut printed = 0;
    for line in child.0.stdout.take().map(BufReader::new).into_iter().flat_map(BufReader::lines) {
        let line = line.map_err(|error| Error::failed(format!("cannot read the replay: {error}")))?;
        printed += 1;
        if !context.out.is_json() {
            context.out.line(&line)?;
            context.out.flush()?;
        }
        if context.interrupt.is_asked() {
            return Ok(printed);
        }
    }
    let status =
        child.0.wait().map_err(|error| Error::failed(format!("cannot wait for the replay: {error}")))?;
    if !status.success() {
        return Err(Error::failed(format!("the replay failed ({status})")));
    }
    Ok(printed)
}

fn what_next(stage: &Stage, once: bool, session: &str, context: &mut Context) {
    let gone = once && stage.place.temporary;
    let place = if gone { PathBuf::from("DIR") } else { stage.dir.path().to_owned() };
    let at = format!("--data-dir {}", quoted(&place));
    let mut text = String::from("\nWhat to do next:\n");
    if gone {
        let _ = writeln!(text, "  mnemosyne demo --once {at}   keep what the demonstration records; then:");
    }
    for (command, what) in [
        (format!("sessions {at}"), "the sessions that were recorded"),
        (format!("session {session} {at}"), "this one, with its tool calls"),
        (format!("events --kind 'tool_call_*' {at}"), "some of its events"),
        ("api-server".to_owned(), "record your own"),
    ] {
        let _ = writeln!(text, "  mnemosyne {command}   {what}");
    }
    if !once {
        text += "\nFollowing what else comes; Ctrl-C ends it.";
    }
    context.out.note(&text);
}

/// The path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// A child that does not outlive what is done with it.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        api_server::end_child(&mut self.0);
    }
}

/// A directory that is removed with what is in it, unless it was named to be kept.
struct Place {
    path: PathBuf,
    temporary: bool,
}

impl Place {
    fn remove(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.temporary) {
            std::fs::remove_dir_all(&self.path).map_err(Error::io("remove", &self.path))?;
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Only on a way out that has an error of its own to tell; the ordinary way calls `remove` itself.
        let _ = self.remove();
    }
}

/// A data directory with a server on it, both of which are gone when it is: first the server.
struct Stage {
    server: Proven,
    child: Option<Guarded>,
    dir: DataDir,
    place: Place,
}

impl Stage {
    fn set(context: &Context) -> Result<Stage, Error> {
        let (dir, temporary) = match context.data_dir_flag() {
            Some(named) => (DataDir::locate(Some(named), &Env::default(), &context.cwd)?, false),
            None => (DataDir::at(temporary_directory(context)?), true),
        };
        let place = Place { path: dir.path().to_owned(), temporary };
        if let Some(server) = Server::find(&dir)? {
            let runtime = server.runtime();
            return Err(Error::ServerRunning {
                pid: runtime.pid,
                address: format!("http://{}", runtime.addr),
            });
        }
        let mut command = own_command(&dir, &["api-server", "--addr", "127.0.0.1:0", "--with-parent"])?;
        // Ctrl-C is for this process, which then ends the server in its turn.
        command.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped());
        let child =
            command.spawn().map_err(|error| Error::failed(format!("cannot start the server: {error}")))?;
        let mut child = Guarded(child);
        let server = api_server::wait_for_answer(&mut child.0, &dir).map_err(|why| {
            api_server::end_child(&mut child.0);
            let mut said = String::new();
            let stderr = child.0.stderr.take();
            let read = stderr.map(|mut stderr| std::io::Read::read_to_string(&mut stderr, &mut said));
            let said = if matches!(read, Some(Ok(_))) { display::visible(said.trim()) } else { "".into() };
            Error::failed(format!("{why}: {said}"))
        })?;
        let stamp = ProcessStamp { pid: server.runtime().pid, start_ticks: server.runtime().start_ticks };
        let lent = temporary.then(|| place.path.clone());
        context.interrupt.when_abandoned(move || abandon(stamp, lent.as_deref()));
        Ok(Stage { server, child: Some(child), dir, place })
    }

    fn command(&self, args: &[&str]) -> Result<Command, Error> {
        own_command(&self.dir, args)
    }

    /// One payload through the real command.
    fn hook(&self, payload: &Value) -> Result<(), Error> {
        let failed = |error: &dyn std::fmt::Display| Error::failed(format!("the hook failed: {error}"));
        let mut command = self.command(&["hook"])?;
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let mut child = Guarded(command.spawn().map_err(|error| failed(&error))?);
        if let Some(mut stdin) = child.0.stdin.take() {
            stdin.write_all(payload.to_string().as_bytes()).map_err(|error| failed(&error))?;
        }
        let status = child.0.wait().map_err(|error| failed(&error))?;
        if status.success() { Ok(()) } else { Err(failed(&status)) }
    }

    /// Ends the server, and removes a directory that was only lent.
    fn clear(mut self) -> Result<(), Error> {
        drop(self.child.take());
        self.place.remove()
    }
}

/// A second Ctrl-C: the server is not waited for, and a directory that was only lent goes without it.
fn abandon(server: ProcessStamp, lent: Option<&Path>) {
    const TRIES: u32 = 100;
    let pid = i32::try_from(server.pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid.filter(|_| server.is_alive()) {
        // Refused only when it has ended meanwhile.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    for _ in 0..TRIES {
        // A process that is being killed may still make a file; there is nobody to tell of what stays.
        match lent.map_or(Ok(()), std::fs::remove_dir_all) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                std::thread::sleep(Duration::from_millis(5));
            }
            _ => return,
        }
    }
}

/// This program on the demonstration's directory, whatever the user's environment says about recording.
fn own_command(dir: &DataDir, args: &[&str]) -> Result<Command, Error> {
    let mut command = Command::new(detach::this_program()?);
    command.arg("--data-dir").arg(dir.path()).args(args).stdin(Stdio::null());
    for variable in [
        "MNEMOSYNE_DATA_DIR",
        "MNEMOSYNE_DISABLE_EVENTS",
        "CLAUDE_PROJECT_DIR",
        "CLAUDE_CODE_SESSION_ID",
        "CLAUDE_PID",
    ] {
        command.env_remove(variable);
    }
    // Its server is the one that it started itself.
    command.env("MNEMOSYNE_DISABLE_AUTO_START_API", "1");
    Ok(command)
}

fn temporary_directory(context: &Context) -> Result<PathBuf, Error> {
    let unique = u64::from_le_bytes(clock::unique::<8>(&*context.clock));
    let path = std::env::temp_dir().join(format!("mnemosyne-demo-{unique:016x}"));
    std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(Error::io("create", &path))?;
    Ok(path)
}

//! `internal`: what hook scripts call. Hidden: it is for scripts, not for people.
//!
//! A project may have scripts of its own for the start and the end of an agent's session (this repository has). They hand the
//! hook's payload on through stdin, and get the same event as the agent's own hook gives: where both are registered, they are
//! one event ([`meeting`]). Without a payload the session is the one that `--instance-id` or the environment names.
//!
//! The event goes into the inbox, as a hook's does, and the start of a session starts a server where none runs. Nothing is
//! printed but errors. What could not be kept is counted in the inbox's `failed` block as well, because a script that must not
//! disturb its agent throws the error away.

use std::io::{IsTerminal as _, Read as _};

use serde_json::{Map, Value};

use super::{Context, Outcome, autostart};
use crate::agent::Origin;
use crate::agent::claude::hook::{self, HOOK_BYTES_MAX};
use crate::clock::{self, ProcessStamp};
use crate::config::DataDir;
use crate::error::Error;
use crate::event::{Redactor, json};
use crate::store::inbox::meeting::{self, Voice};
use crate::store::inbox::{self, Deposit, failed};

/// The arguments of `internal`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// An agent's session has started; the payload of its hook may be on stdin
    SessionStarted(Instance),
    /// An agent's session has ended; the payload of its hook may be on stdin
    SessionEnded(Instance),
}

#[derive(Debug, clap::Args)]
struct Instance {
    /// The session, where the payload names none; else `CLAUDE_CODE_SESSION_ID`
    #[arg(long, value_name = "ID")]
    instance_id: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When no session is named, when the payload is none or of another hook, and when its event cannot be kept.
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let (hook, instance) = match args.what {
        What::SessionStarted(instance) => ("SessionStart", instance),
        What::SessionEnded(instance) => ("SessionEnd", instance),
    };
    let dir = directory(context)?;
    dir.create()?;
    context.data_dir_is(&dir);
    let recorded = record(hook, instance.instance_id, &dir, context);
    if let Err(Fault { reason, .. }) = &recorded {
        // The error itself is returned; the counter is for whoever never sees it.
        failed::count(&dir.inbox(), reason, context.clock.now()).ok();
    }
    recorded.map_err(|fault| fault.error)?;
    if hook == "SessionStart" {
        // What came of it is noted where `doctor` looks; the event is safe either way.
        autostart::ensure_server(&dir, &context.env).ok();
    }
    Ok(Outcome::DONE)
}

/// Why there is no event, with the reason that is counted: as a hook counts it.
struct Fault {
    reason: &'static str,
    error: Error,
}

impl Fault {
    const fn new(reason: &'static str, error: Error) -> Fault {
        Fault { reason, error }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault { reason: error.code(), error }
    }
}

/// The directory of a hook where a hook's environment says so: both events of one start must meet.
fn directory(context: &Context) -> Result<DataDir, Error> {
    if context.env.path("CLAUDE_PROJECT_DIR").is_some() {
        return DataDir::locate_for_hook(context.data_dir_flag(), &context.env);
    }
    context.locate_data_dir()
}

fn record(hook: &str, instance: Option<String>, dir: &DataDir, context: &Context) -> Result<(), Fault> {
    let clock = &*context.clock;
    let payload = payload(hook, instance, context)?;
    let origin = Origin {
        now: clock.now(),
        source: clock::this_source("mnemosyne"),
        instance: String::new(),
        project_dir: context.env.text("CLAUDE_PROJECT_DIR").map(str::to_owned),
        process: context.env.agent_pid().and_then(ProcessStamp::of),
    };
    let mut event = hook::event(payload.to_string().as_bytes(), &origin, clock::unique(clock))
        .map_err(|error| Fault::new(error.code(), Error::failed(error.to_string())))?;
    let agreed = meeting::agree(&dir.inbox(), &mut event, origin.process, Voice::Script, clock);
    event.redact(&Redactor::new());
    // An event that is there twice is better than one that is not there.
    Ok(inbox::deposit(&dir.inbox(), &event, clock, Deposit::Os).and(agreed)?)
}

/// What is on stdin, as a payload of `hook` with a session.
fn payload(hook: &str, instance: Option<String>, context: &Context) -> Result<Value, Fault> {
    let mut payload = read_stdin()?;
    match payload.get("hook_event_name").and_then(Value::as_str) {
        Some(named) if named != hook => {
            let message = format!("this is a payload of {}, and {hook} is needed", named.escape_debug());
            let error = Error::Invalid { field: "hook_event_name".into(), message };
            return Err(Fault::new("wrong_hook", error));
        }
        _ => drop(payload.insert("hook_event_name".into(), hook.into())),
    }
    let named =
        |payload: &Map<String, Value>| payload.get("session_id").and_then(Value::as_str).map(str::is_empty);
    if named(&payload) != Some(false) {
        let session = instance.or_else(|| context.env.session().map(str::to_owned)).ok_or_else(|| {
            Error::usage(
                "no session is named: hand the hook's payload on through stdin, or say --instance-id ID",
            )
        })?;
        payload.insert("session_id".into(), session.into());
    }
    if !payload.contains_key("cwd") {
        payload.insert("cwd".into(), context.cwd.to_string_lossy().into());
    }
    Ok(Value::Object(payload))
}

/// The object on stdin; none where nothing is there, or a person sits at it.
fn read_stdin() -> Result<Map<String, Value>, Fault> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Ok(Map::new());
    }
    let mut bytes = Vec::new();
    stdin
        .lock()
        .take(HOOK_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read the payload from stdin: {error}"))
        .map_err(|told| Fault::new("stdin_unreadable", Error::failed(told)))?;
    if bytes.len() > HOOK_BYTES_MAX {
        let told = format!("the payload is longer than {HOOK_BYTES_MAX} bytes");
        return Err(Fault::new("payload_too_large", Error::failed(told)));
    }
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    json::read(&bytes)
        .map_err(|error| format!("the payload on stdin is not one JSON object: {error}"))
        .map_err(|told| Fault::new("malformed_json", Error::failed(told)))
}

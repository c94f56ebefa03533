//! `hook`: one payload from stdin into the inbox. Silent, always successful, and quick.
//!
//! Constraints first. An agent waits for this command, hundreds of times in a session, and reads what it says: a line on
//! stdout goes into a model's context, a line on stderr or another exit code into a person's face. So nothing is printed and
//! the exit code is 0, whatever happens: a wrong argument, a closed stdin, a full disk, a fault of our own. What could not be
//! kept is counted in the inbox's `failed` block, for `doctor` to tell; where not even that can be written, nothing is left
//! to do.
//!
//! How: read stdin, map the payload to its event, take out secrets and cut it to the cap, and put it into the inbox, which is
//! one file written and renamed. No lock, no flush, no socket: there is one way, whether a server runs or not, and a running
//! one is woken by the file itself. Only where the disk has no room for that file is a server that runs asked to take the event
//! ([`keep::hand_over`]): its journal has room set aside. [`recognise`] finds the command in the raw arguments, so that
//! the rest of the program is linked and never touched.
//!
//! The hooks at the start of a session and at a prompt look for a server once their event lies in the inbox, and start one where
//! none runs ([`autostart`]); the others, which are nearly all, do not even look.
//!
//! The start and the end of a session have no key in the payload, and a script of the project may tell of them as well: these
//! two alone agree with it on an id before they are put down ([`meeting`]).
//!
//! With `--plugin` the call is a plugin's, and stands aside where the settings register this program for the same hook.
//!
//! Each call leaves how long it took, once its event is kept ([`super::hook_times`]).
//!
//! A payload that is no JSON, or longer than [`HOOK_BYTES_MAX`], counts as a failure; if the fields before the fault name
//! the hook, they are kept as an `agent_event`. A wrong argument counts as a failure, too, and the payload is kept.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::autostart;
use super::hook_times::Stopwatch;
use crate::agent::Origin;
use crate::agent::claude::hook::{self, HOOK_BYTES_MAX};
use crate::agent::claude::registration;
use crate::client::keep;
use crate::clock::{self, Clock as _, ProcessStamp, SystemClock};
use crate::config::known::KnownKeys;
use crate::config::{DataDir, Env, guard};
use crate::event::{Event, Kind, Redactor, bytes, redact};
use crate::store::inbox::meeting::{self, Voice};
use crate::store::inbox::{self, Deposit, failed};

/// The arguments of a hook call.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Call {
    data_dir: Option<PathBuf>,
    plugin: bool,
    misused: bool,
}

/// The call, if these arguments (the program's name first) are those of `hook`: then, and only then, the first one that is
/// no flag is that word.
pub fn recognise(arguments: &[OsString]) -> Option<Call> {
    let mut call = Call::default();
    let mut named = false;
    let mut rest = arguments.iter().skip(1);
    while let Some(argument) = rest.next() {
        match argument.to_str() {
            Some("hook") if !named => named = true,
            Some("--data-dir") => match rest.next() {
                Some(directory) => call.data_dir = Some(directory.into()),
                None => call.misused = true,
            },
            Some("--plugin") => call.plugin = true,
            // Flags that every command takes say nothing to a command that prints nothing.
            Some("--color") => call.misused |= rest.next().is_none(),
            Some("--json" | "--quiet" | "-q" | "--verbose" | "-v" | "--record") => {}
            _ => match value_of(argument, "--data-dir=") {
                Some(directory) => call.data_dir = Some(directory),
                None if !named && !is_flag(argument) => return None,
                None => call.misused |= value_of(argument, "--color=").is_none(),
            },
        }
    }
    named.then_some(call)
}

fn is_flag(argument: &OsStr) -> bool {
    argument.as_bytes().starts_with(b"-")
}

fn value_of(argument: &OsStr, flag: &str) -> Option<PathBuf> {
    argument.as_bytes().strip_prefix(flag.as_bytes()).map(|value| OsStr::from_bytes(value).into())
}

/// Records the payload on stdin. Never panics, never prints, never waits but for stdin's end.
pub fn run(call: &Call) {
    std::panic::set_hook(Box::new(|_| {}));
    let mut watch = Stopwatch::start();
    let env = Env::from_process();
    if env.events_disabled_for_hook() {
        return;
    }
    let Some(place) = Place::find(call.data_dir.as_deref(), &env) else { return };
    if let Err(reason) = &place.doubt {
        place.count(reason);
    }
    if call.misused {
        place.count("usage");
    }
    match KnownKeys::values(&env) {
        Ok(values) => redact::know(values),
        // The event is kept all the same, with what else finds secrets.
        Err(error) => place.count(error.code()),
    }
    match catch_unwind(AssertUnwindSafe(|| record(call, &env, &place, &mut watch))) {
        Ok(Ok(())) => {}
        Ok(Err(reason)) => place.count(reason),
        Err(_) => place.count("panic"),
    }
    // A figure that cannot be left is none; the event is what counts.
    watch.leave(&place.dir, SystemClock.now()).ok();
}

/// Where the event goes.
struct Place {
    dir: DataDir,
    /// The code of what went wrong while it was looked for.
    doubt: Result<(), &'static str>,
}

impl Place {
    /// A configuration that cannot be read must not cost events: they go where they would go without one.
    fn find(flag: Option<&Path>, env: &Env) -> Option<Place> {
        match DataDir::locate_for_hook(flag, env) {
            Ok(dir) => Some(Place { dir, doubt: Ok(()) }),
            Err(error) => {
                let dir = env.user_data().map(DataDir::at)?;
                Some(Place { dir, doubt: Err(error.code()) })
            }
        }
    }

    /// The failure counter is the last resort; if it fails, there is nobody left to tell.
    fn count(&self, reason: &'static str) {
        self.dir.create().ok();
        failed::count(&self.dir.inbox(), reason, SystemClock.now()).ok();
    }

    /// A start or an end of a session may be told by a script as well ([`super::internal`]): both are one event.
    fn agree(&self, event: &mut Event, agent: Option<ProcessStamp>) -> Result<(), &'static str> {
        if !matches!(event.kind.known(), Some(Kind::SessionStarted | Kind::SessionEnded)) {
            return Ok(());
        }
        self.make_ready()?;
        meeting::agree(&self.dir.inbox(), event, agent, Voice::Hook, &SystemClock)
            .map_err(|error| error.code())
    }

    /// Whatever else is not as it must be in the directory: an inbox that is ours takes the event, and `doctor` tells of the rest.
    fn make_ready(&self) -> Result<(), &'static str> {
        let Err(error) = self.dir.create() else { return Ok(()) };
        let ours = guard::check_dir(self.dir.path()).and_then(|()| guard::check_dir(&self.dir.inbox()));
        ours.map_err(|_| error.code())
    }

    fn deposit(&self, mut event: Event) -> Result<(), &'static str> {
        event.redact(&Redactor::new());
        self.make_ready()?;
        match inbox::deposit(&self.dir.inbox(), &event, &SystemClock, Deposit::Os) {
            // Should the server not take it either, what stands in the way is still the disk.
            Err(full) if full.is_full() => keep::hand_over(&self.dir, &event).map_err(|_| full.code()),
            deposited => deposited.map_err(|error| error.code()),
        }
    }
}

fn record(call: &Call, env: &Env, place: &Place, watch: &mut Stopwatch) -> Result<(), &'static str> {
    let clock = SystemClock;
    let now = clock.now();
    let payload = watch.apart(read_stdin).map_err(|_| "stdin_unreadable")?;
    let origin = Origin {
        now,
        source: clock::this_source("mnemosyne"),
        instance: env.session().unwrap_or("unknown").to_owned(),
        project_dir: env.text("CLAUDE_PROJECT_DIR").map(str::to_owned),
        process: agents_process(&payload, env),
    };
    if call.plugin && stands_aside(&payload, env) {
        return Ok(());
    }
    match hook::event(&payload, &origin, clock::unique(&clock)) {
        Ok(mut event) => {
            let wants_server = starts_server(&event);
            let agreed = place.agree(&mut event, origin.process);
            place.deposit(event)?;
            if let Err(reason) = agreed {
                place.count(reason);
            }
            if wants_server {
                // What came of it is noted where `doctor` looks; the event is safe either way.
                autostart::ensure_server(&place.dir, env).ok();
            }
            Ok(())
        }
        Err(error) => {
            let reason = error.code();
            error.into_rescued().map_or(Ok(()), |event| place.deposit(event))?;
            Err(reason)
        }
    }
}

/// The agent's process, where the payload may be of a session's start or end: the others have no use for it. A payload that
/// merely holds the word costs one look at a file.
fn agents_process(payload: &[u8], env: &Env) -> Option<ProcessStamp> {
    bytes::find_text(payload, b"\"Session")?;
    env.agent_pid().and_then(ProcessStamp::of)
}

/// A session begins, or goes on after its server may have left. Other hooks follow one of these.
fn starts_server(event: &Event) -> bool {
    matches!(event.kind.known(), Some(Kind::SessionStarted | Kind::PromptSubmitted))
}

/// Whether the settings, beside the plugin, call this program for the same hook.
fn stands_aside(payload: &[u8], env: &Env) -> bool {
    let files = registration::settings_files(
        env.path("CLAUDE_PROJECT_DIR"),
        env.path("CLAUDE_CONFIG_DIR"),
        env.home(),
    );
    hook::name(payload).is_some_and(|hook| registration::is_registered(&files, &hook))
}

/// Stdin to its end, or one byte beyond the limit.
fn read_stdin() -> std::io::Result<Vec<u8>> {
    let mut payload = Vec::with_capacity(16 * 1024);
    std::io::stdin().lock().take(HOOK_BYTES_MAX as u64 + 1).read_to_end(&mut payload)?;
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arguments: &[&str]) -> Option<Call> {
        let arguments: Vec<OsString> =
            std::iter::once(&"mnemosyne").chain(arguments).map(OsString::from).collect();
        recognise(&arguments)
    }

    #[test]
    fn hook_is_recognised_with_its_flags_before_and_after() {
        assert_eq!(call(&["hook"]), Some(Call::default()));
        let named = Some(Call { data_dir: Some("d".into()), ..Call::default() });
        assert_eq!(call(&["hook", "--data-dir", "d"]), named);
        assert_eq!(call(&["--data-dir", "d", "-v", "hook"]), named);
        assert_eq!(call(&["--data-dir=d", "--color=never", "hook"]), named);
        assert_eq!(call(&["hook", "--plugin"]), Some(Call { plugin: true, ..Call::default() }));
    }

    #[test]
    fn another_command_is_not_taken_for_a_hook() {
        for arguments in
            [&["events", "--grep", "hook"][..], &["--data-dir", "hook", "events"], &["help", "hook"], &[]]
        {
            assert_eq!(call(arguments), None, "{arguments:?}");
        }
    }

    #[test]
    fn a_wrong_argument_is_a_hook_call_all_the_same() {
        for arguments in [
            &["hook", "--bogus"][..],
            &["--bogus", "hook"],
            &["hook", "hook"],
            &["hook", "--data-dir"],
            &["hook", "--color"],
        ] {
            assert!(call(arguments).is_some_and(|call| call.misused), "{arguments:?}");
        }
    }
}

//! The wrapper around every command, and the record of its run.
//!
//! A recorded command leaves `cli_command_started` and exactly one of `cli_command_completed` and
//! `cli_command_failed`. That cannot be skipped: the command is a function that returns, the wrapper calls it, and
//! a panic, a signal and every early return come back to the same place. Whoever comes first writes the end; the
//! second finds it written. One killed outright (SIGKILL) is ended by whoever drains the inbox next, which the mark
//! beside its start tells ([`running`]).
//!
//! All of it goes into the inbox, server up or down: one path, no waiting, and it must never fail a command. Where
//! it cannot be written, it is silent and adds one to the inbox's counter of failures. Where there is no data
//! directory, the start is held back until the command makes one; if none ever is, nothing is written, so that a
//! command that only reads leaves no trace on a machine that records nothing.
//!
//! There are three forms, and a new command needs no more than one line for any of them:
//!
//! 1. **With its lifecycle**: return [`Outcome::DONE`]. Nothing else is needed.
//! 2. **The same with a summary of its own**: return [`Outcome::with_summary`].
//! 3. **One domain event**: `run.emit(payload)`, with the correlation of the run and caused by its start.
//!
//! ```
//! use mnemosyne::cli::{Outcome, run::{Run, Setting}};
//! use mnemosyne::{clock::SystemClock, config::{DataDir, Env}, event::payload};
//! # let home = tempfile::tempdir()?;
//! let dir = DataDir::at(home.path().join("data"));
//! dir.create()?;
//! let setting = Setting { env: Env::default(), clock: std::sync::Arc::new(SystemClock), dir: Some(dir.clone()) };
//! let run = Run::begin("import", vec!["--json".into()], setting);
//! let annotated = payload::Annotated { seq: 1, text: "looks odd".into() };
//! run.emit(annotated);                                                     // form 3
//! run.end(&Ok(Outcome::with_summary("2 transcripts, 310 events added")));  // form 2; Outcome::DONE is form 1
//! let waiting = std::fs::read_dir(dir.inbox())?.filter(|f| f.as_ref().is_ok_and(|f| f.file_name() != "failed"));
//! assert_eq!(waiting.count(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::out::{Manner, Out};
use super::{Command, Context, Exit, Global, Outcome};
use crate::clock::{self, Clock, SystemClock};
use crate::config::known::KnownKeys;
use crate::config::{DataDir, Env};
use crate::error::Error;
use crate::event::{Event, Payload, Redactor, Source, payload, redact};
use crate::store::inbox::running::{self, Mark};
use crate::store::inbox::{self, Deposit};
use clap::{ArgMatches, FromArgMatches as _};
use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use uuid::Uuid;

/// What a run needs to know of its surroundings.
pub struct Setting {
    /// The environment: which agent session the command belongs to.
    pub env: Env,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where the data directory is or would be; `None` where it cannot be told.
    pub dir: Option<DataDir>,
}

/// The record of one run of a command. Cloned handles are the same run.
#[derive(Clone)]
pub struct Run {
    shared: Arc<Shared>,
}

struct Shared {
    command: String,
    setting: Setting,
    source: Source,
    correlation: Uuid,
    started: Uuid,
    since: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Events that wait for the data directory to be made.
    held: Vec<Event>,
    /// Where the run belongs, if not where it was first looked for.
    dir: Option<DataDir>,
    /// By which a drain knows that the run has not ended.
    mark: Option<Mark>,
    ended: bool,
}

impl Run {
    /// Notes the start of `command` with these arguments, already without secrets in options.
    pub fn begin(command: &str, args: Vec<String>, setting: Setting) -> Run {
        let started = clock::new_id(&*setting.clock);
        let source = clock::this_source("mnemosyne");
        let run = Run {
            shared: Arc::new(Shared {
                command: command.to_owned(),
                setting,
                source,
                correlation: started,
                started,
                since: Instant::now(),
                state: Mutex::default(),
            }),
        };
        let payload = payload::CliCommandStarted { command: command.to_owned(), args };
        run.leave(run.event(started, payload));
        run
    }

    /// Emits an event of the command's own: it shares the run's correlation and is caused by its start. Returns its
    /// id. Never fails the command: see the module.
    pub fn emit(&self, payload: impl Into<Payload>) -> Uuid {
        let id = clock::new_id(&*self.shared.setting.clock);
        self.leave(self.event(id, payload).with_causation(self.shared.started));
        id
    }

    /// The id that all events of this run share.
    pub fn correlation(&self) -> Uuid {
        self.shared.correlation
    }

    /// The id of the run's start: the cause of what the command does.
    pub fn started(&self) -> Uuid {
        self.shared.started
    }

    /// Writes what was held back while there was no data directory.
    pub fn directory_is_there(&self, dir: &DataDir) {
        let held = std::mem::take(&mut self.state().held);
        for event in held {
            self.write(dir, &event);
        }
    }

    /// Moves a run of which nothing was written yet to another data directory.
    pub fn belongs_to(&self, dir: &DataDir) {
        let unwritten = !self.state().held.is_empty();
        if unwritten {
            self.state().dir = Some(dir.clone());
            self.directory_is_there(dir);
        }
    }

    /// As [`Run::emit`], into the inbox of this data directory whatever the run's own is.
    pub fn emit_into(&self, dir: &DataDir, payload: impl Into<Payload>) -> Uuid {
        let id = clock::new_id(&*self.shared.setting.clock);
        self.write(dir, &self.event(id, payload).with_causation(self.shared.started));
        id
    }

    /// Notes the end, once: later calls change nothing.
    pub fn end(&self, result: &Result<Outcome, Error>) {
        if std::mem::replace(&mut self.state().ended, true) {
            return;
        }
        let duration_ms = u64::try_from(self.shared.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let command = self.shared.command.clone();
        let failed = |error: String, exit: u8| payload::CliCommandFailed {
            command: command.clone(),
            error,
            duration_ms: Some(duration_ms),
            exit_code: Some(i32::from(exit)),
            inferred: None,
        };
        let payload: Payload = match result {
            Ok(Outcome { exit: Exit::Done, summary }) => {
                let result_summary = summary.clone().unwrap_or_default();
                payload::CliCommandCompleted { command, duration_ms, result_summary }.into()
            }
            Ok(Outcome { exit, summary }) => {
                failed(summary.clone().unwrap_or_else(|| exit.words().to_owned()), *exit as u8).into()
            }
            Err(Error::OutputClosed) => {
                let result_summary = "the reader of its output had seen enough".to_owned();
                payload::CliCommandCompleted { command, duration_ms, result_summary }.into()
            }
            Err(error) => failed(error.to_string(), error.exit_code()).into(),
        };
        let end = self.event(running::end_id(self.shared.started), payload);
        self.leave(end.with_causation(self.shared.started));
        if let Some(mark) = self.state().mark.take() {
            // One that stays is passed over: this run's end is known by its id.
            let _ = mark.clear();
        }
    }

    fn event(&self, id: Uuid, payload: impl Into<Payload>) -> Event {
        let Shared { setting, source, correlation, .. } = &*self.shared;
        let session = setting.env.session().map(str::to_owned);
        let instance = session.clone().unwrap_or_else(|| correlation.to_string());
        let mut event = Event::new(id, setting.clock.now(), instance, source.clone(), payload)
            .with_correlation(*correlation);
        event.session = session;
        event.redact(&Redactor::new());
        event
    }

    /// Into the inbox, or held back while there is none.
    fn leave(&self, event: Event) {
        let moved = self.state().dir.clone();
        match moved.as_ref().or(self.shared.setting.dir.as_ref()) {
            Some(dir) if dir.open_existing().is_ok() => {
                self.directory_is_there(dir);
                self.write(dir, &event);
            }
            Some(_) => self.state().held.push(event),
            None => {}
        }
    }

    /// Silent by intent: a record that cannot be written is counted where `doctor` and `status` find it, and the
    /// command goes on.
    fn write(&self, dir: &DataDir, event: &Event) {
        let (inbox, clock) = (dir.inbox(), &*self.shared.setting.clock);
        let written = if event.id == self.shared.started {
            running::mark(&inbox, event).and_then(|mark| {
                self.state().mark = Some(mark);
                inbox::deposit(&inbox, event, clock, Deposit::Os)
            })
        } else {
            inbox::deposit(&inbox, event, clock, Deposit::Os)
        };
        if let Err(error) = written {
            // Not even the counter can be written: there is nothing left to try, and nobody who must hear of it now.
            let _ = inbox::count_failure(&inbox, &error, clock);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic while it was held left it whole: it holds a list and a flag.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a command of this process: makes its context, catches what it throws, prints why it failed.
pub(super) fn process(command: &'static Command, matches: &ArgMatches, argv: &[OsString]) -> u8 {
    std::panic::set_hook(Box::new(tell_of_panic));
    let global = match Global::from_arg_matches(matches) {
        Ok(global) => global,
        Err(error) => return super::refusal::help_or_usage(error, argv),
    };
    let env = Env::from_process();
    let manner = Manner {
        json: global.json,
        quiet: global.quiet,
        verbose: global.verbose,
        color: global.color,
        no_color: env.get("NO_COLOR").is_some(),
    };
    let mut context = Context {
        env,
        cwd: std::env::current_dir().unwrap_or_default(),
        clock: Arc::new(SystemClock),
        out: Out::of_process(manner),
        interrupt: super::interrupt::Interrupt::default(),
        data_dir_flag: global.data_dir,
        server_flag: global.server,
        token_file_flag: global.token_file,
        run: None,
    };
    context.out.set_now(context.now());
    know_keys(&mut context);
    let recorded = recorded_arguments(command.name, argv);
    wrapped(command, global.record, matches, recorded, &mut context, true) as u8
}

/// Keys that the user has named are taken out of whatever this process records or says.
fn know_keys(context: &mut Context) {
    match KnownKeys::values(&context.env) {
        Ok(values) => redact::know(values),
        Err(error) => {
            let why = error.to_string();
            context.out.warn(&format!("the keys that you named are not known, and not taken out: {why}"));
        }
    }
}

/// The wrapper itself.
fn wrapped(
    command: &Command,
    record: bool,
    matches: &ArgMatches,
    args: Vec<String>,
    context: &mut Context,
    signals: bool,
) -> Exit {
    let disabled = match context.env.events_disabled() {
        Ok(disabled) => disabled,
        Err(error) => {
            context.out.error(&error);
            return Exit::Usage;
        }
    };
    let usual = context.locate_data_dir().ok();
    if (command.recorded || record) && !disabled {
        let dir = (command.makes)(matches, context).or_else(|| usual.clone());
        let setting = Setting { env: context.env.clone(), clock: context.clock.clone(), dir };
        context.run = Some(Run::begin(command.name, args, setting));
    }
    if signals {
        listen(context, usual.clone());
    }
    let run = context.run.clone();
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| {
        context.check_reach(command)?;
        (command.run)(matches, context)
    }));
    let result = ran.unwrap_or_else(|_| Err(Error::failed("an internal error ended the command")));
    let result = result.and_then(|outcome| context.out.flush().map(|()| outcome));
    if let Some(run) = run {
        finish(&run, usual.as_ref(), &result);
    }
    match result {
        Ok(outcome) => outcome.exit,
        Err(Error::OutputClosed) => Exit::Done,
        Err(error) => {
            context.out.error(&error);
            Exit::of(&error)
        }
    }
}

/// The end of a run. One that was to make a data directory, and did not, is on record where it would be otherwise.
fn finish(run: &Run, usual: Option<&DataDir>, result: &Result<Outcome, Error>) {
    if let Some(usual) = usual.filter(|dir| dir.open_existing().is_ok()) {
        run.belongs_to(usual);
    }
    run.end(result);
}

/// Ctrl-C and SIGTERM: the end is on record before the process is gone.
fn listen(context: &mut Context, usual: Option<DataDir>) {
    let run = context.run.clone();
    let at_once = move || {
        if let Some(run) = &run {
            finish(run, usual.as_ref(), &Err(Error::Interrupted));
        }
        super::replay::restore_terminal();
        super::secret::restore();
        std::process::exit(i32::from(Exit::Interrupted as u8));
    };
    if let Err(error) = context.interrupt.listen(at_once) {
        context.out.warn(&format!("Ctrl-C will end this at once, with no record of it: {error}"));
    }
}

/// What a user sees of a defect of ours: where it is and what to do, not a stack.
fn tell_of_panic(info: &std::panic::PanicHookInfo<'_>) {
    super::replay::restore_terminal();
    super::secret::restore();
    let what = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    // There is nowhere left to tell that stderr is gone.
    let _ = std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!(
            "internal error at {place}: {what}\nThis is a defect of mnemosyne; please report this line.\n"
        ),
    );
}

/// The arguments as the record shows them: without the program and the command, and with the values of options that
/// name a secret taken out. Secrets that show by their form are taken out of the whole event later, as of any.
fn recorded_arguments(command: &str, line: &[OsString]) -> Vec<String> {
    let mut args: Vec<String> = line.iter().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    if let Some(at) = args.iter().position(|arg| arg == command) {
        args.remove(at);
    }
    let mut hide_next = false;
    for arg in &mut args {
        if std::mem::take(&mut hide_next) {
            REDACTED.clone_into(arg);
        } else if let Some((option, _)) = arg.split_once('=').filter(|(option, _)| names_a_secret(option)) {
            *arg = format!("{option}={REDACTED}");
        } else {
            hide_next = names_a_secret(arg);
        }
    }
    args
}

const REDACTED: &str = "***REDACTED***";

fn names_a_secret(option: &str) -> bool {
    let Some(name) = option.strip_prefix("--") else { return false };
    let words = ["token", "secret", "password", "passphrase", "key", "credential"];
    // A file that holds a secret is named in the open: the name is no secret.
    !name.ends_with("-file") && name.split('-').any(|word| words.contains(&word))
}

#[cfg(test)]
#[path = "run/tests.rs"]
mod tests;

/// The guide to this module; its examples run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/EVENT_HELPERS_GUIDE.md")]
mod guide {}

//! `import`: Claude Code's transcripts into the journal.
//!
//! An import can be repeated at will: it adds only what the journal lacks. Its events go in through the running
//! server, else with the lock held for as long as the import runs, else, where another process holds the lock for
//! longer than two seconds, through the inbox; which of them it was is told.
//!
//! A line or a file that cannot be read does not stop the rest; it is named, and the exit code is then 1.

use super::{Context, Exit, Outcome, display};
use crate::agent::Origin;
use crate::agent::claude::transcript::{
    self, BrokenLine, ImportError, Known, Report, Sink, SinkError, Taken,
};
use crate::client::{self, Proven, Server};
use crate::clock::{self, Clock};
use crate::config::{DataDir, Settings};
use crate::error::Error;
use crate::event::{Event, Redactor};
use crate::store::inbox::{self, Deposit};
use crate::store::{self, Item, Level, Opening, Replay, Store};
use crate::wire;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A bar for less than this would only flicker.
const BAR_AFTER: Duration = Duration::from_millis(500);
/// Broken lines that are told to a person one by one; `--json` has more of them.
const BROKEN_LINES_SHOWN_MAX: usize = 10;

/// Reads Claude Code transcripts into the journal. Can be repeated: only what is new is added.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Transcripts, or directories to look for them in [default: all that Claude Code keeps]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// Imports.
///
/// # Errors
/// A path that does not exist, a journal or a server that takes nothing.
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let paths = paths(args.paths, context)?;
    let dir = context.create_data_dir()?;
    let mut way = Way::find(&dir, context)?;
    let mut known = Known::default();
    learn(&mut known, way.replay(&dir, context)?)?;
    let instance = context.run().map_or_else(|| clock::new_id(&*context.clock), super::run::Run::correlation);
    let origin = Origin {
        now: context.now(),
        source: clock::this_source("mnemosyne"),
        instance: instance.to_string(),
        project_dir: None,
        process: None,
    };
    let mut bar = Bar::new(context);
    let began = way.name();
    let imported = transcript::import(&paths, &mut known, &mut way, &origin, &Redactor::new(), &mut |p| {
        bar.at(p.bytes, p.bytes_total);
    });
    bar.end();
    if way.name() != began {
        context.out.warn(
            "the server has gone: the rest of the events went into the inbox, from where the next takes them",
        );
    }
    let name = way.name();
    way.close()?;
    let report = imported.map_err(failed)?;
    tell(&report, name, context)
}

/// What was asked for, or all that there is.
fn paths(asked: Vec<PathBuf>, context: &Context) -> Result<Vec<PathBuf>, Error> {
    let not_found = |path: &Path, hint: &str| Error::NotFound {
        what: display::visible(&path.display().to_string()).into_owned(),
        hint: hint.to_owned(),
    };
    if asked.is_empty() {
        let home = context.env.home();
        let all = transcript::default_directory(context.env.path("CLAUDE_CONFIG_DIR"), home)
            .ok_or(Error::NoHome)?;
        if !all.is_dir() {
            return Err(not_found(&all, ": name transcripts or directories to import"));
        }
        return Ok(vec![all]);
    }
    match asked.iter().find(|path| !path.exists()) {
        Some(missing) => Err(not_found(missing, "")),
        None => Ok(asked),
    }
}

/// What the journal holds already.
fn learn(known: &mut Known, mut replay: Replay) -> Result<(), Error> {
    while let Some(item) = replay.next()? {
        if let Item::Event(stored) = item {
            known.learn(&stored.event);
        }
    }
    Ok(())
}

fn failed(error: ImportError) -> Error {
    match error {
        ImportError::Sink { path, error } => match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => {
                Error::failed(format!("the events of {} could not be recorded: {error}", path.display()))
            }
        },
        error => Error::failed(error.to_string()),
    }
}

/// How the events get in.
enum Way {
    Server { server: Box<Proven>, inbox: PathBuf, clock: Arc<dyn Clock> },
    Journal { store: Store, level: Level },
    Inbox { inbox: PathBuf, clock: Arc<dyn Clock>, how: Deposit },
}

impl Way {
    fn find(dir: &DataDir, context: &mut Context) -> Result<Way, Error> {
        let clock = context.clock.clone();
        if let Some(server) = Server::find(dir)? {
            return Ok(Way::Server { server: Box::new(server), inbox: dir.inbox(), clock });
        }
        let settings = Settings::load(dir, &context.env)?;
        let how = match settings.emit_durability {
            crate::config::settings::Durability::Os => Deposit::Os,
            crate::config::settings::Durability::Disk => Deposit::Disk,
        };
        match Store::open(dir, Opening::command(clock::new_id(&*clock).to_string(), clock.clone(), settings))
        {
            Ok((store, _)) => Ok(Way::Journal { store, level: Level::Disk }),
            Err(Error::Locked { holder }) => {
                context.out.warn(&format!(
                    "the journal is held by {holder}: the events go into the inbox, from where its next holder takes them"
                ));
                Ok(Way::Inbox { inbox: dir.inbox(), clock, how })
            }
            Err(error) => Err(error),
        }
    }

    fn replay(&self, dir: &DataDir, context: &Context) -> Result<Replay, Error> {
        if let Way::Journal { store, .. } = self {
            return Ok(store.replay(store.first()));
        }
        let view = store::read(dir, &context.env)?;
        Ok(view.replay(view.first()))
    }

    const fn name(&self) -> &'static str {
        match self {
            Way::Server { .. } => "server",
            Way::Journal { .. } => "journal",
            Way::Inbox { .. } => "inbox",
        }
    }

    fn close(self) -> Result<(), Error> {
        if let Way::Journal { store, .. } = self { store.close() } else { Ok(()) }
    }
}

impl Sink for Way {
    fn emit(&mut self, events: Vec<Event>) -> Result<Taken, SinkError> {
        match self {
            Way::Journal { store, level } => {
                let count = events.len() as u64;
                let emitted = store.emit(events, *level, None)?.wait()?;
                let known = emitted.duplicates.len() as u64;
                Ok(Taken { added: count - known, known })
            }
            Way::Inbox { inbox, clock, how } => deposit(&events, inbox, &**clock, *how),
            Way::Server { server, inbox, clock } => {
                let mut taken = Taken::default();
                let mut is_gone = false;
                // A request cannot say what was cut from an event, so those that were cut go through the inbox. The
                // server takes in what lies there before it takes the next request: the order holds.
                for part in events.chunk_by(|a, b| a.cut.is_empty() == b.cut.is_empty()) {
                    let part = if is_gone {
                        deposit(part, inbox, &**clock, Deposit::Disk)?
                    } else if part.iter().any(|event| !event.cut.is_empty()) {
                        deposit(part, inbox, &**clock, Deposit::Os)?
                    } else if let Some(taken) = request(part, server)? {
                        taken
                    } else {
                        // It may have stored them before it went; one that comes twice is one by its id.
                        is_gone = true;
                        deposit(part, inbox, &**clock, Deposit::Disk)?
                    };
                    taken.added += part.added;
                    taken.known += part.known;
                }
                if is_gone {
                    *self = Way::Inbox { inbox: inbox.clone(), clock: clock.clone(), how: Deposit::Disk };
                }
                Ok(taken)
            }
        }
    }
}

fn deposit(events: &[Event], inbox: &Path, clock: &dyn Clock, how: Deposit) -> Result<Taken, SinkError> {
    for event in events {
        inbox::deposit(inbox, event, clock, how)?;
    }
    Ok(Taken { added: events.len() as u64, known: 0 })
}

/// `None` when the server has gone or hangs, before or after it stored them.
fn request(events: &[Event], server: &Server) -> Result<Option<Taken>, SinkError> {
    let requests = events.iter().map(client::request_of).collect::<Result<Vec<_>, _>>()?;
    let body = client::request_of_all(&requests);
    let emitted = match server.emit(&body, wire::Durability::Disk, None) {
        Ok(emitted) => emitted,
        Err(
            client::Error::Unreachable { .. } | client::Error::Broken { .. } | client::Error::TimedOut { .. },
        ) => return Ok(None),
        Err(error) => return Err(Error::from(error).into()),
    };
    let known = emitted.duplicates.len() as u64;
    Ok(Some(Taken { added: events.len() as u64 - known, known }))
}

/// What came of it, on both streams.
fn tell(report: &Report, way: &str, context: &mut Context) -> Result<Outcome, Error> {
    let out = &mut context.out;
    for (path, reason) in &report.unreadable {
        let path = path.display().to_string();
        out.warn(&format!("{} was not read: {}", display::visible(&path), display::visible(reason)));
    }
    for (path, sort) in &report.passed_over {
        let path = path.display().to_string();
        out.warn(&format!("{} was passed over: it is {sort}, not a file", display::visible(&path)));
    }
    for line in report.broken_lines.iter().take(BROKEN_LINES_SHOWN_MAX) {
        out.warn(&broken_line(line));
    }
    let untold = report.broken.saturating_sub(BROKEN_LINES_SHOWN_MAX as u64);
    if untold > 0 {
        out.warn(&format!("{} could not be read, too", display::counted(untold, "more line")));
    }
    for path in &report.unfinished {
        let path = path.display().to_string();
        out.note(&format!("the last line of {} is still being written", display::visible(&path)));
    }
    let summary = format!(
        "{}: {} added, {} known already",
        display::counted(report.files, "transcript"),
        display::counted(report.added, "event"),
        display::count(report.known),
    );
    if out.is_json() {
        out.json(&object(report, way))?;
    } else {
        out.line(&summary)?;
    }
    let exit = if report.broken == 0 && report.unreadable.is_empty() { Exit::Done } else { Exit::Failed };
    Ok(Outcome { exit, summary: Some(summary) })
}

fn broken_line(line: &BrokenLine) -> String {
    let path = line.path.display().to_string();
    format!("{}:{} was not imported: {}", display::visible(&path), line.line, display::visible(&line.reason))
}

fn object(report: &Report, way: &str) -> serde_json::Value {
    let broken_lines: Vec<_> = report
        .broken_lines
        .iter()
        .map(|line| json!({"code": "broken_line", "path": line.path.to_string_lossy(), "line": line.line, "reason": line.reason}))
        .collect();
    let unreadable: Vec<_> = report
        .unreadable
        .iter()
        .map(|(path, reason)| json!({"path": path.to_string_lossy(), "reason": reason}))
        .collect();
    let passed_over: Vec<_> = report
        .passed_over
        .iter()
        .map(|(path, sort)| json!({"path": path.to_string_lossy(), "reason": format!("it is {sort}")}))
        .collect();
    json!({
        "version": 1,
        "files": report.files,
        "unchanged": report.unchanged,
        "bytes": report.bytes,
        "lines": report.lines,
        "added": report.added,
        "known": report.known,
        "ignored": report.ignored,
        "broken": report.broken,
        "broken_lines": broken_lines,
        "unreadable": unreadable,
        "passed_over": passed_over,
        "unfinished": report.unfinished.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
        "way": way,
    })
}

/// A bar on stderr, on a terminal only, and only for an import that takes a while.
struct Bar {
    drawn: Option<ProgressBar>,
    wanted: bool,
    since: Instant,
}

impl Bar {
    fn new(context: &Context) -> Bar {
        let wanted = !context.out.is_quiet() && std::io::IsTerminal::is_terminal(&std::io::stderr());
        Bar { drawn: None, wanted, since: Instant::now() }
    }

    fn at(&mut self, bytes: u64, total: u64) {
        if !self.wanted || self.since.elapsed() < BAR_AFTER {
            return;
        }
        let bar = self.drawn.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left");
            ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        bar.set_position(bytes);
    }

    fn end(self) {
        if let Some(bar) = self.drawn {
            bar.finish_and_clear();
        }
    }
}

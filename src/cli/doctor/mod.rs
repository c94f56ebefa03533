//! `doctor`: looks at everything that recording rests on, says what is wrong and how to put it right, and with `--fix`
//! does what is safe.
//!
//! [`CHECKS`] is the table: a name, what it is about, a function that looks, and for some a function that repairs. A look
//! changes nothing, so the inbox is not taken in either. A repair never deletes work: it makes private what is ours, takes
//! away what says something about processes that are gone, drops what can be computed anew, has the inbox taken in, and notes that
//! what could not be kept was told. Each is told.
//!
//! A check that says `fail` means that something is lost, or not recorded, or wrong as it stands: exit code 1. One that
//! says `warn` means that it may come to that: exit code 0. What does not apply is left out.

#![expect(clippy::unnecessary_wraps, reason = "every check has the same shape, and so has what it finds")]

mod claude;
mod derived;
mod journal;
mod machine;
mod place;
mod programs;
mod server;

use std::cell::Cell;
use std::time::Instant;

use serde_json::{Value as Json, json};

use super::display::{self, Role, counted, visible};
use super::{Context, Exit, Outcome};
use crate::config::{DataDir, Env, Settings};
use crate::error::Error;
use crate::event::{Redactor, Seq, Timestamp, payload};
use crate::store::{Holder, View};

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Repair what can be repaired without losing anything; each repair is told
    #[arg(long)]
    fix: bool,
}

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Pass,
    Warn,
    Fail,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    detail: String,
    /// What to do about it.
    hint: Option<String>,
    /// Each sealed segment, where that is what the check is about.
    segments: Option<Vec<Sealed>>,
}

/// A sealed segment and its looks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
struct Sealed {
    /// Its first seq.
    base: Seq,
    /// When it was last looked at; `None` if it was not yet.
    looked: Option<Timestamp>,
    /// When it was last seen whole; `None` if it never was.
    last_whole: Option<Timestamp>,
    /// What the last look found wrong; `None` without one.
    problems: Option<u64>,
}

impl Finding {
    fn new(verdict: Verdict, detail: impl Into<String>, hint: Option<String>) -> Finding {
        Finding { verdict, detail: detail.into(), hint, segments: None }
    }

    fn pass(detail: impl Into<String>) -> Option<Finding> {
        Some(Finding::new(Verdict::Pass, detail, None))
    }

    fn warn(detail: impl Into<String>, hint: impl Into<String>) -> Option<Finding> {
        Some(Finding::new(Verdict::Warn, detail, Some(hint.into())))
    }

    fn fail(detail: impl Into<String>, hint: impl Into<String>) -> Option<Finding> {
        Some(Finding::new(Verdict::Fail, detail, Some(hint.into())))
    }
}

/// Nothing where the check does not apply.
type Found = Result<Option<Finding>, Error>;
/// What was done, as sentences.
type Fixed = Result<Vec<String>, Error>;

/// One row of the table.
struct Check {
    name: &'static str,
    /// Whether it needs a data directory that is there.
    needs_dir: bool,
    look: fn(&Look<'_>) -> Found,
    fix: Option<fn(&Look<'_>) -> Fixed>,
}

const fn check(name: &'static str, look: fn(&Look<'_>) -> Found) -> Check {
    Check { name, needs_dir: true, look, fix: None }
}

const fn fixable(name: &'static str, look: fn(&Look<'_>) -> Found, fix: fn(&Look<'_>) -> Fixed) -> Check {
    Check { name, needs_dir: true, look, fix: Some(fix) }
}

const fn anywhere(name: &'static str, look: fn(&Look<'_>) -> Found) -> Check {
    Check { name, needs_dir: false, look, fix: None }
}

/// Every check, in the order in which they are told.
const CHECKS: &[Check] = &[
    anywhere("data_directory", place::data_directory),
    fixable("permissions", place::permissions, place::make_private),
    check("links", place::links),
    check("file_system", place::file_system),
    check("space", place::space),
    check("retention", place::retention),
    fixable("leftovers", place::leftovers, place::remove_leftovers),
    anywhere("configuration", machine::configuration),
    anywhere("environment", machine::environment),
    anywhere("descriptors", machine::descriptors),
    check("clock", machine::clock),
    check("lock", server::lock),
    fixable("server_file", server::server_file, server::remove_server_file),
    check("server", server::server),
    fixable("auto_start", server::auto_start, server::forget_start),
    check("journal", journal::journal),
    check("recovery", journal::recovery),
    check("segments", journal::segments),
    fixable("inbox", journal::inbox, journal::drain),
    fixable("inbox_room", journal::inbox_room, journal::drain),
    fixable("inbox_failures", journal::inbox_failures, journal::note_failures),
    check("inbox_quarantine", journal::inbox_quarantine),
    fixable("projections", derived::projections, derived::drop_stray_states),
    fixable("served", derived::served, derived::rebuild_wrong),
    check("bases", derived::bases),
    fixable("index", derived::index, derived::drop_damaged_index),
    anywhere("hooks", claude::hooks),
    anywhere("hook_programs", programs::hooks),
    anywhere("hooks_double", claude::double),
    anywhere("mcp_server", programs::servers),
    anywhere("hook_cost", claude::cost),
    check("transcripts", claude::transcripts),
];

/// What the checks look at.
struct Look<'a> {
    context: &'a Context,
    env: &'a Env,
    dir: DataDir,
    now: Timestamp,
    /// Whether everything is to be read.
    full: bool,
    /// What is configured, or the default where that cannot be read: a check of its own tells.
    settings: Settings,
    holder: Option<Holder>,
    /// Whether a server runs that was asked and did not answer: it is asked no second time.
    is_server_silent: Cell<bool>,
}

impl Look<'_> {
    /// The journal as it lies there; nothing is taken in.
    fn view(&self) -> Result<View, Error> {
        View::open(&self.dir)
    }

    fn new(context: &Context, dir: DataDir, full: bool) -> Look<'_> {
        let settings = Settings::load(&dir, &context.env).unwrap_or_default();
        let holder = crate::store::holder(&dir);
        let (env, now, is_server_silent) = (&context.env, context.now(), Cell::new(false));
        Look { context, env, dir, now, full, settings, holder, is_server_silent }
    }
}

/// A check with what it found.
struct Checked {
    check: &'static Check,
    finding: Finding,
}

/// Runs it.
///
/// # Errors
/// When it cannot be told where the data directory would be.
#[expect(clippy::needless_pass_by_value, reason = "the shape of every command")]
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let started = Instant::now();
    if let Some(run) = context.run() {
        run.emit(payload::HealthCheckStarted {});
    }
    let dir = context.locate_data_dir()?;
    let full = context.out.is_verbose();
    let look = Look::new(context, dir.clone(), full);
    let mut found = look_at_all(&look);
    let mut fixes = Vec::new();
    if args.fix {
        for checked in &mut found {
            fixes.extend(repair(checked, &look));
        }
        // One repair may have put right, or laid open, what another check is about.
        found = look_at_all(&Look::new(context, dir, full));
    }
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tell(&found, &fixes, duration_ms, context)
}

fn look_at_all(look: &Look<'_>) -> Vec<Checked> {
    let is_there = look.dir.open_existing().is_ok();
    let mut found = Vec::new();
    for check in CHECKS.iter().filter(|check| is_there || !check.needs_dir) {
        let finding = (check.look)(look).unwrap_or_else(|error| {
            Finding::fail(error.to_string(), "put right what it names, then run this again")
        });
        found.extend(finding.map(|finding| Checked { check, finding }));
    }
    found
}

/// What was repaired, or why it could not be.
fn repair(checked: &Checked, look: &Look<'_>) -> Vec<String> {
    if checked.finding.verdict == Verdict::Pass {
        return Vec::new();
    }
    let Some(fix) = checked.check.fix else { return Vec::new() };
    match fix(look) {
        Ok(done) => done,
        Err(error) => vec![format!("could not repair {}: {error}", checked.check.name)],
    }
}

fn tell(
    found: &[Checked],
    fixes: &[String],
    duration_ms: u64,
    context: &mut Context,
) -> Result<Outcome, Error> {
    let count = |verdict| found.iter().filter(|one| one.finding.verdict == verdict).count() as u64;
    let (passed, warned, failed) = (count(Verdict::Pass), count(Verdict::Warn), count(Verdict::Fail));
    if let Some(run) = context.run() {
        run.emit(payload::HealthCheckCompleted {
            checks_passed: passed,
            checks_failed: failed,
            checks_warned: warned,
            duration_ms,
            checks: found.iter().map(on_record).collect(),
        });
    }
    let summary = format!("{passed} passed, {warned} warned, {failed} failed");
    if context.out.is_json() {
        context.out.json(&json!({
            "version": 1, "passed": passed, "warned": warned, "failed": failed, "duration_ms": duration_ms,
            "fixed": fixes, "checks": found.iter().map(as_json).collect::<Vec<Json>>(),
        }))?;
    } else {
        print(found, fixes, context)?;
        context.out.line(&format!("{summary} ({})", display::duration(duration_ms)))?;
        let fixable = found.iter().any(|one| one.finding.verdict != Verdict::Pass && one.check.fix.is_some());
        if fixable && fixes.is_empty() {
            context.out.note("`mnemosyne doctor --fix` repairs what is marked [fix].");
        }
    }
    let exit = if failed > 0 { Exit::Failed } else { Exit::Done };
    Ok(Outcome { exit, summary: Some(summary) })
}

fn print(found: &[Checked], fixes: &[String], context: &mut Context) -> Result<(), Error> {
    let style = context.out.style();
    let redactor = Redactor::new();
    for fix in fixes {
        context.out.line(&format!(
            "{}  {}",
            style.paint(Role::Good, "fixed"),
            visible(&redactor.text(fix))
        ))?;
    }
    for Checked { check, finding } in found {
        let role = match finding.verdict {
            Verdict::Pass => Role::Good,
            Verdict::Warn => Role::Waiting,
            Verdict::Fail => Role::Bad,
        };
        let detail = redactor.text(&finding.detail);
        let verdict = style.paint(role, finding.verdict.name());
        context.out.line(&format!("{verdict}  {:16}  {}", check.name, visible(&detail)))?;
        if let Some(hint) = &finding.hint {
            let fix = if check.fix.is_some() { " [fix]" } else { "" };
            let line = format!("                        {}{fix}", visible(&redactor.text(hint)));
            context.out.line(&style.paint(Role::Dim, &line))?;
        }
        if context.out.is_verbose() {
            for segment in finding.segments.iter().flatten() {
                context.out.line(&style.paint(Role::Dim, &segment.line()))?;
            }
        }
    }
    Ok(())
}

impl Sealed {
    /// As `-v` shows it.
    fn line(&self) -> String {
        let whole = self.last_whole.map_or_else(|| "never".to_owned(), display::local_time);
        let looks = match (self.looked, self.problems) {
            (None, _) => "not looked at yet".to_owned(),
            (Some(_), None | Some(0)) => format!("last seen whole {whole}"),
            (Some(looked), Some(problems)) => {
                let (problems, looked) = (counted(problems, "problem"), display::local_time(looked));
                format!("{problems} at the last look {looked}, last seen whole {whole}")
            }
        };
        format!("                        from seq {}: {looks}", self.base)
    }
}

fn as_json(checked: &Checked) -> Json {
    let Checked { check, finding } = checked;
    let mut told = json!({
        "name": check.name, "status": finding.verdict.name(), "detail": finding.detail,
        "hint": finding.hint, "fixable": check.fix.is_some(),
    });
    if let Some(segments) = &finding.segments {
        told["segments"] = json!(segments);
    }
    told
}

fn on_record(checked: &Checked) -> payload::Check {
    payload::Check {
        name: checked.check.name.to_owned(),
        status: checked.finding.verdict.name().to_owned(),
        detail: Some(checked.finding.detail.clone()),
    }
}

/// The first of many, so that a sentence stays one, and how many there are.
fn first_of(names: &[String], one: &str) -> String {
    const SHOWN: usize = 3;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}: {shown}{rest}", counted(names.len() as u64, one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_name_of_its_own() {
        let mut names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHECKS.len());
        assert!(CHECKS.len() >= 20);
    }

    #[test]
    fn a_list_says_how_many_there_are_and_names_the_first() {
        let names: Vec<String> = (1..=5).map(|n| n.to_string()).collect();
        assert_eq!(first_of(&names, "file"), "5 files: 1, 2, 3 and 2 more");
        assert_eq!(first_of(&names[..1], "file"), "1 file: 1");
    }
}

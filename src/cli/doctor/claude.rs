//! Claude Code: whether it calls us, what a call costs, and whether its transcripts are on record. Whom it calls is in
//! [`super::programs`].

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Finding, Found, Look, first_of};
use crate::agent::claude::hooks::HOOKS;
use crate::agent::claude::registration::{self, Registration};
use crate::agent::claude::scripts::{self, Plugin, Script};
use crate::agent::claude::{switched_off, transcript};
use crate::cli::detach;
use crate::cli::display::{counted, duration};
use crate::cli::hook_times::{self, Calls};
use crate::clock;
use crate::config::guard;
use crate::error::Error;
use crate::event::Seq;
use crate::projection::sessions::SessionsProjection;
use crate::projection::snapshot::Files;
use crate::projection::state_at;

pub(super) const PLUGIN_AGAIN: &str =
    "`/plugin update mnemosyne@mnemosyne` in Claude Code, or remove and install it there";
pub(super) const REGISTER: &str = "`mnemosyne init --claude` registers the hooks, after showing the change";
/// Calls of a hook that are timed, and as many of a program that does nothing.
const CALLS: usize = 20;
const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;
/// An agent that waits longer for each of hundreds of calls is slowed down.
const SLOW: Duration = Duration::from_millis(20);

/// What the settings that count here register.
pub(super) fn registrations(look: &Look<'_>) -> Vec<Registration> {
    registration::registrations(&look.context.claude_settings(), look.context.foreign_project())
}

pub(super) fn hooks(look: &Look<'_>) -> Found {
    let managed = switched_off::managed_files();
    if let Some(off) = switched_off::switched_off(&managed, &look.context.claude_settings()) {
        let (key, file) = (off.key, off.file.display());
        return Ok(Finding::warn(
            format!("Claude Code runs no hooks of yours here: `{key}` is true in {file}"),
            "take that out there; until then nothing of a session is recorded",
        ));
    }
    let found = registrations(look);
    if let Some(plugin) = plugin(look).filter(|_| found.is_empty()) {
        return Ok(of_plugin(&plugin));
    }
    if found.is_empty() {
        return Ok(of_scripts(&project_scripts(look)));
    }
    let missing: Vec<String> = HOOKS
        .iter()
        .filter(|hook| !found.iter().any(|registration| registration.hook == hook.name))
        .map(|hook| hook.name.to_owned())
        .collect();
    let file = found[0].file.display();
    Ok(if missing.is_empty() {
        Finding::pass(format!("all {} are registered in {file}", HOOKS.len()))
    } else {
        Finding::warn(format!("{} not registered in {file}", first_of(&missing, "hook")), REGISTER)
    })
}

/// The plugin that is switched on here.
pub(super) fn plugin(look: &Look<'_>) -> Option<Plugin> {
    scripts::plugin(&look.context.claude_settings(), &look.context.claude_directory()?)
}

/// The scripts of the project here that tell this program of sessions.
pub(super) fn project_scripts(look: &Look<'_>) -> Vec<Script> {
    scripts::of_project(&look.context.claude_settings(), look.context.project())
}

fn of_plugin(plugin: &Plugin) -> Option<Finding> {
    let enabled = plugin.enabled_in.display();
    let Some(place) = &plugin.place else {
        return Finding::warn(
            format!(
                "the plugin is enabled in {enabled}, and {} lists no place of it",
                plugin.listed_in.display()
            ),
            "`/plugin install mnemosyne@mnemosyne` in Claude Code installs it",
        );
    };
    let hooks = plugin.hooks();
    let missing: Vec<String> =
        HOOKS.iter().filter(|hook| !hooks.contains(hook.name)).map(|hook| hook.name.to_owned()).collect();
    let place = place.display();
    if missing.is_empty() {
        Finding::pass(format!(
            "the plugin, enabled in {enabled} and installed at {place}, has all {}",
            HOOKS.len()
        ))
    } else if hooks.is_empty() {
        Finding::fail(
            format!(
                "the plugin, enabled in {enabled}, has no hooks that can be read at {place}: nothing is recorded"
            ),
            PLUGIN_AGAIN,
        )
    } else {
        Finding::warn(
            format!("{} not in the plugin at {place}, which {enabled} enables", first_of(&missing, "hook")),
            PLUGIN_AGAIN,
        )
    }
}

fn of_scripts(scripts: &[Script]) -> Option<Finding> {
    let Some(first) = scripts.first() else {
        return Finding::warn("no settings of Claude Code call this program here", REGISTER);
    };
    let hooks: BTreeSet<&str> = scripts.iter().flat_map(|script| &script.hooks).map(String::as_str).collect();
    let told = hooks.into_iter().collect::<Vec<_>>().join(", ");
    Finding::warn(
        format!(
            "scripts of the project tell of {told}, as {} says, and nothing of what is between",
            first.file.display()
        ),
        REGISTER,
    )
}

pub(super) fn double(look: &Look<'_>) -> Found {
    let mut places: BTreeMap<String, u64> = BTreeMap::new();
    for found in registrations(look) {
        *places.entry(found.hook).or_default() += 1;
    }
    if places.is_empty() {
        return Ok(None);
    }
    let twice: Vec<String> =
        places.into_iter().filter(|(_, times)| *times > 1).map(|(hook, _)| hook).collect();
    Ok(if twice.is_empty() {
        Finding::pass("each hook is registered once")
    } else {
        Finding::fail(
            format!("{} registered twice: each such event is recorded twice", first_of(&twice, "hook")),
            "take one away: `mnemosyne init --undo` in the project, or with --user",
        )
    })
}

/// What calls have cost in use, as they measured themselves; and what one costs here and now, beside a program that does nothing,
/// which also shows that it ends as an agent wants it.
pub(super) fn cost(look: &Look<'_>) -> Found {
    let registered = registrations(look).into_iter().find(|it| it.exists && !it.inside);
    let (program, is_registered) = match registered {
        Some(found) => (found.program, true),
        None => (detach::this_program()?, false),
    };
    let scratch = Scratch::make(look)?;
    let hook = |command: &mut Command| {
        command.arg("hook").arg("--data-dir").arg(scratch.0.join("data"));
    };
    // The first call makes the directory.
    call(&program, hook, &scratch.0)?;
    let Some(of_hook) = median(&program, hook, &scratch.0)? else {
        let who = program.display();
        return Ok(Finding::fail(
            format!("{who} does not end with exit code 0 and in silence: an agent takes that for a refusal"),
            REGISTER,
        ));
    };
    let nothing = Path::new("/bin/true");
    let of_nothing = median(nothing, |_| {}, &scratch.0).ok().flatten();
    let beside = of_nothing
        .map_or_else(String::new, |time| format!(" (a program that does nothing: {})", words(time)));
    let whose = if is_registered { "the registered program" } else { "this program" };
    let from = look.now.checked_add_micros(-DAY_MICROS).unwrap_or(look.now);
    let used = hook_times::read(&look.dir, from, look.now)?;
    let detail = format!(
        "{}; measured now: {} a call of {whose}{beside}, median of {CALLS}",
        in_use(&used),
        words(of_hook)
    );
    let is_slow_now = of_hook > SLOW + of_nothing.unwrap_or_default();
    let is_slow_in_use = used.percentile(50).is_some_and(|time| time > SLOW);
    Ok(if is_slow_in_use || is_slow_now {
        Finding::warn(detail, "a release build and a local disk make it short; a busy machine makes it long")
    } else {
        Finding::pass(detail)
    })
}

/// The figures that calls of the last day have left.
fn in_use(used: &Calls) -> String {
    let percentiles = [50, 95, 100].map(|percent| used.percentile(percent));
    let [Some(half), Some(most), Some(longest)] = percentiles.map(|time| time.map(words)) else {
        return "in use: no call in the last 24 h".to_owned();
    };
    let stretch = used.since.map_or_else(|| "the last 24 h".to_owned(), |since| format!("since {since}"));
    let count = counted(used.count(), "call");
    format!("in use: p50 {half}, p95 {most}, longest {longest} ({count}, {stretch}, as each measured itself)")
}

fn words(time: Duration) -> String {
    let micros = time.as_micros();
    if micros < 10_000 {
        format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10)
    } else {
        duration(u64::try_from(micros / 1_000).unwrap_or(u64::MAX))
    }
}

/// A private directory of its own, gone when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn make(look: &Look<'_>) -> Result<Scratch, Error> {
        let unique = u64::from_be_bytes(clock::unique::<8>(&*look.context.clock));
        let path = std::env::temp_dir().join(format!("mnemosyne-doctor-{unique:016x}"));
        let left = path.clone();
        // Named before it is there, so that no moment is left in which it would stay. The system clears its temporary directory; there is
        // nobody to tell.
        look.context.interrupt.when_abandoned(move || _ = std::fs::remove_dir_all(left));
        let made = guard::make_dir(&path);
        if !matches!(made, Ok(true)) {
            // What is there is not ours.
            look.context.interrupt.when_abandoned(|| ());
            made?;
            return Err(Error::failed(format!("{} is there already", path.display())));
        }
        let scratch = Scratch(path);
        // Who was asked to end before it was there has tidied already.
        if look.context.interrupt.is_asked() { Err(Error::Interrupted) } else { Ok(scratch) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The system clears its temporary directory; there is nobody to tell.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

const PAYLOAD: &str = r#"{"session_id":"doctor","hook_event_name":"PostToolUse","tool_name":"Bash","tool_use_id":"t","cwd":"/","tool_input":{"command":"true"},"tool_response":{"stdout":""}}"#;

/// How long one call takes; none where it does not end well and in silence.
fn call(program: &Path, arguments: impl Fn(&mut Command), cwd: &Path) -> Result<Option<Duration>, Error> {
    let refused = |error| Error::io("run", program)(error);
    let mut command = Command::new(program);
    arguments(&mut command);
    for (name, _) in crate::config::env::VARIABLES {
        command.env_remove(name);
    }
    command.env("MNEMOSYNE_DISABLE_AUTO_START_API", "1").current_dir(cwd);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let begin = Instant::now();
    let mut child = command.spawn().map_err(refused)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it is judged by how it ends.
        stdin.write_all(PAYLOAD.as_bytes()).ok();
    }
    let ended = child.wait_with_output().map_err(refused)?;
    let took = begin.elapsed();
    let well = ended.status.success() && ended.stdout.is_empty() && ended.stderr.is_empty();
    Ok(well.then_some(took))
}

fn median(
    program: &Path,
    arguments: impl Fn(&mut Command) + Copy,
    cwd: &Path,
) -> Result<Option<Duration>, Error> {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let Some(time) = call(program, arguments, cwd)? else { return Ok(None) };
        times.push(time);
    }
    times.sort_unstable();
    Ok(times.get(CALLS / 2).copied())
}

pub(super) fn transcripts(look: &Look<'_>) -> Found {
    let place = transcript::default_directory(look.env.path("CLAUDE_CONFIG_DIR"), look.env.home());
    let Some(place) = place.filter(|place| std::fs::symlink_metadata(place).is_ok()) else { return Ok(None) };
    if !place.is_dir() {
        return Ok(Finding::warn(
            format!("{} is no directory", place.display()),
            "Claude Code keeps its transcripts there; CLAUDE_CONFIG_DIR names another place",
        ));
    }
    let mut report = transcript::Report::default();
    let found = transcript::find(std::slice::from_ref(&place), &mut report);
    if let Some((path, why)) = report.unreadable.first() {
        return Ok(Finding::warn(
            format!("{} cannot be read: {why}", path.display()),
            "what it holds cannot be imported",
        ));
    }
    let (known, are_more) = sessions(look)?;
    let name = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let of_sessions: Vec<String> =
        found.iter().filter_map(|it| name(&it.path)).filter(|name| !name.starts_with("agent-")).collect();
    let unknown = of_sessions.iter().filter(|name| !known.contains(*name)).count() as u64;
    let all = counted(of_sessions.len() as u64, "transcript");
    let most = if are_more { "up to " } else { "" };
    Ok(Finding::pass(if unknown == 0 {
        format!("{all}, each of a session on record")
    } else {
        format!(
            "{all}, {most}{unknown} of them of sessions that are not on record: `mnemosyne import` adds them"
        )
    }))
}

/// The ids of the sessions that the live state holds, and whether there are others that have left it.
fn sessions(look: &Look<'_>) -> Result<(BTreeSet<String>, bool), Error> {
    let (view, dir) = (look.view()?, &look.dir);
    let files = view
        .journal_id()
        .map(|journal| Files::new(dir.snapshots(), journal.to_bytes()).with_base(dir.base()));
    let (fold, _) = state_at::<SessionsProjection>(&view, files.as_ref(), Seq::MAX)?;
    let state = fold.state();
    Ok((state.all().map(|(id, _)| id.into_owned()).collect(), state.departed() > 0))
}

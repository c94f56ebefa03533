//! `init`: a data directory for the project, and with `--claude` our hooks in Claude Code's settings.
//!
//! Constraints first. The settings belong to their user and are read by a program that skips a whole file for one fault. So
//! what would be written is shown before, nothing is written without a yes, the old file is kept beside the new one,
//! a second run finds nothing to do, and `--undo` gives back what was there, byte for byte ([`undo`]).
//!
//! - **Where.** The hooks go into `.claude/settings.local.json` of the project: they name a program by its absolute path,
//!   which is a matter of this machine and not of the repository. `--user` takes the user's own settings, for all projects.
//!   Never both: each hook would run twice.
//! - **What.** Every hook of `hooks::HOOKS`, as a program with arguments and no shell. A build in cargo's own directory
//!   is refused, because the next build or clean takes it away, and then each call of a hook would fail before the user's
//!   eyes.
//! - **The data directory** of a project is `.mnemosyne/` at its top, registered in the user's configuration: only what stands
//!   there is trusted, since a cloned repository can bring one along. One that is there already and was never registered is
//!   not taken without a yes.
//! - **MCP**: `.mcp.json` of the project gets an entry for `serve`, so that the agent can ask its own record. The user's servers for
//!   all projects stand in `~/.claude.json`, a file that Claude Code rewrites while it runs and that holds its login: it is left
//!   alone, and `--user` says which command of Claude Code's own registers the server.

mod apply;
mod place;
mod show;
mod undo;

use serde_json::json;

use super::display::counted;
use super::{Context, Outcome, detach};
use crate::agent::claude::hooks::CLAUDE_CODE_MIN;
use crate::agent::claude::settings::SERVER;
use crate::agent::claude::switched_off::{self, SwitchedOff};
use crate::agent::claude::{registration, version};
use crate::config::DataDir;
use crate::config::register::{self, Registering};
use crate::error::Error;
use crate::event::payload;
use crate::event::text::visible;
use crate::store;
use apply::Edit;
use place::Place;
use std::borrow::Cow;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

/// The arguments of `init`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Args {
    /// Register the hooks and the project's MCP server with Claude Code
    #[arg(long)]
    claude: bool,
    /// For the project around the working directory; the default
    #[arg(long, conflicts_with = "user")]
    project: bool,
    /// For this user and all projects, instead of one project
    #[arg(long)]
    user: bool,
    /// Write without asking
    #[arg(long, short)]
    yes: bool,
    /// Show what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Take the registration out of Claude Code's settings again; what was recorded stays
    #[arg(long)]
    undo: bool,
}

/// Runs the command.
///
/// # Errors
/// When the settings are not what they must be, when nobody says yes, and when something cannot be written.
#[expect(clippy::needless_pass_by_value, reason = "the shape of every command")]
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let place = Place::find(args.user, context)?;
    if args.undo {
        return undo::run(&args, &place, context);
    }
    let plan = Plan::make(&args, place, context)?;
    plan.show(context)?;
    let must_ask = plan.edits.iter().any(Edit::is_change) || plan.is_found;
    if args.dry_run {
        plan.report(context, &Written::default(), true)?;
        return Ok(Outcome::with_summary("nothing was written: a dry run"));
    }
    if must_ask {
        confirm(&args, context)?;
    }
    let written = plan.write(context)?;
    plan.report(context, &written, false)?;
    Ok(Outcome::with_summary(written.summary()))
}

/// The data directory that this command line is to make: what it emits is there, and so are its start and its end.
pub(super) fn makes(matches: &clap::ArgMatches, context: &Context) -> Option<DataDir> {
    let args = <Args as clap::FromArgMatches>::from_arg_matches(matches).ok()?;
    let dir = Place::find(args.user, context).ok()?.data_dir;
    dir.open_existing().is_err().then_some(dir)
}

/// What is to be done, decided before anything is.
struct Plan {
    place: Place,
    /// The data directory is not there yet.
    makes: bool,
    /// It is there, and nobody ever registered it.
    is_found: bool,
    registers: Option<Registering>,
    edits: Vec<Edit>,
    program: Option<String>,
    /// What keeps the hooks from being run, wherever they are registered.
    off: Option<SwitchedOff>,
}

/// What was done.
#[derive(Default)]
struct Written {
    made: bool,
    registered: bool,
    backups: Vec<PathBuf>,
    settings: usize,
}

impl Written {
    fn summary(&self) -> String {
        if !self.made && !self.registered && self.settings == 0 {
            return "nothing was to be done".to_owned();
        }
        let settings = format!("{} changed", counted(self.settings as u64, "settings file"));
        let done = [
            self.made.then_some("the data directory was made"),
            self.registered.then_some("the data directory was registered"),
            (self.settings > 0).then_some(&*settings),
        ];
        done.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl Plan {
    fn make(args: &Args, place: Place, context: &mut Context) -> Result<Plan, Error> {
        let path = place.data_dir.path();
        let makes = place.data_dir.open_existing().is_err();
        let occupied = std::fs::read_dir(path).is_ok_and(|mut found| found.next().is_some());
        let registers = if place.registers { register::prepare(&context.env, path)? } else { None };
        let is_found = occupied && registers.is_some();
        let mut plan =
            Plan { makes, is_found, registers, edits: Vec::new(), program: None, off: None, place };
        if args.claude {
            check_claude(context)?;
            plan.refuse_double(context)?;
            let program = this_program()?;
            plan.edits = plan
                .place
                .targets
                .iter()
                .map(|target| Edit::registering(target, &plan.place, &program))
                .collect::<Result<_, _>>()?;
            plan.program = Some(program);
            plan.off = switched_off::switched_off(
                &switched_off::managed_files(),
                &plan.place.settings_files(context),
            );
        }
        Ok(plan)
    }

    /// Two files that register the same hook make each event twice.
    fn refuse_double(&self, context: &Context) -> Result<(), Error> {
        let own = &self.place.targets[0].path;
        for file in self.place.settings_files(context) {
            if file != *own && registration::registers_any(&file) {
                return Err(Error::failed(format!(
                    "{} registers the hooks already, and each would run twice: take that out first (`mnemosyne init --undo`{}), or leave it as it is",
                    visible(&file.to_string_lossy()),
                    if self.place.is_user() {
                        ", in the project"
                    } else {
                        " with --user, if it is the user's"
                    },
                )));
            }
        }
        Ok(())
    }

    fn show(&self, context: &mut Context) -> Result<(), Error> {
        if self.is_found {
            context.out.warn(&format!(
                "{} is there already and was never registered: whatever it holds will be trusted",
                visible(&self.place.data_dir.path().to_string_lossy())
            ));
        }
        self.edits
            .iter()
            .filter(|edit| edit.is_change())
            .try_for_each(|edit| show::diff(edit, &mut context.out))
    }

    fn write(&self, context: &mut Context) -> Result<Written, Error> {
        let dir = &self.place.data_dir;
        let mut written = Written::default();
        dir.create()?;
        context.data_dir_is(dir);
        if self.makes {
            written.made = true;
            let event = payload::DatabaseInitialized {
                path: dir.path().to_string_lossy().into_owned(),
                format_version: store::FORMAT_VERSION,
            };
            if let Some(run) = context.run() {
                run.emit_into(dir, event);
            }
        }
        if let Some(registering) = &self.registers {
            registering.write()?;
            written.registered = true;
        }
        let stamp = show::stamp(context.now());
        for edit in self.edits.iter().filter(|edit| edit.is_change()) {
            written.backups.push(edit.write(&stamp)?);
            written.settings += 1;
        }
        Ok(written)
    }

    fn report(&self, context: &mut Context, written: &Written, dry: bool) -> Result<(), Error> {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let dir = self.place.data_dir.path();
        if context.out.is_json() {
            let files: Vec<_> = self
                .edits
                .iter()
                .map(|edit| json!({"path": path(edit.path()), "changed": edit.is_change()}))
                .collect();
            let backups: Vec<_> = written.backups.iter().map(|backup| path(backup)).collect();
            return context.out.json(&json!({
                "version": 1, "dry_run": dry, "mcp_command": self.mcp_command(), "data_dir": path(dir), "made": written.made,
                "registered": written.registered, "program": self.program, "files": files, "backups": backups,
                "hooks_off": self.off.as_ref().map(|off| json!({"path": path(&off.file), "key": off.key})),
            }));
        }
        let (make, register) =
            if dry { ("would be made", "would be registered in") } else { ("made", "registered in") };
        let state = if self.makes { make } else { "there already" };
        context.out.line(&format!("data directory  {} ({state})", visible(&path(dir))))?;
        if let Some(registering) = &self.registers {
            context.out.line(&format!("{register:15} {}", visible(&path(registering.path()))))?;
        }
        for edit in &self.edits {
            let state = match (edit.is_change(), dry) {
                (false, _) => "nothing to do",
                (true, true) => "would be changed",
                (true, false) => "changed",
            };
            context.out.line(&format!("settings        {} ({state})", visible(&path(edit.path()))))?;
        }
        for backup in &written.backups {
            context.out.line(&format!("backup          {}", visible(&path(backup))))?;
        }
        if let Some(off) = &self.off {
            context.out.warn(&off_words(off));
        } else if self.program.is_some() && !dry && written.settings > 0 {
            context.out.note("Sessions of Claude Code that start from now on are recorded. `mnemosyne init --undo` takes it back.");
        }
        if let Some(command) = self.mcp_command() {
            context.out.note(&format!(
                "The MCP server for all projects is Claude Code's to register, in a file that it writes itself: `{}`",
                visible(&command)
            ));
        }
        Ok(())
    }

    /// The line for a shell that has Claude Code register the MCP server for all projects.
    fn mcp_command(&self) -> Option<String> {
        let program = self.program.as_deref().filter(|_| self.place.is_user())?;
        let dir = self.place.named.as_deref().and_then(Path::to_str);
        let of_dir = dir.map(|dir| format!(" --data-dir {}", quoted(dir))).unwrap_or_default();
        Some(format!("claude mcp add --scope user {SERVER} -- {} serve{of_dir}", quoted(program)))
    }
}

/// A word of a shell's line.
fn quoted(word: &str) -> Cow<'_, str> {
    if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+:@".contains(&byte))
    {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

/// The registration stands, and does nothing yet.
fn off_words(off: &SwitchedOff) -> String {
    format!(
        "Claude Code runs none of these hooks, so nothing is recorded: `{}` is true in {}. Take that out there first",
        off.key,
        visible(&off.file.to_string_lossy())
    )
}

/// A yes from the command line or from a person.
fn confirm(args: &Args, context: &mut Context) -> Result<(), Error> {
    if args.yes {
        return Ok(());
    }
    context.out.flush()?;
    if !std::io::stdin().is_terminal() {
        return Err(Error::usage(
            "nobody is there to say yes: look at the changes above, then run this again with --yes",
        ));
    }
    if context.out.ask("Write this?")? {
        Ok(())
    } else {
        Err(Error::failed("nothing was written: nobody said yes"))
    }
}

/// An old Claude Code would misread the entries: see [`crate::agent::claude::hooks`].
fn check_claude(context: &mut Context) -> Result<(), Error> {
    let (major, minor, patch) = CLAUDE_CODE_MIN;
    let Some(found) = version::of(Path::new("claude")) else {
        context.out.note(&format!(
            "Claude Code is not on the search path; it must be {major}.{minor}.{patch} or newer to read these entries."
        ));
        return Ok(());
    };
    if version::numbers(&found).is_some_and(|numbers| numbers < CLAUDE_CODE_MIN) {
        return Err(Error::failed(format!(
            "Claude Code {} cannot run a hook with arguments and would take each for a refusal: update it to {major}.{minor}.{patch} or newer first",
            visible(&found)
        )));
    }
    Ok(())
}

/// The absolute path of this program, if it is one that stays.
fn this_program() -> Result<String, Error> {
    let program = detach::this_program()?;
    let program = std::fs::canonicalize(&program).map_err(Error::io("resolve", program))?;
    let shown = visible(&program.to_string_lossy()).into_owned();
    if is_build(&program) {
        return Err(Error::failed(format!(
            "{shown} is a build, which the next `cargo clean` takes away: install the program with `cargo install --path . --locked`, \
             then run `mnemosyne init --claude` again"
        )));
    }
    if program.file_name().is_none_or(|name| name != "mnemosyne") {
        return Err(Error::failed(format!(
            "{shown} is not named `mnemosyne`, by which a registration is known: rename it, then run this again"
        )));
    }
    match program.to_str() {
        Some(program) => Ok(program.to_owned()),
        None => {
            Err(Error::failed(format!("{shown} is not UTF-8 and cannot stand in JSON: install it elsewhere")))
        }
    }
}

/// Whether a program lies where cargo puts what it builds.
fn is_build(program: &Path) -> bool {
    let names: Vec<_> = program.iter().collect();
    let target = names.iter().position(|name| *name == "target");
    let profile = |name: &&&std::ffi::OsStr| **name == "debug" || **name == "release";
    target.is_some_and(|at| names[at..].iter().any(|name| profile(&name)))
        || program.parent().is_some_and(|directory| directory.join(".cargo-lock").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_known_by_its_place() {
        for build in ["/a/target/debug/mnemosyne", "/a/target/x86_64-unknown-linux-gnu/release/mnemosyne"] {
            assert!(is_build(Path::new(build)), "{build}");
        }
        for installed in
            ["/home/u/.cargo/bin/mnemosyne", "/usr/local/bin/mnemosyne", "/srv/target/bin/mnemosyne"]
        {
            assert!(!is_build(Path::new(installed)), "{installed}");
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".cargo-lock"), "").unwrap();
        assert!(is_build(&dir.path().join("mnemosyne")));
    }
}

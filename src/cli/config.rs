//! `config`: what is configured, where it says so, and changing it.
//!
//! A value is checked as every command would read it before it is written, and the file keeps its comments. A running
//! server reads its configuration when it starts.

mod key;

pub(super) use key::on_the_command_line;

use std::ffi::OsString;

use clap::Subcommand;
use serde_json::{Value as Json, json};

use super::display::{Role, visible};
use super::table::{Cell, Table};
use super::{Context, Outcome};
use crate::config::edit::{ConfigFile, Scope};
use crate::config::keys::{KEYS, Named};
use crate::config::{DataDir, Settings};
use crate::error::Error;
use crate::event::payload;

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// The user's own file, for all data directories
    #[arg(long, global = true, conflicts_with = "project")]
    user: bool,
    /// The data directory's file, which goes before the user's; the default for set and unset
    #[arg(long, global = true)]
    project: bool,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// Print the value in force, or with --user or --project what that file says
    Get {
        /// The name of a setting, as the list shows it
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Set a value
    Set {
        /// The name of a setting, as the list shows it
        #[arg(value_name = "KEY")]
        key: String,
        /// Such as 30d
        #[arg(value_name = "VALUE", allow_hyphen_values = true)]
        value: String,
    },
    /// Take a value out again: the user's or the default then counts
    Unset {
        /// The name of a setting, as the list shows it
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Print every setting, its value and where that comes from
    List,
    /// Print where the files are
    Path,
    /// Keep a key under a name: it is taken out of whatever is recorded from then on. Read from a prompt or stdin
    SetKey {
        /// A name for it
        #[arg(value_name = "NAME")]
        name: String,
        /// A key on the command line is refused, and not repeated
        #[arg(hide = true, num_args = 0.., allow_hyphen_values = true)]
        on_the_command_line: Vec<OsString>,
    },
    /// Print the name, the length and the last four characters of a key, or of all
    ShowKey {
        /// The name that it was set with
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Forget a key
    DeleteKey {
        /// The name that it was set with
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Runs it.
///
/// # Errors
/// An unknown key, a value that it cannot have, a file that cannot be read or written.
#[expect(clippy::needless_pass_by_value, reason = "the shape of every command")]
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let scope = match (args.user, args.project) {
        (true, _) => Some(Scope::User),
        (_, true) => Some(Scope::Project),
        _ => None,
    };
    let dir = || match context.locate_data_dir() {
        // The user's own file is to be mended here, and what it says of directories is not known before.
        Err(Error::Config { .. }) if scope == Some(Scope::User) => {
            context.env.user_data().map(DataDir::at).ok_or(Error::NoHome)
        }
        found => found,
    };
    match &args.action {
        Action::Get { key } => get(&Named::find(key)?, scope, &dir()?, context),
        Action::Set { key, value } => change(&Named::find(key)?, Some(value), scope, &dir()?, context),
        Action::Unset { key } => {
            let dir = dir()?;
            change(&to_unset(key, scope, &dir, context)?, None, scope, &dir, context)
        }
        Action::List => list(scope, &dir()?, context),
        Action::Path => path(scope, &dir()?, context),
        // Keys are the user's, whatever the data directory.
        Action::SetKey { .. } | Action::ShowKey { .. } | Action::DeleteKey { .. } if args.project => {
            Err(Error::usage("keys stand in the user's own file only, never in a data directory"))
        }
        Action::SetKey { name, .. } => key::set(name, context),
        Action::ShowKey { name } => key::show(name.as_deref(), context),
        Action::DeleteKey { name } => key::delete(name, context),
    }
}

/// A value and the file that it comes from.
struct Found {
    value: Json,
    source: &'static str,
}

/// The files, the one that goes before first.
fn files(scope: Option<Scope>, dir: &DataDir, context: &Context) -> Result<Vec<(Scope, ConfigFile)>, Error> {
    [Scope::Project, Scope::User]
        .into_iter()
        .filter(|one| scope.is_none_or(|wanted| wanted == *one))
        .map(|one| Ok((one, ConfigFile::read(one, dir, &context.env)?)))
        .collect()
}

fn look(named: &Named, files: &[(Scope, ConfigFile)], default: &Settings) -> Found {
    for (scope, file) in files {
        if let Some(value) = file.get(named) {
            return Found { value, source: scope.name() };
        }
    }
    Found { value: named.effective(default), source: "default" }
}

fn get(named: &Named, scope: Option<Scope>, dir: &DataDir, context: &mut Context) -> Result<Outcome, Error> {
    let found = look(named, &files(scope, dir, context)?, &Settings::default());
    let absent = found.value.is_null() || (scope.is_some() && found.source == "default");
    if absent {
        return Err(Error::NotFound {
            what: format!("a value of {}", named.name),
            hint: ": it is set nowhere that was looked".to_owned(),
        });
    }
    if context.out.is_json() {
        let Found { value, source } = &found;
        context.out.json(&json!({"version": 1, "key": named.name, "value": value, "source": source}))?;
    } else {
        context.out.line(&visible(&words(&found.value)))?;
    }
    Ok(Outcome::DONE)
}

fn change(
    named: &Named,
    value: Option<&str>,
    scope: Option<Scope>,
    dir: &DataDir,
    context: &mut Context,
) -> Result<Outcome, Error> {
    let scope = scope.unwrap_or(Scope::Project);
    let of_dir = scope == Scope::Project;
    match dir.open_existing() {
        Err(error) if of_dir && (value.is_none() || !matches!(error, Error::NoDataDir { .. })) => {
            return Err(error);
        }
        _ => {}
    }
    let mut file = ConfigFile::read(scope, dir, &context.env)?;
    let changed = match value {
        Some(value) => file.set(named, value, dir, &context.env)?,
        None => file.unset(named, dir, &context.env)?,
    };
    if of_dir && value.is_some() {
        // Not before it is known that there is something to put into it.
        context.create_data_dir()?;
    }
    if changed.old != changed.new {
        file.save()?;
    }
    let path = file.path().to_string_lossy().into_owned();
    if let Some(run) = context.run().filter(|_| changed.old != changed.new) {
        run.emit(payload::ConfigChanged {
            setting: named.name.clone(),
            old_value: changed.old.clone(),
            new_value: changed.new.clone(),
        });
    }
    let summary = match &changed.new {
        Some(new) => format!("{} is {} in {path}", named.name, words(new)),
        None if changed.old.is_some() => format!("{} is gone from {path}", named.name),
        None => format!("{} was not set in {path}", named.name),
    };
    if context.out.is_json() {
        context.out.json(&json!({
            "version": 1, "key": named.name, "old": changed.old, "new": changed.new, "path": path,
        }))?;
    } else {
        context.out.line(&visible(&summary))?;
    }
    if let Some(fault) = &changed.fault {
        context.out.warn(&format!("{path} is refused as before: {fault}"));
    }
    if crate::client::Server::find(dir)?.is_some() {
        context
            .out
            .note("A server runs; it reads this when it starts again (`mnemosyne api-server --stop`).");
    }
    Ok(Outcome::with_summary(summary))
}

/// What `unset` names: a key, or whatever else stands in the file under that name, which then is what has to go.
fn to_unset(name: &str, scope: Option<Scope>, dir: &DataDir, context: &Context) -> Result<Named, Error> {
    let unknown = || {
        let unknown = Named::unknown(name);
        let file = ConfigFile::read(scope.unwrap_or(Scope::Project), dir, &context.env).ok()?;
        file.holds(&unknown).then_some(unknown)
    };
    Named::find(name).or_else(|error| unknown().ok_or(error))
}

fn list(scope: Option<Scope>, dir: &DataDir, context: &mut Context) -> Result<Outcome, Error> {
    // What no command would read is told instead of shown.
    Settings::load(dir, &context.env)?;
    let files = files(scope, dir, context)?;
    let mut keys: Vec<Named> = KEYS.iter().map(|key| Named::find(key.name)).collect::<Result<_, _>>()?;
    let mut models: Vec<String> = files.iter().flat_map(|(_, file)| file.models()).collect();
    models.sort();
    models.dedup();
    for model in models {
        keys.push(Named::find(&format!("prices.{model}"))?);
    }
    let default = Settings::default();
    let shown: Vec<(Named, Found)> = keys
        .into_iter()
        .map(|named| {
            let found = look(&named, &files, &default);
            (named, found)
        })
        .filter(|(_, found)| scope.is_none() || found.source != "default")
        .collect();
    if context.out.is_json() {
        let settings: Vec<Json> = shown
            .iter()
            .map(|(named, found)| {
                let about = named.key.map(|key| key.about);
                json!({"key": named.name, "value": found.value, "source": found.source, "about": about})
            })
            .collect();
        context.out.json(&json!({"version": 1, "settings": settings}))?;
    } else {
        let mut table = Table::new(["KEY", "VALUE", "FROM", "WHAT IT DECIDES"]);
        for (named, found) in &shown {
            let value = if found.value.is_null() { "-".to_owned() } else { words(&found.value) };
            table.row([
                Cell::words(&named.name).role(Role::Strong),
                Cell::words(value),
                Cell::words(found.source),
                Cell::words(named.key.map_or("what a model's million tokens cost", |key| key.about)),
            ]);
        }
        let style = context.out.style();
        table.lines(style).iter().try_for_each(|line| context.out.line(line))?;
    }
    Ok(Outcome::DONE)
}

fn path(scope: Option<Scope>, dir: &DataDir, context: &mut Context) -> Result<Outcome, Error> {
    let mut found = Vec::new();
    for scope in [Scope::Project, Scope::User].into_iter().filter(|one| scope.is_none_or(|it| it == *one)) {
        let path = scope.path(dir, &context.env)?;
        found.push((scope, path.exists(), path.to_string_lossy().into_owned()));
    }
    if context.out.is_json() {
        let files: Vec<Json> = found
            .iter()
            .map(|(scope, exists, path)| json!({"source": scope.name(), "path": path, "exists": exists}))
            .collect();
        context.out.json(&json!({"version": 1, "files": files}))?;
    } else if let (Some(_), [(_, _, path)]) = (scope, &found[..]) {
        context.out.line(&visible(path))?;
    } else {
        for (scope, exists, path) in &found {
            let absent = if *exists { "" } else { " (not there)" };
            context.out.line(&format!("{:8} {}{absent}", scope.name(), visible(path)))?;
        }
    }
    Ok(Outcome::DONE)
}

/// A value as it is typed.
fn words(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

//! `config set-key`, `show-key`, `delete-key`: secrets that the user names, so that they stay out of what is recorded.

use clap::ArgMatches;
use serde_json::{Value as Json, json};

use super::super::display::{Role, visible};
use super::super::table::{Cell, Table};
use super::super::{Context, Outcome, secret};
use crate::config::known::{Key, KnownKeys};
use crate::error::Error;
use crate::event::payload;

/// Whether a command line holds a key that should have been typed at the prompt. It is refused before anything is recorded or repeated.
pub(in crate::cli) fn on_the_command_line(command: &str, matches: &ArgMatches) -> bool {
    let of_key = || matches.subcommand_matches("set-key");
    let given = || of_key()?.get_raw("on_the_command_line").map(|mut values| values.next().is_some());
    command == "config" && given() == Some(true)
}

pub(super) fn set(name: &str, context: &mut Context) -> Result<Outcome, Error> {
    let mut known = KnownKeys::read(&context.env)?;
    let key = Key::new(secret::read("key (not shown)")?)?;
    let there = known.set(name, key)?;
    let before = there.then_some("a key");
    let summary = format!("{name} is kept, and taken out of what is recorded");
    changed(name, before, Some("a key"), summary, context)
}

pub(super) fn delete(name: &str, context: &mut Context) -> Result<Outcome, Error> {
    if !KnownKeys::read(&context.env)?.delete(name)? {
        return Err(unknown(name));
    }
    changed(name, Some("a key"), None, format!("{name} is forgotten"), context)
}

fn unknown(name: &str) -> Error {
    Error::NotFound {
        what: format!("a key named `{name}`"),
        hint: ": `mnemosyne config show-key` names those that there are".to_owned(),
    }
}

/// Tells of a change; of the key, nothing but whether there is one.
fn changed(
    name: &str,
    old: Option<&str>,
    new: Option<&str>,
    summary: String,
    context: &mut Context,
) -> Result<Outcome, Error> {
    if let Some(run) = context.run() {
        run.emit(payload::ConfigChanged {
            setting: format!("keys.{name}"),
            old_value: old.map(Into::into),
            new_value: new.map(Into::into),
        });
    }
    if context.out.is_json() {
        context.out.json(&json!({"version": 1, "name": name, "old": old, "new": new}))?;
    } else {
        context.out.line(&visible(&summary))?;
    }
    if crate::client::Server::find(&context.locate_data_dir()?)?.is_some() {
        context
            .out
            .note("A server runs; it reads this when it starts again (`mnemosyne api-server --stop`).");
    }
    Ok(Outcome::with_summary(summary))
}

pub(super) fn show(name: Option<&str>, context: &mut Context) -> Result<Outcome, Error> {
    let known = KnownKeys::read(&context.env)?;
    if let Some(name) = name.filter(|name| known.get(name).is_none()) {
        return Err(unknown(name));
    }
    let shown = known.iter().filter(|(one, _)| name.is_none_or(|name| name == *one));
    if context.out.is_json() {
        let keys: Vec<Json> =
            shown.map(|(name, key)| json!({"name": name, "bytes": key.bytes(), "end": key.end()})).collect();
        context.out.json(&json!({"version": 1, "keys": keys}))?;
    } else {
        if known.iter().next().is_none() {
            context.out.note("no key is kept: `mnemosyne config set-key NAME` keeps one");
            return Ok(Outcome::DONE);
        }
        let mut table = Table::new(["NAME", "BYTES", "ENDS IN"]);
        for (name, key) in shown {
            table.row([
                Cell::words(name).role(Role::Strong),
                Cell::words(key.bytes().to_string()),
                Cell::words(key.end().unwrap_or("-")),
            ]);
        }
        let style = context.out.style();
        table.lines(style).iter().try_for_each(|line| context.out.line(line))?;
    }
    Ok(Outcome::DONE)
}

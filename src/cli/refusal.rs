//! A command line that makes no sense: what its parser says, for people, or with `--json` as one object.
//!
//! It repeats what was typed or pasted, and stderr ends in the logs of others, so secrets are taken out of it and what a
//! terminal would obey is shown by its name. What is hidden from people is not offered to them here either.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{Exit, definition};
use crate::error::{Error, plain_usage, usage_line};
use crate::event::Redactor;
use crate::event::text::{is_unsafe, json_escaped, visible};
use crate::projection::registry;

/// `--help` and `--version` are data and a success; anything else that clap says is a wrong command line.
pub(super) fn help_or_usage(error: clap::Error, argv: &[OsString]) -> u8 {
    if !error.use_stderr() {
        // Nobody is left to be told when the terminal cannot be written to.
        let _ = error.print();
        return Exit::Done as u8;
    }
    let is_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    let error = or_state(without_hidden(error));
    let text = error.render().to_string();
    if wants_json(argv) {
        let missing = "a command is missing: --help lists them";
        tell(&if is_help { missing.to_owned() } else { usage_line(&text) }, argv);
        return Exit::Usage as u8;
    }
    let plain = plain_usage(&text);
    let redacted = Redactor::new().text(&plain);
    let obeyed = argv.iter().any(|argument| argument.to_string_lossy().chars().any(is_unsafe));
    if obeyed || redacted != text {
        let lines: Vec<_> = redacted.lines().map(visible).collect();
        say(&lines.join("\n"));
    } else {
        // As above.
        let _ = error.print();
    }
    Exit::Usage as u8
}

/// Says on stderr what is wrong with the command line, in the form that it asks for.
pub(super) fn tell(message: &str, argv: &[OsString]) {
    let message = Redactor::new().text(message).into_owned();
    if wants_json(argv) {
        let error = serde_json::json!({"code": Error::usage("").code(), "message": message});
        say(&json_escaped(&serde_json::json!({ "error": error }).to_string()));
    } else {
        say(&format!("error: {}", visible(&message)));
    }
}

fn say(text: &str) {
    // Nobody is left to be told when the terminal cannot be written to.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
}

/// Looked for in what was typed: where nothing could be parsed there is nothing else to ask.
fn wants_json(argv: &[OsString]) -> bool {
    argv.iter().skip(1).take_while(|argument| *argument != "--").any(|argument| argument == "--json")
}

/// The error without what is hidden among that which it lists or offers.
fn without_hidden(mut error: clap::Error) -> clap::Error {
    let hidden = hidden_words(&definition());
    for kind in [ContextKind::ValidSubcommand, ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg] {
        match error.remove(kind) {
            Some(ContextValue::Strings(words)) => {
                let shown: Vec<String> = words.into_iter().filter(|word| !hidden.contains(word)).collect();
                if !shown.is_empty() {
                    error.insert(kind, ContextValue::Strings(shown));
                }
            }
            Some(ContextValue::String(word)) if hidden.contains(&word) => {}
            Some(other) => drop(error.insert(kind, other)),
            None => {}
        }
    }
    error
}

/// Who types the name of a projection means `state`, whatever command is spelt alike.
fn or_state(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand)
        && registry::names().any(|name| name == typed)
    {
        let meant = ContextValue::Strings(vec![format!("state {typed}")]);
        error.insert(ContextKind::SuggestedSubcommand, meant);
    }
    error
}

/// The names of commands and options that the help does not show.
pub(super) fn hidden_words(command: &clap::Command) -> BTreeSet<String> {
    let options = command.get_arguments().filter(|argument| argument.is_hide_set());
    let mut words: BTreeSet<String> =
        options.filter_map(|option| Some(format!("--{}", option.get_long()?))).collect();
    for below in command.get_subcommands() {
        if below.is_hide_set() {
            words.insert(below.get_name().to_owned());
        } else {
            words.extend(hidden_words(below));
        }
    }
    words
}

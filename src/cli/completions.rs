//! `completions`: a shell's completions, from the definitions that parse.

use clap_complete::{Shell, generate};
use serde_json::json;

use super::{Context, Outcome, definition_of, shown};
use crate::error::Error;

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// For which shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Prints them.
///
/// # Errors
/// As [`super::out::Out::line`].
#[expect(clippy::needless_pass_by_value, reason = "the shape of every command")]
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let mut script = Vec::new();
    // What is hidden from people is hidden from their shells.
    generate(args.shell, &mut without_hidden(&definition_of(shown())), "mnemosyne", &mut script);
    let script = String::from_utf8_lossy(&script);
    if context.out.is_json() {
        let shell = args.shell.to_string();
        context.out.json(&json!({"version": 1, "shell": shell, "script": script}))?;
    } else {
        context.out.line(script.trim_end())?;
    }
    Ok(Outcome::DONE)
}

/// The definition without the arguments that are hidden: the scripts would offer them. It is for the scripts alone, and parses nothing.
fn without_hidden(command: &clap::Command) -> clap::Command {
    // The definition wants names that last; there are as many as commands, once in a process that prints and ends.
    let name: &'static str = command.get_name().to_owned().leak();
    let about = command.get_about().cloned();
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set()).cloned();
    let below = command.get_subcommands().filter(|below| !below.is_hide_set()).map(without_hidden);
    let mut shown = clap::Command::new(name).args(arguments).subcommands(below);
    if let Some(version) = command.get_version() {
        let version: &'static str = version.to_owned().leak();
        shown = shown.version(version);
    }
    match about {
        Some(about) => shown.about(about),
        None => shown,
    }
}

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
    generate(args.shell, &mut definition_of(shown()), "mnemosyne", &mut script);
    let script = String::from_utf8_lossy(&script);
    if context.out.is_json() {
        let shell = args.shell.to_string();
        context.out.json(&json!({"version": 1, "shell": shell, "script": script}))?;
    } else {
        context.out.line(script.trim_end())?;
    }
    Ok(Outcome::DONE)
}

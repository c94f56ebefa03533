//! `events`
use super::{Context, Outcome};
use crate::error::Error;

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {}

/// Runs it.
///
/// # Errors
/// None yet.
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    let _ = (args, context);
    todo!()
}

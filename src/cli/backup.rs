//! `backup`: a consistent copy of the data directory, server or not. It reads the files by itself: what is durable does
//! not change, so it needs no lock and stops nobody.

use super::{Context, Outcome, display, events};
use crate::config::DataDir;
use crate::error::Error;
use crate::projection::base;
use crate::store::backup;
use serde_json::json;
use std::path::PathBuf;

/// Copies what is durable now to DIR, reads it back and verifies it. The copy is a data directory of its own.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where to: a new or an empty directory
    #[arg(value_name = "DIR")]
    pub target: PathBuf,
}

/// Copies.
///
/// # Errors
/// No data directory, a target that is not empty, a disk that is full.
#[expect(clippy::needless_pass_by_value, reason = "the shape of every command")]
pub fn run(args: Args, context: &mut Context) -> Result<Outcome, Error> {
    // Takes in what waits, as every command that reads does, and says what could not be.
    let view = events::open(context)?;
    let dir = context.locate_data_dir()?;
    let mut copied = backup::copy(&dir, &args.target)?;
    let bases = DataDir::at(&args.target).base();
    copied.damage.extend(base::damaged(&bases, copied.journal_id.to_bytes())?);
    if context.out.is_json() {
        context.out.json(&json!({
            "version": 1,
            "dir": args.target,
            "journal": copied.journal_id.to_string(),
            "first_seq": copied.first.get(),
            "last_seq": copied.last.get(),
            "segments": copied.segments,
            "bytes": copied.bytes,
            "head": copied.head,
            "inbox_waiting": view.waiting(),
            "damage": copied.damage,
        }))?;
    } else {
        let range = format!("seq {} to {}", copied.first, copied.last);
        let segments = display::counted(copied.segments, "segment");
        let bytes = display::counted(copied.bytes, "byte");
        context.out.line(&format!("copied    {range}: {segments}, {bytes}"))?;
        context.out.line(&format!("head      {}", copied.head))?;
    }
    let summary = format!("seq {} to {}", copied.first, copied.last);
    if copied.damage.is_empty() {
        return Ok(Outcome::with_summary(summary));
    }
    for damage in &copied.damage {
        context.out.warn(damage);
    }
    context.out.warn("the original is damaged in the same places: everything was copied as it stands");
    Ok(Outcome::damaged(summary))
}

//! The command line.

use clap::{Parser, Subcommand};

/// Tells what is in a mnemosyne journal and what is damaged, from its files alone
///
/// DIR is a data directory or a journal directory; it may be torn, half copied, read-only or in use. Nothing in it is
/// changed, no lock is taken, no server is asked.
///
/// Exit codes: 0 done; 1 failed; 2 usage; 3 not found; 4 damage met, after everything readable was printed.
#[derive(Debug, Parser)]
#[command(name = "mnemosyne-inspect", version, term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print JSON: one versioned object, or one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do; each says in its own file what it is.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Info(crate::info::InfoArgs),
    Dump(crate::dump::DumpArgs),
    Verify(crate::verify::VerifyArgs),
    Cat(crate::cat::CatArgs),
    Explain(crate::explain::ExplainArgs),
    Stat(crate::stat::StatArgs),
    Grep(crate::grep::GrepArgs),
    Diff(crate::diff::DiffArgs),
    Sessions(crate::sessions::SessionsArgs),
    Salvage(crate::salvage::SalvageArgs),
    Export(crate::export::ExportArgs),
}

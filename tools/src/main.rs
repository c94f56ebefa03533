//! `mnemosyne-inspect`: what is in a journal's files, and what is damaged, told from the files alone.
//!
//! It needs no server and no configuration, takes no lock, reads with pread and never writes to what it reads, so it works
//! on a torn, a half-copied, a read-only and a live directory. What it says about bytes comes from
//! [`mnemosyne_journal::inspect`], whose checks are the ones of the journal itself; what it says about events comes from
//! [`mnemosyne::event`]. It opens a file for writing in one case only: `salvage` makes a new directory.
//!
//! Start at `args.rs` for what it can do, at `records.rs` for how it reads.
//!
//! Exit codes: 0 done; 1 failed; 2 usage; 3 not found; 4 damage met, after everything readable was said. An unfinished
//! write at the end is no damage: a crash leaves one, and so does a writer that is at work right now.

mod args;
mod cat;
mod diff;
mod dump;
mod explain;
mod export;
mod failure;
mod grep;
mod info;
mod out;
mod place;
mod projections;
mod records;
mod salvage;
mod sessions;
mod stat;
mod text;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;
use mnemosyne::error::{plain_usage, usage_line};

use crate::args::{Args, Command};
use crate::failure::Failure;
use crate::out::Out;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        // Help and version are errors to clap, with exit code 0; a reader who has gone away is none.
        Err(said) => {
            refuse(&said);
            return ExitCode::from(u8::try_from(said.exit_code()).unwrap_or(2));
        }
    };
    let mut out = Out::of_process(args.json);
    let done = run(args.command, &mut out).and_then(|()| out.flush());
    match done {
        Ok(()) if out.is_damaged() => ExitCode::from(4),
        Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::Different) => match (out.flush(), out.is_damaged()) {
            (_, true) => ExitCode::from(4),
            (_, false) => ExitCode::FAILURE,
        },
        Err(failure) => {
            out.fail(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// What the parser says: help and version as they are, and what is wrong in the form that was asked for.
fn refuse(said: &clap::Error) {
    let printed = said.render().to_string();
    let mut typed = std::env::args_os().skip(1).take_while(|argument| argument != "--");
    if said.use_stderr() && typed.any(|argument| argument == "--json") {
        let is_help = said.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        let line =
            if is_help { "a command is missing: --help lists them".to_owned() } else { usage_line(&printed) };
        Out::of_process(true).fail(&Failure::Usage(line));
        return;
    }
    let plain = plain_usage(&printed);
    // There is no third stream to tell of a failure on.
    let _gone = if said.use_stderr() && plain != printed {
        std::io::Write::write_all(&mut std::io::stderr(), plain.as_bytes())
    } else {
        said.print()
    };
}

fn run(command: Command, out: &mut Out) -> Result<(), Failure> {
    match command {
        Command::Info(args) => info::run(&args, out),
        Command::Dump(args) => dump::run(&args, out),
        Command::Verify(args) => verify::run(&args, out),
        Command::Cat(args) => cat::run(&args, out),
        Command::Explain(args) => explain::run(&args, out),
        Command::Stat(args) => stat::run(&args, out),
        Command::Grep(args) => grep::run(&args, out),
        Command::Diff(args) => diff::run(&args, out),
        Command::Sessions(args) => sessions::run(&args, out),
        Command::Salvage(args) => salvage::run(&args, out),
        Command::Export(args) => export::run(&args, out),
    }
}

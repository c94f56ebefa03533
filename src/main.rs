//! The mnemosyne binary.
//!
//! Which command it is decides how much of the program starts. A hook runs hundreds of times in a session and must cost
//! about as much as starting an empty process, so its name is looked for in the raw arguments before anything else is set
//! up: no argument parser, no runtime, no logging.

use std::process::ExitCode;

use mnemosyne::cli;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(call) = cli::hook::recognise(&arguments) {
        cli::hook::run(&call);
        return ExitCode::SUCCESS;
    }
    ExitCode::from(cli::run(arguments))
}

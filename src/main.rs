//! The mnemosyne binary.
//!
//! Which command it is decides how much of the program starts. A hook runs hundreds of times in a session and must cost
//! about as much as starting an empty process, so its name is looked for in the raw arguments before anything else is set
//! up: no argument parser, no runtime, no logging.

use std::process::ExitCode;
use std::sync::Arc;

use mnemosyne::cli;

fn main() -> ExitCode {
    outlive_file_size_limits();
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(call) = cli::hook::recognise(&arguments) {
        cli::hook::run(&call);
        return ExitCode::SUCCESS;
    }
    cli::arena::limit_in_server(&arguments);
    ExitCode::from(cli::run(arguments))
}

/// A write beyond a limit on file sizes is to fail as one on a full disk does. By default the signal that comes with it ends
/// the process instead: a server in the middle of a batch, a hook with an exit code that an agent sees.
fn outlive_file_size_limits() {
    // It cannot fail for this signal; if it did, everything else would work all the same.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).ok();
}

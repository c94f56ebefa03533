//! The mnemosyne binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(mnemosyne::cli::run(std::env::args_os()))
}

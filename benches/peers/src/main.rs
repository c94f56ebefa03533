//! The journal beside its peers and the limits of the machine, in one run: `cargo run --release` in this directory.
//!
//! Every round runs each engine once, in turn, for a fixed time, in a directory of its own; the figure of a row is
//! the median over the rounds, and its ratio the median of the ratios within a round: the machine's mood passes over all.
//! What is printed is the table, in Markdown.
//!
//! Sizes come from the environment: `PEERS_ROUNDS` (5), `PEERS_MILLIS` (400, a measurement), `PEERS_RECORDS` (200,000, for
//! reading), `PEERS_DIR` (where: the system's temporary directory), `PEERS_FIXED_DIR` (where the flush is fixed: a file
//! system in memory, so that nothing else of the disk is measured).

mod engine;
mod engines;
mod flush;
mod limits;
mod table;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use engine::Result;

/// How much is measured, and where.
pub struct Plan {
    pub rounds: usize,
    pub long: Duration,
    pub records: u64,
    pub dir: PathBuf,
    pub fixed_dir: PathBuf,
}

fn main() -> Result<()> {
    let plan = Plan {
        rounds: number("PEERS_ROUNDS", 5)?.try_into()?,
        long: Duration::from_millis(number("PEERS_MILLIS", 400)?),
        records: number("PEERS_RECORDS", 200_000)?,
        dir: place("PEERS_DIR").unwrap_or_else(std::env::temp_dir),
        fixed_dir: place("PEERS_FIXED_DIR").unwrap_or_else(in_memory),
    };
    let only = std::env::args().nth(1);
    for work in work::ALL {
        if only.as_deref().is_none_or(|only| work.name.contains(only)) {
            table::print(work, &work::measure(work, &plan))?;
        }
    }
    Ok(())
}

fn number(name: &str, usual: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| format!("{name} is no number: {text}").into()),
        Err(_) => Ok(usual),
    }
}

fn place(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

fn in_memory() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}

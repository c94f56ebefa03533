//! The tool as people run it: the real binary on directories that the journal's own writer made.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::unwrap_used,
    reason = "the numbers of tests are small, and what does not hold fails the test"
)]

/// Every command on a whole journal, and on none.
mod commands;
/// Damage of every sort, and what `verify` and `dump` say of it.
mod damage;
/// The examples in `docs/inspect.md` are what the program prints.
mod docs;
/// Where `diff` says that a journal ends, after a cut and beside damage.
mod ends;
/// Nothing is changed, nothing panics, a writer at work is no damage.
mod harmless;
/// What `salvage` and `diff` make of two directories.
mod pairs;
/// Saved states against the fold, and the sessions that the fold tells of.
mod projections;
mod support;

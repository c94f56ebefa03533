//! The promises of the journal and the store, held against real processes on real, broken and lying disks.
//!
//! Every module takes one kind of accident, brings it about on purpose, and then asks the same three questions: is everything
//! there that was acknowledged, is nothing there twice, and did the program say what it could not do. Each has a positive
//! control: with the accident or the protection away, the harness sees the opposite.
//!
//! - [`eio`]: a disk whose flushes and writes fail.
//! - [`full`]: a disk without room.
//! - [`flapping`]: hooks beside a server that comes and goes.
//! - [`retry`]: answers that never arrive.
//! - [`writers`]: two writers, and holders that were killed.
//! - [`truncate`]: files that shrink under their readers.
//! - [`clocks`]: clocks that jump by years.
//! - [`load`]: many events, many clients, long times; and none.
//! - [`power`]: power cuts on a disk that loses what was not flushed.
//!
//! By default each takes seconds. `MNEMOSYNE_LONG=1` runs the counts that the promises name; `MNEMOSYNE_SEED` repeats a run.
//! What a machine cannot do is said on stderr, as `SKIPPED: ...`: a test that did not run must not look like one that passed.

mod child;
mod clocks;
mod eio;
mod flapping;
mod full;
#[cfg(target_os = "linux")]
mod load;
mod power;
mod retry;
#[path = "../it/support.rs"]
#[allow(dead_code, unused_imports, reason = "the kit of the black-box tests; not all of it is needed here")]
mod support;
mod truncate;
mod world;
mod writers;

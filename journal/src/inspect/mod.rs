//! Looking at a journal's files from outside: what stands where, what does not hold, and nothing changed.
//!
//! For the offline tool and for tests. It needs no lock and no writer, reads with pread only, never maps, never flushes,
//! and takes any input: a copy that was made while somebody wrote, a directory that lacks files, bytes that never were a
//! journal.
//!
//! [`Survey`] is a directory; it gives one [`Look`] for each segment: its bytes, and what [`crate::verify`] says about
//! them. [`layout`] names the bytes of the structures, from the same constants that code them.

pub mod layout;
mod survey;

pub use survey::{Glance, Look, Looks, Survey};

//! Projections: read models that are pure folds of the journal.
pub mod pacing;

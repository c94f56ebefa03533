//! Retention with its base: what `gc` and the server do.
//!
//! The store decides what goes and how; this puts the states of all projections between the decision and the cut.

use serde::{Deserialize, Serialize};

use super::base;
use super::snapshot::Files;
use crate::config::settings::Retention;
use crate::error::Result;
use crate::store::Store;
use crate::store::retention::{Pace, Plan};

/// What went, or would go; what stays, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Of this object: 1.
    pub version: u32,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// What went or would go.
    pub dropped: Option<Dropped>,
    /// What stays.
    pub kept: Kept,
}

/// Whole oldest segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The first seq in them.
    pub from_seq: u64,
    /// The last.
    pub to_seq: u64,
    /// How many they are.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// `age` or `size`.
    pub reason: String,
}

/// The rest of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its first seq.
    pub first_seq: u64,
    /// How many segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why no more goes, in words.
    pub why: String,
}

/// Drops what `policy` lets go, its base first; with `dry_run`, only says what that would be.
///
/// # Errors
/// What the base, the journal and the disk say. Nothing goes without a base.
pub fn apply(store: &Store, files: &Files, policy: &Retention, pace: Pace, dry_run: bool) -> Result<Report> {
    let plan = if dry_run {
        store.plan_retention(policy, pace)?
    } else {
        store
            .retain(policy, pace, &mut |seq| base::write(store, files, seq).map(|base| base.progress.gaps))?
    };
    Ok(report(&plan, dry_run))
}

fn report(plan: &Plan, dry_run: bool) -> Report {
    let dropped = plan.cut.map(|cut| Dropped {
        from_seq: cut.from.get(),
        to_seq: cut.to.get(),
        segments: cut.segments,
        bytes: cut.bytes,
        reason: cut.reason.name().to_owned(),
    });
    let kept = Kept {
        first_seq: plan.first.get(),
        segments: plan.segments,
        bytes: plan.bytes,
        why: plan.stays.words().to_owned(),
    };
    Report { version: 1, dry_run, dropped, kept }
}

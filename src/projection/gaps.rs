//! What an answer could not take in, in its JSON.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Progress;

/// Seqs that an answer knows nothing of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapView {
    /// First of them.
    pub from_seq: u64,
    /// Last of them.
    pub to_seq: u64,
    /// `retention` or `corruption`.
    pub reason: Cow<'static, str>,
}

impl GapView {
    /// Those that were met on the way.
    pub fn all(progress: &Progress) -> Vec<GapView> {
        let gaps = progress.gaps.iter().map(|gap| GapView {
            from_seq: gap.from.get(),
            to_seq: gap.to.get(),
            reason: gap.reason.as_str().into(),
        });
        gaps.collect()
    }
}

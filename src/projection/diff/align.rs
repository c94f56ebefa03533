//! Which call of one run is which call of the other.
//!
//! Two passes. Calls with the same signature are aligned first, by a longest common subsequence (Myers). What is left between two
//! aligned calls is aligned once more by tool and target alone: the same step, taken with another input. The rest only one run did.
//!
//! The answer for (b, a) is the mirror of the answer for (a, b). Myers alone does not promise that (of several longest
//! subsequences it takes one, and which one depends on the side), so the shorter run, or the lesser of two as long, always comes first.

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// What a call is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Signature {
    /// Tool and whole input.
    pub(super) exact: u64,
    /// Tool and what it is about.
    pub(super) target: u64,
}

/// One place of the alignment; indices into the two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The same call.
    Same(usize, usize),
    /// The same step with another input.
    Changed(usize, usize),
    /// Only the first run did it.
    OnlyA(usize),
    /// Only the second run did it.
    OnlyB(usize),
}

/// Aligns two runs. Every index of both stands in exactly one step; of each run they rise.
pub(super) fn align(a: &[Signature], b: &[Signature]) -> Vec<Step> {
    let mirrored = (b.len(), b) < (a.len(), a);
    let pairs = if mirrored { pairs(b, a).into_iter().map(|(b, a)| (a, b)).collect() } else { pairs(a, b) };
    let (mut steps, mut at) = (Vec::new(), (0, 0));
    let upto = |steps: &mut Vec<Step>, at: (usize, usize), end: (usize, usize)| {
        steps.extend((at.0..end.0).map(Step::OnlyA));
        steps.extend((at.1..end.1).map(Step::OnlyB));
    };
    for (i, j) in pairs {
        upto(&mut steps, at, (i, j));
        let same = a[i].exact == b[j].exact;
        steps.push(if same { Step::Same(i, j) } else { Step::Changed(i, j) });
        at = (i + 1, j + 1);
    }
    upto(&mut steps, at, (a.len(), b.len()));
    steps
}

/// Aligned indices, rising on both sides.
fn pairs(a: &[Signature], b: &[Signature]) -> Vec<(usize, usize)> {
    let of = |run: &[Signature], key: fn(&Signature) -> u64| run.iter().map(key).collect::<Vec<u64>>();
    let exact = common(&of(a, |call| call.exact), &of(b, |call| call.exact));
    let (mut pairs, mut at) = (Vec::new(), (0, 0));
    for (i, j) in exact.into_iter().chain([(a.len(), b.len())]) {
        let (left, right) = (&a[at.0..i], &b[at.1..j]);
        let between = common(&of(left, |call| call.target), &of(right, |call| call.target));
        pairs.extend(between.into_iter().map(|(k, l)| (at.0 + k, at.1 + l)));
        if i < a.len() {
            pairs.push((i, j));
        }
        at = (i + 1, j + 1);
    }
    pairs
}

/// A longest common subsequence, or on very long runs nearly one.
fn common(a: &[u64], b: &[u64]) -> Vec<(usize, usize)> {
    if a.is_empty() || b.is_empty() {
        return Vec::new();
    }
    let mut pairs = Vec::new();
    for op in capture_diff_slices(Algorithm::Myers, a, b) {
        if let DiffOp::Equal { old_index, new_index, len } = op {
            pairs.extend((0..len).map(|n| (old_index + n, new_index + n)));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Ten inputs to five targets.
    fn run(inputs: &[u64]) -> Vec<Signature> {
        inputs.iter().map(|n| Signature { exact: *n, target: *n / 2 }).collect()
    }

    fn mirror(step: Step) -> Step {
        match step {
            Step::Same(a, b) => Step::Same(b, a),
            Step::Changed(a, b) => Step::Changed(b, a),
            Step::OnlyA(a) => Step::OnlyB(a),
            Step::OnlyB(b) => Step::OnlyA(b),
        }
    }

    fn sorted(mut steps: Vec<Step>) -> Vec<String> {
        steps.sort_by_key(|step| format!("{step:?}"));
        steps.iter().map(|step| format!("{step:?}")).collect()
    }

    #[test]
    fn a_changed_input_is_one_step_and_not_two() {
        let steps = align(&run(&[2, 4, 8]), &run(&[2, 5, 8]));
        assert_eq!(steps, [Step::Same(0, 0), Step::Changed(1, 1), Step::Same(2, 2)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_call_stands_in_one_step(a in prop::collection::vec(0_u64..10, 0..40), b in prop::collection::vec(0_u64..10, 0..40)) {
            let (mut left, mut right) = (Vec::new(), Vec::new());
            for step in align(&run(&a), &run(&b)) {
                match step {
                    Step::Same(i, j) => { prop_assert_eq!(a[i], b[j]); left.push(i); right.push(j); }
                    Step::Changed(i, j) => { prop_assert!(a[i] != b[j] && a[i] / 2 == b[j] / 2); left.push(i); right.push(j); }
                    Step::OnlyA(i) => left.push(i),
                    Step::OnlyB(j) => right.push(j),
                }
            }
            prop_assert_eq!(left, (0..a.len()).collect::<Vec<_>>());
            prop_assert_eq!(right, (0..b.len()).collect::<Vec<_>>());
        }

        #[test]
        fn a_run_is_the_same_as_itself(a in prop::collection::vec(0_u64..10, 0..60)) {
            let steps = align(&run(&a), &run(&a));
            prop_assert_eq!(steps, (0..a.len()).map(|i| Step::Same(i, i)).collect::<Vec<_>>());
        }

        #[test]
        fn the_other_way_round_is_the_mirror(a in prop::collection::vec(0_u64..10, 0..40), b in prop::collection::vec(0_u64..10, 0..40)) {
            let there = align(&run(&a), &run(&b)).into_iter().map(mirror).collect();
            prop_assert_eq!(sorted(there), sorted(align(&run(&b), &run(&a))));
        }

        #[test]
        fn what_was_put_in_is_named_and_the_runs_meet_again(len in 0_usize..30, at in 0_usize..30, more in 1_usize..6) {
            let a: Vec<u64> = (0..len as u64).map(|n| n * 2).collect();
            let at = at.min(len);
            let mut b = a.clone();
            b.splice(at..at, (0..more as u64).map(|n| 1_000 + n * 2));
            let steps = align(&run(&a), &run(&b));
            let only: Vec<Step> = (at..at + more).map(Step::OnlyB).collect();
            let apart: Vec<Step> = steps.iter().copied().filter(|step| !matches!(step, Step::Same(..))).collect();
            prop_assert_eq!(apart, only);
            prop_assert!(at == len || steps.contains(&Step::Same(at, at + more)));
        }
    }
}

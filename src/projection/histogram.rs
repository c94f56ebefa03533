//! Durations in fixed buckets, so that percentiles need neither all the values nor a float.
//!
//! Buckets are log-linear: values below 32 ms have a bucket each; above, every power of two is cut into 16 equal ones.
//! A bucket is therefore at most one sixteenth as wide as the values in it. A percentile is the upper bound of the
//! bucket that holds it (nearest rank): the true value is at most that, and at most a sixteenth below. The mean is
//! exact. The borders never change, so histograms of different days, machines and years add up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Values below this have a bucket of their own.
const EXACT_BELOW: u64 = 32;
/// Buckets between two powers of two.
const STEPS: u64 = 16;
/// Longer values count as this, about 35 years: a sum of millions of them still fits.
pub const VALUE_MS_MAX: u64 = 1 << 40;

/// How many values fell into each bucket, and their sum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// All values.
    count: u64,
    /// Their sum in milliseconds.
    sum_ms: u64,
    /// Values a bucket, by the bucket's number; empty ones are absent.
    buckets: BTreeMap<u16, u64>,
}

impl Histogram {
    /// Takes a value in.
    pub fn add(&mut self, ms: u64) {
        let ms = ms.min(VALUE_MS_MAX);
        self.count += 1;
        self.sum_ms = self.sum_ms.saturating_add(ms);
        *self.buckets.entry(bucket_of(ms)).or_default() += 1;
    }

    /// Takes a value out that was taken in before.
    pub fn remove(&mut self, ms: u64) {
        let ms = ms.min(VALUE_MS_MAX);
        self.count = self.count.saturating_sub(1);
        self.sum_ms = self.sum_ms.saturating_sub(ms);
        let bucket = bucket_of(ms);
        if let Some(held) = self.buckets.get_mut(&bucket) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.buckets.remove(&bucket);
            }
        }
    }

    /// Takes all values of another in.
    pub fn merge(&mut self, other: &Histogram) {
        self.count += other.count;
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean in milliseconds, rounded to the nearest; `None` of nothing.
    pub fn mean_ms(&self) -> Option<u64> {
        (self.count > 0).then(|| (self.sum_ms + self.count / 2) / self.count)
    }

    /// The value that `percent` of all values do not exceed, as the upper bound of its bucket; `None` of nothing.
    pub fn percentile_ms(&self, percent: u8) -> Option<u64> {
        let rank = (u128::from(self.count) * u128::from(percent)).div_ceil(100).max(1);
        let mut passed = 0_u128;
        self.buckets.iter().find_map(|(bucket, count)| {
            passed += u128::from(*count);
            (passed >= rank).then(|| upper_bound(*bucket))
        })
    }

    /// What people read of it.
    pub fn summary(&self) -> Option<DurationSummary> {
        Some(DurationSummary {
            count: self.count,
            mean_ms: self.mean_ms()?,
            p50_ms: self.percentile_ms(50)?,
            p95_ms: self.percentile_ms(95)?,
            p99_ms: self.percentile_ms(99)?,
        })
    }
}

/// The usual figures of durations, in milliseconds. Percentiles are upper bounds, at most a sixteenth above the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurationSummary {
    /// How many durations are known.
    pub count: u64,
    /// Their mean, exact but for rounding.
    pub mean_ms: u64,
    /// Half of them took at most this.
    pub p50_ms: u64,
    /// 95 of 100 took at most this.
    pub p95_ms: u64,
    /// 99 of 100 took at most this.
    pub p99_ms: u64,
}

/// The number of the bucket that holds `ms`.
fn bucket_of(ms: u64) -> u16 {
    if ms < EXACT_BELOW {
        return u16::try_from(ms).unwrap_or(0);
    }
    let power = u64::from(ms.ilog2());
    let step = (ms >> (power - 4)) - STEPS;
    u16::try_from(EXACT_BELOW + (power - 5) * STEPS + step).unwrap_or(u16::MAX)
}

/// The greatest value of a bucket.
fn upper_bound(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < EXACT_BELOW {
        return bucket;
    }
    let (power, step) = ((bucket - EXACT_BELOW) / STEPS + 5, (bucket - EXACT_BELOW) % STEPS);
    let next = u128::from(STEPS + step + 1) << (power - 4).min(64);
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

/// A share in hundredths of a percent, rounded to the nearest; `None` of nothing.
pub fn basis_points(part: u64, whole: u64) -> Option<u64> {
    let (part, whole) = (u128::from(part), u128::from(whole));
    (whole > 0).then(|| u64::try_from((part * 10_000 + whole / 2) / whole).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bucket_borders_are_where_the_module_says() {
        for ms in 0..32 {
            assert_eq!(upper_bound(bucket_of(ms)), ms);
        }
        for (ms, upper) in [(32, 33), (33, 33), (34, 35), (63, 63), (64, 67), (1_000, 1_023), (1_024, 1_087)]
        {
            assert_eq!(upper_bound(bucket_of(ms)), upper, "{ms}");
        }
        assert_eq!((bucket_of(u64::MAX), upper_bound(bucket_of(u64::MAX))), (975, u64::MAX));
    }

    #[test]
    fn of_nothing_nothing_is_known() {
        let empty = Histogram::default();
        assert_eq!((empty.mean_ms(), empty.percentile_ms(50), empty.summary()), (None, None, None));
        assert_eq!(
            (basis_points(1, 0), basis_points(1, 3), basis_points(2, 2)),
            (None, Some(3_333), Some(10_000))
        );
    }

    proptest! {
        #[test]
        fn a_percentile_is_the_bucket_of_the_true_one(
            mut values in prop::collection::vec(0_u64..10_000_000, 1..200),
            percent in 1_u8..=100,
        ) {
            let mut histogram = Histogram::default();
            for ms in &values {
                histogram.add(*ms);
            }
            values.sort_unstable();
            let rank = (values.len() * usize::from(percent)).div_ceil(100);
            let (truth, told) = (values[rank - 1], histogram.percentile_ms(percent).unwrap());
            prop_assert!(truth <= told && told <= truth + truth / 16, "{} told as {}", truth, told);
            let sum: u64 = values.iter().sum();
            let n = values.len() as u64;
            prop_assert_eq!(histogram.mean_ms(), Some((sum + n / 2) / n));
        }

        #[test]
        fn what_is_taken_out_leaves_no_trace(kept: Vec<u64>, passing: Vec<u64>) {
            let (mut histogram, mut never) = (Histogram::default(), Histogram::default());
            for ms in &passing {
                histogram.add(*ms);
            }
            for ms in &kept {
                histogram.add(*ms);
                never.add(*ms);
            }
            for ms in &passing {
                histogram.remove(*ms);
            }
            prop_assert_eq!(histogram, never);
        }

        #[test]
        fn parts_add_up(all: Vec<u64>, at: prop::sample::Index) {
            let cut = at.index(all.len() + 1);
            let of = |values: &[u64]| {
                let mut histogram = Histogram::default();
                for ms in values {
                    histogram.add(*ms);
                }
                histogram
            };
            let mut sum = of(&all[..cut]);
            sum.merge(&of(&all[cut..]));
            prop_assert_eq!(sum, of(&all));
        }
    }
}

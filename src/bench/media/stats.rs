//! Percentiles of many values, and the spread of a few.

use serde::{Deserialize, Serialize};

/// What is told of a set of values: times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many values there were. When there were none the rest means nothing.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Half of the values are not greater.
    pub p50: f64,
    /// 99 in 100 values are not greater.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
}

impl Distribution {
    /// Of `values`, whose order is lost.
    pub fn of(values: &mut [u32]) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        let sum: u64 = values.iter().map(|&value| u64::from(value)).sum();
        values.sort_unstable();
        let at = |percent| f64::from(values[rank(values.len(), percent)]);
        let count = values.len() as u64;
        Self { count, mean: sum as f64 / count as f64, p50: at(50), p99: at(99), max: at(100) }
    }
}

/// The nearest-rank percentile: the smallest value that `percent` in 100 values are not greater than. 0 for none.
fn rank(count: usize, percent: usize) -> usize {
    (count * percent).div_ceil(100).max(1) - 1
}

/// The middle value; of two in the middle the lower. `None` when there is none.
pub fn median<T: Copy + PartialOrd>(values: &mut [T]) -> Option<T> {
    values.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    values.get(values.len().saturating_sub(1) / 2).copied()
}

/// One figure over several repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of the repetitions that have the figure; `None` if none has.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        let median = median(&mut values)?;
        Some(Self { min: *values.first()?, median, max: *values.last()? })
    }
}

/// Nanoseconds as a value to collect: more than 4.29 s counts as that, a negative time as none.
pub(super) fn nanoseconds(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut values: Vec<u32> = (1..=200).rev().collect();
        let distribution = Distribution::of(&mut values);
        assert_eq!(distribution, Distribution { count: 200, mean: 100.5, p50: 100.0, p99: 198.0, max: 200.0 });
    }

    #[test]
    fn of_few_values_the_99th_percentile_is_the_greatest() {
        let distribution = Distribution::of(&mut [7, 3]);
        assert_eq!((distribution.p50, distribution.p99, distribution.max), (3.0, 7.0, 7.0));
        assert_eq!(Distribution::of(&mut [5]).p50, 5.0);
        assert_eq!(Distribution::of(&mut []).count, 0);
    }

    #[test]
    fn the_spread_of_repetitions() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 2.0]), Some(Spread { min: 2.0, median: 2.0, max: 4.0 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn times_out_of_range_are_cut() {
        assert_eq!(nanoseconds(-1), 0);
        assert_eq!(nanoseconds(i64::MAX), u32::MAX);
    }
}

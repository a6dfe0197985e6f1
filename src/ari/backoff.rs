//! How long to wait before the next attempt to connect.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);

/// Exponential back-off with jitter: 250 ms, doubled with every failure, at most 10 s.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Failures in a row so far.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// It worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// It failed once more: the wait before the next attempt. `random` spreads it over the upper half, so that many
    /// clients of one Asterisk do not come back at the same instant.
    pub(super) fn fail(&mut self, random: u64) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = doubled / 2;
        half + Duration::from_micros(random % (half.as_micros() as u64 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds() {
        let mut backoff = Backoff::default();
        let longest_waits: Vec<u128> = (0..8)
            .map(|_| {
                let longest = FIRST.saturating_mul(1 << backoff.failures().min(10)).min(LONGEST) / 2;
                backoff.fail(longest.as_micros() as u64).as_millis()
            })
            .collect();
        assert_eq!(longest_waits, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
    }

    #[test]
    fn jitter_never_leaves_the_upper_half() {
        for random in [0, 1, 124_999, 125_000, 125_001, u64::MAX] {
            let wait = Backoff::default().fail(random);
            assert!(wait >= FIRST / 2 && wait <= FIRST, "{wait:?}");
        }
    }

    #[test]
    fn success_starts_over_and_endless_failure_does_not_overflow() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.fail(0), LONGEST / 2);
        assert_eq!(backoff.failures(), u32::MAX);
        backoff.reset();
        assert_eq!(backoff.fail(0), FIRST / 2);
    }
}

//! Remembers for all calls how an engine does, so that a dead one is not tried by each of them.

use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// How long an engine is passed over after its first failure; doubled with each further one.
const FIRST_PENALTY: Duration = Duration::from_secs(10);
const LONGEST_PENALTY: Duration = Duration::from_secs(300);

/// One engine's record. The lock is held for a few instructions and never on the media path.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    record: Mutex<Record>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    failures: u32,
    penalty_ends: Option<Instant>,
}

impl Breaker {
    /// Whether it may be tried at `now`. After a penalty one call is let through to try it; the others wait for the
    /// outcome, or a while if there is none (the call may end first).
    pub(super) fn admits(&self, now: Instant) -> bool {
        self.with(|record| match record.penalty_ends {
            None => true,
            Some(end) if now < end => false,
            Some(_) => {
                record.penalty_ends = Some(now + FIRST_PENALTY);
                true
            }
        })
    }

    pub(super) fn failed(&self, now: Instant) {
        self.with(|record| {
            let penalty = FIRST_PENALTY * 2u32.saturating_pow(record.failures.min(5));
            *record = Record {
                failures: record.failures.saturating_add(1),
                penalty_ends: Some(now + penalty.min(LONGEST_PENALTY)),
            };
        });
    }

    pub(super) fn succeeded(&self) {
        self.with(|record| *record = Record::default());
    }

    /// When its penalty ends; an engine without one comes first when sorted by this.
    pub(super) fn penalty_ends(&self) -> Option<Instant> {
        self.with(|record| record.penalty_ends)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Record) -> T) -> T {
        // A panic cannot happen while the lock is held; the record is plain numbers in any case.
        act(&mut self.record.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_engine_is_passed_over_longer_each_time_and_probed_by_one_call_only() {
        let breaker = Breaker::default();
        let start = Instant::now();
        assert!(breaker.admits(start) && breaker.admits(start));
        breaker.failed(start);
        assert!(!breaker.admits(start + Duration::from_secs(9)));
        assert!(breaker.admits(start + Duration::from_secs(10)), "the probe");
        assert!(!breaker.admits(start + Duration::from_secs(10)), "one probe at a time");
        breaker.failed(start + Duration::from_secs(10));
        assert!(!breaker.admits(start + Duration::from_secs(29)));
        assert!(breaker.admits(start + Duration::from_secs(30)));
        breaker.succeeded();
        assert!(breaker.admits(start + Duration::from_secs(30)) && breaker.admits(start + Duration::from_secs(30)));
        for _ in 0..100 {
            breaker.failed(start);
        }
        assert_eq!(breaker.penalty_ends(), Some(start + LONGEST_PENALTY));
    }
}

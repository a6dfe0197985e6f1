//! Circuit breakers: which engines are passed over, known to all calls.
//!
//! An engine that failed is passed over for a while, each time it fails again twice as long. Then one call tries it
//! (half-open). If a session opens, the others may use it too, but only a result, not an open session, clears its
//! record: an engine that takes sessions and then says nothing is passed over longer and longer.

use crate::call::Service;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long an engine is passed over after its first failure.
const FIRST_PENALTY: Duration = Duration::from_secs(10);
/// However often it fails, no longer than this.
const LONGEST_PENALTY: Duration = Duration::from_secs(300);
/// A trial whose outcome is not known after this does not keep others from trying.
const TRIAL_LIMIT: Duration = Duration::from_secs(10);

/// The records of all engines that have failed. The lock is held for a few instructions, a few times a call.
#[derive(Debug, Default)]
pub struct Breakers {
    records: Mutex<HashMap<(Service, String), Record>>,
}

#[derive(Debug)]
struct Record {
    failures: u32,
    failed_at: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Passed over until then; from then on one call may try.
    Open { until: Instant },
    /// Being tried since then.
    HalfOpen { since: Instant },
    /// In use again; its failures still count.
    Closed,
}

impl Breakers {
    /// The engine to use: the first of those not yet `tried` that is not passed over; if all are, the one whose failure
    /// is longest ago.
    pub(super) fn choose<'a>(
        &self,
        service: Service,
        names: impl Iterator<Item = &'a str>,
        tried: &[usize],
        now: Instant,
    ) -> Option<usize> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let mut longest_ago: Option<(Instant, usize)> = None;
        for (index, name) in names.enumerate().filter(|(index, _)| !tried.contains(index)) {
            let Some(record) = records.get_mut(&(service, name.to_owned())) else { return Some(index) };
            if record.admits(now) {
                return Some(index);
            }
            if longest_ago.is_none_or(|(failed_at, _)| record.failed_at < failed_at) {
                longest_ago = Some((record.failed_at, index));
            }
        }
        longest_ago.map(|(_, index)| index)
    }

    /// A session was opened.
    pub(super) fn opened(&self, service: Service, name: &str) {
        self.with(service, name, |record| record.state = State::Closed);
    }

    /// The engine delivered what it is there for.
    pub(super) fn delivered(&self, service: Service, name: &str) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        // An empty table is the usual case: no key has to be made for it.
        if !records.is_empty() {
            records.remove(&(service, name.to_owned()));
        }
    }

    /// A session that was begun at `began` failed. When an engine dies, all its sessions fail: that counts once.
    pub(super) fn failed(&self, service: Service, name: &str, began: Instant, now: Instant) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (service, name.to_owned());
        let failures = match records.get(&key) {
            Some(record) if began <= record.failed_at => return,
            Some(record) => record.failures.saturating_add(1),
            None => 1,
        };
        let penalty = (FIRST_PENALTY * 2_u32.saturating_pow((failures - 1).min(8))).min(LONGEST_PENALTY);
        records.insert(key, Record { failures, failed_at: now, state: State::Open { until: now + penalty } });
    }

    fn with(&self, service: Service, name: &str, act: impl FnOnce(&mut Record)) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = records.get_mut(&(service, name.to_owned())) {
            act(record);
        }
    }
}

impl Record {
    /// Whether the engine may be used; if that makes this call the one that tries it, notes so.
    fn admits(&mut self, now: Instant) -> bool {
        let admits = match self.state {
            State::Closed => return true,
            State::Open { until } => now >= until,
            State::HalfOpen { since } => now >= since + TRIAL_LIMIT,
        };
        if admits {
            self.state = State::HalfOpen { since: now };
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["a", "b"];

    fn choose(breakers: &Breakers, tried: &[usize], now: Instant) -> Option<usize> {
        breakers.choose(Service::Dialog, NAMES.into_iter(), tried, now)
    }

    fn fail(breakers: &Breakers, name: &str, at: Instant) {
        breakers.failed(Service::Dialog, name, at, at);
    }

    #[test]
    fn an_engine_that_failed_is_passed_over_then_tried_by_one_call_then_used_by_all() {
        let (breakers, start) = (Breakers::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(choose(&breakers, &[], at(0)), Some(0));
        fail(&breakers, "a", at(0));
        assert_eq!(choose(&breakers, &[], at(9)), Some(1));
        assert_eq!(choose(&breakers, &[], at(10)), Some(0), "the trial");
        assert_eq!(choose(&breakers, &[], at(11)), Some(1), "one trial at a time");
        assert_eq!(choose(&breakers, &[], at(20)), Some(0), "a trial without an outcome lapses");
        breakers.opened(Service::Dialog, "a");
        assert_eq!((choose(&breakers, &[], at(21)), choose(&breakers, &[], at(21))), (Some(0), Some(0)));
    }

    #[test]
    fn penalties_double_up_to_five_minutes_until_there_is_a_result() {
        let (breakers, mut now) = (Breakers::default(), Instant::now());
        for penalty in [10, 20, 40, 80, 160, 300, 300] {
            fail(&breakers, "a", now);
            assert_eq!(choose(&breakers, &[], now + Duration::from_secs(penalty - 1)), Some(1), "{penalty} s");
            now += Duration::from_secs(penalty);
            assert_eq!(choose(&breakers, &[], now), Some(0), "{penalty} s");
            breakers.opened(Service::Dialog, "a");
            now += Duration::from_secs(1);
        }
        breakers.delivered(Service::Dialog, "a");
        fail(&breakers, "a", now);
        assert_eq!(choose(&breakers, &[], now + Duration::from_secs(10)), Some(0), "it begins anew");
    }

    #[test]
    fn the_sessions_that_die_with_an_engine_are_one_failure() {
        let (breakers, began) = (Breakers::default(), Instant::now());
        let died = began + Duration::from_secs(60);
        for _ in 0..500 {
            breakers.failed(Service::Dialog, "a", began, died);
        }
        assert_eq!(choose(&breakers, &[], died + Duration::from_secs(10)), Some(0));
    }

    #[test]
    fn when_all_are_passed_over_the_one_that_failed_longest_ago_is_used_and_none_twice() {
        let (breakers, start) = (Breakers::default(), Instant::now());
        fail(&breakers, "b", start);
        fail(&breakers, "a", start + Duration::from_secs(1));
        let now = start + Duration::from_secs(2);
        assert_eq!(choose(&breakers, &[], now), Some(1));
        assert_eq!(choose(&breakers, &[1], now), Some(0));
        assert_eq!(choose(&breakers, &[1, 0], now), None);
    }

    #[test]
    fn a_service_does_not_suffer_for_another_of_the_same_engine() {
        let (breakers, now) = (Breakers::default(), Instant::now());
        breakers.failed(Service::Recognition, "a", now, now);
        assert_eq!(choose(&breakers, &[], now), Some(0));
    }
}

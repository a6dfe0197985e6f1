//! Everything that a call can be waiting for, as one enum and one table.

use std::time::Instant;

/// A moment at which something must have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The caller has said nothing since the last reply ended.
    NoInput,
    /// The recogniser owes the final hypothesis of an ended utterance.
    FinalOverdue,
    /// The dialogue owes text, or its "done".
    TextOverdue,
    /// The synthesiser owes audio, and nothing is left to play.
    AudioOverdue,
    /// The last words are on their way to the caller's ear: end the call after them.
    Leave,
}

impl Timer {
    const ALL: [Self; 5] = [Self::NoInput, Self::FinalOverdue, Self::TextOverdue, Self::AudioOverdue, Self::Leave];
}

/// When each timer is due, if it runs.
#[derive(Debug, Default)]
pub(super) struct TimerTable {
    due: [Option<Instant>; Timer::ALL.len()],
}

impl TimerTable {
    pub(super) fn set(&mut self, timer: Timer, due: Instant) {
        self.due[timer as usize] = Some(due);
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.due[timer as usize] = None;
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.due[timer as usize].is_some()
    }

    pub(super) fn stop_all(&mut self) {
        *self = Self::default();
    }

    /// The next moment at which a timer is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.iter().flatten().min().copied()
    }

    /// A timer that is due at `now`; it no longer runs.
    pub(super) fn expired(&mut self, now: Instant) -> Option<Timer> {
        let timer = Timer::ALL.into_iter().find(|timer| self.due[*timer as usize].is_some_and(|due| due <= now))?;
        self.stop(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn timers_expire_once_and_in_time() {
        let start = Instant::now();
        let mut table = TimerTable::default();
        table.set(Timer::NoInput, start + Duration::from_secs(2));
        table.set(Timer::Leave, start + Duration::from_secs(1));
        assert_eq!(table.next(), Some(start + Duration::from_secs(1)));
        assert_eq!(table.expired(start), None);
        assert_eq!(table.expired(start + Duration::from_secs(3)), Some(Timer::NoInput));
        assert_eq!(table.expired(start + Duration::from_secs(3)), Some(Timer::Leave));
        assert_eq!(table.expired(start + Duration::from_secs(3)), None);
        table.set(Timer::NoInput, start);
        table.stop(Timer::NoInput);
        assert_eq!(table.next(), None);
    }
}

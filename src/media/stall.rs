//! The stall clock: keeps the caller's time going while nothing is received.
//!
//! A sender that is silent (hold, silence suppression) cannot be told from a link that stands still, so after a while the
//! call is given frames all the same, at real time. What they stand for is settled when something comes: see
//! [`timeline`](super::timeline).

use super::assembler::FrameAssembler;
use crate::audio::{FRAME_TIME, SampleRate};
use std::time::{Duration, Instant};

/// No stall is shorter.
const MIN_LIMIT: Duration = Duration::from_millis(40);
/// However irregular the link, more is not waited for (but two packets are).
const MAX_LIMIT: Duration = Duration::from_millis(120);
/// A packet that is later than this tells of an outage, and not of what the link is like.
const MAX_LATENESS: Duration = Duration::from_secs(1);
/// So far ahead of time can audio be that came in a burst.
const MAX_AHEAD: Duration = Duration::from_millis(120);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct StallClock {
    rate: SampleRate,
    /// Until when what was given lasts, if it is heard as it comes.
    covered: Option<Instant>,
    packet_time: Duration,
    /// How late packets have been lately: the peak, which falls slowly.
    lateness: Duration,
    /// Samples given in the present stall.
    given: i64,
}

impl StallClock {
    pub(super) const fn new(rate: SampleRate) -> Self {
        Self { rate, covered: None, packet_time: FRAME_TIME, lateness: Duration::ZERO, given: 0 }
    }

    /// The caller's time begins, unless it has begun before.
    pub(super) fn start(&mut self, now: Instant) {
        self.covered.get_or_insert(now);
    }

    /// Audio that lasts `packet_time` came at `arrival`. `continuous` says that it is the very next of a stream, so that
    /// only the link can have made it late.
    pub(super) fn note_audio(&mut self, arrival: Instant, packet_time: Duration, continuous: bool) {
        let covered = self.covered.unwrap_or(arrival);
        let ahead = covered.saturating_duration_since(arrival);
        if continuous && ahead.is_zero() {
            let late = arrival.saturating_duration_since(covered) + self.rate.time_of(self.given);
            if late > self.lateness && late < MAX_LATENESS {
                self.lateness = late.min(MAX_LIMIT);
            }
        }
        self.lateness -= self.lateness / 512;
        // A clock that is faster than ours is ahead by a little more with each packet; a burst by much, once.
        let ahead = (ahead - ahead / 64).min(MAX_AHEAD);
        self.covered = Some(covered.max(arrival).min(arrival + ahead) + packet_time);
        self.packet_time = packet_time;
        self.given = 0;
    }

    /// Nothing has come for so long that the call must be given something. Never before [`Self::start`].
    fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| now >= due)
    }

    /// When [`Self::is_due`] will be, if nothing comes.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.covered? + self.limit())
    }

    /// How long nothing may come: two packets, or what the link has needed lately and a quarter.
    fn limit(&self) -> Duration {
        let two = (self.packet_time * 2).max(MIN_LIMIT);
        (self.lateness + self.lateness / 4).clamp(two, two.max(MAX_LIMIT))
    }

    /// Completes the next frame of `assembler` in place of what has not come, if that is due. Says whether it was.
    pub(super) fn fill(&mut self, assembler: &mut FrameAssembler, now: Instant) -> bool {
        let due = self.is_due(now);
        if due {
            self.note_given(assembler.add_concealment(assembler.lacks()));
        }
        due
    }

    /// The call was given so many samples in place of what has not come.
    fn note_given(&mut self, samples: usize) {
        self.given += samples as i64;
        if let Some(covered) = &mut self.covered {
            *covered += self.rate.time_of(samples as i64);
        }
    }

    /// What was given is accounted for.
    pub(super) const fn forget_given(&mut self) {
        self.given = 0;
    }

    /// Samples given since audio came last.
    pub(super) const fn given(&self) -> i64 {
        self.given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[allow(clippy::disallowed_methods)]
    fn base() -> Instant {
        Instant::now()
    }

    #[test]
    fn silence_goes_on_at_real_time_from_the_limit_on() {
        let (mut clock, base) = (StallClock::new(SampleRate::HZ_8000), base());
        assert!(!clock.is_due(base + ms(500)), "time has not begun");
        clock.note_audio(base, FRAME, true);
        let mut given = Vec::new();
        for now in 0..200 {
            if clock.is_due(base + ms(now)) {
                clock.note_given(160);
                given.push(now);
            }
        }
        assert_eq!(given, [60, 80, 100, 120, 140, 160, 180]);
        assert_eq!(clock.given(), 7 * 160);
    }

    #[test]
    fn a_link_that_is_late_again_and_again_gets_more_time() {
        let (mut clock, base) = (StallClock::new(SampleRate::HZ_8000), base());
        let mut last = base;
        for n in 0..100 {
            // Every tenth packet is 70 ms late, and holds up those behind it.
            last = last.max(base + ms(n * 20 + if n % 10 == 9 { 70 } else { 0 }));
            clock.note_audio(last, FRAME, true);
        }
        assert!(!clock.is_due(last + FRAME + ms(65)));
        assert!(clock.is_due(last + FRAME + MAX_LIMIT));
    }

    #[test]
    fn an_hour_of_a_fast_clock_does_not_hide_a_stall() {
        let (mut clock, base) = (StallClock::new(SampleRate::HZ_8000), base());
        let mut at = base;
        for _ in 0..180_000 {
            clock.note_audio(at, FRAME, true);
            at += Duration::from_micros(19_996);
        }
        assert!(clock.is_due(at + ms(45)));
    }
}

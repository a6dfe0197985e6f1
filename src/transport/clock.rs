//! The clock of a worker: short slots on an absolute time line, twenty of them (by default) to a frame of 20 ms.
//!
//! Slot `n` begins exactly `n` slot times after the worker started, whatever happened before: lateness in one slot never
//! moves the next, so a stream does not drift. A call belongs to one of the phases `0..slots_per_frame` and is due in every
//! slot `n` with `n % slots_per_frame == phase`, which is once a frame time.
//!
//! [`Wheel`] is the arithmetic and takes the time as an argument; [`SlotClock`] sleeps on the real clock.

use crate::audio::FRAME_TIME;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};
use std::ops::Range;
use std::time::Duration;

/// After a stall (a suspended machine, a starved core) a call sends at most this many frames at once. More would only
/// fill the jitter buffer of the caller's telephone, and Asterisk forwards a burst as it comes. Beyond it time moves on.
pub(super) const MAX_BURST_FRAMES: u64 = 2;

/// A thread that is late sleeps so long all the same: at real-time priority it would take the core from everyone else as
/// long as it is overloaded. It stays on time at up to 95 % of a core.
const LEAST_SLEEP: Duration = Duration::from_micros(50);

/// How long a slot of a worker is: the longest time that a received packet or an engine's message lies unseen, and the
/// grain in which calls are spread over the frame time. A wake-up costs about 15 µs of CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotTime(Duration);

impl SlotTime {
    /// Wraps 1, 2, 4, 5, 10 or 20 ms, the whole milliseconds that divide a frame; `None` for any other.
    pub const fn from_millis(millis: u64) -> Option<Self> {
        let frame = FRAME_TIME.as_millis() as u64;
        if millis > 0 && frame.is_multiple_of(millis) { Some(Self(Duration::from_millis(millis))) } else { None }
    }

    /// How many slots make a frame time: 1 to 20.
    pub const fn slots_per_frame(self) -> usize {
        (FRAME_TIME.as_nanos() / self.0.as_nanos()) as usize
    }

    const fn nanos(self) -> u64 {
        self.0.as_nanos() as u64
    }
}

impl Default for SlotTime {
    /// 1 ms: adds half of that to the delay on average and costs about 2 % of a core.
    fn default() -> Self {
        Self(Duration::from_millis(1))
    }
}

/// What is to be done at a wake-up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The slots that have begun and were not run yet, oldest first. More than one: the worker is late.
    pub(super) slots: Range<u64>,
    /// Slots before these that are given up, because calls would have to send more than [`MAX_BURST_FRAMES`] at once.
    pub(super) given_up: u64,
}

/// Which slots are due when. Times are counted from slot 0.
#[derive(Debug)]
pub(super) struct Wheel {
    slot: SlotTime,
    next: u64,
}

impl Wheel {
    pub(super) const fn new(slot: SlotTime) -> Self {
        Self { slot, next: 0 }
    }

    /// When the next slot begins.
    pub(super) const fn next_start(&self) -> Duration {
        Duration::from_nanos(self.slot.nanos() * self.next)
    }

    /// The slots to run at this time; they count as run. Empty when it is too early.
    pub(super) fn due(&mut self, elapsed: Duration) -> Due {
        // 2^64 ns are 584 years.
        let begun = elapsed.as_nanos() as u64 / self.slot.nanos() + 1;
        let end = begun.max(self.next);
        let most = MAX_BURST_FRAMES * self.slot.slots_per_frame() as u64;
        let given_up = (end - self.next).saturating_sub(most);
        let slots = self.next + given_up..end;
        self.next = end;
        Due { slots, given_up }
    }

    /// The phase whose calls are due in this slot.
    pub(super) const fn phase(&self, slot: u64) -> usize {
        (slot % self.slot.slots_per_frame() as u64) as usize
    }
}

/// The wheel on the monotonic clock of the machine.
#[derive(Debug)]
pub(super) struct SlotClock {
    wheel: Wheel,
    epoch: TimeSpec,
}

impl SlotClock {
    /// Begins slot 0 now. To be called on the thread that will wait, since the precision of its timers is set here.
    pub(super) fn start(slot: SlotTime) -> Result<Self, Errno> {
        // By default the kernel may join wake-ups within 50 µs of each other, which would be most of the pacing error.
        if let Err(error) = prctl::set_timerslack(1) {
            tracing::warn!(%error, "cannot set the timer slack of a media thread: pacing will be up to 0.05 ms less exact");
        }
        Ok(Self { wheel: Wheel::new(slot), epoch: ClockId::CLOCK_MONOTONIC.now()? })
    }

    /// Sleeps until the next slot begins and says what is due.
    pub(super) fn wait(&mut self) -> Due {
        let next = self.epoch + TimeSpec::from(self.wheel.next_start());
        let start = match ClockId::CLOCK_MONOTONIC.now() {
            Ok(now) if now + TimeSpec::from(LEAST_SLEEP) > next => now + TimeSpec::from(LEAST_SLEEP),
            _ => next,
        };
        // An absolute sleep can be repeated as it is after a signal. It has no other way to fail with a valid time.
        while clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &start) == Err(Errno::EINTR)
        {
        }
        // The clock could be read in `start`; if ever it cannot, the wake-up counts as punctual.
        let now = ClockId::CLOCK_MONOTONIC.now().unwrap_or(start);
        self.wheel.due(Duration::from(now - self.epoch))
    }

    pub(super) const fn phase(&self, slot: u64) -> usize {
        self.wheel.phase(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Duration = Duration::from_millis(2);
    const SLOT_TIME: SlotTime = SlotTime(SLOT);

    fn due(slots: Range<u64>, given_up: u64) -> Due {
        Due { slots, given_up }
    }

    #[test]
    fn a_slot_divides_the_frame() {
        let allowed: Vec<u64> = (0..=40).filter(|&ms| SlotTime::from_millis(ms).is_some()).collect();
        assert_eq!(allowed, [1, 2, 4, 5, 10, 20]);
        assert_eq!(SLOT_TIME.slots_per_frame(), 10);
        assert_eq!(SlotTime::default().slots_per_frame(), 20);
    }

    #[test]
    fn a_punctual_wake_up_runs_one_slot() {
        let mut wheel = Wheel::new(SLOT_TIME);
        for n in 0..1000 {
            assert_eq!(wheel.next_start(), SLOT * n);
            assert_eq!(wheel.due(wheel.next_start()), due(u64::from(n)..u64::from(n) + 1, 0));
        }
    }

    #[test]
    fn too_early_runs_nothing_and_forgets_nothing() {
        let mut wheel = Wheel::new(SLOT_TIME);
        assert_eq!(wheel.due(Duration::ZERO), due(0..1, 0));
        assert_eq!(wheel.due(SLOT - Duration::from_nanos(1)), due(1..1, 0));
        assert_eq!(wheel.due(SLOT), due(1..2, 0));
    }

    #[test]
    fn a_late_wake_up_makes_good_what_it_missed() {
        let mut wheel = Wheel::new(SLOT_TIME);
        wheel.due(Duration::ZERO);
        assert_eq!(wheel.due(SLOT * 7 + SLOT / 2), due(1..8, 0));
        assert_eq!(wheel.next_start(), SLOT * 8, "lateness does not move the slots to come");
    }

    #[test]
    fn after_a_long_stall_no_call_sends_more_than_the_burst() {
        let mut wheel = Wheel::new(SLOT_TIME);
        wheel.due(Duration::ZERO);
        let Due { slots, given_up } = wheel.due(Duration::from_secs(3));
        assert_eq!(slots, 1481..1501);
        assert_eq!(given_up, 1480);
        for phase in 0..10 {
            let frames = slots.clone().filter(|&slot| wheel.phase(slot) == phase).count() as u64;
            assert_eq!(frames, MAX_BURST_FRAMES, "phase {phase}");
        }
        assert_eq!(wheel.next_start(), SLOT * 1501);
    }

    #[test]
    fn an_hour_of_uneven_wake_ups_neither_drifts_nor_loses_a_frame() {
        let mut wheel = Wheel::new(SLOT_TIME);
        let mut frames = [0u32; 10];
        let hour = Duration::from_secs(3600);
        let mut late = 0;
        while wheel.next_start() < hour {
            late = (late * 7919 + 104_729) % 15_000_000; // up to 15 ms, in ns
            let woken = (wheel.next_start() + Duration::from_nanos(late)).min(hour - Duration::from_nanos(1));
            let Due { slots, given_up } = wheel.due(woken);
            assert_eq!(given_up, 0);
            for slot in slots {
                frames[wheel.phase(slot)] += 1;
            }
        }
        assert_eq!(frames, [3600 * 50; 10]);
    }

    #[test]
    fn the_real_clock_never_wakes_before_the_slot() {
        let started = std::time::Instant::now();
        let mut clock = SlotClock::start(SLOT_TIME).unwrap();
        let mut end = 0;
        while end < 20 {
            let due = clock.wait();
            assert_eq!(due.slots.start, end + due.given_up);
            end = due.slots.end;
            assert!(started.elapsed() >= SLOT * (end as u32 - 1));
        }
    }
}

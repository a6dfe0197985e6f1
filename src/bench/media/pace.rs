//! An absolute clock that is cut into equal steps, for the threads of this tool that send.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};
use std::io;
use std::time::Duration;

/// Steps of equal length since a moment.
#[derive(Debug)]
pub(super) struct Pace {
    epoch: TimeSpec,
    step: Duration,
    next: u32,
}

impl Pace {
    /// Begins now. To be called on the thread that will wait, since the precision of its timers is set here.
    pub(super) fn start(step: Duration) -> io::Result<Self> {
        // It only makes the tool less exact, which is measured.
        let _ = prctl::set_timerslack(1);
        Ok(Self { epoch: ClockId::CLOCK_MONOTONIC.now()?, step, next: 0 })
    }

    /// Sleeps until the next step; steps that have passed meanwhile are left out. Returns the time since the beginning.
    pub(super) fn wait(&mut self) -> Duration {
        let start = self.epoch + TimeSpec::from(self.step * self.next);
        // Sleeping until an absolute time can be repeated as it is after a signal.
        while clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &start) == Err(Errno::EINTR)
        {
        }
        let now = self.elapsed();
        self.next = (now.as_nanos() / self.step.as_nanos()) as u32 + 1;
        now
    }

    /// The time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        ClockId::CLOCK_MONOTONIC.now().map_or(self.step * self.next, |now| Duration::from(now - self.epoch))
    }
}

/// Puts the calling thread before the others of its processor, where that is permitted.
pub(super) fn hurry() {
    use thread_priority::{
        RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
        set_thread_priority_and_policy, thread_native_id,
    };
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    if let Ok(low) = ThreadPriorityValue::try_from(5) {
        // Without it the tool is less punctual, which is measured.
        let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(low), policy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_never_begins_early_and_missed_ones_are_left_out() {
        let step = Duration::from_millis(2);
        let mut pace = Pace::start(step).unwrap();
        pace.wait();
        std::thread::sleep(step * 5);
        let first = pace.wait();
        let second = pace.wait();
        assert!(first >= step * 5, "{first:?}");
        assert!(second.as_nanos() / step.as_nanos() > first.as_nanos() / step.as_nanos());
    }
}

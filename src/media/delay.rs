//! Two measures of a link: its jitter, and from it and from what was seen to come out of order, how long it is worth
//! waiting for what a gap lacks.

use std::time::Duration;
use std::time::Instant;

/// A change of transit time above this is a jump of the timestamps and not jitter.
const MAX_JITTER_STEP: u64 = 500_000;

/// Interarrival jitter: RFC 3550, section 6.4.1 and appendix A.8. Counts in microseconds, so it needs no clock rate.
#[derive(Debug, Default)]
pub(super) struct InterarrivalJitter {
    first: Option<Instant>,
    /// Arrival minus timestamp of the packet before.
    transit: Option<i64>,
    /// In sixteenths of a microsecond.
    scaled: u64,
}

impl InterarrivalJitter {
    /// `timestamp` is that of the packet in microseconds.
    pub(super) fn note(&mut self, timestamp: i64, arrival: Instant) {
        let first = *self.first.get_or_insert(arrival);
        // Arrival times may go back a little, for they come from the network card and packets from several queues.
        let since = arrival.saturating_duration_since(first).as_micros() as i64;
        let before = first.saturating_duration_since(arrival).as_micros() as i64;
        let transit = (since - before).wrapping_sub(timestamp);
        if let Some(last) = self.transit.replace(transit) {
            let step = transit.abs_diff(last);
            if step < MAX_JITTER_STEP {
                self.scaled = self.scaled + step - ((self.scaled + 8) >> 4);
            }
        }
    }

    /// Timestamps have begun anew: the next packet cannot be compared with the one before.
    pub(super) fn restart(&mut self) {
        self.transit = None;
    }

    pub(super) fn time(&self) -> Duration {
        Duration::from_micros(self.scaled / 16)
    }
}

/// How long packets that came behind a gap are held back, in the hope that it closes.
///
/// Only a link that reorders makes waiting worth while: where packets stay in order, however irregular, what a gap lacks
/// is lost as soon as the gap is seen. So the delay is what reordered packets needed, with a quarter to spare, and at
/// least twice the jitter while there is reordering. It grows at once, and shrinks by a small part with every gap that was
/// waited for in vain: slowly if the link has reordered before, faster if it never did. Nothing is known of a new link,
/// so the first gap gets the time of one packet.
#[derive(Debug)]
pub(super) struct TargetDelay {
    /// `None` before the first gap.
    needed: Option<Duration>,
    /// The link has reordered, and not so many gaps ago that it is no longer true.
    reorders: bool,
    /// Gaps in a row that did not close.
    in_vain: u32,
    longest: Duration,
}

impl TargetDelay {
    /// Nothing is held longer, whatever the link does.
    pub(super) const MAX: Duration = Duration::from_millis(150);
    /// Waiting less is not waiting: packets that were swapped on the way arrive almost together.
    const MIN: Duration = Duration::from_millis(2);
    /// After so many gaps without reordering the link is taken for one that does not reorder.
    const FORGET: u32 = 64;

    pub(super) const fn new() -> Self {
        Self { needed: None, reorders: false, in_vain: 0, longest: Duration::ZERO }
    }

    /// A packet came so long after its gap was seen, no matter whether it was still of use.
    pub(super) fn note_reordered(&mut self, lateness: Duration) {
        let wanted = (lateness + lateness / 4 + Self::MIN).min(Self::MAX);
        let needed = self.needed.filter(|_| self.reorders).unwrap_or(Duration::ZERO);
        self.needed = Some(if wanted > needed { wanted } else { needed - (needed - wanted) / 32 });
        self.reorders = true;
        self.in_vain = 0;
    }

    /// A gap was waited for in vain. `packet_time` is that of the stream.
    pub(super) fn note_lost(&mut self, packet_time: Duration) {
        self.in_vain += 1;
        self.reorders &= self.in_vain < Self::FORGET;
        let needed = self.needed.unwrap_or(packet_time);
        self.needed = Some((needed - needed / if self.reorders { 32 } else { 8 }).max(Self::MIN));
    }

    /// The delay now.
    pub(super) fn get(&self, jitter: Duration, packet_time: Duration) -> Duration {
        let needed = self.needed.unwrap_or(packet_time);
        let floor = if self.reorders { jitter * 2 } else { Duration::ZERO };
        needed.max(floor).min(Self::MAX)
    }

    /// Packets were held so long.
    pub(super) fn note_held(&mut self, time: Duration) {
        self.longest = self.longest.max(time);
    }

    /// The longest that packets were held.
    pub(super) const fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: Duration = Duration::from_millis(20);

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_first_gap_gets_the_time_of_one_packet_and_on_a_link_that_only_loses_the_next_ones_less() {
        let mut delay = TargetDelay::new();
        assert_eq!(delay.get(Duration::ZERO, PACKET), PACKET);
        let waits: Vec<Duration> = (0..40)
            .map(|_| {
                delay.note_lost(PACKET);
                delay.get(ms(30), PACKET)
            })
            .collect();
        assert!(waits.is_sorted_by(|a, b| a >= b), "jitter alone is no reason to wait: {waits:?}");
        assert!(waits[10] < ms(6) && waits[39] == TargetDelay::MIN, "{waits:?}");
    }

    #[test]
    fn it_grows_at_once_and_shrinks_slowly() {
        let mut delay = TargetDelay::new();
        delay.note_reordered(ms(40));
        assert_eq!(delay.get(Duration::ZERO, PACKET), ms(52));
        for _ in 0..10 {
            delay.note_lost(PACKET);
        }
        assert!(delay.get(Duration::ZERO, PACKET) > ms(35));
        assert_eq!(delay.get(ms(40), PACKET), ms(80), "a link that reorders may do so by as much as its jitter");
        for _ in 0..200 {
            delay.note_reordered(ms(4));
        }
        assert!(delay.get(Duration::ZERO, PACKET) < ms(8));
        delay.note_reordered(ms(400));
        assert_eq!(delay.get(Duration::ZERO, PACKET), TargetDelay::MAX);
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn jitter_is_the_mean_deviation_of_transit_times() {
        let (mut jitter, base) = (InterarrivalJitter::default(), Instant::now());
        for n in 0..1_000u64 {
            // Every other packet is late by 8 ms: consecutive transit times differ by 8 ms.
            jitter.note(n as i64 * 20_000, base + Duration::from_millis(n * 20 + n % 2 * 8));
        }
        assert!(jitter.time().abs_diff(ms(8)) < ms(1), "{:?}", jitter.time());
        let before = jitter.time();
        jitter.note(1_000_000, base + Duration::from_secs(40));
        assert_eq!(jitter.time(), before, "a jump of the timestamps is no jitter");
    }
}

//! What the sequence numbers of one direction say: what is new, doubled, out of order or lost, and when the sender has
//! begun again. Follows RFC 3550, appendix A.1, without its probation: the source address was checked before.

use crate::wire::rtp::extend_sequence;
use std::time::{Duration, Instant};

/// A step ahead of this many packets or more is a new beginning, not loss (`MAX_DROPOUT` of the RFC).
const MAX_DROPOUT: i64 = 3_000;
/// A packet that lies so far back is a new beginning, not reordering. As many as there are bits in `SequenceTracker::seen`.
const MAX_MISORDER: i64 = 128;
/// So many packets cannot be sent in less time than at 10 ms each; a second is allowed for a link that held them up.
const fn least_time(packets: i64) -> Duration {
    Duration::from_millis((packets as u64 * 10).saturating_sub(1_000))
}
/// No packet lasts more ticks of its clock: 120 ms at 48 kHz.
const MAX_PACKET_TICKS: u32 = 5_760;
/// So long after the sender changed its SSRC, packets of the old one are stragglers and not a change back.
const STRAGGLERS: Duration = Duration::from_millis(200);

/// What a packet is to the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The first of a stream: nothing before it has anything to do with it. Also after a change of SSRC or a restart.
    First,
    /// Newer than all before it, with `missing` packets in between.
    Next { missing: u32 },
    /// Not here before, and older than the newest, by so many packets.
    Reordered { behind: u32 },
    /// Here before.
    Duplicate,
    /// From elsewhere: a straggler of an earlier stream, or far from the stream's numbers and so far the only one there.
    Stray,
}

/// Counts of all streams since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SequenceCounts {
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    pub(super) stray: u64,
    pub(super) restarts: u64,
}

#[derive(Debug, Default)]
pub(super) struct SequenceTracker {
    stream: Option<Stream>,
    /// SSRC of the stream before this one, and when it ended.
    retired: Option<(u32, Instant)>,
    /// Where the sender would go on if a lone packet far away was a new beginning.
    suspect: Option<u16>,
    /// `received` and `lost` are those of earlier streams.
    counts: SequenceCounts,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    lowest: i64,
    highest: i64,
    /// Bit *n*: packet `highest - n` was here.
    seen: u128,
    /// Timestamp of packet `highest`, and when it came.
    timestamp: u32,
    arrival: Instant,
    received: u64,
}

impl Stream {
    fn new(ssrc: u32, sequence: u16, timestamp: u32, arrival: Instant) -> Self {
        // Far enough from 0 that reordering before the first packet stays positive, which only makes logs nicer.
        let first = i64::from(sequence) + (1 << 16);
        Self { ssrc, lowest: first, highest: first, seen: 1, timestamp, arrival, received: 1 }
    }

    fn lost(&self) -> u64 {
        ((self.highest - self.lowest + 1) as u64).saturating_sub(self.received)
    }
}

impl SequenceTracker {
    /// Whether `ssrc` is the stream that is being received.
    pub(super) fn follows(&self, ssrc: u32) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.ssrc == ssrc)
    }

    pub(super) fn note(&mut self, ssrc: u32, sequence: u16, timestamp: u32, arrival: Instant) -> Arrival {
        let Some(stream) = &mut self.stream else {
            self.stream = Some(Stream::new(ssrc, sequence, timestamp, arrival));
            return Arrival::First;
        };
        if stream.ssrc != ssrc {
            let straggler = self.retired.is_some_and(|(retired, ended)| {
                retired == ssrc && arrival.saturating_duration_since(ended) < STRAGGLERS
            });
            if straggler {
                self.counts.stray += 1;
                return Arrival::Stray;
            }
            self.retired = Some((stream.ssrc, arrival));
            return self.begin_again(ssrc, sequence, timestamp, arrival);
        }

        let extended = extend_sequence(stream.highest, sequence);
        let ahead = extended - stream.highest;
        // Asterisk takes the numbers over from the caller's side, which may begin again with any. Older packets with newer
        // timestamps are no doubles, and more packets than can have been sent meanwhile are not lost.
        let contradicts = if ahead <= 0 {
            let older_by = stream.timestamp.wrapping_sub(timestamp);
            u64::from(older_by) > ahead.unsigned_abs() * u64::from(MAX_PACKET_TICKS)
        } else {
            arrival.saturating_duration_since(stream.arrival) < least_time(ahead)
        };
        if ahead >= MAX_DROPOUT || ahead <= -MAX_MISORDER || contradicts {
            if self.suspect == Some(sequence) {
                return self.begin_again(ssrc, sequence, timestamp, arrival);
            }
            self.suspect = Some(sequence.wrapping_add(1));
            self.counts.stray += 1;
            return Arrival::Stray;
        }
        self.suspect = None;

        if ahead > 0 {
            stream.seen = stream.seen.checked_shl(ahead as u32).unwrap_or(0) | 1;
            stream.highest = extended;
            stream.timestamp = timestamp;
            stream.arrival = arrival;
            stream.received += 1;
            return Arrival::Next { missing: (ahead - 1) as u32 };
        }
        let bit = 1 << -ahead;
        if stream.seen & bit != 0 {
            self.counts.duplicated += 1;
            return Arrival::Duplicate;
        }
        stream.seen |= bit;
        stream.lowest = stream.lowest.min(extended);
        stream.received += 1;
        self.counts.reordered += 1;
        Arrival::Reordered { behind: ahead.unsigned_abs() as u32 }
    }

    fn begin_again(&mut self, ssrc: u32, sequence: u16, timestamp: u32, arrival: Instant) -> Arrival {
        let counts = self.counts();
        self.counts = SequenceCounts { restarts: counts.restarts + 1, ..counts };
        self.stream = Some(Stream::new(ssrc, sequence, timestamp, arrival));
        self.suspect = None;
        Arrival::First
    }

    pub(super) fn counts(&self) -> SequenceCounts {
        let (received, lost) = self.stream.as_ref().map_or((0, 0), |stream| (stream.received, stream.lost()));
        SequenceCounts { received: self.counts.received + received, lost: self.counts.lost + lost, ..self.counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods)]
    fn base() -> Instant {
        Instant::now()
    }

    /// Notes a packet of 20 ms.
    fn note(tracker: &mut SequenceTracker, ssrc: u32, sequence: u16, arrival: Instant) -> Arrival {
        tracker.note(ssrc, sequence, u32::from(sequence.wrapping_sub(60_000)) * 160, arrival)
    }

    #[test]
    fn loss_reordering_and_doubles_are_told_apart_across_the_wrap() {
        let (mut tracker, now) = (SequenceTracker::default(), base());
        let arrivals: Vec<Arrival> = [65_533, 65_534, 0, 65_535, 65_535, 3]
            .into_iter()
            .map(|sequence| note(&mut tracker, 1, sequence, now))
            .collect();
        assert_eq!(
            arrivals,
            [
                Arrival::First,
                Arrival::Next { missing: 0 },
                Arrival::Next { missing: 1 },
                Arrival::Reordered { behind: 1 },
                Arrival::Duplicate,
                Arrival::Next { missing: 2 },
            ]
        );
        let expected = SequenceCounts { received: 5, lost: 2, duplicated: 1, reordered: 1, ..Default::default() };
        assert_eq!(tracker.counts(), expected);
    }

    #[test]
    fn packets_from_before_the_first_one_are_taken() {
        let (mut tracker, now) = (SequenceTracker::default(), base());
        note(&mut tracker, 1, 10, now);
        assert_eq!(note(&mut tracker, 1, 8, now), Arrival::Reordered { behind: 2 });
        assert_eq!(tracker.counts().lost, 1);
    }

    #[test]
    fn a_lone_wild_packet_changes_nothing_and_two_in_a_row_are_a_restart() {
        let (mut tracker, now) = (SequenceTracker::default(), base());
        note(&mut tracker, 1, 100, now);
        assert_eq!(note(&mut tracker, 1, 30_000, now), Arrival::Stray);
        assert_eq!(note(&mut tracker, 1, 101, now), Arrival::Next { missing: 0 });
        assert_eq!(note(&mut tracker, 1, 30_001, now), Arrival::Stray);
        assert_eq!(note(&mut tracker, 1, 30_002, now), Arrival::First);
        assert_eq!(note(&mut tracker, 1, 30_003, now), Arrival::Next { missing: 0 });
        let expected = SequenceCounts { received: 4, stray: 2, restarts: 1, ..Default::default() };
        assert_eq!(tracker.counts(), expected);
    }

    #[test]
    fn a_new_source_begins_at_once_and_stragglers_of_the_old_one_do_not_bring_it_back() {
        let (mut tracker, now) = (SequenceTracker::default(), base());
        note(&mut tracker, 1, 100, now);
        note(&mut tracker, 1, 102, now);
        assert_eq!(note(&mut tracker, 2, 500, now), Arrival::First);
        assert_eq!(note(&mut tracker, 1, 103, now + Duration::from_millis(30)), Arrival::Stray);
        assert_eq!(note(&mut tracker, 2, 501, now + Duration::from_millis(40)), Arrival::Next { missing: 0 });
        assert_eq!(note(&mut tracker, 1, 104, now + Duration::from_millis(900)), Arrival::First);
        let expected = SequenceCounts { received: 5, lost: 1, stray: 1, restarts: 2, ..Default::default() };
        assert_eq!(tracker.counts(), expected);
    }

    #[test]
    fn numbers_that_were_there_before_with_new_timestamps_are_a_restart_and_no_doubles() {
        let (mut tracker, now) = (SequenceTracker::default(), base());
        for n in 0..60 {
            tracker.note(1, 100 + n, 160 * u32::from(n), now);
        }
        assert_eq!(tracker.note(1, 140, 500_000, now), Arrival::Stray);
        assert_eq!(tracker.note(1, 141, 500_160, now), Arrival::First);
        assert_eq!(tracker.note(1, 142, 500_320, now), Arrival::Next { missing: 0 });
        assert_eq!(tracker.counts().duplicated, 0);
    }

    #[test]
    fn more_packets_than_can_have_been_sent_are_not_lost() {
        let (mut tracker, now) = (SequenceTracker::default(), base());
        tracker.note(1, 0, 0, now);
        assert_eq!(tracker.note(1, 1_000, 160_000, now + Duration::from_secs(1)), Arrival::Stray);
        assert_eq!(tracker.note(1, 1_001, 160_160, now + Duration::from_secs(1)), Arrival::First);
        assert_eq!(tracker.counts().lost, 0);
        let outage = now + Duration::from_secs(21);
        assert_eq!(tracker.note(1, 2_002, 320_320, outage), Arrival::Next { missing: 1_000 });
        assert_eq!(tracker.counts().lost, 1_000);
    }
}

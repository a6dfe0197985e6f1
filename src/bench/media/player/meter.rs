//! Judges what the server sends to one call: nothing missing, nothing twice, and in time.

use super::super::arrivals::{Arrival, Sequence};
use super::super::stamp::{Source, Stamp};
use super::super::stats::{median, nanoseconds};
use std::time::Duration;

/// What is over this behind its place is late.
const LATE_NS: i64 = 20_000_000;
const PACKET_NS: i64 = 20_000_000;

/// One packet, or frame, of the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    /// When the kernel had it, real time.
    pub(super) at_ns: u64,
    /// Its number, which wraps.
    pub(super) sequence: u16,
    /// Its place in time, in nanoseconds since any moment of the stream.
    pub(super) position_ns: i64,
    pub(super) stamp: Option<Stamp>,
}

/// One call while it is measured.
#[derive(Debug, Default)]
pub(super) struct Meter {
    sequence: Sequence,
    duplicated: u64,
    overtaken: u64,
    origin: Option<(i64, i64)>,
    /// How far each packet is from a grid that begins with the first one.
    off_grid: Vec<i32>,
    echo: Sequence,
    echo_late: u64,
    echo_duplicated: u64,
    turnaround: Vec<u32>,
    reply: Option<u16>,
    first_audio: Vec<u32>,
}

/// The same of all calls.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) late: u64,
    pub(super) duplicated: u64,
    pub(super) pacing: Vec<u32>,
    pub(super) interval: Vec<u32>,
    pub(super) echoed: u64,
    pub(super) echo_late: u64,
    pub(super) echo_duplicated: u64,
    pub(super) turnaround: Vec<u32>,
    pub(super) first_audio: Vec<u32>,
}

impl Meter {
    /// With room for a window, so that nothing is allocated while measuring.
    pub(super) fn new(window: Duration) -> Self {
        let packets = (window.as_millis() / 20) as usize * 5 / 4 + 50;
        Self { off_grid: Vec::with_capacity(packets), turnaround: Vec::with_capacity(packets), ..Self::default() }
    }

    /// Takes in a packet of the server. `call` is the number of the call that it came to.
    pub(super) fn take(&mut self, call: u16, arrived: &Arrived) {
        match self.sequence.take(arrived.sequence) {
            Arrival::Duplicate => return self.duplicated += 1,
            Arrival::New { overtaken } => self.overtaken += u64::from(overtaken),
        }
        let at = arrived.at_ns as i64;
        let (first_at, first_position) = *self.origin.get_or_insert((at, arrived.position_ns));
        let off = (at - first_at) - (arrived.position_ns - first_position);
        self.off_grid.push(off.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32);
        self.take_stamp(call, arrived);
    }

    /// Takes in a stamp that comes back, or in a reply; outside the window as well, for the last ones of it.
    pub(super) fn take_stamp(&mut self, call: u16, arrived: &Arrived) {
        let Some(stamp) = arrived.stamp.filter(|stamp| stamp.measured) else { return };
        let took = nanoseconds(arrived.at_ns as i64 - stamp.sent_ns as i64);
        match stamp.source {
            // What belongs to another call has not come back.
            Source::Caller if stamp.call != call => {}
            Source::Caller => match self.echo.take(stamp.sequence) {
                Arrival::Duplicate => self.echo_duplicated += 1,
                Arrival::New { overtaken } => {
                    self.echo_late += u64::from(overtaken);
                    self.turnaround.push(took);
                }
            },
            Source::Reply => {
                if self.reply.replace(stamp.sequence) != Some(stamp.sequence) {
                    self.first_audio.push(took);
                }
            }
        }
    }

    /// Adds what was measured in a window of this length to the sum.
    pub(super) fn add_to(mut self, sum: &mut Sum, window: Duration) {
        let unique = self.sequence.unique();
        // A server that falls silent leaves no gap. One packet may be on either side of each end of the window.
        let due = (window.as_millis() / 20) as u64;
        let missing = due.saturating_sub(1).saturating_sub(unique);
        sum.received += unique;
        sum.lost += self.sequence.gaps().max(missing);
        sum.duplicated += self.duplicated;
        sum.echoed += self.echo.unique();
        sum.echo_late += self.echo_late;
        sum.echo_duplicated += self.echo_duplicated;
        sum.turnaround.append(&mut self.turnaround);
        sum.first_audio.append(&mut self.first_audio);
        sum.interval
            .extend(self.off_grid.windows(2).map(|pair| nanoseconds((i64::from(pair[1]) - i64::from(pair[0])).abs())));
        let best = i64::from(median(&mut self.off_grid.clone()).unwrap_or(0));
        let mut behind = 0;
        for off in &self.off_grid {
            let error = i64::from(*off) - best;
            behind += u64::from(error > LATE_NS);
            sum.pacing.push(nanoseconds(error.abs()));
        }
        sum.late += behind.max(self.overtaken);
    }
}

/// How many packets are due in a window.
pub(super) fn due(window: Duration) -> u64 {
    (window.as_nanos() as i64 / PACKET_NS) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_000_000_000_000;

    /// The packets of 400 ms, each 50 µs off the grid in turn.
    fn stream() -> Vec<Arrived> {
        let packet = |n: u64| Arrived {
            at_ns: START + n * 20_000_000 + if n.is_multiple_of(2) { 0 } else { 50_000 },
            sequence: n as u16,
            position_ns: n as i64 * PACKET_NS,
            stamp: None,
        };
        (0..20).map(packet).collect()
    }

    fn measured(packets: &[Arrived]) -> Sum {
        let window = Duration::from_millis(400);
        let mut meter = Meter::new(window);
        packets.iter().for_each(|packet| meter.take(0, packet));
        let mut sum = Sum::default();
        meter.add_to(&mut sum, window);
        sum
    }

    #[test]
    fn a_steady_stream_is_as_far_off_as_it_is() {
        let mut sum = measured(&stream());
        assert_eq!((sum.received, sum.lost, sum.late, sum.duplicated), (20, 0, 0, 0));
        sum.pacing.sort_unstable();
        assert_eq!((sum.pacing[0], sum.pacing[19]), (0, 50_000));
        assert!(sum.interval.iter().all(|&interval| interval == 50_000));
    }

    #[test]
    fn a_gap_a_double_and_a_late_one_are_told_apart() {
        let mut packets = stream();
        packets.remove(5);
        packets.insert(8, packets[7]);
        packets[12].at_ns += 25_000_000;
        let sum = measured(&packets);
        assert_eq!((sum.received, sum.lost, sum.late, sum.duplicated), (19, 1, 1, 1));
    }

    #[test]
    fn silence_counts_as_lost() {
        assert_eq!(measured(&stream()[..10]).lost, 9, "of 20, one of which may be outside the window");
        assert_eq!(measured(&[]).lost, 19);
    }

    #[test]
    fn a_clock_that_goes_wrong_is_seen() {
        let mut packets = stream();
        for (n, packet) in packets.iter_mut().enumerate() {
            packet.at_ns += n as u64 * 100_000;
        }
        assert!(measured(&packets).pacing.iter().any(|&error| error > 900_000));
    }

    #[test]
    fn stamps_tell_the_way_back_and_the_way_of_a_reply() {
        let stamp =
            |source, call, sequence| Some(Stamp { source, measured: true, call, sequence, sent_ns: START - 3_000_000 });
        let mut packets = stream();
        packets.truncate(5);
        packets[0].stamp = stamp(Source::Caller, 0, 100);
        packets[1].stamp = stamp(Source::Caller, 0, 101);
        packets[2].stamp = stamp(Source::Caller, 0, 101);
        packets[3].stamp = stamp(Source::Caller, 9, 102);
        packets[4].stamp = stamp(Source::Reply, 0, 7);
        let sum = measured(&packets);
        assert_eq!((sum.echoed, sum.echo_duplicated), (2, 1), "and that of another call is none");
        assert_eq!(sum.turnaround[0], 3_000_000);
        assert_eq!(sum.first_audio, [83_000_000]);
    }
}

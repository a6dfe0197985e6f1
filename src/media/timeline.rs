//! The caller's time: what belongs between one packet and the next.
//!
//! The call counts time in samples, and the sender in timestamps. From one packet to the next the two are compared:
//!
//! - timestamps that go on where the last packet ended: nothing belongs in between. If the call was given something
//!   meanwhile (see [`stall`](super::stall)), the packet was late, and the caller's time is stretched;
//! - timestamps that are further on, after lost packets: what is lost is to be concealed;
//! - further on without loss: the sender was silent (hold, silence suppression). What the call was given meanwhile was
//!   that silence; the rest of it is still due;
//! - further on than time can have passed, or back: the timestamps have begun anew, and mean nothing.

use super::assembler::FrameAssembler;
use super::held::Stamp;
use super::payload;
use crate::audio::SampleRate;
use std::time::{Duration, Instant};

/// A link's delay can shrink by so much from one packet to the next.
const MAX_DELAY_CHANGE: Duration = Duration::from_millis(200);
/// No usual packet is longer.
const USUAL_PACKET_TIME: Duration = Duration::from_millis(60);

/// What the call must be given before a packet, in samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// Lost audio to make up.
    pub(super) concealment: i64,
    /// Then, silence of the sender.
    pub(super) silence: i64,
}

impl Due {
    pub(super) const fn is_nothing(self) -> bool {
        self.concealment == 0 && self.silence == 0
    }

    /// Adds it to `assembler`, as far as the next frame lacks it.
    pub(super) fn fill(&mut self, assembler: &mut FrameAssembler) {
        self.concealment -= assembler.add_concealment(self.concealment as usize) as i64;
        if self.concealment == 0 {
            self.silence -= assembler.add_silence(self.silence as usize) as i64;
        }
    }
}

/// How a packet follows the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) due: Due,
    /// It is the very next: only the link can have made it late.
    pub(super) continuous: bool,
    /// The timestamps jumped although no time has passed for it.
    pub(super) jumped: bool,
    /// Samples that the call was given although nothing was missing.
    pub(super) inserted: i64,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Timeline {
    rate: SampleRate,
    last: Option<Last>,
    /// Samples of the packet before.
    packet_samples: i64,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    /// Timestamp of the sample after it.
    end: i64,
    clock: u32,
    arrival: Instant,
}

impl Timeline {
    pub(super) const fn new(rate: SampleRate) -> Self {
        Self { rate, last: None, packet_samples: 0 }
    }

    /// How long the packets of the stream are; what telephones use before any has come.
    pub(super) fn packet_time(&self) -> Duration {
        match self.packet_samples {
            0 => crate::audio::FRAME_TIME,
            samples => self.rate.time_of(samples),
        }
    }

    /// What belongs between the packet before and this one, if `missing` packets in between are lost and the call has
    /// been `given` so many samples since.
    pub(super) fn place(&self, stamp: &Stamp, clock: u32, missing: i64, given: i64) -> Placement {
        let Some(last) = self.last.filter(|last| !stamp.begins && last.clock == clock) else {
            return Placement::default();
        };
        // Packets without audio may have driven the timestamps anywhere.
        let ahead = (stamp.timestamp - last.end).saturating_mul(self.rate.hz().into()) / i64::from(clock);
        let passed = stamp.arrival.saturating_duration_since(last.arrival);
        let plausible = self.rate.samples_in(passed + MAX_DELAY_CHANGE);
        let lost = missing * self.packet_samples;
        let jumped = ahead < 0 || ahead > plausible;

        let (concealment, silence) = if jumped {
            (lost.min(plausible), 0)
        } else if ahead <= missing * self.rate.samples_in(USUAL_PACKET_TIME) {
            (ahead, 0)
        } else {
            let concealment = lost.min(ahead);
            (concealment, ahead - concealment)
        };
        let owed = concealment + silence - given;
        Placement {
            due: Due { concealment: (concealment - given).max(0), silence: silence.min(owed).max(0) },
            continuous: missing == 0 && ahead == 0,
            jumped,
            inserted: if jumped { 0 } else { (-owed).max(0) },
        }
    }

    /// A packet was given to the call: `samples` of audio, none if it was damaged.
    pub(super) fn advance(&mut self, stamp: &Stamp, clock: u32, samples: i64) {
        let ticks = samples * i64::from(clock) / i64::from(self.rate.hz());
        if samples > 0 {
            self.packet_samples = samples;
        }
        self.last = Some(Last { end: stamp.timestamp + ticks, clock, arrival: stamp.arrival });
    }
}

/// A timestamp in microseconds.
pub(super) fn microseconds(stamp: &Stamp) -> i64 {
    let clock = stamp.codec.map_or(8_000, payload::clock);
    // It may wrap, once in years: only differences count.
    stamp.timestamp.wrapping_mul(1_000_000) / i64::from(clock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Codec;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// G.722: 16,000 samples and 8,000 ticks a second. A packet of 20 ms came at 0; then, `passed` later, one whose timestamp
    /// is `ticks` after it.
    #[allow(clippy::disallowed_methods)]
    fn after(ticks: i64, passed: Duration, missing: i64, given: i64) -> Placement {
        let base = Instant::now();
        let stamp =
            |timestamp, arrival| Stamp { ordinal: 0, timestamp, arrival, codec: Some(Codec::G722), begins: false };
        let mut timeline = Timeline::new(SampleRate::HZ_16000);
        assert_eq!(timeline.place(&stamp(5, base), 8_000, 0, 700), Placement::default(), "nothing precedes the first");
        timeline.advance(&stamp(1_000, base), 8_000, 320);
        timeline.place(&stamp(1_000 + ticks, base + passed), 8_000, missing, given)
    }

    fn due(concealment: i64, silence: i64) -> Placement {
        Placement { due: Due { concealment, silence }, ..Placement::default() }
    }

    #[test]
    fn nothing_belongs_between_neighbours_and_a_late_one_stretches_time() {
        let next = Placement { continuous: true, ..Placement::default() };
        assert_eq!(after(160, ms(20), 0, 0), next);
        assert_eq!(after(160, ms(140), 0, 960), Placement { inserted: 960, ..next });
    }

    #[test]
    fn the_lost_is_concealed_as_far_as_it_has_not_been() {
        assert_eq!(after(480, ms(60), 2, 0), due(640, 0));
        assert_eq!(after(480, ms(60), 2, 320), due(320, 0));
        assert_eq!(after(640, ms(80), 2, 0), due(960, 0), "the lost ones were longer");
        assert_eq!(after(8_160, ms(1_000), 1, 0), due(320, 15_680), "one was lost, then the sender was silent");
    }

    #[test]
    fn silence_of_the_sender_is_what_was_given_meanwhile_and_the_rest_is_due() {
        assert_eq!(after(8_160, ms(1_020), 0, 15_360), due(0, 640));
        assert_eq!(after(8_160, ms(1_020), 0, 16_000), due(0, 0));
        assert_eq!(after(8_160, ms(1_100), 0, 16_320), Placement { inserted: 320, ..due(0, 0) });
    }

    #[test]
    fn a_jump_that_no_time_explains_means_nothing() {
        let jump = Placement { jumped: true, ..Placement::default() };
        assert_eq!(after(-4_000, ms(20), 0, 0), jump);
        assert_eq!(after(1_000_000, ms(20), 0, 0), jump);
        assert_eq!(after(1_000_000, ms(5_000), 0, 70_000), jump);
        assert_eq!(after(1_000_000, ms(60), 2, 0).due, Due { concealment: 640, silence: 0 });
        assert!(
            after(1_000_000, ms(20), 2_900, 0).due.concealment <= 3_520,
            "what is lost takes no longer than it can have"
        );
    }
}

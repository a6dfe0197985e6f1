//! Audio values: sample rates, frames, codecs. Samples are signed 16-bit linear PCM, one channel, everywhere inside.

mod codec;
mod decoder;
mod encoder;
pub mod g711;
mod g722;
mod linear16;
mod opus;
mod resample;

pub use codec::{ByteOrder, Codec, CodecError};
pub use decoder::Decoder;
pub use encoder::Encoder;
pub use resample::Resampler;

use std::time::Duration;

/// The packet time of telephony: what one frame lasts.
pub const FRAME_TIME: Duration = Duration::from_millis(20);

/// Samples of the longest frame: [`FRAME_TIME`] at 48 kHz.
pub const MAX_FRAME_SAMPLES: usize = SampleRate::HZ_48000.frame_samples();

/// Bytes of the longest coded frame: LINEAR16 at 48 kHz.
pub const MAX_FRAME_BYTES: usize = MAX_FRAME_SAMPLES * 2;

/// Samples of the longest payload: 60 ms at 48 kHz, which is more than the 120 ms that an Opus packet can hold at 16 kHz.
pub const MAX_PAYLOAD_SAMPLES: usize = 3 * MAX_FRAME_SAMPLES;

/// Samples a second of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleRate(u32);

impl SampleRate {
    /// Narrowband telephony.
    pub const HZ_8000: Self = Self(8_000);
    /// Wideband; what most recognisers were trained on.
    pub const HZ_16000: Self = Self(16_000);
    /// What many synthetic voices speak at.
    pub const HZ_22050: Self = Self(22_050);
    /// Super-wideband: what newer synthetic voices speak at.
    pub const HZ_24000: Self = Self(24_000);
    /// Fullband.
    pub const HZ_48000: Self = Self(48_000);

    /// A rate between 8,000 and 48,000 Hz that divides into whole frames of 20 ms; `None` for any other.
    pub const fn new(hz: u32) -> Option<Self> {
        if hz >= 8_000 && hz <= 48_000 && hz.is_multiple_of(50) { Some(Self(hz)) } else { None }
    }

    /// Samples a second.
    pub const fn hz(self) -> u32 {
        self.0
    }

    /// Samples in one frame of [`FRAME_TIME`].
    pub const fn frame_samples(self) -> usize {
        (self.0 / 50) as usize
    }

    /// How many whole samples fit in `time`.
    pub const fn samples_in(self, time: Duration) -> i64 {
        (time.as_micros() as i64) * (self.0 as i64) / 1_000_000
    }

    /// How long `samples` (not negative) last.
    pub const fn time_of(self, samples: i64) -> Duration {
        Duration::from_micros((samples * 1_000_000 / self.0 as i64) as u64)
    }
}

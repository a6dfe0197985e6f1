//! Change of sample rate for a stream of any length in chunks of any size.
//!
//! The work is done by `rubato`'s synchronous FFT resampler in blocks of 20 ms: every [`SampleRate`] divides into whole
//! frames of that length, so a block is a whole number of samples at both rates and nothing has to be interpolated.
//! Output trails input by half a block plus what is still missing from a block: 10 to 30 ms. The 10 ms that the filter
//! takes to swing in are cut off, so that sample 0 of the output is sample 0 of the input.
//!
//! It knows every pair of rates, and is for whole streams that a call has now and then: the audio of engines and
//! prompts. What every frame of every call goes through is [`FrameResampler`](super::FrameResampler).

use super::SampleRate;
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _};
use std::fmt;

/// A streaming resampler of mono 16-bit PCM. The output does not depend on how the input was cut into chunks.
pub struct Resampler {
    from: SampleRate,
    to: SampleRate,
    /// `None` when the rates are equal: samples pass through.
    engine: Option<Engine>,
}

struct Engine {
    fft: Fft<f32>,
    /// Input of the block that is being filled, up to `filled`.
    block: Vec<f32>,
    filled: usize,
    /// Output of one block.
    resampled: Vec<f32>,
    /// What is still to be cut off the beginning.
    lead_in: usize,
    /// Samples taken in and given out since the stream began.
    taken: u64,
    given: u64,
}

impl Resampler {
    /// A resampler at the beginning of a stream. Allocates everything that it needs and plans the transforms: make one
    /// a stream, not one a chunk.
    pub fn new(from: SampleRate, to: SampleRate) -> Self {
        Self { from, to, engine: (from != to).then(|| Engine::new(from, to)) }
    }

    /// Rate of the input.
    pub const fn from(&self) -> SampleRate {
        self.from
    }

    /// Rate of the output.
    pub const fn to(&self) -> SampleRate {
        self.to
    }

    /// Takes in the next samples and appends to `out` what is ready. Allocates only if `out` has to grow.
    pub fn push(&mut self, pcm: &[i16], out: &mut Vec<i16>) {
        match &mut self.engine {
            None => out.extend_from_slice(pcm),
            Some(engine) => engine.push(pcm, out),
        }
    }

    /// Ends the stream: appends the samples that are still held back, so that the whole output has
    /// `round(samples in × to / from)` samples. The resampler is then at the beginning of a new stream.
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        if let Some(engine) = &mut self.engine {
            engine.finish(out);
        }
    }
}

impl fmt::Debug for Resampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resampler").field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}

impl Engine {
    fn new(from: SampleRate, to: SampleRate) -> Self {
        let block = from.frame_samples();
        let fft = Fft::new(from.hz() as usize, to.hz() as usize, block, 1, FixedSync::Both)
            // Refused are only a rate or a block of zero, which `SampleRate` cannot hold.
            .expect("rates and frames are never empty");
        debug_assert_eq!((fft.input_frames_next(), fft.output_frames_next()), (block, to.frame_samples()));
        let lead_in = fft.output_delay();
        Self {
            block: vec![0.0; fft.input_frames_next()],
            resampled: vec![0.0; fft.output_frames_next()],
            filled: 0,
            lead_in,
            taken: 0,
            given: 0,
            fft,
        }
    }

    fn push(&mut self, mut pcm: &[i16], out: &mut Vec<i16>) {
        self.taken += pcm.len() as u64;
        while !pcm.is_empty() {
            let free = &mut self.block[self.filled..];
            let (now, later) = pcm.split_at(pcm.len().min(free.len()));
            for (slot, sample) in free.iter_mut().zip(now) {
                *slot = f32::from(*sample);
            }
            self.filled += now.len();
            pcm = later;
            if self.filled == self.block.len() {
                self.process(out);
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<i16>) {
        let (from, to) = (self.block.len() as u64, self.resampled.len() as u64);
        let total = (self.taken * to + from / 2) / from;
        let complete = out.len() + (total - self.given) as usize;
        while self.given < total {
            self.block[self.filled..].fill(0.0);
            self.process(out);
        }
        out.truncate(complete);
        self.fft.reset();
        self.filled = 0;
        self.lead_in = self.fft.output_delay();
        self.taken = 0;
        self.given = 0;
    }

    /// Resamples the full block.
    fn process(&mut self, out: &mut Vec<i16>) {
        self.filled = 0;
        let (block, resampled) = (self.block.len(), self.resampled.len());
        // Both buffers were made as long as the resampler said that it needs them, which with `FixedSync::Both` never
        // changes; there is nothing else that these three can refuse.
        let input = InterleavedSlice::new(&self.block[..], 1, block).expect("as long as it says");
        let mut output = InterleavedSlice::new_mut(&mut self.resampled[..], 1, resampled).expect("as long as it says");
        self.fft.process_into_buffer(&input, &mut output, None).expect("buffers fit the block");

        let cut = self.lead_in.min(resampled);
        self.lead_in -= cut;
        let ready = &self.resampled[cut..];
        self.given += ready.len() as u64;
        // A float cast saturates, which is what clipping asks for.
        out.extend(ready.iter().map(|sample| sample.round() as i16));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::PI;

    fn rate(hz: u32) -> SampleRate {
        SampleRate::new(hz).unwrap()
    }

    fn resample(from: u32, to: u32, pcm: &[i16]) -> Vec<i16> {
        let mut resampler = Resampler::new(rate(from), rate(to));
        let mut out = Vec::new();
        resampler.push(pcm, &mut out);
        resampler.finish(&mut out);
        out
    }

    fn tone(hz: f64, rate: u32, samples: usize) -> Vec<i16> {
        (0..samples).map(|n| (10_000.0 * (2.0 * PI * hz * n as f64 / f64::from(rate)).sin()).round() as i16).collect()
    }

    /// Level of `got` against `wanted`, and of what is not `wanted`, in decibels: the best fit of amplitude and phase
    /// at
    /// `hz` is taken as the signal.
    fn signal_to_noise(got: &[i16], hz: f64, rate: u32) -> f64 {
        let angle = |n: usize| 2.0 * PI * hz * n as f64 / f64::from(rate);
        let n = got.len() as f64;
        let a = got.iter().enumerate().map(|(i, s)| f64::from(*s) * angle(i).sin()).sum::<f64>() * 2.0 / n;
        let b = got.iter().enumerate().map(|(i, s)| f64::from(*s) * angle(i).cos()).sum::<f64>() * 2.0 / n;
        let fit = |i: usize| a * angle(i).sin() + b * angle(i).cos();
        let signal: f64 = (0..got.len()).map(|i| fit(i).powi(2)).sum();
        let noise: f64 = got.iter().enumerate().map(|(i, s)| (f64::from(*s) - fit(i)).powi(2)).sum();
        10.0 * (signal / noise).log10()
    }

    #[test]
    fn the_rates_of_telephony_and_of_voices_are_all_possible() {
        let rates = [8_000, 11_050, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
        for from in rates {
            for to in rates {
                for samples in [0, 1, 159, 441, 12_345] {
                    let wanted = (samples as f64 * f64::from(to) / f64::from(from)).round() as usize;
                    assert_eq!(resample(from, to, &vec![100; samples]).len(), wanted, "{samples} from {from} to {to}");
                }
            }
        }
    }

    #[test]
    fn a_tone_stays_a_tone_and_where_it_was() {
        for (from, to) in
            [(8_000, 16_000), (16_000, 8_000), (22_050, 8_000), (8_000, 22_050), (24_000, 8_000), (48_000, 8_000)]
        {
            for hz in [300.0, 1_000.0, 3_000.0] {
                let out = resample(from, to, &tone(hz, from, from as usize));
                let middle = to as usize / 10..to as usize * 9 / 10;
                let snr = signal_to_noise(&out[middle.clone()], hz, to);
                assert!(snr > 70.0, "{hz} Hz from {from} to {to}: {snr:.1} dB");
                // Half a sample of the output is the most that cutting whole samples can leave.
                let ideal = tone(hz, to, to as usize);
                let tolerance = 10_000.0 * 2.0 * PI * hz * 0.51 / f64::from(to) + 2.0;
                for n in middle {
                    let off = (f64::from(out[n]) - f64::from(ideal[n])).abs();
                    assert!(off <= tolerance, "{hz} Hz from {from} to {to}: off by {off} at {n}");
                }
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_removed_and_not_folded_back() {
        for (from, hz) in [(22_050, 5_000.0), (16_000, 6_000.0), (48_000, 15_000.0)] {
            let out = resample(from, 8_000, &tone(hz, from, from as usize));
            let loudest = out[800..7_200].iter().map(|s| s.unsigned_abs()).max().unwrap();
            assert!(loudest <= 3, "{hz} Hz from {from}: {loudest} is left of 10,000");
        }
    }

    #[test]
    fn full_scale_is_clipped_and_does_not_wrap() {
        let square: Vec<i16> = (0..8_000).map(|n| if n / 40 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let out = resample(8_000, 16_000, &square);
        // The middle of each positive half, away from the ringing at its ends.
        for half in out[1_120..14_880].chunks(160) {
            assert!(half[20..60].iter().all(|sample| *sample > 25_000), "{half:?}");
        }
    }

    #[test]
    fn equal_rates_pass_samples_through_at_once() {
        let mut resampler = Resampler::new(rate(8_000), rate(8_000));
        let mut out = Vec::new();
        resampler.push(&[1, -2, 3], &mut out);
        assert_eq!(out, [1, -2, 3]);
        resampler.finish(&mut out);
        assert_eq!(out, [1, -2, 3]);
    }

    #[test]
    fn after_finish_a_new_stream_begins() {
        let pcm = tone(440.0, 22_050, 5_000);
        let mut resampler = Resampler::new(rate(22_050), rate(8_000));
        let (mut first, mut second) = (Vec::new(), Vec::new());
        resampler.push(&pcm, &mut first);
        resampler.finish(&mut first);
        resampler.push(&pcm, &mut second);
        resampler.finish(&mut second);
        assert_eq!(first, second);
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            pcm in prop::collection::vec(any::<i16>(), 0..3_000),
            cuts in prop::collection::vec(1usize..700, 1..20),
            (from, to) in prop::sample::select(vec![(22_050, 8_000), (8_000, 16_000), (16_000, 8_000), (24_000, 22_050)]),
        ) {
            let whole = resample(from, to, &pcm);
            let mut resampler = Resampler::new(rate(from), rate(to));
            let (mut out, mut rest) = (Vec::new(), &pcm[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, later) = rest.split_at((*cut).min(rest.len()));
                resampler.push(chunk, &mut out);
                rest = later;
            }
            resampler.finish(&mut out);
            prop_assert_eq!(out, whole);
        }
    }
}

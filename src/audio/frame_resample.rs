//! Change of sample rate on the per-frame path of every call: caller audio for a recogniser or a detector that wants
//! another rate. A frame of 20 ms in is a frame of 20 ms out.
//!
//! A windowed sinc of 32 samples of the lower rate, cut into the phases that are needed, in a table that all calls
//! share; a call keeps some hundred bytes of past samples. [`Resampler`](super::Resampler), which knows every pair of
//! rates, keeps 20 KB a call that go through the cache with every frame: it is for what a call does rarely, the audio
//! of engines.
//!
//! The passband ends at 85 % of half the lower rate (3.4 kHz at 8 kHz); what lies above 115 % of it (4.6 kHz) is at
//! least 60 dB down. Output trails input by 16 samples of the lower rate: 2 ms at 8 kHz.

use super::SampleRate;
use std::f64::consts::PI;
use std::fmt;
use std::sync::OnceLock;

/// Length of the filter in samples of the lower rate.
const FILTER_SAMPLES: usize = 32;

/// Shape of the Kaiser window: stopband against width of the transition.
const KAISER_BETA: f64 = 7.0;

/// Samples that a filter makes at a time: they are vectors to the processor, and each needs its own order of additions
/// only.
const SIDE_BY_SIDE: usize = 8;

/// The greatest factor between two rates: 8 and 48 kHz.
const MAX_FACTOR: usize = 6;

/// Groups of samples that are worked on at a time: 20 ms at 8 kHz.
const BLOCK: usize = 160;

/// Groups of past samples that a filter may look at: its length, and one for the phases between.
const MAX_LAG: usize = FILTER_SAMPLES + 1;

/// A streaming resampler of mono 16-bit PCM between rates of telephony. The output does not depend on how the input was
/// cut.
#[derive(Clone)]
pub struct FrameResampler {
    from: SampleRate,
    to: SampleRate,
    /// `None` when the rates are equal: samples pass through.
    filter: Option<&'static Filter>,
    /// The last samples of whole groups, as many as the filter looks back.
    history: [i16; MAX_LAG * MAX_FACTOR],
    /// Samples of a group that is not complete, at the beginning.
    rest: [i16; MAX_FACTOR],
    rest_samples: usize,
}

impl FrameResampler {
    /// A resampler at the beginning of a stream. Allocates only if it is the first of its ratio.
    ///
    /// `None` for a pair of rates that have no table: one has to be 2, 3, 6 or 3/2 times the other, as all of 8, 16, 24
    /// and 48 kHz are.
    pub fn new(from: SampleRate, to: SampleRate) -> Option<Self> {
        let filter = if from == to { None } else { Some(Filter::shared(from, to)?) };
        Some(Self { from, to, filter, history: [0; MAX_LAG * MAX_FACTOR], rest: [0; MAX_FACTOR], rest_samples: 0 })
    }

    /// Rate of the input.
    pub const fn from(&self) -> SampleRate {
        self.from
    }

    /// Rate of the output.
    pub const fn to(&self) -> SampleRate {
        self.to
    }

    /// By how many samples the output trails the input, to the nearest sample of the output.
    pub fn trail_samples(&self) -> usize {
        // The middle of the prototype, which runs at `up` times the rate of the input.
        let middle = |filter: &Filter| FILTER_SAMPLES * filter.up.max(filter.down) / 2 - 1;
        self.filter.map_or(0, |filter| (2 * middle(filter) + filter.down) / (2 * filter.down))
    }

    /// How many samples the next `input` samples will make. A frame makes a frame.
    pub fn output_samples(&self, input: usize) -> usize {
        self.filter.map_or(input, |filter| (self.rest_samples + input) / filter.down * filter.up)
    }

    /// Takes in the next samples, writes what they make to the beginning of `out`, and says how many that were.
    ///
    /// # Panics
    /// If `out` is shorter than [`output_samples`](Self::output_samples) says.
    pub fn push(&mut self, mut pcm: &[i16], out: &mut [i16]) -> usize {
        let Some(filter) = self.filter else {
            out[..pcm.len()].copy_from_slice(pcm);
            return pcm.len();
        };
        let made = self.output_samples(pcm.len());
        let mut out = &mut out[..made];
        if self.rest_samples > 0 {
            let (head, tail) = pcm.split_at(pcm.len().min(filter.down - self.rest_samples));
            self.rest[self.rest_samples..][..head.len()].copy_from_slice(head);
            self.rest_samples += head.len();
            pcm = tail;
            if self.rest_samples < filter.down {
                return 0;
            }
            let (first, later) = out.split_at_mut(filter.up);
            filter.run(&mut self.history, &self.rest[..filter.down], first);
            self.rest_samples = 0;
            out = later;
        }
        let (groups, rest) = pcm.split_at(pcm.len() / filter.down * filter.down);
        for (groups, out) in groups.chunks(BLOCK * filter.down).zip(out.chunks_mut(BLOCK * filter.up)) {
            filter.run(&mut self.history, groups, out);
        }
        self.rest[..rest.len()].copy_from_slice(rest);
        self.rest_samples = rest.len();
        made
    }
}

impl fmt::Debug for FrameResampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameResampler").field("from", &self.from).field("to", &self.to).finish_non_exhaustive()
    }
}

/// A ratio of rates and its filter: groups of `down` samples become groups of `up` samples.
///
/// Sample `lane` of each group, taken alone, is a stream of its own, and so is sample `phase` of each group that comes
/// out. The filter of the whole falls into one for each lane and phase, each a plain convolution.
struct Filter {
    up: usize,
    down: usize,
    /// Groups before the present one that are looked at.
    lag: usize,
    kernels: Vec<Kernel>,
}

/// From one lane to one phase.
struct Kernel {
    lane: usize,
    phase: usize,
    /// Where in a window that begins `lag` groups ago the oldest tap lies.
    start: usize,
    /// The oldest first.
    taps: Vec<f32>,
}

impl Filter {
    /// The filter for two rates, from the table.
    fn shared(from: SampleRate, to: SampleRate) -> Option<&'static Self> {
        static FILTERS: [(u32, u32, OnceLock<Filter>); 8] = [
            (2, 1, OnceLock::new()),
            (1, 2, OnceLock::new()),
            (3, 1, OnceLock::new()),
            (1, 3, OnceLock::new()),
            (6, 1, OnceLock::new()),
            (1, 6, OnceLock::new()),
            (3, 2, OnceLock::new()),
            (2, 3, OnceLock::new()),
        ];
        let (up, down, filter) = FILTERS.iter().find(|(up, down, _)| from.hz() * up == to.hz() * down)?;
        Some(filter.get_or_init(|| Self::design(*up as usize, *down as usize)))
    }

    fn design(up: usize, down: usize) -> Self {
        let prototype = low_pass(up.max(down));
        // Tap t of the prototype, which runs at `up` times the rate of the input, meets sample `lane` of the group
        // `back` groups ago where t = up * (down * back - lane) + down * phase.
        let mut kernels: Vec<Kernel> = Vec::new();
        for lane in 0..down {
            for phase in 0..up {
                let tap = |back: usize| {
                    let t = (up * down * back + down * phase).checked_sub(up * lane)?;
                    Some(prototype.get(t).copied().unwrap_or(0.0))
                };
                let newest = (0..MAX_LAG).find(|back| tap(*back).is_some_and(|tap| tap != 0.0));
                let oldest = (0..MAX_LAG).rev().find(|back| tap(*back).is_some_and(|tap| tap != 0.0));
                let (Some(newest), Some(oldest)) = (newest, oldest) else { continue };
                let taps = (newest..=oldest).rev().map(|back| tap(back).unwrap_or(0.0) as f32).collect();
                kernels.push(Kernel { lane, phase, start: oldest, taps });
            }
        }
        let lag = kernels.iter().map(|kernel| kernel.start).max().unwrap_or(0);
        for kernel in &mut kernels {
            kernel.start = lag - kernel.start;
        }
        // A constant stays what it is, in every phase: so it has no images either.
        for phase in 0..up {
            let of_phase = |kernel: &&mut Kernel| kernel.phase == phase;
            let sum: f32 = kernels.iter_mut().filter(of_phase).flat_map(|kernel| &kernel.taps).sum();
            for kernel in kernels.iter_mut().filter(of_phase) {
                kernel.taps.iter_mut().for_each(|tap| *tap /= sum);
            }
        }
        Self { up, down, lag, kernels }
    }

    /// Turns whole groups, at most [`BLOCK`] of them, into as many.
    fn run(&self, history: &mut [i16; MAX_LAG * MAX_FACTOR], groups: &[i16], out: &mut [i16]) {
        let history = &mut history[..self.lag * self.down];
        let count = groups.len() / self.down;
        let mut window = [0.0; MAX_LAG + BLOCK];
        let mut sums = [[0.0; BLOCK]; MAX_FACTOR];
        let mut lane = None;
        for kernel in &self.kernels {
            if lane != Some(kernel.lane) {
                let of_lane = |samples: &[i16]| samples[kernel.lane];
                let past = history.chunks_exact(self.down).map(of_lane);
                let present = groups.chunks_exact(self.down).map(of_lane);
                window.iter_mut().zip(past.chain(present)).for_each(|(slot, sample)| *slot = f32::from(sample));
                lane = Some(kernel.lane);
            }
            kernel.add(&window, &mut sums[kernel.phase][..count]);
        }
        for (phase, sums) in sums[..self.up].iter().enumerate() {
            for (sample, sum) in out[phase..].iter_mut().step_by(self.up).zip(&sums[..count]) {
                *sample = round(*sum);
            }
        }
        match history.len().checked_sub(groups.len()) {
            None => history.copy_from_slice(&groups[groups.len() - history.len()..]),
            Some(kept) => {
                history.copy_within(groups.len().., 0);
                history[kept..].copy_from_slice(groups);
            }
        }
    }
}

impl Kernel {
    /// Adds what this lane gives to this phase.
    fn add(&self, window: &[f32; MAX_LAG + BLOCK], sums: &mut [f32]) {
        let window = &window[self.start..];
        let (blocks, rest) = sums.as_chunks_mut::<SIDE_BY_SIDE>();
        let whole = blocks.len() * SIDE_BY_SIDE;
        for (block, at) in blocks.iter_mut().zip((0..).step_by(SIDE_BY_SIDE)) {
            let mut sums = *block;
            for (tap, samples) in self.taps.iter().zip(window[at..].array_windows::<SIDE_BY_SIDE>()) {
                for (sum, sample) in sums.iter_mut().zip(samples) {
                    *sum += tap * sample;
                }
            }
            *block = sums;
        }
        // In the same order of additions, so that it does not matter to which of the two a sample comes.
        for (sum, samples) in rest.iter_mut().zip(window[whole..].windows(self.taps.len())) {
            *sum = samples.iter().zip(&self.taps).fold(*sum, |sum, (sample, tap)| sum + tap * sample);
        }
    }
}

/// To the nearest integer of 16 bits.
fn round(value: f32) -> i16 {
    /// 1.5 × 2^23: a number of this size has no bits for fractions, so that adding it rounds; the integer stands in the
    /// low bits.
    const NO_FRACTION: f32 = 12_582_912.0;
    (value.clamp(f32::from(i16::MIN), f32::from(i16::MAX)) + NO_FRACTION).to_bits() as i16
}

/// A low-pass with its edge at half of 1/`factor` of its rate, as long as [`FILTER_SAMPLES`] there.
fn low_pass(factor: usize) -> Vec<f64> {
    let taps = FILTER_SAMPLES * factor - 1;
    let middle = (taps - 1) as f64 / 2.0;
    (0..taps)
        .map(|tap| {
            let offset = tap as f64 - middle;
            let x = offset / factor as f64;
            // A zero of the sinc, exactly: half of the taps of a factor of 2 need no work.
            if offset != 0.0 && x.fract() == 0.0 {
                return 0.0;
            }
            let sinc = if offset == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
            let edge = offset / (middle + 1.0);
            sinc * bessel_i0(KAISER_BETA * (1.0 - edge * edge).sqrt()) / bessel_i0(KAISER_BETA)
        })
        .collect()
}

/// The modified Bessel function of the first kind and order 0, by its series.
fn bessel_i0(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    let mut n = 1.0;
    while term > sum * 1e-12 {
        term *= (x / (2.0 * n)).powi(2);
        sum += term;
        n += 1.0;
    }
    sum
}

#[cfg(test)]
mod tests;

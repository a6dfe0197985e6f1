//! Tones and what became of them.

use arioso::audio::{Resampler, SampleRate};
use std::f64::consts::TAU;
use std::time::Duration;

/// Level of the tones: −12 dBFS as the root mean square.
const LEVEL: f64 = -12.0;

/// A tone fades in and out, so that its ends are no clicks.
const FADE: Duration = Duration::from_millis(10);

/// A sine at −12 dBFS.
pub(crate) fn tone(hz: f64, rate: SampleRate, time: Duration) -> Vec<i16> {
    let amplitude = 32_767.0 * 10_f64.powf(LEVEL / 20.0) * 2_f64.sqrt();
    let (length, fade) = (rate.samples_in(time), rate.samples_in(FADE));
    let sample = |n: i64| {
        let edge = (n.min(length - 1 - n) as f64 / fade as f64).min(1.0);
        (amplitude * edge * phase(hz, rate, n).sin()).round() as i16
    };
    (0..length).map(sample).collect()
}

/// What is in a stretch of audio that should be a tone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Level of the tone, dBFS.
    pub(crate) level: f64,
    /// How far everything else is below it, dB. A jump in the audio counts as much as noise.
    pub(crate) snr: f64,
}

/// A tone that was looked at in pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// Of most pieces.
    pub(crate) usual: Measured,
    /// Pieces in which the tone is torn, as where a frame is missing or doubled.
    pub(crate) torn: usize,
    pub(crate) pieces: usize,
}

/// How much worse a torn piece of a tone is than the usual one, dB.
const TORN: f64 = 12.0;

/// Measures 100 ms at a time.
pub(crate) fn measure_pieces(pcm: &[i16], hz: f64, rate: SampleRate) -> Line {
    let length = (rate.hz() / 10) as usize;
    let mut pieces: Vec<Measured> = pcm.chunks_exact(length).map(|piece| measure(piece, hz, rate)).collect();
    pieces.sort_by(|a, b| a.snr.total_cmp(&b.snr));
    let usual = *pieces.get(pieces.len() / 2).unwrap_or_else(|| panic!("only {} samples were heard", pcm.len()));
    let torn = pieces.iter().filter(|piece| piece.snr < usual.snr - TORN).count();
    Line { usual, torn, pieces: pieces.len() }
}

/// Fits a sine of `hz` and a constant to `pcm` by least squares.
pub(crate) fn measure(pcm: &[i16], hz: f64, rate: SampleRate) -> Measured {
    let count = pcm.len() as f64;
    let mean = pcm.iter().map(|&sample| f64::from(sample)).sum::<f64>() / count;
    let samples: Vec<f64> = pcm.iter().map(|&sample| f64::from(sample) - mean).collect();
    // The normal equations of a·sin + b·cos: the two are not quite orthogonal where the window holds no whole periods.
    let (mut ss, mut sc, mut cc, mut sy, mut cy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (n, y) in samples.iter().enumerate() {
        let (sin, cos) = phase(hz, rate, n as i64).sin_cos();
        (ss, sc, cc) = (ss + sin * sin, sc + sin * cos, cc + cos * cos);
        (sy, cy) = (sy + sin * y, cy + cos * y);
    }
    let determinant = ss * cc - sc * sc;
    let (a, b) = ((sy * cc - cy * sc) / determinant, (cy * ss - sy * sc) / determinant);
    let signal = (a * a + b * b) / 2.0;
    let total = samples.iter().map(|y| y * y).sum::<f64>() / count;
    let decibels = |power: f64| 10.0 * power.max(1e-3).log10();
    Measured {
        level: decibels(signal) - 20.0 * f64::from(i16::MAX).log10(),
        snr: decibels(signal) - decibels(total - signal),
    }
}

/// How much of the speech `said` is in `heard`, which begins at the same moment and is up to `delay` later: the correlation
/// of half a second at a time, each where it fits best, and of these the worst but one. So a hiccup of the machine, which
/// moves all that follows, is forgiven once.
pub(crate) fn same_speech(said: &[i16], heard: &[i16], rate: SampleRate, delay: Duration) -> f64 {
    let piece = (rate.hz() / 2) as usize;
    let delay = usize::try_from(rate.samples_in(delay)).expect("not negative");
    let loud = |piece: &[i16]| piece.iter().any(|sample| sample.unsigned_abs() > 1_000);
    let pieces = said.chunks_exact(piece).enumerate().filter(|(_, piece)| loud(piece));
    let found = pieces.map(|(index, part)| {
        let from = (index * piece).min(heard.len());
        correlation(part, &heard[from..(from + piece + delay).min(heard.len())])
    });
    let mut found: Vec<f64> = found.collect();
    found.sort_by(f64::total_cmp);
    found.get(1).copied().unwrap_or_default()
}

/// The best correlation of `said` with some place in `heard`: 1 is the same audio at any level. A piece that is missing or
/// doubled in the middle makes it about a half.
fn correlation(said: &[i16], heard: &[i16]) -> f64 {
    let float = |pcm: &[i16]| pcm.iter().map(|&sample| f32::from(sample)).collect::<Vec<f32>>();
    let (said, heard) = (float(said), float(heard));
    let energy = |samples: &[f32]| samples.iter().map(|sample| f64::from(sample * sample)).sum::<f64>();
    let said_energy = energy(&said);
    let mut window_energy = energy(heard.get(..said.len()).unwrap_or_default());
    let mut best = 0.0_f64;
    for (start, window) in heard.windows(said.len()).enumerate() {
        let product: f32 = window.iter().zip(&said).map(|(a, b)| a * b).sum();
        best = best.max(f64::from(product) / (said_energy * window_energy).sqrt().max(1.0));
        // From this window to the next: one sample leaves, one comes.
        let next = heard.get(start + said.len()).copied().unwrap_or_default();
        window_energy += f64::from(next * next) - f64::from(window[0] * window[0]);
    }
    best
}

/// The same at another rate.
pub(crate) fn resampled(pcm: &[i16], from: SampleRate, to: SampleRate) -> Vec<i16> {
    if from == to {
        return pcm.to_vec();
    }
    let mut out = Vec::new();
    let mut resampler = Resampler::new(from, to);
    resampler.push(pcm, &mut out);
    resampler.finish(&mut out);
    out
}

fn phase(hz: f64, rate: SampleRate, sample: i64) -> f64 {
    TAU * hz * sample as f64 / f64::from(rate.hz())
}

#[test]
fn the_measure_tells_a_pure_tone_from_one_with_a_gap_and_from_another() {
    let rate = SampleRate::HZ_8000;
    let pure = tone(1_000.0, rate, Duration::from_secs(1));
    let middle = &pure[1_003..6_000];
    let measured = measure(middle, 1_000.0, rate);
    assert!((measured.level - LEVEL).abs() < 0.01 && measured.snr > 60.0, "{measured:?}");
    let torn = [&middle[..2_000], &middle[2_163..]].concat();
    assert!(measure(&torn, 1_000.0, rate).snr < 15.0);
    let line = measure_pieces(&torn, 1_000.0, rate);
    assert!(line.usual.snr > 60.0 && (line.torn, line.pieces) == (1, 6), "{line:?}");
    assert!(measure(middle, 1_700.0, rate).level < -50.0);
    assert!(correlation(&middle[..3_000], &[&[0; 777], middle].concat()) > 0.99);
    let noise: Vec<i16> = (0..5_000_i64).map(|n| (n * n % 8_191 - 4_095) as i16).collect();
    assert!(correlation(&noise[..3_000], middle) < 0.2);
}

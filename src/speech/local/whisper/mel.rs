//! Whisper's ears: 16 kHz audio to a log-mel spectrogram of 80 bands, one column every 10 ms.

use realfft::{FftError, RealFftPlanner, RealToComplex};
use std::f32::consts::PI;
use std::fmt;
use std::sync::Arc;

/// The rate of the audio, in Hz.
pub(crate) const RATE: usize = 16_000;
/// Samples from one column to the next.
pub(crate) const HOP: usize = 160;
/// Bands of a column.
pub(crate) const BANDS: usize = 80;
/// Samples that one column looks at.
const WINDOW: usize = 400;
/// Frequencies of one transform, from 0 to 8 kHz.
const FREQUENCIES: usize = WINDOW / 2 + 1;
/// The logarithm of the least energy that is told from none.
const FLOOR: f32 = -10.0;
/// How far below the loudest value the spectrogram is cut off, in decades.
const DYNAMICS: f32 = 8.0;

/// Makes spectrograms; holds the tables for it.
pub(crate) struct MelSpectrogram {
    /// The Hann window, `WINDOW` long.
    window: Vec<f32>,
    bands: Vec<Band>,
    transform: Arc<dyn RealToComplex<f32>>,
}

/// The triangle of one band: weights of the frequencies from `first` on.
struct Band {
    first: usize,
    weights: Vec<f32>,
}

impl fmt::Debug for MelSpectrogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MelSpectrogram").finish_non_exhaustive()
    }
}

impl MelSpectrogram {
    pub(crate) fn new() -> Self {
        let window = (0..WINDOW).map(|i| 0.5 - 0.5 * (2.0 * PI * i as f32 / WINDOW as f32).cos()).collect();
        let edge = |i: usize| hz_of_mel(mel_of_hz(RATE as f32 / 2.0) * i as f32 / (BANDS + 1) as f32);
        let bands = (0..BANDS).map(|band| Band::new(edge(band), edge(band + 1), edge(band + 2))).collect();
        Self { window, bands, transform: RealFftPlanner::new().plan_fft_forward(WINDOW) }
    }

    /// The spectrogram of `pcm` (−1 to 1, 16 kHz), cut or filled with silence to `columns`.
    ///
    /// Returns `[BANDS, columns]`, scaled as Whisper was trained: (log10 + 4) / 4, at most 2 below the loudest value.
    pub(crate) fn of(&self, pcm: &[f32], columns: usize) -> Result<Vec<f32>, FftError> {
        let padded = mirror_padded(pcm, columns * HOP);
        // Columns that lie wholly in the silence behind the audio need no transform.
        let sounding = ((pcm.len() + WINDOW / 2) / HOP + 2).min(columns);
        let mut spectrogram = vec![FLOOR; BANDS * columns];
        let mut input = self.transform.make_input_vec();
        let mut spectrum = self.transform.make_output_vec();
        let mut loudest = FLOOR;
        for column in 0..sounding {
            let samples = &padded[column * HOP..][..WINDOW];
            for ((slot, sample), weight) in input.iter_mut().zip(samples).zip(&self.window) {
                *slot = sample * weight;
            }
            self.transform.process(&mut input, &mut spectrum)?;
            for (band, triangle) in self.bands.iter().enumerate() {
                let bins = &spectrum[triangle.first..];
                let energy: f32 = triangle.weights.iter().zip(bins).map(|(w, bin)| w * bin.norm_sqr()).sum();
                let level = energy.max(1e-10).log10();
                loudest = loudest.max(level);
                spectrogram[band * columns + column] = level;
            }
        }
        for value in &mut spectrogram {
            *value = (value.max(loudest - DYNAMICS) + 4.0) / 4.0;
        }
        Ok(spectrogram)
    }
}

impl Band {
    /// The triangle from `low` over `peak` to `high` Hz, with the area that makes all bands equally loud for white
    /// noise.
    fn new(low: f32, peak: f32, high: f32) -> Self {
        let weight = |bin: usize| {
            let hz = bin as f32 * RATE as f32 / WINDOW as f32;
            ((hz - low) / (peak - low)).min((high - hz) / (high - peak)).max(0.0) * 2.0 / (high - low)
        };
        let first = (0..FREQUENCIES).find(|bin| weight(*bin) > 0.0).unwrap_or(0);
        let weights = (first..FREQUENCIES).map(weight).take_while(|weight| *weight > 0.0).collect();
        Self { first, weights }
    }
}

/// `length` samples of audio (cut or filled with silence) with half a window before and after, mirrored at the ends.
fn mirror_padded(pcm: &[f32], length: usize) -> Vec<f32> {
    const HALF: usize = WINDOW / 2;
    let mut padded = vec![0.0; length + 2 * HALF];
    let used = pcm.len().min(length);
    padded[HALF..HALF + used].copy_from_slice(&pcm[..used]);
    if length > HALF {
        for i in 1..=HALF {
            padded[HALF - i] = padded[HALF + i];
            padded[HALF + length - 1 + i] = padded[HALF + length - 1 - i];
        }
    }
    padded
}

/// The mel scale of Slaney: straight below 1 kHz, logarithmic above.
fn mel_of_hz(hz: f32) -> f32 {
    if hz < 1000.0 { hz * 3.0 / 200.0 } else { 15.0 + (hz / 1000.0).ln() * 27.0 / 6.4f32.ln() }
}

fn hz_of_mel(mel: f32) -> f32 {
    if mel < 15.0 { mel * 200.0 / 3.0 } else { 1000.0 * ((mel - 15.0) * 6.4f32.ln() / 27.0).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32, samples: usize) -> Vec<f32> {
        (0..samples).map(|i| 0.5 * (2.0 * PI * hz * i as f32 / RATE as f32).sin()).collect()
    }

    fn loudest_band(spectrogram: &[f32], columns: usize, column: usize) -> usize {
        let level = |band: usize| spectrogram[band * columns + column];
        (0..BANDS).max_by(|a, b| level(*a).total_cmp(&level(*b))).unwrap()
    }

    #[test]
    fn silence_is_the_floor() {
        let mel = MelSpectrogram::new().of(&[0.0; 1600], 10).unwrap();
        assert_eq!(mel.len(), BANDS * 10);
        assert!(mel.iter().all(|value| *value == -1.5), "{mel:?}");
    }

    #[test]
    fn a_tone_is_loudest_in_the_band_around_it() {
        let mel = MelSpectrogram::new();
        for hz in [300.0, 1000.0, 2500.0, 6000.0] {
            let band = loudest_band(&mel.of(&tone(hz, 8000), 50).unwrap(), 50, 25);
            let peak = hz_of_mel(mel_of_hz(8000.0) * (band + 1) as f32 / (BANDS + 1) as f32);
            assert!((peak - hz).abs() < hz * 0.06 + 40.0, "{hz} Hz is loudest in the band at {peak} Hz");
        }
    }

    #[test]
    fn values_span_two_and_loudness_moves_them_by_its_logarithm() {
        let mel = MelSpectrogram::new();
        let pcm = tone(440.0, 4800);
        let quiet: Vec<f32> = pcm.iter().map(|sample| sample / 10.0).collect();
        let top = |pcm: &[f32]| mel.of(pcm, 30).unwrap().into_iter().fold(f32::MIN, f32::max);
        let bottom = |pcm: &[f32]| mel.of(pcm, 30).unwrap().into_iter().fold(f32::MAX, f32::min);
        assert!((top(&pcm) - bottom(&pcm) - 2.0).abs() < 1e-3);
        // A tenth of the amplitude is two decades of energy, a quarter of it on this scale.
        assert!((top(&pcm) - top(&quiet) - 0.5).abs() < 1e-3);
    }

    #[test]
    fn audio_is_cut_or_filled_to_the_columns() {
        let mel = MelSpectrogram::new();
        assert_eq!(mel.of(&tone(440.0, 100_000), 20).unwrap().len(), BANDS * 20);
        let filled = mel.of(&tone(440.0, 1600), 30).unwrap();
        let bottom = filled.iter().copied().fold(f32::MAX, f32::min);
        assert!((0..BANDS).all(|band| filled[band * 30 + 29] == bottom), "silence behind the audio");
    }

    #[test]
    fn the_mel_scale_is_its_own_inverse() {
        for hz in [0.0, 500.0, 999.0, 1001.0, 4000.0, 8000.0] {
            assert!((hz_of_mel(mel_of_hz(hz)) - hz).abs() < 0.5, "{hz}");
        }
    }
}

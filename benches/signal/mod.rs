//! What the benches let through: something like a voice, so that no branch is always predicted.

use arioso::audio::SampleRate;
use std::f64::consts::TAU;

/// The rates that a call can have.
#[allow(dead_code, reason = "a bench of codecs goes by their rates")]
pub const RATES: [SampleRate; 4] =
    [SampleRate::HZ_8000, SampleRate::HZ_16000, SampleRate::HZ_24000, SampleRate::HZ_48000];

/// A second of a buzz with the envelope of syllables, and of breath, in frames of 20 ms.
pub fn voice(rate: SampleRate) -> Vec<Vec<i16>> {
    let mut noise = 1u32;
    let samples: Vec<i16> = (0..rate.hz())
        .map(|n| {
            let t = f64::from(n) / f64::from(rate.hz());
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let breath = f64::from(noise >> 8) / f64::from(1 << 24) - 0.5;
            let buzz: f64 = (1..25).map(|h| (TAU * 130.0 * f64::from(h) * t).sin() / f64::from(h)).sum();
            let envelope = 0.6 + 0.4 * (TAU * 4.0 * t).sin();
            (envelope * (buzz * 6_000.0 + breath * 1_000.0)) as i16
        })
        .collect();
    samples.chunks_exact(rate.frame_samples()).map(<[i16]>::to_vec).collect()
}

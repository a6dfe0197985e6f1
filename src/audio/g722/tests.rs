use super::tables::{LEVELS, LOW_SCALE, quantize};
use super::*;
use ezk_g722::libg722::{self, Bitrate};
use proptest::prelude::*;
use std::f64::consts::TAU;

/// What the independent implementation sends for the first pair of samples if that is silent. Its scale factors are 0
/// then and not the recommendation's 32 and 8, so that this code says something else than it does afterwards.
const THEIR_FIRST_CODE: u8 = 0xA0;

/// Both implementations at the same point: behind a pair of silent samples of the other one.
fn encoders() -> (Encoder, libg722::encoder::Encoder) {
    let mut theirs = libg722::encoder::Encoder::new(Bitrate::Mode1_64000, false, false);
    assert_eq!(theirs.encode(&[0, 0]), [THEIR_FIRST_CODE]);
    let mut ours = Encoder::new();
    ours.low = LowBand::behind_silence_without_scale(THEIR_FIRST_CODE & 0x3F);
    ours.high = HighBand::behind_silence_without_scale(THEIR_FIRST_CODE >> 6);
    (ours, theirs)
}

fn decoders() -> (Decoder, libg722::decoder::Decoder) {
    let mut theirs = libg722::decoder::Decoder::new(Bitrate::Mode1_64000, false, false);
    assert_eq!(theirs.decode(&[THEIR_FIRST_CODE]), [0, 0]);
    let mut ours = Decoder::new();
    ours.low = LowBand::behind_silence_without_scale(THEIR_FIRST_CODE & 0x3F);
    ours.high = HighBand::behind_silence_without_scale(THEIR_FIRST_CODE >> 6);
    (ours, theirs)
}

fn same_codes(name: &str, pcm: &[i16]) -> Vec<u8> {
    let (mut ours, mut theirs) = encoders();
    let mut codes = vec![0; pcm.len() / 2];
    ours.encode(pcm, &mut codes);
    assert_eq!(first_difference(&codes, &theirs.encode(pcm)), None, "{name}");
    codes
}

fn same_samples(name: &str, codes: &[u8]) {
    let (mut ours, mut theirs) = decoders();
    let mut pcm = vec![0; codes.len() * 2];
    ours.decode(codes, &mut pcm);
    assert_eq!(first_difference(&pcm, &theirs.decode(codes)), None, "{name}");
}

fn first_difference<T: PartialEq + Copy>(ours: &[T], theirs: &[T]) -> Option<(usize, T, T)> {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).enumerate().find(|(_, (a, b))| a != b).map(|(at, (a, b))| (at, *a, *b))
}

fn tone(hz: f64, amplitude: f64, samples: usize) -> Vec<i16> {
    (0..samples).map(|n| (amplitude * (TAU * hz * n as f64 / 16_000.0).sin()).round() as i16).collect()
}

/// A deterministic noise between -1 and 1.
fn noise(seed: u32) -> impl Iterator<Item = f64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 23) - 1.0
    })
}

/// A buzz of many harmonics under a syllable-like envelope, with breath and pauses.
fn voice(samples: usize) -> Vec<i16> {
    (0..samples)
        .zip(noise(3))
        .map(|(n, breath)| {
            let t = n as f64 / 16_000.0;
            let envelope = (TAU * 1.7 * t).sin().max(0.0) * (0.6 + 0.4 * (TAU * 4.0 * t).sin());
            let pitch = 120.0 + 20.0 * (TAU * 0.9 * t).sin();
            let buzz: f64 = (1..40).map(|h| (TAU * pitch * f64::from(h) * t).sin() / f64::from(h)).sum();
            (envelope * (buzz * 7_000.0 + breath * 900.0)) as i16
        })
        .collect()
}

#[test]
fn speech_tones_noise_and_silence_are_coded_and_decoded_bit_by_bit_as_elsewhere() {
    let mut signals = vec![
        ("silence", vec![0; 16_000]),
        ("a constant", vec![1_234; 16_000]),
        ("voice", voice(80_000)),
        ("steps", (0..32_000).map(|n| if n / 800 % 2 == 0 { 9_000 } else { -9_000 }).collect()),
        ("a click", (0..16_000).map(|n| if n == 8_000 { 15_000 } else { 0 }).collect()),
    ];
    for hz in [50.0, 440.0, 1_004.0, 3_000.0, 3_990.0, 4_010.0, 5_500.0, 7_900.0] {
        for amplitude in [3.0, 100.0, 10_000.0, 32_600.0] {
            signals.push(("tone", tone(hz, amplitude, 8_000)));
        }
    }
    for amplitude in [2.0, 300.0, 8_000.0, 20_000.0] {
        signals.push(("noise", noise(7).map(|value| (value * amplitude) as i16).take(32_000).collect()));
    }
    for (name, pcm) in signals {
        same_samples(name, &same_codes(name, &pcm));
    }
}

#[test]
fn every_decision_is_that_of_a_comparison_with_one_level_after_the_other() {
    for (log, scale) in LOW_SCALE.iter().enumerate() {
        let scale = i32::from(*scale);
        let mut step = 0;
        for magnitude in 0..=i32::from(i16::MAX) {
            while step < LEVELS.len() && magnitude >= (i32::from(LEVELS[step]) * scale) >> 12 {
                step += 1;
            }
            assert_eq!(quantize(magnitude, log, scale), step, "{magnitude} at {scale}");
        }
    }
}

#[test]
fn an_overloaded_input_is_limited_and_never_wraps() {
    let square: Vec<i16> = (0..16_000).map(|n| if n / 40 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
    let mut codes = vec![0; 8_000];
    Encoder::new().encode(&square, &mut codes);
    let mut pcm = vec![0; 16_000];
    Decoder::new().decode(&codes, &mut pcm);
    // Encoder and decoder together take 22 samples.
    for half in pcm[1_622..15_000].chunks_exact(40) {
        let middle = &half[10..30];
        assert!(middle.iter().all(|sample| sample.unsigned_abs() > 20_000), "{half:?}");
        assert!(middle.windows(2).all(|pair| pair[0].signum() == pair[1].signum()), "{half:?}");
    }
}

#[test]
fn a_tone_of_either_band_keeps_its_quality() {
    // Two bits are few for a tone above 4 kHz.
    for (hz, least) in [(300.0, 34.0), (1_004.0, 34.0), (3_000.0, 30.0), (5_500.0, 8.0)] {
        let pcm = tone(hz, 10_000.0, 16_000);
        let (mut codes, mut back) = (vec![0; 8_000], vec![0; 16_000]);
        Encoder::new().encode(&pcm, &mut codes);
        Decoder::new().decode(&codes, &mut back);
        let (signal, noise) =
            pcm[1_000..15_000].iter().zip(&back[1_022..]).fold((0.0, 0.0), |(signal, noise), (a, b)| {
                (signal + f64::from(*a).powi(2), noise + (f64::from(*a) - f64::from(*b)).powi(2))
            });
        let ratio = 10.0 * f64::log10(signal / noise);
        assert!(ratio > least, "{hz} Hz: {ratio:.1} dB");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_decode_as_elsewhere(codes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        same_samples("any bytes", &codes);
    }

    #[test]
    fn any_samples_that_do_not_overload_are_coded_as_elsewhere(
        pcm in prop::collection::vec([-20_000i16..20_000, -20_000i16..20_000], 0..2_000),
    ) {
        same_codes("any samples", pcm.as_flattened());
    }

    #[test]
    fn how_a_stream_is_cut_does_not_matter(cuts in prop::collection::vec(1usize..400, 1..12)) {
        let pcm = voice(6_000);
        let mut whole = vec![0; 3_000];
        Encoder::new().encode(&pcm, &mut whole);
        let mut decoded = vec![0; 6_000];
        Decoder::new().decode(&whole, &mut decoded);

        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let (mut at, mut cuts) = (0, cuts.iter().cycle());
        while at < whole.len() {
            let end = (at + cuts.next().unwrap()).min(whole.len());
            let (mut codes, mut samples) = (vec![0; end - at], vec![0; 2 * (end - at)]);
            encoder.encode(&pcm[2 * at..2 * end], &mut codes);
            prop_assert_eq!(&codes, &whole[at..end]);
            decoder.decode(&codes, &mut samples);
            prop_assert_eq!(&samples, &decoded[2 * at..2 * end]);
            at = end;
        }
    }
}

use super::*;
use proptest::prelude::*;
use std::f64::consts::TAU;

const RATES: [SampleRate; 4] = [SampleRate::HZ_8000, SampleRate::HZ_16000, SampleRate::HZ_24000, SampleRate::HZ_48000];

fn pairs() -> impl Iterator<Item = (SampleRate, SampleRate)> {
    RATES.into_iter().flat_map(|from| RATES.into_iter().map(move |to| (from, to)))
}

fn resample(from: SampleRate, to: SampleRate, pcm: &[i16]) -> Vec<i16> {
    let mut resampler = FrameResampler::new(from, to).unwrap();
    let mut out = vec![0; resampler.output_samples(pcm.len())];
    assert_eq!(resampler.push(pcm, &mut out), out.len());
    out
}

fn tone(hz: f64, rate: SampleRate) -> Vec<i16> {
    (0..rate.hz()).map(|n| (10_000.0 * (TAU * hz * f64::from(n) / f64::from(rate.hz())).sin()).round() as i16).collect()
}

/// Amplitude of the best fit of a tone of `hz`, and its level over everything else in decibels.
fn fit(pcm: &[i16], hz: f64, rate: SampleRate) -> (f64, f64) {
    let angle = |n: usize| TAU * hz * n as f64 / f64::from(rate.hz());
    let n = pcm.len() as f64;
    let a = pcm.iter().enumerate().map(|(i, s)| f64::from(*s) * angle(i).sin()).sum::<f64>() * 2.0 / n;
    let b = pcm.iter().enumerate().map(|(i, s)| f64::from(*s) * angle(i).cos()).sum::<f64>() * 2.0 / n;
    let noise: f64 =
        pcm.iter().enumerate().map(|(i, s)| (f64::from(*s) - a * angle(i).sin() - b * angle(i).cos()).powi(2)).sum();
    (a.hypot(b), 10.0 * ((a * a + b * b) / 2.0 * n / noise).log10())
}

/// The second half of a second, where every tone of whole hertz fits in whole periods.
fn settled(pcm: &[i16]) -> &[i16] {
    &pcm[pcm.len() / 2..]
}

#[test]
fn a_frame_makes_a_frame() {
    for (from, to) in pairs() {
        let mut resampler = FrameResampler::new(from, to).unwrap();
        let mut out = vec![7; to.frame_samples()];
        for _ in 0..50 {
            assert_eq!(resampler.output_samples(from.frame_samples()), to.frame_samples());
            assert_eq!(resampler.push(&vec![0; from.frame_samples()], &mut out), to.frame_samples());
        }
        assert!(out.iter().all(|sample| *sample == 0));
    }
}

#[test]
fn a_tone_stays_a_tone_of_the_same_level() {
    for (from, to) in pairs() {
        let lower = f64::from(from.hz().min(to.hz()));
        // (share of the lower rate, signal to noise): 1 kHz and 3.4 kHz at 8 kHz
        for (share, least) in [(0.05, 80.0), (0.125, 80.0), (0.25, 76.0), (0.375, 70.0), (0.425, 60.0)] {
            let hz = (lower * share).round();
            let (level, ratio) = fit(settled(&resample(from, to, &tone(hz, from))), hz, to);
            assert!(ratio >= least, "{hz} Hz from {from:?} to {to:?}: {ratio:.1} dB");
            assert!((level / 10_000.0 - 1.0).abs() < 0.01, "{hz} Hz from {from:?} to {to:?}: {level:.0}");
        }
    }
}

#[test]
fn what_the_lower_rate_cannot_hold_is_removed_and_not_folded_back() {
    for (from, to) in pairs().filter(|(from, to)| from > to) {
        for hz in (0..from.hz() / 2).step_by(100).filter(|hz| f64::from(*hz) >= f64::from(to.hz()) * 0.575) {
            let out = resample(from, to, &tone(f64::from(hz), from));
            let loudest = settled(&out).iter().map(|sample| sample.unsigned_abs()).max().unwrap();
            // 60 dB below 10,000
            assert!(loudest <= 10, "{hz} Hz from {from:?} to {to:?}: {loudest} is left of 10,000");
        }
    }
}

#[test]
fn output_trails_input_by_16_samples_of_the_lower_rate() {
    for (from, to) in pairs().filter(|(from, to)| from != to) {
        let lower = from.min(to);
        let mut pcm = vec![0; from.frame_samples()];
        pcm[0] = 30_000;
        let out = resample(from, to, &pcm);
        let peak = out.iter().enumerate().max_by_key(|(_, sample)| **sample).unwrap().0;
        let trail = peak as f64 / f64::from(to.hz()) * f64::from(lower.hz());
        assert!((15.0..=16.5).contains(&trail), "from {from:?} to {to:?}: {trail}");
    }
}

#[test]
fn a_constant_stays_constant_and_full_scale_does_not_wrap() {
    for (from, to) in pairs() {
        for level in [i16::MIN, -1_000, 1_000, i16::MAX] {
            let out = resample(from, to, &vec![level; from.hz() as usize / 10]);
            let settled = settled(&out);
            assert!(settled.iter().all(|sample| sample.abs_diff(level) <= 1), "from {from:?} to {to:?}: {settled:?}");
        }
        // The ringing at the edges of a square wave of full scale is clipped.
        let half = from.hz() as usize / 400;
        let square: Vec<i16> = (0..from.hz() as usize / 4)
            .map(|n| if (n / half).is_multiple_of(2) { i16::MAX } else { i16::MIN })
            .collect();
        let out = resample(from, to, &square);
        let edges = settled(&out).windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
        assert!((49..=51).contains(&edges), "from {from:?} to {to:?}: {edges} edges between 50 halves");
    }
}

#[test]
fn rates_without_a_table_are_refused() {
    assert!(FrameResampler::new(SampleRate::HZ_22050, SampleRate::HZ_8000).is_none());
}

#[test]
fn a_call_keeps_some_hundred_bytes() {
    assert!(size_of::<FrameResampler>() <= 512, "{}", size_of::<FrameResampler>());
}

proptest! {
    #[test]
    fn chunks_do_not_matter_and_no_sample_is_lost(
        pcm in prop::collection::vec(any::<i16>(), 0..4_000),
        cuts in prop::collection::vec(0usize..1_200, 1..20),
        from in prop::sample::select(RATES.to_vec()),
        to in prop::sample::select(RATES.to_vec()),
    ) {
        prop_assume!(cuts.iter().any(|cut| *cut > 0));
        let whole = resample(from, to, &pcm);
        let exact = pcm.len() as u64 * u64::from(to.hz()) / u64::from(from.hz());
        prop_assert!(whole.len() as u64 <= exact && exact - whole.len() as u64 <= 3, "{} of {}", whole.len(), exact);
        let mut resampler = FrameResampler::new(from, to).unwrap();
        let (mut out, mut rest) = (Vec::new(), &pcm[..]);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, later) = rest.split_at((*cut).min(rest.len()));
            let mut made = vec![0; resampler.output_samples(chunk.len())];
            prop_assert_eq!(resampler.push(chunk, &mut made), made.len());
            out.extend(made);
            rest = later;
        }
        prop_assert_eq!(out, whole);
    }
}

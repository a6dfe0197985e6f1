//! Concealment of lost audio at any rate, in the manner of ITU-T G.711 Appendix I: the last pitch periods are repeated and
//! faded, so that a lost packet sounds like a held sound and not like a click or a hole.
//!
//! Unlike the appendix this adds no delay. There, output trails input by 3.75 ms so that the end of the good audio can
//! be bent towards the repetition. Here the good audio is left as it is, and the step that remains at the joint is added
//! to the repetition and faded out over a quarter of a period.
//!
//! After 60 ms there is silence, of zeros, and no comfort noise: the frame is marked as silence, so the detector does not
//! learn a noise floor from it, and a recogniser is given nothing that it could take for speech. Nobody listens who would
//! miss the noise.

use crate::audio::SampleRate;

/// Lengths in samples at the rate of the stream.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    /// Shortest and longest pitch period: 5 to 15 ms, 200 to 66 Hz.
    min_lag: usize,
    max_lag: usize,
    /// What is compared when the pitch is looked for: 20 ms.
    template: usize,
    /// At most three periods are repeated, and the quarter before them is needed to make the seam.
    history: usize,
    /// 10 ms: after each one more period is repeated, which keeps a long gap from buzzing, and the fade goes a step further.
    step: usize,
    /// Nothing is heard after 60 ms.
    faded_out: usize,
    /// After each step the seam to the good audio grows by 4 ms.
    longer_seam: usize,
    /// The pitch is looked for at one sample of so many first: at 8 to 16 kHz.
    coarse: usize,
}

impl Lengths {
    const fn at(rate: SampleRate) -> Self {
        let hz = rate.hz() as usize;
        let (max_lag, step) = (hz * 3 / 200, hz / 100);
        Self {
            min_lag: hz / 200,
            max_lag,
            template: hz / 50,
            history: 3 * max_lag + max_lag / 4,
            step,
            faded_out: 6 * step,
            longer_seam: hz / 250,
            coarse: hz / 8_000,
        }
    }
}

/// Fills gaps in one direction of audio. All of what is heard passes through it, in pieces of any size.
#[derive(Debug)]
pub struct Concealer {
    /// The last samples that were heard.
    history: Box<[i16]>,
    /// What fills the gap; of no meaning while good audio is heard.
    repetition: Repetition,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Good audio.
    Heard,
    /// In a gap.
    Filling,
    /// Good audio again, still mixed with what filled the gap: `mixed` of `overlap` samples are done.
    Joining { mixed: usize, overlap: usize },
}

impl Concealer {
    /// Nothing was heard so far.
    pub fn new(rate: SampleRate) -> Self {
        let lengths = Lengths::at(rate);
        Self { history: vec![0; lengths.history].into(), repetition: Repetition::silent(lengths), state: State::Heard }
    }

    /// Passes good audio through. After a gap its beginning is mixed with what filled the gap.
    pub fn good(&mut self, pcm: &mut [i16]) {
        if self.state == State::Filling {
            self.state = State::Joining { mixed: 0, overlap: self.repetition.overlap() };
        }
        if let State::Joining { mut mixed, overlap } = self.state {
            for sample in pcm.iter_mut().take(overlap - mixed) {
                mixed += 1;
                let weight = mixed as f32 / (overlap + 1) as f32;
                *sample = (f32::from(*sample) * weight + self.repetition.next() * (1.0 - weight)).round() as i16;
            }
            self.state = if mixed == overlap { State::Heard } else { State::Joining { mixed, overlap } };
        }
        self.remember(pcm);
    }

    /// Makes up audio where there is none. `false` if it is silence by now: the gap is longer than 60 ms, or nothing
    /// was heard before it.
    pub fn conceal(&mut self, pcm: &mut [i16]) -> bool {
        if self.state != State::Filling {
            self.repetition.restart(&self.history);
            self.state = State::Filling;
        }
        let audible = self.repetition.is_audible();
        for sample in pcm.iter_mut() {
            *sample = self.repetition.next().round() as i16;
        }
        self.remember(pcm);
        audible
    }

    fn remember(&mut self, pcm: &[i16]) {
        let length = self.history.len();
        let kept = length.saturating_sub(pcm.len());
        self.history.copy_within(length - kept.., 0);
        self.history[kept..].copy_from_slice(&pcm[pcm.len() - (length - kept)..]);
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        2 * size_of_val(&*self.history)
    }
}

/// The sound that fills a gap, sample by sample.
#[derive(Debug)]
struct Repetition {
    lengths: Lengths,
    /// What was heard before the gap.
    source: Box<[i16]>,
    /// Pitch period in samples.
    lag: usize,
    /// How many periods are repeated, 1 to 3.
    periods: usize,
    /// Next sample of the repeated stretch.
    position: usize,
    /// Samples made so far.
    made: usize,
    /// Difference between what was heard last and what the repetition would have had there.
    step: f32,
    /// While one more period is being taken in: where the shorter stretch would go on, and how much of it is still mixed in.
    previous: Option<(usize, usize)>,
}

impl Repetition {
    fn silent(lengths: Lengths) -> Self {
        let source = vec![0; lengths.history].into();
        let (lag, made) = (lengths.min_lag, lengths.faded_out);
        Self { lengths, source, lag, periods: 1, position: 0, made, step: 0.0, previous: None }
    }

    /// Begins with the end of what was heard.
    fn restart(&mut self, heard: &[i16]) {
        self.source.copy_from_slice(heard);
        (self.periods, self.position, self.previous) = (1, 0, None);
        if heard.iter().all(|sample| sample.unsigned_abs() <= 8) {
            self.made = self.lengths.faded_out;
            return;
        }
        self.made = 0;
        self.lag = pitch_lag(heard, &self.lengths);
        self.step = f32::from(heard[heard.len() - 1]) - f32::from(heard[heard.len() - 1 - self.lag]);
    }

    fn is_audible(&self) -> bool {
        self.made < self.lengths.faded_out
    }

    /// Length of a seam: a quarter of a period.
    fn quarter(&self) -> usize {
        self.lag / 4
    }

    /// How long the good audio after the gap is mixed with this: longer after a longer gap, 10 ms at most.
    fn overlap(&self) -> usize {
        (self.quarter() + self.lengths.longer_seam * (self.made / self.lengths.step)).min(self.lengths.step)
    }

    /// Full for 10 ms, then a fifth less every 10 ms.
    fn gain(&self) -> f32 {
        let Lengths { step, faded_out, .. } = self.lengths;
        let faded = self.made.saturating_sub(step) as f32 / (faded_out - step) as f32;
        (1.0 - faded).max(0.0)
    }

    /// Sample `position` of a stretch of `periods` periods, whose end is bent towards its beginning.
    fn stretch(&self, periods: usize, position: usize) -> f32 {
        let (length, quarter) = (periods * self.lag, self.quarter());
        let start = self.source.len() - length;
        let plain = f32::from(self.source[start + position]);
        let bent = (position + quarter + 1).saturating_sub(length);
        if bent == 0 {
            return plain;
        }
        let weight = bent as f32 / (quarter + 1) as f32;
        plain * (1.0 - weight) + f32::from(self.source[start + position - length]) * weight
    }

    fn next(&mut self) -> f32 {
        if !self.is_audible() {
            return 0.0;
        }
        if self.made == self.periods * self.lengths.step && self.periods < 3 {
            self.previous = Some((self.position, self.quarter()));
            // The same place in its period, in the oldest period of the longer stretch.
            self.position %= self.lag;
            self.periods += 1;
        }

        let mut sample = self.stretch(self.periods, self.position);
        self.position = (self.position + 1) % (self.periods * self.lag);
        if let Some((position, left)) = self.previous {
            let weight = left as f32 / (self.quarter() + 1) as f32;
            sample = sample * (1.0 - weight) + self.stretch(self.periods - 1, position) * weight;
            let position = (position + 1) % ((self.periods - 1) * self.lag);
            self.previous = (left > 1).then_some((position, left - 1));
        }
        if self.made < self.quarter() {
            sample += self.step * (1.0 - (self.made + 1) as f32 / (self.quarter() + 1) as f32);
        }
        sample *= self.gain();
        self.made += 1;
        sample
    }
}

/// The distance at which the end of `source` is most like what came before it: the peak of the normalised
/// cross-correlation. It is looked for coarsely first, in both lags and samples, so that the cost hardly depends on the rate.
fn pitch_lag(source: &[i16], lengths: &Lengths) -> usize {
    let &Lengths { min_lag, max_lag, template, coarse, .. } = lengths;
    let likeness = |lag: usize, stride: usize| {
        let (mut product, mut energy) = (0.0f32, 1.0f32);
        for n in (source.len() - template..source.len()).step_by(stride) {
            let (now, before) = (f32::from(source[n]), f32::from(source[n - lag]));
            product += now * before;
            energy += before * before;
        }
        product / energy.sqrt()
    };
    let best = |lags: &mut dyn Iterator<Item = usize>, stride| {
        let first = (min_lag, f32::NEG_INFINITY);
        lags.map(|lag| (lag, likeness(lag, stride)))
            .fold(first, |best, next| if next.1 > best.1 { next } else { best })
            .0
    };
    let stride = 2 * coarse;
    let mut lag = best(&mut (min_lag..=max_lag).step_by(stride), stride);
    let mut reach = stride;
    while reach > 1 {
        let finer = reach / 2;
        let near = (lag - finer.min(lag - min_lag))..=(lag + finer).min(max_lag);
        lag = best(&mut near.step_by(finer), finer.max(stride / 4).max(1));
        reach = finer;
    }
    lag
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    fn fresh() -> Concealer {
        Concealer::new(SampleRate::HZ_8000)
    }

    /// A voiced sound: a fundamental of 125 Hz (a period of 64 samples) with harmonics.
    fn voiced(from: usize, samples: usize) -> Vec<i16> {
        voiced_at(SampleRate::HZ_8000, from, samples)
    }

    fn voiced_at(rate: SampleRate, from: usize, samples: usize) -> Vec<i16> {
        let period = f64::from(rate.hz()) / 125.0;
        (from..from + samples)
            .map(|n| {
                (1..=6)
                    .map(|h| 3_000.0 / f64::from(h) * (2.0 * PI * f64::from(h) * n as f64 / period).sin())
                    .sum::<f64>() as i16
            })
            .collect()
    }

    fn largest_step(pcm: &[i16]) -> i32 {
        pcm.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap()
    }

    fn level(pcm: &[i16]) -> f64 {
        (pcm.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / pcm.len() as f64).sqrt()
    }

    /// `good` samples of voice, a gap, and voice again; all of what is heard.
    fn with_gap(good: usize, gap: usize) -> Vec<i16> {
        let mut concealer = fresh();
        let mut heard = voiced(0, good);
        concealer.good(&mut heard);
        let mut filled = vec![0; gap];
        for piece in filled.chunks_mut(160) {
            concealer.conceal(piece);
        }
        let mut after = voiced(good + gap, 480);
        concealer.good(&mut after);
        heard.into_iter().chain(filled).chain(after).collect()
    }

    #[test]
    fn a_lost_frame_of_a_steady_voice_is_hardly_noticed() {
        let heard = with_gap(800, 80);
        let original = voiced(0, heard.len());
        let noise: Vec<i16> = heard.iter().zip(&original).map(|(a, b)| a - b).collect();
        let snr = 20.0 * (level(&original[800..880]) / level(&noise[800..880]).max(1.0)).log10();
        assert!(snr > 30.0, "{snr:.1} dB");
    }

    #[test]
    fn there_is_no_click_at_either_end_whatever_the_length() {
        let usual = largest_step(&voiced(0, 800));
        for good in [800, 817, 843] {
            for gap in [40, 80, 160, 200, 320, 480] {
                let step = largest_step(&with_gap(good, gap));
                assert!(step < usual * 3 / 2, "a step of {step} in a gap of {gap}, usual are {usual}");
            }
        }
    }

    #[test]
    fn the_sound_fades_within_sixty_milliseconds_and_comes_back() {
        let heard = with_gap(800, 800);
        // Period by period, so that the shape of the wave does not count.
        let levels: Vec<f64> = heard[800..1_600].chunks(64).map(level).collect();
        let before = level(&heard[736..800]);
        assert!(levels[0] > 0.95 * before, "{levels:?} after {before}");
        assert!(levels.is_sorted_by(|a, b| *b < a * 1.02 || *b == 0.0), "{levels:?}");
        assert!(levels[8..].iter().all(|level| *level == 0.0), "{levels:?}");
        assert!(level(&heard[1_760..1_920]) > 0.95 * level(&heard[640..800]));
    }

    #[test]
    fn it_says_when_it_has_nothing_to_say() {
        let mut concealer = fresh();
        assert!(!concealer.conceal(&mut [0; 160]), "nothing was heard before");
        let mut concealer = fresh();
        concealer.good(&mut voiced(0, 800));
        let audible: Vec<bool> = (0..5).map(|_| concealer.conceal(&mut [0; 160])).collect();
        assert_eq!(audible, [true, true, true, false, false]);
    }

    #[test]
    fn pieces_do_not_matter() {
        let run = |piece: usize| {
            let mut concealer = fresh();
            let mut all = voiced(0, 2_400);
            for (index, block) in all.chunks_mut(240).enumerate() {
                for part in block.chunks_mut(piece) {
                    if index % 4 == 3 { _ = concealer.conceal(part) } else { concealer.good(part) }
                }
            }
            all
        };
        assert_eq!(run(240), run(7));
    }

    #[test]
    fn loud_noise_is_survived() {
        let mut seed = 1u32;
        let mut noise = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if seed & 0x8000_0000 == 0 { i16::MAX } else { i16::MIN }
        };
        let mut concealer = fresh();
        for _ in 0..50 {
            let mut pcm: [i16; 160] = std::array::from_fn(|_| noise());
            concealer.good(&mut pcm);
            concealer.conceal(&mut pcm);
        }
    }

    #[test]
    fn every_rate_is_concealed_alike() {
        for hz in [8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000] {
            let rate = SampleRate::new(hz).unwrap();
            let frame = rate.frame_samples();
            let mut concealer = Concealer::new(rate);
            let mut all = voiced_at(rate, 0, 10 * frame);
            let original = all.clone();
            concealer.good(&mut all[..5 * frame]);
            let kinds: Vec<bool> =
                all[5 * frame..9 * frame].chunks_mut(frame).map(|gap| concealer.conceal(gap)).collect();
            assert_eq!(kinds, [true, true, true, false], "{hz} Hz");
            let first = 5 * frame..5 * frame + frame / 2;
            let noise: Vec<i16> = all[first.clone()].iter().zip(&original[first.clone()]).map(|(a, b)| a - b).collect();
            let snr = 20.0 * (level(&original[first]) / level(&noise).max(1.0)).log10();
            assert!(snr > 25.0, "{hz} Hz: {snr:.1} dB");
            assert!(level(&all[6 * frame..7 * frame]) > 1_000.0, "{hz} Hz");
            assert_eq!(level(&all[8 * frame + frame / 2..9 * frame]), 0.0, "{hz} Hz");
            concealer.good(&mut all[9 * frame..]);
            let usual = largest_step(&original);
            assert!(largest_step(&all) < usual * 3 / 2, "{hz} Hz: a step of {}, usual are {usual}", largest_step(&all));
        }
    }
}
